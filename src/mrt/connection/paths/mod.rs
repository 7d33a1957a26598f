//! The ways of one connection: where the other side is, and what each way there is like.
//!
//! ```text
//!                    proven (full-size, both ways)             chosen, followed, or fallen back to
//!  trial ──────────────────────────────────────► standby ◄──────────────────────────────────────► active
//!    └─ no answer: failed                          └─ silent: down, still tried for a minute       carries the data
//! ```
//!
//! ```text
//!  path       one way: round-trip time, congestion, pacing, MTU, what is in flight there
//!  ecn        whether marks pass, for the connection and for each path
//!  challenge  questions that only who reads at the other end can answer
//!  trial      a way that has to prove itself, and how much it gets until then
//!  standby    asking a path that carries no data whether it is still there
//!  choice     which path is the better one
//!  set        all of them, with their caps
//! ```
//!
//! One packet number space goes over all paths; each remembers what was sent on it, so that an acknowledgement counts for the path
//! that the packet took. Nothing here sends: what is due is asked for by the verbs of `live`.

mod challenge;
pub(super) mod choice;
mod ecn;
mod path;
mod set;
mod standby;
mod trial;

pub(super) use ecn::Marks;
pub(crate) use path::BASE_DATAGRAM;
pub(super) use path::{Path, base_of};
pub(super) use set::{Notice, Paths};
pub(super) use standby::Due;
pub(super) use trial::Purpose;
