//! The endpoint: a value with the verbs of the transport.

use super::schedule::Schedule;
use crate::machine::{Datagram, Machine, Transmit};
use crate::mrt::api::{
    ChannelId, Class, Config, ConnectError, ConnectTo, ConnectionHandle, ConnectionStats, Event, PublicKey,
    ReceiveError, Received, SecretId, SendError, SharedSecret,
};
use crate::mrt::connection::{Birth, Call, Connection, NoRelay};
use crate::mrt::crypto::cookie::CookieJar;
use crate::mrt::relay::Relay;
use crate::mrt::route::Route;
use crate::mrt::wire::{Cid, Clear};
use crate::time::{Duration, Instant};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

/// Datagrams outside of any connection that wait to be sent, at most.
const MAX_OUTGOING: usize = 256;

/// Many connections on one socket. A value: see [`Machine`] for how it is run.
///
/// ```
/// use anjer::machine::{Datagram, Ecn, Machine, SocketId};
/// use anjer::mrt::{Class, Config, ConnectTo, Endpoint, Event, Received, StaticKey};
/// use anjer::time::{Duration, Instant};
/// use std::net::SocketAddr;
///
/// let alice_at: SocketAddr = "192.0.2.1:1000".parse().unwrap();
/// let bob_at: SocketAddr = "192.0.2.2:2000".parse().unwrap();
/// let mut alice = Endpoint::new(Config::new(StaticKey::from_bytes([1; 32]), b"example"), [1; 32]);
/// let mut bob = Endpoint::new(Config::new(StaticKey::from_bytes([2; 32]), b"example"), [2; 32]);
///
/// let now = Instant::ZERO;
/// let to_bob = alice.connect(now, bob_at, ConnectTo::Known(bob.public_key()), Duration::from_secs(5)).unwrap();
///
/// /// A network without delay: hands over datagrams until nobody has any.
/// fn exchange(now: Instant, alice: (&mut Endpoint, SocketAddr), bob: (&mut Endpoint, SocketAddr)) {
///     let mut buffer = Vec::new();
///     loop {
///         let mut idle = true;
///         for (from, to) in [(0, 1), (1, 0)] {
///             let mut ends = [(&mut *alice.0, alice.1), (&mut *bob.0, bob.1)];
///             while let Some(transmit) = ends[from].0.poll_transmit(now, &mut buffer) {
///                 idle = false;
///                 let sender = ends[from].1;
///                 for datagram in buffer.chunks_mut(transmit.segment_size) {
///                     ends[to].0.handle_datagram(now, Datagram { socket: SocketId::MAIN, from: sender, ecn: Ecn::NotCapable, contents: datagram });
///                 }
///                 buffer.clear();
///             }
///         }
///         if idle {
///             return;
///         }
///     }
/// }
///
/// exchange(now, (&mut alice, alice_at), (&mut bob, bob_at));
/// assert!(matches!(alice.poll_event(), Some(Event::Connected { .. })));
/// assert!(matches!(bob.poll_event(), Some(Event::Connected { .. })));
///
/// let channel = alice.open_channel(to_bob, Class::Chat).unwrap();
/// alice.send(to_bob, channel, &mut "hello".into()).unwrap();
/// exchange(now, (&mut alice, alice_at), (&mut bob, bob_at));
/// let Some(Event::Readable { connection, channel }) = bob.poll_event() else { panic!("something to read") };
/// assert_eq!(bob.receive(now, connection, channel), Ok(Received::Bytes("hello".into())));
/// ```
pub struct Endpoint {
    pub(super) config: Config,
    pub(super) random: StdRng,
    pub(super) cookies: CookieJar,
    pub(super) secrets: BTreeMap<SecretId, SharedSecret>,
    pub(super) listens_to_strangers: bool,
    pub(super) connections: BTreeMap<ConnectionHandle, Entry>,
    pub(super) by_cid: BTreeMap<Cid, ConnectionHandle>,
    /// Strangers' requests and the connections they became.
    pub(super) by_request: BTreeMap<RequestId, ConnectionHandle>,
    /// Strangers that have not proven themselves, the oldest first.
    pub(super) half_open: BTreeSet<ConnectionHandle>,
    /// Requests of the present second that could not be read, and when it began.
    pub(super) unreadable: (Instant, usize),
    pub(super) outgoing: VecDeque<(Route, Vec<u8>)>,
    pub(super) relay: Relay,
    /// What is passed on and what is our own take turns.
    passing_first: bool,
    /// Connections that relayed for us, and are over.
    relays_gone: Vec<ConnectionHandle>,
    /// Where datagrams lie while they are wrapped.
    pub(super) bare: Vec<u8>,
    pub(super) schedule: Schedule,
    pub(super) events: VecDeque<Event>,
    next_handle: u64,
}

