//! Who a node is: an Ed25519 key, from whose seed the Noise key is derived too.

use crate::mrt::StaticKey;
use core::fmt;
use data_encoding::{Encoding, Specification};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize, Serializer};
use std::sync::LazyLock;
use zeroize::Zeroize;

/// An Ed25519 public key: who said it, who leads, who holds a file.
///
/// Shown as the key's first 80 bits in an alphabet that sorts as the bytes do (base32hex, RFC 4648 §7, lower case), so that "the
/// lower id" means the same to a script and to the program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct NodeId(pub [u8; 32]);

/// Characters of a [`NodeId`] as it is shown.
pub const ID_TEXT_LEN: usize = 16;

static BASE32HEX_LOWER: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789abcdefghijklmnopqrstuv");
    #[expect(clippy::expect_used, reason = "a constant specification, checked by every test that prints an id")]
    specification.encoding().expect("32 distinct symbols")
});

impl NodeId {
    /// Whether `signature` over `message` in `domain` was made by this node.
    pub fn verify(&self, domain: &str, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(&separated(domain, message), &Signature::from_bytes(signature)).is_ok())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32HEX_LOWER.encode(&self.0[..10]))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for NodeId {
    /// As text for people and scripts, as bytes on the wire.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

/// A node's private keys.
pub struct Identity {
    signing: SigningKey,
    noise: StaticKey,
}

impl Identity {
    /// The identity that this seed stands for. The seed is the secret: keep it.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut noise = blake3::derive_key("anjer 2026 noise static key", seed);
        let identity = Self { signing: SigningKey::from_bytes(seed), noise: StaticKey::from_bytes(noise) };
        noise.zeroize();
        identity
    }

    /// Who we are to others.
    pub fn id(&self) -> NodeId {
        NodeId(self.signing.verifying_key().to_bytes())
    }

    /// The key that MRT connections are made with.
    pub const fn noise(&self) -> &StaticKey {
        &self.noise
    }

    /// Signs `message` for one purpose; the signature means nothing in another `domain`.
    pub fn sign(&self, domain: &str, message: &[u8]) -> [u8; 64] {
        self.signing.sign(&separated(domain, message)).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.id())
    }
}

/// The domain's length, the domain, the message: no two pairs give the same bytes.
fn separated(domain: &str, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + domain.len() + message.len());
    bytes.extend_from_slice(&(domain.len() as u64).to_be_bytes());
    bytes.extend_from_slice(domain.as_bytes());
    bytes.extend_from_slice(message);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_only_in_its_own_domain() {
        let identity = Identity::from_seed(&[7; 32]);
        let signature = identity.sign("line", b"hello");
        assert!(identity.id().verify("line", b"hello", &signature));
        assert!(!identity.id().verify("record", b"hello", &signature));
        assert!(!identity.id().verify("linehello", b"", &signature));
    }

    #[test]
    fn ids_sort_as_they_read() {
        let mut ids: Vec<NodeId> = (0..64).map(|seed| Identity::from_seed(&[seed; 32]).id()).collect();
        ids.sort();
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
        assert!(texts.iter().all(|text| text.len() == ID_TEXT_LEN));
    }
}
