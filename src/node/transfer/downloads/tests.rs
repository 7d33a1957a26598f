//! What holders that lie can do to a download, over real endpoints and with the real disk worker.

use super::*;
use crate::machine::{Datagram, Ecn, Machine, SocketId};
use crate::mrt::{Config, Event as Transport, SendError};
use crate::node::catalogue::CatalogueMessage;
use crate::node::catalogue::offer::{Content, Offer, OfferFacts};
use crate::node::disk::{OfferNumber, Token, Worker};
use crate::node::files::FileHash;
use crate::node::identity::Identity;
use crate::node::record::MemberRecord;
use crate::node::room::DialTo;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

const STEP: Duration = Duration::from_millis(5);
const SIZE: usize = 3 << 20;

/// How a holder answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    /// One bit is wrong.
    Corrupt,
    /// More bytes than any slice has.
    Oversized,
    /// A byte now and then.
    Drip,
    /// A byte, then it gives up.
    Tease,
    /// Never has time.
    Busy,
}

struct Holder {
    manner: Manner,
    endpoint: Endpoint,
    links: Links,
    address: SocketAddr,
    disk: Worker,
    /// Channels whose question was read, and what is still to be sent.
    answers: BTreeMap<(ConnectionHandle, ChannelId), Bytes>,
    questions: usize,
}

struct Story {
    now: Instant,
    endpoint: Endpoint,
    links: Links,
    catalogue: Catalogue,
    downloads: Downloads,
    disk: Worker,
    folder: tempfile::TempDir,
    holders: Vec<Holder>,
    events: Vec<Event>,
}

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 7000))
}

fn content() -> Vec<u8> {
    (0..SIZE).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn ends(seed: u8) -> (Arc<Identity>, Endpoint, Links) {
    let identity = Arc::new(Identity::from_seed(&[seed; 32]));
    let endpoint = Endpoint::new(Config::new(identity.noise().clone(), b"test"), [seed; 32]);
    let links = Links::new(identity.clone(), 1, MemberRecord::sign(&identity, "x", &[at(seed)], 1));
    (identity, endpoint, links)
}

fn worker(folder: &Path, name: &str) -> Worker {
    let (shared, state) = (folder.join(name), folder.join(format!("{name}-state")));
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::create_dir_all(&state).unwrap();
    Worker::new(shared, state)
}

impl Story {
    /// A downloader that is linked to holders of these manners, the first with the lowest id.
    fn new(manners: &[Manner]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (identity, endpoint, links) = ends(100);
        let mut seeds: Vec<u8> = (1..=manners.len() as u8).collect();
        seeds.sort_by_key(|seed| Identity::from_seed(&[*seed; 32]).id());
        let ids: Vec<NodeId> = seeds.iter().map(|seed| Identity::from_seed(&[*seed; 32]).id()).collect();
        let mut catalogue = Catalogue::new(identity.clone(), 1);
        catalogue.handle_view(Instant::ZERO, ids.iter().copied().chain([identity.id()]), identity.id());
        let hash = FileHash(*blake3::hash(&content()).as_bytes());
        let mut holders = Vec::new();
        for (seed, manner) in seeds.into_iter().zip(manners) {
            let (identity, endpoint, links) = ends(seed);
            let content_of = Content { name: "film".into(), size: SIZE as u64, hash: Some(hash) };
            let facts = OfferFacts { owner: identity.id(), start: 1, version: 1, slot: 0, content: Some(content_of) };
            let offers = vec![Offer::sign(&identity, facts)];
            catalogue.handle_message(
                Instant::ZERO,
                identity.id(),
                CatalogueMessage::State { offers, digests: Vec::new() },
            );
            let name = format!("holder-{seed}");
            let mut disk = worker(folder.path(), &name);
            std::fs::write(folder.path().join(&name).join("film"), content()).unwrap();
            disk.handle(DiskRequest::Offer { offer: OfferNumber(0), path: "film".into() }, &mut |_| {});
            while disk.work(&mut |_| {}) {}
            let (manner, address, answers) = (*manner, at(seed), BTreeMap::new());
            holders.push(Holder { manner, endpoint, links, address, disk, answers, questions: 0 });
        }
        let (now, disk) = (Instant::from_start(Duration::from_secs(1)), worker(folder.path(), "taker"));
        let (downloads, events) = (Downloads::default(), Vec::new());
        let mut story = Self { now, endpoint, links, catalogue, downloads, disk, folder, holders, events };
        for (holder, id) in story.holders.iter().zip(ids) {
            let to = DialTo {
                addresses: vec![holder.address],
                id: Some(id),
                key: Some(holder.endpoint.public_key()),
                invitation: None,
            };
            story.links.dial(story.now, &mut story.endpoint, to, &crate::node::links::Relays::default());
        }
        story.run_for(Duration::from_secs(1));
        assert_eq!(story.links.linked().count(), manners.len());
        let listing = story.catalogue.find("film").unwrap();
        story.downloads.begin(story.now, listing, None).unwrap();
        story
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + STEP;
            self.turn();
        }
    }

    fn run_until_over(&mut self, limit: Duration) {
        let end = self.now + limit;
        while self.now < end && !self.downloads.downloads.is_empty() {
            self.now = self.now + STEP;
            self.turn();
        }
        assert!(self.downloads.downloads.is_empty(), "it never ends: {:?}", self.events);
    }

    fn turn(&mut self) {
        let now = self.now;
        self.endpoint.handle_timeout(now);
        self.links.handle_timeout(now, &mut self.endpoint);
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Transport::Readable { connection, channel } if channel.class() == Class::Bulk => {
                    self.downloads.handle_readable(now, &mut self.endpoint, connection, channel);
                }
                event => self.links.handle_event(now, &mut self.endpoint, event),
            }
        }
        while self.links.poll_event().is_some() {}
        self.downloads.handle_timeout(now, &mut self.endpoint);
        let (links, catalogue) = (&self.links, &self.catalogue);
        self.downloads.pump(now, &mut Around { endpoint: &mut self.endpoint, links, catalogue });
        while let Some(output) = self.downloads.poll_output() {
            match output {
                TransferOutput::Disk(request) => {
                    let mut replies = Vec::new();
                    self.disk.handle(request, &mut |reply| replies.push(reply));
                    while self.disk.work(&mut |reply| replies.push(reply)) {}
                    replies.into_iter().for_each(|reply| self.downloads.handle_disk(now, reply));
                }
                TransferOutput::Event(event) => self.events.push(event),
                TransferOutput::NeedLink(peer) => self.downloads.on_link_failed(peer),
            }
        }
        for holder in &mut self.holders {
            holder.turn(now);
            carry(now, &mut holder.endpoint, holder.address, &mut [(at(100), &mut self.endpoint)]);
        }
        let mut ends: Vec<_> = self.holders.iter_mut().map(|holder| (holder.address, &mut holder.endpoint)).collect();
        carry(now, &mut self.endpoint, at(100), &mut ends);
    }

    fn listing(&self) -> Listing {
        self.catalogue.find("film").unwrap()
    }

    fn alerts(&self) -> Vec<String> {
        let words = |event: &'_ Event| match event {
            Event::Alert { code: "corrupt", message } => Some(message.clone()),
            _ => None,
        };
        self.events.iter().filter_map(words).collect()
    }

    fn is_saved(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Saved { .. }))
            && std::fs::read(self.folder.path().join("taker/film")).is_ok_and(|bytes| bytes == content())
    }

    fn error(&self) -> Option<ErrorCode> {
        self.events.iter().find_map(|event| match event {
            Event::Error { code, .. } => Some(*code),
            _ => None,
        })
    }
}

