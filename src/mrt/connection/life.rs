//! A connection's life: setup, live, closing, over. What the endpoint calls, once it is born.

use super::birth::Birth;
use super::closing::{Closing, VIOLATION};
use super::live::Live;
use super::paths;
use super::receive::Verdict;
use super::setup::Setup;
use super::transmit::Departure;
use crate::machine::Ecn;
use crate::mrt::api::{
    ChannelId, Class, CloseReason, Config, ConnectionHandle, ConnectionStats, Event, ReceiveError, Received, SendError,
};
use crate::mrt::channel::set::Notice;
use crate::mrt::recovery::congestion::Controller;
use crate::mrt::route::Route;
use crate::mrt::wire::{Cid, DataHeader};
use crate::time::{Duration, Instant};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// The least time between two hints that the other side's address refuses.
const HINT_INTERVAL: Duration = Duration::from_millis(200);

/// One connection, from its first datagram to its last.
pub(crate) struct Connection {
    handle: ConnectionHandle,
    pub(super) initiator: bool,
    pub(super) local_cid: Cid,
    /// Where the other side is, until there is a path.
    pub(super) first_route: Route,
    began: Instant,
    handshake: Option<Duration>,
    pub(super) setup: Setup,
    pub(super) live: Option<Box<Live>>,
    closing: Option<Closing>,
    over: bool,
    /// Where a datagram of the setup is to go that answers one that came from there.
    pub(super) reply_due: Option<Route>,
    pub(super) entropy_seed: [u8; 32],
    /// When those above were last told that the other side's address refuses.
    hinted: Option<Instant>,
    events: VecDeque<Event>,
}

impl Connection {
    pub(super) fn new(now: Instant, birth: &Birth, initiator: bool, first_route: Route, setup: Setup) -> Self {
        Self {
            handle: birth.handle,
            initiator,
            local_cid: birth.cid,
            first_route,
            began: now,
            handshake: None,
            setup,
            live: None,
            closing: None,
            over: false,
            reply_due: None,
            entropy_seed: birth.entropy_seed,
            hinted: None,
            events: VecDeque::new(),
        }
    }

    // What arrives.

    /// A sealed packet with our id.
    pub(crate) fn on_data(&mut self, now: Instant, from: Route, ecn: Ecn, header: DataHeader, datagram: &mut [u8]) {
        let Some(live) = &mut self.live else { return };
        if let Some(closing) = &mut self.closing {
            closing.on_packet();
            return;
        }
        let verdict = live.handle_packet(now, from, ecn, header, datagram);
        if verdict == Verdict::Ignored {
            return;
        }
        match core::mem::replace(&mut self.setup, Setup::Done) {
            Setup::ExpectProof { .. } => {
                self.on_connected(now);
            }
            Setup::ExpectSealed { .. } | Setup::Done => {}
            // Without keys nothing is authentic: these two cannot be here.
            setup @ (Setup::ExpectAccept { .. } | Setup::ExpectThird { .. }) => self.setup = setup,
        }
        match verdict {
            Verdict::Ignored | Verdict::Taken => {}
            Verdict::Closed { code, reason } => {
                self.collect_notices();
                self.end(CloseReason::Remote { code, reason });
            }
            Verdict::Violation(what) => {
                self.collect_notices();
                self.say_goodbye(now, VIOLATION, what);
                self.events.push_back(Event::Lost { connection: self.handle, reason: CloseReason::Violation(what) });
            }
        }
        self.collect_notices();
    }

    /// The system says that nobody listens there. Half believed of a connection that is being made: a living one is not harmed by
    /// it, but those above may want to look.
    pub(crate) fn on_unreachable(&mut self, now: Instant, to: SocketAddr) {
        if let Setup::ExpectAccept { repeat, .. } = &mut self.setup
            && self.first_route.remote() == Some(to)
        {
            repeat.on_unreachable(now);
        }
        match &self.live {
            Some(live)
                if live.paths.active.route.remote() == Some(to)
                    && self.closing.is_none()
                    && self.hinted.is_none_or(|at| now.saturating_since(at) >= HINT_INTERVAL) =>
            {
                self.hinted = Some(now);
                self.events.push_back(Event::Unreachable { connection: self.handle });
            }
            _ => {}
        }
    }

