//! All downloads: they share what may be under way, and are served in turn.

use super::ask::{Ask, code};
use super::download::{Download, Source, Stage};
use super::window::MAX_WINDOW;
use crate::mrt::{ChannelId, Class, ConnectionHandle, Endpoint, ReceiveError, Received};
use crate::node::api::{ErrorCode, Event};
use crate::node::catalogue::{Catalogue, Listing};
use crate::node::disk::{ByteRange, DiskError, DiskReply, DiskRequest, DownloadNumber, MAX_ENCODED_SLICE};
use crate::node::identity::NodeId;
use crate::node::links::Links;
use crate::time::{Duration, Instant};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

/// Downloads at once. More would only wait for each other.
const MAX_DOWNLOADS: usize = 64;

/// How often a holder that owes us bytes is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A holder that answers no ping for this long is given up: well before the connection is, since others may hold the file.
const SILENT: Duration = Duration::from_secs(4);

/// Pieces of a slice smaller than this are joined: a holder that sends byte by byte would cost us a hundred times as much memory.
const SMALL_PIECE: usize = 512;

/// What a download works with.
pub struct Around<'a> {
    /// The connections.
    pub endpoint: &'a mut Endpoint,
    /// Who is at their other ends.
    pub links: &'a Links,
    /// Who holds what.
    pub catalogue: &'a Catalogue,
}

/// What transfers want of others.
#[derive(Clone, Debug, PartialEq)]
pub enum TransferOutput {
    /// Work for the disk.
    Disk(DiskRequest),
    /// Something to tell.
    Event(Event),
    /// A link to this holder.
    NeedLink(NodeId),
}

/// One range that a holder was asked for.
#[derive(Debug)]
struct Fetch {
    download: DownloadNumber,
    range: ByteRange,
    peer: NodeId,
    pieces: Vec<Bytes>,
    /// Small pieces that came last, joined.
    small: BytesMut,
    bytes: u64,
}

impl Fetch {
    fn push(&mut self, bytes: Bytes) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if bytes.len() < SMALL_PIECE {
            self.small.extend_from_slice(&bytes);
            if self.small.len() < SMALL_PIECE * 16 {
                return;
            }
            return self.pieces.push(self.small.split().freeze());
        }
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
        self.pieces.push(bytes);
    }

    fn into_slice(mut self) -> Vec<Bytes> {
        if !self.small.is_empty() {
            self.pieces.push(self.small.freeze());
        }
        self.pieces
    }
}

/// The downloads of this node.
#[derive(Debug, Default)]
pub struct Downloads {
    downloads: BTreeMap<DownloadNumber, Download>,
    fetches: BTreeMap<(ConnectionHandle, ChannelId), Fetch>,
    /// Channels of questions whose answer nobody wants, to be reset.
    unwanted: Vec<(ConnectionHandle, ChannelId)>,
    next_number: u64,
    /// Whose turn it is to ask.
    turn: u64,
    look_at: Option<Instant>,
    outputs: VecDeque<TransferOutput>,
}

impl Downloads {
    /// `R`: begins a download, or takes up an interrupted one.
    pub fn begin(&mut self, now: Instant, what: Listing, save_as: Option<PathBuf>) -> Result<(), DiskError> {
        if self.downloads.values().any(|download| download.hash == what.hash) {
            let message = format!("{} is being downloaded already; wait for `saved`", what.name);
            return Err(DiskError { code: ErrorCode::Exists, message });
        }
        if self.downloads.len() >= MAX_DOWNLOADS {
            let message = format!("{MAX_DOWNLOADS} downloads are under way; wait until one is saved");
            return Err(DiskError { code: ErrorCode::NotAllowed, message });
        }
        let number = DownloadNumber(self.next_number);
        self.next_number += 1;
        let Listing { hash, size, name, .. } = what;
        self.disk(DiskRequest::Begin { download: number, hash, size, name: name.clone(), save_as });
        self.downloads.insert(number, Download::new(now, number, hash, name, size));
        Ok(())
    }

    /// What the disk says of a download.
    pub fn handle_disk(&mut self, now: Instant, reply: DiskReply) {
        match reply {
            DiskReply::Begun { download, have } => self.on_begun(now, download, &have),
            DiskReply::Written { download, range } => self.on_written(now, download, range),
            DiskReply::Corrupt { download, range } => self.on_corrupt(download, range),
            DiskReply::Saved { download, path } => self.on_saved(now, download, path),
            DiskReply::Failed { download, error } => {
                if let Some(download) = self.downloads.remove(&download) {
                    self.error(&download.name, error.code, &error.message);
                }
            }
            _ => {}
        }
    }

