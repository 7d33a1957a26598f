//! Whom we would reach if the supernode died: every member keeps ways to the next in line that do not pass through it, tries them now and
//! then, and tells the supernode, which ranks by it.

use super::epoch::Epoch;
use super::links::WARM_SUCCESSORS;
use super::message::{Reaches, RoomMessage};
use super::output::{LinkedPeer, RoomOutput};
use super::parts::{Room, Standing};
use super::rank::ALL_REACH_IT;
use crate::node::identity::NodeId;
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// Places in line that are told of: a bit each.
const TOLD: usize = 64;

/// Changes come in flocks: they are told together.
const GATHER: Duration = Duration::from_millis(200);

/// How often it is told at least, should it have come to nothing the first time.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// A way on which nothing came for so long is not known to be one: two tries that were not answered.
const UNPROVEN: Duration = Duration::from_secs(25);

/// A way to a member that does not pass through the supernode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Another member passes on.
    Relayed,
    /// Nobody is in between.
    Direct,
}

/// Whom we reach without the supernode, and, at the supernode, whom each member does.
#[derive(Clone, Debug, Default)]
pub(super) struct Warm {
    ways: BTreeMap<NodeId, Way>,
    /// What was told last, and when.
    told: Option<(Reaches, Instant)>,
    /// When ways are tried again.
    next_try: Instant,
    /// When it is looked whether there is something to tell.
    next_look: Option<Instant>,
    /// What members told of the present epoch.
    reached: BTreeMap<NodeId, Reached>,
    epoch: Option<Epoch>,
}

/// Whom a member reaches.
#[derive(Clone, Debug, Default)]
struct Reached {
    direct: BTreeSet<NodeId>,
    relayed: BTreeSet<NodeId>,
}

impl Warm {
    /// Whether there is a way.
    pub(super) fn reaches(&self, id: NodeId) -> bool {
        self.ways.contains_key(&id)
    }
}

impl Room {
    /// The way to a linked member that would be left without the supernode, if there is one.
    pub fn handle_way(&mut self, now: Instant, id: NodeId, way: Option<Way>) {
        self.on_wake(now);
        let before = match way.filter(|_| self.links.contains(id)) {
            Some(way) => self.warm.ways.insert(id, way),
            None => self.warm.ways.remove(&id),
        };
        if before != way {
            self.look_at_ways(now);
        }
    }

    pub(super) fn on_linked(&mut self, now: Instant, peer: &LinkedPeer) {
        // Of a link that others pass on we hear who does.
        if peer.remote.is_some() {
            self.warm.ways.insert(peer.record.id(), Way::Direct);
            self.look_at_ways(now);
        }
    }

    pub(super) fn on_unlinked(&mut self, now: Instant, id: NodeId) {
        if self.warm.ways.remove(&id).is_some() {
            self.look_at_ways(now);
        }
    }

    /// Ways, or the order in which they are told, may be others.
    pub(super) fn look_at_ways(&mut self, now: Instant) {
        self.warm.next_look.get_or_insert(now + GATHER);
    }

    /// When ways are to be looked at.
    pub(super) fn next_warm(&self) -> Option<Instant> {
        let following = matches!(self.standing, Standing::Following) && self.view.entries.len() > 2;
        let due = self.warm.next_look.map_or(self.warm.next_try, |look| look.min(self.warm.next_try));
        following.then(|| due.max(self.now))
    }

    /// Tries the ways, and tells what is new.
    pub(super) fn tick_warm(&mut self, now: Instant) {
        if self.next_warm().is_none_or(|due| now < due) {
            return;
        }
        if now >= self.warm.next_try {
            self.warm.next_try = now + self.config.times.warm;
            let tried = self.view.successors().take(TOLD).filter(|id| self.links.contains(*id));
            for id in tried.collect::<Vec<_>>() {
                self.outputs.push_back(RoomOutput::Probe { id });
            }
        }
        self.warm.next_look = None;
        let reaches = self.reaches(now);
        let again = self.warm.told.is_none_or(|(told, at)| told != reaches || now.saturating_since(at) >= TELL_EVERY);
        if again {
            self.warm.told = Some((reaches, now));
            self.send(self.view.epoch.supernode, RoomMessage::Reaches(reaches));
        }
    }

    /// Whom of the first in line we reach.
    fn reaches(&self, now: Instant) -> Reaches {
        let mut reaches = Reaches { epoch: self.view.epoch, number: self.view.number, direct: 0, relayed: 0 };
        for (place, id) in self.view.successors().take(TOLD).enumerate() {
            let lately = |at: Instant| now.saturating_since(at) < UNPROVEN;
            match self.warm.ways.get(&id).filter(|_| self.detector.last_heard(id).is_some_and(lately)) {
                Some(Way::Direct) => reaches.direct |= 1 << place,
                Some(Way::Relayed) => reaches.relayed |= 1 << place,
                None => {}
            }
        }
        reaches
    }

    /// Supernode: a member says whom it would reach.
    pub(super) fn on_reaches(&mut self, from: NodeId, reaches: Reaches) {
        let current = reaches.epoch == self.view.epoch && reaches.number == self.view.number;
        if !matches!(self.standing, Standing::Leading(_)) || !current || !self.view.contains(from) {
            return;
        }
        if self.warm.epoch != Some(self.view.epoch) {
            self.warm.reached.clear();
            self.warm.epoch = Some(self.view.epoch);
        }
        let of = |bits: u64| {
            let line = self.view.successors().take(TOLD).enumerate();
            line.filter(|(place, id)| bits >> place & 1 == 1 && *id != from).map(|(_, id)| id).collect()
        };
        let reached = Reached { direct: of(reaches.direct), relayed: of(reaches.relayed) };
        self.warm.reached.insert(from, reached);
        let view = &self.view;
        if self.warm.reached.len() > view.entries.len() {
            self.warm.reached.retain(|id, _| view.contains(*id));
        }
    }

    /// Supernode: by how many of the others the member at that place in the view is reached, in quarters, every begun one counting as
    /// whole; whom another has to pass on counts half. `None`: it is too far behind in line for them to have tried. Who reaches nobody has
    /// no say: nobody is better for it.
    pub(super) fn reached_by(&self, id: NodeId, place: usize) -> Option<u8> {
        if self.warm.epoch != Some(self.view.epoch)
            || place > WARM_SUCCESSORS && self.view.entries.len() > WARM_SUCCESSORS + 2
        {
            return None;
        }
        let (mut halves, mut all) = (0, 0);
        for (other, reached) in &self.warm.reached {
            if *other == id || reached.direct.is_empty() && reached.relayed.is_empty() {
                continue;
            }
            all += 2;
            halves += if reached.direct.contains(&id) { 2 } else { usize::from(reached.relayed.contains(&id)) };
        }
        let whole = usize::from(ALL_REACH_IT);
        u8::try_from((halves * whole).div_ceil(all.max(1))).ok().filter(|_| all > 0)
    }
}
