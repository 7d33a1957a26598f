//! The catalogue: everybody's shelves, within their bounds, and who is in the room.

use super::index::Index;
use super::offer::{Content, Offer};
use super::own::OwnOffers;
use super::shelf::{Change, Shelf};
use super::sync::Pending;
use crate::node::api::{ErrorCode, Event, OfferKind, Offered};
use crate::node::disk::{DiskError, DiskRequest};
use crate::node::identity::{Identity, NodeId};
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Offers of all owners, at most: about 50 MB.
const MAX_ALL: usize = 100_000;

/// Offers of owners that are no members, at most: a member can pass on as many as it has made up keys.
const MAX_OF_STRANGERS: usize = 1_000;

/// Offers of someone who is no member are kept this long: the view that names them may be behind.
const STRANGER_TIME: Duration = Duration::from_secs(30);

/// What the catalogue wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogueOutput {
    /// Work for the disk.
    Disk(DiskRequest),
    /// Something to tell.
    Event(Event),
}

/// Everybody's offers.
#[derive(Debug)]
pub struct Catalogue {
    pub(super) identity: Arc<Identity>,
    /// When our program started, in Unix milliseconds.
    pub(super) start: u64,
    pub(super) shelves: BTreeMap<NodeId, Shelf>,
    /// What is on all shelves.
    pub(super) index: Index,
    pub(super) mine: OwnOffers,
    pub(super) members: BTreeSet<NodeId>,
    pub(super) supernode: NodeId,
    pub(super) linked: BTreeSet<NodeId>,
    /// What each peer is still to be told.
    pub(super) pending: BTreeMap<NodeId, Pending>,
    pub(super) outputs: VecDeque<CatalogueOutput>,
}

impl Catalogue {
    /// Nothing on offer, nobody else in the room.
    pub fn new(identity: Arc<Identity>, start_unix_ms: u64) -> Self {
        let own = identity.id();
        Self {
            identity,
            start: start_unix_ms,
            shelves: BTreeMap::from([(own, Shelf::new(Instant::ZERO))]),
            index: Index::default(),
            mine: OwnOffers::default(),
            members: BTreeSet::from([own]),
            supernode: own,
            linked: BTreeSet::new(),
            pending: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Who is in the room, and who leads it.
    pub fn handle_view(&mut self, now: Instant, members: impl Iterator<Item = NodeId>, supernode: NodeId) {
        let before = std::mem::replace(&mut self.members, members.collect());
        let own = self.identity.id();
        for left in before.difference(&self.members).copied().filter(|id| *id != own).collect::<Vec<_>>() {
            self.pending.remove(&left);
            if let Some(shelf) = self.remove_shelf(left) {
                for content in shelf.contents() {
                    self.tell(Event::Withdrawn(offered(left, content)));
                }
            }
        }
        for came in self.members.difference(&before).copied().filter(|id| *id != own).collect::<Vec<_>>() {
            let contents: Vec<Content> =
                self.shelves.get(&came).into_iter().flat_map(Shelf::contents).cloned().collect();
            for content in contents {
                self.tell(Event::Offered(offered(came, &content)));
            }
        }
        self.forget_strangers(now);
        if self.supernode != supernode || before.len() == 1 {
            self.supernode = supernode;
            self.greet(supernode);
        }
    }

    /// There is a link to this peer.
    pub fn handle_link_up(&mut self, peer: NodeId) {
        self.linked.insert(peer);
        self.greet(peer);
    }

    /// There is none.
    pub fn handle_link_down(&mut self, peer: NodeId) {
        self.linked.remove(&peer);
        self.pending.remove(&peer);
    }

    /// What is wanted of others.
    pub fn poll_output(&mut self) -> Option<CatalogueOutput> {
        self.outputs.pop_front()
    }

    /// An offer that its owner signed.
    pub(super) fn take(&mut self, now: Instant, from: NodeId, offer: Offer) {
        let (owner, slot) = (offer.facts.owner, offer.facts.slot);
        let known = self.shelves.get(&owner).and_then(|shelf| shelf.slot(slot));
        if known.is_none() && !self.has_room(now, owner) {
            tracing::info!(%owner, "the catalogue is full: an offer is left out");
            return;
        }
        let content = offer.facts.content.clone();
        let change = self.shelves.entry(owner).or_insert_with(|| Shelf::new(now)).put(offer);
        if let Some(change) = change {
            self.reindex(owner, &change.cleared, Some(slot).zip(content.as_ref()));
            self.tell_change(owner, change);
            self.pass_on(owner, Some(slot), from);
        }
    }

    /// Whether one more slot of this owner can be kept.
    fn has_room(&mut self, now: Instant, owner: NodeId) -> bool {
        if self.shelves.values().map(Shelf::len).sum::<usize>() >= MAX_ALL {
            return false;
        }
        if self.members.contains(&owner) {
            return true;
        }
        self.forget_strangers(now);
        let strangers = self.shelves.iter().filter(|(owner, _)| !self.members.contains(owner));
        strangers.map(|(_, shelf)| shelf.len()).sum::<usize>() < MAX_OF_STRANGERS
    }

    /// Forgets what was passed on of owners that did not come in.
    fn forget_strangers(&mut self, now: Instant) {
        let own = self.identity.id();
        let members = &self.members;
        let old = |(owner, shelf): &(&NodeId, &Shelf)| {
            **owner != own && !members.contains(owner) && now.saturating_since(shelf.since) >= STRANGER_TIME
        };
        for owner in self.shelves.iter().filter(old).map(|(owner, _)| *owner).collect::<Vec<_>>() {
            self.remove_shelf(owner);
        }
    }

    fn remove_shelf(&mut self, owner: NodeId) -> Option<Shelf> {
        let shelf = self.shelves.remove(&owner)?;
        for (slot, content) in shelf.placed() {
            self.index.remove(owner, slot, content);
        }
        Some(shelf)
    }

    /// Keeps the index in step with the shelves.
    pub(super) fn reindex(&mut self, owner: NodeId, cleared: &[(u32, Content)], come: Option<(u32, &Content)>) {
        for (slot, content) in cleared {
            self.index.remove(owner, *slot, content);
        }
        if let Some((slot, content)) = come {
            self.index.add(owner, slot, content);
        }
    }

    pub(super) fn tell_change(&mut self, owner: NodeId, change: Change) {
        if !self.members.contains(&owner) {
            return;
        }
        for content in &change.gone {
            self.tell(Event::Withdrawn(offered(owner, content)));
        }
        if let Some(content) = &change.come {
            self.tell(Event::Offered(offered(owner, content)));
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.outputs.push_back(CatalogueOutput::Event(event));
    }
}

fn offered(id: NodeId, content: &Content) -> Offered {
    let Content { name, size, hash } = content.clone();
    Offered { name, size, hash, id, kind: OfferKind::File }
}

pub(super) fn mistake(code: ErrorCode, message: String) -> DiskError {
    DiskError { code, message }
}

#[cfg(test)]
mod tests;
