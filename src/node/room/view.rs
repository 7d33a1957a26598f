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
    /// Its rank, every term of it.
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
    /// How often supernodes of a version were lost.
    pub crashes: Vec<(u16, u32)>,
    /// How many were ever admitted.
    pub admitted: u64,
    /// Members that were lost, not gone: they are looked for, and come back unasked.
    pub former: Vec<MemberRecord>,
    /// The word of the supernode before, if it handed over.
    pub proof: Option<HandOver>,
}

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
    /// A record that its member did not sign.
    #[error("a record that its member did not sign")]
    BadRecord,
}

impl View {
    /// A place in the line: 0 leads.
    pub fn position(&self, id: NodeId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.record.id() == id)
    }

    /// Whether `id` is in it.
    pub fn contains(&self, id: NodeId) -> bool {
        self.position(id).is_some()
    }

    /// What `id` says of itself.
    pub fn record(&self, id: NodeId) -> Option<&MemberRecord> {
        self.entries.iter().map(|entry| &entry.record).find(|record| record.id() == id)
    }

    /// Everybody, the supernode first.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.entries.iter().map(|entry| entry.record.id())
    }

    /// Everybody but the supernode, in order of succession.
    pub fn successors(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ids().skip(1)
    }

    /// The last line before this epoch.
    pub fn base(&self) -> Head {
        self.reigns.last().map_or_else(Head::default, |reign| reign.base)
    }

    /// Whether it is in order. Records equal to those in `known`, which were verified before, are not verified again.
    pub fn verify(&self, known: Option<&Self>) -> Result<(), ViewError> {
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
        let distinct: std::collections::BTreeSet<NodeId> = self.ids().collect();
        if distinct.len() != self.entries.len() {
            return Err(ViewError::Twice);
        }
        let before =
            known.into_iter().flat_map(|view| view.entries.iter().map(|entry| &entry.record).chain(&view.former));
        let before: std::collections::BTreeMap<NodeId, &MemberRecord> =
            before.map(|record| (record.id(), record)).collect();
        let sound = |record: &MemberRecord| before.get(&record.id()) == Some(&record) || record.verify().is_ok();
        let members = self.entries.iter().all(|entry| sound(&entry.record));
        let lost = self.former.iter().all(sound);
        if !members || !lost {
            return Err(ViewError::BadRecord);
        }
        Ok(())
    }

    /// A hash over all of it: what deltas will be checked against.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&wire::encode(self)).as_bytes()
    }
}

/// The last line that two histories of a room share: the end of the last epoch that both went through. An epoch may begin before the end of
/// the one before it: who opens it may not have got all lines of that. Then the order was cut back to there, for all epochs before.
pub fn common_line(ours: &[Reign], our_head: Head, theirs: &[Reign], their_head: Head) -> u64 {
    let end = |reigns: &[Reign], index: usize, head: Head| {
        reigns.iter().skip(index.saturating_add(1)).map(|later| later.base.seq).fold(head.seq, u64::min)
    };
    let shared = ours.iter().enumerate().rev().find_map(|(index, reign)| {
        let other = theirs.iter().position(|their| their.epoch == reign.epoch)?;
        Some(end(ours, index, our_head).min(end(theirs, other, their_head)))
    });
    // No epoch in common is remembered: at most what came before the first that either remembers.
    shared.unwrap_or_else(|| {
        let first = |reigns: &[Reign]| reigns.iter().map(|reign| reign.base.seq).min().unwrap_or(0);
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

    /// The third epoch was opened by one who had not got the last lines of the first when the second was opened. Whoever holds them must not
    /// take them for the order that everybody has.
    #[test]
    fn an_epoch_that_begins_earlier_than_the_one_before_cuts_the_order_back() {
        let ours = [reign(1, 1, 0)];
        let theirs = [reign(1, 1, 0), reign(2, 2, 10), reign(3, 3, 7)];
        assert_eq!(common_line(&ours, head(10), &theirs, head(u64::MAX)), 7);
        assert_eq!(common_line(&theirs, head(9), &[&theirs[..], &[reign(4, 4, 8)]].concat(), head(u64::MAX)), 8);
    }
}
