//! A line of chat: what its author signs, and the place that the supernode gives it.

use super::epoch::{ChainHash, Epoch, Head, RoomId};
use crate::node::identity::{Identity, NodeId};
use crate::node::record::Signature;
use crate::node::wire;
use core::fmt;
use serde::{Deserialize, Serialize};

/// The longest text, in bytes.
pub const MAX_TEXT_BYTES: usize = 16 << 10;

const LINE_DOMAIN: &str = "anjer 2026 line";
const PLACE_DOMAIN: &str = "anjer 2026 place";

/// One run of an author's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Voice {
    /// Who.
    pub author: NodeId,
    /// Random, chosen when the program started.
    pub start: u64,
}

/// Names a line for ever, in whichever room and epoch it appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LineId {
    /// Who said it, in which run.
    pub voice: Voice,
    /// 1 for the first line of that run.
    pub counter: u64,
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}-{}", self.voice.author, self.voice.start, self.counter)
    }
}

/// The part of a [`Line`] that its author signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saying {
    /// The room it was said in: a line cannot be carried into another.
    pub room: RoomId,
    /// Its name.
    pub id: LineId,
    /// The hash of the author's line before this one, of the same run; zeros for the first.
    pub previous: ChainHash,
    /// Unix milliseconds by the author's clock.
    pub time: u64,
    /// What was said: 1 to [`MAX_TEXT_BYTES`] bytes, raw.
    pub text: String,
}

/// What somebody said, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What is signed.
    pub saying: Saying,
    /// The author's.
    pub signature: Signature,
}

impl Line {
    /// Signs what we say.
    pub fn sign(identity: &Identity, saying: Saying) -> Self {
        let signature = Signature(identity.sign(LINE_DOMAIN, &wire::encode(&saying)));
        Self { saying, signature }
    }

    /// Whether it keeps the limits, belongs to `room`, and its author signed it.
    pub fn verify(&self, room: RoomId) -> bool {
        self.saying.room == room
            && (1..=MAX_TEXT_BYTES).contains(&self.saying.text.len())
            && self.id().counter > 0
            && self.author().verify(LINE_DOMAIN, &wire::encode(&self.saying), &self.signature.0)
    }

    /// Its name.
    pub const fn id(&self) -> LineId {
        self.saying.id
    }

    /// Who said it.
    pub const fn author(&self) -> NodeId {
        self.saying.id.voice.author
    }

    /// What the author's next line chains to, and what the order is made of.
    pub fn hash(&self) -> ChainHash {
        ChainHash(*blake3::hash(&wire::encode(&self.saying)).as_bytes())
    }

    /// About how much memory it takes.
    pub const fn bytes(&self) -> usize {
        256 + self.saying.text.len()
    }
}

/// A line in its place: whoever holds one can prove who put it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The epoch that ordered it.
    pub epoch: Epoch,
    /// Its place, and the hash over everything up to and with it.
    pub head: Head,
    /// The line.
    pub line: Line,
    /// The supernode's, over room, epoch and head.
    pub signature: Signature,
}

impl Placed {
    /// Puts `line` behind `last`. Only the supernode of `epoch` can.
    pub fn place(identity: &Identity, epoch: Epoch, last: Head, line: Line) -> Self {
        let head = Self::head_after(epoch, last, &line);
        let signed = wire::encode(&(line.saying.room, epoch, head));
        Self { epoch, head, line, signature: Signature(identity.sign(PLACE_DOMAIN, &signed)) }
    }

    /// Whether author and supernode signed it.
    pub fn verify(&self, room: RoomId) -> bool {
        self.line.verify(room) && self.seal().verify(room)
    }

    /// The supernode's word for it, without the line.
    pub const fn seal(&self) -> Seal {
        Seal { epoch: self.epoch, head: self.head, signature: self.signature }
    }

    /// Whether it comes directly after `last`.
    pub fn follows(&self, last: Head) -> bool {
        self.head == Self::head_after(self.epoch, last, &self.line)
    }