    fn on_begun(&mut self, now: Instant, number: DownloadNumber, have: &[ByteRange]) {
        let Some(download) = self.downloads.get_mut(&number) else { return };
        download.plan = super::plan::Plan::new(download.size, have);
        download.stage = Stage::Slices;
        download.heard = now;
        let report = download.report(now);
        self.outputs.extend(report.map(TransferOutput::Event));
        self.finish_if_complete(number);
    }

    fn on_written(&mut self, now: Instant, number: DownloadNumber, range: ByteRange) {
        let Some(download) = self.downloads.get_mut(&number) else { return };
        if download.writing.remove(&range.start).is_none() {
            return;
        }
        download.under_way = download.under_way.saturating_sub(range.end.saturating_sub(range.start));
        download.plan.on_written(range);
        download.on_verified();
        let report = download.report(now);
        self.outputs.extend(report.map(TransferOutput::Event));
        self.finish_if_complete(number);
    }

    fn on_corrupt(&mut self, number: DownloadNumber, range: ByteRange) {
        let Some(download) = self.downloads.get_mut(&number) else { return };
        let Some(peer) = download.writing.remove(&range.start) else { return };
        download.under_way = download.under_way.saturating_sub(range.end.saturating_sub(range.start));
        download.plan.give_back(range);
        self.on_lie(number, peer);
    }

    /// A holder sent what cannot be right: it is named, and whatever else it was asked for is asked of others.
    fn on_lie(&mut self, number: DownloadNumber, peer: NodeId) {
        let Some(download) = self.downloads.get_mut(&number) else { return };
        if !download.on_lie(peer) {
            return; // named before
        }
        let message =
            format!("{peer} sent bytes of {} that do not verify; it is not asked for them again", download.name);
        self.outputs.push_back(TransferOutput::Event(Event::Alert { code: "corrupt", message }));
        let its = |fetch: &Fetch| fetch.download == number && fetch.peer == peer;
        let keys: Vec<_> = self.fetches.iter().filter(|(_, fetch)| its(fetch)).map(|(key, _)| *key).collect();
        for key in keys {
            self.drop_fetch(key);
            self.unwanted.push(key);
        }
    }

    fn on_saved(&mut self, now: Instant, number: DownloadNumber, path: PathBuf) {
        let Some(download) = self.downloads.remove(&number) else { return };
        let seconds = download.seconds(now);
        let Download { name, size: bytes, hash, .. } = download;
        self.outputs.push_back(TransferOutput::Event(Event::Saved { name, path, bytes, hash, seconds }));
    }

    fn finish_if_complete(&mut self, number: DownloadNumber) {
        let Some(download) = self.downloads.get_mut(&number) else { return };
        if download.stage == Stage::Slices && download.plan.is_complete() {
            download.stage = Stage::Saved;
            self.disk(DiskRequest::Finish { download: number });
        }
    }

    /// Something came on a channel that a range was asked for on. `false` if none was.
    pub fn handle_readable(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        connection: ConnectionHandle,
        channel: ChannelId,
    ) -> bool {
        let key = (connection, channel);
        if !self.fetches.contains_key(&key) {
            return false;
        }
        loop {
            match endpoint.receive(now, connection, channel) {
                Ok(Received::Bytes(bytes)) => {
                    if !self.on_bytes(now, key, bytes) {
                        let _ = endpoint.reset(now, connection, channel, code::NOT_WANTED);
                        break;
                    }
                }
                Ok(Received::Finished) => {
                    let rtt = endpoint.stats(now, connection).map_or(Duration::ZERO, |stats| stats.rtt);
                    self.on_slice(now, key, rtt);
                    break;
                }
                Ok(Received::Nothing) => break,
                Err(ReceiveError::Reset(code)) => {
                    self.on_refused(now, key, code);
                    break;
                }
                Err(_) => {
                    self.on_refused(now, key, code::UNREADABLE);
                    break;
                }
            }
        }
        true
    }

