//! Stories of members and strangers who say what no honest node says.

use super::message::{PathMessage, Prober};
use super::relaying::MAX_FLOWS_EACH;
use crate::machine::{Datagram, Ecn, Machine as _, SocketId, SocketReport, SocketRequest};
use crate::node::api::Command;
use crate::node::identity::{Identity, NodeId};
use crate::node::node::{Node, NodeConfig};
use crate::node::room::RoomConfig;
use crate::stun::candidate::{Candidate, CandidateKind};
use crate::stun::fingerprint::{Filtering, Fingerprint, Mapping, Ports};
use crate::stun::punch::Offer;
use crate::time::{Duration, Instant};
use netem::{Host, Link, Network, Packet, Site};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

pub(super) const SECOND: Duration = Duration::from_secs(1);
const VICTIM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);

/// Who did not ask for anything, and is no member.
pub(super) const VICTIMS: [Ipv4Addr; 3] = [VICTIM, Ipv4Addr::new(198, 51, 100, 67), Ipv4Addr::new(198, 51, 100, 68)];

/// Who leads.
pub(super) const LEADER: usize = 0;

/// Who does what a node should.
pub(super) const HONEST: usize = 1;

/// Who does not.
pub(super) const HOSTILE: usize = 2;

/// One more who does what a node should.
pub(super) const OTHER: usize = 3;

/// A node on a public machine; its disk does nothing.
pub(super) struct Home {
    node: Node,
    ip: IpAddr,
    sockets: BTreeMap<SocketId, u16>,
    next_port: u16,
    outgoing: VecDeque<Packet>,
}

/// A node, or somebody who only counts what comes.
#[expect(clippy::large_enum_variant, reason = "a handful of them")]
pub(super) enum Resident {
    Home(Home),
    Victim { bytes: usize },
}

impl Home {
    fn turn(&mut self, now: Duration) {
        while let Some(request) = self.node.poll_socket() {
            match request {
                SocketRequest::Open { socket, bind } => {
                    let port = if bind.port() == 0 { self.next_port } else { bind.port() };
                    self.next_port += u16::from(bind.port() == 0);
                    self.sockets.insert(socket, port);
                    let local = SocketAddr::new(self.ip, port);
                    self.node.handle_socket(Instant::from_start(now), SocketReport::Opened { socket, local });
                }
                SocketRequest::Close(socket) => {
                    self.sockets.remove(&socket);
                }
            }
        }
        while self.node.poll_event().is_some() || self.node.poll_disk().is_some() || self.node.poll_request().is_some()
        {
        }
    }
}

impl Host for Resident {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, contents: &mut [u8]) {
        match self {
            Self::Victim { bytes } => *bytes += contents.len(),
            Self::Home(home) => {
                let socket = home.sockets.iter().find(|(_, port)| **port == to.port()).map(|(socket, _)| *socket);
                let Some(socket) = socket else { return };
                let datagram = Datagram { socket, from, ecn: Ecn::NotCapable, contents };
                home.node.handle_datagram(Instant::from_start(now), datagram);
                home.turn(now);
            }
        }
    }

    fn handle_timeout(&mut self, now: Duration) {
        if let Self::Home(home) = self {
            home.node.handle_timeout(Instant::from_start(now));
            home.turn(now);
        }
    }

    fn poll_transmit(&mut self, now: Duration) -> Option<Packet> {
        let Self::Home(home) = self else { return None };
        while home.outgoing.is_empty() {
            let mut buffer = Vec::new();
            let transmit = home.node.poll_transmit(Instant::from_start(now), &mut buffer)?;
            let Some(port) = home.sockets.get(&transmit.socket) else { continue };
            let from = SocketAddr::new(home.ip, *port);
            let packets = buffer.chunks(transmit.segment_size);
            home.outgoing.extend(packets.map(|bytes| Packet::new(from, transmit.to, bytes.to_vec())));
        }
        home.outgoing.pop_front()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        match self {
            Self::Home(home) => home.node.poll_timeout().map(Instant::since_start),
            Self::Victim { .. } => None,
        }
    }
}

