//! From one view to the next: a newer one of our supernode, another epoch, another room.

use super::epoch::{Epoch, Head};
use super::log::Log;
use super::message::{HandOver, Merge, RoomMessage, Voucher, VoucherFacts, Welcome};
use super::output::RoomOutput;
use super::parts::{Room, Standing};
use super::plant::{Plant, planted};
use super::rescue::Rescue;
use super::sequencer::Sequencer;
use super::takeover::MAX_EPOCHS_SKIPPED;
use super::telling::Published;
use super::view::{View, common_line};
use crate::mrt::SecretId;
use crate::node::api::{Event, Path, Succession};
use crate::node::identity::NodeId;
use crate::node::record::MemberRecord;
use crate::time::Instant;
use std::collections::BTreeSet;

/// Why another epoch may be our next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The supernode before says so.
    Handed,
    /// We gave our word to whoever leads it, or it is our own supernode, which numbers its reign anew when another half comes over to it.
    Other,
}

impl Room {
    /// A whole view comes.
    pub(super) fn on_view(&mut self, now: Instant, from: NodeId, view: View) {
        self.take_view(now, from, view, false);
    }

    /// A view comes, or what a patch made of ours, which was `verified` then.
    pub(super) fn take_view(&mut self, now: Instant, from: NodeId, view: View, verified: bool) {
        let verify = |room: &Self, view: &View| if verified { Ok(()) } else { view.verify(Some(&room.view)) };
        if from != view.epoch.supernode || view.room != self.view.room || !self.knows(from) {
            return self.alert("forged", format!("{from} sent a view in somebody else's place"));
        }
        if view.epoch == self.view.epoch {
            let newer = view.number > self.view.number && matches!(self.standing, Standing::Following);
            if newer && view.contains(self.id()) {
                if let Err(error) = verify(self, &view) {
                    return self.alert("forged", format!("{from} sent a view that is not in order: {error}"));
                }
                self.follow(now, view);
            }
            return;
        }
        let Some(way) = self.way_to(from, view.epoch, view.proof.as_ref()) else {
            return self.refuse_epoch(from, view.epoch, view.proof.as_ref());
        };
        let sound = view.epoch.counter > self.view.epoch.counter && view.contains(self.id());
        if let Err(error) = verify(self, &view) {
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
        if way == Way::Handed || reason == Succession::Quit {
            self.send(old, RoomMessage::Moved(self.view.epoch));
        }
    }

    /// Why the epoch that `from` says it leads may be our next; `None`: it may not.
    pub(super) fn way_to(&self, from: NodeId, epoch: Epoch, proof: Option<&HandOver>) -> Option<Way> {
        let handed = !matches!(self.standing, Standing::Leading(_) | Standing::Leaving(_) | Standing::Gone)
            && proof.is_some_and(|proof| {
                let latest = self.handed == Some(proof.facts) || self.is_latest(&proof.facts);
                proof.facts.next == epoch && latest && !self.gave_word(epoch) && self.is_sound(proof)
            });
        let promised = matches!(&self.standing, Standing::Promised(promised) if promised.next == epoch)
            || (self.detector.suspicion.is_some() && self.promises.contains(&epoch));
        let raised = matches!(self.standing, Standing::Following)
            && from == self.view.epoch.supernode
            && epoch.counter.saturating_sub(self.view.epoch.counter) <= MAX_EPOCHS_SKIPPED;
        match (handed, promised || raised) {
            (true, _) => Some(Way::Handed),
            (false, true) => Some(Way::Other),
            (false, false) => None,
        }
    }

    /// Somebody tells us of an epoch of our room that may not be our next.
    pub(super) fn refuse_epoch(&mut self, from: NodeId, epoch: Epoch, proof: Option<&HandOver>) {
        if self.expects_welcome(from, self.view.room) {
            // It took us back once already, not knowing how far we count, and numbers its reign anew for us. Its welcome follows.
            return;
        }
        if let Some(proof) = proof.filter(|proof| proof.verify() && proof.facts.room == self.view.room) {
            self.look_for_two_heirs(&proof.facts);
        }
        // A claimer that we reported to may open its view after we followed another, and a supernode that we lost may not know it.
        // A supernode that hands over names one after the other, and each opens a view; what came before it may be on its way.
        let named = proof.is_some_and(|proof| {
            let by = proof.facts.epoch.supernode;
            let known = self.knows(by) || self.is_past(proof.facts.epoch);
            proof.facts.next == epoch && by != from && known && proof.verify()
        });
        if !named && !self.is_past(epoch) {
            self.alert("forged", format!("{from} sent a view of an epoch that it does not lead"));
        }
        self.say_hello(from);
    }

    /// Whether we lived in that epoch, or gave our word to whoever leads it.
    fn is_past(&self, epoch: Epoch) -> bool {
        self.view.reigns.iter().any(|reign| reign.epoch == epoch) || self.promises.contains(&epoch)
    }

    /// Cuts our order off where the other history parts from it. What is cut off is not lost: it is said again there.
    fn settle(&mut self, view: &View, head: Head) {
        let common = self.common_head(view, head);
        self.cut_off(common);
    }

    /// The last line that the other history shares with ours. If it has another hash than ours there, a supernode told two stories: they
    /// parted in the epoch before, or earlier.
    fn common_head(&self, view: &View, head: Head) -> Head {
        let (mut ours, mut end) = (self.view.reigns.as_slice(), self.log.head());
        loop {
            let seq = common_line(ours, end, &view.reigns, head);
            let known = self.log.chain_at(seq);
            let mut theirs =
                view.reigns.iter().map(|reign| reign.base).chain([head]).filter(|theirs| theirs.seq == seq);
            let differs = known.is_some_and(|known| theirs.any(|theirs| theirs.chain != known));
            match ours.split_last() {
                Some((last, earlier)) if differs && !planted(Plant::ByNumber) => (ours, end) = (earlier, last.base),
                _ => return Head { seq, chain: known.unwrap_or_default() },
            }
        }
    }

    /// Our order ends with `last` from here on.
    pub(super) fn cut_off(&mut self, last: Head) {
        self.delivery.inherited.take_if(|(seq, _)| *seq > last.seq);
        self.rescue.keep(self.log.since(last.seq.saturating_add(1)).cloned());
        self.log.truncate(last);
        self.outbox.on_truncated(last.seq);
        self.delivery.shown = self.delivery.shown.min(last.seq);
        self.delivery.target = self.delivery.shown;
        self.delivery.history = self.delivery.history.min(last.seq);
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
        // One that has no time left is over, or about to be.
        for state in self.view.invitations.iter().filter(|state| state.remaining_ms > 0).cloned().collect::<Vec<_>>() {
            self.learn_invitation(now, state);
        }
        self.detector.retain(|id| self.links.contains(id) || self.view.contains(id));
        self.outputs.push_back(RoomOutput::Publish);
        self.keep_warm(now);
        self.look_at_ways(now);
        self.dirty.held = true;
    }

    /// Another epoch: we follow its supernode.
    fn enter(&mut self, now: Instant, view: View, reason: Succession) {
        let same = view.epoch == self.view.epoch;
        let moved = view.epoch.supernode != self.view.epoch.supernode;
        self.standing = Standing::Following;
        self.sequencer = Sequencer::default();
        self.published = Published::default();
        self.detector.suspicion = None;
        self.detector.deserted = None;
        self.last_counter = self.last_counter.max(view.epoch.counter);
        self.view.epoch = view.epoch;
        self.detector.on_heard(now, view.epoch.supernode);
        self.delivery.held = None;
        self.delivery.round = 0;
        self.delivery.asked_again = None;
        // Who leads is told before who is there.
        if moved && matches!(reason, Succession::Joined | Succession::Merged) {
            let Epoch { counter: epoch, supernode } = self.view.epoch;
            let relayed = self.links.get(supernode).is_some_and(|peer| peer.remote.is_none());
            let path = if relayed { Path::Relayed } else { Path::Direct };
            self.event(Event::Connected { supernode, epoch, path });
        }
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
        if ours && !awaited && from == view.epoch.supernode && self.is_past(view.epoch) {
            // It took us back on an acknowledgement that we sent before we lost it. We have moved on.
            return self.say_hello_at_times(now, from);
        }
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
        let fallen = view.epoch != self.view.epoch && view.epoch.counter <= self.view.epoch.counter;
        if ours && (fallen && !planted(Plant::EpochStays) || self.gave_word(view.epoch)) {
            // It does not know how far we are by now: it let us in as somebody new, or we gave our word elsewhere since we asked. Epochs never
            // fall, and a word is given once. We ask again, as who we are.
            self.joining = None;
            if let Some(record) = view.record(from).cloned() {
                self.go_back(now, &record, None);
            }
            return;
        }
        let reason = if !ours {
            Succession::Joined
        } else if self.expects_welcome(from, view.room) {
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
            self.rescue.on_known(&welcome.voices);
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
        self.rescue = Rescue::default();
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
}
