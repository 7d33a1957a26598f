//! Keys: who is at the other end, and nobody else reads or changes what is said.
//!
//! ```text
//!  noise       the handshake (Noise XX, IK, IKpsk2)  ──►  two secrets, the other's key, the handshake hash
//!  aead        one secret  ──►  one sealing key
//!  keys        both directions, key update, what an old packet may still be opened with
//!  replay      which packet numbers were seen
//!  lane        tags for what is relayed
//!  cookie      proof of an address, without memory
//!  parameters  what each side tells the other about its limits, inside the handshake
//! ```

pub(crate) mod aead;
pub(crate) mod cookie;
pub(crate) mod keys;
pub(crate) mod lane;
pub(crate) mod noise;
pub(crate) mod parameters;
pub mod replay;
