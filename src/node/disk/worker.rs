//! The disk's side: one request at a time, and long work (hashing) in bounded steps between them.

use super::download::{Download, Finished, Outcome};
use super::offer::{self, Offer, SliceError};
use super::target::Target;
use super::whereabouts;
use super::{ByteRange, DiskError, DiskReply, DiskRequest, DownloadNumber, OfferNumber, Token};
use crate::node::api::ErrorCode;
use crate::node::files::FileHash;
use bytes::Bytes;
use crossbeam_channel::{Receiver, TryRecvError};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::path::{self, PathBuf};

/// Bytes hashed in one step, about: some 10 ms, which is what a slice may have to wait.
const STEP: u64 = 16 << 20;

/// Files that are hashed in turns, so that a small one need not wait for a huge one. Only these are kept open.
const HASHED_AT_ONCE: usize = 4;

/// Offers, at most.
const MAX_OFFERS: usize = 1 << 17;

/// Downloads at once, at most: each keeps a file open.
const MAX_DOWNLOADS: usize = 128;

/// Bytes read at once where a file is hashed without its tree.
const BUFFER: usize = 1 << 20;

/// Work that takes longer than a request may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Hash(OfferNumber),
    Check(DownloadNumber),
}

/// Works on files for one node.
///
/// Every request gets an answer, except [`DiskRequest::Forget`], [`DiskRequest::Pause`] and [`DiskRequest::InRoom`], which always succeed; a second
/// [`DiskRequest::Finish`] gets none of its own. A request about a download that is gone is answered with
/// [`DiskReply::Failed`] once more.
///
/// Dropping it is like a crash: what was verified since the last journal is downloaded again. [`pause_all`](Self::pause_all)
/// comes first where there is time for it.
pub struct Worker {
    shared: PathBuf,
    outboards: PathBuf,
    partial: PathBuf,
    state: PathBuf,
    offers: BTreeMap<OfferNumber, Offer>,
    downloads: BTreeMap<DownloadNumber, Download>,
    jobs: VecDeque<Job>,
    buffer: Vec<u8>,
}

impl Worker {
    /// Shares from and downloads to `shared_dir`; keeps its own files in `state_dir`, which no other worker may use.
    pub fn new(shared_dir: PathBuf, state_dir: PathBuf) -> Self {
        let absolute = |folder: PathBuf| path::absolute(&folder).unwrap_or(folder);
        let state = absolute(state_dir);
        let outboards = state.join("outboards");
        offer::clear_outboards(&outboards);
        Self {
            shared: absolute(shared_dir),
            outboards,
            partial: state.join("partial"),
            state,
            offers: BTreeMap::new(),
            downloads: BTreeMap::new(),
            jobs: VecDeque::new(),
            buffer: Vec::new(),
        }
    }

    /// Does what takes no longer than one slice, and queues the rest for [`work`](Self::work).
    pub fn handle(&mut self, request: DiskRequest, reply: &mut impl FnMut(DiskReply)) {
        match request {
            DiskRequest::Offer { offer, path } => reply(self.offer(offer, path)),
            DiskRequest::Forget { offer } => self.forget(offer),
            DiskRequest::Slice { token, offer, range } => self.slice(token, offer, range, reply),
            DiskRequest::Begin { download, hash, size, name, save_as } => {
                reply(match self.begin(download, hash, size, &name, save_as) {
                    Ok(have) => DiskReply::Begun { download, have },
                    Err(error) => DiskReply::Failed { download, error },
                });
            }
            DiskRequest::Write { download, range, slice } => reply(self.write(download, range, slice)),
            DiskRequest::Finish { download } => self.finish(download, reply),
            DiskRequest::Pause { download } => self.pause(download),
            DiskRequest::InRoom(room) => {
                if let Err(error) = whereabouts::note(&self.state, room) {
                    tracing::warn!(%error, "the room was not noted");
                }
            }
        }
    }

    /// Does one bounded step of what is queued. Returns whether there is more.
    pub fn work(&mut self, reply: &mut impl FnMut(DiskReply)) -> bool {
        let Some(job) = self.jobs.pop_front() else { return false };
        let unfinished = match job {
            Job::Hash(offer) => self.hash_step(offer, reply),
            Job::Check(download) => self.check_step(download, reply),
        };
        if unfinished {
            self.jobs.insert(self.jobs.len().min(HASHED_AT_ONCE - 1), job);
        }
        !self.jobs.is_empty()
    }

