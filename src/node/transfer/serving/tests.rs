//! What askers can make a holder hold, over two real endpoints.

use super::*;
use crate::machine::{Datagram, Ecn, Machine, SocketId};
use crate::mrt::{Class, Config, ConnectTo, Event, ReceiveError, StaticKey};
use crate::node::disk::{ByteRange, DiskReply, OfferNumber};
use crate::node::files::FileHash;
use crate::node::identity::Identity;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

const HASH: FileHash = FileHash([7; 32]);
const MIB: u64 = 1 << 20;
const PEER: NodeId = NodeId([9; 32]);

/// An asker with a bare endpoint, and a holder that offers 100 MiB.
struct Pair {
    asker: Endpoint,
    holder: Endpoint,
    serving: Serving,
    catalogue: Catalogue,
    connection: ConnectionHandle,
    now: Instant,
    is_member: bool,
}

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 7000))
}

impl Pair {
    fn new(is_member: bool) -> Self {
        let endpoint = |seed: u8| Endpoint::new(Config::new(StaticKey::from_bytes([seed; 32]), b"test"), [seed; 32]);
        let (mut asker, holder) = (endpoint(1), endpoint(2));
        let now = Instant::from_start(Duration::from_secs(1));
        let to = ConnectTo::Known(holder.public_key());
        let connection = asker.connect(now, at(2), to, Duration::from_secs(5)).unwrap();
        let mut catalogue = Catalogue::new(Arc::new(Identity::from_seed(&[2; 32])), 1);
        let offer = OfferNumber(0);
        catalogue.offer(PathBuf::from("film")).unwrap();
        catalogue.handle_disk(DiskReply::Found { offer, name: "film".into(), size: 100 * MIB });
        catalogue.handle_disk(DiskReply::Hashed { offer, hash: HASH });
        let mut pair = Self { asker, holder, serving: Serving::default(), catalogue, connection, now, is_member };
        pair.run();
        pair
    }

    /// Half a second of both, one millisecond a step.
    fn run(&mut self) {
        for _ in 0..500 {
            self.now = self.now + Duration::from_millis(1);
            let now = self.now;
            while let Some(event) = self.holder.poll_event() {
                let holder = &mut self.holder;
                match event {
                    Event::Readable { connection, channel } => {
                        self.serving.handle_readable(now, holder, PEER, self.is_member, (connection, channel));
                    }
                    Event::Writable { connection, channel } => {
                        self.serving.handle_writable(holder, (connection, channel));
                    }
                    _ => {}
                }
            }
            self.serving.handle_timeout(now, &mut self.holder, &self.catalogue);
            carry(now, &mut self.asker, at(1), &mut self.holder);
            carry(now, &mut self.holder, at(2), &mut self.asker);
            self.asker.handle_timeout(now);
            self.holder.handle_timeout(now);
        }
    }

    fn ask(&mut self, bytes: &[u8]) -> ChannelId {
        let channel = self.asker.open_channel(self.connection, Class::Bulk).unwrap();
        self.asker.send(self.connection, channel, &mut Bytes::copy_from_slice(bytes)).unwrap();
        self.asker.finish(self.connection, channel).unwrap();
        channel
    }

    fn ask_for(&mut self, hash: FileHash, mebibyte: u64) -> ChannelId {
        let range = ByteRange { start: mebibyte * MIB, end: (mebibyte + 1) * MIB };
        self.ask(&Ask { hash, range }.emit())
    }

    /// Why the holder reset that channel.
    fn refusal(&mut self, channel: ChannelId) -> Option<u32> {
        match self.asker.receive(self.now, self.connection, channel) {
            Err(ReceiveError::Reset(code)) => Some(code),
            _ => None,
        }
    }

    fn requests(&mut self) -> Vec<DiskRequest> {
        std::iter::from_fn(|| self.serving.poll_disk()).collect()
    }
}

