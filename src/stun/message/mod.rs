//! The bytes of STUN: Binding, which is all we speak of it (RFC 8489, RFC 5780).
//!
//! The promise: bytes from anybody become a message that was checked, or a reason why not; never a panic, and never an allocation that
//! the sender chose.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |0 0| method and class          |         message length        |
//! |                     magic cookie 2112A442                     |
//! |                       transaction id, 96 bits                 |
//! +---------------------------------------------------------------+
//! | type                          | length of the value           |   any number of
//! | value, padded to a multiple of four bytes                     |   attributes
//! +---------------------------------------------------------------+
//! ```
//!
//! Reading order: [`View`] (checked bytes), `attribute` (values), [`Request`], [`Success`], [`Failure`], [`Probe`] (what they mean).
//!
//! `stun_codec` writes messages and reads and writes addresses. The walk over attributes is ours, because it meets bytes before
//! anything is known of their sender; and so are CHANGE-REQUEST and RESPONSE-PORT, of which `stun_codec` 0.4 reads the first with the wrong
//! bits and writes the second as 0.

mod attribute;
mod binding;
mod view;

pub use attribute::Change;
pub use binding::{Failure, Flaw, Probe, Rejected, Request, Success, Unknown};
pub use view::{BINDING, Class, HEADER_LEN, MAX_LEN, Malformed, TransactionId, View};
