//! Houses behind NATs, a public square, and a STUN server on it.

use crate::house::House;
use crate::observatory::Observatory;
use anjer::driver::surroundings::Surroundings;
use anjer::node::api::{ErrorCode, NatKind, Path};
use anjer::node::disk::Worker;
use anjer::node::identity::{Identity, NodeId};
use anjer::node::room::RoomConfig;
use anjer::node::{Command, Event, Node, NodeConfig};
use anjer::time::{Duration, Instant};
use netem::{Behaviour, Host, Link, NatId, Network, Packet, Site};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tempfile::TempDir;

/// Some day, in Unix time, when every run begins.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// The port that every node listens at.
pub(crate) const PORT: u16 = 7000;

/// Who lives at an address.
#[expect(clippy::large_enum_variant, reason = "a handful of them in a town")]
pub(crate) enum Resident {
    House(House),
    Observatory(Observatory),
}

impl Host for Resident {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        match self {
            Self::House(house) => house.handle_datagram(now, from, to, bytes),
            Self::Observatory(server) => server.handle_datagram(now, from, to, bytes),
        }
    }

    fn handle_timeout(&mut self, now: Duration) {
        match self {
            Self::House(house) => house.handle_timeout(now),
            Self::Observatory(server) => server.handle_timeout(now),
        }
    }

    fn handle_unreachable(&mut self, now: Duration, to: SocketAddr) {
        if let Self::House(house) = self {
            house.handle_unreachable(now, to);
        }
    }

    fn poll_transmit(&mut self, now: Duration) -> Option<Packet> {
        match self {
            Self::House(house) => house.poll_transmit(now),
            Self::Observatory(server) => server.poll_transmit(now),
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        match self {
            Self::House(house) => house.poll_timeout(),
            Self::Observatory(server) => server.poll_timeout(),
        }
    }
}

/// Everybody.
pub(crate) struct Town {
    pub(crate) network: Network<Resident>,
    sites: Vec<(Site, SocketAddr)>,
    folders: Vec<(TempDir, TempDir)>,
    nats: u8,
    /// Whether nodes are told of the STUN server.
    pub(crate) has_stun: bool,
    /// Whether they are told of its other address as of another server.
    pub(crate) has_second_stun: bool,
    seed: u64,
}

/// The STUN server's first place.
const STUN: [u8; 4] = [198, 51, 100, 1];

/// The first of its other places.
const SECOND_STUN: [u8; 4] = [198, 51, 100, 2];

impl Town {
    /// Nobody lives there yet. It is 20 milliseconds from everywhere to everywhere.
    pub(crate) fn new(seed: u64) -> Self {
        let mut network = Network::new(seed, Link::with_delay(Duration::from_millis(20)));
        let ips = [STUN, SECOND_STUN].map(IpAddr::from);
        network.add(Site::machine(ips[0]), Resident::Observatory(Observatory::new(ips)));
        assert!(network.add_address(Site::machine(ips[0]), Site::machine(ips[1])));
        Self { network, sites: Vec::new(), folders: Vec::new(), nats: 0, has_stun: true, has_second_stun: false, seed }
    }

    /// A NAT chain, the innermost first, with nobody behind it; `None` for none.
    pub(crate) fn nat(&mut self, chain: &[Behaviour]) -> Option<NatId> {
        let mut outer = None;
        for behaviour in chain.iter().rev() {
            self.nats += 1;
            let id = match outer {
                None => self.network.add_nat(behaviour.clone(), [203, 0, 113, self.nats]),
                Some(outer) => self.network.add_nat_behind(outer, behaviour.clone(), [100, 64, self.nats, 2]),
            };
            outer = Some(id);
        }
        outer
    }

    /// A node with a public address, or behind a NAT.
    pub(crate) fn settle(&mut self, behind: Option<NatId>, open: bool) -> usize {
        let index = self.sites.len();
        let host = u8::try_from(index).unwrap() + 10;
        let ip = match behind {
            None => Ipv4Addr::new(192, 0, 2, host),
            Some(nat) => Ipv4Addr::new(10, u8::try_from(nat.0).unwrap(), 0, host),
        };
        let site = behind.map_or(Site::machine(ip), |nat| nat.machine(ip));
        self.settle_at(site, &[ip.into()], open)
    }

