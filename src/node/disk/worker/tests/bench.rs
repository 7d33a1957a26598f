//! One node's disk, and what a story asks of it.

use crate::node::disk::CHUNK_GROUP;
use crate::node::disk::worker::*;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

pub(super) const OFFER: OfferNumber = OfferNumber(1);
pub(super) const DOWNLOAD: DownloadNumber = DownloadNumber(7);
pub(super) const TOKEN: Token = Token(3);

/// One node's disk, in a folder of its own.
pub(super) struct Bench {
    pub(super) folder: TempDir,
    pub(super) worker: Worker,
}

impl Bench {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("shared")).unwrap();
        let worker = worker_in(folder.path());
        Self { folder, worker }
    }

    pub(super) fn shared(&self, name: &str) -> PathBuf {
        self.folder.path().join("shared").join(name)
    }

    pub(super) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("shared")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Asks, works off what is queued, and returns all answers.
    pub(super) fn ask(&mut self, request: DiskRequest) -> Vec<DiskReply> {
        let mut replies = Vec::new();
        self.worker.handle(request, &mut |reply| replies.push(reply));
        while self.worker.work(&mut |reply| replies.push(reply)) {}
        replies
    }

    pub(super) fn ask1(&mut self, request: DiskRequest) -> DiskReply {
        let mut replies = self.ask(request);
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0)
    }

    pub(super) fn offer(&mut self, name: &str, content: &[u8]) -> FileHash {
        fs::write(self.shared(name), content).unwrap();
        match self.ask(DiskRequest::Offer { offer: OFFER, path: name.into() }).as_slice() {
            [DiskReply::Found { name: found, size, .. }, DiskReply::Hashed { hash, .. }] => {
                assert_eq!((found.as_str(), *size), (name, content.len() as u64));
                *hash
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn refused_offer(&mut self, path: impl Into<PathBuf>) -> ErrorCode {
        match self.ask1(DiskRequest::Offer { offer: OFFER, path: path.into() }) {
            DiskReply::OfferFailed { error, .. } => error.code,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn slice(&mut self, range: ByteRange) -> Result<Bytes, ErrorCode> {
        match self.ask(DiskRequest::Slice { token: TOKEN, offer: OFFER, range }).into_iter().next() {
            Some(DiskReply::Slice { token: TOKEN, slice }) => slice.map_err(|error| error.code),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn begin_as(
        &mut self,
        number: DownloadNumber,
        file: (&str, FileHash, u64),
        save_as: Option<&str>,
    ) -> Result<Vec<ByteRange>, ErrorCode> {
        let (name, hash, size) = file;
        let request =
            DiskRequest::Begin { download: number, hash, size, name: name.into(), save_as: save_as.map(PathBuf::from) };
        match self.ask1(request) {
            DiskReply::Begun { have, .. } => Ok(have),
            DiskReply::Failed { error, .. } => Err(error.code),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn begin(&mut self, name: &str, hash: FileHash, size: u64) -> Result<Vec<ByteRange>, ErrorCode> {
        self.begin_as(DOWNLOAD, (name, hash, size), None)
    }

    pub(super) fn write(&mut self, range: ByteRange, slice: Vec<Bytes>) -> DiskReply {
        self.ask1(DiskRequest::Write { download: DOWNLOAD, range, slice })
    }

    pub(super) fn finish(&mut self) -> Result<PathBuf, ErrorCode> {
        match self.ask1(DiskRequest::Finish { download: DOWNLOAD }) {
            DiskReply::Saved { path, .. } => Ok(path),
            DiskReply::Failed { error, .. } => Err(error.code),
            other => panic!("{other:?}"),
        }
    }

    /// The program is killed and started again.
    pub(super) fn crash(&mut self) {
        let folder = self.folder.path().to_owned();
        self.worker = Worker::new(PathBuf::new(), folder.join("nowhere"));
        self.worker = worker_in(&folder);
    }
}

pub(super) fn worker_in(folder: &Path) -> Worker {
    Worker::new(folder.join("shared"), folder.join("state"))
}

pub(super) fn content(size: u64) -> Vec<u8> {
    (0..size).map(|i| (i * 31 % 251) as u8 ^ (i / CHUNK_GROUP) as u8).collect()
}

/// `size` bytes as ranges of `groups` chunk groups.
pub(super) fn ranges(size: u64, groups: u64) -> Vec<ByteRange> {
    let step = (groups * CHUNK_GROUP) as usize;
    (0..size).step_by(step).map(|start| ByteRange { start, end: size.min(start + step as u64) }).collect()
}

pub(super) fn written(range: ByteRange) -> DiskReply {
    DiskReply::Written { download: DOWNLOAD, range }
}

pub(super) fn corrupt(range: ByteRange) -> DiskReply {
    DiskReply::Corrupt { download: DOWNLOAD, range }
}

/// A test that cannot run here says so; where privileges are promised, that is a failure.
pub(super) fn skipped(test: &str, why: &str) {
    assert!(std::env::var_os("ANJER_REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"), "{test} was skipped: {why}");
    eprintln!("SKIPPED: {test}: {why}");
}
