//! What our NAT does, and what others want to know of theirs: STUN on the live sockets.

use super::message::{PathMessage, Prober};
use super::sockets::{Owner, Sockets};
use crate::machine::{Datagram, SocketId, SocketReport, SocketRequest};
use crate::node::api::{Event, NatKind};
use crate::node::identity::NodeId;
use crate::node::node::Node;
use crate::stun::Packet;
use crate::stun::client::{Client, Outcome, Patience, Question, QuestionNumber};
use crate::stun::discovery::{self, Ask, Discovery, Vantage, Whom};
use crate::stun::fingerprint::{Fingerprint, Kind};
use crate::stun::message::{Probe, TransactionId};
use crate::stun::server::{self, Place, Server};
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// Sockets that discoveries may open while the program runs.
const DISCOVERY_SOCKETS: u32 = 1 << 20;

/// Probes that wait for the second socket, at most.
const MAX_WAITING: usize = 64;

/// Probes that one member may have us send, a minute. A discovery needs some twenty.
const PROBES_A_MINUTE: u32 = 60;

/// Questions about ports that are open, at most: one for each socket of a few punches.
const MAX_WANTED: usize = 64;

/// The ports of a NAT that counts are out of date soon: who does not answer in a second or so is of no use.
const PORT_PATIENCE: Patience = Patience { rto: None, requests: 3, last: 2 };

/// Questions about addresses, ours and others'.
#[derive(Debug)]
pub(in crate::node) struct Nat {
    discovery: Discovery,
    /// What others ask us.
    server: Server,
    /// Asks for the outside ports of sockets that punch.
    client: Client,
    /// Whose port is wanted: a punch, and its socket.
    wanted: BTreeMap<QuestionNumber, (u64, SocketId)>,
    /// Probes that are to leave from another port than the main one, until it is open.
    second: Second,
    /// Probes that each member had us send, and since when they are counted.
    asked: BTreeMap<NodeId, (Instant, u32)>,
    outgoing: VecDeque<Packet>,
    /// Whether the gateway was asked for a mapping.
    mapping_wanted: bool,
    /// Whether there is a server that should have answered.
    has_server: bool,
}

#[derive(Debug)]
enum Second {
    Closed,
    Opening(SocketId, Vec<(SocketAddr, TransactionId)>),
    Open(SocketId),
}

impl Nat {
    /// Nothing is known. The seed is secret.
    pub(in crate::node) fn new(local: SocketAddr, sockets: &mut Sockets, seed: [u8; 32]) -> Self {
        let numbers = sockets.reserve(Owner::Discovery, DISCOVERY_SOCKETS);
        let config = discovery::Config::new(SocketId::MAIN, local, numbers);
        let place = Place { socket: SocketId::MAIN, address: None };
        Self {
            discovery: Discovery::new(config, blake3::derive_key("anjer 2026 discovery", &seed)),
            server: Server::new(server::Config { main: place, ..server::Config::default() }),
            client: Client::new(blake3::derive_key("anjer 2026 stun client", &seed)),
            wanted: BTreeMap::new(),
            second: Second::Closed,
            asked: BTreeMap::new(),
            outgoing: VecDeque::new(),
            mapping_wanted: false,
            has_server: false,
        }
    }

    /// What is known of our NAT.
    pub(in crate::node) const fn fingerprint(&self) -> &Fingerprint {
        self.discovery.fingerprint()
    }

    /// What the world sees of our main socket.
    pub(in crate::node) const fn public(&self) -> Option<SocketAddr> {
        self.discovery.public()
    }

    /// Whether nobody outside ever answered, though there was somebody to ask. Whoever calls in vain then may want to know that: it
    /// takes silence from two servers to say that [all UDP is blocked](Fingerprint::blocked), and a while.
    pub(in crate::node) fn is_unheard(&self) -> bool {
        self.fingerprint().blocked || (self.has_server && self.public().is_none())
    }

    /// Answers of STUN servers that were wrong in some way, and changed nothing.
    pub(in crate::node) fn ignored_answers(&self) -> u64 {
        self.discovery.ignored().total().saturating_add(self.client.ignored().total())
    }

    /// A punch's socket is closed: nobody waits for its port.
    pub(super) fn forget_port(&mut self, socket: SocketId) {
        self.client.forget_socket(socket);
        self.wanted.retain(|_, (_, other)| *other != socket);
    }

    /// When [`Node::tick_nat`] is due.
    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        self.discovery.poll_timeout().into_iter().chain(self.client.poll_timeout()).min()
    }
}

