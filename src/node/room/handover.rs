//! Leaving: whoever leads names a successor first.

use super::epoch::Epoch;
use super::message::{Fetch, HandOver, HandOverFacts, RoomMessage};
use super::output::RoomOutput;
use super::parts::{Room, Standing};
use super::view::Reason;
use crate::node::identity::NodeId;
use crate::time::Instant;
use std::collections::BTreeSet;

/// We handed over and wait until everybody has moved.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    /// The epoch that begins.
    pub(super) next: Epoch,
    /// Who has not moved yet.
    waiting: BTreeSet<NodeId>,
    /// Who may be named should the successor be lost too, in order.
    heirs: Vec<NodeId>,
    /// When to name the next.
    retry: Instant,
    deadline: Instant,
}

/// We were named, and fetch what we lack.
#[derive(Clone, Debug)]
pub(super) struct Inheriting {
    hand_over: HandOver,
    /// What does not come by then does not come.
    pub(super) until: Instant,
}

impl Room {
    /// `Q`. Ends in [`RoomOutput::Left`], within [`Times::quit`](super::Times::quit).
    pub fn quit(&mut self, now: Instant) {
        self.on_wake(now);
        if self.quitting.is_some() || matches!(self.standing, Standing::Gone | Standing::Leaving(_)) {
            return;
        }
        self.joining = None;
        self.quitting = Some(now + self.config.times.quit);
        if matches!(self.standing, Standing::Leading(_)) && !self.start_hand_over(now) {
            return self.leave();
        }
        self.tick_quit(now);
    }

    /// Supernode: names the next. Everything that has a place was sent to everybody before, over links that keep the order, so whoever
    /// reads this holds it. `false`: there is nobody.
    fn start_hand_over(&mut self, now: Instant) -> bool {
        self.flush_due_view(now);
        let live: BTreeSet<NodeId> = self.live().into_iter().collect();
        let mut heirs: Vec<NodeId> = self.view.successors().filter(|id| self.links.contains(*id)).collect();
        // Whoever answered lately first; the others are better than nobody.
        heirs.sort_by_key(|id| !live.contains(id));
        if heirs.is_empty() {
            return false;
        }
        let waiting = heirs.iter().copied().filter(|id| live.contains(id)).collect();
        let next = self.view.epoch;
        let deadline = now + self.config.times.quit;
        self.standing = Standing::Leaving(Leaving { next, waiting, heirs, retry: now, deadline });
        self.name_heir(now);
        true
    }

    fn name_heir(&mut self, now: Instant) {
        let Standing::Leaving(leaving) = &mut self.standing else { return };
        if leaving.heirs.is_empty() {
            leaving.retry = leaving.deadline;
            return;
        }
        let heir = leaving.heirs.remove(0);
        let counter = leaving.next.counter.saturating_add(1);
        leaving.next = Epoch { counter, supernode: heir };
        leaving.retry = now + self.config.times.quit / 2;
        let facts =
            HandOverFacts { room: self.view.room, epoch: self.view.epoch, next: leaving.next, head: self.log.head() };
        let hand_over = HandOver::sign(&self.identity, facts);
        for id in self.view.successors().collect::<Vec<_>>() {
            self.send(id, RoomMessage::HandOver(hand_over.clone()));
        }
    }

    /// Supernode that was admitted elsewhere: hands over and does not wait, since its links live on.
    pub(super) fn hand_over_and_go(&mut self, now: Instant) {
        match self.standing {
            Standing::Leading(_) => {
                self.start_hand_over(now);
            }
            Standing::Gone => {}
            _ => self.send(self.view.epoch.supernode, RoomMessage::Leave),
        }
    }

    /// The supernode goes and names the next.
    pub(super) fn on_hand_over(&mut self, now: Instant, from: NodeId, hand_over: HandOver) {
        let facts = hand_over.facts;
        let own = from == facts.epoch.supernode;
        let past = facts.room == self.view.room && facts.epoch.counter < self.view.epoch.counter;
        if own && past && hand_over.verify() {
            // We have moved on already.
            return;
        }
        if !own || !self.is_sound(&hand_over) {
            return self.alert("forged", format!("{from} sent a hand-over that is not in order"));
        }
        match self.standing {
            Standing::Following | Standing::Promised(_) | Standing::Claiming(_) | Standing::Inheriting(_) => {}
            _ => return,
        }
        if !self.is_latest(&facts) {
            return self.look_for_two_heirs(&facts);
        }
        if self.gave_word(facts.next) {
            return;
        }
        self.handed = Some(facts);
        if facts.next.supernode != self.id() {
            return self.promise(now, facts.next);
        }
        let until = now + self.config.times.collect;
        self.detector.suspicion = None;
        self.standing = Standing::Inheriting(Inheriting { hand_over, until });
        if self.log.head().seq < facts.head.seq {
            let fetch = Fetch { epoch: facts.next, from: self.log.head().seq.saturating_add(1), to: facts.head.seq };
            self.send(from, RoomMessage::Fetch(fetch));
        }
        self.try_inherit(now);
    }

