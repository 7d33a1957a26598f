//! Hosts, the links between them, the clock, and what can go wrong.

mod run;

pub use run::{Host, Network, SOCKET_BUFFER, Verdict};
