//! Bytes: packets and frames, checked.
//!
//! The promise: whatever arrives either parses to values that lie within their limits or is [`Malformed`] with a word that says
//! why; parsing neither panics nor allocates; and what is emitted parses to the same values.
//!
//! ```text
//!  datagram
//!   ├ 0–3        STUN, not ours (RFC 7983)
//!   ├ 0xA0–0xA3  clear packets   RCON · RTRY · ACON      fields … CRC-32
//!   │                            and PNCH, which is not ours (`stun::punch`)
//!   ├ 0xA8/0xA9  DATA            header 13 bytes · sealed frames · tag 16 bytes
//!   │              └ frames      type byte · varints · bytes, one after the other
//!   └ 0xAC       RELY            header 21 bytes · a whole datagram · tag 16 bytes
//! ```
//!
//! Reading order: [`reader`] (the cursor), [`varint`], [`packet`] (the kinds, and connection ids), [`clear`] (clear packets), [`header`] (of
//! DATA and RELY), [`number`] (packet numbers on the wire), [`frame`] and [`ack`] (what DATA carries).
//!
//! This layer knows no keys, no time and no connection: only what bytes mean.

pub mod ack;
pub mod clear;
pub mod frame;
pub mod header;
pub mod number;
pub mod packet;
pub mod reader;
pub mod varint;

pub use ack::{Ack, put_ack};
pub use clear::{Clear, ClearError};
pub use frame::{Frame, Frames, chan_header_len, put_chan_header};
pub use header::{DataHeader, RelyHeader};
pub use number::PacketNumber;
pub use packet::{Cid, PacketKind, Pattern};
pub use reader::{Malformed, Reader};
