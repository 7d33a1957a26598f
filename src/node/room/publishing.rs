//! The supernode's view: opening an epoch, ordering the members, and letting go of those that are lost.

use super::epoch::Epoch;
use super::message::HandOver;
use super::parts::{Leading, Room, Standing, VIEW_COST};
use super::rank::{ALL_REACH_IT, Rank, Reach};
use super::sequencer::{Follower, Sequencer};
use super::steady::Steady;
use super::telling::Has;
use super::view::{MAX_REIGNS, Reason, Reign};
use super::voices::Voices;
use crate::node::identity::NodeId;
use crate::node::record::MemberRecord;
use crate::time::Instant;
use core::cmp::Reverse;
use std::collections::BTreeSet;

impl Room {
    /// We lead from here on, with those `members` of the old view; who else was in it is lost, unless it handed over.
    pub(super) fn lead(
        &mut self,
        now: Instant,
        epoch: Epoch,
        reason: Reason,
        members: &BTreeSet<NodeId>,
        proof: Option<HandOver>,
    ) {
        let (own, old) = (self.id(), self.view.epoch.supernode);
        let base = self.published.begin(&self.view, reason);
        if reason == Reason::Lost {
            self.note_crash(now);
        }
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.view.entries)
            .into_iter()
            .partition(|entry| entry.record.id() == own || members.contains(&entry.record.id()));
        for entry in gone {
            if entry.record.id() != old || reason == Reason::Lost {
                self.former.add(now, entry.record);
            }
        }
        self.view.entries = kept;
        self.view.reigns.push(Reign { epoch, base: self.log.head() });
        if self.view.reigns.len() > MAX_REIGNS {
            self.view.reigns.remove(0);
        }
        self.view.epoch = epoch;
        self.view.reason = reason;
        self.view.number = 0;
        self.view.proof = proof;
        let head = self.log.head().seq;
        // What was said before we came is not in our order if we never got there: it will be said again, and is to be shown then.
        self.delivery.inherited.take_if(|(seq, _)| *seq > head);
        let before = std::mem::take(&mut self.sequencer);
        self.sequencer = Sequencer { shown: self.delivery.shown, stable: 0, ..Sequencer::default() };
        self.sequencer.voices = if reason == Reason::Merged { before.voices } else { self.voices_of_order() };
        for id in members {
            // Who reported a moment ago counts as ours until it says otherwise; who was handed over has yet to come; who is ours already
            // stays as it is.
            let follower = match reason {
                Reason::Lost => Follower { answered: Some(now), has: self.published.has(*id), ..Follower::new(now) },
                Reason::Merged => {
                    let as_before = before.followers.get(id).copied().unwrap_or(Follower::new(now));
                    Follower {
                        held: 0,
                        sent: None,
                        behind: None,
                        owes: 0,
                        has: as_before.has.in_another_epoch(),
                        ..as_before
                    }
                }
                // The supernode before told everybody the same, and nobody is told that nothing fits.
                _ => Follower { has: Has::View(base), ..Follower::new(now) },
            };
            self.sequencer.followers.insert(*id, follower);
        }
        self.standing = Standing::Leading(Leading { next_beat: now + self.times().heartbeat });
        self.detector.suspicion = None;
        self.announce(now, reason.into());
        self.view_changed(now);
        self.flush_view(now);
        self.update_marks(now);
        self.resend(now);
        if self.quitting.is_some() {
            self.tick_quit(now);
        }
    }

    /// What has a place in the order that we hold, shown yet or not.
    fn voices_of_order(&self) -> Voices {
        let mut voices = self.delivery.voices.clone();
        for placed in self.log.since(self.delivery.shown.saturating_add(1)) {
            voices.note(&placed.line, placed.head.seq);
        }
        if let Some((seq, inherited)) = &self.delivery.inherited {
            for spoken in inherited {
                voices.note_spoken(*spoken, *seq);
            }
        }
        voices
    }

    /// A member's rank, as it begins.
    pub(super) fn rank_of(&self, now: Instant, record: &MemberRecord, tenure: u64) -> Rank {
        let id = record.id();
        let lately = self.times().suspect * 2;
        let heard = id == self.id()
            || self
                .sequencer
                .followers
                .get(&id)
                .is_none_or(|follower| now.saturating_since(follower.patience) < lately);
        Rank {
            reach: if heard { Reach::Heard } else { Reach::Silent },
            crashes: Reverse(self.view.crashes_of(record)),
            reached: ALL_REACH_IT,
            tenure: Reverse(tenure),
            capacity: 0,
            id: Reverse(id),
        }
    }

    /// Supernode: orders the members by rank; whether anything moved.
    pub(super) fn rerank(&mut self, now: Instant) -> bool {
        let own = self.id();
        let before: Vec<Rank> = self.view.entries.iter().map(|entry| entry.rank.clone()).collect();
        let hold = self.config.times.steady;
        let mut ranks = Vec::with_capacity(before.len());
        for (place, entry) in self.view.entries.iter().enumerate() {
            let (id, told) = (entry.record.id(), entry.rank.reached);
            let rank = self.rank_of(now, &entry.record, entry.rank.tenure.0);
            let reached = if id == own { None } else { self.reached_by(id, place) };
            let steady = self.sequencer.steady.entry(id);
            let (reach, quarters) = steady.or_insert((Steady::new(entry.rank.reach), Steady::new(told)));
            // Who falls silent is passed over at once, and has to speak for three times as long as anything else to be next again.
            let reach = reach.observe(now, rank.reach, Some(Reach::Silent), hold * 3);
            let reached = quarters.observe(now, reached.unwrap_or(told), None, hold);
            ranks.push(Rank { reach, reached, ..rank });
        }
        let mut entries = std::mem::take(&mut self.view.entries);
        for (entry, rank) in entries.iter_mut().zip(ranks) {
            entry.rank = rank;
        }
        self.view.entries = entries;
        self.view.sort();
        !before.iter().eq(self.view.entries.iter().map(|entry| &entry.rank))
    }

    /// Supernode, every heartbeat: who was silent for too long is lost.
    pub(super) fn drop_lost(&mut self, now: Instant) {
        let times = self.config.times;
        self.forget_crashes(now);
        let lost: BTreeSet<NodeId> = self
            .sequencer
            .followers
            .iter()
            .filter(|(id, follower)| {
                let patience = if self.links.contains(**id) { times.member } else { times.unlinked };
                now.saturating_since(follower.patience) >= patience
            })
            .map(|(id, _)| *id)
            .collect();
        if !lost.is_empty() {
            self.drop_members(now, &lost);
        } else if self.rerank(now) {
            self.view_changed(now);
        }
    }

    pub(super) fn drop_members(&mut self, now: Instant, lost: &BTreeSet<NodeId>) {
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.view.entries).into_iter().partition(|entry| lost.contains(&entry.record.id()));
        self.view.entries = kept;
        for entry in gone {
            self.sequencer.followers.remove(&entry.record.id());
            self.sequencer.steady.remove(&entry.record.id());
            self.former.add(now, entry.record);
        }
        self.view_changed(now);
        self.update_marks(now);
    }

    /// A member's record changed.
    pub(super) fn on_record(&mut self, now: Instant, from: NodeId, record: MemberRecord) {
        if !matches!(self.standing, Standing::Leading(_)) || !self.view.contains(from) || !self.may_ask(from, VIEW_COST)
        {
            return;
        }
        if record.id() != from || record.verify().is_err() {
            return;
        }
        if let Some(entry) = self.view.entries.iter_mut().find(|entry| entry.record.id() == from)
            && entry.record.facts.sequence < record.facts.sequence
        {
            entry.record = record;
            self.view_changed(now);
        }
    }
}
