//! The villain: an honest setup, and then whatever frames a test wants.

use crate::machine::Ecn;
use crate::mrt::api::{ChannelId, Class, CloseReason, Config, ConnectTo, ConnectionHandle, Event, StaticKey};
use crate::mrt::connection::live::Live;
use crate::mrt::connection::{BASE_DATAGRAM, Birth, Call, Connection, Departure, Request};
use crate::mrt::wire::clear::RCON_LEN;
use crate::mrt::wire::header::DATA_HEADER_LEN;
use crate::mrt::wire::{Cid, Clear, DataHeader, Frame, Frames, PacketNumber};
use crate::time::{Duration, Instant};
use std::net::SocketAddr;

pub(super) const MS: Duration = Duration::from_millis(1);

/// Where the villain is, and where the victim.
pub(super) const EVIL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 6)), 666);
const GOOD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1);

/// A connected victim, and the keys of its peer.
pub(super) struct Villain {
    pub(super) victim: Connection,
    pub(super) config: Config,
    pub(super) live: Box<Live>,
    pub(super) number: u64,
    pub(super) now: Instant,
    /// What the victim sent since last asked: where to, and the datagram.
    pub(super) sent: Vec<(SocketAddr, Vec<u8>)>,
    pub(super) events: Vec<Event>,
}

impl Villain {
    /// It called the victim, which knows nothing of it but its key.
    pub(super) fn calling(config_of_victim: Config) -> Self {
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
    pub(super) fn send(&mut self, from: SocketAddr, frames: &[Frame<'_>]) -> usize {
        let mut body = Vec::new();
        frames.iter().for_each(|frame| frame.emit(&mut body));
        self.send_bytes(from, &body)
    }

    pub(super) fn send_bytes(&mut self, from: SocketAddr, body: &[u8]) -> usize {
        let number = self.number;
        self.number += 1;
        let mut packet = self.seal(number, body);
        let header = DataHeader::parse(&packet).unwrap();
        self.victim.on_data(self.now, from.into(), Ecn::NotCapable, header, &mut packet);
        self.events.extend(core::iter::from_fn(|| self.victim.poll_event()));
        packet.len()
    }

    pub(super) fn seal(&mut self, number: u64, body: &[u8]) -> Vec<u8> {
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
    pub(super) fn drain(&mut self) {
        let mut buffer = Vec::new();
        while let Some(Departure { route, segment_size, .. }) = self.victim.poll_transmit(self.now, &mut buffer) {
            let to = route.remote().unwrap();
            self.sent.extend(buffer.chunks(segment_size).map(|datagram| (to, datagram.to_vec())));
            buffer.clear();
            assert!(self.sent.len() < 100_000, "it sends for ever");
        }
    }

    /// Lets time pass, with every wake-up of the victim.
    pub(super) fn run_for(&mut self, duration: Duration) {
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

    pub(super) fn violation(&self) -> Option<&'static str> {
        self.events.iter().find_map(|event| match event {
            Event::Lost { reason: CloseReason::Violation(what), .. } => Some(*what),
            _ => None,
        })
    }

    /// The `index`-th channel of a class that the villain may open.
    pub(super) fn channel(class: Class, index: u64) -> ChannelId {
        ChannelId::new(true, class, index)
    }

    pub(super) fn sent_to(&self, address: SocketAddr) -> usize {
        self.sent.iter().filter(|(to, _)| *to == address).map(|(_, datagram)| datagram.len()).sum()
    }

    /// The challenges that the victim sent to that address since last asked.
    pub(super) fn challenges_to(&mut self, address: SocketAddr) -> Vec<[u8; 8]> {
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
    pub(super) fn probe(&mut self, from: SocketAddr, frame: Frame<'_>) -> usize {
        let padding = usize::from(BASE_DATAGRAM) - DATA_HEADER_LEN - 9 - 16;
        self.send(from, &[frame, Frame::Padding(padding)])
    }

    pub(super) fn paths(&self) -> Vec<crate::mrt::PathStats> {
        self.victim.path_stats()
    }

    /// Acknowledges exactly what came.
    pub(super) fn acknowledge_all(&mut self) {
        self.drain();
        let sent = core::mem::take(&mut self.sent);
        self.acknowledge(sent);
    }

    pub(super) fn acknowledge(&mut self, sent: Vec<(SocketAddr, Vec<u8>)>) {
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

/// Somebody else, who never asked for anything.
pub(super) fn elsewhere(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], port))
}

pub(super) fn config(number: u8) -> Config {
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

/// The largest number that a frame can hold.
pub(super) const fn varint_max() -> u64 {
    crate::mrt::wire::varint::MAX
}
