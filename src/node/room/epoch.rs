//! Names for a room, a reign and a place in the order.

use crate::node::identity::NodeId;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Names a room. Random, chosen by whoever opened it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RoomId(pub [u8; 16]);

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

/// One supernode's time: which one it is, and who leads. The supernode's key makes it unique: two that claim the same counter
/// begin two epochs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// Rises by one with every change of supernode.
    pub counter: u64,
    /// Who leads.
    pub supernode: NodeId,
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:?}", self.counter, self.supernode)
    }
}

/// A BLAKE3 hash that chains lines together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct ChainHash(pub [u8; 32]);

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

/// How far the order goes: the last place in it, and the hash over everything up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// The last place that is taken; 0 when nothing was said.
    pub seq: u64,
    /// The hash over all lines up to there.
    pub chain: ChainHash,
}
