//! All links: the verbs.

use super::budget::Budget;
use super::choice::{Choice, choose};
use super::connection::{Connection, FAREWELL_TIME, HELLO_TIME, MAX_EARLY_CHANNELS, Phase, RETIRING_TIME};
use super::dial::{Dial, DialNumber};
use super::frame::{MAX_FRAME, MAX_HELLO};
use super::hello::{Hello, HelloError};
use crate::mrt::{self, ChannelId, Class, CloseReason, ConnectionHandle, Endpoint, Received};
use crate::node::catalogue::CatalogueMessage;
use crate::node::identity::{Identity, NodeId};
use crate::node::record::MemberRecord;
use crate::node::room::{DialFailure, DialTo, LinkDown, RoomMessage};
use crate::node::wire;
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Dials at once. A room asks for a handful, downloads for one each.
const MAX_DIALS: usize = 256;

/// Bytes that may wait for all peers together. Beyond, whoever is furthest behind is given up.
const MAX_WAITING_ALL: usize = 64 << 20;

/// Bytes of messages, and messages, that are read before somebody has taken them. A peer that holds back one packet makes megabytes
/// of small messages readable at once.
const MAX_UNTAKEN: usize = 1 << 20;

/// What a message costs besides its bytes.
const MESSAGE_COST: usize = 512;

/// Links to nodes that called us and are no members, at most. When there are more, the oldest is given up.
const MAX_STRANGERS: usize = 128;

/// The same from one IP. When there are more, the one that comes is sent away.
const MAX_STRANGERS_FROM_ONE: usize = 16;

/// Bytes of a stranger's message: a request with a voucher, or what a lost half of the room has to say.
const MAX_STRANGER_FRAME: usize = 512 << 10;

/// How often connections that are to be closed are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why we close, as told to the other side.
mod close {
    pub(super) const DUPLICATE: u32 = 1;
    pub(super) const NOT_PROVEN: u32 = 2;
    pub(super) const TOO_SLOW: u32 = 3;
    pub(super) const MALFORMED: u32 = 4;
    pub(super) const NOT_NEEDED: u32 = 5;
    pub(super) const LEFT: u32 = 6;
    pub(super) const CROWDED: u32 = 7;
    /// Of a channel: nobody asked for what comes on it.
    pub(super) const NOT_ASKED: u32 = 8;
}

/// What is said over a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LinkMessage {
    /// From room to room.
    Room(Box<RoomMessage>),
    /// From catalogue to catalogue.
    Catalogue(CatalogueMessage),
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkEvent {
    /// A peer proved itself. Also said when a dial is answered by a peer that is linked already.
    Up {
        /// What it says of itself, checked.
        record: MemberRecord,
        /// Where its packets come from.
        remote: SocketAddr,
        /// The invitation's secret that it proved to know.
        secret: Option<mrt::SecretId>,
        /// The dial that this answers.
        dial: Option<DialNumber>,
    },
    /// There is no link to this peer any more.
    Down {
        /// Which peer.
        peer: NodeId,
        /// Why.
        why: LinkDown,
    },
    /// Nobody answered a dial, or not the right one.
    DialFailed {
        /// Which dial.
        dial: DialNumber,
        /// Why.
        why: DialFailure,
        /// The words of the other side, or ours for a person; may be empty.
        words: String,
    },
    /// A peer said something.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: LinkMessage,
    },
    /// There is something to receive on a bulk channel.
    Bulk {
        /// Whose.
        peer: NodeId,
        /// On which connection.
        connection: ConnectionHandle,
        /// Which channel.
        channel: ChannelId,
    },
    /// The system says that nobody listens at this peer's address: a hint, no more.
    Unreachable(NodeId),
    /// A connection is gone, and its channels.
    Gone(ConnectionHandle),
}

/// A message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// There is no link to that peer.
    #[error("not linked")]
    NotLinked,
    /// The message is larger than the peer would take.
    #[error("too large")]
    TooLarge,
    /// The peer does not read; its link was given up.
    #[error("the peer is too slow")]
    TooSlow,
}

