//! The verbs over a connection's paths.

use super::endpoint::Endpoint;
use crate::mrt::api::ConnectionHandle;
use crate::mrt::route::{AddPathError, PathStats, Route};
use crate::time::Instant;

impl Endpoint {
    /// Tries one more way to the other end, which ends in [`Event::PathUp`](crate::mrt::Event::PathUp) or
    /// [`Event::PathFailed`](crate::mrt::Event::PathFailed). Data goes there if it is the better way
    /// ([`Event::Moved`](crate::mrt::Event::Moved)); else it stands by. A relay channel is [opened](Self::relay_open).
    ///
    /// Whoever calls this knows that somebody there wants it: a few datagrams of 1200 bytes are sent without being asked for.
    pub fn add_path(&mut self, _now: Instant, _connection: ConnectionHandle, route: Route) -> Result<(), AddPathError> {
        if !route.is_plausible() {
            return Err(AddPathError::BadAddress);
        }
        Err(AddPathError::NotConnected)
    }

    /// Forgets a path, or gives up trying it. If data went there, it goes another way; the last path stays. No event tells of it but
    /// [`Event::Moved`](crate::mrt::Event::Moved).
    pub fn drop_path(&mut self, _now: Instant, _connection: ConnectionHandle, _route: Route) {}

    /// Every path of a connection, the one that data goes first, those on trial last. Empty when it is over.
    pub fn paths(&self, _now: Instant, _connection: ConnectionHandle) -> Vec<PathStats> {
        Vec::new()
    }

    /// The network may be another one, or this machine was asleep: every path of every connection is asked at once.
    pub fn check_paths(&mut self, _now: Instant) {}
}
