//! The difference between two views of a room. In a room of a thousand a view is 200 KB, and what changes is one member.

use super::former::MAX_FORMER;
use super::message::{HandOver, InvitationState};
use super::rank::Rank;
use super::view::{
    Entry, MAX_INVITATIONS, MAX_MEMBERS, MAX_REIGNS, Reason, Reign, View, ViewDigest, ViewError, ViewName,
};
use crate::node::identity::NodeId;
use crate::node::record::MemberRecord;
use core::cmp::Reverse;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How one view becomes another. The order of the members is not in it: that follows from their ranks. Nor is the share of the crashes
/// in a rank: that follows from the version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// The view that it changes.
    pub from: ViewName,
    /// The view that it makes of it.
    pub to: ViewName,
    /// [`View::digest`] of what comes out.
    pub digest: ViewDigest,
    /// Why the epoch began.
    pub reason: Reason,
    /// The hand-over by which the epoch began; within an epoch it stays what it was.
    pub proof: Option<HandOver>,
    /// Members that are none any more.
    pub gone: Vec<NodeId>,
    /// Those of them that are looked for.
    pub lost: Vec<NodeId>,
    /// New members, and those whose record is another.
    pub put: Vec<Entry>,
    /// Members that are ranked otherwise, or seen elsewhere.
    pub moved: Vec<Moved>,
    /// Who is looked for no longer.
    pub found: Vec<NodeId>,
    /// Who else is looked for.
    pub former: Vec<MemberRecord>,
    /// So many of the oldest epochs are forgotten.
    pub reigns_over: u32,
    /// Those that follow the others.
    pub reigns: Vec<Reign>,
    /// Invitations that are new, or were used.
    pub invited: Vec<InvitationState>,
    /// Those that are over.
    pub uninvited: Vec<[u8; 16]>,
    /// How often supernodes of a build were lost, if that changed.
    pub crashes: Option<Vec<(u32, u32)>>,
    /// How many were ever admitted.
    pub admitted: u64,
}

/// A member's rank, which names it, and from where it is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Its rank.
    pub rank: Rank,
    /// From where the supernode hears it.
    pub seen: Option<IpAddr>,
}

/// Why a patch gives no view. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It changes another view than the one that it was applied to.
    #[error("changes another view")]
    OtherBase,
    /// What comes out is another view than was meant: the two sides do not start from the same.
    #[error("makes another view than it says")]
    OtherDigest,
    /// What comes out is not in order, or could never be.
    #[error("{0}")]
    Unsound(#[from] ViewError),
}

impl Patch {
    /// What makes `to` of `from`, two views of one room.
    pub fn between(from: &View, to: &View) -> Self {
        let old: BTreeMap<NodeId, &Entry> = from.entries.iter().map(|entry| (entry.record.id(), entry)).collect();
        let new: BTreeSet<NodeId> = to.ids().collect();
        let (mut put, mut moved) = (Vec::new(), Vec::new());
        for entry in &to.entries {
            match old.get(&entry.record.id()) {
                Some(before) if before.record == entry.record => {
                    let rank = derived(to, &before.rank, &entry.record);
                    if rank != entry.rank || before.seen != entry.seen {
                        moved.push(Moved { rank: entry.rank.clone(), seen: entry.seen });
                    }
                }
                _ => put.push(entry.clone()),
            }
        }
        let gone: Vec<NodeId> = from.ids().filter(|id| !new.contains(id)).collect();
        let looked_for: BTreeMap<NodeId, &MemberRecord> = by_id(&to.former);
        let before = by_id(&from.former);
        let of_view = |id: &NodeId| old.get(id).map(|entry| &entry.record);
        let is_lost = |id: &&NodeId| looked_for.get(id).is_some_and(|record| of_view(id) == Some(record));
        let lost: BTreeSet<NodeId> = gone.iter().filter(is_lost).copied().collect();
        let known = |record: &&&MemberRecord| {
            lost.contains(&record.id()) || before.get(&record.id()).is_some_and(|old| old == *record)
        };
        let former = looked_for.values().filter(|record| !known(record)).map(|record| (*record).clone()).collect();
        let found = before.keys().filter(|id| !looked_for.contains_key(*id)).copied().collect();
        let (reigns_over, reigns) = continued(&from.reigns, &to.reigns);
        let was = |state: &&InvitationState| !from.invitations.iter().any(|other| same_invitation(other, state));
        let over = |state: &&InvitationState| !to.invitations.iter().any(|other| other.id == state.id);
        Self {
            from: from.name(),
            to: to.name(),
            digest: to.digest(),
            reason: to.reason,
            proof: to.proof.clone().filter(|_| to.epoch != from.epoch),
            gone,
            lost: lost.into_iter().collect(),
            put,
            moved,
            found,
            former,
            reigns_over,
            reigns,
            invited: to.invitations.iter().filter(was).cloned().collect(),
            uninvited: from.invitations.iter().filter(over).map(|state| state.id).collect(),
            crashes: (from.crashes != to.crashes).then(|| to.crashes.clone()),
            admitted: to.admitted,
        }
    }