    // What the clock says.

    pub(crate) fn poll_timeout(&self, config: &Config) -> Option<Instant> {
        if self.over {
            return None;
        }
        if let Some(closing) = &self.closing {
            return Some(closing.until);
        }
        let live = self.live.as_ref().and_then(|live| live.poll_timeout(config));
        self.setup.deadline().into_iter().chain(live).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, config: &Config) {
        if let Some(closing) = &self.closing {
            self.over |= closing.until <= now;
            return;
        }
        if self.setup.until().is_some_and(|until| until <= now) {
            let reason = match &self.setup {
                Setup::ExpectSealed { .. } => CloseReason::TimedOut,
                Setup::ExpectAccept { repeat, .. } if repeat.refused => CloseReason::Refused,
                _ => CloseReason::NoAnswer,
            };
            self.end(reason);
            return;
        }
        let lost = self.live.as_mut().and_then(|live| live.handle_timeout(now, config));
        self.collect_notices();
        if let Some(reason) = lost {
            self.end(reason);
        }
    }

    // What leaves.

    pub(crate) fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Departure> {
        if self.over {
            return None;
        }
        if let (Some(closing), Some(live)) = (&mut self.closing, &mut self.live) {
            return live.transmit_close(closing, buffer);
        }
        if let Some(route) = self.transmit_setup(now, buffer) {
            return Some(Departure { route, ecn: Ecn::NotCapable, segment_size: buffer.len() });
        }
        // A callee's address is not proven before the caller has sealed something: only the answer goes there.
        if matches!(self.setup, Setup::ExpectProof { .. }) {
            return None;
        }
        self.live.as_mut()?.poll_transmit(now, buffer)
    }

    // What the application does.

    pub(crate) fn open_channel(&mut self, class: Class) -> Result<ChannelId, SendError> {
        self.writable()?.channels.open(class)
    }

    pub(crate) fn send(&mut self, channel: ChannelId, data: &mut Bytes) -> Result<usize, SendError> {
        let live = self.writable()?;
        let capacity = live.send_capacity();
        live.channels.send(channel, data, capacity)
    }

    pub(crate) fn finish(&mut self, channel: ChannelId) -> Result<(), SendError> {
        self.writable()?.channels.finish(channel)
    }

    pub(crate) fn reset(&mut self, now: Instant, channel: ChannelId, code: u32) -> Result<(), SendError> {
        let live = self.writable()?;
        let rtt = live.rtt();
        live.channels.reset(now, rtt, channel, code)
    }

    pub(crate) fn receive(&mut self, now: Instant, channel: ChannelId) -> Result<Received, ReceiveError> {
        let live = self.live.as_mut().filter(|_| self.closing.is_none()).ok_or(ReceiveError::NotConnected)?;
        let rtt = live.rtt();
        live.channels.receive(now, rtt, channel)
    }

    pub(crate) fn unacknowledged(&self, channel: ChannelId) -> usize {
        self.live.as_ref().map_or(0, |live| live.channels.unacknowledged(channel))
    }

    pub(crate) fn ping(&mut self, now: Instant) {
        if let Ok(live) = self.writable() {
            live.last_pinged = now;
            live.channels.ping();
        }
    }

    pub(crate) fn close(&mut self, now: Instant, code: u32, reason: &str) {
        if self.closing.is_some() || self.over {
            return;
        }
        self.say_goodbye(now, code, reason);
        self.events.push_back(Event::Lost { connection: self.handle, reason: CloseReason::Local });
    }

