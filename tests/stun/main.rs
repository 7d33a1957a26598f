//! STUN as its users see it: what a discovery finds out behind netem's NATs, in virtual time; and our server and client beside those of
//! others, over real loopback sockets.
//!
//! `world` is the harness (a host, its NAT, and whom it can ask), `nats` and `trouble` are its stories; `interop` speaks to other programs; `fuzz` gives the parser bytes that nobody meant to send.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper that fails is a test that fails, and a rate that is wrong has to be seen"
)]

mod world;

mod fuzz;
mod interop;
mod nats;
mod trouble;
