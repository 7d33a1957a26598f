//! What a member says of itself, signed by itself: key, name, where to find it.

use crate::mrt::PublicKey;
use crate::node::identity::{Identity, NodeId};
use crate::node::wire;
use crate::stun::fingerprint::Fingerprint;
use core::fmt;
use core::ops::{Deref, DerefMut};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::SocketAddr;
use std::sync::Arc;

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Addresses of one record, at most.
pub const MAX_ADDRESSES: usize = 8;

/// The version of what nodes say to each other. A higher one is answered with a refusal that says so.
pub const PROTOCOL_VERSION: u16 = 5;

/// Which program this is: its version, as a number. Of those who speak the same protocol one may crash more often than another.
pub const BUILD: u32 = build_of(env!("CARGO_PKG_VERSION"));

/// Major, minor and patch of a version, ten bits each.
const fn build_of(version: &str) -> u32 {
    let (mut bytes, mut parts, mut part) = (version.as_bytes(), 0_u32, 0_u32);
    while let Some((byte, rest)) = bytes.split_first() {
        match *byte {
            digit @ b'0'..=b'9' => part = part.wrapping_mul(10).wrapping_add((digit - b'0') as u32),
            b'.' => (parts, part) = (parts << 10 | part & 1023, 0),
            // What follows a hyphen or a plus.
            _ => break,
        }
        bytes = rest;
    }
    parts << 10 | part & 1023
}

const DOMAIN: &str = "anjer 2026 member record";

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (head, tail) = self.0.split_at(32);
        (<[u8; 32]>::try_from(head).unwrap_or_default(), <[u8; 32]>::try_from(tail).unwrap_or_default())
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (head, tail) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        <[u8; 64]>::try_from([head, tail].concat()).map(Self).map_err(|_| D::Error::custom("not 64 bytes"))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(self.0.split_at(4).0))
    }
}

/// The part of a [`MemberRecord`] that is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// Who.
    pub id: NodeId,
    /// The X25519 key that connections to it are made with.
    pub noise: [u8; 32],
    /// The name it gives itself: at most [`MAX_NAME_BYTES`], raw.
    pub name: String,
    /// Where it can be reached: at most [`MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
    /// What its NAT is like, as far as it knows.
    pub nat: Fingerprint,
    /// The protocol it speaks.
    pub version: u16,
    /// The program that speaks it.
    pub build: u32,
    /// Rises with every change, so that an old record cannot replace a newer one.
    pub sequence: u64,
}

/// A member's facts with its signature. A copy of it is another hand on the same bytes: a room's view is copied whenever it changes, and
/// nearly all records in it stay what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord(Arc<SignedFacts>);

/// What a [`MemberRecord`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedFacts {
    /// What is said.
    pub facts: MemberFacts,
    /// Made with the key that `facts.id` is.
    pub signature: Signature,
}

impl Deref for MemberRecord {
    type Target = SignedFacts;

    fn deref(&self) -> &SignedFacts {
        &self.0
    }
}

impl DerefMut for MemberRecord {
    /// Of this copy alone.
    fn deref_mut(&mut self) -> &mut SignedFacts {
        Arc::make_mut(&mut self.0)
    }
}

impl Serialize for MemberRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MemberRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SignedFacts::deserialize(deserializer).map(|signed| Self(Arc::new(signed)))
    }
}

/// Why a record is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("the name is too long")]
    LongName,
    /// More addresses than [`MAX_ADDRESSES`].
    #[error("too many addresses")]
    ManyAddresses,
    /// Not signed by the key it names.
    #[error("the signature does not match")]
    BadSignature,
}

impl MemberRecord {
    /// Our own record, while nothing is known of our NAT. A name that is too long is cut, surplus addresses are left out.
    pub fn sign(identity: &Identity, name: &str, addresses: &[SocketAddr], sequence: u64) -> Self {
        Self::sign_behind(identity, name, addresses, Fingerprint::default(), sequence)
    }