    pub(crate) fn stats(&self, now: Instant) -> ConnectionStats {
        let mut stats = ConnectionStats {
            route: self.first_route,
            full_size: false,
            rtt: Duration::ZERO,
            min_rtt: None,
            silent_for: now.saturating_since(self.began),
            handshake: self.handshake,
            sent_packets: 0,
            sent_bytes: 0,
            lost_packets: 0,
            delivered_bytes: 0,
            congestion_window: 0,
            in_flight: 0,
            mtu: super::BASE_DATAGRAM,
        };
        if let Some(live) = &self.live {
            stats.route = live.paths.active.route;
            stats.full_size = live.paths.active.full_size;
            stats.rtt = live.rtt();
            stats.min_rtt = live.paths.active.rtt.min();
            stats.silent_for = now.saturating_since(live.last_heard);
            stats.sent_packets = live.counters.sent_packets;
            stats.sent_bytes = live.counters.sent_bytes;
            stats.lost_packets = live.counters.lost_packets;
            stats.delivered_bytes = live.channels.delivered();
            stats.congestion_window = live.paths.active.congestion.window();
            stats.in_flight = live.in_flight();
            stats.mtu = live.paths.active.mtu.current();
        }
        stats
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether the endpoint may forget it.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether a stranger's connection has not proven itself.
    pub(crate) const fn is_half_open(&self) -> bool {
        matches!(self.setup, Setup::ExpectThird { .. } | Setup::ExpectProof { .. })
    }

    /// Whether both sides are proven, and neither has said goodbye.
    pub(super) const fn is_established(&self) -> bool {
        matches!(self.setup, Setup::Done | Setup::ExpectSealed { .. }) && self.live.is_some() && !self.is_closed()
    }

    /// Whether data goes to that address.
    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        let route = self.live.as_ref().map_or(self.first_route, |live| live.paths.active.route);
        route.remote() == Some(address)
    }

    /// When its first datagram came or left.
    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    /// Whether it was closed: those above have been told that it is over.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closing.is_some() || self.over
    }

    /// Whether its close has yet to leave.
    pub(crate) fn has_last_words(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.due)
    }

    // Transitions.

    /// Both sides are proven.
    pub(super) fn on_connected(&mut self, now: Instant) {
        let Some(live) = &self.live else { return };
        self.handshake = Some(now.saturating_since(self.began));
        self.events.push_back(Event::Connected {
            connection: self.handle,
            route: live.paths.active.route,
            key: live.remote_key,
            initiator: self.initiator,
            secret: live.secret,
            binding: live.binding,
        });
    }

    fn say_goodbye(&mut self, now: Instant, code: u32, reason: &str) {
        match &self.live {
            Some(live) if !matches!(self.setup, Setup::ExpectProof { .. }) => {
                self.closing = Some(Closing::new(now, live.paths.active.probe_timeout(0), code, reason));
            }
            // Without keys, or to an address that is not proven, there is nothing to say.
            _ => self.over = true,
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if !self.over {
            self.over = true;
            // Nobody was told of a stranger that never proved itself.
            if !self.is_half_open() {
                self.events.push_back(Event::Lost { connection: self.handle, reason });
            }
        }
    }

    pub(super) fn collect_notices(&mut self) {
        let Some(live) = &mut self.live else { return };
        let connection = self.handle;
        while let Some(notice) = live.paths.notices.pop_front() {
            self.events.push_back(match notice {
                paths::Notice::Up(route, rtt) => Event::PathUp { connection, route, rtt },
                paths::Notice::Failed(route) => Event::PathFailed { connection, route },
                paths::Notice::Down(route) => Event::PathDown { connection, route },
                paths::Notice::Moved(route) => Event::Moved { connection, route },
            });
        }
        while let Some(notice) = live.channels.poll_notice() {
            self.events.push_back(match notice {
                Notice::Readable(channel) => Event::Readable { connection: self.handle, channel },
                Notice::Writable(channel) => Event::Writable { connection: self.handle, channel },
            });
        }
    }

    pub(super) fn writable(&mut self) -> Result<&mut Live, SendError> {
        match &mut self.live {
            Some(live) if self.closing.is_none() && !self.over => Ok(live),
            _ => Err(SendError::NotConnected),
        }
    }
}
