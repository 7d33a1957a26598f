//! Two who belong to different epochs of one room meet: who goes to whom.

use super::message::{Hello, RoomMessage};
use super::parts::{Room, Standing, VIEW_COST};
use super::plant::{Plant, planted};
use super::view::MAX_MEMBERS;
use crate::node::identity::NodeId;
use crate::time::{Duration, Instant};
use std::collections::BTreeSet;

/// What it costs to be told that one is a stranger: eight times at once, then once in four seconds. Two who do not know each other would
/// never stop.
const STRANGER_COST: u32 = 1024;

/// How often we say where we belong to whoever does not belong there.
const GREET_EVERY: Duration = Duration::from_millis(500);

impl Room {
    /// Somebody says where it belongs.
    pub(super) fn on_hello(&mut self, now: Instant, from: NodeId, hello: Hello) {
        if hello.room != self.view.room {
            if self.was_in == Some(hello.room) && self.is_supernode() && self.view.admitted == 1 {
                // Our program ended without a word, and they look for us.
                return self.come_back(now, from, hello.room);
            }
            return self.call_stranger(from);
        }
        if hello.epoch == self.view.epoch {
            return;
        }
        if !self.knows(from) {
            // It knows the room, so a member let it in, of whom we may not have heard in time: it may come and ask at the door. Now and
            // then only: two who do not know each other would never stop.
            self.say_hello_at_times(now, from);
            return self.call_stranger(from);
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
                    return self.seek_leader(now, from, leader);
                }
                self.weigh(now, from, &hello);
            }
            // Whoever hears its supernode stays; whoever lost it looks at every other that leads this room.
            Standing::Following if self.detector.suspicion.is_some() && leader != self.id() => {
                // A leader that came in after we were lost is found through who follows it.
                let known = |id| self.view.record(id).or_else(|| self.former.record(id));
                if let Some(record) = known(leader).or_else(|| known(from)).cloned() {
                    self.go_back(now, &record, None);
                }
            }
            Standing::Following if leader == self.id() => self.say_hello(from),
            Standing::Following => self.tell_of_another(now, from, hello),
            _ => {}
        }
    }

    /// `from` talks to us as if we were of its room.
    pub(super) fn call_stranger(&mut self, from: NodeId) {
        if self.may_ask(from, STRANGER_COST) {
            self.send(from, RoomMessage::Stranger);
        }
    }

    /// Somebody whom we take for one of our room is in another: its program was started anew so fast that nobody missed it. It can be heard,
    /// and yet it does not lead us, or follow us, any more.
    pub(super) fn on_stranger(&mut self, now: Instant, from: NodeId) {
        let alone = self.live().len() == 1;
        match self.standing {
            // Whoever we let in since has yet to answer as one of us: it said that before it knew.
            Standing::Leading(_) if self.view.contains(from) => {
                let follower = self.sequencer.followers.get(&from);
                if follower.is_some_and(|follower| follower.answered.is_some()) {
                    self.drop_members(now, &BTreeSet::from([from]));
                }
            }
            // It was lost before we came in. It does not know us, so it will not come; we know it, and have nobody to leave behind.
            Standing::Leading(_) if alone => {
                if let Some(record) = self.former.record(from).cloned() {
                    self.go_back(now, &record, None);
                }
            }
            Standing::Following if from == self.view.epoch.supernode => {
                self.detector.deserted = Some(self.view.epoch);
                self.suspect(now);
            }
            _ => {}
        }
    }

    /// We hear our supernode, and `from` belongs elsewhere: perhaps our supernode cannot reach it. Each learns of the other through us.
    fn tell_of_another(&mut self, now: Instant, from: NodeId, hello: Hello) {
        if self.may_greet(now) {
            self.say_hello(from);
            self.send(self.view.epoch.supernode, RoomMessage::Elsewhere(Box::new(hello)));
        }
    }

    /// Supernode: a member met somebody who belongs elsewhere.
    pub(super) fn on_elsewhere(&mut self, now: Instant, from: NodeId, hello: &Hello) {
        let leader = hello.epoch.supernode;
        let other = hello.room == self.view.room && hello.epoch != self.view.epoch && leader != self.id();
        if self.is_supernode() && self.view.contains(from) && other && self.may_ask(from, VIEW_COST) {
            self.seek_leader(now, from, leader);
        }
    }

    /// Another leads this room too, says `from`: we should speak to it. If we never heard of it, and are alone, `from` shows us the way.
    fn seek_leader(&mut self, now: Instant, from: NodeId, leader: NodeId) {
        // On a link that is silent nobody may listen.
        if self.links.contains(leader) && self.silence(self.now, leader) < self.config.times.member {
            self.say_hello(leader);
        } else if let Some(record) = self.former.record(leader).or_else(|| self.view.record(leader)).cloned() {
            self.dial_record(&record);
        } else if self.live().len() == 1
            && let Some(record) = self.former.record(from).cloned()
        {
            self.go_back(now, &record, None);
        }
    }

    /// Two halves of a room met. The one where more members live leads; then the higher epoch. What the other says of its half is only the
    /// occasion: its members are asked before we go. Whoever follows us does not follow it, and of those that we never heard of no more
    /// count than of those that we know, since anyone can make up keys.
    fn weigh(&mut self, now: Instant, from: NodeId, hello: &Hello) {
        let ours: BTreeSet<NodeId> = self.live().into_iter().collect();
        let known: BTreeSet<NodeId> = self.view.ids().chain(self.former.ids()).collect();
        let theirs: BTreeSet<NodeId> = hello.live.iter().copied().filter(|id| !ours.contains(id)).collect();
        let proven = theirs.intersection(&known).count();
        let theirs = theirs.len().min(proven * 2);
        if theirs < self.outnumbered_by(hello.epoch) || planted(Plant::Stay) {
            self.say_hello_at_times(now, from);
        } else if !planted(Plant::BelieveSizes) {
            self.doubt(now, from, hello.epoch);
        } else if let Some(record) = self.links.get(from).map(|link| link.record.clone()) {
            self.go_back(now, &record, None);
        }
    }

    /// Tells `id` where we belong, unless we told somebody just now.
    pub(super) fn say_hello_at_times(&mut self, now: Instant, id: NodeId) {
        if self.may_greet(now) {
            self.say_hello(id);
        }
    }

    fn may_greet(&mut self, now: Instant) -> bool {
        let may = self.said_hello.is_none_or(|at| now.saturating_since(at) >= GREET_EVERY);
        if may {
            self.said_hello = Some(now);
        }
        may
    }
}
