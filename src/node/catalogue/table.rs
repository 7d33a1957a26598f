//! The catalogue: the verbs.

use super::index::{Index, Key};
use super::offer::{Content, Digest, MAX_OFFERS, Offer, OfferFacts};
use super::shelf::{Change, Shelf};
use super::sync::Pending;
use crate::node::api::{ErrorCode, Event, FileListing, OfferKind, Offered};
use crate::node::disk::{DiskError, DiskReply, DiskRequest, OfferNumber};
use crate::node::files::FileHash;
use crate::node::identity::{Identity, NodeId};
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// Offers of all owners, at most: about 50 MB.
const MAX_ALL: usize = 100_000;

/// Offers of owners that are no members, at most: a member can pass on as many as it has made up keys.
const MAX_OF_STRANGERS: usize = 1_000;

/// Offers in one message: at most some 30 kB.
const MAX_IN_MESSAGE: usize = 64;

/// Digests in one message, and owners in a `Want`.
const MAX_OWNERS_IN_MESSAGE: usize = 128;

/// A shelf that is incomplete is asked for again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Offers of someone who is no member are kept this long: the view that names them may be behind.
const STRANGER_TIME: Duration = Duration::from_secs(30);

/// Fewest hex digits that name a hash.
const MIN_DIGITS: usize = 8;

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

/// What the catalogue wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum CatalogueOutput {
    /// Work for the disk.
    Disk(DiskRequest),
    /// Something to tell.
    Event(Event),
}

/// One content that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its hash.
    pub hash: FileHash,
    /// Its size in bytes.
    pub size: u64,
    /// The name it was found under, or the first.
    pub name: String,
    /// Who holds it.
    pub holders: Vec<NodeId>,
}

/// One offer of ours.
#[derive(Debug)]
struct Mine {
    /// Where it is on the shelf, once the disk found it.
    slot: Option<u32>,
    /// How it was named in the command.
    path: PathBuf,
}

/// Everybody's offers.
#[derive(Debug)]
pub struct Catalogue {
    identity: Arc<Identity>,
    /// When our program started, in Unix milliseconds.
    start: u64,
    shelves: BTreeMap<NodeId, Shelf>,
    /// What is on all shelves.
    index: Index,
    mine: BTreeMap<OfferNumber, Mine>,
    /// Whose each slot of our own shelf is.
    my_slots: BTreeMap<u32, OfferNumber>,
    next_offer: u64,
    members: BTreeSet<NodeId>,
    supernode: NodeId,
    linked: BTreeSet<NodeId>,
    pending: BTreeMap<NodeId, Pending>,
    outputs: VecDeque<CatalogueOutput>,
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
            mine: BTreeMap::new(),
            my_slots: BTreeMap::new(),
            next_offer: 0,
            members: BTreeSet::from([own]),
            supernode: own,
            linked: BTreeSet::new(),
            pending: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// `B`: offers a file, once the disk has looked at it.
    pub fn offer(&mut self, path: PathBuf) -> Result<(), DiskError> {
        if self.mine.len() >= MAX_OFFERS as usize {
            return Err(mistake(
                ErrorCode::TooLarge,
                format!("{MAX_OFFERS} offers are enough; withdraw some with `U`"),
            ));
        }
        if let Some(mine) = self.mine.values().find(|mine| mine.path == path) {
            let again = format!("{} is on offer already; `U` withdraws it", mine.path.display());
            return Err(mistake(ErrorCode::Exists, again));
        }
        let offer = OfferNumber(self.next_offer);
        self.next_offer += 1;
        self.mine.insert(offer, Mine { slot: None, path: path.clone() });
        self.outputs.push_back(CatalogueOutput::Disk(DiskRequest::Offer { offer, path }));
        Ok(())
    }

    /// `U`: withdraws an offer of ours.
    pub fn withdraw(&mut self, what: &str) -> Result<(), DiskError> {
        let own = self.identity.id();
        let found: Vec<OfferNumber> =
            self.mine.iter().filter(|(_, mine)| self.is_named(own, mine, what)).map(|(n, _)| *n).collect();
        match found.as_slice() {
            [] => Err(mistake(
                ErrorCode::NotFound,
                format!("you offer nothing called {what}; `G` lists what is on offer"),
            )),
            [offer] => {
                let offer = *offer;
                self.outputs.push_back(CatalogueOutput::Disk(DiskRequest::Forget { offer }));
                self.take_off(offer);
                Ok(())
            }
            _ => Err(mistake(ErrorCode::Ambiguous, format!("several of your offers are called {what}; use the hash"))),
        }
    }

