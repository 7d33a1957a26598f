//! Many connections on one socket: who gets this datagram, who may connect, whose turn it is to send.
//!
//! ```text
//!  endpoint   the value itself: its verbs, in the order an application calls them
//!  intake     a datagram that came: whose it is, or what is done about a stranger
//!  ways       the verbs over a connection's paths
//!  relaying   the verbs of who passes datagrams on, and of who is passed on to
//!  schedule   which connections have something to send, and when each wants to be woken
//! ```
//!
//! An endpoint knows connections only by what `connection` lets it see, and nothing of what is said on them.

#[expect(clippy::module_inception, reason = "the endpoint is the one noun of this folder")]
mod endpoint;
mod intake;
mod relaying;
mod schedule;
mod ways;

pub use endpoint::Endpoint;
