//! Who follows whom, proven: before a leader gives up its half of a room, the members of the other half say for themselves that they follow
//! the other leader.
//!
//! ```text
//!   A, who would give up              B, who says that more follow it                 B's members
//!      ── Muster {A's epoch, nonce, need} ──▶ ── the same ──────────────────────────▶ sign, if they follow B and hear it
//!                                             ◀── Allegiance ────────────────────────
//!      ◀── Proof: enough of them ──────────── with its own
//!   checks them, and only then goes
//! ```
//!
//! Nothing of this happens while all is well: it is asked for, for that one meeting. What was signed for one nonce is worth nothing for
//! another, or for another leader; who is dead or undecided does not sign.

use super::epoch::Epoch;
use super::message::{Allegiance, AllegianceFacts, Muster, Proof, RoomMessage};
use super::parts::{Room, Standing, VIEW_COST};
use super::view::MAX_MEMBERS;
use crate::node::identity::NodeId;
use crate::node::record::Signature;
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// What is not proven by then is not.
const PROVEN_WITHIN: Duration = Duration::from_secs(4);

/// A doubt is put again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Doubts that we have, and that others have of us, at most.
pub(super) const MAX_DOUBTS: usize = 64;

/// What it costs to have us sign.
const ALLEGIANCE_COST: u32 = 16;

/// Leader's side: which other leaders we doubt, and who doubts us.
#[derive(Clone, Debug, Default)]
pub(super) struct Musters {
    doubts: BTreeMap<NodeId, Doubt>,
    answers: BTreeMap<NodeId, Answering>,
}

/// We asked a leader for its members' word.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// The epoch that it leads.
    theirs: Epoch,
    /// Ours, then.
    ours: Epoch,
    nonce: [u8; 16],
    since: Instant,
    /// It was answered: what comes besides says nothing.
    answered: bool,
}

/// A leader asked us.
#[derive(Clone, Debug)]
struct Answering {
    muster: Muster,
    /// Our epoch then.
    epoch: Epoch,
    since: Instant,
    /// Who was asked and has not said so yet.
    waiting: BTreeSet<NodeId>,
    members: Vec<(NodeId, Signature)>,
}

impl Musters {
    /// What is too old counts for nothing.
    pub(super) fn expire(&mut self, now: Instant) {
        self.doubts.retain(|_, doubt| now.saturating_since(doubt.since) < PROVEN_WITHIN);
        self.answers.retain(|_, answering| now.saturating_since(answering.since) < PROVEN_WITHIN);
    }

    /// How many there are of each.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.doubts.len().max(self.answers.len())
    }
}

impl Room {
    /// `leader` says that so many follow it that we should: they are to say so themselves.
    pub(super) fn doubt(&mut self, now: Instant, leader: NodeId, theirs: Epoch) {
        self.musters.expire(now);
        let ours = self.view.epoch;
        let asked = self.musters.doubts.get(&leader).is_some_and(|doubt| {
            doubt.theirs == theirs && doubt.ours == ours && now.saturating_since(doubt.since) < ASK_AGAIN
        });
        if asked || (self.musters.doubts.len() >= MAX_DOUBTS && !self.musters.doubts.contains_key(&leader)) {
            return;
        }
        let mut nonce = [0; 16];
        self.dice.fill(&mut nonce);
        let doubt = Doubt { theirs, ours, nonce, since: now, answered: false };
        self.musters.doubts.insert(leader, doubt);
        let need = u32::try_from(self.outnumbered_by(theirs)).unwrap_or(u32::MAX);
        self.send(leader, RoomMessage::Muster(Muster { to: ours, nonce, need }));
    }

    /// So many have to follow the leader of that epoch for it to lead us too: more than follow us, or as many, if its epoch is higher.
    pub(super) fn outnumbered_by(&self, theirs: Epoch) -> usize {
        self.live().len() + usize::from(theirs < self.view.epoch)
    }

    /// A leader doubts that so many follow us; or our leader asks us whether we do.
    pub(super) fn on_muster(&mut self, now: Instant, from: NodeId, muster: Muster) {
        // Whoever doubts that its supernode lives, or leads, does not say that it follows it.
        let follows = matches!(self.standing, Standing::Following)
            && from == self.view.epoch.supernode
            && muster.to.supernode != from
            && self.hears_supernode(now);
        let leads = matches!(self.standing, Standing::Leading(_));
        if leads && from == muster.to.supernode && muster.to != self.view.epoch {
            self.muster(now, muster);
        } else if follows && self.may_ask(from, ALLEGIANCE_COST) {
            let facts = self.allegiance(&muster);
            let signature = facts.sign(&self.identity);
            self.send(from, RoomMessage::Allegiance(Allegiance { facts, signature }));
        }
        // Else it was said to somebody who leads, or follows, by then.
    }

    fn allegiance(&self, muster: &Muster) -> AllegianceFacts {
        AllegianceFacts { room: self.view.room, epoch: self.view.epoch, to: muster.to, nonce: muster.nonce }
    }

