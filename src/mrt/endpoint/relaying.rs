//! Relaying: the verbs of who passes on, and of who is passed on to; and the wrapping and unwrapping for both.

use super::endpoint::Endpoint;
use crate::machine::{Datagram, Ecn, Transmit};
use crate::mrt::api::ConnectionHandle;
use crate::mrt::connection::{Departure, NoRelay};
use crate::mrt::relay::{RelayDrops, RelayError, RelayFlow, RelayLimits, RelayStats};
use crate::mrt::route::{RelayChannel, Route};
use crate::mrt::wire::header::RELY_OVERHEAD;
use crate::mrt::wire::{PacketKind, RelyHeader};
use crate::time::Instant;

impl Endpoint {
    /// Passes on what comes on one of the two to the other, without opening it, until one of the connections ends or
    /// [`relay_unbind`](Self::relay_unbind).
    pub fn relay_bind(
        &mut self,
        a: (ConnectionHandle, RelayChannel),
        b: (ConnectionHandle, RelayChannel),
        limits: RelayLimits,
    ) -> Result<RelayFlow, RelayError> {
        self.must_relay(a.0)?;
        self.must_relay(b.0)?;
        self.relay.bind(a, b, limits)
    }

    /// Passes nothing more on. What waits is dropped.
    pub fn relay_unbind(&mut self, flow: RelayFlow) {
        self.relay.unbind(flow);
    }

    /// What a flow carried and dropped; `None` when it is over.
    pub fn relay_stats(&self, flow: RelayFlow) -> Option<RelayStats> {
        self.relay.stats(flow)
    }

    /// Relayed datagrams that were dropped outside of any flow.
    pub const fn relay_drops(&self) -> RelayDrops {
        self.relay.drops
    }

    /// Takes in datagrams that come to us through `by` on this channel, requests for a connection too. To open it again changes nothing.
    pub fn relay_open(&mut self, by: ConnectionHandle, channel: RelayChannel) -> Result<(), RelayError> {
        self.must_relay(by)?;
        self.relay.open((by, channel))
    }

    /// Takes in nothing more on this channel. Paths over it hear nothing any more, and so end.
    pub fn relay_close(&mut self, by: ConnectionHandle, channel: RelayChannel) {
        self.relay.close((by, channel));
    }

    fn must_relay(&mut self, connection: ConnectionHandle) -> Result<(), RelayError> {
        let entry = self.entry_mut(connection).ok_or(RelayError::NotConnected)?;
        entry.connection.can_relay().map_err(|why| match why {
            NoRelay::NotConnected => RelayError::NotConnected,
            NoRelay::Relayed => RelayError::RelayedTwice,
        })
    }

    /// A RELY packet: for somebody else, or for us.
    pub(super) fn take_in_relayed(&mut self, now: Instant, datagram: Datagram<'_>, route: Route) {
        let Datagram { ecn, contents, .. } = datagram;
        let Ok(header) = RelyHeader::parse(contents) else { return };
        let Some(handle) = self.by_cid.get(&header.to).copied() else { return };
        let Some(entry) = self.entry_mut(handle) else { return };
        let Some(inner) = entry.connection.on_rely(now, route, header, contents) else { return };
        self.touched(handle);
        let Some(inner) = contents.get_mut(inner) else { return };
        if inner.first().copied().and_then(PacketKind::of) == Some(PacketKind::Rely) {
            // Who relays through who relays could be sent in circles.
            self.relay.drops.nested += 1;
            return;
        }
        let end = (handle, header.channel);
        if self.relay.is_open(end) {
            let route = Route::Relayed { by: handle, channel: header.channel };
            self.take_in_on(now, route, ecn, inner);
        } else if !self.relay.pass(end, ecn, inner) {
            self.relay.drops.unknown_channel += 1;
        }
    }

    /// Appends the next batch that is passed on.
    pub(super) fn transmit_passing(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        while let Some(batch) = self.relay.next(now) {
            let (by, channel) = batch.to;
            let wrapped = self.wrap(by, channel, batch.datagrams.iter().map(|passing| &*passing.bytes), buffer);
            self.relay.on_left(&batch, wrapped.is_some());
            if let Some(Route::Udp { socket, remote }) = wrapped {
                let size = batch.datagrams.first().map_or(0, |passing| passing.bytes.len());
                return Some(Transmit { socket, to: remote, ecn: batch.ecn, segment_size: size + RELY_OVERHEAD });
            }
        }
        None
    }

    /// What a connection appended to `buffer`, as it leaves: as it is, or wrapped for who relays it. `None`: nobody relays it any more.
    pub(super) fn dispatch(&mut self, departure: Departure, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let Departure { route, ecn, segment_size } = departure;
        let (by, channel) = match route {
            Route::Udp { socket, remote } => return Some(Transmit { socket, to: remote, ecn, segment_size }),
            Route::Relayed { by, channel } => (by, channel),
        };
        let mut bare = core::mem::take(&mut self.bare);
        core::mem::swap(&mut bare, buffer);
        let wrapped = self.wrap(by, channel, bare.chunks(segment_size), buffer);
        bare.clear();
        self.bare = bare;
        let Some(Route::Udp { socket, remote }) = wrapped else {
            self.relay.drops.no_way += 1;
            return None;
        };
        Some(Transmit { socket, to: remote, ecn, segment_size: segment_size + RELY_OVERHEAD })
    }

    /// Appends these datagrams, wrapped for the other end of `by`, and says where they go.
    fn wrap<'a>(
        &mut self,
        by: ConnectionHandle,
        channel: RelayChannel,
        datagrams: impl Iterator<Item = &'a [u8]>,
        buffer: &mut Vec<u8>,
    ) -> Option<Route> {
        let connection = &mut self.connections.get_mut(&by)?.connection;
        let mut route = None;
        for inner in datagrams {
            route = connection.wrap(channel, inner, buffer);
            if route.is_none() {
                buffer.clear();
                return None;
            }
        }
        route
    }

    /// A datagram outside of any connection, on its way.
    pub(super) fn transmit_reply(&mut self, buffer: &mut Vec<u8>) -> Option<Transmit> {
        while let Some((route, datagram)) = self.outgoing.pop_front() {
            buffer.extend_from_slice(&datagram);
            let departure = Departure { route, ecn: Ecn::NotCapable, segment_size: datagram.len() };
            if let Some(transmit) = self.dispatch(departure, buffer) {
                return Some(transmit);
            }
            buffer.clear();
        }
        None
    }
}
