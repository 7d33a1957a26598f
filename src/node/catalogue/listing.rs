//! What can be downloaded: by name, by hash or the beginning of one, and from whom.

use super::index::Key;
use super::table::{Catalogue, mistake};
use crate::node::api::{ErrorCode, FileListing};
use crate::node::disk::DiskError;
use crate::node::files::FileHash;
use crate::node::identity::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Fewest hex digits that name a hash.
const MIN_DIGITS: usize = 8;

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

impl Catalogue {
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

    /// The same content offered by several is one listing.
    fn listings(&self) -> impl Iterator<Item = Listing> + '_ {
        self.index.contents().filter_map(|key| self.listing(key))
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
}

/// Whether `what` is the hash, or at least the first eight digits of it.
pub(super) fn is_digits_of(what: &str, hash: &FileHash) -> bool {
    what.len() >= MIN_DIGITS && hash.to_string().starts_with(&what.to_ascii_lowercase())
}
