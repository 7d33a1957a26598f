//! Who is in the room, in order of succession, and everything else that all members must know.

use super::epoch::{Epoch, Head, RoomId};
use super::former::MAX_FORMER;
use super::message::{HandOver, InvitationState};
use super::rank::Rank;
use crate::node::api::Succession;
use crate::node::identity::NodeId;
use crate::node::record::MemberRecord;
use crate::node::wire;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Members of a room, at most.
pub const MAX_MEMBERS: usize = 4096;

/// Epochs that are remembered, at most.
pub const MAX_REIGNS: usize = 32;

/// The highest epoch, and the last place in the order: far beyond what any room reaches, and far enough from where numbers end.
pub const MAX_COUNTER: u64 = 1 << 62;

/// Invitations of a room that can be open at once.
pub const MAX_INVITATIONS: usize = 256;

/// One member, as the room sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it says of itself.
    pub record: MemberRecord,
    /// Its rank, every term of it, its id among them: members are looked up by that.
    pub rank: Rank,
    /// From where the supernode hears it: what of the record's addresses is proven. `None`: through somebody else, or it is the supernode.
    pub seen: Option<IpAddr>,
}

/// An epoch of the past, or the one that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reign {
    /// Which.
    pub epoch: Epoch,
    /// The last line before it began.
    pub base: Head,
}

/// The room's state, in the supernode's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Which room.
    pub room: RoomId,
    /// Which epoch.
    pub epoch: Epoch,
    /// Why it began.
    pub reason: Reason,
    /// Rises with every change within the epoch.
    pub number: u64,
    /// The supernode first, then in order of succession.
    pub entries: Vec<Entry>,
    /// The last epochs, the one that lasts at the end: where two halves of a room parted can be told from it.
    pub reigns: Vec<Reign>,
    /// The invitations that are open or were used, until they expire.
    pub invitations: Vec<InvitationState>,
    /// How often supernodes of a build were lost lately.
    pub crashes: Vec<(u32, u32)>,
    /// How many were ever admitted.
    pub admitted: u64,
    /// Members that were lost, not gone: they are looked for, and come back unasked.
    pub former: Vec<MemberRecord>,
    /// The word of the supernode before, if it handed over.
    pub proof: Option<HandOver>,
}

/// One of the views of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewName {
    /// In which epoch.
    pub epoch: Epoch,
    /// Its number there.
    pub number: u64,
}

/// A hash over a view: [`View::digest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewDigest(pub [u8; 32]);

/// [`Succession`], for the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Somebody opened the room.
    First,
    /// The one before handed over.
    Quit,
    /// The one before was lost.
    Lost,
    /// Another half of the room came over, and had counted as far or further.
    Merged,
}

impl From<Reason> for Succession {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::First => Self::First,
            Reason::Quit => Self::Quit,
            Reason::Lost => Self::Lost,
            Reason::Merged => Self::Merged,
        }
    }
}

/// Why a view is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Nobody in it, or more than a room holds, or lists that are too long.
    #[error("out of bounds")]
    OutOfBounds,
    /// The first member is not the epoch's supernode, or the last reign is not the epoch.
    #[error("names another supernode")]
    WrongSupernode,
    /// A member appears twice.
    #[error("a member twice")]
    Twice,
    /// Members are not in the order of their ranks, or a rank is somebody else's.
    #[error("not in the order of ranks")]
    Disorder,
    /// A record that its member did not sign.
    #[error("a record that its member did not sign")]
    BadRecord,
}

