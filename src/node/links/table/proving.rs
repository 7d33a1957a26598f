//! Who is at the other end: the first frame, and what follows from it.

use super::super::choice::{Choice, choose};
use super::super::connection::{Connection, FAREWELL_TIME, Phase};
use super::super::event::LinkEvent;
use super::super::hello::{Hello, HelloError};
use super::{Links, MAX_STRANGERS, MAX_STRANGERS_FROM_ONE, close};
use crate::mrt::{Class, ConnectionHandle, Endpoint};
use crate::node::identity::NodeId;
use crate::node::room::{DialFailure, LinkDown};
use crate::time::Instant;
use std::net::SocketAddr;

impl Links {
    /// Says hello, unless we made this connection and have another one to the same key: the hello of whoever made it says that this is to
    /// be the link, and at most one can be.
    pub(super) fn on_connected(&mut self, now: Instant, endpoint: &mut Endpoint, connection: Connection) {
        let (handle, key) = (connection.handle, connection.key);
        let speaks = !connection.initiator || !self.connections.values().any(|other| other.key == key && other.leads());
        self.connections.insert(handle, connection);
        if speaks {
            self.say_hello(endpoint, handle);
        } else {
            self.look_at = Some(now);
        }
    }

    fn say_hello(&mut self, endpoint: &mut Endpoint, handle: ConnectionHandle) {
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        let ours = self.hello.emit(&self.identity, connection.ours(self.hello.record.noise()));
        connection.said_hello = true;
        if connection.outgoing.push(Class::Control, &ours).is_ok() {
            let _ = connection.outgoing.flush(endpoint, handle);
        }
    }

    /// Whether the other end's hello on this connection can be judged. Where ours was not said it has to wait until it is known what becomes
    /// of the connection on which it was; and if this one is to follow that one, until our hello there has arrived, so that it cannot come
    /// to the other end after the one here.
    pub(super) fn may_judge(&self, now: Instant, endpoint: &Endpoint, connection: &Connection) -> bool {
        let in_the_way = |other: &Connection| match other.phase {
            Phase::Linked { .. } => {
                let waited = now >= connection.since + FAREWELL_TIME;
                connection.proves_more_than(other) && !other.is_said(endpoint) && !waited
            }
            _ => other.leads(),
        };
        let mut others = self.connections.values().filter(|other| other.key == connection.key);
        connection.said_hello || !others.any(|other| other.handle != connection.handle && in_the_way(other))
    }

    /// Connections on which our hello was not said, and whose turn may have come.
    pub(super) fn look_at_silent(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let silent = |connection: &&Connection| !connection.said_hello;
        let silent: Vec<_> = self.connections.values().filter(silent).map(|connection| connection.handle).collect();
        for handle in silent {
            self.read_unread(now, endpoint, handle);
        }
    }

    /// Always `false`: there is nothing more to read.
    pub(super) fn refuse_hello(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        error: HelloError,
    ) -> bool {
        self.fail(now, endpoint, handle, close::NOT_PROVEN, &error.to_string())
    }

    /// The peer proved itself: is this its link?
    pub(super) fn on_hello(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, hello: Hello) {
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
        if !self.takes_its_place(now, endpoint, handle, peer) {
            self.close(now, endpoint, handle, close::DUPLICATE, "");
            let stays = self.peers.get(&peer).and_then(|stays| self.connections.get(stays));
            let (remote, secret) = (stays.and_then(|stays| stays.remote), stays.and_then(|stays| stays.secret));
            self.events.extend(dial.map(|_| LinkEvent::Up { record: hello.record, remote, secret, dial }));
            return;
        }
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        let (remote, secret, second) = (connection.remote, connection.secret, connection.candidate(own, peer));
        connection.phase = Phase::Linked { peer };
        self.look_at = Some(now);
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

    /// Whether a proven connection is to be the link, or one to choose from. One on which our hello was not said takes the place of the
    /// link that there is, if that leads to an earlier start of the peer's program or if more is proven here; else the link stays.
    fn takes_its_place(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        peer: NodeId,
    ) -> bool {
        let Some(second) = self.connections.get(&handle).filter(|second| !second.said_hello) else { return true };
        let first = self.peers.get(&peer).and_then(|first| self.connections.get(first));
        if let Some(first) = first {
            if first.program == second.program && !second.proves_more_than(first) {
                return false;
            }
            let first = first.handle;
            self.close(now, endpoint, first, close::DUPLICATE, "a later connection took over");
            self.down(peer, first, LinkDown::Lost);
        }
        self.say_hello(endpoint, handle);
        true
    }

    /// Whether one more stranger from there can be linked; the oldest of all makes room.
    pub(super) fn make_room_for_stranger(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        peer: NodeId,
        remote: Option<SocketAddr>,
    ) -> bool {
        let strangers = self.peers.iter().filter(|(other, _)| **other != peer && !self.members.contains(other));
        let strangers = strangers.filter_map(|(_, handle)| self.connections.get(handle)).filter(|one| !one.initiator);
        let strangers: Vec<_> =
            strangers.map(|one| (one.since, one.handle, one.remote.map(|remote| remote.ip()))).collect();
        if strangers.iter().filter(|(.., ip)| *ip == remote.map(|remote| remote.ip())).count() >= MAX_STRANGERS_FROM_ONE
        {
            return false;
        }
        if strangers.len() >= MAX_STRANGERS
            && let Some((_, oldest, _)) = strangers.iter().min()
        {
            self.fail(now, endpoint, *oldest, close::CROWDED, "too many are at the door");
        }
        true
    }
}
