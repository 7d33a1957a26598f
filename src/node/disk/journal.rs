//! What survives the program: which bytes of an interrupted download are verified, and where they are.
//!
//! One small file a download, `<state>/partial/<hash>`, replaced by rename, so that it is either the old or the new one. It ends in
//! its own hash; torn, altered or foreign ones count as absent. It is a hint all the same: a download that was taken up from one
//! is hashed whole before it gets its final name.

use super::name::cut;
use super::runs::Runs;
use super::{ByteRange, CHUNK_GROUP};
use crate::node::files::FileHash;
use bincode::config;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of a journal, at most: what is larger is not ours.
const MAX_JOURNAL: usize = 1 << 20;

/// Runs that are kept in a journal, at most (18 bytes each, at most). What is left out is downloaded again.
const MAX_RUNS: usize = 4096;

/// Says that the file is one of these, and how it is laid out.
const MAGIC: &[u8; 8] = b"anjerp01";

#[derive(Serialize, Deserialize)]
struct Record {
    hash: [u8; 32],
    size: u64,
    part: String,
    have: Vec<(u64, u64)>,
}

/// The journal of one download.
pub(super) struct Journal {
    path: PathBuf,
    hash: FileHash,
    size: u64,
}

impl Journal {
    /// Of the download of this content. Touches nothing.
    pub(super) fn of(folder: &Path, hash: FileHash, size: u64) -> Self {
        Self { path: folder.join(hash.to_string()), hash, size }
    }

    /// Where the bytes of an earlier time are, and which of them are verified.
    pub(super) fn load(&self) -> Option<(PathBuf, Runs)> {
        let mut bytes = Vec::new();
        let file = File::open(&self.path).ok()?;
        file.take(MAX_JOURNAL as u64 + 1).read_to_end(&mut bytes).ok()?;
        self.parse(&bytes)
    }

    fn parse(&self, bytes: &[u8]) -> Option<(PathBuf, Runs)> {
        if bytes.len() > MAX_JOURNAL {
            return None;
        }
        let (body, check) = bytes.split_last_chunk::<32>()?;
        if blake3::hash(body).as_bytes() != check {
            return None;
        }
        let record = body.strip_prefix(MAGIC)?;
        let (record, used): (Record, usize) =
            bincode::serde::decode_from_slice(record, config::standard().with_limit::<MAX_JOURNAL>()).ok()?;
        if used != body.len() - MAGIC.len() || record.hash != self.hash.0 || record.size != self.size {
            return None;
        }
        // Only a file that we would have named so is ever opened or moved on a journal's word.
        let part = PathBuf::from(record.part);
        if !part.is_absolute() || !part.file_name()?.to_str()?.ends_with(&part_suffix(self.hash)) {
            return None;
        }
        let mut have = Runs::default();
        for (start, end) in record.have {
            if start >= end
                || end > self.size
                || start % CHUNK_GROUP != 0
                || (end % CHUNK_GROUP != 0 && end != self.size)
            {
                return None;
            }
            have.insert(ByteRange { start, end });
        }
        Some((part, have))
    }