/// Public nodes, and victims.
pub(super) struct Street(pub(super) Network<Resident>);

impl Street {
    /// Three nodes. The leader's door is open or not; who comes, comes to it.
    fn new(open: bool) -> Self {
        Self::of(&[LEADER, HONEST, HOSTILE], open)
    }

    /// So many nodes.
    pub(super) fn of(nodes: &[usize], open: bool) -> Self {
        let mut network = Network::new(1, Link::with_delay(Duration::from_millis(20)));
        for index in nodes.iter().copied() {
            let config = NodeConfig {
                identity: Arc::new(Identity::from_seed(&[index as u8 + 1; 32])),
                name: index.to_string(),
                local: address(index),
                stun: Vec::new(),
                room: RoomConfig { open, ..RoomConfig::default() },
                unix_at_start: Duration::from_secs(1_800_000_000),
            };
            let node = Node::new(config, Instant::ZERO, [index as u8; 32]);
            let sockets = BTreeMap::from([(SocketId::MAIN, 7000)]);
            let home = Home { node, ip: address(index).ip(), sockets, next_port: 40_000, outgoing: VecDeque::new() };
            network.add(Site::machine(address(index).ip()), Resident::Home(home));
        }
        for victim in VICTIMS {
            network.add(Site::machine(victim), Resident::Victim { bytes: 0 });
        }
        Self(network)
    }

    pub(super) fn with<T>(&mut self, index: usize, then: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let now = self.0.now();
        let Some(Resident::Home(home)) = self.0.host_mut(Site::machine(address(index).ip())) else { panic!("gone") };
        let done = then(&mut home.node, Instant::from_start(now));
        home.turn(now);
        done
    }

    pub(super) fn join(&mut self, index: usize) {
        self.with(index, |node, now| node.handle_command(now, Command::ConnectTo(address(LEADER))));
        self.0.run_for(5 * SECOND);
    }

    pub(super) fn say(&mut self, from: usize, to: usize, message: PathMessage) {
        assert!(self.with(from, |node, now| node.say_path(now, id(to), message)), "{from} is not linked to {to}");
    }

    fn victim_heard(&self) -> usize {
        self.heard(VICTIM)
    }

    /// Bytes that reached a victim, from all.
    pub(super) fn heard(&self, victim: Ipv4Addr) -> usize {
        match self.0.host(Site::machine(victim)) {
            Some(Resident::Victim { bytes }) => *bytes,
            _ => panic!("no victim"),
        }
    }

    /// Packets that went from one machine to another.
    pub(super) fn packets(&self, from: usize, to: usize) -> u64 {
        self.0.counters(Site::machine(address(from).ip()), Site::machine(address(to).ip())).sent
    }
}

pub(super) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, index as u8 + 1], 7000))
}

pub(super) fn id(index: usize) -> NodeId {
    Identity::from_seed(&[index as u8 + 1; 32]).id()
}

/// As many candidates as fit, all of them the victim's, and a NAT that asks for a spray of ports.
fn forged(round: u16) -> Offer {
    let candidates = (1..=10_000).map(|port| {
        let kinds = [CandidateKind::Host, CandidateKind::Reflexive, CandidateKind::Mapped, CandidateKind::Lan];
        Candidate::new(SocketAddr::from((VICTIM, port)), kinds[usize::from(port) % 4])
    });
    let fingerprint = Fingerprint {
        translated: Some(true),
        mapping: Some(Mapping::ByAddressAndPort),
        filtering: Some(Filtering::ByAddressAndPort),
        ports: Some(Ports::Random { lowest: 1024, highest: 5119 }),
        ..Fingerprint::default()
    };
    Offer {
        round,
        stage: 0,
        secret: [7; 16],
        fingerprint,
        candidates: candidates.collect(),
        public: vec![VICTIM.into(); 10_000],
        latest: None,
        sockets: u16::MAX,
    }
}

