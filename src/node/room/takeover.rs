//! After a crash: the first in line claims, survivors report what they hold, gaps are filled, the view opens.

use super::epoch::{Epoch, Head};
use super::message::{Claim, ClaimFacts, Fetch, Report, RoomMessage, Taken, ViewStamp};
use super::parts::{Room, Standing};
use super::plant::{Plant, planted};
use super::view::Reason;
use crate::node::identity::NodeId;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// A claim may skip this many epochs at most: the claimer may have led epochs that we do not know, but nobody can use the numbers up.
pub(super) const MAX_EPOCHS_SKIPPED: u64 = 1 << 20;

/// Members that refused a claim and those whose claims we followed are few: how many epochs are remembered.
pub(super) const MAX_PROMISES: usize = 8;

/// A claim is made again under a higher counter this often at most: whoever says that its word is given could say so for ever.
const MAX_RENEWED: u8 = 3;

/// We claim to follow the lost supernode.
#[derive(Clone, Debug)]
pub(super) struct Claiming {
    /// The epoch that is to begin.
    pub(super) next: Epoch,
    since: Instant,
    /// Everybody but us and the lost one.
    pub(super) expected: BTreeSet<NodeId>,
    reports: BTreeMap<NodeId, Head>,
    /// Our view, and who has the same.
    view: ViewStamp,
    same_view: BTreeSet<NodeId>,
    alive: BTreeSet<NodeId>,
    /// Who was asked for lines that we lack, and until when we wait.
    pub(super) fetching: Option<(NodeId, Instant)>,
    /// Who did not deliver what it said it holds, or holds another order than ours.
    pub(super) failed: BTreeSet<NodeId>,
    /// How often it was made again under a higher counter.
    renewed: u8,
}

/// We wait for another's view to open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promised {
    /// The epoch that is to begin.
    pub(super) next: Epoch,
    /// Since when.
    pub(super) since: Instant,
}

impl Room {
    /// The supernode is lost and we are first in line: claims the next epoch.
    pub(super) fn claim(&mut self, now: Instant) {
        let (own, old) = (self.id(), self.view.epoch);
        let next = self.next_epoch();
        let expected: BTreeSet<NodeId> = self.view.successors().filter(|id| *id != own).collect();
        self.standing = Standing::Claiming(Claiming {
            next,
            since: now,
            expected: expected.clone(),
            reports: BTreeMap::new(),
            view: self.stamp(),
            same_view: BTreeSet::new(),
            alive: BTreeSet::new(),
            fetching: None,
            failed: BTreeSet::new(),
            renewed: 0,
        });
        let claim = Claim::sign(&self.identity, ClaimFacts { room: self.view.room, epoch: old, next });
        for id in expected {
            self.send(id, RoomMessage::Claim(claim.clone()));
        }
        self.keep_warm(now);
        self.resolve_claim(now);
    }

    /// An epoch that was never used: ours, after all we know.
    pub(super) fn next_epoch(&mut self) -> Epoch {
        self.last_counter = self.last_counter.max(self.view.epoch.counter).saturating_add(1);
        Epoch { counter: self.last_counter, supernode: self.id() }
    }

    /// A link came up while we claim: it has not heard of it.
    pub(super) fn on_claim_link(&mut self, id: NodeId) {
        let Standing::Claiming(claiming) = &self.standing else { return };
        if claiming.expected.contains(&id) {
            let facts = ClaimFacts { room: self.view.room, epoch: self.view.epoch, next: claiming.next };
            let claim = Claim::sign(&self.identity, facts);
            self.send(id, RoomMessage::Claim(claim));
        }
    }

