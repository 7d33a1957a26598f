//! What members say to each other. Every message travels over a link that proved who sends it; what must be believed at third hand
//! carries a signature besides.

use super::epoch::{ChainHash, Epoch, Head, RoomId};
use super::line::{Line, LineId, Placed, Seal};
use super::view::{View, ViewDigest};
use crate::node::identity::{Identity, NodeId};
use crate::node::record::{MemberRecord, Signature};
use crate::node::wire::{self, Encoded};
use core::fmt;
use serde::{Deserialize, Serialize};

const VOUCHER_DOMAIN: &str = "anjer 2026 voucher";
const HAND_OVER_DOMAIN: &str = "anjer 2026 hand-over";
const CLAIM_DOMAIN: &str = "anjer 2026 claim";
const ALLEGIANCE_DOMAIN: &str = "anjer 2026 allegiance";

/// Everything that is said about the room. The first six may come from anyone, the rest only from members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomMessage {
    /// Either side, when a link comes up, and leaders of two halves of a room now and then: where I belong.
    Hello(Hello),
    /// Let me in.
    Join(Box<Join>),
    /// You are in.
    Welcome(Box<Welcome>),
    /// The room's door answers, without letting in.
    Answer(Answer),
    /// I go.
    Leave,
    /// You are nobody of the room that I am in: to somebody who takes me for one of his, since my program was started anew.
    Stranger,

    /// Supernode: the members, in order of succession.
    View(Box<View>),
    /// Supernode: what changed of the members since the view that I told you last, a [`Patch`](super::patch::Patch): encoded once for all.
    Patch(Encoded),
    /// Supernode: lines in their places, in order. Also the answer to `Fetch`.
    Lines(Lines),
    /// Supernode, every heartbeat: how far we are.
    Beat(Beat),
    /// Supernode: I go, this one follows.
    HandOver(HandOver),
    /// Supernode of the smaller half of a room that was split: everybody go there.
    Merge(Box<Merge>),

    /// To the supernode: this is said.
    Say(Say),
    /// To the supernode, on every line and heartbeat: I hold everything up to here.
    Held(Held),
    /// To the supernode: these had a place in an order that was given up, in that order.
    Rescue(Vec<Placed>),
    /// To the supernode: somebody who belongs elsewhere spoke to me.
    Elsewhere(Box<Hello>),
    /// To the supernode of that epoch: your patch does not fit what I have, send me the whole view.
    Whole(Epoch),
    /// To the supernode: whom I would reach if you died.
    Reaches(Reaches),
    /// To the supernode: my record changed.
    Record(Box<MemberRecord>),
    /// To the supernode: I invited someone.
    Invite(InvitationState),
    /// To the supernode that handed over: I follow the next one.
    Moved(Epoch),

    /// Do you hear the supernode of this epoch?
    Ask(Epoch),
    /// The answer: how long ago it was heard, in milliseconds; `None` if not since it is supernode.
    Verdict(Verdict),
    /// The supernode is lost, I follow.
    Claim(Claim),
    /// To a claimer: I lost it too; this is what I hold. I take nothing from the old supernode any more.
    Report(Report),
    /// To a claimer: I gave my word to another under that counter, and give it once.
    Taken(Taken),
    /// To a claimer: the supernode lives.
    Alive(Epoch),
    /// A claimer that was told so gives up: everything is as before.
    Abandon(Epoch),
    /// Send me these lines.
    Fetch(Fetch),

    /// Now and then, between members: this is the last line that I hold, as the supernode signed it. Do you hold another in that place?
    Compare(Seal),
    /// To everyone: one supernode, one place, two orders. Whoever gets it can check it, and passes it on once.
    Equivocation(Box<[Seal; 2]>),

    /// Leader to a leader who says that more follow it: let them say so. That leader, to its members: say so.
    Muster(Muster),
    /// To the supernode: I follow you, signed for the leader who doubts it.
    Allegiance(Allegiance),
    /// Leader to the leader who doubted: these follow me.
    Proof(Box<Proof>),
}

