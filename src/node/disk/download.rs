//! A file on its way to us: slices that verify go into the `.part`, and when all are there it gets its final name.

use super::journal::Journal;
use super::pieces::Pieces;
use super::runs::Runs;
use super::target::Target;
use super::{ByteRange, DiskError, MAX_ENCODED_SLICE, MAX_FILE_SIZE, tree};
use crate::node::api::ErrorCode;
use crate::node::files::FileHash;
use bao_tree::ChunkRanges;
use bao_tree::io::BaoContentItem;
use bao_tree::io::sync::DecodeResponseIter;
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Verified bytes between two journals: what a crash can cost, and what one flush to the disk has to move.
const JOURNAL_EVERY: u64 = 16 << 20;

/// What became of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is on the disk.
    Written,
    /// It did not verify; nothing of it was written.
    Corrupt,
}

/// What `finish` led to.
#[derive(Debug)]
pub(super) enum Finished {
    /// The file is complete at this path.
    Saved(PathBuf),
    /// Part of it is from an earlier time: it is hashed first, by [`Download::check`].
    Checking,
}

/// A download that has a place.
pub(super) struct Download {
    hash: FileHash,
    size: u64,
    target: Target,
    file: File,
    journal: Journal,
    have: Runs,
    /// Verified bytes that the journal does not know of.
    unnoted: u64,
    /// Whether some of it was verified by an earlier run of the program, whose word we do not take.
    resumed: bool,
    /// The re-hash, and how far it is.
    check: Option<(Box<blake3::Hasher>, u64)>,
}

