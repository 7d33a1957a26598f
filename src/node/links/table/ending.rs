//! How links end: lost, given up, or closed once everything was said.

use super::super::connection::{Connection, FAREWELL_TIME, Phase, RETIRING_TIME};
use super::super::event::LinkEvent;
use super::{LOOK_EVERY, Links, MAX_WAITING_ALL, close};
use crate::mrt::{CloseReason, ConnectionHandle, Endpoint};
use crate::node::identity::NodeId;
use crate::node::room::{DialFailure, LinkDown};
use crate::time::Instant;

impl Links {
    /// Gives up the peers that are furthest behind, while more waits for all of them than may.
    pub(super) fn shed(&mut self, now: Instant, endpoint: &mut Endpoint) {
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

    pub(super) fn on_channel_end(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle) {
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

    pub(super) fn on_lost(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        reason: &CloseReason,
    ) {
        if let Some(number) = self.attempts.remove(&handle) {
            if let Some(dial) = self.dials.get_mut(&number) {
                dial.on_lost(handle, reason);
            }
            return self.advance(now, endpoint, number);
        }
        let Some(connection) = self.connections.remove(&handle) else { return };
        self.events.push_back(LinkEvent::Gone(handle));
        // Another one, on which our hello was not said, may have its turn.
        self.look_at = Some(now);
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

    /// The second connection is read once the first has nothing more.
    pub(super) fn unhold(&mut self, now: Instant, endpoint: &mut Endpoint, first: ConnectionHandle) {
        let behind = |connection: &&mut Connection| connection.behind == Some(first);
        let Some(second) = self.connections.values_mut().find(behind) else { return };
        second.behind = None;
        let second = second.handle;
        self.read_unread(now, endpoint, second);
    }

    /// Closes what has said and heard everything.
    pub(super) fn look_after_ends(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let ending = |connection: &&Connection| {
            matches!(connection.phase, Phase::Retiring { .. } | Phase::Closing { .. })
                || (matches!(connection.phase, Phase::Linked { .. }) && connection.is_heard())
        };
        let handles: Vec<_> = self.connections.values().filter(ending).map(|connection| connection.handle).collect();
        let silent = self.connections.values().any(|connection| !connection.said_hello);
        self.look_at = (!handles.is_empty() || silent).then(|| now + LOOK_EVERY);
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

    pub(super) fn move_to_retiring(&mut self, now: Instant, peer: NodeId, handle: ConnectionHandle) {
        if let Some(connection) = self.connections.get_mut(&handle) {
            connection.phase = Phase::Retiring { peer, after: now + RETIRING_TIME };
            self.look_at = Some(now);
        }
    }

    pub(super) fn move_to_closing(&mut self, now: Instant, handle: ConnectionHandle, code: u32) {
        if let Some(connection) = self.connections.get_mut(&handle) {
            connection.phase = Phase::Closing { until: now + FAREWELL_TIME, code };
            self.look_at = Some(now);
        }
    }

    /// The peer broke the rules: closed at once. Always `false`.
    pub(super) fn fail(
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

    pub(super) fn close(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        code: u32,
        words: &str,
    ) {
        if self.connections.remove(&handle).is_some() {
            endpoint.close(now, handle, code, words);
            self.events.push_back(LinkEvent::Gone(handle));
            self.look_at = Some(now);
            self.unhold(now, endpoint, handle);
        }
    }

    /// Reports that a link is down, if that connection was it.
    pub(super) fn down(&mut self, peer: NodeId, handle: ConnectionHandle, why: LinkDown) {
        if self.peers.get(&peer) == Some(&handle) {
            self.peers.remove(&peer);
            self.events.push_back(LinkEvent::Down { peer, why });
        }
    }
}
