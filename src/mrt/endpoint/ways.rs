//! The verbs over a connection's paths.

use super::endpoint::Endpoint;
use crate::mrt::api::ConnectionHandle;
use crate::mrt::connection::NoRelay;
use crate::mrt::route::{AddPathError, PathStats, Route};
use crate::time::Instant;

impl Endpoint {
    /// Tries one more way to the other end, which ends in [`Event::PathUp`](crate::mrt::Event::PathUp) or
    /// [`Event::PathFailed`](crate::mrt::Event::PathFailed). Data goes there if it is the better way
    /// ([`Event::Moved`](crate::mrt::Event::Moved)); else it stands by. A relay channel is [opened](Self::relay_open). A path that is
    /// down is asked again at once.
    ///
    /// Whoever calls this knows that somebody there wants it: a few datagrams of 1200 bytes are sent without being asked for.
    pub fn add_path(&mut self, now: Instant, connection: ConnectionHandle, route: Route) -> Result<(), AddPathError> {
        if !route.is_plausible() {
            return Err(AddPathError::BadAddress);
        }
        self.can_go(connection, route).map_err(|why| match why {
            NoRelay::NotConnected => AddPathError::NoSuchRelay,
            NoRelay::Relayed => AddPathError::RelayedTwice,
        })?;
        let entry = self.entry_mut(connection).ok_or(AddPathError::NotConnected)?;
        entry.connection.add_path(now, route)?;
        if let Route::Relayed { by, channel } = route {
            // It is not bound, or it could not be gone.
            let _ = self.relay.open((by, channel));
        }
        self.touched(connection);
        Ok(())
    }

    /// Forgets a path, or gives up trying it. If data went there, it goes another way; the last path stays. No event tells of it but
    /// [`Event::Moved`](crate::mrt::Event::Moved).
    pub fn drop_path(&mut self, now: Instant, connection: ConnectionHandle, route: Route) {
        if let Some(entry) = self.entry_mut(connection) {
            entry.connection.drop_path(now, route);
            self.touched(connection);
        }
    }

    /// Every path of a connection, the one that data goes first, those on trial last. Empty when it is over, or has no keys yet.
    pub fn paths(&self, _now: Instant, connection: ConnectionHandle) -> Vec<PathStats> {
        let entry = self.connections.get(&connection).filter(|entry| !entry.connection.is_closed());
        entry.map(|entry| entry.connection.path_stats()).unwrap_or_default()
    }

    /// The network may be another one, or this machine was asleep: every path of every connection is asked at once.
    pub fn check_paths(&mut self, now: Instant) {
        for (handle, entry) in &mut self.connections {
            entry.connection.check_paths(now);
            self.schedule.wake(*handle);
        }
    }

    /// The path that a connection uses is to be shown to carry datagrams of full size both ways (RFC 9000 §8.2.1), which its setup shows for
    /// one of them: [`Event::PathUp`](crate::mrt::Event::PathUp) says that it does, and so do its
    /// [numbers](crate::mrt::ConnectionStats::full_size). A path that was [added](Self::add_path) has shown it.
    pub fn prove_size(&mut self, now: Instant, connection: ConnectionHandle) {
        if let Some(entry) = self.entry_mut(connection) {
            entry.connection.prove_size(now);
            self.touched(connection);
        }
    }

    /// Whether a connection can go this way.
    pub(super) fn can_go(&mut self, connection: ConnectionHandle, route: Route) -> Result<(), NoRelay> {
        let Route::Relayed { by, channel } = route else { return Ok(()) };
        if by == connection {
            return Err(NoRelay::Relayed);
        }
        if self.relay.is_bound((by, channel)) {
            return Err(NoRelay::NotConnected);
        }
        self.entry_mut(by).ok_or(NoRelay::NotConnected)?.connection.can_relay()
    }
}
