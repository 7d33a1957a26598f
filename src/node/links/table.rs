//! All links: the verbs.

use super::budget::Budget;
use super::connection::{Connection, HELLO_TIME, Phase};
use super::dial::{Begun, Dial, DialNumber, Relays};
use super::event::{Link, LinkEvent, LinkMessage, Lost};
use super::frame::MAX_FRAME;
use super::hello::Hello;
use crate::mrt::{self, Class, ConnectionHandle, Endpoint, Route};
use crate::node::identity::{Identity, NodeId};
use crate::node::paths::Homes;
use crate::node::record::MemberRecord;
use crate::node::room::{DialFailure, DialTo, LinkDown};
use crate::node::wire;
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
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
    homes: Homes,
    /// Who may say more than a stranger.
    members: BTreeSet<NodeId>,
    next_dial: u64,
    /// When connections that end, or on which our hello was not said, are looked at.
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
            homes: Homes::default(),
            members: BTreeSet::new(),
            next_dial: 0,
            look_at: None,
            events: VecDeque::new(),
            untaken: 0,
        }
    }

    /// Somebody at that IP is linked to us, or has a path to us.
    pub fn on_answered(&mut self, now: Instant, ip: IpAddr) {
        self.budget.on_answered(now, ip);
    }

    /// What later hellos say of us.
    pub fn set_record(&mut self, record: MemberRecord) {
        self.hello.record = record;
    }

    /// From where each family of addresses is called.
    pub(in crate::node) const fn set_homes(&mut self, homes: Homes) {
        self.homes = homes;
    }

    /// Who is in the room: everybody else is a stranger.
    pub fn set_members(&mut self, members: impl Iterator<Item = NodeId>) {
        self.members = members.collect();
    }

    /// Connects to a node. Ends in [`LinkEvent::Up`] with this number, or [`LinkEvent::DialFailed`].
    pub fn dial(&mut self, now: Instant, endpoint: &mut Endpoint, to: DialTo, relays: &Relays) -> DialNumber {
        let number = DialNumber(self.next_dial);
        self.next_dial += 1;
        if self.dials.len() >= MAX_DIALS {
            let words = "too many dials at once".to_owned();
            self.events.push_back(LinkEvent::DialFailed { dial: number, why: DialFailure::NoAnswer, words });
            return number;
        }
        self.dials.insert(number, Dial::new(now, to, relays));
        self.advance(now, endpoint, number);
        number
    }

    /// Nobody waits for that dial any more. `false`: it goes on, since we said hello on its connection and the other end may have a link
    /// there; or it had ended.
    pub fn give_up(&mut self, now: Instant, endpoint: &mut Endpoint, number: DialNumber) -> bool {
        let made = self.connections.values().find(|connection| connection.dial == Some(number));
        let made = made.map(|made| (made.handle, made.said_hello));
        if !self.dials.contains_key(&number) || made.is_some_and(|(_, said_hello)| said_hello) {
            return false;
        }
        if let Some((made, _)) = made {
            self.close(now, endpoint, made, close::NOT_NEEDED, "");
        }
        for attempt in self.dials.remove(&number).iter().flat_map(Dial::attempts) {
            if self.attempts.remove(&attempt).is_some() {
                endpoint.close(now, attempt, close::NOT_NEEDED, "");
            }
        }
        true
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
            mrt::Event::Connected { connection, route, key, initiator, secret, binding } => {
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
                    remote: route.remote(),
                    initiator,
                    secret,
                    binding,
                    since: now,
                    phase,
                    dial,
                    program: 0,
                    said_hello: false,
                    outgoing: Default::default(),
                    incoming: BTreeMap::new(),
                    unread: BTreeSet::new(),
                    behind: None,
                    retired: false,
                };
                self.on_connected(now, endpoint, connection);
            }
            mrt::Event::Readable { connection, channel } => self.on_readable(now, endpoint, connection, channel),
            mrt::Event::Writable { connection, .. } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    let _ = connection.outgoing.flush(endpoint, connection.handle);
                }
            }
            mrt::Event::Moved { connection, route } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.remote = route.remote();
                }
            }
            mrt::Event::PathUp { .. } | mrt::Event::PathFailed { .. } | mrt::Event::PathDown { .. } => {}
            mrt::Event::Unreachable { connection } => {
                let linked = |connection: &Connection| matches!(connection.phase, Phase::Linked { .. });
                let peer = self.connections.get(&connection).filter(|known| linked(known)).and_then(Connection::peer);
                self.events.extend(peer.map(LinkEvent::Unreachable));
            }
            mrt::Event::Lost { connection, reason } => self.on_lost(now, endpoint, connection, &reason),
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
            self.look_at_silent(now, endpoint);
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

    /// How a peer is linked.
    pub fn link(&self, peer: NodeId) -> Option<Link> {
        let connection = self.connections.get(self.peers.get(&peer)?)?;
        let Connection { handle, initiator, remote, binding, .. } = *connection;
        Some(Link { connection: handle, initiator, remote, binding })
    }

    /// Whose link that connection is.
    pub fn peer_of(&self, connection: ConnectionHandle) -> Option<NodeId> {
        let peer = self.connections.get(&connection)?.peer()?;
        (self.peers.get(&peer) == Some(&connection)).then_some(peer)
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

    /// A way for a dial was found: through the relay that was to be asked, or where the node was heard.
    pub fn on_route(&mut self, now: Instant, endpoint: &mut Endpoint, number: DialNumber, route: Route) {
        let Some(dial) = self.dials.get_mut(&number) else { return };
        if let Some(attempt) = dial.on_route(now, endpoint, route) {
            self.attempts.insert(attempt, number);
        }
        self.advance(now, endpoint, number);
    }

    /// A peer is linked: dials that waited for its call are answered.
    pub fn answer_waiting(&mut self, peer: NodeId) -> Vec<DialNumber> {
        let waits = |dial: &Dial| dial.waits() && dial.expected == Some(peer);
        let answered: Vec<DialNumber> =
            self.dials.iter().filter(|(_, dial)| waits(dial)).map(|(number, _)| *number).collect();
        self.dials.retain(|number, _| !answered.contains(number));
        answered
    }

    /// A way for this dial is looked for: it does not fail before [`on_no_route`](Self::on_no_route), unless nobody listens there.
    pub fn expect_route(&mut self, number: DialNumber) {
        if let Some(dial) = self.dials.get_mut(&number) {
            dial.expect_route();
        }
    }

    /// The relay that was to be asked for a dial is of no help.
    pub fn on_no_route(&mut self, now: Instant, endpoint: &mut Endpoint, number: DialNumber) {
        if let Some(dial) = self.dials.get_mut(&number) {
            dial.on_no_route();
            self.advance(now, endpoint, number);
        }
    }

    /// Whether that dial has not ended.
    pub fn is_dialling(&self, number: DialNumber) -> bool {
        self.dials.contains_key(&number)
    }

    fn advance(&mut self, now: Instant, endpoint: &mut Endpoint, number: DialNumber) {
        let Some(dial) = self.dials.get_mut(&number) else { return };
        while let Some(begun) = dial.advance(now, endpoint, &mut self.budget, &self.homes) {
            match (begun, dial.expected) {
                (Begun::Attempt(attempt), _) => {
                    self.attempts.insert(attempt, number);
                }
                (Begun::Ask(relay), Some(to)) => {
                    self.events.push_back(LinkEvent::WantRelay { dial: number, relay, to });
                }
                // Nobody can be asked for a way to somebody unknown.
                (Begun::Ask(_), None) => dial.on_no_route(),
            }
        }
        if let Some(why) = dial.failed() {
            self.dials.remove(&number);
            self.events.push_back(LinkEvent::DialFailed { dial: number, why, words: String::new() });
        }
    }
}

/// What the room says is kept in one order; the catalogue waits behind it.
const fn class_of(message: &LinkMessage) -> Class {
    match message {
        LinkMessage::Room(_) | LinkMessage::Path(_) => Class::Control,
        LinkMessage::Catalogue(_) => Class::Request,
    }
}

mod ending;
mod proving;
mod reading;

#[cfg(test)]
mod tests;