    /// Somebody claims to follow the supernode.
    pub(super) fn on_claim(&mut self, now: Instant, from: NodeId, claim: Claim) {
        let facts = claim.facts;
        let skipped = facts.next.counter.saturating_sub(facts.epoch.counter);
        let sound = from == facts.next.supernode
            && facts.room == self.view.room
            && (1..=MAX_EPOCHS_SKIPPED).contains(&skipped)
            && from != facts.epoch.supernode
            && claim.verify();
        if !sound || !self.knows(from) {
            return self.alert("forged", format!("{from} sent a claim to the room that is not in order"));
        }
        if facts.epoch != self.view.epoch {
            return self.say_hello(from);
        }
        let Some(place) = self.view.position(from) else {
            return self.say_hello(from);
        };
        let earlier = |room: &Self, other: NodeId| room.view.position(other).is_some_and(|other| place < other);
        let take = match &self.standing {
            Standing::Following => {
                if self.hears_supernode(now) {
                    return self.send(from, RoomMessage::Alive(facts.epoch));
                }
                true
            }
            Standing::Promised(promised) => promised.next.supernode == from || earlier(self, promised.next.supernode),
            Standing::Claiming(_) => earlier(self, self.id()),
            Standing::Leading(_) => return self.send(from, RoomMessage::Alive(facts.epoch)),
            Standing::Inheriting(_) | Standing::Leaving(_) | Standing::Gone => false,
        };
        if take && self.gave_word(facts.next) {
            self.send(from, RoomMessage::Taken(Taken { next: facts.next, counter: self.last_counter }));
        } else if take {
            self.promise(now, facts.next);
            self.send(
                from,
                RoomMessage::Report(Report { next: facts.next, head: self.log.head(), view: self.stamp() }),
            );
        }
    }

    /// Whether we gave our word to another under that counter. It is given once: so of two that lead under one counter nobody is counted by
    /// both, whatever the links did.
    pub(super) fn gave_word(&self, next: Epoch) -> bool {
        !planted(Plant::WordTwice) && self.promises.iter().any(|given| given.counter == next.counter && *given != next)
    }

    /// A survivor would follow us, under a higher counter.
    pub(super) fn on_taken(&mut self, now: Instant, from: NodeId, taken: Taken) {
        let Standing::Claiming(claiming) = &self.standing else { return };
        let renewed = claiming.renewed;
        if taken.next != claiming.next || !claiming.expected.contains(&from) || renewed >= MAX_RENEWED {
            return;
        }
        let most = self.view.epoch.counter.saturating_add(MAX_EPOCHS_SKIPPED - 1);
        self.last_counter = self.last_counter.max(taken.counter.min(most));
        self.claim(now);
        if let Standing::Claiming(claiming) = &mut self.standing {
            claiming.renewed = renewed + 1;
        }
    }

    /// From here on nothing is taken from the old supernode: what we report is what we hold.
    pub(super) fn promise(&mut self, now: Instant, next: Epoch) {
        self.standing = Standing::Promised(Promised { next, since: now });
        self.detector.suspicion = None;
        self.last_counter = self.last_counter.max(next.counter);
        self.promises.push_back(next);
        while self.promises.len() > MAX_PROMISES {
            self.promises.pop_front();
        }
        self.keep_warm(now);
    }

    /// A survivor reports.
    pub(super) fn on_report(&mut self, now: Instant, from: NodeId, report: Report) {
        let known = self.knows(from);
        match &mut self.standing {
            Standing::Claiming(claiming) if report.next == claiming.next && claiming.expected.contains(&from) => {
                claiming.reports.insert(from, report.head);
                if report.view == claiming.view {
                    claiming.same_view.insert(from);
                }
                // Two may hold as many lines, and not the same. It comes over to our order, and can tell who is to blame.
                if self.log.chain_at(report.head.seq).is_some_and(|ours| ours != report.head.chain) {
                    self.show_seal(from, report.head.seq);
                }
                self.resolve_claim(now);
            }
            // It reports late: the view is open, without it.
            Standing::Leading(_) if report.next == self.view.epoch && !self.view.contains(from) => {
                self.readmit(now, from);
            }
            _ if known => self.say_hello(from),
            _ => {}
        }
    }

    /// A survivor hears the old supernode. If as many do as do not, or if it speaks itself, it was our link that was bad.
    pub(super) fn on_alive(&mut self, now: Instant, from: NodeId, epoch: Epoch) {
        let (old, known) = (self.view.epoch, self.knows(from));
        let believed = !self.is_beyond_belief(now);
        match &mut self.standing {
            Standing::Claiming(claiming) if epoch == old => {
                if claiming.expected.contains(&from) {
                    claiming.alive.insert(from);
                }
                if from == old.supernode || (believed && claiming.alive.len() > claiming.reports.len()) {
                    self.abandon(now);
                } else {
                    self.resolve_claim(now);
                }
            }
            Standing::Leading(_) if known && epoch != old => self.say_hello(from),
            _ => {}
        }
    }

