//! Channels: reliable ordered byte streams over packets that may be lost, doubled or late.
//!
//! The promise: what one side pushes comes out of the other side's assembler whole, in order, once; and whatever the peer
//! does, each side holds no more memory for it than the credit it granted and the buffer it allowed.
//!
//! ```text
//!   sender                                         receiver
//!   SendBuffer ── SendCredit ──▶ CHAN frames ──▶ ReceiveCredit ── Assembler ──▶ bytes in order
//!        ▲                                              │
//!        └── acknowledged, lost          MAX_CHAN, MAX_DATA ──▶ SendCredit
//! ```
//!
//! Reading order: [`send_buffer`], [`assembler`], [`credit`]; then `sending` and `receiving` (the two halves of a channel, with their
//! states), `set` (all channels of a connection) and `control` (what else is to be told).
//!
//! These parts know no packets, no keys and no other channel. Time comes in only to tune the receiver's window.

pub mod assembler;
pub(crate) mod control;
pub mod credit;
pub(crate) mod receiving;
pub mod send_buffer;
pub(crate) mod sending;
pub(crate) mod set;

pub use assembler::{Assembler, TooManyGaps};
pub use credit::{CreditOverflow, ReceiveCredit, SendCredit};
pub use send_buffer::{Chunk, SendBuffer};
