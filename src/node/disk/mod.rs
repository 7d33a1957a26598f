//! The node's files: hashing what is offered, reading slices for others, writing what verifies.

pub mod request;

pub use request::{ByteRange, DiskError, DiskReply, DiskRequest, DownloadNumber, OfferNumber, Token};

/// Bytes of a file that are proven together: the leaves of the hash tree (bao-tree's chunk group of 2^6 KiB). What is
/// downloaded is asked for in multiples of it.
pub const CHUNK_GROUP: u64 = 64 << 10;