impl Holder {
    fn turn(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.links.handle_timeout(now, &mut self.endpoint);
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Transport::Readable { connection, channel } if channel.class() == Class::Bulk => {
                    self.on_question(now, connection, channel);
                }
                Transport::Writable { channel, .. } if channel.class() == Class::Bulk => {}
                event => self.links.handle_event(now, &mut self.endpoint, event),
            }
        }
        while self.links.poll_event().is_some() {}
        let drip = self.manner == Manner::Drip;
        for (&(connection, channel), rest) in &mut self.answers {
            let mut part = if drip { rest.split_to(rest.len().min(1)) } else { std::mem::take(rest) };
            let sent = self.endpoint.send(connection, channel, &mut part);
            if !drip {
                *rest = part;
            }
            if self.manner == Manner::Tease {
                let _ = self.endpoint.reset(now, connection, channel, code::UNREADABLE);
            }
            if sent == Ok(0) || matches!(sent, Err(SendError::Stopped(_))) {
                continue;
            }
            if rest.is_empty() {
                let _ = self.endpoint.finish(connection, channel);
            }
        }
        let endpoint = &self.endpoint;
        self.answers.retain(|(connection, _), rest| !rest.is_empty() && endpoint.stats(now, *connection).is_some());
    }

    fn on_question(&mut self, now: Instant, connection: ConnectionHandle, channel: ChannelId) {
        let mut question = Vec::new();
        while let Ok(Received::Bytes(bytes)) = self.endpoint.receive(now, connection, channel) {
            question.extend_from_slice(&bytes);
        }
        let Some(ask) = Ask::parse(&question) else { return };
        self.questions += 1;
        let mut slice = Vec::new();
        let request = DiskRequest::Slice { token: Token(0), offer: OfferNumber(0), range: ask.range };
        self.disk.handle(request, &mut |reply| {
            if let DiskReply::Slice { slice: Ok(bytes), .. } = reply {
                slice = bytes.to_vec();
            }
        });
        match self.manner {
            Manner::Honest | Manner::Drip => {}
            Manner::Corrupt => {
                let last = slice.len() - 1;
                slice[last] ^= 1;
            }
            Manner::Oversized => slice.resize(MAX_ENCODED_SLICE as usize + 1, 0),
            Manner::Tease => slice.truncate(1),
            Manner::Busy => {
                let _ = self.endpoint.reset(now, connection, channel, code::BUSY);
                return;
            }
        }
        self.answers.insert((connection, channel), Bytes::from(slice));
    }
}

