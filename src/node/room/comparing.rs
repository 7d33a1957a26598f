//! Whether the supernode says the same to everybody, and an author too.
//!
//! Each place in the order is signed together with a hash over everything up to it. So two members who hold one place need to show each other
//! nothing but that: if the hashes differ, the two signatures are a proof that convinces everyone, and it is passed on to everyone, once.
//! Nobody is deposed for it: whom to trust is for people to decide.

use super::epoch::{Epoch, Head};
use super::line::{Placed, Seal, Voice};
use super::links::WARM_SUCCESSORS;
use super::message::RoomMessage;
use super::parts::{Room, Standing};
use super::plant::{Plant, planted};
use crate::node::identity::NodeId;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// Between two comparisons that one member begins: while people talk, 150 bytes in four seconds; while nobody does, none.
const COMPARE_EVERY: Duration = Duration::from_secs(4);

/// Epochs whose supernode was caught, and voices, that are remembered, at most.
const MAX_ACCUSED: usize = 32;

/// What a comparison costs whoever sends it.
const COMPARE_COST: u32 = 16;

/// What an accusation costs: two signatures are checked.
const PROOF_COST: u32 = 128;

/// What was compared, and who was caught.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparing {
    /// What was compared last, and with how many more it is to be.
    head: Head,
    left: usize,
    /// Whose turn it is among those that we are linked to.
    turn: usize,
    last: Option<Instant>,
    supernodes: VecDeque<Epoch>,
    authors: VecDeque<Voice>,
}

impl Room {
    /// On a heartbeat: shows our last line to one member after the other, as many as there are warm links.
    pub(super) fn compare(&mut self, now: Instant) {
        let (own, head) = (self.id(), self.log.head());
        if self.comparing.head != head {
            (self.comparing.head, self.comparing.left) = (head, WARM_SUCCESSORS);
        }
        // Whoever begins waits as long as between two.
        let last = *self.comparing.last.get_or_insert(now);
        if self.comparing.left == 0 || now.saturating_since(last) < COMPARE_EVERY {
            return;
        }
        let others: Vec<NodeId> =
            self.view.successors().filter(|id| *id != own && self.links.contains(*id)).take(WARM_SUCCESSORS).collect();
        self.comparing.last = Some(now);
        self.comparing.turn = (self.comparing.turn + 1) % WARM_SUCCESSORS;
        self.comparing.left = self.comparing.left.min(others.len()).saturating_sub(1);
        let turn = self.comparing.turn.checked_rem(others.len()).unwrap_or_default();
        if let Some(other) = others.get(turn) {
            self.show_seal(*other, head.seq);
        }
    }

    /// Shows a member what we hold in that place.
    pub(super) fn show_seal(&mut self, to: NodeId, seq: u64) {
        if let Some(ours) = self.log.get(seq).map(Placed::seal) {
            self.send(to, RoomMessage::Compare(ours));
        }
    }

    /// A member shows what it holds.
    pub(super) fn on_compare(&mut self, now: Instant, from: NodeId, theirs: Seal) {
        if !self.view.contains(from) || !self.may_ask(from, COMPARE_COST) {
            return;
        }
        let last = self.log.head().seq;
        let ours = self.log.get(theirs.head.seq).map(Placed::seal);
        let parted = from == self.view.epoch.supernode && ours.is_some_and(|ours| ours.head != theirs.head);
        match ours {
            Some(ours) if ours.contradicts(&theirs) || planted(Plant::Slander) => {
                self.accuse([ours, theirs]);
            }
            // It is ahead of us: it can look whether it holds what we do. Places only fall from answer to answer, so that this ends.
            None if theirs.head.seq > last && !matches!(self.standing, Standing::Leading(_)) => {
                self.show_seal(from, last);
            }
            _ => {}
        }
        if parted && matches!(self.standing, Standing::Following) {
            self.on_parted(now, from);
        }
    }

    /// A supernode of this room put two lines in one place: tells the user, and everyone that we are linked to, once. `false`: it is no proof.
    pub(super) fn accuse(&mut self, proof: [Seal; 2]) -> bool {
        let [one, other] = &proof;
        let epoch = one.epoch;
        if self.comparing.supernodes.contains(&epoch) {
            return true;
        }
        let room = self.view.room;
        let reigned = self.view.reigns.iter().any(|reign| reign.epoch == epoch);
        let proven = one.contradicts(other) && one.verify(room) && other.verify(room);
        if !(reigned && proven || planted(Plant::Slander)) {
            return false;
        }
        remember(&mut self.comparing.supernodes, epoch);
        let words = "put two lines in one place: what it ordered is not the same for everybody";
        self.alert("equivocation", format!("{} {words}", epoch.supernode));
        let own = self.id();
        for id in self.view.ids().filter(|id| *id != own).collect::<Vec<_>>() {
            self.send(id, RoomMessage::Equivocation(Box::new(proof)));
        }
        true
    }

    /// A member accuses a supernode.
    pub(super) fn on_equivocation(&mut self, from: NodeId, proof: [Seal; 2]) {
        let known = self.comparing.supernodes.contains(&proof[0].epoch);
        if known || !self.view.contains(from) || !self.may_ask(from, PROOF_COST) {
            return;
        }
        if !self.accuse(proof) {
            self.alert("forged", format!("{from} accuses {} without proof", proof[0].epoch.supernode));
        }
    }

    /// An author signed two lines of which only one can be what it said. `proven`: we saw both.
    pub(super) fn accuse_author(&mut self, voice: Voice, proven: bool) {
        if self.comparing.authors.contains(&voice) {
            return;
        }
        remember(&mut self.comparing.authors, voice);
        let author = voice.author;
        if proven {
            self.alert("equivocation", format!("{author} said two different lines under one number"));
        } else {
            self.alert("forged", format!("{author} says something else than we were told that it said before"));
        }
    }
}

fn remember<T>(known: &mut VecDeque<T>, new: T) {
    known.push_back(new);
    while known.len() > MAX_ACCUSED {
        known.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_caught_is_remembered_up_to_a_number() {
        let mut known = VecDeque::new();
        (0..1000).for_each(|one| remember(&mut known, one));
        assert_eq!((known.len(), known.front()), (MAX_ACCUSED, Some(&(1000 - MAX_ACCUSED))));
    }
}
