//! Asking others to pass on: what was asked, and what it is for.

use super::relaying::{End, Linked, Role, number};
use crate::mrt::ConnectionHandle;
use crate::node::identity::NodeId;
use crate::node::links::DialNumber;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;

/// Questions and open ways at once: more than a node keeps links.
const MAX_WAYS: usize = 512;

/// A relay that does not answer for this long is of no help.
const PATIENCE: Duration = Duration::from_secs(4);

/// What a way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// To be reported to that dial.
    Dial(DialNumber),
    /// To stand by for that connection, should its direct path be lost.
    Standby(ConnectionHandle),
}

/// A way that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Who passes on.
    pub(super) relay: NodeId,
    /// To whom.
    pub(super) to: NodeId,
    /// What for.
    pub(super) errand: Errand,
    /// Answered until then, or never. `None`: it is open.
    until: Option<Instant>,
}

/// The ways through others that this node asked for or was offered.
#[derive(Debug, Default)]
pub(super) struct Asking {
    ways: BTreeMap<End, Way>,
    /// Ways that others asked for, to us: the relay's number, and who is at the other end.
    incoming: BTreeMap<End, NodeId>,
    asked: u32,
}

impl Asking {
    /// A number for a new way. `None`: there are too many.
    pub(super) fn ask(&mut self, now: Instant, relay: Linked, to: NodeId, errand: Errand) -> Option<End> {
        if self.ways.len() >= MAX_WAYS {
            return None;
        }
        self.asked = self.asked.wrapping_add(1);
        let channel = number(self.asked, Role::Asker, relay.initiator);
        let end = End { connection: relay.connection, channel };
        self.ways.insert(end, Way { relay: relay.peer, to, errand, until: Some(now + PATIENCE) });
        Some(end)
    }

    /// The relay agrees.
    pub(super) fn on_bound(&mut self, end: End) -> Option<Way> {
        let way = self.ways.get_mut(&end)?;
        way.until.take()?;
        Some(*way)
    }

    /// The relay does not agree, or passes on no longer.
    pub(super) fn on_end(&mut self, end: End) -> Option<Way> {
        self.incoming.remove(&end);
        self.ways.remove(&end)
    }

    /// Somebody reaches us through that relay. `false`: there are too many.
    pub(super) fn on_incoming(&mut self, end: End, from: NodeId) -> bool {
        let known = self.incoming.contains_key(&end);
        if !known && self.incoming.len() >= MAX_WAYS {
            return false;
        }
        self.incoming.insert(end, from);
        true
    }

    /// A connection is gone: with it go all ways over it. Those that were still asked for are returned.
    pub(super) fn on_gone(&mut self, connection: ConnectionHandle) -> Vec<Way> {
        self.incoming.retain(|end, _| end.connection != connection);
        let lost: Vec<End> = self.ways.keys().copied().filter(|end| end.connection == connection).collect();
        let lost = lost.into_iter().filter_map(|end| self.ways.remove(&end));
        lost.filter(|way| way.until.is_some()).collect()
    }

    /// Questions that were not answered in time.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(End, Way)> {
        let late = |(_, way): &(&End, &Way)| way.until.is_some_and(|until| now >= until);
        let late: Vec<(End, Way)> = self.ways.iter().filter(late).map(|(end, way)| (*end, *way)).collect();
        for (end, _) in &late {
            self.ways.remove(end);
        }
        late
    }

    /// The ways to a peer that nobody needs any more: its link is down.
    pub(super) fn forget(&mut self, peer: NodeId) -> Vec<End> {
        let to_peer = self.ways.iter().filter(|(_, way)| way.to == peer).map(|(end, _)| *end);
        let from_peer = self.incoming.iter().filter(|(_, from)| **from == peer).map(|(end, _)| *end);
        let ends: Vec<End> = to_peer.chain(from_peer).collect();
        for end in &ends {
            self.on_end(*end);
        }
        ends
    }

    /// When [`expire`](Self::expire) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ways.values().filter_map(|way| way.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: Linked = Linked { peer: NodeId([9; 32]), connection: ConnectionHandle(9), initiator: true };
    const BOB: NodeId = NodeId([2; 32]);

    #[test]
    fn a_question_is_answered_once_or_expires() {
        let mut asking = Asking::default();
        let errand = Errand::Standby(ConnectionHandle(1));
        let first = asking.ask(Instant::ZERO, RELAY, BOB, errand).unwrap();
        let second = asking.ask(Instant::ZERO, RELAY, BOB, errand).unwrap();
        assert_ne!(first, second);
        assert_eq!(asking.on_bound(first).map(|way| way.errand), Some(errand));
        assert_eq!(asking.on_bound(first), None, "said twice");
        assert_eq!(asking.poll_timeout(), Some(Instant::ZERO + PATIENCE));
        assert_eq!(asking.expire(Instant::ZERO + PATIENCE).len(), 1);
        assert_eq!(asking.on_bound(second), None, "too late");
    }

    #[test]
    fn ways_and_questions_are_capped_and_go_with_the_relays_connection() {
        let mut asking = Asking::default();
        let errand = Errand::Standby(ConnectionHandle(1));
        let granted = (0..1000).filter(|_| asking.ask(Instant::ZERO, RELAY, BOB, errand).is_some()).count();
        assert_eq!(granted, MAX_WAYS);
        assert_eq!(asking.on_gone(RELAY.connection).len(), MAX_WAYS);
        let end = asking.ask(Instant::ZERO, RELAY, BOB, errand).unwrap();
        asking.on_bound(end);
        assert_eq!(asking.on_gone(RELAY.connection), [], "an open way is known to MRT: it says so itself");
    }

    #[test]
    fn a_peer_that_is_gone_takes_its_ways_along() {
        let mut asking = Asking::default();
        let end = asking.ask(Instant::ZERO, RELAY, BOB, Errand::Standby(ConnectionHandle(1))).unwrap();
        let from = End { connection: RELAY.connection, channel: number(1, Role::Relay, false) };
        assert!(asking.on_incoming(from, BOB));
        let mut ends = [end, from];
        ends.sort();
        let mut forgotten = asking.forget(BOB);
        forgotten.sort();
        assert_eq!(forgotten, ends);
        assert_eq!(asking.forget(BOB), []);
    }
}
