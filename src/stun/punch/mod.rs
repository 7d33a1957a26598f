//! Hole punching: two ends that share a relayed, sealed channel find a direct way to each other.
//!
//! The promise: when a way can be found within the budget, both ends learn of the same one, and both know that it works in both
//! directions; when not, the reason is said in words. Nothing here can be turned on a third party: see [`budget`].
//!
//! ```text
//!  initiator                      sealed channel                       responder
//!     Event::Offer(round 1) ─────────────────────────────────▶ handle_offer
//!     handle_offer ◀───────────────────────────────── Event::Offer(round 1)
//!     │ probes ─────────────── directly, at the same time ────────────── probes │
//!     nothing came: Event::Offer(round 2), the plan's next stage … until Event::Open or Event::Failed
//! ```
//!
//! Reading order: [`offer`] (what both tell each other), [`mod@plan`] (what follows from two fingerprints), [`packet`] (PNCH), [`budget`] (what a
//! node may spend), [`experience`] (what worked before), [`guess`] (in which order ports are tried), [`executor`] (one punch at work), `ledger` (what it
//! sent and heard), `stages` (what it sends in each stage), [`strangers`] (two who type each other's addresses and share nothing).
//!
//! This layer knows neither MRT nor rooms, and no clock, socket or dice: time, reports and a seed are arguments.

pub mod budget;
pub mod executor;
pub mod experience;
pub mod guess;
pub mod offer;
pub mod packet;
pub mod plan;
pub mod strangers;

mod ledger;
mod stages;

pub use budget::Budget;
pub use executor::{Config, Event, Ours, Punch};
pub use experience::Experience;
pub use offer::{Latest, Offer};
pub use packet::PairId;
pub use plan::{Plan, Reason, Stage, plan};
pub use strangers::Strangers;
