//! A file of ours that others may fetch: hashed once, then served in slices for as long as it is what was hashed.

use super::{ByteRange, CHUNK_GROUP, DiskError, MAX_SLICE, tree};
use crate::node::api::ErrorCode;
use crate::node::files::FileHash;
use bao_tree::ChunkRanges;
use bao_tree::io::EncodeError;
use bao_tree::io::outboard::PostOrderOutboard;
use bao_tree::io::sync::{ReadAt, encode_ranges_validated};
use bytes::Bytes;
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What tells a file from what it was, without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint {
    size: u64,
    modified: Option<SystemTime>,
    /// Device and inode: a file put in its place is another file.
    identity: (u64, u64),
}

impl Fingerprint {
    fn of(found: &Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            (found.dev(), found.ino())
        };
        #[cfg(not(unix))]
        let identity = (0, 0);
        Self { size: found.len(), modified: found.modified().ok(), identity }
    }
}

/// Why there is no slice.
#[derive(Debug)]
pub(super) enum SliceError {
    /// The question was wrong, or the moment; the offer stands.
    Refused(DiskError),
    /// The file is not what was offered: the offer is to go.
    Gone(DiskError),
}

/// Hashing under way. Open only while it is among the first in the queue, so that any number of offers can wait.
struct Hashing {
    hasher: tree::TreeHasher,
    data: BufReader<File>,
    pairs: Option<BufWriter<File>>,
}

/// One offer.
pub(super) struct Offer {
    path: PathBuf,
    fingerprint: Fingerprint,
    /// Where its hash pairs are kept. Files of one chunk group have none.
    outboard: PathBuf,
    hashing: Option<Box<Hashing>>,
    hash: Option<FileHash>,
}

impl Offer {
    /// Looks at a file that is to be offered. It is looked at before it is opened: opening a pipe would wait for its other end.
    pub(super) fn open(path: PathBuf, outboard: PathBuf) -> Result<Self, DiskError> {
        let found = fs::metadata(&path).map_err(|error| DiskError::reading(&path, &error))?;
        let shown = path.display();
        if found.is_dir() {
            let message = format!("{shown} is a folder, and folders cannot be offered yet: offer its files one by one");
            return Err(DiskError::new(ErrorCode::Unavailable, message));
        }
        if !found.is_file() {
            let message = format!("{shown} is a device or a pipe: only ordinary files can be offered");
            return Err(DiskError::new(ErrorCode::Unreadable, message));
        }
        if found.len() > super::MAX_FILE_SIZE {
            return Err(DiskError::new(ErrorCode::TooLarge, format!("{shown} is over 16 TiB: offer it in parts")));
        }
        let file = File::open(&path).map_err(|error| DiskError::reading(&path, &error))?;
        let found = file.metadata().map_err(|error| DiskError::reading(&path, &error))?;
        Ok(Self { path, fingerprint: Fingerprint::of(&found), outboard, hashing: None, hash: None })
    }