    /// Serves `requests` until their sender is gone, then pauses what is unfinished: the body of the disk thread.
    pub fn run(mut self, requests: &Receiver<DiskRequest>, mut reply: impl FnMut(DiskReply)) {
        let mut busy = false;
        loop {
            let request =
                if busy { requests.try_recv() } else { requests.recv().map_err(|_| TryRecvError::Disconnected) };
            match request {
                Ok(request) => {
                    self.handle(request, &mut reply);
                    busy = !self.jobs.is_empty();
                }
                Err(TryRecvError::Empty) => busy = self.work(&mut reply),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        self.pause_all();
    }

    /// Pauses every download.
    pub fn pause_all(&mut self) {
        for (_, download) in std::mem::take(&mut self.downloads) {
            download.pause();
        }
    }

    fn offer(&mut self, number: OfferNumber, path: PathBuf) -> DiskReply {
        let failed = |error| DiskReply::OfferFailed { offer: number, error };
        if self.offers.len() >= MAX_OFFERS {
            let message = format!("{MAX_OFFERS} files are on offer, and no more can be: withdraw some with `U <name>`");
            return failed(DiskError::new(ErrorCode::TooLarge, message));
        }
        let Entry::Vacant(entry) = self.offers.entry(number) else {
            return failed(DiskError::new(ErrorCode::Exists, "an offer of that number exists"));
        };
        match Offer::open(self.shared.join(path), self.outboards.join(number.0.to_string())) {
            Ok(offer) => {
                let found = DiskReply::Found { offer: number, name: offer.name(), size: offer.size() };
                entry.insert(offer);
                self.jobs.push_back(Job::Hash(number));
                found
            }
            Err(error) => failed(error),
        }
    }

    fn hash_step(&mut self, number: OfferNumber, reply: &mut impl FnMut(DiskReply)) -> bool {
        let Some(offer) = self.offers.get_mut(&number) else { return false };
        match offer.hash_step(STEP) {
            Ok(None) => true,
            Ok(Some(hash)) => {
                reply(DiskReply::Hashed { offer: number, hash });
                false
            }
            Err(error) => {
                self.forget(number);
                reply(DiskReply::OfferFailed { offer: number, error });
                false
            }
        }
    }

    fn forget(&mut self, number: OfferNumber) {
        if let Some(offer) = self.offers.remove(&number) {
            offer.forget();
        }
        self.jobs.retain(|job| *job != Job::Hash(number));
    }

    fn slice(&mut self, token: Token, number: OfferNumber, range: ByteRange, reply: &mut impl FnMut(DiskReply)) {
        let slice = match self.offers.get(&number) {
            Some(offer) => offer.slice(range),
            None => {
                Err(SliceError::Refused(DiskError::new(ErrorCode::NotFound, "the file is not on offer any longer")))
            }
        };
        match slice {
            Ok(slice) => reply(DiskReply::Slice { token, slice: Ok(slice) }),
            Err(SliceError::Refused(error)) => reply(DiskReply::Slice { token, slice: Err(error) }),
            Err(SliceError::Gone(error)) => {
                self.forget(number);
                reply(DiskReply::Slice { token, slice: Err(error.clone()) });
                reply(DiskReply::OfferFailed { offer: number, error });
            }
        }
    }

    fn begin(
        &mut self,
        number: DownloadNumber,
        hash: FileHash,
        size: u64,
        name: &str,
        save_as: Option<PathBuf>,
    ) -> Result<Vec<ByteRange>, DiskError> {
        if self.downloads.len() >= MAX_DOWNLOADS {
            let message = format!("{MAX_DOWNLOADS} downloads are under way: wait until one ends");
            return Err(DiskError::new(ErrorCode::Unavailable, message));
        }
        if self.downloads.contains_key(&number) {
            return Err(DiskError::new(ErrorCode::Exists, "a download of that number exists"));
        }
        let target = Target::find(&self.shared, name, save_as.as_deref(), hash)?;
        let download = Download::begin(hash, size, target, &self.partial, self.downloads.values())?;
        let have = download.have().iter().collect();
        self.downloads.insert(number, download);
        Ok(have)
    }

    fn write(&mut self, number: DownloadNumber, range: ByteRange, slice: Vec<Bytes>) -> DiskReply {
        let Some(download) = self.downloads.get_mut(&number) else { return gone(number) };
        match download.write(range, slice) {
            Ok(Outcome::Written) => DiskReply::Written { download: number, range },
            Ok(Outcome::Corrupt) => DiskReply::Corrupt { download: number, range },
            Err(error) => self.failed(number, error),
        }
    }

    fn finish(&mut self, number: DownloadNumber, reply: &mut impl FnMut(DiskReply)) {
        let Some(download) = self.downloads.get_mut(&number) else { return reply(gone(number)) };
        match download.finish() {
            Ok(Finished::Saved(path)) => {
                self.downloads.remove(&number);
                reply(DiskReply::Saved { download: number, path });
            }
            Ok(Finished::Checking) if self.jobs.contains(&Job::Check(number)) => {}
            Ok(Finished::Checking) => self.jobs.push_back(Job::Check(number)),
            Err(error) => reply(self.failed(number, error)),
        }
    }

    fn check_step(&mut self, number: DownloadNumber, reply: &mut impl FnMut(DiskReply)) -> bool {
        let Some(download) = self.downloads.get_mut(&number) else { return false };
        self.buffer.resize(BUFFER, 0);
        let checked = download.check(STEP, &mut self.buffer);
        if !matches!(checked, Ok(None)) {
            self.buffer = Vec::new();
        }
        match checked {
            Ok(None) => true,
            Ok(Some(path)) => {
                self.downloads.remove(&number);
                reply(DiskReply::Saved { download: number, path });
                false
            }
            Err(error) => {
                reply(self.failed(number, error));
                false
            }
        }
    }

    fn pause(&mut self, number: DownloadNumber) {
        if let Some(download) = self.downloads.remove(&number) {
            download.pause();
        }
        self.jobs.retain(|job| *job != Job::Check(number));
    }

    fn failed(&mut self, number: DownloadNumber, error: DiskError) -> DiskReply {
        self.pause(number);
        DiskReply::Failed { download: number, error }
    }
}

fn gone(download: DownloadNumber) -> DiskReply {
    DiskReply::Failed { download, error: DiskError::new(ErrorCode::NotFound, "the download was stopped") }
}

#[cfg(test)]
mod tests;
