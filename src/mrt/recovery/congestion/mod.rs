//! Congestion control: how many bytes may be out, and how fast they may leave.
//!
//! ```text
//!   Congestion (enum) ── delegates ──► Controller (trait)
//!                                        ├ ebb       the rate that was measured, and an empty queue
//!                                        └ cubic     CUBIC, RFC 9438; also what ebb does beside those who fill the queue
//!                                            └ hystart   when to leave slow start, RFC 9406
//! ```
//!
//! A controller is told facts and answers two numbers. It sees no packets: whatever one might want to know of an
//! acknowledgement (rate, rounds, what was in flight) is in [`AckSample`].

pub mod controller;
pub mod cubic;
pub mod ebb;
pub mod hystart;

pub use controller::{AckSample, Algorithm, Congestion, CongestionEvent, Controller};
