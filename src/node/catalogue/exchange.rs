//! What catalogues say to each other, and when.

use super::offer::{Digest, Offer};
use super::shelf::{Change, Shelf};
use super::sync::Pending;
use super::table::Catalogue;
use crate::node::identity::NodeId;
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

/// Offers in one message: at most some 30 kB.
const MAX_IN_MESSAGE: usize = 64;

/// Digests in one message, and owners in a `Want`.
const MAX_OWNERS_IN_MESSAGE: usize = 128;

/// A shelf that is incomplete is asked for again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What catalogues say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogueMessage {
    /// My own shelf's digest; tell me everybody's.
    Greet(Digest),
    /// Offers, and digests of shelves that were sent whole.
    State {
        /// At most 64.
        offers: Vec<Offer>,
        /// At most 128.
        digests: Vec<Digest>,
    },
    /// Send me these owners' shelves.
    Want(Vec<NodeId>),
}

impl Catalogue {
    /// A member's catalogue speaks.
    pub fn handle_message(&mut self, now: Instant, from: NodeId, message: CatalogueMessage) {
        if !self.members.contains(&from) {
            return;
        }
        match message {
            CatalogueMessage::Greet(digest) => {
                if digest.facts.owner == from {
                    self.on_digest(now, from, digest);
                }
                let others = self.shelves.keys().filter(|owner| **owner != from && self.members.contains(owner));
                let others: Vec<NodeId> = others.copied().collect();
                let pending = self.pending.entry(from).or_default();
                others.into_iter().for_each(|owner| pending.add_digest(owner));
            }
            CatalogueMessage::State { offers, digests } => {
                offers.into_iter().take(MAX_IN_MESSAGE).for_each(|offer| self.on_offer_from(now, from, offer));
                digests.into_iter().take(MAX_OWNERS_IN_MESSAGE).for_each(|digest| self.on_digest(now, from, digest));
            }
            CatalogueMessage::Want(owners) => {
                let known: Vec<NodeId> = owners.into_iter().filter(|owner| self.shelves.contains_key(owner)).collect();
                let pending = self.pending.entry(from).or_default();
                known.into_iter().for_each(|owner| pending.add_shelf(owner));
            }
        }
    }

    fn on_offer_from(&mut self, now: Instant, from: NodeId, offer: Offer) {
        let (owner, slot) = (offer.facts.owner, offer.facts.slot);
        let known = self.shelves.get(&owner).and_then(|shelf| shelf.slot(slot));
        // Known ones first: a signature costs more than a comparison.
        if owner == self.identity.id() || known == Some(&offer) || !offer.verify() {
            return;
        }
        self.take(now, from, offer);
    }

    fn on_digest(&mut self, now: Instant, from: NodeId, digest: Digest) {
        let owner = digest.facts.owner;
        let stranger = !self.members.contains(&owner) && !self.shelves.contains_key(&owner);
        if owner == self.identity.id() || stranger {
            return;
        }
        let shelf = self.shelves.entry(owner).or_insert_with(|| Shelf::new(now));
        let new = shelf.digest.as_ref() != Some(&digest);
        if new && !digest.verify() {
            return;
        }
        let gone = shelf.put_digest(digest);
        if shelf.lacks_something() && shelf.wanted.is_none_or(|at| now >= at + ASK_AGAIN) {
            shelf.wanted = Some(now);
            self.pending.entry(from).or_default().add_want(owner);
        }
        if let Some(cleared) = gone {
            self.reindex(owner, &cleared, None);
            let gone = cleared.into_iter().map(|(_, content)| content).collect();
            self.tell_change(owner, Change { gone, come: None, cleared: Vec::new() });
            self.pass_on(owner, None, from);
        }
    }

    /// Tells others what changed on a shelf: the supernode everybody, others the supernode about their own.
    pub(super) fn pass_on(&mut self, owner: NodeId, slot: Option<u32>, from: NodeId) {
        let own = self.identity.id();
        let to: Vec<NodeId> = if self.supernode == own {
            self.members.iter().filter(|id| ![own, owner, from].contains(id)).copied().collect()
        } else if owner == own {
            vec![self.supernode]
        } else {
            Vec::new()
        };
        for peer in to.into_iter().filter(|peer| self.linked.contains(peer)) {
            let pending = self.pending.entry(peer).or_default();
            if let Some(slot) = slot {
                pending.add_offer(owner, slot);
            }
            pending.add_digest(owner);
        }
    }

    /// A supernode that we are linked to is greeted.
    pub(super) fn greet(&mut self, peer: NodeId) {
        if peer == self.supernode && peer != self.identity.id() && self.linked.contains(&peer) {
            self.pending.entry(peer).or_default().greet = true;
        }
    }

    /// The next message for a peer for whom there is `room`.
    pub fn poll_message(&mut self, room: impl Fn(NodeId) -> bool) -> Option<(NodeId, CatalogueMessage)> {
        self.pending.retain(|_, pending| !pending.is_empty());
        let peer = *self.pending.keys().find(|peer| room(**peer))?;
        let mut pending = self.pending.remove(&peer)?;
        let message = self.compose(&mut pending);
        if !pending.is_empty() {
            self.pending.insert(peer, pending);
        }
        Some((peer, message))
    }

    fn compose(&self, pending: &mut Pending) -> CatalogueMessage {
        if std::mem::take(&mut pending.greet) {
            return CatalogueMessage::Greet(self.own_digest());
        }
        if !pending.want.is_empty() {
            let mut want = Vec::new();
            while want.len() < MAX_OWNERS_IN_MESSAGE
                && let Some(owner) = pending.want.pop_first()
            {
                want.push(owner);
            }
            return CatalogueMessage::Want(want);
        }
        let (mut offers, mut digests) = (Vec::new(), Vec::new());
        while offers.len() < MAX_IN_MESSAGE
            && let Some((owner, slot)) = pending.next_offer()
        {
            offers.extend(self.shelves.get(&owner).and_then(|shelf| shelf.slot(slot)).cloned());
        }
        while offers.len() < MAX_IN_MESSAGE
            && let Some((owner, from)) = pending.shelf()
        {
            let rest = MAX_IN_MESSAGE - offers.len();
            let more: Vec<Offer> = self
                .shelves
                .get(&owner)
                .into_iter()
                .flat_map(|shelf| shelf.slots_from(from))
                .take(rest)
                .cloned()
                .collect();
            let next = more.last().filter(|_| more.len() == rest).map(|last| last.facts.slot.saturating_add(1));
            pending.advance_shelf(owner, next);
            offers.extend(more);
        }
        // Only behind the offers that they speak of.
        while offers.len() < MAX_IN_MESSAGE
            && digests.len() < MAX_OWNERS_IN_MESSAGE
            && let Some(owner) = pending.next_digest()
        {
            if owner == self.identity.id() {
                digests.push(self.own_digest());
            } else {
                digests.extend(self.shelves.get(&owner).and_then(|shelf| shelf.digest.clone()));
            }
        }
        CatalogueMessage::State { offers, digests }
    }

    fn own_digest(&self) -> Digest {
        let own = self.identity.id();
        let empty = Shelf::new(Instant::ZERO);
        Digest::sign(&self.identity, self.shelves.get(&own).unwrap_or(&empty).facts(own, self.start))
    }
}
