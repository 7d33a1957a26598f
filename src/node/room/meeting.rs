//! Two who belong to different epochs of one room meet: who goes to whom.

use super::message::Hello;
use super::parts::{Room, Standing};
use super::view::MAX_MEMBERS;
use crate::node::identity::NodeId;
use crate::time::Instant;
use std::collections::BTreeSet;

impl Room {
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
}