impl Node {
    /// A server's name was looked up.
    pub(in crate::node) fn on_resolved(&mut self, now: Instant, name: &str, addresses: &[SocketAddr]) {
        tracing::debug!(name, ?addresses, "a server's addresses");
        if let Some(address) = addresses.iter().find(|address| address.is_ipv4() == self.config.local.is_ipv4()) {
            self.nat.has_server = true;
            self.nat.discovery.add_vantage(now, Vantage::Server(*address));
        }
    }

    /// A member that we reach directly sees us from outside, too.
    pub(in crate::node) fn add_member_vantage(&mut self, now: Instant, remote: SocketAddr) {
        if !self.config.room.local {
            self.nat.discovery.add_vantage(now, Vantage::Member { address: remote, second: None });
        }
    }

    /// The network is another one: what was measured counts no more.
    pub(in crate::node) fn restart_discovery(&mut self, now: Instant) {
        let Some(home) = self.around.homes.of(self.config.local.ip()) else { return };
        let interfaces: Vec<IpAddr> = self.interfaces().addresses.iter().map(|address| address.ip).collect();
        self.nat.discovery.restart(now, home.local, interfaces);
    }

    /// A datagram of STUN.
    pub(in crate::node) fn on_stun(&mut self, now: Instant, datagram: &Datagram<'_>) {
        let Datagram { socket, from, ref contents, .. } = *datagram;
        if self.nat.client.expects(contents) {
            self.nat.client.handle_datagram(now, socket, from, contents);
            return self.settle_nat(now);
        }
        if !self.nat.discovery.handle_datagram(now, socket, from, contents) {
            self.nat.server.handle_datagram(now, socket, from, contents);
        }
        self.settle_nat(now);
    }

    /// Repeats and gives up what is due.
    pub(in crate::node) fn tick_nat(&mut self, now: Instant) {
        self.nat.discovery.handle_timeout(now);
        self.nat.client.handle_timeout(now);
        self.settle_nat(now);
    }

    /// A socket of the discovery was opened, or was not.
    pub(in crate::node) fn on_discovery_socket(&mut self, now: Instant, report: SocketReport) {
        self.nat.discovery.handle_socket(now, report);
        self.settle_nat(now);
    }

    /// The second port is there, or is not.
    pub(in crate::node) fn on_second_socket(&mut self, report: SocketReport) -> bool {
        let Second::Opening(awaited, _) = &self.nat.second else { return false };
        let awaited = *awaited;
        let next = match report {
            SocketReport::Opened { socket, .. } if socket == awaited => Second::Open(socket),
            SocketReport::Failed(socket) if socket == awaited => Second::Closed,
            SocketReport::Opened { .. } | SocketReport::Failed(_) => return false,
        };
        let Second::Opening(socket, waiting) = core::mem::replace(&mut self.nat.second, next) else { return true };
        if matches!(self.nat.second, Second::Open(_)) {
            for (to, token) in waiting {
                self.nat.outgoing.push_back(Packet { socket, to, bytes: Probe { token }.emit() });
            }
        }
        true
    }

    /// Takes what the discovery has to say, and does what it wants.
    pub(in crate::node) fn settle_nat(&mut self, now: Instant) {
        while let Some(request) = self.nat.discovery.poll_socket() {
            self.socket_requests.push_back(request);
        }
        while let Some(ask) = self.nat.discovery.poll_ask() {
            if !self.carry(now, &ask) {
                self.nat.discovery.handle_carried(now, ask.token, false);
            }
        }
        while let Some(report) = self.nat.client.poll_event() {
            if let Some((punch, socket)) = self.nat.wanted.remove(&report.number) {
                let mapped = match report.outcome {
                    Outcome::Answered(answer) => Some(answer.mapped),
                    _ => None,
                };
                self.on_port(now, punch, socket, mapped);
            }
        }
        let (mut learned, mut settled) = (false, false);
        while let Some(event) = self.nat.discovery.poll_event() {
            match event {
                discovery::Event::Public(_) | discovery::Event::Learned(_) => learned = true,
                discovery::Event::Settled => (learned, settled) = (true, true),
                discovery::Event::Keepalive(interval) => self.endpoint.set_keep_alive(interval),
            }
        }
        if learned {
            self.on_nat_learned(now, settled);
        }
    }

    /// More is known of our NAT than before.
    fn on_nat_learned(&mut self, now: Instant, settled: bool) {
        let (fingerprint, public) = (*self.nat.fingerprint(), self.nat.public());
        tracing::info!(%fingerprint, ?public, "our NAT");
        let nat = fingerprint.kind().map(|kind| match kind {
            Kind::None => NatKind::None,
            Kind::Easy => NatKind::Easy,
            Kind::Hard => NatKind::Hard,
            Kind::Blocked => NatKind::Blocked,
        });
        let public = public.or(self.public);
        if (public, nat) != (self.public, self.nat_told) {
            (self.public, self.nat_told) = (public, nat);
            self.told.push(Event::Address { public, nat });
        }
        if fingerprint.translated == Some(true) && !self.nat.mapping_wanted {
            self.nat.mapping_wanted = true;
            self.around.want_mapping();
        }
        self.publish_record(now);
        self.on_fingerprint(now, settled);
    }