/// Where a node belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its room.
    pub room: RoomId,
    /// The epoch it is in.
    pub epoch: Epoch,
    /// If it leads: the members that answered it lately, itself too. Else empty.
    pub live: Vec<NodeId>,
}

/// A request to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The protocol that is spoken.
    pub version: u16,
    /// Who asks.
    pub record: MemberRecord,
    /// The room it is about, if the joiner knows one: from a ticket, or because it was a member.
    pub room: Option<RoomId>,
    /// A member's word for the joiner.
    pub voucher: Option<Voucher>,
    /// If it was a member of that room: the epoch it lived in last.
    pub epoch: Option<Epoch>,
    /// The highest counter of that room that it gave its word to.
    pub counter: u64,
}

/// A member's word, to the supernode, that someone may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// What is signed.
    pub facts: VoucherFacts,
    /// By `facts.member`.
    pub signature: Signature,
}

/// The part of a [`Voucher`] that is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoucherFacts {
    /// Into which room.
    pub room: RoomId,
    /// The counter of the epoch it was given in: it is worth nothing a few epochs later.
    pub counter: u64,
    /// Who may come in.
    pub joiner: NodeId,
    /// Who says so.
    pub member: NodeId,
    /// The invitation that the joiner proved to have.
    pub invitation: Option<[u8; 16]>,
}

impl Voucher {
    /// Our word.
    pub fn sign(identity: &Identity, facts: VoucherFacts) -> Self {
        let signature = Signature(identity.sign(VOUCHER_DOMAIN, &wire::encode(&facts)));
        Self { facts, signature }
    }

    /// Whether the member it names signed it.
    pub fn verify(&self) -> bool {
        self.facts.member.verify(VOUCHER_DOMAIN, &wire::encode(&self.facts), &self.signature.0)
    }
}

/// What a newcomer needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The members, the newcomer among them.
    pub view: View,
    /// How far the order goes. The lines up to there follow, as far as they are kept.
    pub head: Head,
    /// The last line of each voice that is in the order: so that repeats are known, and that what follows is what its author said next.
    pub voices: Vec<Spoken>,
}

/// How far somebody was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    /// The last line of a voice.
    pub id: LineId,
    /// Its hash, if it is known: the next one names it.
    pub hash: Option<ChainHash>,
}

/// What a door says without opening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The people inside were asked.
    Waiting,
    /// Ask again in a moment.
    Busy,
    /// The supernode is this one; here is my word for you.
    Redirect(Box<MemberRecord>, Box<Voucher>),
    /// No.
    Refused(Refusal),
}

/// Why a door stays shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// This room speaks that protocol.
    Version(u16),
    /// Somebody else used that invitation.
    InvitationUsed,
    /// No such invitation, or it expired.
    InvitationUnknown,
    /// Not the room that was asked for.
    WrongRoom,
    /// The room is full.
    Full,
    /// Too many are waiting at the door.
    Crowded,
    /// What the joiner sent is not in order.
    Malformed,
}

/// Lines, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The epoch of whoever sends them.
    pub epoch: Epoch,
    /// The hash before the first of them, so that someone who lacks what came before can start here.
    pub before: ChainHash,
    /// The oldest place that the sender still keeps: whoever lacks an older line cannot have it from there, whoever lacks a later one
    /// asks for it.
    pub oldest: u64,
    /// The lines, their places consecutive. At most [`MAX_LINES`].
    pub lines: Vec<Placed>,
}

/// Lines in one message, at most.
pub const MAX_LINES: usize = 64;

/// How far the room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The supernode's epoch.
    pub epoch: Epoch,
    /// The view's number.
    pub number: u64,
    /// The last line in the order.
    pub head: Head,
    /// Lines up to here are to be shown.
    pub shown: u64,
    /// Lines up to here are safe: authors need not keep them.
    pub stable: u64,
    /// Counts the heartbeats of an epoch, to be repeated in [`Held`]: an answer that lay around while the supernode stood still says nothing
    /// about who follows it.
    pub round: u64,
}