    /// Our own record behind such a NAT.
    pub fn sign_behind(
        identity: &Identity,
        name: &str,
        addresses: &[SocketAddr],
        nat: Fingerprint,
        sequence: u64,
    ) -> Self {
        let facts = MemberFacts {
            id: identity.id(),
            noise: identity.noise().public().0,
            name: cut(name).to_owned(),
            addresses: addresses.iter().copied().take(MAX_ADDRESSES).collect(),
            nat,
            version: PROTOCOL_VERSION,
            build: BUILD,
            sequence,
        };
        Self::sign_facts(identity, facts)
    }

    fn sign_facts(identity: &Identity, facts: MemberFacts) -> Self {
        let signature = Signature(identity.sign(DOMAIN, &wire::encode(&facts)));
        Self(Arc::new(SignedFacts { facts, signature }))
    }

    /// The same, as another build of the program would say it.
    #[cfg(test)]
    pub(crate) fn of_build(&self, identity: &Identity, build: u32) -> Self {
        Self::sign_facts(identity, MemberFacts { build, ..self.facts.clone() })
    }

    /// Whether it keeps the limits and is signed by whom it names.
    pub fn verify(&self) -> Result<(), RecordError> {
        if self.facts.name.len() > MAX_NAME_BYTES {
            return Err(RecordError::LongName);
        }
        if self.facts.addresses.len() > MAX_ADDRESSES {
            return Err(RecordError::ManyAddresses);
        }
        if !self.facts.id.verify(DOMAIN, &wire::encode(&self.facts), &self.signature.0) {
            return Err(RecordError::BadSignature);
        }
        Ok(())
    }

    /// Whose it is.
    pub fn id(&self) -> NodeId {
        self.facts.id
    }

    /// The key that connections to it are made with.
    pub fn noise(&self) -> PublicKey {
        PublicKey(self.facts.noise)
    }
}

/// As much of `name` as is allowed, without half a character at the end.
fn cut(name: &str) -> &str {
    let longest = (0..=MAX_NAME_BYTES.min(name.len())).rev().find_map(|end| name.get(..end));
    longest.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> MemberRecord {
        MemberRecord::sign(&Identity::from_seed(&[1; 32]), "ann", &["127.0.0.1:7000".parse().unwrap()], 1)
    }

    #[test]
    fn a_build_is_a_version_as_a_number_that_rises_with_it() {
        let builds = ["0.1.0", "0.1.9", "0.1.10", "0.2.0-beta.3", "1.0.0", "1.12.3"].map(build_of);
        assert!(builds.is_sorted_by(|a, b| a < b), "{builds:?}");
        assert_eq!(builds[5], 1 << 20 | 12 << 10 | 3);
    }

    #[test]
    fn a_record_survives_the_wire_and_verifies() {
        let bytes = wire::encode(&record());
        let back: MemberRecord = wire::decode(&bytes, 1000).unwrap();
        assert_eq!(back, record());
        assert_eq!(back.verify(), Ok(()));
    }

    #[test]
    fn whoever_changes_a_record_breaks_it() {
        let mut changed = record();
        changed.facts.addresses.clear();
        assert_eq!(changed.verify(), Err(RecordError::BadSignature));
        let mut changed = record();
        changed.facts.id = Identity::from_seed(&[2; 32]).id();
        assert_eq!(changed.verify(), Err(RecordError::BadSignature));
    }

    #[test]
    fn names_and_addresses_are_capped_at_both_ends() {
        let identity = Identity::from_seed(&[1; 32]);
        let many: Vec<SocketAddr> = (0..20).map(|port| SocketAddr::from(([127, 0, 0, 1], 1000 + port))).collect();
        let ours = MemberRecord::sign(&identity, &"ü".repeat(100), &many, 1);
        assert_eq!(ours.verify(), Ok(()));
        assert_eq!((ours.facts.name.len(), ours.facts.addresses.len()), (64, 8));

        let mut long = ours.clone();
        long.facts.name.push('x');
        assert_eq!(long.verify(), Err(RecordError::LongName));
        let mut wide = ours;
        wide.facts.addresses = many;
        assert_eq!(wide.verify(), Err(RecordError::ManyAddresses));
    }
}
