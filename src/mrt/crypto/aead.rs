//! One direction's sealing key: a secret becomes an AEAD key and an IV, a packet number becomes a nonce.

use crate::mrt::wire::number::PacketNumber;
use ring::aead::{AES_128_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Which cipher seals packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// Fast where both processors have AES instructions.
    Aes128Gcm,
    /// Fast everywhere else.
    ChaCha20Poly1305,
}

impl Cipher {
    /// Whether this machine would rather use AES.
    pub(crate) fn aes_is_fast() -> bool {
        #[cfg(target_arch = "x86_64")]
        let fast = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let fast = std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let fast = false;
        fast
    }
}

/// What a direction's keys are made from; the next one follows from it (key update).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    /// A secret from the handshake.
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret of the next key phase. Knowing it does not give this one back.
    pub(crate) fn next(&self) -> Self {
        Self(blake3::derive_key("anjer mrt 1 next key phase", &self.0))
    }

    /// The secret for what is relayed over the connection.
    pub(crate) fn for_relaying(&self) -> Self {
        Self(blake3::derive_key("anjer mrt 1 relay", &self.0))
    }
}

/// Seals or opens the packets of one direction in one key phase.
pub(crate) struct PacketKey {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
}

impl PacketKey {
    pub(crate) fn new(cipher: Cipher, secret: &Secret) -> Self {
        let mut material = [0; 44];
        blake3::Hasher::new_derive_key("anjer mrt 1 packet key and iv")
            .update(&secret.0)
            .finalize_xof()
            .fill(&mut material);
        let (key_bytes, rest) = material.split_at(32);
        let mut iv = [0; NONCE_LEN];
        iv.copy_from_slice(rest);
        let (algorithm, key_bytes) = match cipher {
            Cipher::Aes128Gcm => (&AES_128_GCM, key_bytes.split_at(16).0),
            Cipher::ChaCha20Poly1305 => (&CHACHA20_POLY1305, key_bytes),
        };
        #[expect(clippy::expect_used, reason = "the length is the algorithm's own")]
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key_bytes).expect("a key of the algorithm's length"));
        material.zeroize();
        Self { key, iv }
    }

    /// Seals `body` in place and returns the tag that goes behind it.
    pub(crate) fn seal(&self, number: PacketNumber, header: &[u8], body: &mut [u8]) -> [u8; 16] {
        #[expect(
            clippy::expect_used,
            reason = "fails only for bodies of gigabytes; a datagram has at most 65,507 bytes"
        )]
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(number), Aad::from(header), body)
            .expect("a datagram is short enough to seal");
        let mut bytes = [0; 16];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Opens `body`, which ends in its tag, in place. `None`: not sealed with this key, number and header; `body` is then undefined.
    pub(crate) fn open<'a>(&self, number: PacketNumber, header: &[u8], body: &'a mut [u8]) -> Option<&'a mut [u8]> {
        self.key.open_in_place(self.nonce(number), Aad::from(header), body).ok()
    }

    /// RFC 9001 §5.3: the packet number, as long as the IV, exclusive-or the IV. Numbers are never reused, so nonces are not.
    fn nonce(&self, number: PacketNumber) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number_byte) in nonce.iter_mut().skip(NONCE_LEN - 8).zip(number.0.to_be_bytes()) {
            *byte ^= number_byte;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_with_the_same_number_and_header() {
        for cipher in [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305] {
            let key = PacketKey::new(cipher, &Secret::new([3; 32]));
            let mut sealed = b"hello".to_vec();
            let tag = key.seal(PacketNumber(9), b"header", &mut sealed);
            sealed.extend_from_slice(&tag);
            assert_eq!(key.open(PacketNumber(9), b"header", &mut sealed.clone()), Some(&mut b"hello".to_vec()[..]));
            assert_eq!(key.open(PacketNumber(8), b"header", &mut sealed.clone()), None);
            assert_eq!(key.open(PacketNumber(9), b"Header", &mut sealed.clone()), None);
            let next = PacketKey::new(cipher, &Secret::new([3; 32]).next());
            assert_eq!(next.open(PacketNumber(9), b"header", &mut sealed), None);
        }
    }
}
