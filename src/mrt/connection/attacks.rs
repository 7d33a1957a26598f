//! A peer with valid keys and bad intentions: what it can seal, it can send.
//!
//! [`Villain`] makes an honest setup against a [`Connection`], then takes the keys over and seals whatever frames a test wants. What
//! the victim may do: go on, or close with a violation. What it may not: panic, hold more than its caps, spend more than the bytes
//! are worth, wake for ever, or send an address that is not proven more than three times what came from there.

use super::life::{Birth, Call, Connection, Request};
use super::live::Live;
use super::transmit::Departure;
use crate::machine::Ecn;
use crate::mrt::api::{
    ChannelId, Class, CloseReason, Config, ConnectTo, ConnectionHandle, Event, Received, SendError, StaticKey,
};
use crate::mrt::wire::packet::{DATA_HEADER_LEN, RCON_LEN};
use crate::mrt::wire::{Cid, Clear, DataHeader, Frame, Frames, PacketNumber};
use crate::time::{Duration, Instant};
use bytes::Bytes;
use std::net::SocketAddr;

const MS: Duration = Duration::from_millis(1);

/// Where the villain is, and where the victim.
const EVIL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 6)), 666);
const GOOD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1);

/// Somebody else, who never asked for anything.
fn elsewhere(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], port))
}

fn config(number: u8) -> Config {
    Config::new(StaticKey::from_bytes([number; 32]), b"attacks")
}

fn birth(number: u8) -> Birth {
    Birth {
        handle: ConnectionHandle(number.into()),
        cid: Cid(u64::from(number)),
        handshake_seed: [number; 32],
        entropy_seed: [number.wrapping_add(100); 32],
    }
}

/// A connected victim, and the keys of its peer.
struct Villain {
    victim: Connection,
    config: Config,
    live: Box<Live>,
    number: u64,
    now: Instant,
    /// What the victim sent since last asked: where to, and the datagram.
    sent: Vec<(SocketAddr, Vec<u8>)>,
    events: Vec<Event>,
}

impl Villain {
    /// It called the victim, which knows nothing of it but its key.
    fn calling(config_of_victim: Config) -> Self {
        let (now, mine) = (Instant::ZERO, config(6));
        let to = ConnectTo::Known(config_of_victim.static_key.public());
        let call = Call { route: GOOD.into(), to, timeout: Duration::from_secs(5) };
        let mut me = Connection::connect(now, &mine, &birth(6), &call).unwrap();
        let mut first = Vec::new();
        me.poll_transmit(now, &mut first).unwrap();
        assert_eq!(first.len(), RCON_LEN);
        let Ok(Clear::Rcon { pattern, from, noise, .. }) = Clear::parse(&first) else { panic!() };
        let request = Request { from: EVIL.into(), cid: from, pattern, noise };
        let mut victim = Connection::accept(now, &config_of_victim, &birth(1), &request, |_| None).unwrap();
        let mut second = Vec::new();
        victim.poll_transmit(now, &mut second).unwrap();
        let Ok(Clear::Acon { noise, .. }) = Clear::parse(&second) else { panic!() };
        me.on_accept(now, &mine, GOOD.into(), noise, second.len());
        let live = me.live.take().unwrap();
        let mut villain =
            Self { victim, config: config_of_victim, live, number: 0, now, sent: Vec::new(), events: Vec::new() };
        villain.send(EVIL, &[Frame::Ping]);
        assert!(matches!(villain.events.as_slice(), [Event::Connected { .. }]), "{:?}", villain.events);
        villain.drain();
        villain.sent.clear();
        villain
    }

