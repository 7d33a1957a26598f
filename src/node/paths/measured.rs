//! Whose NAT is known well enough to guess at its ports, and what becomes possible as more is known.

use super::message::PathMessage;
use super::pair::State;
use crate::node::identity::NodeId;
use crate::node::node::Node;
use crate::node::record::MemberRecord;
use crate::stun::fingerprint::{Fingerprint, Kind};
use crate::stun::punch::experience::Advice;
use crate::stun::punch::plan::StageKind;
use crate::time::{Duration, Instant};
use std::collections::BTreeSet;

/// While it is not known what a NAT does, no ports are guessed at; so long after the start at most.
const MEASURING: Duration = Duration::from_secs(10);

/// Whose NATs are known well enough to guess at their ports, ours among them.
#[derive(Debug)]
pub(super) struct Measured {
    whose: BTreeSet<NodeId>,
    /// Since when we measure.
    began: Instant,
}

impl Measured {
    /// Nobody's.
    pub(super) const fn new(now: Instant) -> Self {
        Self { whose: BTreeSet::new(), began: now }
    }
}

impl Node {
    /// More is known of our NAT: what failed may work. Whoever begins is told, if it is not us.
    pub(in crate::node) fn on_fingerprint(&mut self, now: Instant, settled: bool) {
        let measured = is_measured(self.nat.fingerprint()) && self.punching.measured.whose.insert(self.id());
        if !settled && !measured {
            return;
        }
        for peer in self.punching.pairs.keys().copied().collect::<Vec<_>>() {
            let Some(pair) = self.punching.pairs.get_mut(&peer) else { continue };
            let tells = !pair.initiator && !matches!(pair.state, State::Direct);
            pair.hurry(now);
            if tells {
                self.say_path(now, peer, PathMessage::Changed);
            }
        }
        self.tick_punching(now);
    }

    /// Records changed: whose NAT is known by now may have a port to guess at.
    pub(in crate::node) fn on_records(&mut self, now: Instant) {
        let view = self.room.view();
        let measured = view.entries.iter().map(|entry| &entry.record).filter(|record| is_measured(&record.facts.nat));
        let new: Vec<NodeId> =
            measured.map(MemberRecord::id).filter(|id| !self.punching.measured.whose.contains(id)).collect();
        let own = self.id();
        self.punching.measured.whose.retain(|id| *id == own || view.contains(*id));
        for peer in new.into_iter().filter(|id| *id != own) {
            self.punching.measured.whose.insert(peer);
            self.on_changed(now, peer);
        }
    }

    /// More is known of a member's NAT.
    pub(in crate::node) fn on_changed(&mut self, now: Instant, from: NodeId) {
        if let Some(pair) = self.punching.pairs.get_mut(&from).filter(|pair| pair.initiator) {
            pair.hurry(now);
            self.tick_punching(now);
        }
    }

    /// What earlier punches say; and no guessing while it is being measured what there is to guess.
    pub(super) fn advice(&mut self, now: Instant, ours: &Fingerprint, theirs: &Fingerprint) -> Advice {
        let mut advice = self.punching.experience.advice(ours, theirs);
        let early = now.saturating_since(self.punching.measured.began) < MEASURING;
        if early && !(is_measured(ours) && is_measured(theirs)) {
            advice.skip.extend([StageKind::Predict, StageKind::Spray, StageKind::Product]);
        }
        advice
    }
}

/// Whether it is known of a NAT what there is to guess: nothing, or from which ports it chooses. What it filters takes seconds more, and
/// decides little.
fn is_measured(nat: &Fingerprint) -> bool {
    nat.kind().is_some_and(|kind| kind != Kind::Hard || nat.ports.is_some())
}