    fn is_named(&self, own: NodeId, mine: &Mine, what: &str) -> bool {
        let offer = mine.slot.and_then(|slot| self.shelves.get(&own)?.slot(slot));
        let content = offer.and_then(|offer| offer.facts.content.as_ref());
        content
            .is_some_and(|content| content.name == what || content.hash.is_some_and(|hash| is_digits_of(what, &hash)))
            || mine.path.as_os_str() == what
    }

    /// `G`: what is on offer, by name. Files that are still being hashed are not.
    pub fn files(&self) -> Vec<FileListing> {
        let mut files: Vec<FileListing> = self
            .listings()
            .map(|listing| {
                let Listing { hash, size, name, holders } = listing;
                FileListing { name, size, hash, holders }
            })
            .collect();
        files.sort_by(|a, b| (&a.name, a.hash).cmp(&(&b.name, b.hash)));
        files
    }

    /// `R`: the content that a name, a hash or the beginning of one stands for. Of contents with one hash and different sizes, of which one
    /// must be a lie, the one with more holders is meant.
    pub fn find(&self, what: &str) -> Result<Listing, DiskError> {
        let named: BTreeSet<Key> = self
            .index
            .named(what)
            .filter(|(_, owner)| self.members.contains(owner))
            .filter_map(|(key, _)| key)
            .collect();
        let by_name = !named.is_empty();
        let keys: Vec<Key> = match by_name {
            true => named.into_iter().collect(),
            false if what.len() >= MIN_DIGITS => self.index.beginning_with(what.to_ascii_lowercase()).collect(),
            false => Vec::new(),
        };
        let mut found: BTreeMap<FileHash, Listing> = BTreeMap::new();
        for listing in keys.into_iter().filter_map(|key| self.listing(key)) {
            match found.get(&listing.hash) {
                Some(known) if known.holders.len() >= listing.holders.len() => {}
                _ => drop(found.insert(listing.hash, listing)),
            }
        }
        let mut listings = found.into_values();
        match (listings.next(), listings.next()) {
            (Some(listing), None) => {
                let name = if by_name { what.to_owned() } else { listing.name };
                Ok(Listing { name, ..listing })
            }
            (Some(_), Some(_)) => Err(mistake(
                ErrorCode::Ambiguous,
                format!("several files are called {what}; use the hash that `G` shows"),
            )),
            (None, _) if self.index.named(what).any(|(_, owner)| self.members.contains(&owner)) => Err(mistake(
                ErrorCode::NotFound,
                format!("{what} is still being hashed by its owner; try again in a moment"),
            )),
            (None, _) => Err(mistake(ErrorCode::NotFound, format!("nobody offers {what}; `G` lists what is on offer"))),
        }
    }

    /// Who else holds this content.
    pub fn holders(&self, hash: &FileHash, size: u64) -> Vec<NodeId> {
        let own = self.identity.id();
        let members = self.index.holders((*hash, size)).map(|(owner, _)| owner);
        members.filter(|owner| *owner != own && self.members.contains(owner)).collect()
    }

    /// Our own offer of this content, and its size.
    pub fn own(&self, hash: &FileHash) -> Option<(OfferNumber, u64)> {
        let own = self.identity.id();
        let shelf = self.shelves.get(&own)?;
        let places = self.index.of(*hash).filter(|(owner, _)| *owner == own);
        places.map(|(_, slot)| slot).find_map(|slot| {
            let content = shelf.slot(slot)?.facts.content.as_ref()?;
            Some((*self.my_slots.get(&slot)?, content.size))
        })
    }

    /// What the disk says of an offer of ours.
    pub fn handle_disk(&mut self, reply: DiskReply) {
        match reply {
            DiskReply::Found { offer, name, size } => self.on_found(offer, name, size),
            DiskReply::Hashed { offer, hash } => self.on_hashed(offer, hash),
            DiskReply::OfferFailed { offer, error } => {
                if let Some(mine) = self.take_off(offer) {
                    let message = format!("{}: {}", mine.path.display(), error.message);
                    self.tell(Event::Error { command: Some('B'), code: error.code, message });
                }
            }
            _ => {}
        }
    }