/// What makes a request the same when it comes again: its sender's id, and what it says. Without the last, whoever sees one could send
/// another in its name, and the genuine one would count as a repetition. Where it comes from makes no difference: behind some NATs that
/// changes from one to the next.
pub(super) type RequestId = (Cid, [u8; 32]);

/// A connection and the names it is known by.
pub(super) struct Entry {
    pub(super) connection: Connection,
    pub(super) cid: Cid,
    pub(super) request: Option<RequestId>,
    /// Whether it counts among the half-open.
    pub(super) half_open: bool,
}

impl Endpoint {
    /// An endpoint without connections. `seed` has to be secret and used once; a simulation takes a known one.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        let mut random = StdRng::from_seed(seed);
        let mut cookie_key = [0; 32];
        random.fill_bytes(&mut cookie_key);
        let relay = Relay::new(config.relay_rate);
        Self {
            config,
            random,
            cookies: CookieJar::new(cookie_key),
            secrets: BTreeMap::new(),
            listens_to_strangers: true,
            connections: BTreeMap::new(),
            by_cid: BTreeMap::new(),
            by_request: BTreeMap::new(),
            half_open: BTreeSet::new(),
            unreadable: (Instant::ZERO, 0),
            outgoing: VecDeque::new(),
            relay,
            passing_first: false,
            relays_gone: Vec::new(),
            bare: Vec::new(),
            schedule: Schedule::default(),
            events: VecDeque::new(),
            next_handle: 0,
        }
    }

    /// The key that others know this endpoint by.
    pub fn public_key(&self) -> PublicKey {
        self.config.static_key.public()
    }

    /// Starts a connection, which ends in [`Event::Connected`], or in [`Event::Lost`] after `timeout` at the latest. An address alone is
    /// one that the main socket sends to; a relay channel is [opened](Self::relay_open).
    pub fn connect(
        &mut self,
        now: Instant,
        route: impl Into<Route>,
        to: ConnectTo,
        timeout: Duration,
    ) -> Result<ConnectionHandle, ConnectError> {
        let route = route.into();
        if !route.is_plausible() {
            return Err(ConnectError::BadAddress);
        }
        if self.connections.len() >= self.config.max_connections {
            return Err(ConnectError::TooMany);
        }
        match &to {
            ConnectTo::Known(key) | ConnectTo::Invited { key, .. } if *key == self.public_key() => {
                return Err(ConnectError::Ourselves);
            }
            ConnectTo::Unknown | ConnectTo::Known(_) | ConnectTo::Invited { .. } => {}
        }
        let birth = self.draw();
        self.can_go(birth.handle, route).map_err(|why| match why {
            NoRelay::NotConnected => ConnectError::NoSuchRelay,
            NoRelay::Relayed => ConnectError::RelayedTwice,
        })?;
        let connection = Connection::connect(now, &self.config, &birth, &Call { route, to, timeout })
            // Only a key that is no point on the curve fails here.
            .map_err(|_| ConnectError::BadAddress)?;
        if let Route::Relayed { by, channel } = route {
            self.relay.open((by, channel)).map_err(|_| ConnectError::TooMany)?;
        }
        self.insert(birth.handle, Entry { connection, cid: birth.cid, request: None, half_open: false });
        Ok(birth.handle)
    }

    /// Lets callers in who prove that they know this secret, too. Whoever calls this bounds how many there are.
    pub fn add_secret(&mut self, id: SecretId, secret: SharedSecret) {
        self.secrets.insert(id, secret);
    }

    /// Forgets a secret. Connections that were made with it stay.
    pub fn remove_secret(&mut self, id: SecretId) {
        self.secrets.remove(&id);
    }

    /// Whether callers are heard that do not know our key. They are at first.
    pub const fn listen_to_strangers(&mut self, yes: bool) {
        self.listens_to_strangers = yes;
    }

    /// Opens a channel. The other side hears of it with the first byte.
    pub fn open_channel(&mut self, connection: ConnectionHandle, class: Class) -> Result<ChannelId, SendError> {
        self.entry_mut(connection).ok_or(SendError::NotConnected)?.connection.open_channel(class)
    }

    /// Takes bytes from the front of `data`, as far as the channel's buffer has room, and says how many. If not all:
    /// [`Event::Writable`] comes when there is room.
    pub fn send(
        &mut self,
        connection: ConnectionHandle,
        channel: ChannelId,
        data: &mut Bytes,
    ) -> Result<usize, SendError> {
        let taken = self.entry_mut(connection).ok_or(SendError::NotConnected)?.connection.send(channel, data)?;
        self.schedule.wake(connection);
        Ok(taken)
    }

    /// Nothing more will be sent on this channel.
    pub fn finish(&mut self, connection: ConnectionHandle, channel: ChannelId) -> Result<(), SendError> {
        self.entry_mut(connection).ok_or(SendError::NotConnected)?.connection.finish(channel)?;
        self.schedule.wake(connection);
        Ok(())
    }

    /// Gives up on both directions of a channel: what was not sent is dropped, the other side's `receive` says
    /// [`ReceiveError::Reset`], its `send` [`SendError::Stopped`], both with `code`.
    pub fn reset(
        &mut self,
        now: Instant,
        connection: ConnectionHandle,
        channel: ChannelId,
        code: u32,
    ) -> Result<(), SendError> {
        self.entry_mut(connection).ok_or(SendError::NotConnected)?.connection.reset(now, channel, code)?;
        self.schedule.wake(connection);
        Ok(())
    }

    /// What a channel has for us. To be called until it says [`Received::Nothing`]; then [`Event::Readable`] comes again.
    pub fn receive(
        &mut self,
        now: Instant,
        connection: ConnectionHandle,
        channel: ChannelId,
    ) -> Result<Received, ReceiveError> {
        let received = self.entry_mut(connection).ok_or(ReceiveError::NotConnected)?.connection.receive(now, channel);
        // Reading gives credit, and credit is a frame.
        self.schedule.wake(connection);
        received
    }

    /// Bytes handed to `send` on this channel that the other side has not acknowledged.
    pub fn unacknowledged(&self, connection: ConnectionHandle, channel: ChannelId) -> usize {
        self.connections.get(&connection).map_or(0, |entry| entry.connection.unacknowledged(channel))
    }

    /// Asks for a sign of life. It shows in [`ConnectionStats::silent_for`].
    pub fn ping(&mut self, now: Instant, connection: ConnectionHandle) {
        if let Some(entry) = self.entry_mut(connection) {
            entry.connection.ping(now);
            self.schedule.wake(connection);
        }
    }

    /// Tells the other side and ends the connection. What was not acknowledged by then may not arrive.
    pub fn close(&mut self, now: Instant, connection: ConnectionHandle, code: u32, reason: &str) {
        if let Some(entry) = self.entry_mut(connection) {
            entry.connection.close(now, code, reason);
            self.touched(connection);
        }
    }

    /// A connection's numbers; `None` when it is over.
    pub fn stats(&self, now: Instant, connection: ConnectionHandle) -> Option<ConnectionStats> {
        let entry = self.connections.get(&connection).filter(|entry| !entry.connection.is_closed())?;
        Some(entry.connection.stats(now))
    }

    /// Connections that say nothing are kept alive so often from here on: as often as the NAT in front of us needs it, and often enough for
    /// one to be lost before the other side takes the silence for the end.
    pub fn set_keep_alive(&mut self, interval: Duration) {
        let interval = interval.min(self.config.idle_timeout / 3);
        self.config.keep_alive = Some(interval);
        self.config.standby_keep_alive = self.config.standby_keep_alive.min(interval);
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether everything that had to leave has left, the last words of closed connections too.
    pub fn is_quiet(&self) -> bool {
        self.outgoing.is_empty() && !self.connections.values().any(|entry| entry.connection.has_last_words())
    }

    // For the folder.

    /// A name, an id and seeds for a new connection.
    pub(super) fn draw(&mut self) -> Birth {
        let handle = ConnectionHandle(self.next_handle);
        self.next_handle += 1;
        let mut cid = Cid(self.random.next_u64());
        while self.by_cid.contains_key(&cid) {
            cid = Cid(self.random.next_u64());
        }
        let mut birth = Birth { handle, cid, handshake_seed: [0; 32], entropy_seed: [0; 32] };
        self.random.fill_bytes(&mut birth.handshake_seed);
        self.random.fill_bytes(&mut birth.entropy_seed);
        birth
    }

    pub(super) fn insert(&mut self, handle: ConnectionHandle, entry: Entry) {
        self.by_cid.insert(entry.cid, handle);
        if let Some(request) = entry.request {
            self.by_request.insert(request, handle);
        }
        if entry.half_open {
            self.half_open.insert(handle);
        }
        self.connections.insert(handle, entry);
        self.schedule.wake(handle);
    }

    pub(super) fn entry_mut(&mut self, handle: ConnectionHandle) -> Option<&mut Entry> {
        self.connections.get_mut(&handle)
    }

    /// Something was done to a connection: its news are taken, its turn to send may have come, its end too.
    pub(super) fn touched(&mut self, handle: ConnectionHandle) {
        let Some(entry) = self.connections.get_mut(&handle) else { return };
        while let Some(event) = entry.connection.poll_event() {
            self.events.push_back(event);
        }
        if entry.half_open && !entry.connection.is_half_open() {
            entry.half_open = false;
            self.half_open.remove(&handle);
        }
        if entry.connection.is_over() {
            self.remove(handle);
        } else {
            self.schedule.wake(handle);
        }
    }

    /// A datagram outside of any connection. Dropped when too many wait: it was an answer to something that can be repeated.
    pub(super) fn reply(&mut self, to: Route, packet: &Clear<'_>) {
        if self.outgoing.len() < MAX_OUTGOING {
            let mut datagram = Vec::with_capacity(packet.len());
            packet.emit(&mut datagram);
            self.outgoing.push_back((to, datagram));
        }
    }

    pub(super) fn remove(&mut self, handle: ConnectionHandle) {
        let Some(entry) = self.connections.remove(&handle) else { return };
        self.by_cid.remove(&entry.cid);
        if let Some(request) = entry.request {
            self.by_request.remove(&request);
        }
        self.half_open.remove(&handle);
        self.schedule.forget(handle);
        if self.relay.forget(handle) {
            self.relays_gone.push(handle);
        }
    }

    /// Connections that went through one that is over look for another way.
    fn mourn_relays(&mut self, now: Instant) {
        while let Some(relay) = self.relays_gone.pop() {
            let all = self.connections.iter_mut();
            let affected =
                all.filter_map(|(handle, entry)| entry.connection.on_relay_gone(now, relay).then_some(*handle));
            for handle in affected.collect::<Vec<_>>() {
                self.touched(handle);
            }
        }
    }
}