fn carry(now: Instant, from: &mut Endpoint, address: SocketAddr, to: &mut Endpoint) {
    let mut buffer = Vec::new();
    while let Some(transmit) = from.poll_transmit(now, &mut buffer) {
        for datagram in buffer.chunks_mut(transmit.segment_size) {
            to.handle_datagram(
                now,
                Datagram { socket: SocketId::MAIN, from: address, ecn: Ecn::NotCapable, contents: datagram },
            );
        }
        buffer.clear();
    }
}

#[test]
fn only_members_are_served() {
    let mut pair = Pair::new(false);
    let channel = pair.ask_for(HASH, 0);
    pair.run();
    assert_eq!(pair.refusal(channel), Some(code::NOT_A_MEMBER));
    assert!(pair.requests().is_empty());
}

#[test]
fn what_is_not_held_or_makes_no_sense_is_refused_with_its_reason() {
    let mut pair = Pair::new(true);
    let unknown = pair.ask_for(FileHash([8; 32]), 0);
    let beyond = pair.ask_for(HASH, 100);
    let long = pair.ask(&[1; 200]);
    let short = pair.ask(&[1; 5]);
    pair.run();
    assert_eq!(pair.refusal(unknown), Some(code::NOT_HELD));
    assert_eq!([beyond, long, short].map(|channel| pair.refusal(channel)), [Some(code::BAD_QUESTION); 3]);
    assert!(pair.requests().is_empty() && pair.serving.questions.is_empty());
}

/// Sixteen mebibytes of slices for one peer; the rest of its questions wait, and those beyond 64 are turned away.
#[test]
fn one_peer_cannot_fill_the_memory_or_the_queue() {
    let mut pair = Pair::new(true);
    let channels: Vec<ChannelId> = (0..70).map(|mebibyte| pair.ask_for(HASH, mebibyte)).collect();
    pair.run();
    assert_eq!(pair.requests().len(), 16);
    assert_eq!(pair.serving.questions.len(), MAX_QUESTIONS_OF_ONE);
    let busy = channels.iter().filter(|channel| pair.refusal(**channel) == Some(code::BUSY)).count();
    assert_eq!(busy, 6);
}

/// An answer makes room for the next question once it has arrived; nobody has to ask again.
#[test]
fn what_is_acknowledged_makes_room_for_what_waits() {
    let mut pair = Pair::new(true);
    let channels: Vec<ChannelId> = (0..17).map(|mebibyte| pair.ask_for(HASH, mebibyte)).collect();
    pair.run();
    let DiskRequest::Slice { token, .. } = pair.requests()[0] else { panic!("no slice") };
    pair.serving.handle_slice(pair.now, &mut pair.holder, token, Ok(Bytes::from_static(b"slice")));
    pair.run();
    assert_eq!(
        pair.asker.receive(pair.now, pair.connection, channels[0]),
        Ok(Received::Bytes(Bytes::from_static(b"slice")))
    );
    assert_eq!(pair.asker.receive(pair.now, pair.connection, channels[0]), Ok(Received::Finished));
    assert_eq!(pair.requests().len(), 1, "the seventeenth");
}

/// What the disk still reads for an asker that went away counts until it is read.
#[test]
fn whoever_goes_away_leaves_nothing_behind() {
    let mut pair = Pair::new(true);
    for mebibyte in 0..30 {
        pair.ask_for(HASH, mebibyte);
    }
    pair.run();
    let requests = pair.requests();
    let connection = pair.serving.questions.keys().next().unwrap().0;
    pair.serving.on_lost(connection);
    assert!(pair.serving.questions.is_empty() && pair.serving.waiting.is_empty());
    assert_eq!(pair.serving.held().0, 16 * MIB);
    for request in requests {
        let DiskRequest::Slice { token, .. } = request else { panic!("no slice") };
        pair.serving.handle_slice(pair.now, &mut pair.holder, token, Ok(Bytes::from_static(b"late")));
    }
    assert_eq!((pair.serving.held().0, pair.serving.reading.len()), (0, 0));
}