    fn on_found(&mut self, offer: OfferNumber, name: String, size: u64) {
        let Some(shelf) = self.shelves.get(&self.identity.id()) else { return };
        if !self.mine.contains_key(&offer) {
            return; // withdrawn in the meantime
        }
        if shelf.contents().any(|content| content.name == name) {
            self.mine.remove(&offer);
            self.outputs.push_back(CatalogueOutput::Disk(DiskRequest::Forget { offer }));
            let message = format!("you offer {name} already; `U {name}` withdraws it");
            return self.tell(Event::Error { command: Some('B'), code: ErrorCode::Exists, message });
        }
        let slot = shelf.free_slot();
        if let Some(mine) = self.mine.get_mut(&offer) {
            mine.slot = Some(slot);
        }
        self.my_slots.insert(slot, offer);
        self.change_own(slot, Some(Content { name, size, hash: None }));
    }

    fn on_hashed(&mut self, offer: OfferNumber, hash: FileHash) {
        let Some(slot) = self.mine.get(&offer).and_then(|mine| mine.slot) else { return };
        let shelf = self.shelves.get(&self.identity.id());
        let content = shelf.and_then(|shelf| shelf.slot(slot)).and_then(|offer| offer.facts.content.clone());
        if let Some(content) = content {
            self.change_own(slot, Some(Content { hash: Some(hash), ..content }));
        }
    }

    fn take_off(&mut self, offer: OfferNumber) -> Option<Mine> {
        let mine = self.mine.remove(&offer)?;
        if let Some(slot) = mine.slot {
            self.my_slots.remove(&slot);
            self.change_own(slot, None);
        }
        Some(mine)
    }

    fn change_own(&mut self, slot: u32, content: Option<Content>) {
        let own = self.identity.id();
        let Some(shelf) = self.shelves.get_mut(&own) else { return };
        let facts = OfferFacts { owner: own, start: self.start, version: shelf.next_version(), slot, content };
        let content = facts.content.clone();
        if let Some(change) = shelf.put(Offer::sign(&self.identity, facts)) {
            self.reindex(own, &change.cleared, Some(slot).zip(content.as_ref()));
            self.tell_change(own, change);
            self.pass_on(own, Some(slot), own);
        }
    }

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

    /// An offer that its owner signed.
    fn take(&mut self, now: Instant, from: NodeId, offer: Offer) {
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

    /// Keeps the index in step with the shelves.
    fn reindex(&mut self, owner: NodeId, cleared: &[(u32, Content)], come: Option<(u32, &Content)>) {
        for (slot, content) in cleared {
            self.index.remove(owner, *slot, content);
        }
        if let Some((slot, content)) = come {
            self.index.add(owner, slot, content);
        }
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
    fn pass_on(&mut self, owner: NodeId, slot: Option<u32>, from: NodeId) {
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

    fn greet(&mut self, peer: NodeId) {
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

    /// What is wanted of others.
    pub fn poll_output(&mut self) -> Option<CatalogueOutput> {
        self.outputs.pop_front()
    }

    fn own_digest(&self) -> Digest {
        let own = self.identity.id();
        let empty = Shelf::new(Instant::ZERO);
        Digest::sign(&self.identity, self.shelves.get(&own).unwrap_or(&empty).facts(own, self.start))
    }

    /// What is known of a content that members offer; the name is that of its first holder.
    fn listing(&self, key: Key) -> Option<Listing> {
        let places = self.index.holders(key).filter(|(owner, _)| self.members.contains(owner));
        let places: Vec<(NodeId, u32)> = places.collect();
        let (owner, slot) = places.first()?;
        let content = self.shelves.get(owner)?.slot(*slot)?.facts.content.as_ref()?;
        let holders = places.iter().map(|(owner, _)| *owner).collect();
        Some(Listing { hash: key.0, size: key.1, name: content.name.clone(), holders })
    }

    /// The same content offered by several is one listing.
    fn listings(&self) -> impl Iterator<Item = Listing> + '_ {
        self.index.contents().filter_map(|key| self.listing(key))
    }

    fn tell_change(&mut self, owner: NodeId, change: Change) {
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

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(CatalogueOutput::Event(event));
    }
}

fn offered(id: NodeId, content: &Content) -> Offered {
    let Content { name, size, hash } = content.clone();
    Offered { name, size, hash, id, kind: OfferKind::File }
}

fn mistake(code: ErrorCode, message: String) -> DiskError {
    DiskError { code, message }
}

/// Whether `what` is the hash, or at least the first eight digits of it.
fn is_digits_of(what: &str, hash: &FileHash) -> bool {
    what.len() >= MIN_DIGITS && hash.to_string().starts_with(&what.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