    /// Whether it ends the epoch we are in, in the words of its supernode, for the good of a member.
    pub(super) fn is_sound(&self, hand_over: &HandOver) -> bool {
        let facts = hand_over.facts;
        facts.room == self.view.room
            && facts.epoch == self.view.epoch
            && facts.next.counter > facts.epoch.counter
            && facts.next.counter - facts.epoch.counter <= 1 + super::view::MAX_MEMBERS as u64
            && facts.next.supernode != facts.epoch.supernode
            && self.view.contains(facts.next.supernode)
            && hand_over.verify()
    }

    /// Whether nothing was said since by the same supernode: it names one successor after the other, each under a higher counter, so an
    /// earlier word that comes again, or a second one under the same counter, counts for nothing.
    pub(super) fn is_latest(&self, facts: &HandOverFacts) -> bool {
        let before = self.handed.filter(|before| before.epoch == facts.epoch);
        before.is_none_or(|before| facts.next.counter > before.next.counter)
    }

    /// That supernode said so, to us or to somebody else. If it told us of another heir under that counter, it split the room.
    pub(super) fn look_for_two_heirs(&mut self, facts: &HandOverFacts) {
        let two = |before: HandOverFacts| {
            before.epoch == facts.epoch && before.next.counter == facts.next.counter && before.next != facts.next
        };
        if self.handed.is_some_and(two) {
            self.alert("equivocation", format!("{} named two successors at once", facts.epoch.supernode));
        }
    }

    /// Leads, if we hold everything up to the end of the old epoch.
    pub(super) fn try_inherit(&mut self, now: Instant) {
        if let Standing::Inheriting(inheriting) = &self.standing
            && self.log.head().seq >= inheriting.hand_over.facts.head.seq
        {
            self.inherit(now);
        }
    }

    /// Leads with what we hold.
    pub(super) fn inherit(&mut self, now: Instant) {
        let Standing::Inheriting(inheriting) = &self.standing else { return };
        let hand_over = inheriting.hand_over.clone();
        let next = hand_over.facts.next;
        let own = self.id();
        let members: BTreeSet<NodeId> = self.view.successors().filter(|id| *id != own).collect();
        self.last_counter = self.last_counter.max(next.counter);
        self.send(hand_over.facts.epoch.supernode, RoomMessage::Moved(next));
        self.lead(now, next, Reason::Quit, &members, Some(hand_over));
    }

    /// A member follows the next one.
    pub(super) fn on_moved(&mut self, now: Instant, from: NodeId, next: Epoch) {
        let head = self.log.head();
        let Standing::Leaving(leaving) = &mut self.standing else { return };
        if leaving.next != next {
            return;
        }
        leaving.waiting.remove(&from);
        // Whoever leads holds everything: what we said is in the order, and may be shown.
        self.delivery.target = self.delivery.target.max(head.seq);
        self.deliver();
        self.tick_quit(now);
    }

    /// A member whose link is down need not be waited for; a successor that is lost is replaced.
    pub(super) fn on_leaving_link_down(&mut self, now: Instant, id: NodeId) {
        let Standing::Leaving(leaving) = &mut self.standing else { return };
        leaving.waiting.remove(&id);
        leaving.heirs.retain(|heir| *heir != id);
        if leaving.next.supernode == id && !leaving.waiting.is_empty() {
            self.name_heir(now);
        }
        self.tick_quit(now);
    }

    /// Leaves once everybody moved, or everything we said is safe, or time is up.
    pub(super) fn tick_quit(&mut self, now: Instant) {
        let Some(deadline) = self.quitting else { return };
        match &self.standing {
            Standing::Gone => {}
            Standing::Leaving(leaving) => {
                if leaving.waiting.is_empty() || now >= leaving.deadline {
                    self.leave();
                } else if now >= leaving.retry && leaving.waiting.contains(&leaving.next.supernode) {
                    self.name_heir(now);
                }
            }
            // We came to lead while we waited to go.
            Standing::Leading(_) => self.hand_over_or_leave(now),
            _ if self.outbox.is_empty() || now >= deadline => {
                self.send(self.view.epoch.supernode, RoomMessage::Leave);
                self.leave();
            }
            _ => {}
        }
    }

    fn hand_over_or_leave(&mut self, now: Instant) {
        if !self.start_hand_over(now) {
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.flush_held();
        self.standing = Standing::Gone;
        self.outputs.push_back(RoomOutput::Left);
    }

    /// When quitting goes on.
    pub(super) fn next_quit(&self) -> Option<Instant> {
        let deadline = self.quitting?;
        match &self.standing {
            Standing::Gone => None,
            Standing::Leaving(leaving) if leaving.waiting.contains(&leaving.next.supernode) => {
                Some(leaving.retry.min(leaving.deadline))
            }
            Standing::Leaving(leaving) => Some(leaving.deadline),
            _ => Some(deadline),
        }
    }

    /// Somebody goes.
    pub(super) fn on_leave(&mut self, now: Instant, from: NodeId) {
        self.door.forget(from);
        self.former.remove(from);
        if matches!(self.standing, Standing::Leading(_)) && self.view.contains(from) {
            self.view.entries.retain(|entry| entry.record.id() != from);
            self.sequencer.followers.remove(&from);
            self.sequencer.steady.remove(&from);
            self.view_changed(now);
            self.update_marks(now);
        }
    }
}