    /// Has a member send a probe. `false`: there is none who could.
    fn carry(&mut self, now: Instant, ask: &Ask) -> bool {
        let (by, is_fit): (Prober, Box<dyn Fn(SocketAddr) -> bool>) = match ask.whom {
            Whom::Uncontacted(contacted) => (Prober::Known, Box::new(move |at| at.ip() != contacted.ip())),
            Whom::OtherPort(at) => (Prober::OtherPort, Box::new(move |address| address == at)),
            Whom::Same(at) => (Prober::Known, Box::new(move |address| address == at)),
        };
        let view = self.room.view();
        let members = self.links.linked().map(|(id, _)| id).filter(|id| view.contains(*id));
        let fit = |id: &NodeId| self.links.link(*id).and_then(|link| link.remote).is_some_and(&is_fit);
        let Some(member) = members.into_iter().find(fit) else { return false };
        self.say_path(now, member, PathMessage::Probe { to: ask.to, token: ask.token.0, by })
    }

    /// A member wants a probe sent to an address of its own.
    pub(in crate::node) fn on_probe(
        &mut self,
        now: Instant,
        from: NodeId,
        to: SocketAddr,
        token: [u8; 12],
        by: Prober,
    ) {
        let knows_it_there = self.links.link(from).and_then(|link| link.remote).is_some_and(|at| at.ip() == to.ip());
        let sent = self.room.is_member(from) && knows_it_there && to.port() != 0 && self.may_probe(now, from);
        if sent {
            self.send_probe(to, TransactionId(token), by);
        }
        self.say_path(now, from, PathMessage::Probed { token, sent });
    }

    /// What became of a probe that a member was asked for.
    pub(in crate::node) fn on_probed(&mut self, now: Instant, token: [u8; 12], sent: bool) {
        self.nat.discovery.handle_carried(now, TransactionId(token), sent);
        self.settle_nat(now);
    }

    fn may_probe(&mut self, now: Instant, from: NodeId) -> bool {
        let members = &self.room;
        self.nat.asked.retain(|id, _| members.is_member(*id));
        let (since, count) = self.nat.asked.entry(from).or_insert((now, 0));
        if now.saturating_since(*since) >= Duration::from_secs(60) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= PROBES_A_MINUTE
    }

    fn send_probe(&mut self, to: SocketAddr, token: TransactionId, by: Prober) {
        let home = self.around.homes.of(to.ip());
        match (by, &mut self.nat.second) {
            (Prober::Known, _) => {
                let socket = home.map_or(SocketId::MAIN, |home| home.socket);
                self.nat.outgoing.push_back(Packet { socket, to, bytes: Probe { token }.emit() });
            }
            (Prober::OtherPort, Second::Open(socket)) => {
                self.nat.outgoing.push_back(Packet { socket: *socket, to, bytes: Probe { token }.emit() });
            }
            (Prober::OtherPort, Second::Opening(_, waiting)) => {
                if waiting.len() < MAX_WAITING {
                    waiting.push((to, token));
                }
            }
            (Prober::OtherPort, Second::Closed) => {
                let socket = self.sockets.one();
                let bind = SocketAddr::new(self.config.local.ip(), 0);
                self.socket_requests.push_back(SocketRequest::Open { socket, bind });
                self.nat.second = Second::Opening(socket, vec![(to, token)]);
            }
        }
    }

    /// Asks which outside port a punching socket has, of whoever is known to see it.
    pub(super) fn want_port(&mut self, now: Instant, punch: u64, socket: SocketId) {
        let server = self.nat.discovery.nearest();
        let question = server.map(|server| Question::new(socket, server, PORT_PATIENCE));
        let number = question.filter(|_| self.nat.wanted.len() < MAX_WANTED).and_then(|q| self.nat.client.ask(now, q));
        if let Some(number) = number {
            self.nat.wanted.insert(number, (punch, socket));
        }
    }

    /// The next small datagram of STUN.
    pub(in crate::node) fn poll_stun(&mut self, now: Instant) -> Option<Packet> {
        if let Some(packet) = self.nat.outgoing.pop_front().or_else(|| self.nat.server.poll_transmit()) {
            return Some(packet);
        }
        if let Some(packet) = self.nat.client.poll_transmit(now) {
            return Some(packet);
        }
        self.nat.discovery.poll_transmit(now)
    }
}
