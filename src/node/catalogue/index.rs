//! Offers by content and by name, so that a question costs the same however many there are.

use super::offer::Content;
use crate::node::files::FileHash;
use crate::node::identity::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What makes two offers the same: the size is part of it, since it is part of what a download verifies against. Whoever offers a known
/// hash with another size offers something else.
pub(super) type Key = (FileHash, u64);

/// Where an offer is: on whose shelf, in which slot.
type Place = (NodeId, u32);

/// Every offer whose hash is known, and the names of the others.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_content: BTreeMap<Key, BTreeSet<Place>>,
    /// `None`: still being hashed.
    by_name: BTreeMap<String, BTreeSet<(Option<Key>, NodeId, u32)>>,
}

impl Index {
    /// Something is on offer.
    pub(super) fn add(&mut self, owner: NodeId, slot: u32, content: &Content) {
        let key = key(content);
        if let Some(key) = key {
            self.by_content.entry(key).or_default().insert((owner, slot));
        }
        self.by_name.entry(content.name.clone()).or_default().insert((key, owner, slot));
    }

    /// It is no more.
    pub(super) fn remove(&mut self, owner: NodeId, slot: u32, content: &Content) {
        let key = key(content);
        if let Some(key) = key
            && let Some(places) = self.by_content.get_mut(&key)
        {
            places.remove(&(owner, slot));
            if places.is_empty() {
                self.by_content.remove(&key);
            }
        }
        if let Some(places) = self.by_name.get_mut(&content.name) {
            places.remove(&(key, owner, slot));
            if places.is_empty() {
                self.by_name.remove(&content.name);
            }
        }
    }

    /// Who offers this content, each once, and in which slot first.
    pub(super) fn holders(&self, key: Key) -> impl Iterator<Item = Place> + '_ {
        let mut last = None;
        let places = self.by_content.get(&key).into_iter().flatten();
        places.copied().filter(move |(owner, _)| last.replace(*owner) != Some(*owner))
    }

    /// Everybody's offers of this hash, whatever their sizes.
    pub(super) fn of(&self, hash: FileHash) -> impl Iterator<Item = Place> + '_ {
        self.by_content.range((hash, 0)..=(hash, u64::MAX)).flat_map(|(_, places)| places).copied()
    }

    /// The contents that go by this name, with their owners; `None`: still being hashed.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = (Option<Key>, NodeId)> + '_ {
        self.by_name.get(name).into_iter().flatten().map(|(key, owner, _)| (*key, *owner))
    }

    /// The contents whose hash begins with these digits.
    pub(super) fn beginning_with(&self, digits: String) -> impl Iterator<Item = Key> + '_ {
        let from = (FileHash(least(&digits)), 0);
        self.by_content.range(from..).map(|(key, _)| *key).take_while(move |key| key.0.to_string().starts_with(&digits))
    }

    /// Everything whose hash is known.
    pub(super) fn contents(&self) -> impl Iterator<Item = Key> + '_ {
        self.by_content.keys().copied()
    }
}

fn key(content: &Content) -> Option<Key> {
    Some((content.hash?, content.size))
}

/// The lowest hash that begins with these hex digits; what is no digit counts as zero.
fn least(digits: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    let values = digits.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0));
    for (at, value) in values.enumerate() {
        let Some(byte) = hash.get_mut(at / 2) else { break };
        *byte |= if at % 2 == 0 { value << 4 } else { value };
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(name: &str, size: u64, hash: u8) -> Content {
        Content { name: name.into(), size, hash: Some(FileHash([hash; 32])) }
    }

    #[test]
    fn what_is_added_is_found_under_its_content_its_name_and_its_digits_until_it_is_removed() {
        let (ann, bob) = (NodeId([1; 32]), NodeId([2; 32]));
        let (mut index, film) = (Index::default(), content("film", 9, 0xab));
        index.add(ann, 0, &film);
        index.add(ann, 1, &film);
        index.add(bob, 7, &film);
        index.add(bob, 8, &content("film", 8, 0xab));
        let key = (FileHash([0xab; 32]), 9);
        assert_eq!(index.holders(key).collect::<Vec<_>>(), [(ann, 0), (bob, 7)]);
        assert_eq!(index.named("film").count(), 4);
        assert_eq!(index.beginning_with("abab".into()).collect::<Vec<_>>(), [(key.0, 8), key]);
        assert_eq!(index.beginning_with("abac".into()).count(), 0);
        assert_eq!(index.beginning_with("aba".into()).count(), 2, "half a byte");
        for (owner, slot) in [(ann, 0), (ann, 1), (bob, 7)] {
            index.remove(owner, slot, &film);
        }
        index.remove(bob, 8, &content("film", 8, 0xab));
        assert!(index.by_content.is_empty() && index.by_name.is_empty());
    }
}
