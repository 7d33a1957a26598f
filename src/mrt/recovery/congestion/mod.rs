//! Congestion control: how many bytes may be out, and how fast they may leave.
//!
//! ```text
//!   Congestion (enum) ── delegates ──► Controller (trait)
//!                                        └ cubic     CUBIC, RFC 9438
//!                                            └ hystart   when to leave slow start, RFC 9406
//! ```
//!
//! A controller is told facts and answers two numbers. It sees no packets: whatever one might want to know of an
//! acknowledgement (rate, rounds, what was in flight) is in [`AckSample`].

pub mod controller;
pub mod cubic;
pub mod hystart;

pub use controller::{AckSample, Algorithm, Congestion, CongestionEvent, Controller};
