//! Ebb: fills the pipe, and lets the queue run out to see whose it is.
//!
//! ```text
//!              the delay rises, or            one round trip        the queue ran out
//!   Startup ───no more comes back──► Settle ────measured────► Drain ─────────────────► Cruise
//!      ▲                                                       ▲ │                      │  │ five round trips
//!      │ far more comes back                                   │ │   the delay rose     │  ▼
//!      └───────────────────────────────────────────────────────│─│──◄───────────────────┘  Up
//!                                        one round trip later  └─│─────────────────────────┘
//!                                                                │ ours is out, and the delay stays
//!                                                                ▼
//!                                                             Compete: CUBIC's window, until a drain finds the queue empty
//! ```
//!
//! One number, the rate that the path takes, is measured and paced at; the round-trip time says whether there is a queue. What is lost
//! while there is none, and while less is sent than the path takes, is lost by chance, and is no reason to be slower. A queue that stays when
//! ours is drained belongs to somebody who fills it until packets are lost: beside those only a window like theirs gets its share. That
//! is the mode switching of Nimbus (Goyal et al., SIGCOMM 2022); it pulses to find out, and we drain. Rate, round trip and the
//! probing for more are BBR's (draft-ietf-ccwg-bbr), the controller beside a rival is CUBIC (RFC 9438).
//!
//! Reading order: `ebb` (the parts, and what it answers), `phase`, `model` (rate, delay, loss), and then by phase `startup`, `drain`,
//! `cruise`, `compete`; `round` (what a round trip shows), `best` (the best of the last half minute), `floor` (loss that is
//! there at any rate), `rival` (CUBIC's window, and what a drain told).

mod best;
mod compete;
mod cruise;
mod drain;
#[expect(clippy::module_inception, reason = "the folder is its parts, this is the whole")]
mod ebb;
mod floor;
mod model;
mod phase;
mod rival;
mod round;
mod startup;
#[cfg(test)]
mod tests;

pub use ebb::Ebb;