    /// Whether the slice is still one that may come.
    fn on_bytes(&mut self, now: Instant, key: (ConnectionHandle, ChannelId), bytes: Bytes) -> bool {
        let Some(fetch) = self.fetches.get_mut(&key) else { return false };
        let Some(download) = self.downloads.get_mut(&fetch.download) else {
            self.fetches.remove(&key);
            return false;
        };
        download.on_heard(now, bytes.len() as u64);
        fetch.push(bytes);
        if fetch.bytes > MAX_ENCODED_SLICE {
            let (number, peer) = (fetch.download, fetch.peer);
            self.drop_fetch(key);
            self.on_lie(number, peer);
            return false;
        }
        true
    }

    fn on_slice(&mut self, now: Instant, key: (ConnectionHandle, ChannelId), rtt: Duration) {
        let Some(fetch) = self.fetches.remove(&key) else { return };
        let Some(download) = self.downloads.get_mut(&fetch.download) else { return };
        download.window.on_arrived(now, fetch.bytes, rtt);
        download.writing.insert(fetch.range.start, fetch.peer);
        let (download, range) = (fetch.download, fetch.range);
        self.disk(DiskRequest::Write { download, range, slice: fetch.into_slice() });
    }

    fn on_refused(&mut self, now: Instant, key: (ConnectionHandle, ChannelId), code: u32) {
        let Some(peer) = self.fetches.get(&key).map(|fetch| fetch.peer) else { return };
        let Some(number) = self.drop_fetch(key) else { return };
        let Some(download) = self.downloads.get_mut(&number) else { return };
        if code == code::BUSY {
            download.on_busy(now, peer);
        } else {
            download.on_holder_failed(peer);
        }
    }

    /// The connection is gone, and what was asked for on it.
    pub fn on_lost(&mut self, connection: ConnectionHandle) {
        let keys: Vec<_> = self.fetches.keys().filter(|(on, _)| *on == connection).copied().collect();
        for key in keys {
            self.drop_fetch(key);
        }
    }

    /// There will be no link to this node.
    pub fn on_link_failed(&mut self, peer: NodeId) {
        for download in self.downloads.values_mut() {
            download.on_holder_failed(peer);
        }
    }

    /// Asks for whatever may be asked for. To be called after anything else.
    pub fn pump(&mut self, now: Instant, around: &mut Around<'_>) {
        for (connection, channel) in std::mem::take(&mut self.unwanted) {
            let _ = around.endpoint.reset(now, connection, channel, code::NOT_WANTED);
        }
        let mut total: u64 = self.downloads.values().map(|download| download.under_way).sum();
        let slices = |download: &Download| download.stage == Stage::Slices && download.plan.has_missing();
        let waiting: Vec<_> = self.downloads.values().filter(|d| slices(d)).map(|d| d.number).collect();
        if waiting.is_empty() {
            return;
        }
        let share = MAX_WINDOW / waiting.len().max(1) as u64;
        let first = usize::try_from(self.turn).unwrap_or(0) % waiting.len();
        self.turn = self.turn.wrapping_add(1);
        for number in waiting.iter().cycle().skip(first).take(waiting.len()) {
            while total < MAX_WINDOW {
                match self.ask_next(now, around, *number, share) {
                    Some(bytes) => total += bytes,
                    None => break,
                }
            }
        }
    }

    /// Asks for one more range of this download; how many bytes that is.
    fn ask_next(&mut self, now: Instant, around: &mut Around<'_>, number: DownloadNumber, share: u64) -> Option<u64> {
        let download = self.downloads.get_mut(&number)?;
        if download.under_way >= download.window.bytes().min(share.max(1)) || !download.plan.has_missing() {
            return None;
        }
        let holders = around.catalogue.holders(&download.hash, download.size);
        let peer = match download.choose(now, &holders, |peer| around.links.connection(peer).is_some()) {
            Source::From(peer) => peer,
            Source::NeedsLink(peer) => {
                self.outputs.push_back(TransferOutput::NeedLink(peer));
                return None;
            }
            Source::Wait => return None,
            Source::Nobody => {
                self.give_up(number);
                return None;
            }
        };
        let connection = around.links.connection(peer)?;
        let range = download.plan.take()?;
        let ask = Ask { hash: download.hash, range };
        let Some(channel) = send_ask(now, around.endpoint, connection, &ask) else {
            download.plan.give_back(range);
            download.on_busy(now, peer);
            return None;
        };
        let bytes = range.end - range.start;
        if download.under_way == 0 {
            download.on_first_question(now);
        }
        download.under_way += bytes;
        self.look_at.get_or_insert(now + LOOK_EVERY);
        let (pieces, small) = (Vec::new(), BytesMut::new());
        let fetch = Fetch { download: number, range, peer, pieces, small, bytes: 0 };
        self.fetches.insert((connection, channel), fetch);
        Some(bytes)
    }