/// The supernode goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// What is signed.
    pub facts: HandOverFacts,
    /// By the supernode that goes.
    pub signature: Signature,
}

/// The part of a [`HandOver`] that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOverFacts {
    /// Of which room.
    pub room: RoomId,
    /// The epoch that ends.
    pub epoch: Epoch,
    /// The epoch that begins.
    pub next: Epoch,
    /// The last line of the old epoch.
    pub head: Head,
}

impl HandOver {
    /// Only the supernode of `facts.epoch` can.
    pub fn sign(identity: &Identity, facts: HandOverFacts) -> Self {
        Self { facts, signature: Signature(identity.sign(HAND_OVER_DOMAIN, &wire::encode(&facts))) }
    }

    /// Whether the supernode of the old epoch signed it.
    pub fn verify(&self) -> bool {
        self.facts.epoch.supernode.verify(HAND_OVER_DOMAIN, &wire::encode(&self.facts), &self.signature.0)
    }
}

/// The way to the other half of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The epoch that ends.
    pub epoch: Epoch,
    /// The epoch to join.
    pub next: Epoch,
    /// Who leads there.
    pub supernode: MemberRecord,
    /// Its word for the receiver.
    pub voucher: Voucher,
}

/// Something is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Say {
    /// The line.
    pub line: Line,
    /// The counter of the oldest line that its author still keeps. The next line after a gap is in order only if everything
    /// before it is known to be safe.
    pub oldest: u64,
}

/// What a member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The epoch it follows.
    pub epoch: Epoch,
    /// The number of the view it has.
    pub number: u64,
    /// It holds everything up to here.
    pub seq: u64,
    /// The hash over that: as many lines in another order are not the same.
    pub chain: ChainHash,
    /// The last heartbeat it got.
    pub round: u64,
    /// What was sent to it after `seq`, and after that view, is gone: send from there.
    pub again: bool,
}

/// Whom a member reaches without the supernode. Bit 0 is the first in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaches {
    /// The epoch it follows.
    pub epoch: Epoch,
    /// The number of the view whose order is meant.
    pub number: u64,
    /// Nobody is in between.
    pub direct: u64,
    /// Somebody else than the supernode passes on.
    pub relayed: u64,
}

/// An invitation, as every member knows it. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationState {
    /// Its public name.
    pub id: [u8; 16],
    /// What the invited prove to know.
    pub secret: [u8; 32],
    /// Who gave it.
    pub by: NodeId,
    /// Milliseconds until it expires, when this was sent: members share no clock.
    pub remaining_ms: u64,
    /// Who came in with it.
    pub used_by: Option<NodeId>,
}

impl fmt::Debug for InvitationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = data_encoding::HEXLOWER.encode(&self.id);
        f.debug_struct("InvitationState").field("id", &id).field("used_by", &self.used_by).finish_non_exhaustive()
    }
}

/// How a witness hears the supernode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which supernode.
    pub epoch: Epoch,
    /// How long ago, in milliseconds.
    pub heard_ms: Option<u64>,
}

/// Someone takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What is signed.
    pub facts: ClaimFacts,
    /// By the supernode of the epoch that is to begin.
    pub signature: Signature,
}

/// The part of a [`Claim`] that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimFacts {
    /// Of which room.
    pub room: RoomId,
    /// The epoch whose supernode is lost.
    pub epoch: Epoch,
    /// The epoch that is to begin.
    pub next: Epoch,
}

impl Claim {
    /// Our claim.
    pub fn sign(identity: &Identity, facts: ClaimFacts) -> Self {
        Self { facts, signature: Signature(identity.sign(CLAIM_DOMAIN, &wire::encode(&facts))) }
    }

