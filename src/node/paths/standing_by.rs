//! Ways that do not pass through the supernode: looked for where a link has none, and told to the room.

use super::passing::Passing;
use crate::mrt::Route;
use crate::node::identity::NodeId;
use crate::node::links::Relays;
use crate::node::node::Node;
use crate::node::room::Way;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;

/// How often the ways of our links are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Changes come in flocks.
const GATHER: Duration = Duration::from_millis(100);

/// Members are asked for a way again after this long, doubled each time up to half a minute. A change of the view, or a link that goes another
/// way, begins anew.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Members that are asked at a time.
const ASKED: usize = 2;

/// What is done so that links outlive the supernode.
#[derive(Debug, Default)]
pub(super) struct StandingBy {
    next: Instant,
    /// Links without a way of their own: when others are asked again, after which pause, and who is next to be asked.
    searches: BTreeMap<NodeId, Search>,
    supernode: Option<NodeId>,
}

#[derive(Clone, Copy, Debug)]
struct Search {
    next: Instant,
    pause: Duration,
    asked: usize,
}

impl Search {
    /// The next of those who could pass on.
    fn advance(&mut self, now: Instant, others: &[NodeId]) -> Vec<NodeId> {
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        let count = ASKED.min(others.len());
        let next = others.iter().copied().cycle().skip(self.asked.checked_rem(others.len()).unwrap_or(0)).take(count);
        self.asked += count;
        next.collect()
    }
}

impl StandingBy {
    /// Somebody may reach whom it did not reach.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.next = self.next.min(now + GATHER);
        for search in self.searches.values_mut() {
            search.pause = FIRST_PAUSE;
            search.next = search.next.min(now + FIRST_PAUSE);
        }
    }

    /// When [`Node::tick_standing_by`] is due.
    pub(super) const fn poll_timeout(&self) -> Instant {
        self.next
    }
}

impl Passing {
    /// The view changed.
    pub(in crate::node) fn on_view(&mut self, now: Instant, supernode: NodeId) {
        if self.standing_by.supernode.replace(supernode) != Some(supernode) {
            self.standing_by.next = now;
        }
        self.standing_by.look_again(now);
    }
}

impl Node {
    /// Looks at every link to a member: which way is left if the supernode dies? Where there is none, others are asked to pass on.
    pub(in crate::node) fn tick_standing_by(&mut self, now: Instant) {
        if now < self.passing.standing_by.next {
            return;
        }
        self.passing.standing_by.next = now + LOOK_EVERY;
        // Whoever leads is the one who is gone then.
        if self.room.is_supernode() {
            self.passing.standing_by.searches.clear();
            return;
        }
        let view = self.room.view();
        let supernode = view.epoch.supernode;
        let linked: Vec<NodeId> =
            self.links.linked().map(|(id, _)| id).filter(|id| *id != supernode && view.contains(*id)).collect();
        for peer in &linked {
            let way = self.way_without(now, supernode, *peer);
            self.room.handle_way(now, *peer, way);
            if way.is_some() {
                self.passing.standing_by.searches.remove(peer);
            } else {
                self.search_way(now, supernode, *peer);
            }
        }
        self.passing.standing_by.searches.retain(|peer, _| linked.contains(peer));
    }

    /// The best way to a linked member that does not pass through the supernode and answers.
    fn way_without(&self, now: Instant, supernode: NodeId, peer: NodeId) -> Option<Way> {
        let connection = self.links.connection(peer)?;
        let proven = self.endpoint.paths(now, connection).into_iter().filter(|path| path.validated);
        let ways = proven.filter_map(|path| match path.route {
            Route::Udp { .. } => Some(Way::Direct),
            Route::Relayed { by, .. } => self.links.peer_of(by).filter(|by| *by != supernode).map(|_| Way::Relayed),
        });
        ways.max()
    }

    /// Asks others to pass on, if it is our turn: whoever made the connection chooses its ways.
    fn search_way(&mut self, now: Instant, supernode: NodeId, peer: NodeId) {
        if !self.links.link(peer).is_some_and(|link| link.initiator) {
            return;
        }
        let first = Search { next: now, pause: FIRST_PAUSE, asked: 0 };
        let search = *self.passing.standing_by.searches.entry(peer).or_insert(first);
        if now < search.next {
            return;
        }
        let Some(connection) = self.links.connection(peer) else { return };
        let is_direct = |id: &NodeId| self.links.link(*id).is_some_and(|link| link.remote.is_some());
        let others: Vec<NodeId> =
            self.room.view().ids().filter(|id| *id != supernode && *id != peer && is_direct(id)).collect();
        let mut search = search;
        for relay in search.advance(now, &others) {
            self.ask_standby(now, relay, peer, connection);
        }
        self.passing.standing_by.searches.insert(peer, search);
    }

    /// Those who could pass on to a member, the supernode last if it may be lost.
    pub(super) fn in_doubt_last(&self, mut relays: Relays) -> Relays {
        let supernode = self.room.view().epoch.supernode;
        if self.room.doubts_supernode() {
            relays.through.sort_by_key(|id| *id == supernode);
        }
        relays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_and_pauses_grow() {
        let others = [1, 2, 3].map(|id| NodeId([id; 32]));
        let mut search = Search { next: Instant::ZERO, pause: FIRST_PAUSE, asked: 0 };
        let mut asked = Vec::new();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let now = search.next;
            asked.extend(search.advance(now, &others).iter().map(|id| id.0[0]));
            pauses.push((search.next.saturating_since(now)).as_secs());
        }
        assert_eq!(asked[..6], [1, 2, 3, 1, 2, 3]);
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(search.advance(Instant::ZERO, &others[..1]).len(), 1);
        assert_eq!(search.advance(Instant::ZERO, &[]), []);
    }
}
