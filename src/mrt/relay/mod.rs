//! Passing on datagrams between two others, without opening them.
//!
//! The promise: what comes in on one end of a binding leaves at the other, whatever addresses the two have at the moment; no flow takes
//! what is another's; and everything that is passed on or dropped is counted.
//!
//! ```text
//!  api      what those above see: limits, counters, errors
//!  bucket   how many bytes may leave at a rate
//!  queue    what waits in one direction of one flow
//!  table    who is bound to whom, and whose turn it is
//! ```
//!
//! A relay knows handles and bytes: no keys, no addresses, nothing of what the datagrams hold.

mod api;
mod bucket;
mod queue;
mod table;

pub use api::{RelayCount, RelayDrops, RelayError, RelayFlow, RelayLimits, RelayStats};
pub(crate) use table::Relay;
