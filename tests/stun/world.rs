//! Hosts that measure, servers and members that help, and the NATs between them.

use anjer::machine::{SocketId, SocketReport, SocketRequest};
use anjer::stun::Packet;
use anjer::stun::client::Patience;
use anjer::stun::discovery::{Ask, Config, Discovery, Event, Vantage, Whom};
use anjer::stun::message::{Probe, TransactionId};
use anjer::stun::server::{Alternate, Config as ServerConfig, Limits, Place, Server};
use anjer::time::Instant;
use core::time::Duration;
use netem::{Behaviour, Host, Link, NatId, Network, Packet as Datagram};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// The time from one end to the other.
pub(crate) const DELAY: Duration = Duration::from_millis(25);

/// How long the room takes to carry an errand, and its answer back.
const ERRAND: Duration = Duration::from_millis(60);

pub(crate) const INSIDE_IP: [u8; 4] = [192, 168, 1, 2];
pub(crate) const OUTSIDE_IP: [u8; 4] = [203, 0, 113, 1];

/// One address of one host. In netem each is a host of its own: what they have in common is carried between them by the [`World`].
#[derive(Default)]
pub(crate) struct Socket {
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    outbox: VecDeque<Datagram>,
}

impl Host for Socket {
    fn handle_datagram(&mut self, _: Duration, from: SocketAddr, _: SocketAddr, bytes: &mut [u8]) {
        self.inbox.push_back((from, bytes.to_vec()));
    }

    fn handle_timeout(&mut self, _: Duration) {}

    fn poll_transmit(&mut self, _: Duration) -> Option<Datagram> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        None
    }
}

/// Who can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Helpers {
    /// Two servers of RFC 5780, with two addresses and two ports each.
    Full,
    /// Two servers with one address and one port each.
    Plain,
    /// Three members of a room, of whom one has a second port. They answer Binding requests, and send probes when they are asked.
    Members,
    /// One of them, without the second port.
    OneMember,
}

/// A host behind a NAT, or not, and those whom it can ask.
pub(crate) struct World {
    pub(crate) network: Network<Socket>,
    pub(crate) discovery: Discovery,
    pub(crate) nat: Option<NatId>,
    pub(crate) events: Vec<(Duration, Event)>,
    /// How many sockets were open at once at most.
    pub(crate) most_open: usize,
    sockets: BTreeMap<SocketId, SocketAddr>,
    next_port: u16,
    /// Servers, and where their sockets are.
    servers: Vec<(Server, BTreeMap<SocketId, SocketAddr>)>,
    members: Vec<SocketAddr>,
    /// Errands in the room: when they are told, and what. Then the word that comes back.
    errands: Vec<(Duration, Ask)>,
    words: Vec<(Duration, TransactionId, bool)>,
}

/// What a run is made of.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) behaviour: Option<Behaviour>,
    pub(crate) helpers: Helpers,
    pub(crate) silences: Vec<Duration>,
    /// The link in front of the NAT, both ways.
    pub(crate) link: Link,
}

