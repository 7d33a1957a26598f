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
//! Reading order: [`send_buffer`], [`assembler`], [`credit`].
//!
//! These parts know no packets, no keys and no other channel. Time comes in only to tune the receiver's window.

pub mod assembler;
pub mod credit;
pub mod send_buffer;

pub use assembler::{Assembler, TooManyGaps};
pub use credit::{CreditOverflow, ReceiveCredit, SendCredit};
pub use send_buffer::{Chunk, SendBuffer};
