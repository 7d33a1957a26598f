//! A connection's life: setup, live, closing, over. What the endpoint calls.

use super::closing::{Closing, VIOLATION};
use super::live::{Entropy, Live, Other};
use super::paths;
use super::receive::Verdict;
use super::setup::{CALLEE_PATIENCE, Repeat, Setup};
use super::transmit::Departure;
use crate::machine::Ecn;
use crate::mrt::api::{
    ChannelId, Class, CloseReason, Config, ConnectTo, ConnectionHandle, ConnectionStats, Event, ReceiveError, Received,
    SecretId, SendError, SharedSecret,
};
use crate::mrt::channel::set::Notice;
use crate::mrt::crypto::noise::{Handshake, HandshakeFailed};
use crate::mrt::crypto::parameters::Parameters;
use crate::mrt::recovery::congestion::Controller;
use crate::mrt::route::Route;
use crate::mrt::wire::{Cid, Clear, DataHeader, Pattern};
use crate::time::{Duration, Instant};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// The least time between two hints that the other side's address refuses.
const HINT_INTERVAL: Duration = Duration::from_millis(200);

/// One connection, from its first datagram to its last.
pub(crate) struct Connection {
    handle: ConnectionHandle,
    initiator: bool,
    local_cid: Cid,
    /// Where the other side is, until there is a path.
    first_route: Route,
    began: Instant,
    handshake: Option<Duration>,
    setup: Setup,
    pub(super) live: Option<Box<Live>>,
    closing: Option<Closing>,
    over: bool,
    /// Where a datagram of the setup is to go that answers one that came from there.
    reply_due: Option<Route>,
    entropy_seed: [u8; 32],
    /// When those above were last told that the other side's address refuses.
    hinted: Option<Instant>,
    events: VecDeque<Event>,
}

/// A stranger's request, as far as it could be read.
pub(crate) struct Request<'a> {
    pub(crate) from: Route,
    pub(crate) cid: Cid,
    pub(crate) pattern: Pattern,
    pub(crate) noise: &'a [u8],
}

/// What the endpoint gives a connection at its birth: its names and its secret seeds.
pub(crate) struct Birth {
    pub(crate) handle: ConnectionHandle,
    pub(crate) cid: Cid,
    pub(crate) handshake_seed: [u8; 32],
    pub(crate) entropy_seed: [u8; 32],
}

/// Whom to call, and for how long.
pub(crate) struct Call {
    pub(crate) route: Route,
    pub(crate) to: ConnectTo,
    pub(crate) timeout: Duration,
}

impl Connection {
    /// The caller's side.
    pub(crate) fn connect(now: Instant, config: &Config, birth: &Birth, call: &Call) -> Result<Self, HandshakeFailed> {
        let mut payload = Vec::new();
        let (pattern, key, secret) = match &call.to {
            ConnectTo::Unknown => (Pattern::XX, None, None),
            ConnectTo::Known(key) => (Pattern::IK, Some(key), None),
            ConnectTo::Invited { key, id, secret } => {
                payload.extend_from_slice(&id.0);
                (Pattern::IKpsk2, Some(key), Some((*id, secret)))
            }
        };
        let (secret_id, secret) = secret.unzip();
        // The first message of XX is not sealed: our limits wait for the third.
        if pattern != Pattern::XX {
            Live::parameters(config, birth.cid).emit(&mut payload);
        }
        let mut handshake =
            Handshake::initiator(pattern, &config.static_key, &config.application, key, secret, birth.handshake_seed)?;
        let noise = handshake.write(&payload)?;
        let setup = Setup::ExpectAccept {
            handshake: Box::new(handshake),
            pattern,
            secret: secret_id,
            noise,
            cookie: Vec::new(),
            repeat: Repeat::new(now, now + call.timeout),
        };
        Ok(Self::new(now, birth, true, call.route, setup))
    }