    /// Whether the one who is to lead signed it.
    pub fn verify(&self) -> bool {
        self.facts.next.supernode.verify(CLAIM_DOMAIN, &wire::encode(&self.facts), &self.signature.0)
    }
}

/// What a survivor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The claim that this answers.
    pub next: Epoch,
    /// The last line it holds.
    pub head: Head,
    /// The view it holds, of the epoch that ends.
    pub view: ViewStamp,
}

/// Which view somebody holds of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewStamp {
    /// Its number.
    pub number: u64,
    /// A hash over it: two supernodes' words for one number may differ, and so may those of one.
    pub digest: ViewDigest,
}

/// Why somebody does not report to a claimer that it would follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The claim that this answers.
    pub next: Epoch,
    /// The highest counter that it gave its word to.
    pub counter: u64,
}

/// A wish for lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The claim or epoch it is for.
    pub epoch: Epoch,
    /// The first place.
    pub from: u64,
    /// The last place.
    pub to: u64,
}

/// A doubt: how many follow whom?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Muster {
    /// The epoch of the leader who asks.
    pub to: Epoch,
    /// Chosen at random for this once: what is signed for it is worth nothing later.
    pub nonce: [u8; 16],
    /// So many must say so, or it stays where it is.
    pub need: u32,
}

/// A member's word that it follows somebody at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allegiance {
    /// What is signed.
    pub facts: AllegianceFacts,
    /// By whoever sends it.
    pub signature: Signature,
}

/// The part of an [`Allegiance`] that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllegianceFacts {
    /// In which room.
    pub room: RoomId,
    /// The epoch that the member follows.
    pub epoch: Epoch,
    /// The epoch of the leader who doubts it.
    pub to: Epoch,
    /// What that leader chose.
    pub nonce: [u8; 16],
}

impl AllegianceFacts {
    /// Our word.
    pub fn sign(&self, identity: &Identity) -> Signature {
        Signature(identity.sign(ALLEGIANCE_DOMAIN, &wire::encode(self)))
    }

    /// Whether `member` gave it.
    pub fn verify(&self, member: NodeId, signature: &Signature) -> bool {
        member.verify(ALLEGIANCE_DOMAIN, &wire::encode(self), &signature.0)
    }
}

/// Who follows a leader: its members' words, all for one doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The epoch that they follow.
    pub epoch: Epoch,
    /// The doubt that this answers.
    pub nonce: [u8; 16],
    /// Each member once.
    pub members: Vec<(NodeId, Signature)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_vouchers_and_hand_overs_are_worth_only_their_signature() {
        let (ann, bob, room) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]), RoomId([0; 16]));
        let (epoch, next) = (Epoch { counter: 1, supernode: ann.id() }, Epoch { counter: 2, supernode: bob.id() });
        let claim = ClaimFacts { room, epoch, next };
        assert!(Claim::sign(&bob, claim).verify());
        assert!(!Claim::sign(&ann, claim).verify());
        let hand_over = HandOverFacts { room, epoch, next, head: Head::default() };
        assert!(HandOver::sign(&ann, hand_over).verify());
        assert!(!HandOver::sign(&bob, hand_over).verify());
        let facts = VoucherFacts { room, counter: 1, joiner: NodeId([9; 32]), member: bob.id(), invitation: None };
        assert!(Voucher::sign(&bob, facts.clone()).verify());
        assert!(!Voucher::sign(&ann, facts).verify());
    }

    #[test]
    fn a_message_survives_the_wire() {
        let ann = Identity::from_seed(&[1; 32]);
        let record = MemberRecord::sign(&ann, "ann", &[], 1);
        let message = RoomMessage::Join(Box::new(Join {
            version: 1,
            record,
            room: None,
            voucher: None,
            epoch: None,
            counter: 0,
        }));
        assert_eq!(wire::decode::<RoomMessage>(&wire::encode(&message), 10_000), Ok(message));
    }
}