impl View {
    /// A place in the line: 0 leads.
    pub fn position(&self, id: NodeId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.rank.id.0 == id)
    }

    /// Whether `id` is in it.
    pub fn contains(&self, id: NodeId) -> bool {
        self.position(id).is_some()
    }

    /// What `id` says of itself.
    pub fn record(&self, id: NodeId) -> Option<&MemberRecord> {
        self.position(id).and_then(|place| self.entries.get(place)).map(|entry| &entry.record)
    }

    /// Everybody, the supernode first.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.entries.iter().map(|entry| entry.rank.id.0)
    }

    /// Everybody but the supernode, in order of succession.
    pub fn successors(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ids().skip(1)
    }

    /// The last line before this epoch.
    pub fn base(&self) -> Head {
        self.reigns.last().map_or_else(Head::default, |reign| reign.base)
    }

    /// Which view of the room it is: no two of one supernode share that.
    pub const fn name(&self) -> ViewName {
        ViewName { epoch: self.epoch, number: self.number }
    }

    /// How often supernodes of `record`'s build were lost.
    pub fn crashes_of(&self, record: &MemberRecord) -> u32 {
        let build = record.facts.build;
        self.crashes.iter().find(|(other, _)| *other == build).map_or(0, |(_, count)| *count)
    }

    /// Puts the members into the order that their ranks say: the supernode, then whoever ranks highest.
    pub fn sort(&mut self) {
        let leads = self.epoch.supernode;
        let key = |entry: &Entry| entry.record.id() != leads;
        self.entries.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| b.rank.cmp(&a.rank)));
    }

    /// Whether it is in order. Records equal to those in `known`, which were verified before, are not verified again.
    pub fn verify(&self, known: Option<&Self>) -> Result<(), ViewError> {
        self.verify_shape()?;
        let mut ids: Vec<NodeId> = self.ids().collect();
        ids.sort_unstable();
        if ids.is_sorted_by(|a, b| a < b) {
            self.verify_records(self.entries.iter().map(|entry| &entry.record).chain(&self.former), known)
        } else {
            Err(ViewError::Twice)
        }
    }

    /// All of it but who the members are: lists within their bounds, the supernode first, the others by rank, lost members and
    /// invitations by id.
    pub(super) fn verify_shape(&self) -> Result<(), ViewError> {
        let bounded = (1..=MAX_MEMBERS).contains(&self.entries.len())
            && (1..=MAX_REIGNS).contains(&self.reigns.len())
            && self.invitations.len() <= MAX_INVITATIONS
            && self.former.len() <= MAX_FORMER
            && self.epoch.counter <= MAX_COUNTER
            && self.reigns.iter().all(|reign| reign.base.seq <= MAX_COUNTER)
            && self.crashes.len() <= MAX_REIGNS;
        if !bounded {
            return Err(ViewError::OutOfBounds);
        }
        let leads = self.entries.first().map(|entry| entry.record.id());
        if leads != Some(self.epoch.supernode) || self.reigns.last().map(|reign| reign.epoch) != Some(self.epoch) {
            return Err(ViewError::WrongSupernode);
        }
        let own = self.entries.iter().all(|entry| entry.rank.id.0 == entry.record.id());
        let lost = self.former.is_sorted_by(|a, b| a.id() < b.id());
        let invited = self.invitations.is_sorted_by(|a, b| a.id < b.id);
        let ranked = self.entries.get(1..).unwrap_or_default().is_sorted_by(|a, b| a.rank > b.rank);
        if !own || !ranked || !lost || !invited {
            return Err(ViewError::Disorder);
        }
        Ok(())
    }

    /// Whether each record is signed by whom it names, or is known.
    pub(super) fn verify_records<'a>(
        &self,
        records: impl Iterator<Item = &'a MemberRecord>,
        known: Option<&Self>,
    ) -> Result<(), ViewError> {
        let before =
            known.into_iter().flat_map(|view| view.entries.iter().map(|entry| &entry.record).chain(&view.former));
        let before: BTreeMap<NodeId, &MemberRecord> = before.map(|record| (record.id(), record)).collect();
        let mut records = records;
        let sound = |record: &MemberRecord| before.get(&record.id()) == Some(&record) || record.verify().is_ok();
        if records.all(sound) { Ok(()) } else { Err(ViewError::BadRecord) }
    }

    /// A hash over all of it but the time that invitations have left, which passes by itself. Of a record it covers the signature, and so all
    /// that is signed.
    pub fn digest(&self) -> ViewDigest {
        let mut hash = blake3::Hasher::new_derive_key("anjer 2026 view");
        let mut bytes = Vec::with_capacity(self.entries.len() * 192);
        let mut put = |part: Vec<u8>| {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(&part);
        };
        put(wire::encode(&(self.room, self.epoch, self.reason, self.number, self.admitted, self.entries.len())));
        put(wire::encode(&(&self.reigns, &self.crashes, &self.proof, self.former.len())));
        for state in &self.invitations {
            put(wire::encode(&(state.id, state.secret, state.by, state.used_by)));
        }
        for entry in &self.entries {
            put(wire::encode(&(&entry.rank, entry.seen, entry.record.signature)));
        }
        for record in &self.former {
            put(wire::encode(&(record.id(), record.signature)));
        }
        hash.update(&bytes);
        ViewDigest(*hash.finalize().as_bytes())
    }
}

/// The last line that two histories of a room share: the end of the last epoch that both went through.
pub fn common_line(ours: &[Reign], our_head: Head, theirs: &[Reign], their_head: Head) -> u64 {
    let end = |reigns: &[Reign], index: usize, head: Head| reigns.get(index + 1).map_or(head.seq, |next| next.base.seq);
    let shared = ours.iter().enumerate().rev().find_map(|(index, reign)| {
        let other = theirs.iter().position(|their| their.epoch == reign.epoch)?;
        Some(end(ours, index, our_head).min(end(theirs, other, their_head)))
    });
    // No epoch in common is remembered: at most what came before the first that either remembers.
    shared.unwrap_or_else(|| {
        let first = |reigns: &[Reign]| reigns.first().map_or(0, |reign| reign.base.seq);
        first(ours).min(first(theirs))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reign(counter: u64, who: u8, base: u64) -> Reign {
        let epoch = Epoch { counter, supernode: NodeId([who; 32]) };
        Reign { epoch, base: Head { seq: base, ..Head::default() } }
    }

    fn head(seq: u64) -> Head {
        Head { seq, ..Head::default() }
    }

    #[test]
    fn histories_part_where_the_last_common_epoch_ended_for_either() {
        let ours = [reign(1, 1, 0), reign(2, 2, 10)];
        let theirs = [reign(1, 1, 0), reign(2, 3, 12)];
        assert_eq!(common_line(&ours, head(20), &theirs, head(30)), 10);
        // We stood still in the first epoch, and placed lines that nobody took.
        assert_eq!(common_line(&ours[..1], head(15), &theirs, head(30)), 12);
        assert_eq!(common_line(&ours[..1], head(5), &theirs, head(30)), 5);
        assert_eq!(common_line(&ours, head(20), &[reign(9, 9, 0)], head(3)), 0);
    }
}