    /// Seals these frames under the next number and hands the packet over. Returns its length.
    fn send(&mut self, from: SocketAddr, frames: &[Frame<'_>]) -> usize {
        let mut body = Vec::new();
        frames.iter().for_each(|frame| frame.emit(&mut body));
        self.send_bytes(from, &body)
    }

    fn send_bytes(&mut self, from: SocketAddr, body: &[u8]) -> usize {
        let number = self.number;
        self.number += 1;
        let mut packet = self.seal(number, body);
        let header = DataHeader::parse(&packet).unwrap();
        self.victim.on_data(self.now, from.into(), Ecn::NotCapable, header, &mut packet);
        self.events.extend(core::iter::from_fn(|| self.victim.poll_event()));
        packet.len()
    }

    fn seal(&mut self, number: u64, body: &[u8]) -> Vec<u8> {
        let number = PacketNumber(number);
        let key_phase = self.live.keys.phase_for(number);
        let mut packet = Vec::new();
        DataHeader { key_phase, to: self.live.remote_cid, number: number.truncate() }.emit(&mut packet);
        packet.extend_from_slice(body);
        let (head, body) = packet.split_at_mut(DATA_HEADER_LEN);
        let tag = self.live.keys.seal(number, head, body);
        packet.extend_from_slice(&tag);
        packet
    }

    /// Takes what the victim has to say now. Afterwards it waits for a time that is yet to come.
    fn drain(&mut self) {
        let mut buffer = Vec::new();
        while let Some(Departure { route, segment_size, .. }) = self.victim.poll_transmit(self.now, &mut buffer) {
            let to = route.remote().unwrap();
            self.sent.extend(buffer.chunks(segment_size).map(|datagram| (to, datagram.to_vec())));
            buffer.clear();
            assert!(self.sent.len() < 100_000, "it sends for ever");
        }
    }

    /// Lets time pass, with every wake-up of the victim.
    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..1_000_000 {
            self.drain();
            self.events.extend(core::iter::from_fn(|| self.victim.poll_event()));
            match self.victim.poll_timeout(&self.config) {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.victim.handle_timeout(self.now, &self.config);
                    self.drain();
                    let next = self.victim.poll_timeout(&self.config);
                    assert!(next.is_none_or(|next| next > self.now), "{next:?} is not later than {:?}", self.now);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("a million wake-ups within {duration:?}");
    }

    fn violation(&self) -> Option<&'static str> {
        self.events.iter().find_map(|event| match event {
            Event::Lost { reason: CloseReason::Violation(what), .. } => Some(*what),
            _ => None,
        })
    }

    /// The `index`-th channel of a class that the villain may open.
    fn channel(class: Class, index: u64) -> ChannelId {
        ChannelId::new(true, class, index)
    }

    fn sent_to(&self, address: SocketAddr) -> usize {
        self.sent.iter().filter(|(to, _)| *to == address).map(|(_, datagram)| datagram.len()).sum()
    }
}

#[test]
fn what_breaks_the_protocol_closes_the_connection_and_says_why() {
    let theirs = ChannelId::new(false, Class::Chat, 0);
    let mine = Villain::channel(Class::Chat, 0);
    let window = 1 << 20;
    let cases: [(&[Frame<'_>], &str); 12] = [
        (&[Frame::Stop { channel: theirs, code: 0 }], "a channel that was never opened"),
        (&[Frame::MaxChan { channel: theirs, limit: 9 }], "a channel that was never opened"),
        (&[Frame::Reset { channel: theirs, code: 0, final_offset: 0 }], "a channel that was never opened"),
        (&[Frame::Stop { channel: Villain::channel(Class::Chat, 1024), code: 0 }], "more channels than allowed"),
        (&[Frame::Stop { channel: ChannelId(varint_max()), code: 0 }], "a channel that was never opened"),
        (&[Frame::Stop { channel: ChannelId(varint_max() - 1), code: 0 }], "more channels than allowed"),
        (&[Frame::Chan { channel: mine, offset: window, fin: false, data: b"x" }], "more than the channel's credit"),
        (
            &[Frame::Chan { channel: mine, offset: varint_max(), fin: true, data: b"" }],
            "more than the connection's credit",
        ),
        (&[Frame::Reset { channel: mine, code: 0, final_offset: varint_max() }], "more than the connection's credit"),
        (
            &[
                Frame::Chan { channel: mine, offset: 0, fin: true, data: b"abc" },
                Frame::Chan { channel: mine, offset: 3, fin: false, data: b"d" },
            ],
            "a channel's length changed",
        ),
        (
            &[
                Frame::Chan { channel: mine, offset: 0, fin: true, data: b"abc" },
                Frame::Reset { channel: mine, code: 0, final_offset: 2 },
            ],
            "a channel's length changed",
        ),
        (
            &[
                Frame::Chan { channel: mine, offset: 0, fin: false, data: b"abc" },
                Frame::Chan { channel: mine, offset: 0, fin: true, data: b"ab" },
            ],
            "a channel ends before what it sent",
        ),
    ];
    for (frames, why) in cases {
        let mut villain = Villain::calling(config(1));
        villain.send(EVIL, frames);
        assert_eq!(villain.violation(), Some(why), "{frames:?}");
        assert!(matches!(villain.events.last(), Some(Event::Lost { .. })), "nothing comes after the end");
        villain.run_for(Duration::from_secs(60));
        assert!(villain.victim.is_over());
    }
}

const fn varint_max() -> u64 {
    crate::mrt::wire::varint::MAX
}

#[test]
fn the_last_channel_allowed_is_allowed_and_credit_may_be_used_to_the_last_byte() {
    let mut villain = Villain::calling(config(1));
    for class in Class::ALL {
        villain.send(EVIL, &[Frame::Stop { channel: Villain::channel(class, 1023), code: 0 }]);
    }
    let mine = Villain::channel(Class::Bulk, 0);
    villain.send(EVIL, &[Frame::Chan { channel: mine, offset: (1 << 20) - 1, fin: false, data: b"x" }]);
    let other = Villain::channel(Class::Bulk, 1);
    villain.send(EVIL, &[Frame::Reset { channel: other, code: 0, final_offset: 1 << 20 }]);
    assert_eq!(villain.violation(), None);
    villain.run_for(Duration::from_secs(1));
}

#[test]
fn acknowledging_what_was_never_sent_is_found_out() {
    let mut villain = Villain::calling(config(1));
    villain.send_bytes(EVIL, &[0x02, 0x80, 0, 0xFF, 0xFF, 0, 0, 0]);
    assert_eq!(villain.violation(), Some("acknowledged what was never sent"));
    // Blindly, whatever was sent: within a few hundred packets there is a number that was left out.
    let mut villain = Villain::calling(config(1));
    for _ in 0..2000 {
        villain.victim.ping(villain.now);
        villain.run_for(30 * MS);
        let largest = villain.victim.live.as_ref().unwrap().numbers.next() - 1;
        let mut body = vec![0x02];
        [largest, 0, 0, largest].iter().for_each(|number| crate::mrt::wire::varint::put(&mut body, *number));
        villain.send_bytes(EVIL, &body);
        if villain.violation().is_some() {
            return;
        }
    }
    panic!("it acknowledged blindly and got away with it");
}

#[test]
fn a_peer_that_floods_us_with_every_kind_of_frame_makes_us_hold_no_more_than_the_caps() {
    let mut villain = Villain::calling(config(1));
    let channel = villain.victim.open_channel(Class::Bulk).unwrap();
    villain.victim.send(channel, &mut Bytes::from(vec![1; 100_000])).unwrap();
    for round in 0..3000_u64 {
        let token = [round as u8; 8];
        let mut frames = vec![Frame::PathChallenge(token); 30];
        frames.extend([Frame::PathResponse(token); 10]);
        frames.push(Frame::MaxData { limit: round });
        frames.push(Frame::MaxChan { channel, limit: round });
        frames.push(Frame::MaxChans { class: Class::Chat, limit: 1 << 59 });
        frames.push(Frame::Stop { channel: Villain::channel(Class::Request, round % 1024), code: 3 });
        frames.push(Frame::Chan {
            channel: Villain::channel(Class::Bulk, round % 1024),
            offset: round / 8 * 2,
            fin: false,
            data: b"x",
        });
        villain.number += round % 3;
        villain.send(EVIL, &frames);
        villain.now = villain.now + MS;
        villain.drain();
        villain.sent.clear();
    }
    assert_eq!(villain.violation(), None);
    let live = villain.victim.live.as_ref().unwrap();
    assert!(
        live.paths.active.ledger.len() < 2 * crate::mrt::recovery::ledger::MAX_ACK_ONLY,
        "{}",
        live.paths.active.ledger.len()
    );
    assert!(villain.events.len() <= 2 + 1024, "{}", villain.events.len());
    villain.run_for(Duration::from_secs(100));
    assert!(villain.victim.is_over(), "silence ends it");
}

#[test]
fn a_packet_of_credit_frames_costs_no_more_than_a_packet() {
    // Each raises the connection's limit by one byte, with as many channels as there may be.
    let mut villain = Villain::calling(config(1));
    for class in Class::ALL {
        villain.send(EVIL, &[Frame::Stop { channel: Villain::channel(class, 1023), code: 0 }]);
    }
    villain.run_for(Duration::from_secs(1));
    let before = villain.victim.live.as_ref().unwrap().channels.looked_at();
    for packet in 0..10 {
        let frames: Vec<_> = (0..150).map(|step| Frame::MaxData { limit: (1 << 29) + packet * 150 + step }).collect();
        villain.send(EVIL, &frames);
        villain.drain();
    }
    let looked_at = villain.victim.live.as_ref().unwrap().channels.looked_at() - before;
    assert!(looked_at <= 10 * 4096, "{looked_at} channels were looked at");
}

#[test]
fn an_address_that_is_not_proven_gets_at_most_three_times_what_came_from_it() {
    let mut villain = Villain::calling(config(1));
    let channel = villain.victim.open_channel(Class::Bulk).unwrap();
    villain.victim.send(channel, &mut Bytes::from(vec![1; 100_000])).unwrap();
    for port in 1..200 {
        let challenges = vec![Frame::PathChallenge([1; 8]); usize::from(port % 7)];
        let mut frames = vec![Frame::Ping];
        frames.extend(challenges);
        let mut received = villain.send(elsewhere(port), &frames);
        villain.run_for(Duration::from_millis(u64::from(port) * 7));
        if port % 3 == 0 {
            // An older packet, late: from an address that is not on trial.
            villain.number -= 1;
            villain.number += 2;
            received += villain.send(elsewhere(port), &[Frame::PathChallenge([2; 8])]);
            villain.drain();
        }
        let sent = villain.sent_to(elsewhere(port));
        assert!(sent <= 3 * received, "port {port}: {sent} for {received}");
        villain.send(EVIL, &[Frame::Ping]);
        villain.drain();
    }
    assert!(villain.events.iter().all(|event| !matches!(event, Event::Moved { .. })));
}

impl Villain {
    /// The challenges that the victim sent to that address since last asked.
    fn challenges_to(&mut self, address: SocketAddr) -> Vec<[u8; 8]> {
        let mut tokens = Vec::new();
        for (_, mut datagram) in core::mem::take(&mut self.sent).into_iter().filter(|(to, _)| *to == address) {
            let header = DataHeader::parse(&datagram).unwrap();
            let (head, body) = datagram.split_at_mut(DATA_HEADER_LEN);
            let number = PacketNumber(header.number.into());
            let payload = self.live.keys.open(self.now, MS, number, header.key_phase, head, body).unwrap();
            tokens.extend(Frames::new(payload).filter_map(|frame| match frame.unwrap() {
                Frame::PathChallenge(token) => Some(token),
                _ => None,
            }));
        }
        tokens
    }

    /// A datagram of full size that only asks about its path, or answers.
    fn probe(&mut self, from: SocketAddr, frame: Frame<'_>) -> usize {
        let padding = usize::from(super::BASE_DATAGRAM) - DATA_HEADER_LEN - 9 - 16;
        self.send(from, &[frame, Frame::Padding(padding)])
    }

    fn paths(&self) -> Vec<crate::mrt::PathStats> {
        self.victim.path_stats()
    }
}

#[test]
fn a_way_that_the_peer_shows_gets_three_times_what_came_from_it_however_often_it_is_asked() {
    let mut villain = Villain::calling(config(1));
    for round in 0..50_u16 {
        for port in 1..20 {
            let asked = villain.probe(elsewhere(port), Frame::PathChallenge([round as u8; 8]));
            assert_eq!(asked, 1200);
            villain.drain();
            let (sent, received) = (villain.sent_to(elsewhere(port)), usize::from(round + 1) * asked);
            assert!(sent <= 3 * received, "port {port}: {sent} for {received}");
        }
        let on_trial = villain.paths().iter().filter(|path| !path.validated).count();
        assert!((1..=4).contains(&on_trial), "{on_trial}");
        villain.run_for(Duration::from_millis(u64::from(round) * 9));
    }
    assert!(villain.events.iter().all(|event| !matches!(event, Event::PathUp { .. } | Event::Moved { .. })));
    // When nobody asks any more, it ends.
    villain.run_for(Duration::from_secs(20));
    villain.sent.clear();
    villain.send(EVIL, &[Frame::Ping]);
    villain.run_for(Duration::from_secs(5));
    assert_eq!(villain.paths().len(), 1);
    assert!(villain.sent.iter().all(|(to, _)| *to == EVIL), "and nobody else is asked");
}

#[test]
fn of_the_ways_that_a_peer_proves_four_are_kept() {
    let mut villain = Villain::calling(config(1));
    for port in 1..40 {
        villain.probe(elsewhere(port), Frame::PathChallenge([1; 8]));
        villain.drain();
        for token in villain.challenges_to(elsewhere(port)) {
            villain.probe(elsewhere(port), Frame::PathResponse(token));
        }
        let proven = villain.paths().iter().filter(|path| path.validated).count();
        assert_eq!(proven, usize::from(port + 1).min(4), "port {port}");
        villain.send(EVIL, &[Frame::Ping]);
        villain.run_for(MS);
    }
    assert_eq!(villain.events.iter().filter(|event| matches!(event, Event::PathUp { .. })).count(), 3);
    // They answer nothing: they are given up, and that is told once for each.
    for _ in 0..10 {
        villain.send(EVIL, &[Frame::Ping]);
        villain.run_for(Duration::from_secs(10));
    }
    assert_eq!(villain.events.iter().filter(|event| matches!(event, Event::PathDown { .. })).count(), 3);
    assert_eq!(villain.paths().len(), 1);
    assert_eq!(villain.violation(), None);
}

#[test]
fn an_answer_that_is_not_full_size_or_comes_from_elsewhere_proves_no_path() {
    let mut villain = Villain::calling(config(1));
    villain.probe(elsewhere(1), Frame::PathChallenge([1; 8]));
    villain.drain();
    let token = villain.challenges_to(elsewhere(1))[0];
    villain.send(elsewhere(1), &[Frame::PathResponse(token)]);
    villain.probe(elsewhere(2), Frame::PathResponse(token));
    villain.probe(elsewhere(1), Frame::PathResponse([9; 8]));
    assert_eq!(villain.paths().iter().filter(|path| path.validated).count(), 1);
    villain.probe(elsewhere(1), Frame::PathResponse(token));
    assert_eq!(villain.paths().iter().filter(|path| path.validated).count(), 2);
}

#[test]
fn credit_is_given_back_once_for_every_byte_however_a_channel_ends() {
    // Each channel takes a part of the connection's credit and ends in another way: a byte lost on the way would stop the villain,
    // a byte given back twice would let it go on beyond what the window allows.
    let mut villain = Villain::calling(config(1));
    let piece = vec![7; 1000];
    for index in 0..20_000_u64 {
        let channel = Villain::channel(Class::Bulk, index);
        let (from, far) = (0, 50_000);
        match index % 5 {
            // Read to the end.
            0 => {
                villain.send(EVIL, &[Frame::Chan { channel, offset: from, fin: true, data: &piece }]);
                assert!(matches!(villain.victim.receive(villain.now, channel), Ok(Received::Bytes(_))));
                assert_eq!(villain.victim.receive(villain.now, channel), Ok(Received::Finished));
            }
            // A gap, then reset by the villain.
            1 => {
                villain.send(EVIL, &[Frame::Chan { channel, offset: far, fin: false, data: &piece }]);
                villain.send(EVIL, &[Frame::Reset { channel, code: 1, final_offset: far + 2000 }]);
                villain.send(EVIL, &[Frame::Reset { channel, code: 1, final_offset: far + 2000 }]);
                assert!(villain.victim.receive(villain.now, channel).is_err());
            }
            // Given up by us, then more of it, then its end.
            2 => {
                villain.send(EVIL, &[Frame::Chan { channel, offset: far, fin: false, data: &piece }]);
                villain.victim.reset(villain.now, channel, 4).unwrap();
                villain.send(EVIL, &[Frame::Chan { channel, offset: far + 1000, fin: false, data: &piece }]);
                villain.send(EVIL, &[Frame::Chan { channel, offset: 5, fin: false, data: &piece }]);
                villain.send(EVIL, &[Frame::Reset { channel, code: 1, final_offset: far + 2000 }]);
            }
            // Partly read, then given up with its end known.
            3 => {
                villain.send(EVIL, &[Frame::Chan { channel, offset: 0, fin: false, data: &piece }]);
                assert!(matches!(villain.victim.receive(villain.now, channel), Ok(Received::Bytes(_))));
                villain.send(EVIL, &[Frame::Chan { channel, offset: far, fin: true, data: &piece }]);
                villain.victim.reset(villain.now, channel, 4).unwrap();
                villain.send(EVIL, &[Frame::Chan { channel, offset: far, fin: true, data: &piece }]);
            }
            // Reset by the villain, then given up before that was read.
            _ => {
                villain.send(EVIL, &[Frame::Reset { channel, code: 1, final_offset: far }]);
                let _: Result<(), SendError> = villain.victim.reset(villain.now, channel, 4);
            }
        }
        villain.send(EVIL, &[Frame::Stop { channel, code: 0 }]);
        assert_eq!(villain.violation(), None, "channel {index}");
        villain.now = villain.now + 50 * MS;
        // Acknowledges all, so that resets are over and channels forgotten: the numbers that were left out excepted.
        villain.acknowledge_all();
        villain.events.clear();
        let channels = &villain.victim.live.as_ref().unwrap().channels;
        assert_eq!(channels.held_back(), 0, "channel {index}");
        assert_eq!(channels.len(), 0, "channel {index}");
    }
}

impl Villain {
    /// Acknowledges exactly what came.
    fn acknowledge_all(&mut self) {
        self.drain();
        let sent = core::mem::take(&mut self.sent);
        self.acknowledge(sent);
    }

    fn acknowledge(&mut self, sent: Vec<(SocketAddr, Vec<u8>)>) {
        let mut ranges = crate::mrt::ranges::RangeSet::new();
        for (_, datagram) in sent {
            let number = u64::from(DataHeader::parse(&datagram).unwrap().number);
            ranges.insert(number..number + 1);
        }
        let mut body = Vec::new();
        if crate::mrt::wire::put_ack(&mut body, ranges.iter().rev(), 0, None, 1000) > 0 {
            self.send_bytes(EVIL, &body);
        }
    }
}

#[test]
fn a_peer_that_hears_and_never_acknowledges_costs_no_memory_that_grows() {
    let mut villain = Villain::calling(config(1));
    let channel = villain.victim.open_channel(Class::Bulk).unwrap();
    villain.victim.send(channel, &mut Bytes::from(vec![1; 100_000])).unwrap();
    for _ in 0..4000 {
        villain.send(EVIL, &[Frame::Ping]);
        villain.run_for(Duration::from_secs(1));
        villain.sent.clear();
        if villain.victim.is_over() {
            break;
        }
    }
    let held = villain.victim.live.as_ref().map_or(0, |live| live.paths.active.ledger.len());
    assert!(held < 1000 || villain.victim.is_over(), "{held} packets are remembered");
}

#[test]
fn a_round_trip_that_a_peer_made_to_look_like_hours_does_not_keep_its_corpse_for_hours() {
    let mut villain = Villain::calling(config(1));
    villain.victim.ping(villain.now);
    villain.drain();
    let (_, pinged) = villain.sent.last().unwrap().clone();
    for _ in 0..60 {
        villain.now = villain.now + Duration::from_secs(20);
        villain.send(EVIL, &[Frame::Ping]);
    }
    villain.acknowledge(vec![(EVIL, pinged)]);
    assert!(villain.victim.live.as_ref().unwrap().rtt() > Duration::from_secs(60), "it believes it");
    villain.victim.close(villain.now, 0, "");
    villain.run_for(Duration::from_secs(30));
    assert!(villain.victim.is_over());
}

#[test]
fn random_frames_from_a_sealed_peer_never_panic_and_never_spin() {
    use proptest::prelude::*;
    let number = || prop_oneof![0..2000_u64, Just(1 << 20), Just(varint_max()), 0..=varint_max()];
    let byte = prop_oneof![
        Just(0x01_u8),
        Just(2),
        Just(3),
        Just(4),
        Just(5),
        Just(8),
        Just(9),
        Just(10),
        Just(11),
        Just(0x10),
        Just(0x11),
        Just(0x12),
        Just(0x18),
        Just(0x19)
    ];
    let frame = (byte, prop::collection::vec(number(), 1..6), any::<bool>()).prop_map(|(kind, numbers, small)| {
        let mut bytes = vec![kind];
        match kind {
            0x18 | 0x19 => bytes.extend_from_slice(&[7; 8]),
            0x12 => {
                bytes.push((numbers[0] % 4) as u8);
                crate::mrt::wire::varint::put(&mut bytes, numbers[0] % (1 << 59));
            }
            _ => numbers.iter().for_each(|number| {
                crate::mrt::wire::varint::put(&mut bytes, if small { number % 50 } else { *number })
            }),
        }
        bytes
    });
    let packet = (prop::collection::vec(frame, 1..8), 0..4_u16, 0..2000_u64, any::<bool>(), 0..4_u64);
    proptest!(ProptestConfig::with_cases(500), |(packets in prop::collection::vec(packet, 1..30))| {
        let mut villain = Villain::calling(config(1));
        for (frames, port, wait, work, gap) in packets {
            let body = frames.concat();
            // Not a valid packet as a whole: then its valid beginning.
            let good: usize = Frames::new(&body).take_while(Result::is_ok).count();
            let mut valid = Vec::new();
            Frames::new(&body).take(good).for_each(|frame| frame.unwrap().emit(&mut valid));
            let from = if port == 0 { elsewhere(1) } else { EVIL };
            villain.number += gap * gap * gap * 1000;
            villain.send_bytes(from, if valid.is_empty() { &[1] } else { &valid });
            if work {
                if let Ok(channel) = villain.victim.open_channel(Class::Chat) {
                    let _: Result<usize, SendError> = villain.victim.send(channel, &mut Bytes::from(vec![1; 3000]));
                }
                for event in core::mem::take(&mut villain.events) {
                    match event {
                        Event::Readable { channel, .. } => while matches!(villain.victim.receive(villain.now, channel), Ok(Received::Bytes(_))) {},
                        event => villain.events.push(event),
                    }
                }
            }
            villain.run_for(Duration::from_millis(wait));
        }
        villain.run_for(Duration::from_secs(200));
        prop_assert!(villain.victim.is_over());
    });
}