    /// Notes what is verified. To be called after the data is on the disk, never before.
    ///
    /// A target whose path is not UTF-8 is not noted: such a download begins anew.
    pub(super) fn store(&self, part: &Path, have: &Runs) -> io::Result<()> {
        let part = part.to_str().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        let have = have.iter().take(MAX_RUNS).map(|run| (run.start, run.end)).collect();
        let record = Record { hash: self.hash.0, size: self.size, part, have };
        let mut bytes = MAGIC.to_vec();
        bincode::serde::encode_into_std_write(&record, &mut bytes, config::standard()).map_err(io::Error::other)?;
        let check = blake3::hash(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let written = self.path.with_extension("new");
        File::create(&written)?.write_all(&bytes)?;
        fs::rename(&written, &self.path)
    }

    /// Forgets it.
    pub(super) fn remove(&self) {
        let _absent_is_as_good = fs::remove_file(&self.path);
    }
}

/// How the names of files end that hold this content in part.
fn part_suffix(hash: FileHash) -> String {
    let [a, b, c, d, ..] = hash.0;
    format!(".{a:02x}{b:02x}{c:02x}{d:02x}.part")
}

/// The name that `name` has until it is whole: never over 255 bytes.
pub(super) fn part_name(name: &str, hash: FileHash) -> String {
    let suffix = part_suffix(hash);
    format!("{}{suffix}", cut(name, super::name::MAX_NAME.saturating_sub(suffix.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: FileHash = FileHash([0xab; 32]);
    const SIZE: u64 = 5 * CHUNK_GROUP + 3;

    fn runs(ranges: &[(u64, u64)]) -> Runs {
        let mut runs = Runs::default();
        for &(start, end) in ranges {
            runs.insert(ByteRange { start, end });
        }
        runs
    }

    fn stored(part: &str, have: &Runs) -> (tempfile::TempDir, Journal, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::of(folder.path(), HASH, SIZE);
        journal.store(Path::new(part), have).unwrap();
        let bytes = fs::read(&journal.path).unwrap();
        (folder, journal, bytes)
    }

    #[test]
    fn what_was_noted_is_found_again() {
        let have = runs(&[(0, CHUNK_GROUP), (3 * CHUNK_GROUP, SIZE)]);
        let (_folder, journal, _) = stored("/t/x.abababab.part", &have);
        assert_eq!(journal.load(), Some((PathBuf::from("/t/x.abababab.part"), have)));
        journal.remove();
        assert_eq!(journal.load(), None);
    }

    #[test]
    fn a_journal_of_other_content_or_of_an_alien_file_counts_as_absent() {
        let have = runs(&[(0, CHUNK_GROUP)]);
        let (folder, _, bytes) = stored("/t/x.abababab.part", &have);
        assert_eq!(Journal::of(folder.path(), HASH, SIZE + 1).parse(&bytes), None);
        assert_eq!(Journal::of(folder.path(), FileHash([1; 32]), SIZE).parse(&bytes), None);
        for part in ["/etc/passwd", "x.abababab.part", "/t/x.cdcdcdcd.part", "/", ""] {
            let (_folder, journal, _) = stored(part, &have);
            assert_eq!(journal.load(), None, "{part}");
        }
    }

    #[test]
    fn ranges_outside_the_file_or_across_groups_are_not_believed() {
        for range in [(0, SIZE + 1), (1, CHUNK_GROUP), (0, 5), (0, u64::MAX)] {
            let (_folder, journal, _) = stored("/t/x.abababab.part", &runs(&[range]));
            assert_eq!(journal.load(), None, "{range:?}");
        }
    }

    #[test]
    fn a_journal_never_grows_past_its_cap() {
        let size = 2 * (MAX_RUNS as u64 + 9) * CHUNK_GROUP;
        let many: Vec<_> = (0..MAX_RUNS as u64 + 9).map(|i| (2 * i * CHUNK_GROUP, (2 * i + 1) * CHUNK_GROUP)).collect();
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::of(folder.path(), HASH, size);
        journal.store(Path::new("/t/x.abababab.part"), &runs(&many)).unwrap();
        assert!(fs::metadata(&journal.path).unwrap().len() < MAX_JOURNAL as u64);
        assert_eq!(journal.load().unwrap().1.iter().count(), MAX_RUNS);
        // And one that someone made larger is not read into memory.
        fs::write(&journal.path, vec![0; MAX_JOURNAL + 1]).unwrap();
        assert_eq!(journal.load(), None);
    }

    #[test]
    fn part_names_fit_a_file_system_and_never_split_a_character() {
        let name = part_name(&"語".repeat(85), HASH);
        assert!(name.len() <= 255 && name.ends_with("語.abababab.part"), "{name}");
        assert_eq!(part_name("x", HASH), "x.abababab.part");
    }

    proptest! {
        /// Cut short or altered anywhere, it is absent; it never panics.
        #[test]
        fn a_torn_or_altered_journal_counts_as_absent(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let (_folder, journal, bytes) = stored("/t/x.abababab.part", &runs(&[(0, CHUNK_GROUP)]));
            prop_assert_eq!(journal.parse(&bytes[..at.index(bytes.len())]), None);
            let mut altered = bytes;
            *at.get_mut(&mut altered) ^= flip;
            prop_assert_eq!(journal.parse(&altered), None);
        }

        /// Even with a right checksum, arbitrary contents never panic.
        #[test]
        fn arbitrary_contents_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = [MAGIC.as_slice(), &body].concat();
            bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
            let _either = Journal::of(Path::new("/"), HASH, SIZE).parse(&bytes);
        }
    }
}