impl Machine for Endpoint {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.take_in(now, datagram);
    }

    fn handle_unreachable(&mut self, now: Instant, to: SocketAddr) {
        let affected: Vec<ConnectionHandle> = self
            .connections
            .iter()
            .filter(|(_, entry)| entry.connection.is_at(to))
            .map(|(handle, _)| *handle)
            .collect();
        for handle in affected {
            if let Some(entry) = self.entry_mut(handle) {
                entry.connection.on_unreachable(now, to);
            }
            self.touched(handle);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(handle) = self.schedule.take_due(now) {
            if let Some(entry) = self.connections.get_mut(&handle) {
                entry.connection.handle_timeout(now, &self.config);
            }
            self.touched(handle);
        }
    }

    fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(transmit) = self.transmit_reply(buffer) {
            return Some(transmit);
        }
        if !self.relays_gone.is_empty() {
            self.mourn_relays(now);
        }
        self.passing_first = !self.passing_first;
        if self.passing_first
            && let Some(transmit) = self.transmit_passing(now, buffer)
        {
            return Some(transmit);
        }
        while let Some(handle) = self.schedule.current() {
            let Some(entry) = self.connections.get_mut(&handle) else {
                self.schedule.rest(handle, None);
                continue;
            };
            if let Some(departure) = entry.connection.poll_transmit(now, buffer) {
                self.schedule.next();
                if let Some(transmit) = self.dispatch(departure, buffer) {
                    return Some(transmit);
                }
                buffer.clear();
                continue;
            }
            let alarm = entry.connection.poll_timeout(&self.config);
            self.schedule.rest(handle, alarm);
        }
        self.transmit_passing(now, buffer)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.first_alarm().into_iter().chain(self.relay.poll_timeout()).min()
    }
}