/// Whichever of the two made the connection: an offer names a victim ten thousand times, and comes again and again.
#[test]
fn forged_candidates_bring_a_victim_a_thousand_bytes_at_most() {
    for late in [HONEST, HOSTILE] {
        let mut street = Street::new(true);
        street.0.cut(Site::machine(address(HONEST).ip()), Site::machine(address(HOSTILE).ip()));
        street.join(HONEST + HOSTILE - late);
        street.join(late);
        let relayed = |node: &mut Node, _| node.links.link(id(HONEST)).is_some_and(|link| link.remote.is_none());
        assert!(street.with(HOSTILE, relayed), "the two are linked through the leader");
        for round in [1, 1, 2, 3, 1, 1, 4, 5].into_iter().cycle().take(80) {
            street.say(HOSTILE, HONEST, PathMessage::Offer(Box::new(forged(round))));
            street.0.run_for(SECOND / 2);
        }
        let heard = street.victim_heard();
        assert!(heard <= 1000, "{heard} bytes");
    }
}

#[test]
fn a_member_that_asks_for_more_flows_than_a_member_may_have_is_refused() {
    let mut street = Street::new(true);
    street.join(HONEST);
    street.join(HOSTILE);
    for channel in 0..400 {
        street.say(HOSTILE, LEADER, PathMessage::Ask { to: id(HONEST), channel: channel << 2 });
    }
    street.0.run_for(2 * SECOND);
    let flows = street.with(LEADER, |node, _| node.passing.flow_count());
    assert!(flows <= MAX_FLOWS_EACH, "{flows}");
    assert!(flows > 0, "some are granted");
}

#[test]
fn nobody_is_probed_on_anothers_behalf() {
    let mut street = Street::new(true);
    street.join(HONEST);
    street.join(HOSTILE);
    for n in 0..100 {
        let to = SocketAddr::from((VICTIM, 1000 + n));
        for by in [Prober::Known, Prober::OtherPort] {
            street.say(HOSTILE, LEADER, PathMessage::Probe { to, token: [n as u8; 12], by });
        }
    }
    street.0.run_for(2 * SECOND);
    assert_eq!(street.victim_heard(), 0);
}

/// It is linked because it stands at the door, and nobody let it in.
#[test]
fn what_strangers_say_about_paths_does_nothing() {
    let mut street = Street::new(false);
    street.with(LEADER, |node, now| node.handle_command(now, Command::AdmitAddress(address(HONEST))));
    street.join(HONEST);
    assert!(street.with(LEADER, |node, _| node.room.is_member(id(HONEST))));
    street.join(HOSTILE);
    assert!(!street.with(LEADER, |node, _| node.room.is_member(id(HOSTILE))));
    let before = street.packets(LEADER, HONEST);
    for n in 0..50_u32 {
        street.say(HOSTILE, LEADER, PathMessage::Ask { to: id(HONEST), channel: n << 2 });
        let probe = PathMessage::Probe { to: address(HOSTILE), token: [9; 12], by: Prober::OtherPort };
        street.say(HOSTILE, LEADER, probe);
        let incoming = PathMessage::Incoming { from: id(HONEST), channel: n << 2, seen: Some(VICTIM.into()) };
        street.say(HOSTILE, LEADER, incoming);
        street.say(HOSTILE, LEADER, PathMessage::Changed(Fingerprint::default()));
        street.say(HOSTILE, LEADER, PathMessage::Bound { channel: n, seen: Some(VICTIM.into()) });
        street.say(HOSTILE, LEADER, PathMessage::End { channel: n });
    }
    street.say(HOSTILE, LEADER, PathMessage::Offer(Box::new(forged(1))));
    street.0.run_for(2 * SECOND);
    street.with(LEADER, |node, _| {
        assert_eq!(node.passing.flow_count(), 0);
        assert_ne!(node.passing.seen(id(HONEST)), Some(VICTIM.into()), "a stranger says where a member is");
        assert!(node.links.connection(id(HONEST)).is_some());
    });
    assert_eq!(street.victim_heard(), 0);
    assert!(street.packets(LEADER, HONEST) < before + 200);
}
