//! Which view we live in: leading one, following one, moving between them.

use super::epoch::{Epoch, Head};
use super::log::Log;
use super::message::{HandOver, Hello, Merge, RoomMessage, Voucher, VoucherFacts, Welcome};
use super::output::RoomOutput;
use super::parts::{Leading, Room, Standing, VIEW_COST};
use super::rank::{Rank, Reach};
use super::sequencer::{Follower, Sequencer};
use super::view::{MAX_MEMBERS, MAX_REIGNS, Reason, Reign, View, common_line};
use crate::mrt::SecretId;
use crate::node::api::{Event, Path, Succession};
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
        self.sequencer = Sequencer { shown: self.delivery.shown, stable: 0, ..Sequencer::default() };
        // What has a place, shown yet or not.
        self.sequencer.voices = self.delivery.voices.clone();
        for placed in self.log.since(self.delivery.shown.saturating_add(1)) {
            self.sequencer.voices.note(placed.line.id(), placed.head.seq);
        }
        for id in members {
            // Who reported a moment ago counts as ours until it says otherwise; who was handed over has yet to come.
            let answered = (reason == Reason::Lost).then_some(now);
            self.sequencer.followers.insert(*id, Follower { answered, ..Follower::new(now) });
        }
        self.standing = Standing::Leading(Leading { next_beat: now + self.config.times.heartbeat });
        self.detector.suspicion = None;
        self.announce(now, reason.into());
        self.view_changed(now);
        self.update_marks(now);
        self.resend(now);
        if self.quitting.is_some() {
            self.tick_quit(now);
        }
    }

    /// A member's rank, as we measure it.
    pub(super) fn rank_of(&self, now: Instant, record: &MemberRecord, tenure: u64) -> Rank {
        let id = record.id();
        let lately = self.config.times.suspect * 2;
        let heard = id == self.id()
            || self
                .sequencer
                .followers
                .get(&id)
                .is_none_or(|follower| now.saturating_since(follower.patience) < lately);
        let crashes = self.view.crashes.iter().find(|(version, _)| *version == record.facts.version);
        Rank {
            reach: if heard { Reach::Heard } else { Reach::Silent },
            crashes: Reverse(crashes.map_or(0, |(_, count)| *count)),
            tenure: Reverse(tenure),
            capacity: 0,
            id: Reverse(id),
        }
    }

    /// Supernode: orders the members by rank; whether anything moved.
    pub(super) fn rerank(&mut self, now: Instant) -> bool {
        let own = self.id();
        let mut entries = std::mem::take(&mut self.view.entries);
        let before: Vec<(NodeId, Reach)> = entries.iter().map(|entry| (entry.record.id(), entry.rank.reach)).collect();
        for entry in &mut entries {
            entry.rank = self.rank_of(now, &entry.record, entry.rank.tenure.0);
        }
        entries.sort_by(|a, b| (b.record.id() == own).cmp(&(a.record.id() == own)).then_with(|| b.rank.cmp(&a.rank)));
        let moved = !before.iter().copied().eq(entries.iter().map(|entry| (entry.record.id(), entry.rank.reach)));
        self.view.entries = entries;
        moved
    }

    /// Supernode: the view changed; everyone is told.
    pub(super) fn view_changed(&mut self, now: Instant) {
        self.rerank(now);
        self.view.number = self.view.number.saturating_add(1);
        self.view.invitations = self.door.invitations(now);
        self.view.former = self.former.records();
        for id in self.sequencer.followers.keys().copied().collect::<Vec<_>>() {
            self.send(id, RoomMessage::View(Box::new(self.view.clone())));
        }
        self.outputs.push_back(RoomOutput::Publish);
    }

    /// A view comes.
    pub(super) fn on_view(&mut self, now: Instant, from: NodeId, view: View) {
        if from != view.epoch.supernode || view.room != self.view.room || !self.knows(from) {
            return self.alert("forged", format!("{from} sent a view in somebody else's place"));
        }
        if view.epoch == self.view.epoch {
            let newer = view.number > self.view.number && matches!(self.standing, Standing::Following);
            if newer && view.contains(self.id()) {
                if let Err(error) = view.verify(Some(&self.view)) {
                    return self.alert("forged", format!("{from} sent a view that is not in order: {error}"));
                }
                self.follow(now, view);
            }
            return;
        }
        let promised = matches!(&self.standing, Standing::Promised(promised) if promised.next == view.epoch)
            || (self.detector.suspicion.is_some() && self.promises.contains(&view.epoch));
        let handed = !matches!(self.standing, Standing::Leading(_) | Standing::Leaving(_) | Standing::Gone)
            && view.proof.as_ref().is_some_and(|proof| proof.facts.next == view.epoch && self.is_sound(proof));
        if !promised && !handed {
            // A claimer that we reported to may open its view after we followed another, and a supernode that we lost may not know it.
            let past = self.view.reigns.iter().any(|reign| reign.epoch == view.epoch);
            if !past && !self.promises.contains(&view.epoch) {
                self.alert("forged", format!("{from} sent a view of an epoch that it does not lead"));
            }
            return self.say_hello(from);
        }
        let sound = view.epoch.counter > self.view.epoch.counter && view.contains(self.id());
        if let Err(error) = view.verify(Some(&self.view)) {
            return self.alert("forged", format!("{from} sent a view that is not in order: {error}"));
        }
        if !sound {
            return;
        }
        let old = self.view.epoch.supernode;
        let reason = view.reason.into();
        let head = Head { seq: u64::MAX, ..view.base() };
        self.settle(&view, head);
        self.enter(now, view, reason);
        if handed || reason == Succession::Quit {
            self.send(old, RoomMessage::Moved(self.view.epoch));
        }
    }

    /// Cuts our order off where the other history parts from it.
    fn settle(&mut self, view: &View, head: Head) {
        let common = common_line(&self.view.reigns, self.log.head(), &view.reigns, head);
        self.log.truncate(common);
        self.outbox.on_truncated(common);
        self.delivery.shown = self.delivery.shown.min(common);
        self.delivery.target = self.delivery.shown;
        self.delivery.history = self.delivery.history.min(common);
    }

    /// The same epoch, a newer view.
    fn follow(&mut self, now: Instant, view: View) {
        self.view = view;
        for record in self.view.former.clone() {
            self.former.add(now, record);
        }
        for id in self.view.ids().collect::<Vec<_>>() {
            self.former.remove(id);
        }
        for state in self.view.invitations.clone() {
            self.learn_invitation(now, state);
        }
        self.detector.retain(|id| self.links.contains(id) || self.view.contains(id));
        self.outputs.push_back(RoomOutput::Publish);
        self.keep_warm(now);
        self.dirty.held = true;
    }

    /// Another epoch: we follow its supernode.
    fn enter(&mut self, now: Instant, view: View, reason: Succession) {
        let same = view.epoch == self.view.epoch;
        self.standing = Standing::Following;
        self.sequencer = Sequencer::default();
        self.detector.suspicion = None;
        self.detector.deserted = None;
        self.last_counter = self.last_counter.max(view.epoch.counter);
        self.view.epoch = view.epoch;
        self.detector.on_heard(now, view.epoch.supernode);
        self.delivery.held = None;
        self.delivery.round = 0;
        // Who leads is told before who is there.
        if !same {
            self.announce(now, reason);
        }
        self.follow(now, view);
        // The supernode before may not have heard of our invitations.
        let (own, told) = (self.id(), self.view.invitations.iter().map(|state| state.id).collect::<BTreeSet<_>>());
        for state in self.door.invitations(now) {
            if state.by == own && !told.contains(&state.id) {
                self.send(self.view.epoch.supernode, RoomMessage::Invite(state));
            }
        }
        self.now = now;
        self.flush_held();
        self.resend(now);
    }

    /// Tells the user who leads.
    pub(super) fn announce(&mut self, now: Instant, reason: Succession) {
        let Epoch { counter: epoch, supernode: id } = self.view.epoch;
        let me = id == self.id();
        self.remember(now, reason);
        if !me && matches!(reason, Succession::Joined | Succession::Merged) {
            let relayed = self.links.get(id).is_some_and(|peer| peer.remote.is_none());
            let path = if relayed { Path::Relayed } else { Path::Direct };
            self.event(Event::Connected { supernode: id, epoch, path });
        }
        self.event(Event::Supernode { id, epoch, me, reason });
    }

    /// We are let in.
    pub(super) fn on_welcome(&mut self, now: Instant, from: NodeId, welcome: Welcome) {
        let view = welcome.view;
        let ours = view.room == self.view.room;
        let awaited = self.expects_welcome(from, view.room)
            || (ours && matches!(&self.standing, Standing::Promised(promised) if promised.next == view.epoch))
            || (ours && view.epoch == self.view.epoch)
            || (ours && self.promises.contains(&view.epoch) && !self.hears_supernode(now));
        if !awaited || from != view.epoch.supernode {
            return self.alert("forged", format!("{from} sent a welcome that nobody asked for"));
        }
        if matches!(self.standing, Standing::Leaving(_) | Standing::Gone) || self.quitting.is_some() {
            return self.send(from, RoomMessage::Leave);
        }
        if let Err(error) = view.verify(ours.then_some(&self.view)) {
            self.joining = None;
            return self.alert("forged", format!("{from} sent a view that is not in order: {error}"));
        }
        if !view.contains(self.id()) || welcome.voices.len() > super::voices::MAX_VOICES {
            return;
        }
        let reason = if !ours {
            Succession::Joined
        } else if self.expects_welcome(from, view.room) || view.epoch.counter <= self.view.epoch.counter {
            Succession::Merged
        } else {
            view.reason.into()
        };
        if self.joining.as_ref().is_some_and(|joining| joining.host == Some(from)) {
            self.joining = None;
        }
        if ours {
            self.lead_others_to(now, &view);
            self.settle(&view, welcome.head);
        } else {
            self.move_out(now, &view);
            self.delivery.history = welcome.head.seq;
        }
        self.delivery.inherited = Some((welcome.head.seq, welcome.voices));
        self.enter(now, view, reason);
        self.deliver();
    }

    /// Leaves the room we are in for good.
    fn move_out(&mut self, now: Instant, view: &View) {
        self.hand_over_and_go(now);
        for id in self.view.ids().collect::<Vec<_>>() {
            if id != self.id() && !view.contains(id) && self.links.contains(id) {
                self.outputs.push_back(RoomOutput::Drop { id });
            }
        }
        for id in self.door.retain_invitations(|_| false) {
            self.outputs.push_back(RoomOutput::RemoveSecret { id: SecretId(id) });
        }
        self.former.clear();
        self.disputed.clear();
        self.promises.clear();
        self.last_counter = 0;
        self.outbox.clear();
        self.log = Log::default();
        self.delivery.shown = 0;
        self.delivery.target = 0;
        self.view.room = view.room;
    }

    /// Supernode of the smaller half: the members are told where to go.
    fn lead_others_to(&mut self, now: Instant, view: &View) {
        if !matches!(self.standing, Standing::Leading(_)) {
            return;
        }
        let own = self.id();
        let others = self.view.entries.iter().map(|entry| entry.record.clone());
        let others: Vec<MemberRecord> =
            others.filter(|record| record.id() != own && !view.contains(record.id())).collect();
        for record in others {
            let id = record.id();
            // Until it arrives there it is known here, and sent on again should it ask.
            self.former.add(now, record);
            self.send_on(id, self.view.epoch, view);
        }
    }

    /// Sends a member of an `epoch` that we led to the supernode of `view`, with our word.
    pub(super) fn send_on(&mut self, id: NodeId, epoch: Epoch, view: &View) {
        if let Some(supernode) = view.record(view.epoch.supernode).cloned() {
            let facts = VoucherFacts {
                room: view.room,
                counter: view.epoch.counter,
                joiner: id,
                member: self.id(),
                invitation: None,
            };
            let voucher = Voucher::sign(&self.identity, facts);
            let merge = Merge { epoch, next: view.epoch, supernode: supernode.clone(), voucher };
            self.send(id, RoomMessage::Merge(Box::new(merge)));
        }
    }

    /// Our supernode has gone over to the other half.
    pub(super) fn on_merge(&mut self, now: Instant, from: NodeId, merge: Merge) {
        if from != merge.epoch.supernode || merge.supernode.verify().is_err() {
            return self.alert("forged", format!("{from} wants to send us elsewhere"));
        }
        // We may have gone already.
        if merge.epoch == self.view.epoch && matches!(self.standing, Standing::Following) {
            self.go_back(now, &merge.supernode, Some(merge.voucher));
        }
    }

    /// Somebody says where it belongs.
    pub(super) fn on_hello(&mut self, now: Instant, from: NodeId, hello: Hello) {
        if hello.room != self.view.room || hello.epoch == self.view.epoch {
            return;
        }
        if !self.knows(from) {
            // It knows the room, so a member let it in, of whom we may not have heard in time: it may come and ask at the door. Now and
            // then only: two who do not know each other would never stop.
            return self.say_hello_at_times(now, from);
        }
        if hello.live.len() > MAX_MEMBERS {
            return self.alert("forged", format!("{from} counts more members than a room has"));
        }
        let leader = hello.epoch.supernode;
        if from == self.view.epoch.supernode && matches!(self.standing, Standing::Following) {
            self.detector.deserted = Some(self.view.epoch);
            self.suspect(now);
        }
        if let Some(follower) = self.sequencer.followers.get_mut(&from) {
            follower.answered = None;
        }
        match self.standing {
            Standing::Leading(_) => {
                if leader == self.id() {
                    // It follows an epoch of ours that is over: it will come back by itself, we are what it looks for.
                    self.say_hello(from);
                    return;
                }
                if self.view.contains(from) && !self.former.contains(from) && hello.live.is_empty() {
                    // One of ours that follows somebody else.
                    self.drop_members(now, &BTreeSet::from([from]));
                }
                if from != leader {
                    return self.seek_leader(leader);
                }
                self.weigh(now, from, &hello);
            }
            // Whoever hears its supernode stays; whoever lost it looks at every other that leads this room.
            Standing::Following if self.detector.suspicion.is_some() && leader != self.id() => {
                if let Some(record) = self.view.record(leader).or_else(|| self.former.record(leader)).cloned() {
                    self.go_back(now, &record, None);
                }
            }
            Standing::Following if leader == self.id() => self.say_hello(from),
            _ => {}
        }
    }

    /// Another leads this room too: we should speak to it.
    fn seek_leader(&mut self, leader: NodeId) {
        if self.links.contains(leader) {
            self.say_hello(leader);
        } else if let Some(record) = self.former.record(leader).or_else(|| self.view.record(leader)).cloned() {
            self.dial_record(&record);
        }
    }

    /// Two halves of a room met. The one where more members live leads; then the higher epoch. What the other says of its half cannot be
    /// proven until views are signed by their members, but whoever follows us does not follow it, and of those that we never heard of no
    /// more count than of those that we know: a member cannot depose us by making up a half.
    fn weigh(&mut self, now: Instant, from: NodeId, hello: &Hello) {
        let ours: BTreeSet<NodeId> = self.live().into_iter().collect();
        let known: BTreeSet<NodeId> = self.view.ids().chain(self.former.ids()).collect();
        let theirs: BTreeSet<NodeId> = hello.live.iter().copied().filter(|id| !ours.contains(id)).collect();
        let proven = theirs.intersection(&known).count();
        let theirs = theirs.len().min(proven * 2);
        if (theirs, hello.epoch) > (ours.len(), self.view.epoch) {
            let record = self.links.get(from).map(|link| link.record.clone());
            if let Some(record) = record {
                self.go_back(now, &record, None);
            }
        } else {
            self.say_hello_at_times(now, from);
        }
    }

    /// Tells `id` where we belong, unless we told somebody just now.
    fn say_hello_at_times(&mut self, now: Instant, id: NodeId) {
        if self.said_hello.is_none_or(|at| now.saturating_since(at) >= self.config.times.heartbeat) {
            self.said_hello = Some(now);
            self.say_hello(id);
        }
    }

    /// Supernode, every heartbeat: who was silent for too long is lost.
    pub(super) fn drop_lost(&mut self, now: Instant) {
        let times = self.config.times;
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

    fn drop_members(&mut self, now: Instant, lost: &BTreeSet<NodeId>) {
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.view.entries).into_iter().partition(|entry| lost.contains(&entry.record.id()));
        self.view.entries = kept;
        for entry in gone {
            self.sequencer.followers.remove(&entry.record.id());
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