/// The links of this node.
#[derive(Debug)]
pub struct Links {
    identity: Arc<Identity>,
    /// Ours, as we say it.
    hello: Hello,
    connections: BTreeMap<ConnectionHandle, Connection>,
    /// The one connection in use for each peer.
    peers: BTreeMap<NodeId, ConnectionHandle>,
    dials: BTreeMap<DialNumber, Dial>,
    attempts: BTreeMap<ConnectionHandle, DialNumber>,
    budget: Budget,
    /// Who may say more than a stranger.
    members: BTreeSet<NodeId>,
    next_dial: u64,
    look_at: Option<Instant>,
    events: VecDeque<LinkEvent>,
    /// What the messages among them cost.
    untaken: usize,
}

impl Links {
    /// No links yet. `program` is random, chosen when the program started.
    pub fn new(identity: Arc<Identity>, program: u64, record: MemberRecord) -> Self {
        Self {
            identity,
            hello: Hello { program, record },
            connections: BTreeMap::new(),
            peers: BTreeMap::new(),
            dials: BTreeMap::new(),
            attempts: BTreeMap::new(),
            budget: Budget::default(),
            members: BTreeSet::new(),
            next_dial: 0,
            look_at: None,
            events: VecDeque::new(),
            untaken: 0,
        }
    }

    /// What later hellos say of us.
    pub fn set_record(&mut self, record: MemberRecord) {
        self.hello.record = record;
    }

    /// Who is in the room: everybody else is a stranger.
    pub fn set_members(&mut self, members: impl Iterator<Item = NodeId>) {
        self.members = members.collect();
    }

    /// Connects to a node. Ends in [`LinkEvent::Up`] with this number, or [`LinkEvent::DialFailed`].
    pub fn dial(&mut self, now: Instant, endpoint: &mut Endpoint, to: DialTo) -> DialNumber {
        let number = DialNumber(self.next_dial);
        self.next_dial += 1;
        if self.dials.len() >= MAX_DIALS {
            let words = "too many dials at once".to_owned();
            self.events.push_back(LinkEvent::DialFailed { dial: number, why: DialFailure::NoAnswer, words });
            return number;
        }
        self.dials.insert(number, Dial::new(now, to));
        self.advance(now, endpoint, number);
        number
    }

    /// Says something to a peer.
    pub fn send(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        to: NodeId,
        message: &LinkMessage,
    ) -> Result<(), Lost> {
        let handle = *self.peers.get(&to).ok_or(Lost::NotLinked)?;
        let connection = self.connections.get_mut(&handle).ok_or(Lost::NotLinked)?;
        let body = wire::encode(message);
        if body.len() > MAX_FRAME {
            return Err(Lost::TooLarge);
        }
        if connection.outgoing.push(class_of(message), &body).is_err() {
            self.close(now, endpoint, handle, close::TOO_SLOW, "nothing is read here");
            self.down(to, handle, LinkDown::Lost);
            return Err(Lost::TooSlow);
        }
        // An error means that the connection just ended: MRT says so in an event.
        let _ = connection.outgoing.flush(endpoint, handle);
        if !connection.outgoing.is_empty() {
            self.shed(now, endpoint);
        }
        if self.peers.contains_key(&to) { Ok(()) } else { Err(Lost::TooSlow) }
    }

    /// Gives up the peers that are furthest behind, while more waits for all of them than may.
    fn shed(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let behind = |links: &Self| {
            let waiting = |(peer, handle): (&NodeId, &ConnectionHandle)| {
                links.connections.get(handle).map(|connection| (connection.outgoing.waiting(), *peer, *handle))
            };
            let all: Vec<(usize, NodeId, ConnectionHandle)> = links.peers.iter().filter_map(waiting).collect();
            let sum: usize = all.iter().map(|(waiting, ..)| *waiting).sum();
            all.into_iter().max().filter(|_| sum > MAX_WAITING_ALL)
        };
        while let Some((_, peer, handle)) = behind(self) {
            self.close(now, endpoint, handle, close::TOO_SLOW, "nothing is read here");
            self.down(peer, handle, LinkDown::Lost);
        }
    }