impl Download {
    /// Takes the place, or takes up what an earlier time left. `taken` are the other downloads.
    pub(super) fn begin<'a>(
        hash: FileHash,
        size: u64,
        target: Target,
        partial: &Path,
        mut taken: impl Iterator<Item = &'a Self>,
    ) -> Result<Self, DiskError> {
        if size > MAX_FILE_SIZE {
            let message =
                format!("{} is announced with {size} bytes; no file over 16 TiB is taken", target.shown.display());
            return Err(DiskError::new(ErrorCode::TooLarge, message));
        }
        if size == 0 && hash.0 != *blake3::hash(b"").as_bytes() {
            return Err(DiskError::new(
                ErrorCode::Corrupt,
                "the offer contradicts itself: no bytes, but not their hash",
            ));
        }
        if let Some(other) = taken.find(|other| other.hash == hash || other.target.same_place(&target)) {
            let message = format!("{} is being downloaded: wait for it", other.target.shown.display());
            return Err(DiskError::new(ErrorCode::Exists, message));
        }
        let journal = Journal::of(partial, hash, size);
        let (journaled, have) = journal.load().unzip();
        let (file, resumed) = target.open_part(journaled.as_deref(), size, || journal.remove())?;
        let have = have.filter(|_| resumed).unwrap_or_default();
        let download =
            Self { hash, size, target, file, journal, resumed: !have.is_empty(), have, unnoted: 0, check: None };
        if download.resumed {
            // It may have moved with the user's wish.
            download.note();
        }
        Ok(download)
    }

    /// What is verified.
    pub(super) const fn have(&self) -> &Runs {
        &self.have
    }

    /// Verifies a slice, whole, and then writes it.
    pub(super) fn write(&mut self, range: ByteRange, slice: Vec<Bytes>) -> Result<Outcome, DiskError> {
        let chunks = tree::chunks(range, self.size).map_err(|_| {
            DiskError::new(ErrorCode::Usage, format!("bytes {} to {} are no slice of the file", range.start, range.end))
        })?;
        let Some(leaves) = verify(self.hash, self.size, range, &chunks, Pieces::new(slice)) else {
            return Ok(Outcome::Corrupt);
        };
        self.put(range.start, &leaves).map_err(|error| DiskError::writing(&self.target.part, &error))?;
        self.have.insert(range);
        self.unnoted = self.unnoted.saturating_add(range.end - range.start);
        if self.unnoted >= JOURNAL_EVERY {
            self.file.sync_data().map_err(|error| DiskError::writing(&self.target.part, &error))?;
            self.note();
            self.unnoted = 0;
        }
        Ok(Outcome::Written)
    }

    fn put(&mut self, start: u64, leaves: &[Bytes]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(start))?;
        leaves.iter().try_for_each(|leaf| self.file.write_all(leaf))
    }

    fn note(&self) {
        if let Err(error) = self.journal.store(&self.target.part, &self.have) {
            tracing::warn!(%error, path = %self.target.shown.display(), "an interruption of this download would begin it anew");
        }
    }

    /// Everything is written: flush it, and give it its name unless it has to be hashed first.
    pub(super) fn finish(&mut self) -> Result<Finished, DiskError> {
        if !self.have.cover(self.size) {
            let missing = self.size.saturating_sub(self.have.bytes());
            return Err(DiskError::new(
                ErrorCode::Corrupt,
                format!("{missing} bytes are missing: ask for the file again"),
            ));
        }
        self.file.sync_all().map_err(|error| DiskError::writing(&self.target.part, &error))?;
        if self.resumed {
            if self.check.is_none() {
                self.check = Some((Box::default(), 0));
            }
            return Ok(Finished::Checking);
        }
        self.complete().map(Finished::Saved)
    }

    /// Hashes up to `budget` bytes more of a file that was taken up; at its end gives it its name.
    pub(super) fn check(&mut self, budget: u64, buffer: &mut [u8]) -> Result<Option<PathBuf>, DiskError> {
        let Some((hasher, at)) = &mut self.check else { return Ok(None) };
        let failed = |error: io::Error| DiskError::reading(&self.target.part, &error);
        self.file.seek(SeekFrom::Start(*at)).map_err(failed)?;
        let mut piece = (&self.file).take(budget.min(self.size.saturating_sub(*at)));
        loop {
            match piece.read(buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(buffer.get(..count).unwrap_or_default());
                    *at = at.saturating_add(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if *at < self.size && piece.limit() == 0 {
            return Ok(None);
        }
        if hasher.finalize() == self.hash.0 {
            return self.complete().map(Some);
        }
        // Which bytes are wrong nobody can say: none of it is worth keeping.
        self.have = Runs::default();
        let shown = self.target.shown.display();
        let message = format!(
            "what was on the disk of {shown} from an earlier time is damaged, and was dropped: ask for it again"
        );
        Err(DiskError::new(ErrorCode::Corrupt, message))
    }

    fn complete(&self) -> Result<PathBuf, DiskError> {
        self.target.complete()?;
        self.journal.remove();
        Ok(self.target.shown.clone())
    }

    /// Stops. What is verified stays for the next time; a `.part` without any goes.
    pub(super) fn pause(self) {
        if self.have.is_empty() {
            self.journal.remove();
            let _nothing_is_in_it = fs::remove_file(&self.target.part);
        } else if self.file.sync_data().is_ok() {
            self.note();
        }
    }
}

/// The data of a slice, if all of it verifies and nothing follows it.
fn verify(hash: FileHash, size: u64, range: ByteRange, chunks: &ChunkRanges, mut slice: Pieces) -> Option<Vec<Bytes>> {
    if slice.left() > MAX_ENCODED_SLICE {
        return None;
    }
    let mut leaves = Vec::new();
    let mut at = range.start;
    for item in DecodeResponseIter::new(hash.0.into(), tree::tree(size), &mut slice, chunks) {
        if let BaoContentItem::Leaf(leaf) = item.ok()? {
            if leaf.offset != at {
                return None;
            }
            at = at.checked_add(leaf.data.len() as u64)?;
            leaves.push(leaf.data);
        }
    }
    (at == range.end && slice.left() == 0).then_some(leaves)
}
