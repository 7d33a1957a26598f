//! The succession, checked: every order of messages, crashes, cuts and lines within named bounds, with the real [`Room`](super::super::Room)
//! as each node's step, by `stateright`.
//!
//! ```text
//!  Whole ── Action ──▶ Whole         which message arrives, who says, quits, crashes; what is cut and heals; whose timer fires
//!    └ Cell ── Input ──▶ Cell        one verb of the real room, outputs drained; computed once, remembered
//!        └ canon                     rooms that go on alike are one
//! ```
//!
//! Reading order: `system` (what may happen, and what is left out and why), `cell` (a node and its observer), `canon` (what of a room
//! counts), `closing` (that it ends well from everywhere), `slices` (the bounds, the table, the planted faults).

mod canon;
mod cell;
mod closing;
mod slices;
mod system;
