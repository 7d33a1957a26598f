//! One authenticated connection a peer, and messages over it.
//!
//! The promise: [`LinkEvent::Up`] names a node that proved its identity on that very connection; whatever comes after was said
//! by it, in the order it said it; and at most one connection a peer is in use, the same at both ends.
//!
//! ```text
//!   Room ──Dial──▶ Links ──connect──▶ mrt::Endpoint
//!                    │  dial       several addresses, one attempt after the other
//!                    │  budget     how often addresses that others named are called
//!                    │  hello      first frame: id, record, signature over this connection
//!                    │  choice     two connections to one node: which one stays
//!                    │  outgoing   bounded queue of frames, one channel a class
//!                    │  frame      length + body, put together again
//!                    ▼
//!           Up · Down · Message · DialFailed
//! ```
//!
//! Reading order: `event`, [`Links`] (its verbs; below it `proving`, `reading`, `ending`), `hello`, `connection`, `choice`, `dial`, `budget`, `outgoing`, `frame`.
//!
//! This layer knows nodes and frames; it does not know who is a member, who leads, or what a message means.

mod budget;
mod choice;
mod connection;
mod dial;
mod event;
mod frame;
mod hello;
mod outgoing;
mod table;

pub use dial::{DialNumber, Relays, Turn};
pub use event::{Link, LinkEvent, LinkMessage, Lost};
pub use hello::Hello;
pub use table::Links;