    /// What it makes of `view`, which was verified. Signatures are verified of what is new.
    pub fn apply(&self, view: &View) -> Result<View, PatchError> {
        if self.from != view.name() {
            return Err(PatchError::OtherBase);
        }
        self.check_bounds()?;
        let new = self.put.iter().map(|entry| &entry.record).chain(&self.former);
        if !self.put.is_empty() || !self.former.is_empty() {
            view.verify_records(new, Some(view))?;
        }
        let same = self.to.epoch == view.epoch;
        let reigns = view.reigns.iter().skip(usize::try_from(self.reigns_over).unwrap_or(usize::MAX));
        let mut result = View {
            room: view.room,
            epoch: self.to.epoch,
            reason: self.reason,
            number: self.to.number,
            entries: Vec::new(),
            reigns: reigns.chain(&self.reigns).copied().collect(),
            invitations: self.invitations(view),
            crashes: self.crashes.clone().unwrap_or_else(|| view.crashes.clone()),
            admitted: self.admitted,
            former: self.former(view),
            proof: if same { view.proof.clone() } else { self.proof.clone() },
        };
        result.entries = self.entries(view, &result)?;
        result.sort();
        result.verify_shape()?;
        if result.digest() != self.digest {
            return Err(PatchError::OtherDigest);
        }
        Ok(result)
    }

    /// No list is longer than what it changes can be.
    fn check_bounds(&self) -> Result<(), ViewError> {
        let members = [self.gone.len(), self.lost.len(), self.put.len(), self.moved.len()];
        let bounded = members.into_iter().all(|length| length <= MAX_MEMBERS)
            && self.found.len() <= MAX_FORMER
            && self.former.len() <= MAX_FORMER
            && self.reigns.len() <= MAX_REIGNS
            && self.invited.len() <= MAX_INVITATIONS
            && self.uninvited.len() <= MAX_INVITATIONS
            && self.crashes.as_ref().is_none_or(|crashes| crashes.len() <= MAX_REIGNS);
        if bounded { Ok(()) } else { Err(ViewError::OutOfBounds) }
    }

    /// The members of `view`, without those that are gone, with what is new of the others; in no order yet. Nobody is there twice.
    fn entries(&self, view: &View, result: &View) -> Result<Vec<Entry>, ViewError> {
        let gone: BTreeSet<NodeId> = self.gone.iter().copied().collect();
        let put: BTreeMap<NodeId, &Entry> = self.put.iter().map(|entry| (entry.record.id(), entry)).collect();
        let moved: BTreeMap<NodeId, &Moved> = self.moved.iter().map(|moved| (moved.rank.id.0, moved)).collect();
        if put.len() != self.put.len() {
            return Err(ViewError::Twice);
        }
        let stays = |entry: &&Entry| {
            let id = entry.record.id();
            !gone.contains(&id) && !put.contains_key(&id)
        };
        let kept = view.entries.iter().filter(stays).map(|entry| match moved.get(&entry.record.id()) {
            Some(Moved { rank, seen }) => Entry { record: entry.record.clone(), rank: rank.clone(), seen: *seen },
            None => Entry { rank: derived(result, &entry.rank, &entry.record), ..entry.clone() },
        });
        Ok(kept.chain(self.put.iter().cloned()).collect())
    }

