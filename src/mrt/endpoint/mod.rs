//! Many connections on one socket: who gets this datagram, who may connect, whose turn it is to send.
//!
//! ```text
//!  endpoint   the value itself: its verbs, in the order an application calls them
//!  intake     a datagram that came: whose it is, or what is done about a stranger
//!  schedule   which connections have something to send, and when each wants to be woken
//! ```
//!
//! An endpoint knows connections only by what `connection` lets it see, and nothing of what is said on them.

#[expect(clippy::module_inception, reason = "the endpoint is the one noun of this folder")]
mod endpoint;
mod intake;
mod schedule;

pub use endpoint::Endpoint;
