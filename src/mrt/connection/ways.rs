//! What the endpoint does with a connection's ways, and with one that relays.

use super::life::Connection;
use crate::mrt::api::ConnectionHandle;
use crate::mrt::route::{AddPathError, PathStats, RelayChannel, Route};
use crate::mrt::wire::RelyHeader;
use crate::time::Instant;

/// Why a connection cannot relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRelay {
    NotConnected,
    Relayed,
}

impl Connection {
    pub(crate) fn add_path(&mut self, now: Instant, route: Route) -> Result<(), AddPathError> {
        if !self.is_established() {
            return Err(AddPathError::NotConnected);
        }
        self.writable().map_err(|_| AddPathError::NotConnected)?.add_path(now, route)
    }

    pub(crate) fn drop_path(&mut self, now: Instant, route: Route) {
        if let Ok(live) = self.writable() {
            live.drop_path(now, route);
            self.collect_notices();
        }
    }

    pub(crate) fn check_paths(&mut self, now: Instant) {
        if self.is_established()
            && let Ok(live) = self.writable()
        {
            live.check_paths(now);
        }
    }

    pub(crate) fn prove_size(&mut self, now: Instant) {
        if self.is_established()
            && let Ok(live) = self.writable()
        {
            live.prove_size(now);
        }
    }

    /// Says whether it had a path that went through there.
    pub(crate) fn on_relay_gone(&mut self, now: Instant, relay: ConnectionHandle) -> bool {
        match self.writable() {
            Ok(live) if live.paths.lead_through(relay) => live.on_relay_gone(now, relay),
            _ => return false,
        }
        self.collect_notices();
        true
    }

    /// Appends the packet that carries a datagram for somebody behind the other side, and says which way it goes. `None`: there is no way
    /// but through somebody else.
    pub(crate) fn wrap(&mut self, channel: RelayChannel, inner: &[u8], buffer: &mut Vec<u8>) -> Option<Route> {
        if !self.is_established() {
            return None;
        }
        let live = self.live.as_mut()?;
        let route = live.direct_path()?.route;
        let before = buffer.len();
        live.lane.wrap(live.remote_cid, channel, inner, buffer)?;
        live.paths.find_mut(route)?.count_sent((buffer.len() - before) as u64);
        Some(route)
    }

    /// Whether it can relay: established, and not through somebody else.
    pub(crate) fn can_relay(&mut self) -> Result<(), NoRelay> {
        if !self.is_established() {
            return Err(NoRelay::NotConnected);
        }
        let live = self.live.as_mut().ok_or(NoRelay::NotConnected)?;
        live.direct_path().map(|_| ()).ok_or(NoRelay::Relayed)
    }

    pub(crate) fn path_stats(&self) -> Vec<PathStats> {
        self.live.as_ref().map(|live| live.paths.stats()).unwrap_or_default()
    }

    /// A RELY packet with our id. Where in the datagram the carried one lies, if it is authentic.
    pub(crate) fn on_rely(
        &mut self,
        now: Instant,
        from: Route,
        header: RelyHeader,
        datagram: &mut [u8],
    ) -> Option<core::ops::Range<usize>> {
        if !self.is_established() || from.is_relayed() {
            return None;
        }
        let inner = self.live.as_mut()?.handle_rely(now, from, header, datagram)?;
        self.collect_notices();
        Some(inner)
    }
}