    fn former(&self, view: &View) -> Vec<MemberRecord> {
        if self.found.is_empty() && self.lost.is_empty() && self.former.is_empty() {
            return view.former.clone();
        }
        let mut former: BTreeMap<NodeId, &MemberRecord> = by_id(&view.former);
        for id in &self.found {
            former.remove(id);
        }
        let lost: BTreeSet<NodeId> = self.lost.iter().copied().collect();
        let members = view.entries.iter().map(|entry| &entry.record);
        former.extend(members.filter(|record| lost.contains(&record.id())).map(|record| (record.id(), record)));
        former.extend(by_id(&self.former));
        former.into_values().cloned().collect()
    }

    fn invitations(&self, view: &View) -> Vec<InvitationState> {
        let mut states: BTreeMap<[u8; 16], &InvitationState> =
            view.invitations.iter().map(|state| (state.id, state)).collect();
        for id in &self.uninvited {
            states.remove(id);
        }
        states.extend(self.invited.iter().map(|state| (state.id, state)));
        states.into_values().cloned().collect()
    }
}

/// A rank as it follows from what it was, and from the crashes that `view` counts.
fn derived(view: &View, rank: &Rank, record: &MemberRecord) -> Rank {
    Rank { crashes: Reverse(view.crashes_of(record)), ..rank.clone() }
}

fn by_id(records: &[MemberRecord]) -> BTreeMap<NodeId, &MemberRecord> {
    records.iter().map(|record| (record.id(), record)).collect()
}

/// The same, but for the time that it has left.
fn same_invitation(a: &InvitationState, b: &InvitationState) -> bool {
    (a.id, a.secret, a.by, a.used_by) == (b.id, b.secret, b.by, b.used_by)
}

/// How many of the oldest reigns of `from` are over in `to`, and which follow the rest.
fn continued(from: &[Reign], to: &[Reign]) -> (u32, Vec<Reign>) {
    let over = (0..from.len()).find(|over| to.starts_with(from.get(*over..).unwrap_or_default()));
    let over = over.unwrap_or(from.len());
    let then = to.get(from.len() - over..).unwrap_or_default().to_vec();
    (u32::try_from(over).unwrap_or(u32::MAX), then)
}

#[cfg(test)]
mod tests {
    use super::super::epoch::{Epoch, Head, RoomId};
    use super::super::message::HandOverFacts;
    use super::super::rank::{ALL_REACH_IT, Reach};
    use super::*;
    use crate::node::identity::Identity;
    use crate::node::wire;
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const PEOPLE: u8 = 9;

    fn identity(who: u8) -> Identity {
        Identity::from_seed(&[who + 1; 32])
    }

    /// Everybody's record, and the one after that.
    static RECORDS: LazyLock<Vec<[MemberRecord; 2]>> = LazyLock::new(|| {
        let of = |who: u8, sequence| MemberRecord::sign(&identity(who), &format!("n{who}"), &[], sequence);
        (0..PEOPLE).map(|who| [of(who, 1), of(who, 2)]).collect()
    });

    /// What is random of one of the people: out of the room, lost, or a member.
    type Person = (u8, bool, bool, u64, Option<u8>);

    /// What is random of a view.
    #[derive(Clone, Debug)]
    struct Sketch {
        people: Vec<Person>,
        leads: u8,
        counter: u64,
        number: u64,
        reigns: Vec<u64>,
        invitations: Vec<(u8, Option<u8>, u64)>,
        crashes: Vec<u32>,
        admitted: u64,
    }

    fn sketch() -> impl Strategy<Value = Sketch> {
        let person = (0..3u8, any::<bool>(), any::<bool>(), 0..4u64, of(0..3u8));
        let people = vec(person, usize::from(PEOPLE));
        let invitations = vec((0..4u8, of(0..PEOPLE), 0..1000u64), 0..4);
        let rest = (0..4u64, vec(0..6u64, 0..5), vec(0..3u32, 0..2), 0..20u64);
        (people, 0..PEOPLE, 1..3u64, invitations, rest).prop_map(
            |(people, leads, counter, invitations, (number, reigns, crashes, admitted))| Sketch {
                people,
                leads,
                counter,
                number,
                reigns,
                invitations,
                crashes,
                admitted,
            },
        )
    }