    /// The last component of its path.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Its size in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.fingerprint.size
    }

    /// Hashes about `budget` bytes more; at the end returns the root.
    pub(super) fn hash_step(&mut self, budget: u64) -> Result<Option<FileHash>, DiskError> {
        let mut hashing = match self.hashing.take() {
            Some(hashing) => hashing,
            None => Box::new(self.start_hashing()?),
        };
        let Hashing { hasher, data, pairs } = &mut *hashing;
        let root = match pairs {
            Some(pairs) => hasher.step(data, pairs, budget),
            None => hasher.step(data, &mut io::sink(), budget),
        };
        let Some(root) = root.map_err(|error| self.hashing_failed(&error))? else {
            self.hashing = Some(hashing);
            return Ok(None);
        };
        if let Some(pairs) = pairs {
            pairs.flush().map_err(|error| self.hashing_failed(&error))?;
        }
        // A write during the hashing may have been hashed half.
        self.unchanged(data.get_ref())?;
        self.hash = Some(root);
        Ok(Some(root))
    }

    fn start_hashing(&self) -> Result<Hashing, DiskError> {
        let file = self.open_unchanged()?;
        let pairs = if self.has_outboard() {
            if let Some(folder) = self.outboard.parent() {
                fs::create_dir_all(folder).map_err(|error| DiskError::writing(&self.outboard, &error))?;
            }
            let file = File::create(&self.outboard).map_err(|error| DiskError::writing(&self.outboard, &error))?;
            Some(BufWriter::new(file))
        } else {
            None
        };
        let data = BufReader::with_capacity(usize::try_from(MAX_SLICE.min(self.size())).unwrap_or(0), file);
        Ok(Hashing { hasher: tree::TreeHasher::new(self.size()), data, pairs })
    }

    /// A full disk under the outboard looks like any other: it is the state folder's that is full.
    fn hashing_failed(&self, error: &io::Error) -> DiskError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                DiskError::writing(&self.outboard, error)
            }
            _ => DiskError::reading(&self.path, error),
        }
    }

    /// A range with the hashes that prove it, checked against the root before it is returned.
    pub(super) fn slice(&self, range: ByteRange) -> Result<Bytes, SliceError> {
        let refuse = |code, message: &str| SliceError::Refused(DiskError::new(code, message));
        let Some(root) = self.hash else {
            return Err(refuse(ErrorCode::Unavailable, "the file is being hashed: ask again when its hash is known"));
        };
        let chunks = tree::chunks(range, self.size()).map_err(|error| match error {
            tree::RangeError::TooLarge => refuse(ErrorCode::TooLarge, "a slice holds 1 MiB at most: ask for less"),
            tree::RangeError::NotInTree => {
                refuse(ErrorCode::Usage, "no such range in the file: ask for whole chunk groups of 64 KiB")
            }
        })?;
        let file = self.open_unchanged().map_err(SliceError::Gone)?;
        let mut slice = Vec::with_capacity(usize::try_from(range.end - range.start + 4096).unwrap_or(0));
        let encoded = if self.has_outboard() {
            let pairs = File::open(&self.outboard)
                .map_err(|error| SliceError::Gone(DiskError::reading(&self.outboard, &error)))?;
            self.encode(&file, root, pairs, &chunks, &mut slice)
        } else {
            self.encode(&file, root, [].as_slice(), &chunks, &mut slice)
        };
        match encoded {
            Ok(()) => Ok(slice.into()),
            // Same size and time, other content: rewritten within the clock's tick, or decayed.
            Err(EncodeError::ParentHashMismatch(_) | EncodeError::LeafHashMismatch(_) | EncodeError::SizeMismatch) => {
                let message = format!("{} is not what was hashed any longer: offer it again", self.path.display());
                Err(SliceError::Gone(DiskError::new(ErrorCode::Corrupt, message)))
            }
            Err(EncodeError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(SliceError::Gone(DiskError::changed(&self.path)))
            }
            Err(error) => Err(SliceError::Refused(DiskError::reading(&self.path, &error.into()))),
        }
    }

    fn encode(
        &self,
        file: &File,
        root: FileHash,
        pairs: impl ReadAt,
        chunks: &ChunkRanges,
        slice: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let outboard = PostOrderOutboard { root: root.0.into(), tree: tree::tree(self.size()), data: pairs };
        encode_ranges_validated(file, outboard, chunks, slice)
    }

    const fn has_outboard(&self) -> bool {
        self.size() > CHUNK_GROUP
    }

    /// Opens the file, if it is the one that was offered. Looked at first, as in [`open`](Self::open).
    fn open_unchanged(&self) -> Result<File, DiskError> {
        let found = fs::metadata(&self.path).map_err(|error| DiskError::reading(&self.path, &error))?;
        if !found.is_file() {
            return Err(DiskError::changed(&self.path));
        }
        let file = File::open(&self.path).map_err(|error| DiskError::reading(&self.path, &error))?;
        self.unchanged(&file)?;
        Ok(file)
    }

    fn unchanged(&self, file: &File) -> Result<(), DiskError> {
        let found = file.metadata().map_err(|error| DiskError::reading(&self.path, &error))?;
        if Fingerprint::of(&found) == self.fingerprint { Ok(()) } else { Err(DiskError::changed(&self.path)) }
    }

    /// Removes what is kept of it. The file itself is the user's.
    pub(super) fn forget(self) {
        if self.has_outboard() {
            let _absent_is_as_good = fs::remove_file(&self.outboard);
        }
    }
}

/// Removes the outboards of an earlier run: which file they belonged to is known to nobody.
pub(super) fn clear_outboards(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, folder = %folder.display(), "hashes of an earlier run could not be removed");
    }
}