/// What one endpoint sends reaches whoever it is for.
fn carry(now: Instant, from: &mut Endpoint, address: SocketAddr, to: &mut [(SocketAddr, &mut Endpoint)]) {
    let mut buffer = Vec::new();
    while let Some(transmit) = from.poll_transmit(now, &mut buffer) {
        let target = to.iter_mut().find(|(at, _)| *at == transmit.to);
        if let Some((_, target)) = target {
            for datagram in buffer.chunks_mut(transmit.segment_size) {
                target.handle_datagram(
                    now,
                    Datagram { socket: SocketId::MAIN, from: address, ecn: Ecn::NotCapable, contents: datagram },
                );
            }
        }
        buffer.clear();
    }
}

#[test]
fn a_holder_that_lies_is_named_once_and_the_download_goes_on_from_another() {
    for lie in [Manner::Corrupt, Manner::Oversized] {
        let mut story = Story::new(&[lie, Manner::Honest]);
        story.run_until_over(Duration::from_secs(60));
        assert!(story.is_saved(), "{lie:?}: {:?}", story.events);
        let liar = story.catalogue.holders(&story.listing().hash, SIZE as u64)[0].to_string();
        assert_eq!(story.alerts().len(), 1, "{lie:?}: {:?}", story.events);
        assert!(story.alerts()[0].contains(&liar));
    }
}

/// Nobody honest is left: the user is told that it is the bytes that were wrong, not the network.
#[test]
fn a_download_from_liars_only_fails_as_corrupt() {
    let mut story = Story::new(&[Manner::Corrupt, Manner::Oversized]);
    story.run_until_over(Duration::from_secs(120));
    assert_eq!((story.error(), story.alerts().len()), (Some(ErrorCode::Corrupt), 2), "{:?}", story.events);
    assert!(!story.folder.path().join("taker/film").exists());
}

/// A holder whose slices never end, byte by byte, is left for another, and alone it is given up.
#[test]
fn a_slice_that_never_ends_holds_nothing_up() {
    let mut story = Story::new(&[Manner::Drip, Manner::Honest]);
    story.run_until_over(Duration::from_secs(90));
    assert!(story.is_saved(), "{:?}", story.events);
    let mut story = Story::new(&[Manner::Drip]);
    story.run_until_over(Duration::from_secs(300));
    assert_eq!(story.error(), Some(ErrorCode::Unreachable), "{:?}", story.events);
}

#[test]
fn a_holder_that_begins_and_gives_up_or_never_has_time_is_given_up() {
    for manner in [Manner::Tease, Manner::Busy] {
        let mut story = Story::new(&[manner]);
        story.run_until_over(Duration::from_secs(300));
        assert_eq!(story.error(), Some(ErrorCode::Unreachable), "{manner:?}: {:?}", story.events);
        let asked = story.holders[0].questions;
        assert!(asked < 2000, "{manner:?}: it was asked {asked} times");
    }
}

#[test]
fn small_pieces_are_joined() {
    let mut fetch = Fetch {
        download: DownloadNumber(0),
        range: ByteRange { start: 0, end: 1 },
        peer: NodeId([1; 32]),
        pieces: Vec::new(),
        small: BytesMut::new(),
        bytes: 0,
    };
    let bytes: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
    bytes.iter().for_each(|byte| fetch.push(Bytes::copy_from_slice(&[*byte])));
    fetch.push(Bytes::from(vec![7; SMALL_PIECE]));
    assert_eq!(fetch.bytes, 100_000 + SMALL_PIECE as u64);
    let slice = fetch.into_slice();
    assert!(slice.len() < 20, "{} pieces", slice.len());
    assert!(slice.concat()[..100_000] == bytes);
}

#[test]
fn the_number_of_downloads_is_capped() {
    let mut downloads = Downloads::default();
    let listing = |n: usize| Listing {
        hash: FileHash([n as u8; 32]),
        size: 1,
        name: "film".into(),
        holders: vec![NodeId([1; 32])],
    };
    for n in 0..MAX_DOWNLOADS {
        downloads.begin(Instant::ZERO, listing(n), None).unwrap();
    }
    let error = downloads.begin(Instant::ZERO, listing(MAX_DOWNLOADS), None).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotAllowed);
    assert_eq!(downloads.downloads.len(), MAX_DOWNLOADS);
}
