//! What each peer is still to be told, bounded whatever its pace.

use crate::node::identity::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Single offers noted for one peer. Beyond, the owner's whole shelf is sent.
const MAX_SINGLE: usize = 1024;

/// Owners noted for one peer: the members of a room.
const MAX_OWNERS: usize = 4096;

/// What one peer is to be told.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Our digest, and the wish for theirs.
    pub(super) greet: bool,
    /// Owners whose shelves we want.
    pub(super) want: BTreeSet<NodeId>,
    /// Single offers.
    offers: BTreeSet<(NodeId, u32)>,
    /// Whole shelves, and how far they were sent.
    shelves: BTreeMap<NodeId, u32>,
    /// Digests, after all offers.
    digests: BTreeSet<NodeId>,
}

impl Pending {
    /// One offer changed.
    pub(super) fn add_offer(&mut self, owner: NodeId, slot: u32) {
        if self.offers.len() < MAX_SINGLE {
            self.offers.insert((owner, slot));
        } else {
            self.add_shelf(owner);
        }
    }

    /// A whole shelf, from its beginning.
    pub(super) fn add_shelf(&mut self, owner: NodeId) {
        if self.shelves.len() < MAX_OWNERS {
            self.shelves.insert(owner, 0);
            self.add_digest(owner);
        }
    }

    /// A digest.
    pub(super) fn add_digest(&mut self, owner: NodeId) {
        if self.digests.len() < MAX_OWNERS {
            self.digests.insert(owner);
        }
    }

    /// An owner whose shelf we want.
    pub(super) fn add_want(&mut self, owner: NodeId) {
        if self.want.len() < MAX_OWNERS {
            self.want.insert(owner);
        }
    }

    /// The next single offer.
    pub(super) fn next_offer(&mut self) -> Option<(NodeId, u32)> {
        self.offers.pop_first()
    }

    /// The shelf that is being sent, and from which slot on.
    pub(super) fn shelf(&self) -> Option<(NodeId, u32)> {
        self.shelves.first_key_value().map(|(owner, from)| (*owner, *from))
    }

    /// The shelf was sent up to this slot; `None`: to its end.
    pub(super) fn advance_shelf(&mut self, owner: NodeId, next: Option<u32>) {
        match next {
            Some(next) => self.shelves.insert(owner, next),
            None => self.shelves.remove(&owner),
        };
    }

    /// The next digest.
    pub(super) fn next_digest(&mut self) -> Option<NodeId> {
        self.digests.pop_first()
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        let lists = [self.want.is_empty(), self.offers.is_empty(), self.shelves.is_empty(), self.digests.is_empty()];
        !self.greet && lists.iter().all(|empty| *empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_for_a_peer_that_does_not_read_is_bounded() {
        let mut pending = Pending::default();
        for slot in 0..5000 {
            pending.add_offer(NodeId([1; 32]), slot);
        }
        assert_eq!(pending.offers.len(), MAX_SINGLE);
        assert_eq!(pending.shelf(), Some((NodeId([1; 32]), 0)), "the rest is told as a whole");
        for owner in 0..5000u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&owner.to_be_bytes());
            pending.add_shelf(NodeId(id));
            pending.add_want(NodeId(id));
        }
        assert_eq!((pending.shelves.len(), pending.want.len()), (MAX_OWNERS, MAX_OWNERS));
    }
}
