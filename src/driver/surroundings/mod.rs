//! The network around a machine, beyond its own datagrams: what addresses it has, what names mean, what a gateway maps, who else is
//! on the LAN, and that something about it changed.
//!
//! A machine asks by [`SurroundingsRequest`] and is told by [`Surroundings`], both polled and handled like everything else of a
//! [`Driven`](super::Driven), so that a simulation can tell it the same.
//!
//! Everything told here is a hint: names, gateways and neighbours are whatever others say they are.

mod fact;
mod interfaces;
mod request;

pub use fact::{MappedBy, Neighbour, Surroundings};
pub use interfaces::{InterfaceAddress, Interfaces};
pub use request::SurroundingsRequest;
