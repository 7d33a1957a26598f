//! One owner's offers.

use super::offer::{Content, Digest, DigestFacts, Offer};
use crate::node::identity::NodeId;
use crate::time::Instant;
use std::collections::BTreeMap;

/// What an offer changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// What was offered before and is no more.
    pub(super) gone: Vec<Content>,
    /// What is offered that was not before, or got its hash.
    pub(super) come: Option<Content>,
    /// Slots whose content counts no longer, and that content.
    pub(super) cleared: Vec<(u32, Content)>,
}

/// One owner's offers, by slot.
#[derive(Debug)]
pub(super) struct Shelf {
    start: u64,
    version: u64,
    slots: BTreeMap<u32, Offer>,
    /// The owner's last word on the whole.
    pub(super) digest: Option<Digest>,
    /// When it was last asked for, and not to be asked for again at once.
    pub(super) wanted: Option<Instant>,
    /// When the first of it came.
    pub(super) since: Instant,
}

impl Shelf {
    pub(super) const fn new(since: Instant) -> Self {
        Self { start: 0, version: 0, slots: BTreeMap::new(), digest: None, wanted: None, since }
    }

    /// Takes an offer whose signature was checked, if it is later than what is known.
    pub(super) fn put(&mut self, offer: Offer) -> Option<Change> {
        let facts = &offer.facts;
        if facts.start < self.start {
            return None;
        }
        let mut cleared = self.move_to_start(facts.start);
        let mut gone: Vec<Content> = cleared.iter().map(|(_, content)| content.clone()).collect();
        let known = self.slots.get(&facts.slot).map(|known| &known.facts);
        if known.is_some_and(|known| known.version >= facts.version) {
            return None;
        }
        self.version = self.version.max(facts.version);
        let before = known.and_then(|known| known.content.clone());
        let come = facts.content.clone().filter(|content| before.as_ref() != Some(content));
        let renamed = |before: &Content, after: &Content| (&before.name, before.size) != (&after.name, after.size);
        cleared.extend(before.clone().map(|before| (facts.slot, before)));
        gone.extend(before.filter(|before| facts.content.as_ref().is_none_or(|after| renamed(before, after))));
        self.slots.insert(facts.slot, offer);
        Some(Change { gone, come, cleared })
    }

    /// Takes the owner's word on the whole, if it is not older than what is known. What it outdates.
    pub(super) fn put_digest(&mut self, digest: Digest) -> Option<Vec<(u32, Content)>> {
        let facts = digest.facts;
        let known = self.digest.as_ref().map(|known| (known.facts.start, known.facts.version));
        if facts.start < self.start || known.is_some_and(|known| known >= (facts.start, facts.version)) {
            return None;
        }
        let gone = self.move_to_start(facts.start);
        self.digest = Some(digest);
        Some(gone)
    }

    /// A later program of the owner: what the earlier one offered is gone.
    fn move_to_start(&mut self, start: u64) -> Vec<(u32, Content)> {
        if start <= self.start {
            return Vec::new();
        }
        (self.start, self.version, self.digest) = (start, 0, None);
        let slots = std::mem::take(&mut self.slots).into_iter();
        slots.filter_map(|(slot, offer)| Some((slot, offer.facts.content?))).collect()
    }

    /// Whether the owner's last word says that something is missing here.
    pub(super) fn lacks_something(&self) -> bool {
        self.digest
            .as_ref()
            .is_some_and(|digest| digest.facts.version >= self.version && digest.facts.hash != self.hash())
    }

    /// What a digest of this state says.
    pub(super) fn facts(&self, owner: NodeId, start: u64) -> DigestFacts {
        DigestFacts { owner, start, version: self.version, hash: self.hash() }
    }

    fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (slot, offer) in &self.slots {
            hasher.update(&slot.to_be_bytes());
            hasher.update(&offer.facts.version.to_be_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// The offer in a slot, also one that is withdrawn.
    pub(super) fn slot(&self, slot: u32) -> Option<&Offer> {
        self.slots.get(&slot)
    }

    /// Slots from `from` on.
    pub(super) fn slots_from(&self, from: u32) -> impl Iterator<Item = &Offer> {
        self.slots.range(from..).map(|(_, offer)| offer)
    }

    /// What is on offer.
    pub(super) fn contents(&self) -> impl Iterator<Item = &Content> {
        self.slots.values().filter_map(|offer| offer.facts.content.as_ref())
    }

    /// What is on offer, by slot.
    pub(super) fn placed(&self) -> impl Iterator<Item = (u32, &Content)> {
        self.slots.iter().filter_map(|(slot, offer)| Some((*slot, offer.facts.content.as_ref()?)))
    }

    /// The first slot with nothing on offer.
    pub(super) fn free_slot(&self) -> u32 {
        let taken = |slot: &u32| self.slots.get(slot).is_some_and(|offer| offer.facts.content.is_some());
        (0..).find(|slot| !taken(slot)).unwrap_or(u32::MAX)
    }

    /// Slots, withdrawn ones included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The version of the next change.
    pub(super) const fn next_version(&self) -> u64 {
        self.version.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::offer::OfferFacts;
    use super::*;
    use crate::node::identity::Identity;

    fn offer(start: u64, version: u64, slot: u32, name: Option<&str>) -> Offer {
        let ann = Identity::from_seed(&[1; 32]);
        let content = name.map(|name| Content { name: name.into(), size: 1, hash: None });
        Offer::sign(&ann, OfferFacts { owner: ann.id(), start, version, slot, content })
    }

    fn shelf(offers: &[Offer]) -> Shelf {
        let mut shelf = Shelf::new(Instant::ZERO);
        for offer in offers {
            shelf.put(offer.clone());
        }
        shelf
    }

    #[test]
    fn nobody_can_bring_back_what_was_withdrawn() {
        let first = offer(1, 1, 0, Some("a"));
        let mut shelf = shelf(&[first.clone(), offer(1, 2, 0, None)]);
        assert_eq!(shelf.put(first), None);
        assert_eq!(shelf.contents().count(), 0);
        assert_eq!(shelf.free_slot(), 0, "the gap may be filled by its owner");
    }

    #[test]
    fn a_program_that_starts_again_begins_with_an_empty_shelf() {
        let mut shelf = shelf(&[offer(1, 1, 0, Some("a")), offer(1, 2, 1, Some("b"))]);
        let change = shelf.put(offer(2, 1, 0, Some("c"))).unwrap();
        assert_eq!(change.gone.len(), 2);
        assert_eq!(shelf.contents().map(|content| content.name.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(shelf.put(offer(1, 9, 1, Some("b"))), None, "an old program's word counts no more");
    }

    /// Two that took the same offers in another order agree on the digest; one that lacks an offer knows it.
    #[test]
    fn a_digest_tells_whether_something_is_missing() {
        let ann = Identity::from_seed(&[1; 32]);
        let (a, b) = (offer(1, 1, 0, Some("a")), offer(1, 2, 1, Some("b")));
        let whole = shelf(&[a.clone(), b.clone()]);
        let digest = Digest::sign(&ann, whole.facts(ann.id(), 1));
        let mut same = shelf(&[b.clone(), a]);
        same.put_digest(digest.clone());
        assert!(!same.lacks_something());
        let mut partial = shelf(&[b]);
        partial.put_digest(digest);
        assert!(partial.lacks_something());
    }
}