    /// A node on a machine with these addresses, the first of which it listens at.
    pub(crate) fn settle_at(&mut self, site: Site, ips: &[IpAddr], open: bool) -> usize {
        self.folders.push((tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()));
        let index = self.folders.len() - 1;
        let listens = SocketAddr::new(ips[0], PORT);
        let servers = [(self.has_stun, STUN), (self.has_second_stun, SECOND_STUN)].into_iter();
        let servers = servers.filter(|(is_known, _)| *is_known).map(|(_, ip)| SocketAddr::from((ip, 3478)).to_string());
        let config = NodeConfig {
            identity: Arc::new(Identity::from_seed(&[index as u8 + 1; 32])),
            name: format!("node {index}"),
            local: listens,
            stun: servers.collect(),
            room: RoomConfig { open, ..RoomConfig::default() },
            unix_at_start: EPOCH,
        };
        let now = Instant::from_start(self.network.now());
        let seed = blake3::derive_key("a town's node", &[&self.seed.to_be_bytes()[..], &[index as u8]].concat());
        let worker = Worker::new(self.folders[index].0.path().to_owned(), self.folders[index].1.path().to_owned());
        let house = House::new(Node::new(config, now, seed), worker, listens, ips);
        self.network.add(site, Resident::House(house));
        for another in &ips[1..] {
            assert!(self.network.add_address(site, Site::machine(*another)));
        }
        self.sites.push((site, listens));
        self.touch(index);
        index
    }

    pub(crate) fn house(&self, index: usize) -> &House {
        match self.network.host(self.sites[index].0) {
            Some(Resident::House(house)) => house,
            _ => panic!("nobody lives at {}", self.sites[index].0),
        }
    }

    fn touch(&mut self, index: usize) {
        let now = self.network.now();
        if let Some(Resident::House(house)) = self.network.host_mut(self.sites[index].0) {
            house.turn(now);
        }
    }

    pub(crate) fn command(&mut self, index: usize, command: Command) {
        let now = Instant::from_start(self.network.now());
        if let Some(Resident::House(house)) = self.network.host_mut(self.sites[index].0) {
            house.node.handle_command(now, command);
        }
        self.touch(index);
    }

    /// One more NAT behind another one.
    pub(crate) fn nat_behind(&mut self, outer: NatId, behaviour: Behaviour) -> NatId {
        self.nats += 1;
        self.network.add_nat_behind(outer, behaviour, [100, 64, self.nats, 2])
    }

    /// A node's machine is somewhere else from here on, with this address instead of all it had. Nobody tells the node.
    pub(crate) fn carry(&mut self, index: usize, site: Site, ip: IpAddr) {
        let now = self.network.now();
        let Some(Resident::House(mut house)) = self.network.crash(self.sites[index].0) else {
            panic!("nobody lives at {}", self.sites[index].0)
        };
        house.ips = vec![ip];
        self.network.add(site, Resident::House(house));
        self.sites[index] = (site, SocketAddr::new(ip, PORT));
        assert_eq!(self.network.now(), now);
    }

    /// The node is told what addresses its machine has, and what became of the network.
    pub(crate) fn tell(&mut self, index: usize, news: Surroundings) {
        let now = self.network.now();
        if let Some(Resident::House(house)) = self.network.host_mut(self.sites[index].0) {
            let there = Instant::from_start(now);
            house.tell_interfaces(there);
            house.node.handle_surroundings(there, news);
        }
        self.touch(index);
    }

    pub(crate) fn site(&self, index: usize) -> Site {
        self.sites[index].0
    }