impl Plan {
    pub(crate) fn new(seed: u64, behaviour: Option<Behaviour>, helpers: Helpers) -> Self {
        Self { seed, behaviour, helpers, silences: Vec::new(), link: Link::with_delay(DELAY) }
    }
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut network = Network::new(plan.seed, plan.link);
        let nat = plan.behaviour.map(|behaviour| network.add_nat(behaviour, OUTSIDE_IP));
        let main = SocketAddr::from((if nat.is_some() { INSIDE_IP } else { OUTSIDE_IP }, 5000));
        let mut config = Config::new(SocketId::MAIN, main, 1..100_000);
        config.silences = plan.silences;
        config.patience = Patience { requests: 4, ..Patience::FULL };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&plan.seed.to_le_bytes());
        let mut world = Self {
            network,
            discovery: Discovery::new(config, seed),
            nat,
            events: Vec::new(),
            most_open: 0,
            sockets: BTreeMap::from([(SocketId::MAIN, main)]),
            // As a system does: from somewhere in its range.
            next_port: 32_768 + (plan.seed.wrapping_mul(7919) % 20_000) as u16,
            servers: Vec::new(),
            members: Vec::new(),
            errands: Vec::new(),
            words: Vec::new(),
        };
        world.bind(main);
        world.help(plan.helpers);
        world
    }

    fn bind(&mut self, address: SocketAddr) {
        match self.nat {
            Some(nat) if address.ip() == IpAddr::from(INSIDE_IP) => {
                self.network.add(nat.host(address), Socket::default())
            }
            _ => self.network.add(address, Socket::default()),
        };
    }

    fn socket(&mut self, address: SocketAddr) -> Option<&mut Socket> {
        match self.nat {
            Some(nat) if address.ip() == IpAddr::from(INSIDE_IP) => self.network.host_mut(nat.host(address)),
            _ => self.network.host_mut(address),
        }
    }

    /// These are there from now on.
    pub(crate) fn help(&mut self, helpers: Helpers) {
        let at = |host: u8, port: u16| SocketAddr::from(([198, 51, 100, host], port));
        let vantages = match helpers {
            Helpers::Full => {
                self.serve(&[at(1, 3478), at(1, 3479), at(2, 3478), at(2, 3479)]);
                self.serve(&[at(3, 3478), at(3, 3479), at(4, 3478), at(4, 3479)]);
                vec![Vantage::Server(at(1, 3478)), Vantage::Server(at(3, 3478))]
            }
            Helpers::Plain => {
                self.serve(&[at(1, 3478)]);
                self.serve(&[at(3, 3478)]);
                vec![Vantage::Server(at(1, 3478)), Vantage::Server(at(3, 3478))]
            }
            Helpers::OneMember => {
                self.serve(&[at(2, 5000)]);
                self.members = vec![at(2, 5000)];
                vec![Vantage::Member { address: at(2, 5000), second: None }]
            }
            Helpers::Members => {
                self.serve(&[at(1, 5000), at(1, 5001)]);
                self.serve(&[at(2, 5000)]);
                self.serve(&[at(3, 5000)]);
                self.members = vec![at(1, 5000), at(2, 5000), at(3, 5000)];
                let member = |host, second| Vantage::Member { address: at(host, 5000), second };
                vec![member(1, Some(at(1, 5001))), member(2, None), member(3, None)]
            }
        };
        let now = self.instant();
        for vantage in vantages {
            self.discovery.add_vantage(now, vantage);
        }
    }

    fn serve(&mut self, places: &[SocketAddr]) {
        let place = |at: usize| Place { socket: SocketId(at as u32), address: Some(places[at]) };
        let address = (places.len() == 4).then(|| [place(2), place(3)]);
        let alternate = (places.len() > 1).then(|| Alternate { port: place(1), address });
        let config = ServerConfig { main: place(0), alternate, limits: Limits::default() };
        places.iter().for_each(|place| self.bind(*place));
        let sockets = places.iter().enumerate().map(|(at, place)| (SocketId(at as u32), *place)).collect();
        self.servers.push((Server::new(config), sockets));
    }

    /// Runs until everything but the lifetime is known, or until a deadline.
    pub(crate) fn settle(&mut self) {
        self.run(self.now() + Duration::from_secs(60), |world| {
            world.events.iter().any(|(_, event)| *event == Event::Settled)
        });
    }

    /// Runs until nothing more happens.
    pub(crate) fn finish(&mut self) {
        self.run(Duration::from_secs(400), |_| false);
    }

    pub(crate) fn now(&self) -> Duration {
        self.network.now()
    }

    pub(crate) fn run(&mut self, deadline: Duration, mut condition: impl FnMut(&mut Self) -> bool) {
        loop {
            self.drain();
            if condition(self) {
                return;
            }
            let next = self.next_deadline().unwrap_or(deadline).min(deadline);
            let arrived = |network: &mut Network<Socket>| network.hosts().any(|(_, socket)| !socket.inbox.is_empty());
            let something_came = self.network.run_until(next, arrived);
            if !something_came && self.now() >= deadline {
                return;
            }
            self.deliver();
        }
    }

    fn instant(&self) -> Instant {
        Instant::from_start(self.now())
    }

    fn next_deadline(&self) -> Option<Duration> {
        let timeout = self.discovery.poll_timeout().map(Instant::since_start);
        let errands = self.errands.iter().map(|(at, _)| *at).min();
        let words = self.words.iter().map(|(at, _, _)| *at).min();
        [timeout, errands, words].into_iter().flatten().min()
    }

    /// Gives everybody what came, and what is due.
    fn deliver(&mut self) {
        let now = self.instant();
        let measuring: Vec<(SocketId, SocketAddr)> = self.sockets.iter().map(|(id, address)| (*id, *address)).collect();
        for (id, address) in measuring {
            while let Some((from, bytes)) = self.socket(address).and_then(|socket| socket.inbox.pop_front()) {
                self.discovery.handle_datagram(now, id, from, &bytes);
            }
        }
        for at in 0..self.servers.len() {
            for (id, address) in self.servers[at].1.clone() {
                while let Some((from, bytes)) = self.socket(address).and_then(|socket| socket.inbox.pop_front()) {
                    self.servers[at].0.handle_datagram(now, id, from, &bytes);
                }
            }
            while let Some(packet) = self.servers[at].0.poll_transmit() {
                let from = self.servers[at].1[&packet.socket];
                self.send(from, packet);
            }
        }
        // What came to nobody's socket is forgotten.
        for (at, word) in core::mem::take(&mut self.errands) {
            if at <= self.now() { self.obey(word) } else { self.errands.push((at, word)) }
        }
        for (at, token, carried) in core::mem::take(&mut self.words) {
            if at <= self.now() {
                self.discovery.handle_carried(now, token, carried)
            } else {
                self.words.push((at, token, carried))
            }
        }
        if self.discovery.poll_timeout().is_some_and(|at| at <= now) {
            self.discovery.handle_timeout(now);
        }
    }

    fn send(&mut self, from: SocketAddr, packet: Packet) {
        if let Some(socket) = self.socket(from) {
            socket.outbox.push_back(Datagram::new(from, packet.to, packet.bytes));
        }
    }

    /// A member sends a probe, as it was asked to.
    fn obey(&mut self, ask: Ask) {
        let from = match ask.whom {
            Whom::Uncontacted(contact) => self.members.iter().copied().find(|member| member.ip() != contact.ip()),
            Whom::Same(member) => Some(member).filter(|member| self.members.contains(member)),
            Whom::OtherPort(member) => {
                let other = SocketAddr::new(member.ip(), 6000);
                if self.socket(other).is_none() {
                    self.bind(other);
                }
                Some(other).filter(|_| self.members.contains(&member))
            }
        };
        if let Some(from) = from {
            let bytes = Probe { token: ask.token }.emit();
            self.send(from, Packet { socket: SocketId::MAIN, to: ask.to, bytes });
        }
        self.words.push((self.now() + ERRAND, ask.token, from.is_some()));
    }

    /// Takes everything that the discovery wants.
    fn drain(&mut self) {
        let now = self.instant();
        loop {
            let mut is_drained = true;
            while let Some(request) = self.discovery.poll_socket() {
                is_drained = false;
                match request {
                    SocketRequest::Open { socket, bind } => {
                        assert_eq!((bind.port(), bind.ip().is_unspecified()), (0, true));
                        self.next_port = if self.next_port >= 60_000 { 32_768 } else { self.next_port + 1 };
                        let local = SocketAddr::new(self.sockets[&SocketId::MAIN].ip(), self.next_port);
                        assert!(self.sockets.insert(socket, local).is_none(), "{socket:?} twice");
                        self.most_open = self.most_open.max(self.sockets.len() - 1);
                        self.bind(local);
                        self.discovery.handle_socket(now, SocketReport::Opened { socket, local });
                    }
                    SocketRequest::Close(socket) => {
                        assert_ne!(socket, SocketId::MAIN);
                        let local = self.sockets.remove(&socket).unwrap();
                        match self.nat {
                            Some(nat) => self.network.crash(nat.host(local)),
                            None => self.network.crash(local),
                        };
                    }
                }
            }
            while let Some(packet) = self.discovery.poll_transmit(now) {
                is_drained = false;
                let from = self.sockets.get(&packet.socket).copied();
                if let Some(from) = from {
                    self.send(from, packet);
                }
            }
            while let Some(ask) = self.discovery.poll_ask() {
                is_drained = false;
                self.errands.push((self.now() + ERRAND, ask));
            }
            while let Some(event) = self.discovery.poll_event() {
                is_drained = false;
                self.events.push((self.now(), event));
            }
            if is_drained {
                return;
            }
        }
    }

    /// Fresh sockets that are still open.
    pub(crate) fn open(&self) -> usize {
        self.sockets.len() - 1
    }
}