    /// The callee's side: reads the caller's first message. `secret_of`: the shared secret with that name, if we know it.
    pub(crate) fn accept(
        now: Instant,
        config: &Config,
        birth: &Birth,
        request: &Request<'_>,
        secret_of: impl FnOnce(SecretId) -> Option<SharedSecret>,
    ) -> Result<Self, HandshakeFailed> {
        let mut handshake =
            Handshake::responder(request.pattern, &config.static_key, &config.application, birth.handshake_seed)?;
        let payload = handshake.read(request.noise)?;
        let mut parameters = payload.as_slice();
        let mut secret_id = None;
        if request.pattern == Pattern::IKpsk2 {
            let (id, rest) = payload.split_first_chunk().ok_or(HandshakeFailed)?;
            let id = SecretId(*id);
            handshake.set_secret(&secret_of(id).ok_or(HandshakeFailed)?)?;
            (secret_id, parameters) = (Some(id), rest);
        }
        let mut ours = Vec::new();
        Live::parameters(config, birth.cid).emit(&mut ours);
        let noise = handshake.write(&ours)?;
        let mut accept = Vec::new();
        Clear::Acon { to: request.cid, from: birth.cid, noise: &noise }.emit(&mut accept);
        let until = now + CALLEE_PATIENCE;
        if request.pattern == Pattern::XX {
            let setup = Setup::ExpectThird { handshake: Box::new(handshake), accept, until };
            let mut connection = Self::new(now, birth, false, request.from, setup);
            connection.reply_due = Some(request.from);
            return Ok(connection);
        }
        let parameters = Parameters::parse(parameters).map_err(|_| HandshakeFailed)?;
        let setup = Setup::ExpectProof { accept, until };
        let mut connection = Self::new(now, birth, false, request.from, setup);
        let other = Other { route: request.from, parameters, secret: secret_id };
        connection.go_live(now, config, handshake, &other)?;
        connection.reply_due = Some(request.from);
        Ok(connection)
    }

