//! What the node asks of the disk, and what the disk answers.
//!
//! The node never waits for a disk: a request leaves through `Node::poll_disk`, its answer comes back through
//! `Node::handle_disk`. In a real run a thread of its own stands between; in virtual time the same worker is called in place.

use crate::node::api::ErrorCode;
use crate::node::files::FileHash;
use bytes::Bytes;
use std::path::PathBuf;

/// Names an offer of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferNumber(pub u64);

/// Names a download of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DownloadNumber(pub u64);

/// Names one question to which an answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// A run of bytes of a file. `start` is a multiple of [`CHUNK_GROUP`](super::CHUNK_GROUP); the end too, or the file's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// What the node asks of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskRequest {
    /// Look at a file that is to be offered and hash it. First [`DiskReply::Found`], then [`DiskReply::Hashed`].
    Offer {
        /// The new offer.
        offer: OfferNumber,
        /// The file, relative to the shared folder or absolute.
        path: PathBuf,
    },
    /// The offer is withdrawn: stop hashing it, forget its tree.
    Forget {
        /// Which offer.
        offer: OfferNumber,
    },
    /// Read a range of an offered file for someone who asked for it, with the hashes that prove it.
    Slice {
        /// To be repeated in the answer.
        token: Token,
        /// Which offer.
        offer: OfferNumber,
        /// Which bytes.
        range: ByteRange,
    },
    /// Begin a download, or take up an interrupted one. Checks the name, the target and the space.
    Begin {
        /// The new download.
        download: DownloadNumber,
        /// What it must hash to.
        hash: FileHash,
        /// How many bytes.
        size: u64,
        /// The name it is offered under: untrusted.
        name: String,
        /// Where to, if the user said so.
        save_as: Option<PathBuf>,
    },
    /// Verify a slice that came, and write what verifies.
    Write {
        /// Which download.
        download: DownloadNumber,
        /// Which bytes the slice is to hold.
        range: ByteRange,
        /// The slice as it came, in pieces: untrusted.
        slice: Vec<Bytes>,
    },
    /// Everything is written: check what needs it and give the file its final name.
    Finish {
        /// Which download.
        download: DownloadNumber,
    },
    /// Note the room that we are in, or that we left it. No answer.
    InRoom(Option<[u8; 16]>),
    /// Stop a download; what is verified stays on the disk for the next time.
    Pause {
        /// Which download.
        download: DownloadNumber,
    },
}

/// What the disk answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskReply {
    /// The file is there and can be read; hashing begins.
    Found {
        /// Which offer.
        offer: OfferNumber,
        /// The last component of its path.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
    /// The file's hash is known; slices can be asked for.
    Hashed {
        /// Which offer.
        offer: OfferNumber,
        /// The root of its tree.
        hash: FileHash,
    },
    /// The file cannot be offered, or stopped being what was offered. The offer is gone.
    OfferFailed {
        /// Which offer.
        offer: OfferNumber,
        /// Why.
        error: DiskError,
    },
    /// What a `Slice` asked for.
    Slice {
        /// As in the request.
        token: Token,
        /// The encoded slice, or why there is none.
        slice: Result<Bytes, DiskError>,
    },
    /// The download has a place.
    Begun {
        /// Which download.
        download: DownloadNumber,
        /// What is verified on the disk from an earlier time, in order, not touching.
        have: Vec<ByteRange>,
    },
    /// A slice verified and is on the disk.
    Written {
        /// Which download.
        download: DownloadNumber,
        /// Which bytes.
        range: ByteRange,
    },
    /// A slice did not verify; nothing of it was written.
    Corrupt {
        /// Which download.
        download: DownloadNumber,
        /// Which bytes.
        range: ByteRange,
    },
    /// The file is complete under its final name.
    Saved {
        /// Which download.
        download: DownloadNumber,
        /// Where.
        path: PathBuf,
    },
    /// The download cannot go on. It is forgotten; what is verified stays.
    Failed {
        /// Which download.
        download: DownloadNumber,
        /// Why.
        error: DiskError,
    },
}

/// Why the disk did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// The code for scripts.
    pub code: ErrorCode,
    /// What was wrong and what to do instead.
    pub message: String,
}
