//! One node with all its sockets, its disk, and whatever it told.

use anjer::driver::surroundings::{InterfaceAddress, Interfaces, Surroundings, SurroundingsRequest};
use anjer::machine::{Datagram, Ecn, Machine, SocketId, SocketReport, SocketRequest};
use anjer::node::disk::Worker;
use anjer::node::{Event, Node};
use anjer::time::{Duration, Instant};
use netem::{Host, Packet};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// Where the system begins to give out ports.
const FIRST_EPHEMERAL: u16 = 40_000;

/// A node on a machine of its own.
pub(crate) struct House {
    pub(crate) node: Node,
    worker: Worker,
    /// Its sockets, the main one too, by number and by address.
    sockets: BTreeMap<SocketId, SocketAddr>,
    addresses: BTreeMap<SocketAddr, SocketId>,
    next_port: u16,
    outgoing: VecDeque<Packet>,
    /// The addresses of its machine.
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) told: Vec<(Duration, Event)>,
    /// The most sockets it ever had open.
    pub(crate) most_sockets: usize,
}

impl House {
    /// A node that listens at the first of its machine's addresses.
    pub(crate) fn new(node: Node, worker: Worker, listens: SocketAddr, ips: &[IpAddr]) -> Self {
        let mut house = Self {
            node,
            worker,
            sockets: BTreeMap::from([(SocketId::MAIN, listens)]),
            addresses: BTreeMap::from([(listens, SocketId::MAIN)]),
            next_port: FIRST_EPHEMERAL,
            outgoing: VecDeque::new(),
            ips: ips.to_vec(),
            told: Vec::new(),
            most_sockets: 1,
        };
        house.tell_interfaces(Instant::ZERO);
        house
    }

    /// The node is told which addresses its machine has.
    pub(crate) fn tell_interfaces(&mut self, now: Instant) {
        let ips = &self.ips;
        let addresses = ips.iter().map(|ip| InterfaceAddress { ip: *ip, prefix: 24, index: 2 }).collect();
        let v4 = ips.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
        let v6 = ips.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
        let interfaces = Interfaces { addresses, outward_v4: v4, outward_v6: v6 };
        self.node.handle_surroundings(now, Surroundings::Interfaces(interfaces));
    }

    /// Does at once what the node wants of its disk, its system and its surroundings, and listens to what it tells.
    pub(crate) fn turn(&mut self, now: Duration) {
        let there = Instant::from_start(now);
        loop {
            let mut quiet = true;
            while let Some(request) = self.node.poll_disk() {
                let mut replies = Vec::new();
                self.worker.handle(request, &mut |reply| replies.push(reply));
                replies.into_iter().for_each(|reply| self.node.handle_disk(there, reply));
                quiet = false;
            }
            let mut replies = Vec::new();
            quiet &= !self.worker.work(&mut |reply| replies.push(reply));
            for reply in replies {
                self.node.handle_disk(there, reply);
                quiet = false;
            }
            while let Some(request) = self.node.poll_socket() {
                quiet = false;
                if let Some(report) = self.obey(request) {
                    self.node.handle_socket(there, report);
                }
            }
            while let Some(request) = self.node.poll_request() {
                quiet = false;
                if let SurroundingsRequest::Resolve(name) = request {
                    let addresses = name.parse().into_iter().collect();
                    self.node.handle_surroundings(there, Surroundings::Resolved { name, addresses });
                }
            }
            if quiet {
                break;
            }
        }
        self.told.extend(std::iter::from_fn(|| self.node.poll_event()).map(|event| (now, event)));
    }

    fn obey(&mut self, request: SocketRequest) -> Option<SocketReport> {
        match request {
            SocketRequest::Open { socket, bind } => {
                let main = self.sockets[&SocketId::MAIN];
                let ip = if bind.ip().is_unspecified() { main.ip() } else { bind.ip() };
                let free = |port: u16| !self.addresses.contains_key(&SocketAddr::new(ip, port));
                let port = match bind.port() {
                    0 => (self.next_port..).find(|port| free(*port)).unwrap(),
                    port if free(port) => port,
                    _ => return Some(SocketReport::Failed(socket)),
                };
                if bind.port() == 0 {
                    self.next_port = if port > 60_000 { FIRST_EPHEMERAL } else { port + 1 };
                }
                let local = SocketAddr::new(ip, port);
                self.sockets.insert(socket, local);
                self.addresses.insert(local, socket);
                self.most_sockets = self.most_sockets.max(self.sockets.len());
                Some(SocketReport::Opened { socket, local })
            }
            SocketRequest::Close(socket) => {
                assert_ne!(socket, SocketId::MAIN, "nobody closes the main socket");
                if let Some(local) = self.sockets.remove(&socket) {
                    self.addresses.remove(&local);
                }
                None
            }
        }
    }

    /// The sockets that are open.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (SocketId, SocketAddr)> {
        self.sockets.iter().map(|(socket, local)| (*socket, *local))
    }
}

impl Host for House {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        let Some(socket) = self.addresses.get(&to).copied() else { return };
        let datagram = Datagram { socket, from, ecn: Ecn::NotCapable, contents: bytes };
        self.node.handle_datagram(Instant::from_start(now), datagram);
        self.turn(now);
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.node.handle_timeout(Instant::from_start(now));
        self.turn(now);
    }

    fn handle_unreachable(&mut self, now: Duration, to: SocketAddr) {
        self.node.handle_unreachable(Instant::from_start(now), to);
        self.turn(now);
    }

    fn poll_transmit(&mut self, now: Duration) -> Option<Packet> {
        while self.outgoing.is_empty() {
            let mut buffer = Vec::new();
            let transmit = self.node.poll_transmit(Instant::from_start(now), &mut buffer)?;
            let Some(from) = self.sockets.get(&transmit.socket) else { continue };
            // The system sends nothing from an address that the machine had once, and nothing to another family.
            if !self.ips.contains(&from.ip()) || from.is_ipv4() != transmit.to.is_ipv4() {
                continue;
            }
            let packets = buffer.chunks(transmit.segment_size);
            self.outgoing.extend(packets.map(|bytes| Packet::new(*from, transmit.to, bytes.to_vec())));
        }
        self.outgoing.pop_front()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.node.poll_timeout().map(Instant::since_start)
    }
}
