//! The handshake: Noise (revision 34) by `snow`, patterns unchanged.
//!
//! | known of the other side | pattern | round trips before the caller's first data |
//! |---|---|---|
//! | nothing | XX | 1, with the third message in front |
//! | its key | IK | 1 |
//! | its key and a shared secret | IKpsk2 | 1 |
//!
//! The prologue binds the version, the pattern and the application. Randomness comes from a seed, so that a run can be repeated.

use crate::mrt::api::{PublicKey, SharedSecret, StaticKey};
use crate::mrt::crypto::aead::Secret;
use crate::mrt::wire::clear::VERSION;
use crate::mrt::wire::packet::Pattern;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};

/// The longest handshake message we write: keys, tags and a payload of at most 128 bytes.
pub(crate) const MAX_MESSAGE: usize = 512;

/// A handshake failed: wrong key, wrong secret, another application, or damaged bytes. Which one cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandshakeFailed;

/// One side of a handshake in progress.
pub(crate) struct Handshake {
    state: HandshakeState,
}

/// What a finished handshake gives.
pub(crate) struct Outcome {
    /// Seals what we send.
    pub(crate) send: Secret,
    /// Opens what we receive.
    pub(crate) receive: Secret,
    /// The other side's key.
    pub(crate) remote: PublicKey,
    /// The handshake hash, the same on both sides, unique to this handshake.
    pub(crate) binding: [u8; 32],
}

impl Handshake {
    /// The caller's side. `remote` is needed for IK and IKpsk2, `secret` for IKpsk2.
    pub(crate) fn initiator(
        pattern: Pattern,
        local: &StaticKey,
        application: &[u8],
        remote: Option<&PublicKey>,
        secret: Option<&SharedSecret>,
        seed: [u8; 32],
    ) -> Result<Self, HandshakeFailed> {
        let prologue = prologue(pattern, application);
        let mut builder = builder(pattern, local, &prologue, seed)?;
        if let Some(remote) = remote {
            builder = builder.remote_public_key(&remote.0)?;
        }
        if let Some(secret) = secret {
            builder = builder.psk(2, &secret.0)?;
        }
        Ok(Self { state: builder.build_initiator()? })
    }

    /// The answering side. The secret of IKpsk2 is given later, when the first message has said which one it is.
    pub(crate) fn responder(
        pattern: Pattern,
        local: &StaticKey,
        application: &[u8],
        seed: [u8; 32],
    ) -> Result<Self, HandshakeFailed> {
        let prologue = prologue(pattern, application);
        Ok(Self { state: builder(pattern, local, &prologue, seed)?.build_responder()? })
    }

    /// Sets the shared secret of IKpsk2 on the answering side.
    pub(crate) fn set_secret(&mut self, secret: &SharedSecret) -> Result<(), HandshakeFailed> {
        Ok(self.state.set_psk(2, &secret.0)?)
    }

    /// The next message of this side, carrying `payload`.
    pub(crate) fn write(&mut self, payload: &[u8]) -> Result<Vec<u8>, HandshakeFailed> {
        let mut message = vec![0; MAX_MESSAGE];
        let length = self.state.write_message(payload, &mut message)?;
        message.truncate(length);
        Ok(message)
    }

    /// Reads the other side's next message and returns its payload. A failure leaves the handshake as it was.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, HandshakeFailed> {
        let mut payload = vec![0; message.len()];
        let length = self.state.read_message(message, &mut payload)?;
        payload.truncate(length);
        Ok(payload)
    }

    /// The other side's key, once it was told.
    pub(crate) fn remote(&self) -> Option<PublicKey> {
        self.state.get_remote_static()?.try_into().ok().map(PublicKey)
    }

    /// The secrets, once both sides have said everything.
    pub(crate) fn finish(mut self) -> Result<Outcome, HandshakeFailed> {
        if !self.state.is_handshake_finished() {
            return Err(HandshakeFailed);
        }
        let remote = self.remote().ok_or(HandshakeFailed)?;
        let binding = self.state.get_handshake_hash().try_into().map_err(|_| HandshakeFailed)?;
        let (from_initiator, from_responder) = self.state.dangerously_get_raw_split();
        let (send, receive) = match self.state.is_initiator() {
            true => (from_initiator, from_responder),
            false => (from_responder, from_initiator),
        };
        Ok(Outcome { send: Secret::new(send), receive: Secret::new(receive), remote, binding })
    }
}

impl From<snow::Error> for HandshakeFailed {
    fn from(_: snow::Error) -> Self {
        Self
    }
}

fn prologue(pattern: Pattern, application: &[u8]) -> Vec<u8> {
    let mut prologue = b"anjer mrt".to_vec();
    prologue.extend_from_slice(&[VERSION, pattern as u8]);
    prologue.extend_from_slice(application);
    prologue
}

fn builder<'a>(
    pattern: Pattern,
    local: &'a StaticKey,
    prologue: &'a [u8],
    seed: [u8; 32],
) -> Result<Builder<'a>, HandshakeFailed> {
    let name = match pattern {
        Pattern::XX => "Noise_XX_25519_ChaChaPoly_BLAKE2s",
        Pattern::IK => "Noise_IK_25519_ChaChaPoly_BLAKE2s",
        Pattern::IKpsk2 => "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
    };
    let builder = Builder::with_resolver(name.parse()?, Box::new(Seeded { seed }));
    Ok(builder.local_private_key(local.as_bytes())?.prologue(prologue)?)
}

/// snow's own primitives, with our randomness.
struct Seeded {
    seed: [u8; 32],
}

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SeededRandom(StdRng::from_seed(self.seed))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// `StdRng` is a cryptographically secure generator; its seed comes from the system in a real run.
struct SeededRandom(StdRng);

impl Random for SeededRandom {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> StaticKey {
        StaticKey::from_bytes([byte; 32])
    }

    #[test]
    fn both_sides_of_every_pattern_end_with_the_same_secrets() {
        let secret = SharedSecret([9; 32]);
        for pattern in [Pattern::XX, Pattern::IK, Pattern::IKpsk2] {
            let remote = (pattern != Pattern::XX).then(|| key(2).public());
            let psk = (pattern == Pattern::IKpsk2).then_some(&secret);
            let mut caller =
                Handshake::initiator(pattern, &key(1), b"test", remote.as_ref(), psk, [5; 32]).expect("built");
            let mut callee = Handshake::responder(pattern, &key(2), b"test", [6; 32]).expect("built");
            callee.read(&caller.write(b"").expect("written")).expect("read");
            if psk.is_some() {
                callee.set_secret(&secret).expect("32 bytes");
            }
            assert_eq!(caller.read(&callee.write(b"two").expect("written")).expect("read"), b"two");
            if pattern == Pattern::XX {
                assert_eq!(callee.read(&caller.write(b"three").expect("written")).expect("read"), b"three");
            }
            let (caller, callee) = (caller.finish().expect("done"), callee.finish().expect("done"));
            assert_eq!(caller.binding, callee.binding);
            assert_eq!((caller.remote, callee.remote), (key(2).public(), key(1).public()));
        }
    }

    #[test]
    fn another_application_cannot_shake_hands() {
        let mut caller =
            Handshake::initiator(Pattern::IK, &key(1), b"chat", Some(&key(2).public()), None, [5; 32]).expect("built");
        let mut callee = Handshake::responder(Pattern::IK, &key(2), b"mail", [6; 32]).expect("built");
        assert_eq!(callee.read(&caller.write(b"").expect("written")), Err(HandshakeFailed));
    }
}