    fn new(now: Instant, birth: &Birth, initiator: bool, first_route: Route, setup: Setup) -> Self {
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

    /// The same request came again: our answer was lost. The caller still means it, so our patience begins anew: else a caller that
    /// hears one of the last answers would go on with somebody who has just forgotten it.
    ///
    /// The answer goes to where it came from, which may be another place than before: a NAT stands between, or several ways are tried.
    pub(crate) fn on_repeated_request(&mut self, now: Instant, from: Route) {
        if let Setup::ExpectThird { until, .. } | Setup::ExpectProof { until, .. } = &mut self.setup {
            *until = now + CALLEE_PATIENCE;
            self.reply_due = Some(from);
        }
    }

    /// The other side wants to see a cookie first.
    pub(crate) fn on_retry(&mut self, now: Instant, shown: &[u8]) {
        if let Setup::ExpectAccept { cookie, repeat, .. } = &mut self.setup
            && !shown.is_empty()
        {
            // The first is shown at once. Later ones wait for their turn: the first was forged, or grew old, or these are forged.
            if cookie.is_empty() {
                *repeat = Repeat::new(now, repeat.until);
            }
            cookie.clear();
            cookie.extend_from_slice(shown);
        }
    }

    /// The second message, or the third, in a datagram of so many bytes.
    ///
    /// Wherever it comes from: only who read the message before it can have written this one. But whoever passed it on may have changed
    /// where it says it comes from. The other side is taken to be where the message before went; another place, from where it may only
    /// be able to answer, has to prove itself at once, and until then gets no more than three times what came.
    pub(crate) fn on_accept(&mut self, now: Instant, config: &Config, from: Route, noise: &[u8], bytes: usize) {
        // A message that does not read leaves everything as it was: anyone can send one.
        if self.try_accept(now, config, noise) == Ok(true)
            && let Some(live) = &mut self.live
        {
            live.on_setup_from(now, from, bytes);
        }
    }

    /// `true`: it was read.
    fn try_accept(&mut self, now: Instant, config: &Config, noise: &[u8]) -> Result<bool, HandshakeFailed> {
        let route = self.first_route;
        match &mut self.setup {
            Setup::ExpectAccept { handshake, secret, .. } => {
                let (payload, secret) = (handshake.read(noise)?, *secret);
                let parameters = Parameters::parse(&payload).map_err(|_| HandshakeFailed)?;
                self.on_second(now, config, &Other { route, parameters, secret })?;
                Ok(true)
            }
            Setup::ExpectThird { handshake, .. } => {
                let payload = handshake.read(noise)?;
                let parameters = Parameters::parse(&payload).map_err(|_| HandshakeFailed)?;
                let Setup::ExpectThird { handshake, .. } = core::mem::replace(&mut self.setup, Setup::Done) else {
                    return Err(HandshakeFailed);
                };
                self.go_live(now, config, *handshake, &Other { route, parameters, secret: None })?;
                self.on_connected(now);
                Ok(true)
            }
            Setup::ExpectSealed { .. } | Setup::ExpectProof { .. } | Setup::Done => Ok(false),
        }
    }

    /// The caller has read the second message, and that changed the handshake for good.
    fn on_second(&mut self, now: Instant, config: &Config, other: &Other) -> Result<(), HandshakeFailed> {
        let Setup::ExpectAccept { mut handshake, pattern, repeat, .. } =
            core::mem::replace(&mut self.setup, Setup::Done)
        else {
            return Err(HandshakeFailed);
        };
        if pattern == Pattern::XX {
            let mut ours = Vec::new();
            Live::parameters(config, self.local_cid).emit(&mut ours);
            let noise = handshake.write(&ours)?;
            let mut third = Vec::new();
            Clear::Acon { to: other.parameters.cid, from: self.local_cid, noise: &noise }.emit(&mut third);
            self.setup = Setup::ExpectSealed { third, repeat: Repeat::new(now, repeat.until), also: false };
        }
        self.go_live(now, config, *handshake, other)?;
        if let (Some(sent_at), Some(live)) = (repeat.left_once, &mut self.live) {
            live.paths.active.rtt.update(now, now.saturating_since(sent_at), Duration::ZERO);
        }
        self.on_connected(now);
        if let Some(live) = &mut self.live {
            // The callee waits for something sealed, and nobody may have anything to say.
            live.channels.ping();
        }
        Ok(())
    }

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

    fn transmit_setup(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Route> {
        match &mut self.setup {
            Setup::ExpectAccept { pattern, noise, cookie, repeat, .. } => {
                if repeat.next > now {
                    return None;
                }
                repeat.on_sent(now);
                let relayed = self.first_route.is_relayed();
                Clear::Rcon { relayed, pattern: *pattern, from: self.local_cid, cookie, noise }.emit(buffer);
                Some(self.first_route)
            }
            Setup::ExpectSealed { third, repeat, also } => {
                let live = self.live.as_mut()?;
                if core::mem::take(also)
                    && let Some(route) = live.allowed_on_trial(third.len())
                {
                    buffer.extend_from_slice(third);
                    return Some(route);
                }
                if repeat.next > now {
                    return None;
                }
                repeat.on_sent(now);
                *also = true;
                buffer.extend_from_slice(third);
                Some(live.paths.active.route)
            }
            Setup::ExpectThird { accept, .. } | Setup::ExpectProof { accept, .. } => {
                let route = self.reply_due.take()?;
                buffer.extend_from_slice(accept);
                Some(route)
            }
            Setup::Done => None,
        }
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

    fn go_live(
        &mut self,
        now: Instant,
        config: &Config,
        handshake: Handshake,
        other: &Other,
    ) -> Result<(), HandshakeFailed> {
        let entropy = Entropy::new(self.entropy_seed);
        let outcome = handshake.finish()?;
        self.live = Some(Box::new(Live::new(now, config, self.initiator, outcome, other, entropy)));
        Ok(())
    }

    fn on_connected(&mut self, now: Instant) {
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
