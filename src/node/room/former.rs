//! Members that were lost: they are looked for, because they may lead the other half of the room.

use super::message::{Hello, RoomMessage};
use super::parts::{Room, Standing};
use crate::node::api::ErrorCode;
use crate::node::identity::NodeId;
use crate::node::record::MemberRecord;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;

/// Lost members that are remembered, at most. Whoever was lost first makes room.
pub(super) const MAX_FORMER: usize = 64;

/// The longest pause between two attempts to reach a lost member, while the loss is fresh.
const FRESH_PAUSE: Duration = Duration::from_secs(4);

/// The longest pause afterwards.
const OLD_PAUSE: Duration = Duration::from_secs(30);

/// How long a loss is fresh.
const FRESH: Duration = Duration::from_secs(300);

/// Who was lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Former {
    pub(super) members: BTreeMap<NodeId, Lost>,
    /// Since when there is nobody else in the room.
    alone: Option<Instant>,
    /// The user knows that.
    told: bool,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    record: MemberRecord,
    pub(super) since: Instant,
    /// When to try next, and the pause after that.
    pub(super) next: Instant,
    pause: Duration,
}

impl Former {
    /// A member was lost.
    pub(super) fn add(&mut self, now: Instant, record: MemberRecord) {
        if self.members.contains_key(&record.id()) {
            return;
        }
        let pause = Duration::from_secs(1);
        self.members.insert(record.id(), Lost { record, since: now, next: now + pause, pause });
        if self.members.len() > MAX_FORMER {
            let oldest = self.members.iter().min_by_key(|(_, lost)| lost.since).map(|(id, _)| *id);
            oldest.map(|id| self.members.remove(&id));
        }
    }

    /// It is back, or left for good.
    pub(super) fn remove(&mut self, id: NodeId) {
        self.members.remove(&id);
    }

    /// Forgets who was lost too long ago.
    pub(super) fn expire(&mut self, now: Instant, after: Duration) {
        self.members.retain(|_, lost| now.saturating_since(lost.since) < after);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.members.clear();
    }

    /// Whether nobody was lost.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether it was lost.
    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.members.contains_key(&id)
    }

    /// Who was lost.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.keys().copied()
    }

    /// What it said of itself.
    pub(super) fn record(&self, id: NodeId) -> Option<&MemberRecord> {
        self.members.get(&id).map(|lost| &lost.record)
    }

    /// All of them.
    pub(super) fn records(&self) -> Vec<MemberRecord> {
        self.members.values().map(|lost| lost.record.clone()).collect()
    }

    /// Who is to be tried by `now`. The pauses double.
    fn due(&mut self, now: Instant) -> Vec<NodeId> {
        let mut due = Vec::new();
        for (id, lost) in &mut self.members {
            if lost.next <= now {
                due.push(*id);
                let longest = if now.saturating_since(lost.since) < FRESH { FRESH_PAUSE } else { OLD_PAUSE };
                lost.next = now + lost.pause;
                lost.pause = (lost.pause * 2).min(longest);
            }
        }
        due
    }
}

impl Room {
    /// Supernode, every heartbeat: whoever lost all others without a word of theirs says so, once.
    pub(super) fn note_loneliness(&mut self, now: Instant) {
        if !self.is_provisional() {
            (self.former.alone, self.former.told) = (None, false);
            return;
        }
        let since = *self.former.alone.get_or_insert(now);
        if !self.former.told && now.saturating_since(since) >= self.config.times.lonely {
            self.former.told = true;
            let words = "nobody else of the room can be reached any more: you are alone in it until one of them can be, and then you are all \
                         together again by yourselves; what you say meanwhile they get then";
            self.error(None, ErrorCode::Unreachable, words);
        }
    }

    /// Supernode, every heartbeat: looks for lost members. Those we are linked to are told where we belong: they may belong elsewhere. On
    /// a link that is silent nobody may listen: a program that was started again knows nothing of it, and is found by a call.
    pub(super) fn seek_former(&mut self, now: Instant) {
        self.former.expire(now, self.config.times.former);
        for id in self.former.due(now) {
            if self.links.contains(id) && self.silence(now, id) < self.config.times.member {
                self.say_hello(id);
            } else if let Some(record) = self.former.record(id).cloned() {
                self.dial_record(&record);
            }
        }
    }

    /// Tells `id` where we belong.
    pub(super) fn say_hello(&mut self, id: NodeId) {
        let mut live = self.live();
        if live.contains(&id) {
            // Whoever follows us weighs us against nobody, and a thousand members' names to each of a thousand are 32 MB.
            live.retain(|other| *other == self.id());
        }
        let hello = Hello { room: self.view.room, epoch: self.view.epoch, live };
        self.send(id, RoomMessage::Hello(hello));
    }

    /// If we lead: ourselves, and who answered us lately in this epoch. What was answered before our own machine stood still counts as
    /// long ago: a supernode that wakes up leads nobody until somebody says otherwise.
    pub(super) fn live(&self) -> Vec<NodeId> {
        if !matches!(self.standing, Standing::Leading(_)) {
            return Vec::new();
        }
        let lately = self.times().suspect * 2;
        let answered = self
            .sequencer
            .followers
            .iter()
            .filter(|(_, follower)| follower.answered.is_some_and(|at| self.now.saturating_since(at) < lately));
        std::iter::once(self.id()).chain(answered.map(|(id, _)| *id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::identity::Identity;

    #[test]
    fn the_number_of_lost_members_is_capped_and_the_oldest_makes_room() {
        let mut former = Former::default();
        let record = |seed: u8| MemberRecord::sign(&Identity::from_seed(&[seed; 32]), "x", &[], 1);
        for seed in 0..=MAX_FORMER as u8 {
            former.add(Instant::ZERO + Duration::from_secs(u64::from(seed)), record(seed));
        }
        assert_eq!(former.records().len(), MAX_FORMER);
        assert!(!former.contains(record(0).id()));
    }

    #[test]
    fn attempts_become_rare() {
        let mut former = Former::default();
        former.add(Instant::ZERO, MemberRecord::sign(&Identity::from_seed(&[1; 32]), "x", &[], 1));
        let tries = (0..300).filter(|s| !former.due(Instant::ZERO + Duration::from_secs(*s)).is_empty()).count();
        assert!((70..90).contains(&tries), "{tries}");
    }
}