    fn give_up(&mut self, number: DownloadNumber) {
        let Some(download) = self.downloads.get(&number) else { return };
        if !download.writing.is_empty() {
            return; // the disk still has some of it: what it says comes first
        }
        let (code, why) = if download.was_lied_to() {
            (ErrorCode::Corrupt, "what came did not verify, and nobody else holds it")
        } else {
            (ErrorCode::Unreachable, "nobody who holds it can be reached")
        };
        let name = download.name.clone();
        self.downloads.remove(&number);
        self.disk(DiskRequest::Pause { download: number });
        self.error(&name, code, &format!("{why}; what came is kept, `R` goes on with it once a holder is there"));
    }

    /// Looks after holders that owe us bytes.
    pub fn handle_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.downloads.values_mut().for_each(|download| download.end_pause(now));
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        self.look_at = (!self.fetches.is_empty()).then(|| now + LOOK_EVERY);
        let mut failed = Vec::new();
        for (&(connection, channel), fetch) in &self.fetches {
            let Some(download) = self.downloads.get(&fetch.download) else { continue };
            let waited = now.saturating_since(download.heard);
            let silent = endpoint.stats(now, connection).map_or(Duration::MAX, |stats| stats.silent_for);
            if (waited >= SILENT && silent >= SILENT) || download.is_too_slow(now) {
                failed.push((connection, channel, fetch.peer));
            }
        }
        let mut asked: Option<ConnectionHandle> = None;
        for &(connection, _) in self.fetches.keys() {
            if asked.replace(connection) != Some(connection) {
                endpoint.ping(now, connection);
            }
        }
        for (connection, channel, peer) in failed {
            let _ = endpoint.reset(now, connection, channel, code::NOT_WANTED);
            if let Some(download) = self.drop_fetch((connection, channel)).and_then(|n| self.downloads.get_mut(&n)) {
                download.on_holder_failed(peer);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) and [`pump`](Self::pump) are due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.downloads.values().filter_map(Download::pause).chain(self.look_at).min()
    }

    /// What is wanted of others.
    pub fn poll_output(&mut self) -> Option<TransferOutput> {
        self.outputs.pop_front()
    }

    /// The end: what is on the disk stays for the next time.
    pub fn pause_all(&mut self) {
        for number in self.downloads.keys().copied().collect::<Vec<_>>() {
            self.disk(DiskRequest::Pause { download: number });
        }
        self.downloads.clear();
        self.fetches.clear();
    }

    /// Whether a download needs the link to this peer.
    pub fn uses(&self, peer: NodeId) -> bool {
        self.downloads.values().any(|download| download.uses(peer))
    }

    /// Forgets what was asked for, so that it is missing again. Whose download it was.
    fn drop_fetch(&mut self, key: (ConnectionHandle, ChannelId)) -> Option<DownloadNumber> {
        let fetch = self.fetches.remove(&key)?;
        let download = self.downloads.get_mut(&fetch.download)?;
        download.under_way = download.under_way.saturating_sub(fetch.range.end - fetch.range.start);
        download.plan.give_back(fetch.range);
        Some(fetch.download)
    }

    fn disk(&mut self, request: DiskRequest) {
        self.outputs.push_back(TransferOutput::Disk(request));
    }

    fn error(&mut self, name: &str, code: ErrorCode, message: &str) {
        let message = format!("{name}: {message}");
        self.outputs.push_back(TransferOutput::Event(Event::Error { command: Some('R'), code, message }));
    }
}

/// The question on a channel of its own, or `None` if the connection takes none at the moment.
fn send_ask(now: Instant, endpoint: &mut Endpoint, connection: ConnectionHandle, ask: &Ask) -> Option<ChannelId> {
    let channel = endpoint.open_channel(connection, Class::Bulk).ok()?;
    let mut bytes = Bytes::copy_from_slice(&ask.emit());
    let sent = endpoint.send(connection, channel, &mut bytes).is_ok() && bytes.is_empty();
    if sent && endpoint.finish(connection, channel).is_ok() {
        return Some(channel);
    }
    let _ = endpoint.reset(now, connection, channel, code::NOT_WANTED);
    None
}

#[cfg(test)]
mod tests;
