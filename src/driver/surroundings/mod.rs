//! The network around a machine, beyond its own datagrams: what addresses it has, what names mean, what a gateway maps, who else is
//! on the LAN, and that something about it changed.
//!
//! ```text
//!   machine ── SurroundingsRequest ──▶ world ──┬── resolve         names, by the system's resolver
//!           ◀───── Surroundings ──────         ├── watch           addresses and routes: interfaces, routes
//!                  (by a teller)               ├── sleep           this machine slept
//!                                              ├── port_mapping    a port that the gateway passes
//!                                              └── neighbours      others on the LAN
//! ```
//!
//! A machine asks by [`SurroundingsRequest`] and is told by [`Surroundings`], both polled and handled like everything else of a
//! [`Driven`](super::Driven), so that a simulation can tell it the same. Nothing here can delay a packet: it has a thread of its own,
//! and what crosses to it is bounded.
//!
//! Everything told here is a hint: names, gateways and neighbours are whatever others say they are.

mod fact;
mod interfaces;
mod neighbours;
mod port_mapping;
mod request;
mod resolve;
mod routes;
mod sleep;
mod teller;
mod watch;
mod world;

pub use fact::{MappedBy, Neighbour, Surroundings};
pub use interfaces::{InterfaceAddress, Interfaces};
pub use request::SurroundingsRequest;
pub use world::Config;
pub(super) use world::{World, spawn};
