//! The first frame on a connection: who this is, and the proof that it speaks from this very end.
//!
//! ```text
//!   version (2, big-endian) | program (8) | signature (64) | record (bincode)
//! ```

use crate::mrt::PublicKey;
use crate::node::identity::{Identity, NodeId};
use crate::node::record::{MemberRecord, PROTOCOL_VERSION};
use crate::node::wire;

use super::frame::MAX_HELLO;

const DOMAIN: &str = "anjer 2026 hello";

/// What one end knows of a connection, to prove itself over it or to check the other end's proof.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Noise's handshake hash: no other connection has it.
    pub(super) binding: [u8; 32],
    /// The Noise key of the end that proves itself.
    pub(super) prover: PublicKey,
    /// The Noise key of the other end.
    pub(super) checker: PublicKey,
}

/// Why a hello is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelloError {
    /// It speaks another version of the protocol.
    #[error("version {0} of the protocol is spoken there, {PROTOCOL_VERSION} here: update the older one")]
    Version(u16),
    /// Not laid out like a hello, or the record breaks its limits.
    #[error("malformed hello")]
    Malformed,
    /// The record is about another key than the connection's.
    #[error("the record belongs to another key")]
    OtherKey,
    /// The signature is not this connection's.
    #[error("the signature does not match")]
    BadSignature,
}

/// A hello that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The start of the other end's program: another number says that it started again.
    pub program: u64,
    /// What it says of itself.
    pub record: MemberRecord,
}

impl Hello {
    /// Signs it for one connection.
    pub(super) fn emit(&self, identity: &Identity, ends: Ends) -> Vec<u8> {
        let signature = identity.sign(DOMAIN, &self.signed(ends));
        let mut bytes = PROTOCOL_VERSION.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.program.to_be_bytes());
        bytes.extend_from_slice(&signature);
        bytes.extend_from_slice(&wire::encode(&self.record));
        bytes
    }

    /// The hello in `bytes`, if it proves that the node it names holds the prover's end.
    pub(super) fn check(bytes: &[u8], ends: Ends) -> Result<Self, HelloError> {
        let (version, rest) = bytes.split_first_chunk::<2>().ok_or(HelloError::Malformed)?;
        let version = u16::from_be_bytes(*version);
        if version != PROTOCOL_VERSION {
            return Err(HelloError::Version(version));
        }
        let (program, rest) = rest.split_first_chunk::<8>().ok_or(HelloError::Malformed)?;
        let (signature, record) = rest.split_first_chunk::<64>().ok_or(HelloError::Malformed)?;
        let record: MemberRecord = wire::decode(record, MAX_HELLO).map_err(|_| HelloError::Malformed)?;
        if record.noise() != ends.prover {
            return Err(HelloError::OtherKey);
        }
        let hello = Self { program: u64::from_be_bytes(*program), record };
        if !hello.id().verify(DOMAIN, &hello.signed(ends), signature) {
            return Err(HelloError::BadSignature);
        }
        hello.record.verify().map_err(|_| HelloError::Malformed)?;
        Ok(hello)
    }

    /// Who says it.
    pub(super) fn id(&self) -> NodeId {
        self.record.id()
    }

    fn signed(&self, ends: Ends) -> Vec<u8> {
        [&self.program.to_be_bytes(), ends.binding.as_slice(), &ends.prover.0, &ends.checker.0].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(prover: &Identity, checker: &Identity) -> Ends {
        Ends { binding: [5; 32], prover: prover.noise().public(), checker: checker.noise().public() }
    }

    fn hello(identity: &Identity) -> Hello {
        Hello { program: 7, record: MemberRecord::sign(identity, "ann", &[], 1) }
    }

    #[test]
    fn a_hello_proves_its_sender() {
        let (ann, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let bytes = hello(&ann).emit(&ann, ends(&ann, &bob));
        assert_eq!(Hello::check(&bytes, ends(&ann, &bob)), Ok(hello(&ann)));
    }

    /// Mallory, in the middle of two connections, cannot pass Ann's hello on: it is bound to the other handshake and keys.
    #[test]
    fn a_hello_counts_on_its_own_connection_only() {
        let [ann, bob, mallory] = [1, 2, 3].map(|seed| Identity::from_seed(&[seed; 32]));
        let to_mallory = hello(&ann).emit(&ann, ends(&ann, &mallory));
        assert_eq!(Hello::check(&to_mallory, ends(&mallory, &bob)), Err(HelloError::OtherKey));
        assert_eq!(Hello::check(&to_mallory, ends(&ann, &bob)), Err(HelloError::BadSignature));
        let other_binding = Ends { binding: [6; 32], ..ends(&ann, &mallory) };
        assert_eq!(Hello::check(&to_mallory, other_binding), Err(HelloError::BadSignature));
    }

    #[test]
    fn somebody_elses_record_is_no_proof() {
        let (ann, mallory) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[3; 32]));
        let stolen = hello(&ann).emit(&mallory, ends(&mallory, &ann));
        assert_eq!(Hello::check(&stolen, ends(&mallory, &ann)), Err(HelloError::OtherKey));
    }

    #[test]
    fn another_version_is_named_and_nonsense_is_malformed() {
        let (ann, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let mut bytes = hello(&ann).emit(&ann, ends(&ann, &bob));
        for length in 2..bytes.len() {
            assert!(Hello::check(&bytes[..length], ends(&ann, &bob)).is_err());
        }
        bytes[1] = 9;
        assert_eq!(Hello::check(&bytes, ends(&ann, &bob)), Err(HelloError::Version(9)));
        assert_eq!(Hello::check(&[], ends(&ann, &bob)), Err(HelloError::Malformed));
    }
}
