//! Hosts, NATs, the links between them, the clock, and what can go wrong.
//!
//! Reading order: [`Host`] (what lives in the network), [`Site`] (where), [`Network`] in `run` (the clock and its events), `places` (who lives
//! where), `routing` (how a packet gets from one site to another), [`Fault`] (what can go wrong, by name), `trouble` (how the network does it).

mod fault;
mod host;
mod places;
mod routing;
mod run;
mod site;
mod slab;
mod trouble;

pub use fault::{Fault, Script};
pub use host::{Host, SOCKET_BUFFER, Verdict};
pub use run::Network;
pub use site::{NatId, Site};
