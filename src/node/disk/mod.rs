//! The node's files: hashing what is offered, reading slices for others, writing what verifies.
//!
//! The promise: not a byte reaches the disk before it verified, not a file appears under its final name before it is whole, nothing
//! is written outside the folder that was meant, and what is verified outlives a killed program.
//!
//! ```text
//!  request     what the node asks, what the disk answers
//!  worker      one request at a time; long work in bounded steps between them
//!   ├ offer        a file of ours: is it what was hashed? slices of it
//!   ├ download     a file on its way to us: verified slices into a `.part`, then its final name
//!   │   ├ target       where it may go, and that nothing is in its place
//!   │   ├ name         names that others chose
//!   │   ├ journal      what survives the program
//!   │   └ pieces       a slice as it came, read without joining it
//!   ├ whereabouts  the room that we are in, for whoever looks for us when we are started again
//!   ├ tree         the BLAKE3 tree: its geometry, and hashing in steps
//!   ├ runs         which bytes are verified
//!   └ error        what the system said, as a code and the way out
//! ```
//!
//! Reading order: as above. On the disk:
//!
//! | file | is |
//! |---|---|
//! | `<state>/outboards/<offer>` | the hash pairs of one offer in post order; made anew at every start |
//! | `<state>/partial/<hash>` | what is verified of an interrupted download, and where its bytes are |
//! | `<state>/room` | the room that we are in, until we leave it |
//! | `<target folder>/<name>.<8 digits of the hash>.part` | its bytes |
//!
//! This layer knows nothing of members, rooms or the transport.

mod download;
mod error;
mod journal;
mod name;
mod offer;
mod pieces;
mod runs;
mod target;
mod tree;
mod whereabouts;

pub mod request;
pub mod worker;

pub use request::{ByteRange, DiskError, DiskReply, DiskRequest, DownloadNumber, OfferNumber, Token};
pub use whereabouts::last_room;
pub use worker::Worker;

/// Bytes of a file that are proven together: the leaves of the hash tree (bao-tree's chunk group of 2^6 KiB). What is
/// downloaded is asked for in multiples of it.
pub const CHUNK_GROUP: u64 = 64 << 10;

/// Bytes of a file that one slice holds, at most: it is in memory whole, on both sides.
pub const MAX_SLICE: u64 = 1 << 20;

/// Bytes of an encoded slice, at most: the data, and 64 for each hash pair on the way to it. A range of 16 chunk groups touches
/// fewer than 16 pairs within and two paths from the root, each under 32 pairs for any file up to [`MAX_FILE_SIZE`].
pub const MAX_ENCODED_SLICE: u64 = MAX_SLICE + 64 * (16 + 2 * 32);

/// Bytes of a file, at most: 16 TiB, what ext4 holds. A peer may announce any size; beyond this nothing is computed with it.
pub const MAX_FILE_SIZE: u64 = 16 << 40;
