//! What is known of both NATs of a pair, and what becomes possible as more of it is known.
//!
//! Measuring a NAT takes a second or two, and a punch does not wait for it: packets may get through as it is. What a punch has in mind is
//! made from what was known when it began; as soon as what is known by now would have it try something else, it is begun anew.

use super::message::PathMessage;
use super::pair::{Pair, State};
use crate::node::identity::NodeId;
use crate::node::node::Node;
use crate::stun::fingerprint::{Fingerprint, Kind};
use crate::stun::punch::experience::Advice;
use crate::stun::punch::plan::{Circumstances, MAX_SOCKETS, Stage, StageKind, plan};
use crate::time::{Duration, Instant};

/// While it is not known what a NAT does, no ports are guessed at; so long after the start at most.
const MEASURING: Duration = Duration::from_secs(10);

/// Why there is no direct path, as long as it is not known whether there can be one.
pub(super) const STILL_MEASURING: &str = "what the NATs do is still being measured";

/// What takes too many packets to be begun before it is known what there is to guess.
const GUESSES: [StageKind; 3] = [StageKind::Predict, StageKind::Spray, StageKind::Product];

impl Node {
    /// More is known of our NAT, or something else.
    pub(in crate::node) fn on_fingerprint(&mut self, now: Instant, settled: bool) {
        for peer in self.punching.pairs.keys().copied().collect::<Vec<_>>() {
            let Some(mut pair) = self.punching.pairs.remove(&peer) else { continue };
            self.reconsider(now, peer, &mut pair, settled);
            self.punching.pairs.insert(peer, pair);
        }
        self.renew_meetings(now);
        self.tick_punching(now);
    }

    /// Records changed: more may be known of their owners' NATs.
    pub(in crate::node) fn on_records(&mut self, now: Instant) {
        self.note_where_members_are();
        for peer in self.punching.pairs.keys().copied().collect::<Vec<_>>() {
            let Some(nat) = self.room.view().record(peer).map(|record| record.facts.nat) else { continue };
            let Some(mut pair) = self.punching.pairs.remove(&peer) else { continue };
            if pair.recorded != nat {
                (pair.recorded, pair.theirs) = (nat, nat);
                self.reconsider(now, peer, &mut pair, false);
            }
            self.punching.pairs.insert(peer, pair);
        }
        self.tick_punching(now);
    }

    /// From where members are heard, by us or else by the supernode; and who may hear the same offers as we. The supernode reaches all by itself.
    fn note_where_members_are(&mut self) {
        let (view, own) = (self.room.view(), self.id());
        let others = view.ids().filter(|id| *id != own && *id != view.epoch.supernode).map(|id| id.0);
        self.punching.budget.share(own.0, others.collect());
        for entry in &view.entries {
            let id = entry.record.id();
            let heard = self.links.link(id).and_then(|link| link.remote).map(|remote| remote.ip().to_canonical());
            if let Some(ip) = heard.or(entry.seen) {
                self.passing.note_seen(id, ip);
            }
        }
    }

    /// A member says what its NAT does, before its record does.
    pub(in crate::node) fn on_changed(&mut self, now: Instant, from: NodeId, nat: Fingerprint) {
        let Some(mut pair) = self.punching.pairs.remove(&from) else { return };
        pair.theirs = nat;
        self.reconsider(now, from, &mut pair, true);
        self.punching.pairs.insert(from, pair);
        self.tick_punching(now);
    }

    /// The other end's offer says what its NAT does. The punch plans by it, but for what it was not to begin by what was known before.
    pub(super) fn on_their_nat(&mut self, now: Instant, peer: NodeId, pair: &mut Pair) {
        if pair.initiator && pair.held_back {
            self.reconsider(now, peer, pair, false);
        } else {
            pair.stages = Some(self.prospects(now, pair));
        }
    }

    /// Whether what is known by now makes something else of a pair. `anyway`: what failed is tried again even if it does not.
    fn reconsider(&mut self, now: Instant, peer: NodeId, pair: &mut Pair, anyway: bool) {
        if matches!(pair.state, State::Direct | State::Proving(_)) {
            return;
        }
        let stages = self.prospects(now, pair);
        let differs = pair.stages.as_ref().is_some_and(|before| *before != stages);
        if !differs && !anyway {
            return;
        }
        match &pair.state {
            // The one that begins has to know, too.
            _ if !pair.initiator => {
                pair.stages = Some(stages);
                let nat = *self.nat.fingerprint();
                self.say_path(now, peer, PathMessage::Changed(nat));
            }
            State::Punching(punch) if differs && !punch.is_promising() => {
                self.give_up_punch(now, peer, pair);
                pair.state = State::Resting(now);
            }
            _ => pair.hurry(now),
        }
    }

    /// What a punch of this pair would try, by what is known now.
    pub(super) fn prospects(&self, now: Instant, pair: &Pair) -> Vec<Stage> {
        let circumstances = Circumstances {
            initiator: pair.initiator,
            our_sockets: MAX_SOCKETS,
            their_sockets: MAX_SOCKETS,
            same_public_ip: false,
        };
        let mut stages = plan(self.nat.fingerprint(), &pair.theirs, &circumstances).stages;
        if self.is_measuring(now, self.nat.fingerprint(), &pair.theirs) {
            stages.retain(|stage| !GUESSES.contains(&stage.kind()));
        }
        stages
    }

    /// What earlier punches say; and no guessing while it is being measured what there is to guess.
    pub(super) fn advice(&mut self, now: Instant, ours: &Fingerprint, theirs: &Fingerprint) -> Advice {
        let mut advice = self.punching.experience.advice(ours, theirs);
        if self.is_measuring(now, ours, theirs) {
            advice.skip.extend(GUESSES);
        }
        advice
    }

    /// Whether more is about to be known of one of two NATs.
    pub(super) fn is_measuring(&self, now: Instant, ours: &Fingerprint, theirs: &Fingerprint) -> bool {
        now.saturating_since(self.punching.began) < MEASURING && !(is_measured(ours) && is_measured(theirs))
    }
}

/// Whether it is known of a NAT what there is to guess: nothing, or from which ports it chooses. What it filters may take longer, and
/// decides little.
fn is_measured(nat: &Fingerprint) -> bool {
    nat.kind().is_some_and(|kind| kind != Kind::Hard || nat.ports.is_some())
}