    fn muster(&mut self, now: Instant, muster: Muster) {
        let (own, doubter, live) = (self.id(), muster.to.supernode, self.live());
        self.musters.expire(now);
        let room = self.musters.answers.len() < MAX_DOUBTS || self.musters.answers.contains_key(&doubter);
        let enough = live.len() >= usize::try_from(muster.need).unwrap_or(usize::MAX);
        if !room || !self.may_ask(doubter, VIEW_COST) {
            return;
        }
        if !enough {
            // More follow it than it thought, or fewer follow us.
            return self.say_hello_at_times(now, doubter);
        }
        let members = vec![(own, self.allegiance(&muster).sign(&self.identity))];
        let waiting: BTreeSet<NodeId> = live.into_iter().filter(|id| *id != own).collect();
        for id in &waiting {
            self.send(*id, RoomMessage::Muster(muster));
        }
        let answering = Answering { muster, epoch: self.view.epoch, since: now, waiting, members };
        self.musters.answers.insert(doubter, answering);
        self.prove(now);
    }

    /// A member says that it follows us.
    pub(super) fn on_allegiance(&mut self, now: Instant, from: NodeId, allegiance: &Allegiance) {
        let facts = allegiance.facts;
        let expected = self.musters.answers.values().find(|answering| {
            answering.muster.nonce == facts.nonce && answering.waiting.contains(&from) && self.view.contains(from)
        });
        let Some(muster) = expected.map(|answering| answering.muster) else { return };
        if facts != self.allegiance(&muster) || !facts.verify(from, &allegiance.signature) {
            return self.alert("forged", format!("{from} sent its word, and it is not in order"));
        }
        if let Some(answering) = self.musters.answers.get_mut(&muster.to.supernode) {
            answering.waiting.remove(&from);
            answering.members.push((from, allegiance.signature));
        }
        self.prove(now);
    }

    /// Shows what has been said: once all have, or once enough have and the others had time to.
    pub(super) fn prove(&mut self, now: Instant) {
        let patience = self.config.times.collect;
        let epoch = self.view.epoch;
        if !self.is_supernode() {
            return self.musters.answers.clear();
        }
        let mut proofs = Vec::new();
        self.musters.answers.retain(|doubter, answering| {
            let need = usize::try_from(answering.muster.need).unwrap_or(usize::MAX);
            let late = now.saturating_since(answering.since) >= patience;
            let ready = answering.members.len() >= need && (late || answering.waiting.is_empty());
            if ready && answering.epoch == epoch {
                let (nonce, members) = (answering.muster.nonce, std::mem::take(&mut answering.members));
                proofs.push((*doubter, Proof { epoch, nonce, members }));
            }
            !ready && answering.epoch == epoch && now.saturating_since(answering.since) < PROVEN_WITHIN
        });
        for (doubter, proof) in proofs {
            self.send(doubter, RoomMessage::Proof(Box::new(proof)));
        }
    }

    /// A leader shows who follows it. If they are enough, we do too.
    pub(super) fn on_proof(&mut self, now: Instant, from: NodeId, proof: &Proof) {
        if !self.is_supernode() {
            return;
        }
        let asked = |doubt: &&mut Doubt| doubt.nonce == proof.nonce && doubt.theirs == proof.epoch;
        let doubt = self.musters.doubts.get_mut(&from).filter(asked);
        let Some(doubt) = doubt.filter(|doubt| now.saturating_since(doubt.since) < PROVEN_WITHIN) else {
            return self.alert("forged", format!("{from} sent a proof that nobody asked for"));
        };
        if std::mem::replace(&mut doubt.answered, true) {
            return;
        }
        let facts = AllegianceFacts { room: self.view.room, epoch: proof.epoch, to: doubt.ours, nonce: proof.nonce };
        match self.count_proven(&facts, &proof.members) {
            Some(count) if count >= self.outnumbered_by(proof.epoch) => {
                // What it may be looking for elsewhere is nothing beside that.
                self.joining.take_if(|joining| !joining.is_asked_for() && joining.host != Some(from));
                if let Some(record) = self.links.get(from).map(|link| link.record.clone()) {
                    self.go_back(now, &record, None);
                }
            }
            Some(_) => self.say_hello_at_times(now, from),
            None => self.alert("forged", format!("{from} sent a proof that proves nothing")),
        }
    }

    /// How many of them count: whoever follows us does not follow another, and of those that we never heard of no more count than of those
    /// that we know. `None`: one of them never said so, or is named twice.
    fn count_proven(&self, facts: &AllegianceFacts, members: &[(NodeId, Signature)]) -> Option<usize> {
        let distinct: BTreeSet<NodeId> = members.iter().map(|(id, _)| *id).collect();
        if members.len() > MAX_MEMBERS || distinct.len() != members.len() {
            return None;
        }
        let ours: BTreeSet<NodeId> = self.live().into_iter().collect();
        let others = members.iter().filter(|(id, _)| !ours.contains(id));
        let (known, strangers): (Vec<_>, Vec<_>) = others.partition(|(id, _)| self.knows(*id));
        let mut counted = known.iter().chain(strangers.iter().take(known.len()));
        let count = known.len() + strangers.len().min(known.len());
        counted.all(|(id, signature)| facts.verify(*id, signature)).then_some(count)
    }
}