    /// The NAT that a node is behind.
    pub(crate) fn behind(&self, index: usize) -> Site {
        match self.sites[index].0 {
            Site::Host { behind: Some(nat), .. } => nat.into(),
            site => panic!("{site} is behind no NAT"),
        }
    }

    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        self.sites[index].1
    }

    pub(crate) fn id(&self, index: usize) -> NodeId {
        Identity::from_seed(&[index as u8 + 1; 32]).id()
    }

    pub(crate) fn dir(&self, index: usize) -> &std::path::Path {
        self.folders[index].0.path()
    }

    /// Runs until `condition` holds, for that long at most.
    pub(crate) fn run_until(&mut self, time: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let end = self.network.now() + time;
        while self.network.now() < end {
            if condition(self) {
                return true;
            }
            self.network.run_for(Duration::from_millis(5));
        }
        condition(self)
    }

    /// What a node told, in order.
    pub(crate) fn told(&self, index: usize) -> impl Iterator<Item = &(Duration, Event)> {
        self.house(index).told.iter()
    }

    /// How a node says that it reaches another one, since when, and what it spent.
    pub(crate) fn path(&self, index: usize, to: usize) -> Option<(Duration, Path, u64)> {
        let to = self.id(to);
        let path = |(at, event): &(Duration, Event)| match event {
            Event::Path { id, path, probes, .. } if *id == to => Some((*at, *path, *probes)),
            _ => None,
        };
        self.told(index).filter_map(path).last()
    }

    /// Why a node says that a path is no better.
    pub(crate) fn why(&self, index: usize, to: usize) -> Option<String> {
        let to = self.id(to);
        let why = |(_, event): &(Duration, Event)| match event {
            Event::Path { id, why, .. } if *id == to => why.clone(),
            _ => None,
        };
        self.told(index).filter_map(why).last()
    }

    /// When a node first heard of another one as a member.
    pub(crate) fn knows_since(&self, index: usize, of: usize) -> Option<Duration> {
        let of = self.id(of);
        let peers = |(at, event): &(Duration, Event)| match event {
            Event::Peers { members, .. } if members.iter().any(|member| member.id == of) => Some(*at),
            _ => None,
        };
        self.told(index).find_map(peers)
    }

    /// What a node says of its own NAT.
    pub(crate) fn nat_of(&self, index: usize) -> Option<NatKind> {
        let nat = |(_, event): &(Duration, Event)| match event {
            Event::Address { nat, .. } => *nat,
            _ => None,
        };
        self.told(index).filter_map(nat).last()
    }

    /// What a node knows of another one's NAT, as it said last.
    pub(crate) fn nat_as_known(&self, index: usize, of: usize) -> Option<String> {
        let of = self.id(of);
        let nat = |(_, event): &(Duration, Event)| match event {
            Event::Why { paths, .. } => paths.iter().find(|path| path.id == of).map(|path| path.nat.clone()),
            _ => None,
        };
        self.told(index).filter_map(nat).last()
    }

    /// What the world sees of a node, as it says itself.
    pub(crate) fn public(&self, index: usize) -> Option<SocketAddr> {
        let public = |(_, event): &(Duration, Event)| match event {
            Event::Address { public, .. } => *public,
            _ => None,
        };
        self.told(index).filter_map(public).last()
    }

    /// Whether both say that they reach each other directly.
    pub(crate) fn are_direct(&self, one: usize, other: usize) -> bool {
        let direct = |from, to| matches!(self.path(from, to), Some((_, Path::Direct, _)));
        direct(one, other) && direct(other, one)
    }

    /// Who is in the room, as a node showed it last.
    pub(crate) fn members(&self, index: usize) -> Vec<NodeId> {
        let members = |(_, event): &(Duration, Event)| match event {
            Event::Peers { members, .. } => Some(members.iter().map(|member| member.id).collect()),
            _ => None,
        };
        self.told(index).filter_map(members).last().unwrap_or_default()
    }

    /// The mistakes that a node told.
    pub(crate) fn errors(&self, index: usize) -> Vec<(Duration, ErrorCode, String)> {
        let error = |(at, event): &(Duration, Event)| match event {
            Event::Error { code, message, .. } => Some((*at, *code, message.clone())),
            _ => None,
        };
        self.told(index).filter_map(error).collect()
    }

    /// Bytes of a download on a node's disk.
    pub(crate) fn progress(&self, index: usize) -> u64 {
        let bytes = |(_, event): &(Duration, Event)| match event {
            Event::Progress { bytes, .. } | Event::Saved { bytes, .. } => Some(*bytes),
            _ => None,
        };
        self.told(index).filter_map(bytes).last().unwrap_or_default()
    }

    /// Whether a node shows a line of chat.
    pub(crate) fn has_heard(&self, index: usize, words: &str) -> bool {
        self.told(index).any(|(_, event)| matches!(event, Event::Chat { text, .. } if text == words))
    }

    pub(crate) fn has_saved(&self, index: usize, wanted: &str) -> bool {
        self.told(index).any(|(_, event)| matches!(event, Event::Saved { name, .. } if name == wanted))
    }

    /// Everything a node told, for a failed test.
    pub(crate) fn story(&self, index: usize) -> String {
        self.told(index).map(|(at, event)| format!("{at:?} {event:?}\n")).collect()
    }
}