    /// The view that it is a sketch of.
    fn drawn(sketch: &Sketch) -> View {
        let room = RoomId([7; 16]);
        let supernode = identity(sketch.leads).id();
        let epoch = Epoch { counter: sketch.counter, supernode };
        let reign = |counter: u64| Reign {
            epoch: Epoch { counter, supernode: identity((counter % 3) as u8).id() },
            base: Head { seq: counter, ..Head::default() },
        };
        let mut reigns: Vec<Reign> = sketch.reigns.iter().copied().map(reign).collect();
        reigns.push(Reign { epoch, base: Head { seq: sketch.counter * 10, ..Head::default() } });
        let build = RECORDS[0][0].facts.build;
        let invitation = |(name, used_by, remaining_ms): &(u8, Option<u8>, u64)| InvitationState {
            id: [*name; 16],
            secret: [1; 32],
            by: supernode,
            remaining_ms: *remaining_ms,
            used_by: used_by.map(|who| identity(who).id()),
        };
        let invitations: BTreeMap<[u8; 16], InvitationState> =
            sketch.invitations.iter().map(|state| ([state.0; 16], invitation(state))).collect();
        let facts = HandOverFacts { room, epoch, next: epoch, head: Head::default() };
        let mut view = View {
            room,
            epoch,
            reason: Reason::Lost,
            number: sketch.number,
            entries: Vec::new(),
            reigns,
            invitations: invitations.into_values().collect(),
            crashes: sketch.crashes.iter().map(|count| (build, *count)).collect(),
            admitted: sketch.admitted,
            former: Vec::new(),
            // It belongs to the epoch, and stays what it is in it.
            proof: (sketch.counter == 2).then(|| HandOver::sign(&identity(sketch.leads), facts)),
        };
        for (who, (part, later, heard, tenure, seen)) in sketch.people.iter().enumerate() {
            let record = RECORDS[who][usize::from(*later)].clone();
            let rank = Rank {
                reach: if *heard { Reach::Heard } else { Reach::Silent },
                crashes: Reverse(view.crashes_of(&record)),
                reached: ALL_REACH_IT,
                tenure: Reverse(*tenure),
                capacity: 0,
                id: Reverse(record.id()),
            };
            if *part == 0 || record.id() == supernode {
                let seen = seen.map(|seen| IpAddr::from([192, 0, 2, seen]));
                view.entries.push(Entry { record, rank, seen });
            } else if *part == 1 {
                view.former.push(record);
            }
        }
        view.sort();
        view.former.sort_by_key(MemberRecord::id);
        view
    }

    /// But for what passes by itself.
    fn timeless(mut view: View) -> View {
        view.invitations.iter_mut().for_each(|state| state.remaining_ms = 0);
        view
    }

    proptest! {
        #[test]
        fn a_patch_between_two_views_makes_one_of_the_other(a in sketch(), b in sketch()) {
            let (a, b) = (drawn(&a), drawn(&b));
            prop_assert_eq!(a.verify(None), Ok(()));
            // Within an epoch the word by which it began is one.
            let b = if a.epoch == b.epoch { View { proof: a.proof.clone(), ..b } } else { b };
            let bytes = wire::encode(&Patch::between(&a, &b));
            let patch: Patch = wire::decode(&bytes, bytes.len()).unwrap();
            prop_assert_eq!(patch.apply(&a).map(timeless), Ok(timeless(b.clone())));
            // And to any other view it is nothing.
            let other = View { admitted: a.admitted + 100, ..a.clone() };
            prop_assert!(patch.apply(&other).is_ok_and(|made| timeless(made) == timeless(b)) || patch.apply(&other).is_err());
        }

        #[test]
        fn whatever_becomes_of_its_bytes_a_patch_makes_the_view_that_was_meant_or_none(
            a in sketch(), b in sketch(), at in any::<prop::sample::Index>(), flip in 1..=255u8,
        ) {
            let (a, b) = (drawn(&a), drawn(&b));
            let b = if a.epoch == b.epoch { View { proof: a.proof.clone(), ..b } } else { b };
            let patch = Patch::between(&a, &b);
            let mut bytes = wire::encode(&patch);
            let index = at.index(bytes.len());
            bytes[index] ^= flip;
            if let Ok(Ok(view)) = wire::decode::<Patch>(&bytes, bytes.len()).map(|patch| patch.apply(&a)) {
                let invitations = |view: &View| view.invitations.iter().map(|state| state.id).collect::<Vec<_>>();
                prop_assert_eq!(invitations(&view), invitations(&b));
                prop_assert_eq!(timeless(view), timeless(b));
            }
        }
    }

