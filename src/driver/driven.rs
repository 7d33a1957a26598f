//! What the driver can run.

use super::surroundings::{Surroundings, SurroundingsRequest};
use crate::machine::Machine;
use crate::time::Instant;

/// A machine with a world beside the network: it takes commands, tells events, and may have work done elsewhere.
///
/// The driver calls one method at a time, from one thread. It stops calling [`poll_event`](Self::poll_event) while whoever
/// reads the events is behind, and takes no commands meanwhile; a machine that leaves received data where it is (in its
/// channels, so that credit runs out) until its events are polled is then bounded by itself.
pub trait Driven: Machine + Send {
    /// What it is asked to do.
    type Command: Send;
    /// What it tells.
    type Event: Send;
    /// What it wants done on the helper's thread. [`Infallible`](std::convert::Infallible) where there is none.
    type Job: Send;
    /// What the helper answers. Likewise.
    type Done: Send;

    /// Somebody asked for something.
    fn handle_command(&mut self, now: Instant, command: Self::Command);

    /// What happened, in order.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// Work for the helper's thread.
    fn poll_job(&mut self) -> Option<Self::Job> {
        None
    }

    /// The helper did something.
    fn handle_done(&mut self, _now: Instant, done: Self::Done) {
        drop(done);
    }

    /// What it wants to know, or have done, beyond its sockets.
    fn poll_request(&mut self) -> Option<SurroundingsRequest> {
        None
    }

    /// Something about the network around it.
    fn handle_surroundings(&mut self, _now: Instant, _surroundings: Surroundings) {}

    /// Whether the run is over: what is still to be sent and told is sent and told, then the loop ends.
    fn is_finished(&self) -> bool;
}