    /// This link serves no purpose: it is closed once what was said has left.
    pub fn drop_link(&mut self, now: Instant, peer: NodeId) {
        let Some(handle) = self.peers.get(&peer).copied() else { return };
        self.move_to_closing(now, handle, close::NOT_NEEDED);
        self.down(peer, handle, LinkDown::Closed);
    }

    /// The end: every link is closed once what was said has left. Nothing is reported.
    pub fn close_all(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for handle in self.attempts.keys().copied().collect::<Vec<_>>() {
            endpoint.close(now, handle, close::LEFT, "");
        }
        self.dials.clear();
        self.attempts.clear();
        self.peers.clear();
        for handle in self.connections.keys().copied().collect::<Vec<_>>() {
            self.move_to_closing(now, handle, close::LEFT);
        }
        self.look_after_ends(now, endpoint);
        self.events.clear();
    }

    /// What MRT reports.
    pub fn handle_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: mrt::Event) {
        match event {
            mrt::Event::Connected { connection, remote, key, initiator, secret, binding } => {
                let dial = self.attempts.remove(&connection);
                if let Some(dial) = dial.and_then(|number| self.dials.get_mut(&number)) {
                    for attempt in dial.attempts() {
                        self.attempts.remove(&attempt);
                    }
                    dial.on_connected(now, endpoint, connection);
                }
                let phase = Phase::ExpectHello { until: now + HELLO_TIME };
                let connection = Connection {
                    handle: connection,
                    key,
                    remote,
                    initiator,
                    secret,
                    binding,
                    since: now,
                    phase,
                    dial,
                    program: 0,
                    outgoing: Default::default(),
                    incoming: BTreeMap::new(),
                    unread: BTreeSet::new(),
                    behind: None,
                    retired: false,
                };
                self.on_connected(endpoint, connection);
            }
            mrt::Event::Readable { connection, channel } => self.on_readable(now, endpoint, connection, channel),
            mrt::Event::Writable { connection, .. } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    let _ = connection.outgoing.flush(endpoint, connection.handle);
                }
            }
            mrt::Event::Moved { connection, remote } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.remote = remote;
                }
            }
            mrt::Event::Unreachable { connection } => {
                let linked = |connection: &Connection| matches!(connection.phase, Phase::Linked { .. });
                let peer = self.connections.get(&connection).filter(|known| linked(known)).and_then(Connection::peer);
                self.events.extend(peer.map(LinkEvent::Unreachable));
            }
            mrt::Event::Lost { connection, reason } => self.on_lost(now, endpoint, connection, &reason),
        }
    }

    fn on_connected(&mut self, endpoint: &mut Endpoint, mut connection: Connection) {
        let ours = self.hello.emit(&self.identity, connection.ours(self.hello.record.noise()));
        if connection.outgoing.push(Class::Control, &ours).is_ok() {
            let _ = connection.outgoing.flush(endpoint, connection.handle);
        }
        self.connections.insert(connection.handle, connection);
    }

    fn on_readable(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, channel: ChannelId) {
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        let early = matches!(connection.phase, Phase::ExpectHello { .. });
        if channel.class() == Class::Bulk {
            if !connection.is_theirs(channel) {
                // The answer to a question that was given up. An error means that the channel is gone, as it should be.
                let _ = endpoint.reset(now, handle, channel, close::NOT_ASKED);
                return;
            }
            match connection.peer() {
                Some(peer) => self.events.push_back(LinkEvent::Bulk { peer, connection: handle, channel }),
                None if early => self.keep_for_later(now, endpoint, handle, channel),
                None => {}
            }
        } else if connection.is_theirs(channel) {
            if channel.index() > 0 {
                // One channel a class is what a link has; each may hold a frame that is not whole.
                self.fail(now, endpoint, handle, close::MALFORMED, "too many channels");
                return;
            }
            let proof = channel.class() == Class::Control;
            if connection.behind.is_some() || (early && !proof) {
                self.keep_for_later(now, endpoint, handle, channel);
            } else {
                self.read(now, endpoint, handle, channel);
            }
        }
    }

    fn keep_for_later(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, channel: ChannelId) {
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        connection.unread.insert(channel);
        if connection.unread.len() > MAX_EARLY_CHANNELS {
            self.fail(now, endpoint, handle, close::NOT_PROVEN, "too many channels before a hello");
        }
    }

    /// Takes everything that a channel has, frame by frame.
    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, channel: ChannelId) {
        let begun = self.connections.get(&handle).is_some_and(|connection| connection.incoming.contains_key(&channel));
        if begun && !self.read_frames(now, endpoint, handle, channel) {
            return;
        }
        loop {
            let Some(connection) = self.connections.get_mut(&handle) else { return };
            match endpoint.receive(now, handle, channel) {
                Ok(Received::Bytes(bytes)) => connection.incoming.entry(channel).or_default().push(&bytes),
                Ok(Received::Nothing) => return,
                Ok(Received::Finished) | Err(_) => {
                    connection.incoming.remove(&channel);
                    return self.on_channel_end(now, endpoint, handle);
                }
            }
            if !self.read_frames(now, endpoint, handle, channel) {
                return;
            }
        }
    }

    /// Whether reading may go on.
    fn read_frames(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        channel: ChannelId,
    ) -> bool {
        loop {
            let Some(connection) = self.connections.get_mut(&handle) else { return false };
            if self.untaken >= MAX_UNTAKEN {
                connection.unread.insert(channel);
                return false;
            }
            let initiator = connection.initiator;
            let Some(reader) = connection.incoming.get_mut(&channel) else { return false };
            let (peer, limit) = match connection.phase {
                Phase::ExpectHello { .. } => (None, MAX_HELLO),
                Phase::Linked { peer } | Phase::Retiring { peer, .. } => {
                    let known = initiator || self.members.contains(&peer);
                    (Some(peer), if known { MAX_FRAME } else { MAX_STRANGER_FRAME })
                }
                Phase::Closing { .. } => return false,
            };
            match (reader.next(limit), peer) {
                (Ok(None), _) => return true,
                (Ok(Some(body)), Some(from)) => match wire::decode(&body, MAX_FRAME) {
                    Ok(message) => {
                        self.untaken = self.untaken.saturating_add(body.len() + MESSAGE_COST);
                        self.events.push_back(LinkEvent::Message { from, message });
                    }
                    Err(_) => return self.fail(now, endpoint, handle, close::MALFORMED, "malformed message"),
                },
                (Ok(Some(body)), None) => {
                    let theirs = connection.theirs(self.hello.record.noise());
                    match Hello::check(&body, theirs) {
                        Ok(hello) => self.on_hello(now, endpoint, handle, hello),
                        Err(error) => return self.refuse_hello(now, endpoint, handle, error),
                    }
                    if self.connections.get(&handle).is_none_or(|connection| connection.behind.is_some()) {
                        if let Some(connection) = self.connections.get_mut(&handle) {
                            connection.unread.insert(channel);
                        }
                        return false;
                    }
                }
                (Err(_), _) => return self.fail(now, endpoint, handle, close::MALFORMED, "frame too long"),
            }
        }
    }

    /// Always `false`: there is nothing more to read.
    fn refuse_hello(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        error: HelloError,
    ) -> bool {
        self.fail(now, endpoint, handle, close::NOT_PROVEN, &error.to_string())
    }

    /// The peer proved itself: is this its link?
    fn on_hello(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, hello: Hello) {
        let (own, peer) = (self.identity.id(), hello.id());
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        connection.program = hello.program;
        let dial = connection.dial.take();
        let expected = dial.and_then(|number| self.dials.remove(&number)).and_then(|dial| dial.expected);
        if peer == own || expected.is_some_and(|expected| expected != peer) {
            if let Some(dial) = dial {
                let why = if peer == own { DialFailure::BadAddress } else { DialFailure::WrongPeer };
                self.events.push_back(LinkEvent::DialFailed { dial, why, words: String::new() });
            }
            self.fail(now, endpoint, handle, close::NOT_PROVEN, "somebody else was expected");
            return;
        }
        if !connection.initiator && connection.secret.is_none() && !self.members.contains(&peer) {
            let remote = connection.remote;
            if !self.make_room_for_stranger(now, endpoint, peer, remote) {
                self.fail(now, endpoint, handle, close::CROWDED, "too many from there are at the door");
                return;
            }
        }
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        let (remote, secret, second) = (connection.remote, connection.secret, connection.candidate(own, peer));
        connection.phase = Phase::Linked { peer };
        let up = LinkEvent::Up { record: hello.record, remote, secret, dial };
        let first = self.peers.get(&peer).and_then(|first| self.connections.get(first));
        let Some((first, age)) = first.map(|first| (first.handle, now.saturating_since(first.since))) else {
            self.peers.insert(peer, handle);
            self.events.push_back(up);
            return self.read_unread(now, endpoint, handle);
        };
        let candidate = self.connections.get(&first).map_or(second, |first| first.candidate(own, peer));
        match choose(candidate, second, age) {
            Choice::Restart => {
                self.close(now, endpoint, first, close::DUPLICATE, "a later connection took over");
                self.down(peer, first, LinkDown::Lost);
                self.peers.insert(peer, handle);
                self.events.push_back(up);
            }
            Choice::MoveToSecond => {
                self.peers.insert(peer, handle);
                if let Some(second) = self.connections.get_mut(&handle) {
                    second.behind = Some(first);
                }
                self.move_to_retiring(now, peer, first);
                self.events.extend(dial.map(|_| up));
            }
            Choice::KeepFirst => {
                self.move_to_retiring(now, peer, handle);
                self.events.extend(dial.map(|_| up));
            }
        }
        self.look_after_ends(now, endpoint);
        self.read_unread(now, endpoint, handle);
    }

    /// Whether one more stranger from there can be linked; the oldest of all makes room.
    fn make_room_for_stranger(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        peer: NodeId,
        remote: SocketAddr,
    ) -> bool {
        let strangers = self.peers.iter().filter(|(other, _)| **other != peer && !self.members.contains(other));
        let strangers = strangers.filter_map(|(_, handle)| self.connections.get(handle)).filter(|one| !one.initiator);
        let strangers: Vec<_> = strangers.map(|one| (one.since, one.handle, one.remote.ip())).collect();
        if strangers.iter().filter(|(.., ip)| *ip == remote.ip()).count() >= MAX_STRANGERS_FROM_ONE {
            return false;
        }
        if strangers.len() >= MAX_STRANGERS
            && let Some((_, oldest, _)) = strangers.iter().min()
        {
            self.fail(now, endpoint, *oldest, close::CROWDED, "too many are at the door");
        }
        true
    }

    /// Goes on reading where too much had been read. To be called once every event was taken; whether there are more.
    pub fn resume(&mut self, now: Instant, endpoint: &mut Endpoint) -> bool {
        let left = |connection: &&Connection| connection.peer().is_some() && !connection.unread.is_empty();
        let left: Vec<_> = self.connections.values().filter(left).map(|connection| connection.handle).collect();
        for handle in left {
            self.read_unread(now, endpoint, handle);
        }
        !self.events.is_empty()
    }

    /// Reads what had to wait.
    fn read_unread(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle) {
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        if connection.behind.is_some() {
            return;
        }
        for channel in std::mem::take(&mut connection.unread) {
            self.on_readable(now, endpoint, handle, channel);
        }
    }

    fn on_channel_end(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle) {
        let Some(connection) = self.connections.get(&handle) else { return };
        match connection.phase {
            // A link's channels end when the other side retires it: it sees a better one, whose hello is on its way. If none
            // comes, the link is of no use.
            Phase::Linked { .. } | Phase::Retiring { .. } => self.look_at = Some(now),
            Phase::ExpectHello { .. } => {
                self.fail(now, endpoint, handle, close::NOT_PROVEN, "no hello");
            }
            Phase::Closing { .. } => {}
        }
    }

    fn on_lost(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, reason: &CloseReason) {
        if let Some(number) = self.attempts.remove(&handle) {
            if let Some(dial) = self.dials.get_mut(&number) {
                dial.on_lost(handle, reason);
            }
            return self.advance(now, endpoint, number);
        }
        let Some(connection) = self.connections.remove(&handle) else { return };
        self.events.push_back(LinkEvent::Gone(handle));
        self.unhold(now, endpoint, handle);
        if let Some(number) = connection.dial {
            self.dials.remove(&number);
            let (why, words) = match reason {
                CloseReason::Remote { reason, .. } if reason.is_empty() => (DialFailure::Rejected, String::new()),
                CloseReason::Remote { reason, .. } => {
                    (DialFailure::Rejected, format!("the other side says \"{reason}\""))
                }
                _ => (DialFailure::NoAnswer, String::new()),
            };
            self.events.push_back(LinkEvent::DialFailed { dial: number, why, words });
        }
        if let Phase::Linked { peer } = connection.phase {
            let why = match reason {
                CloseReason::Local | CloseReason::Remote { .. } | CloseReason::Violation(_) => LinkDown::Closed,
                CloseReason::TimedOut | CloseReason::NoAnswer => LinkDown::Lost,
                CloseReason::Refused => LinkDown::Refused,
            };
            self.down(peer, handle, why);
        }
    }

    /// Looks after hellos that do not come, dials, and connections that end.
    pub fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let late = |connection: &&Connection| matches!(connection.phase, Phase::ExpectHello { until } if now >= until);
        let late: Vec<_> = self.connections.values().filter(late).map(|connection| connection.handle).collect();
        for handle in late {
            self.fail(now, endpoint, handle, close::NOT_PROVEN, "no hello");
        }
        let due = |(_, dial): &(&DialNumber, &Dial)| dial.poll_timeout().is_some_and(|at| now >= at);
        for number in self.dials.iter().filter(due).map(|(number, _)| *number).collect::<Vec<_>>() {
            self.advance(now, endpoint, number);
        }
        if self.look_at.is_some_and(|at| now >= at) {
            self.look_after_ends(now, endpoint);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let hellos = self.connections.values().filter_map(|connection| match connection.phase {
            Phase::ExpectHello { until } => Some(until),
            _ => None,
        });
        hellos.chain(self.dials.values().filter_map(Dial::poll_timeout)).chain(self.look_at).min()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        let event = self.events.pop_front();
        if let Some(LinkEvent::Message { .. }) = &event
            && self.events.is_empty()
        {
            self.untaken = 0;
        }
        event
    }

    /// The connection that leads to this peer.
    pub fn connection(&self, peer: NodeId) -> Option<ConnectionHandle> {
        self.peers.get(&peer).copied()
    }

    /// Everybody we are linked to, and how.
    pub fn linked(&self) -> impl Iterator<Item = (NodeId, ConnectionHandle)> {
        self.peers.iter().map(|(peer, connection)| (*peer, *connection))
    }

    /// Bytes that wait for this peer.
    pub fn waiting(&self, peer: NodeId) -> usize {
        let connection = self.peers.get(&peer).and_then(|handle| self.connections.get(handle));
        connection.map_or(0, |connection| connection.outgoing.waiting())
    }

    /// Whether no connection is left.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.attempts.is_empty()
    }

    fn advance(&mut self, now: Instant, endpoint: &mut Endpoint, number: DialNumber) {
        let Some(dial) = self.dials.get_mut(&number) else { return };
        while let Some(attempt) = dial.advance(now, endpoint, &mut self.budget) {
            self.attempts.insert(attempt, number);
        }
        if let Some(why) = dial.failed() {
            self.dials.remove(&number);
            self.events.push_back(LinkEvent::DialFailed { dial: number, why, words: String::new() });
        }
    }

    /// The second connection is read once the first has nothing more.
    fn unhold(&mut self, now: Instant, endpoint: &mut Endpoint, first: ConnectionHandle) {
        let behind = |connection: &&mut Connection| connection.behind == Some(first);
        let Some(second) = self.connections.values_mut().find(behind) else { return };
        second.behind = None;
        let second = second.handle;
        self.read_unread(now, endpoint, second);
    }

    /// Closes what has said and heard everything.
    fn look_after_ends(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let ending = |connection: &&Connection| {
            matches!(connection.phase, Phase::Retiring { .. } | Phase::Closing { .. })
                || (matches!(connection.phase, Phase::Linked { .. }) && connection.is_heard())
        };
        let handles: Vec<_> = self.connections.values().filter(ending).map(|connection| connection.handle).collect();
        self.look_at = (!handles.is_empty()).then(|| now + LOOK_EVERY);
        for handle in handles {
            let Some(connection) = self.connections.get_mut(&handle) else { continue };
            let heard = connection.is_heard();
            match connection.phase {
                Phase::Retiring { after, .. } => {
                    if connection.outgoing.is_empty() && !connection.retired {
                        connection.retired = true;
                        connection.outgoing.retire(endpoint, handle);
                    }
                    let said = connection.is_said(endpoint);
                    if (said && heard && now >= after) || now >= after + FAREWELL_TIME {
                        self.close(now, endpoint, handle, close::DUPLICATE, "");
                    }
                    if heard {
                        self.unhold(now, endpoint, handle);
                    }
                }
                Phase::Closing { until, code } => {
                    if connection.is_said(endpoint) || now >= until {
                        self.close(now, endpoint, handle, code, "");
                    }
                }
                // The other side retired its end and no other link came up in the meantime.
                Phase::Linked { peer } if now >= connection.since + RETIRING_TIME + FAREWELL_TIME => {
                    self.close(now, endpoint, handle, close::DUPLICATE, "");
                    self.down(peer, handle, LinkDown::Closed);
                }
                Phase::Linked { .. } | Phase::ExpectHello { .. } => {}
            }
        }
    }

    fn move_to_retiring(&mut self, now: Instant, peer: NodeId, handle: ConnectionHandle) {
        if let Some(connection) = self.connections.get_mut(&handle) {
            connection.phase = Phase::Retiring { peer, after: now + RETIRING_TIME };
            self.look_at = Some(now);
        }
    }

    fn move_to_closing(&mut self, now: Instant, handle: ConnectionHandle, code: u32) {
        if let Some(connection) = self.connections.get_mut(&handle) {
            connection.phase = Phase::Closing { until: now + FAREWELL_TIME, code };
            self.look_at = Some(now);
        }
    }

    /// The peer broke the rules: closed at once. Always `false`.
    fn fail(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        code: u32,
        words: &str,
    ) -> bool {
        let Some(connection) = self.connections.get(&handle) else { return false };
        let (peer, dial) = (connection.peer(), connection.dial);
        self.close(now, endpoint, handle, code, words);
        if let Some(number) = dial {
            self.dials.remove(&number);
            let words = words.to_owned();
            self.events.push_back(LinkEvent::DialFailed { dial: number, why: DialFailure::Rejected, words });
        }
        if let Some(peer) = peer {
            self.down(peer, handle, LinkDown::Closed);
        }
        false
    }

    fn close(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, code: u32, words: &str) {
        if self.connections.remove(&handle).is_some() {
            endpoint.close(now, handle, code, words);
            self.events.push_back(LinkEvent::Gone(handle));
            self.unhold(now, endpoint, handle);
        }
    }

    /// Reports that a link is down, if that connection was it.
    fn down(&mut self, peer: NodeId, handle: ConnectionHandle, why: LinkDown) {
        if self.peers.get(&peer) == Some(&handle) {
            self.peers.remove(&peer);
            self.events.push_back(LinkEvent::Down { peer, why });
        }
    }
}

/// What the room says is kept in one order; the catalogue waits behind it.
const fn class_of(message: &LinkMessage) -> Class {
    match message {
        LinkMessage::Room(_) => Class::Control,
        LinkMessage::Catalogue(_) => Class::Request,
    }
}

#[cfg(test)]
mod tests;
