//! Two ends punch in virtual time.
//!
//! `world` is the harness: two hosts that run nothing but a punch, behind netem's NATs, a server that says what it sees, and a mailbox in
//! place of the sealed channel. `matrix` is every pair of kinds many times over (`PUNCH_RUNS=1000` for more), `stories` what else can
//! happen to a pair, `strangers` those who typed each other's address, `hostile` what nobody may make a node do,
//! `fuzz` bytes that nobody meant to send.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod fuzz;
mod hostile;
mod matrix;
mod stories;
mod strangers;
mod world;
