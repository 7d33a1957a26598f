//! What an owner signs: one slot of its shelf, and the whole shelf.

use crate::node::files::FileHash;
use crate::node::identity::{Identity, NodeId};
use crate::node::record::Signature;
use crate::node::wire;
use serde::{Deserialize, Serialize};

/// Offers of one owner, at most.
pub const MAX_OFFERS: u32 = 10_000;

/// Bytes of a name: what a file system takes (ext4: 255).
pub const MAX_NAME_BYTES: usize = 255;

const OFFER_DOMAIN: &str = "anjer 2026 offer";
const DIGEST_DOMAIN: &str = "anjer 2026 digest";

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its name, raw.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash; not known while a large file is being hashed.
    pub hash: Option<FileHash>,
}

/// The part of an [`Offer`] that is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferFacts {
    /// Who offers it.
    pub owner: NodeId,
    /// When the owner's program started, in Unix milliseconds: a later program outdates all of an earlier one.
    pub start: u64,
    /// Rises with every change of any slot.
    pub version: u64,
    /// Which slot, below [`MAX_OFFERS`].
    pub slot: u32,
    /// What is in it; `None`: what was in it is withdrawn.
    pub content: Option<Content>,
}

/// One slot of an owner's shelf, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What is signed.
    pub facts: OfferFacts,
    /// By `facts.owner`.
    pub signature: Signature,
}

impl Offer {
    /// Ours.
    pub fn sign(identity: &Identity, facts: OfferFacts) -> Self {
        Self { signature: Signature(identity.sign(OFFER_DOMAIN, &wire::encode(&facts))), facts }
    }

    /// Whether it keeps the limits and its owner signed it.
    pub fn verify(&self) -> bool {
        let named = |content: &Content| (1..=MAX_NAME_BYTES).contains(&content.name.len());
        self.facts.slot < MAX_OFFERS
            && self.facts.content.as_ref().is_none_or(named)
            && self.facts.owner.verify(OFFER_DOMAIN, &wire::encode(&self.facts), &self.signature.0)
    }
}

/// The part of a [`Digest`] that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestFacts {
    /// Whose shelf.
    pub owner: NodeId,
    /// As in [`OfferFacts`].
    pub start: u64,
    /// The latest change.
    pub version: u64,
    /// Over every slot's number and version.
    pub hash: [u8; 32],
}

/// A whole shelf in 32 bytes, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// What is signed.
    pub facts: DigestFacts,
    /// By `facts.owner`.
    pub signature: Signature,
}

impl Digest {
    /// Ours.
    pub fn sign(identity: &Identity, facts: DigestFacts) -> Self {
        Self { signature: Signature(identity.sign(DIGEST_DOMAIN, &wire::encode(&facts))), facts }
    }

    /// Whether its owner signed it.
    pub fn verify(&self) -> bool {
        self.facts.owner.verify(DIGEST_DOMAIN, &wire::encode(&self.facts), &self.signature.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(identity: &Identity, name: &str) -> OfferFacts {
        let content = Some(Content { name: name.into(), size: 1, hash: None });
        OfferFacts { owner: identity.id(), start: 1, version: 1, slot: 0, content }
    }

    #[test]
    fn an_offer_is_worth_its_signature_and_keeps_its_limits() {
        let (ann, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        assert!(Offer::sign(&ann, facts(&ann, "notes.txt")).verify());
        assert!(!Offer::sign(&bob, facts(&ann, "notes.txt")).verify(), "signed by someone else");
        assert!(!Offer::sign(&ann, facts(&ann, "")).verify(), "no name");
        assert!(Offer::sign(&ann, facts(&ann, &"x".repeat(255))).verify());
        assert!(!Offer::sign(&ann, facts(&ann, &"x".repeat(256))).verify(), "no file system takes that name");
        let beyond = OfferFacts { slot: MAX_OFFERS, ..facts(&ann, "notes.txt") };
        assert!(!Offer::sign(&ann, beyond).verify(), "one offer too many");
    }
}