    fn head_after(epoch: Epoch, last: Head, line: &Line) -> Head {
        let seq = last.seq.saturating_add(1);
        let bytes = wire::encode(&(last.chain, epoch, seq, line.hash()));
        Head { seq, chain: ChainHash(*blake3::hash(&bytes).as_bytes()) }
    }
}

/// A supernode's word for a place in the order. The hash stands for everything up to there, so that two seals are enough to compare two
/// orders, and two that differ are a proof against whoever signed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The epoch that ordered the line.
    pub epoch: Epoch,
    /// Its place, and the hash over everything up to and with it.
    pub head: Head,
    /// The supernode's, over room, epoch and head.
    pub signature: Signature,
}

impl Seal {
    /// Whether the supernode of its epoch signed it.
    pub fn verify(&self, room: RoomId) -> bool {
        let signed = wire::encode(&(room, self.epoch, self.head));
        self.epoch.supernode.verify(PLACE_DOMAIN, &signed, &self.signature.0)
    }

    /// Whether one supernode, in one epoch, gave one place to two orders.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.head.seq == other.head.seq && self.head.chain != other.head.chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(identity: &Identity, room: RoomId, counter: u64, text: &str) -> Line {
        let voice = Voice { author: identity.id(), start: 7 };
        let id = LineId { voice, counter };
        Line::sign(identity, Saying { room, id, previous: ChainHash::default(), time: 0, text: text.to_owned() })
    }

    #[test]
    fn nobody_can_change_a_line_or_carry_it_into_another_room() {
        let (identity, room) = (Identity::from_seed(&[1; 32]), RoomId([1; 16]));
        let said = line(&identity, room, 1, "hello");
        assert!(said.verify(room));
        assert!(!said.verify(RoomId([2; 16])));
        let mut changed = said;
        changed.saying.text.push('!');
        assert!(!changed.verify(room));
    }

    #[test]
    fn a_line_has_between_one_byte_and_the_limit() {
        let (identity, room) = (Identity::from_seed(&[1; 32]), RoomId([1; 16]));
        assert!(!line(&identity, room, 1, "").verify(room));
        assert!(line(&identity, room, 1, &"x".repeat(MAX_TEXT_BYTES)).verify(room));
        assert!(!line(&identity, room, 1, &"x".repeat(MAX_TEXT_BYTES + 1)).verify(room));
    }

    #[test]
    fn a_place_counts_only_behind_the_line_it_was_given_after_and_from_its_supernode() {
        let (author, supernode, room) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]), RoomId([1; 16]));
        let epoch = Epoch { counter: 1, supernode: supernode.id() };
        let first = Placed::place(&supernode, epoch, Head::default(), line(&author, room, 1, "a"));
        let second = Placed::place(&supernode, epoch, first.head, line(&author, room, 2, "b"));
        assert!(first.verify(room) && second.verify(room));
        assert!(first.follows(Head::default()) && second.follows(first.head));
        assert!(!second.follows(Head::default()));
        let forged = Placed::place(&author, epoch, Head::default(), line(&author, room, 1, "a"));
        assert!(!forged.verify(room));
    }

    #[test]
    fn two_seals_that_differ_are_a_proof_and_a_later_one_of_the_same_order_is_none() {
        let (author, supernode, room) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]), RoomId([1; 16]));
        let epoch = Epoch { counter: 1, supernode: supernode.id() };
        let place = |last, text| Placed::place(&supernode, epoch, last, line(&author, room, 1, text));
        let (one, other) = (place(Head::default(), "a"), place(Head::default(), "b"));
        assert!(one.seal().contradicts(&other.seal()) && one.seal().verify(room) && other.seal().verify(room));
        assert!(!one.seal().contradicts(&one.seal()) && !one.seal().contradicts(&place(one.head, "c").seal()));
        // What differs once differs for ever.
        assert!(place(one.head, "d").seal().contradicts(&place(other.head, "d").seal()));
        let moved = Seal { head: Head { seq: 2, ..one.head }, ..one.seal() };
        assert!(!moved.verify(room));
    }
}
