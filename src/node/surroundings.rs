//! What the node is told about the network around it, and asks of it.

use super::node::Node;
use crate::driver::surroundings::{Interfaces, Surroundings, SurroundingsRequest};
use crate::time::Instant;

impl Node {
    /// The addresses this machine has, as far as anybody told.
    pub const fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// Something about the network around us.
    pub fn handle_surroundings(&mut self, _now: Instant, surroundings: Surroundings) {
        if let Surroundings::Interfaces(interfaces) = surroundings {
            self.interfaces = interfaces;
        }
    }

    /// What we want to know of it, or have done.
    pub const fn poll_request(&mut self) -> Option<SurroundingsRequest> {
        None
    }
}
