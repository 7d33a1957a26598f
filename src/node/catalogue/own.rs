//! What we offer ourselves: from the command to the signed slot on our shelf.

use super::listing::is_digits_of;
use super::offer::{Content, MAX_OFFERS, Offer, OfferFacts};
use super::table::{Catalogue, CatalogueOutput, mistake};
use crate::node::api::{ErrorCode, Event};
use crate::node::disk::{DiskError, DiskReply, DiskRequest, OfferNumber};
use crate::node::files::FileHash;
use crate::node::identity::NodeId;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Our offers.
#[derive(Debug, Default)]
pub(super) struct OwnOffers {
    offers: BTreeMap<OfferNumber, Mine>,
    /// Whose each slot of our own shelf is.
    slots: BTreeMap<u32, OfferNumber>,
    /// The number of the next one.
    pub(super) next: u64,
}

/// One offer of ours.
#[derive(Debug)]
struct Mine {
    /// Where it is on the shelf, once the disk found it.
    slot: Option<u32>,
    /// How it was named in the command.
    path: PathBuf,
}

impl Catalogue {
    /// `B`: offers a file, once the disk has looked at it.
    pub fn offer(&mut self, path: PathBuf) -> Result<(), DiskError> {
        if self.mine.offers.len() >= MAX_OFFERS as usize {
            return Err(mistake(
                ErrorCode::TooLarge,
                format!("{MAX_OFFERS} offers are enough; withdraw some with `U`"),
            ));
        }
        if let Some(mine) = self.mine.offers.values().find(|mine| mine.path == path) {
            let again = format!("{} is on offer already; `U` withdraws it", mine.path.display());
            return Err(mistake(ErrorCode::Exists, again));
        }
        let offer = OfferNumber(self.mine.next);
        self.mine.next += 1;
        self.mine.offers.insert(offer, Mine { slot: None, path: path.clone() });
        self.outputs.push_back(CatalogueOutput::Disk(DiskRequest::Offer { offer, path }));
        Ok(())
    }

    /// `U`: withdraws an offer of ours.
    pub fn withdraw(&mut self, what: &str) -> Result<(), DiskError> {
        let own = self.identity.id();
        let found: Vec<OfferNumber> =
            self.mine.offers.iter().filter(|(_, mine)| self.is_named(own, mine, what)).map(|(n, _)| *n).collect();
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

    /// Our own offer of this content, and its size.
    pub fn own(&self, hash: &FileHash) -> Option<(OfferNumber, u64)> {
        let own = self.identity.id();
        let shelf = self.shelves.get(&own)?;
        let places = self.index.of(*hash).filter(|(owner, _)| *owner == own);
        places.map(|(_, slot)| slot).find_map(|slot| {
            let content = shelf.slot(slot)?.facts.content.as_ref()?;
            Some((*self.mine.slots.get(&slot)?, content.size))
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
        if !self.mine.offers.contains_key(&offer) {
            return; // withdrawn in the meantime
        }
        if shelf.contents().any(|content| content.name == name) {
            self.mine.offers.remove(&offer);
            self.outputs.push_back(CatalogueOutput::Disk(DiskRequest::Forget { offer }));
            let message = format!("you offer {name} already; `U {name}` withdraws it");
            return self.tell(Event::Error { command: Some('B'), code: ErrorCode::Exists, message });
        }
        let slot = shelf.free_slot();
        if let Some(mine) = self.mine.offers.get_mut(&offer) {
            mine.slot = Some(slot);
        }
        self.mine.slots.insert(slot, offer);
        self.change_own(slot, Some(Content { name, size, hash: None }));
    }

    fn on_hashed(&mut self, offer: OfferNumber, hash: FileHash) {
        let Some(slot) = self.mine.offers.get(&offer).and_then(|mine| mine.slot) else { return };
        let shelf = self.shelves.get(&self.identity.id());
        let content = shelf.and_then(|shelf| shelf.slot(slot)).and_then(|offer| offer.facts.content.clone());
        if let Some(content) = content {
            self.change_own(slot, Some(Content { hash: Some(hash), ..content }));
        }
    }

    fn take_off(&mut self, offer: OfferNumber) -> Option<Mine> {
        let mine = self.mine.offers.remove(&offer)?;
        if let Some(slot) = mine.slot {
            self.mine.slots.remove(&slot);
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
}