    /// Everything is as before.
    pub(super) fn abandon(&mut self, now: Instant) {
        let Standing::Claiming(claiming) = &self.standing else { return };
        let (next, reporters) = (claiming.next, claiming.reports.keys().copied().collect::<Vec<_>>());
        for id in reporters {
            self.send(id, RoomMessage::Abandon(next));
        }
        self.follow_again(now);
    }

    /// The claimer we reported to gives up.
    pub(super) fn on_abandon(&mut self, now: Instant, from: NodeId, next: Epoch) {
        if let Standing::Promised(promised) = &self.standing
            && promised.next == next
            && next.supernode == from
        {
            self.follow_again(now);
        }
    }

    /// Back under the supernode that we thought lost, suspecting it still if it is silent.
    fn follow_again(&mut self, now: Instant) {
        self.standing = Standing::Following;
        self.detector.suspicion = None;
        if !self.hears_supernode(now) {
            self.suspect(now);
        }
        self.dirty.held = true;
        // What it sent while we were promised to another we did not take.
        self.delivery.asked_again = None;
        if !planted(Plant::Skip) {
            self.ask_again(now);
        }
        self.keep_warm(now);
        self.resend(now);
    }

    /// Opens the view once everybody reported (or had time to) and we hold what any of them holds.
    pub(super) fn resolve_claim(&mut self, now: Instant) {
        let collect = self.config.times.collect;
        let head = self.log.head().seq;
        let Standing::Claiming(claiming) = &mut self.standing else { return };
        let answered = claiming.reports.len() + claiming.alive.len();
        if answered < claiming.expected.len() && now.saturating_since(claiming.since) < collect {
            return;
        }
        if let Some((holder, until)) = claiming.fetching
            && claiming.reports.get(&holder).is_some_and(|theirs| theirs.seq > head)
        {
            if now < until {
                return;
            }
            claiming.failed.insert(holder);
        }
        claiming.fetching = None;
        let failed = &claiming.failed;
        let best = claiming.reports.iter().filter(|(id, theirs)| theirs.seq > head && !failed.contains(*id));
        let best = best.max_by_key(|(id, theirs)| (theirs.seq, core::cmp::Reverse(**id)));
        if let Some((holder, theirs)) = best.map(|(id, theirs)| (*id, *theirs)) {
            claiming.fetching = Some((holder, now + collect));
            let fetch = Fetch { epoch: claiming.next, from: head.saturating_add(1), to: theirs.seq };
            return self.send(holder, RoomMessage::Fetch(fetch));
        }
        let (next, reporters) = (claiming.next, claiming.reports.keys().copied().collect::<BTreeSet<_>>());
        self.published.expect(std::mem::take(&mut claiming.same_view));
        self.lead(now, next, Reason::Lost, &reporters, None);
    }

    /// Somebody lacks lines that we hold.
    pub(super) fn on_fetch(&mut self, from: NodeId, fetch: Fetch) {
        let allowed = match &self.standing {
            Standing::Promised(promised) => promised.next == fetch.epoch && from == fetch.epoch.supernode,
            Standing::Leaving(leaving) => leaving.next == fetch.epoch && from == fetch.epoch.supernode,
            _ => false,
        };
        if allowed {
            self.send_lines(from, fetch.from, fetch.to);
        }
    }

    /// When a claim or a promise has to be looked at.
    pub(super) fn next_takeover(&self) -> Option<Instant> {
        let times = self.config.times;
        match &self.standing {
            Standing::Claiming(claiming) => {
                Some(claiming.fetching.map_or(claiming.since + times.collect, |(_, until)| until))
            }
            Standing::Promised(promised) => Some(promised.since + times.promise),
            Standing::Inheriting(inheriting) => Some(inheriting.until),
            _ => None,
        }
    }

    /// Claims and promises do not last for ever.
    pub(super) fn tick_takeover(&mut self, now: Instant) {
        match &self.standing {
            Standing::Claiming(_) => self.resolve_claim(now),
            Standing::Promised(promised) if now.saturating_since(promised.since) >= self.config.times.promise => {
                self.follow_again(now);
            }
            Standing::Inheriting(inheriting) if now >= inheriting.until => self.inherit(now),
            _ => {}
        }
    }
}