    /// A room of a thousand in which one member is lost: some hundred bytes instead of all.
    #[test]
    fn what_does_not_change_is_not_sent() {
        let people: Vec<Person> = (0..PEOPLE).map(|who| (0, false, true, u64::from(who), None)).collect();
        let sketch = Sketch {
            people,
            leads: 0,
            counter: 1,
            number: 1,
            reigns: Vec::new(),
            invitations: Vec::new(),
            crashes: Vec::new(),
            admitted: 9,
        };
        let before = drawn(&sketch);
        let mut after = before.clone();
        after.former.push(after.entries.remove(3).record);
        // The version of all of them gets a mark, and so every rank is another.
        after.crashes = vec![(after.former[0].facts.build, 1)];
        after.entries.iter_mut().for_each(|entry| entry.rank.crashes = Reverse(1));
        after.number = 2;
        let patch = Patch::between(&before, &after);
        assert_eq!(patch.apply(&before), Ok(after));
        let size = wire::encode(&patch).len();
        assert!(size < 300, "{size} bytes");
    }

    #[test]
    fn lists_that_are_too_long_members_twice_and_records_that_nobody_signed_are_refused() {
        let people: Vec<Person> = (0..PEOPLE).map(|who| (who % 3, false, true, u64::from(who), None)).collect();
        let sketch = Sketch {
            people,
            leads: 0,
            counter: 1,
            number: 1,
            reigns: Vec::new(),
            invitations: Vec::new(),
            crashes: Vec::new(),
            admitted: 9,
        };
        let view = drawn(&sketch);
        let patch = Patch::between(&view, &View { number: 2, ..view.clone() });
        let refused = |change: &dyn Fn(&mut Patch)| {
            let mut patch = patch.clone();
            change(&mut patch);
            patch.apply(&view).unwrap_err()
        };
        let id = view.entries[1].record.id();
        let bounds = PatchError::Unsound(ViewError::OutOfBounds);
        assert_eq!(refused(&|patch| patch.gone = vec![id; MAX_MEMBERS + 1]), bounds);
        assert_eq!(refused(&|patch| patch.lost = vec![id; MAX_MEMBERS + 1]), bounds);
        assert_eq!(refused(&|patch| patch.put = vec![view.entries[1].clone(); MAX_MEMBERS + 1]), bounds);
        let moved = Moved { rank: view.entries[1].rank.clone(), seen: None };
        assert_eq!(refused(&|patch| patch.moved = vec![moved.clone(); MAX_MEMBERS + 1]), bounds);
        assert_eq!(refused(&|patch| patch.found = vec![id; MAX_FORMER + 1]), bounds);
        assert_eq!(refused(&|patch| patch.former = vec![view.former[0].clone(); MAX_FORMER + 1]), bounds);
        assert_eq!(refused(&|patch| patch.reigns = vec![view.reigns[0]; MAX_REIGNS + 1]), bounds);
        assert_eq!(refused(&|patch| patch.uninvited = vec![[0; 16]; MAX_INVITATIONS + 1]), bounds);
        assert_eq!(refused(&|patch| patch.crashes = Some(vec![(0, 0); MAX_REIGNS + 1])), bounds);
        assert_eq!(refused(&|patch| patch.to.epoch.counter = u64::MAX), PatchError::Unsound(ViewError::OutOfBounds));
        let twice = vec![view.entries[1].clone(); 2];
        assert_eq!(refused(&|patch| patch.put = twice.clone()), PatchError::Unsound(ViewError::Twice));
        let mut forged = view.entries[1].clone();
        forged.record.facts.name = "mallory".to_owned();
        let put = vec![forged];
        assert_eq!(refused(&|patch| patch.put = put.clone()), PatchError::Unsound(ViewError::BadRecord));
        // Whose rank it is cannot be chosen.
        let mut other = view.entries[1].clone();
        other.rank.id = Reverse(identity(8).id());
        assert_eq!(refused(&|patch| patch.put = vec![other.clone()]), PatchError::Unsound(ViewError::Disorder));
        assert_eq!(
            refused(&|patch| patch.gone = vec![view.entries[0].record.id()]),
            PatchError::Unsound(ViewError::WrongSupernode)
        );
        assert_eq!(refused(&|patch| patch.admitted += 1), PatchError::OtherDigest);
        assert_eq!(refused(&|patch| patch.from.number += 1), PatchError::OtherBase);
    }
}
