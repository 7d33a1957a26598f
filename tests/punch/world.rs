//! Two hosts that run nothing but a punch, a server that says what it sees, and a mailbox between the two.

use anjer::machine::{SocketId, SocketReport, SocketRequest};
use anjer::stun::candidate::{Candidate, CandidateKind, Interface};
use anjer::stun::fingerprint::{Filtering, Fingerprint, Mapping, Ports};
use anjer::stun::punch::experience::Advice;
use anjer::stun::punch::{Budget, Config, Event, Offer, Ours, Punch, Reason};
use anjer::time::Instant;
use core::time::Duration;
use netem::{Behaviour, Host, Link, Nat, NatId, Network, Packet, Site};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Through the channel that both share, one way.
pub(crate) const MAIL: Duration = Duration::from_millis(100);

/// Between the two, one way, NATs included.
pub(crate) const DELAY: Duration = Duration::from_millis(25);

/// When the punch begins: both know their public address by then.
const BEGINS: Duration = Duration::from_millis(500);

/// Where packets get lost, they ask until then.
const BEGINS_AT_LAST: Duration = Duration::from_secs(10);

const MAIN_PORT: u16 = 5000;
const FIRST_PORT: u16 = 6000;

/// The first byte of a question what somebody looks like, and of its answer.
const SEEN: u8 = 0;

/// Offers on their way: when they arrive, at whom; and how many there ever were.
type Mail = Rc<RefCell<Mailbox>>;

#[derive(Default)]
struct Mailbox {
    offers: VecDeque<(Duration, usize, Offer)>,
    posted: u64,
}

/// What became of one end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Open { socket: SocketId, remote: SocketAddr, at: Duration, probes: u32 },
    Failed { reason: Reason, probes: u32 },
}

/// The server, or one of the two.
pub(crate) enum Party {
    Server { outbox: VecDeque<Packet> },
    End(Box<End>),
}

pub(crate) struct End {
    pub(crate) ip: IpAddr,
    number: usize,
    server: SocketAddr,
    mail: Mail,
    mail_delay: Duration,
    pub(crate) punch: Option<Punch>,
    pub(crate) budget: Budget,
    /// What the server sees of the main socket.
    pub(crate) seen: Option<SocketAddr>,
    outbox: VecDeque<Packet>,
    ports: BTreeMap<SocketId, u16>,
    next_port: u16,
    /// Questions that were not answered: which socket's, when to ask again.
    asking: Vec<(SocketId, Duration)>,
    pub(crate) outcome: Option<Outcome>,
    /// When the other end's first offer came.
    pub(crate) met: Option<Duration>,
    /// The server does not answer.
    pub(crate) no_server: bool,
    pub(crate) most_sockets: usize,
}

fn instant(now: Duration) -> Instant {
    Instant::from_start(now)
}

impl End {
    pub(crate) fn open_sockets(&self) -> usize {
        self.ports.len()
    }

    fn port(&self, socket: SocketId) -> Option<u16> {
        self.ports.get(&socket).copied()
    }

    fn ask(&mut self, now: Duration, socket: SocketId) {
        if self.no_server {
            return;
        }
        if let Some(port) = self.port(socket) {
            self.outbox.push_back(Packet::new(SocketAddr::new(self.ip, port), self.server, vec![SEEN]));
            self.asking.push((socket, now + 250 * MS));
        }
    }

    /// Reads the mail, asks again, and does what the punch wants.
    fn run(&mut self, now: Duration) {
        let due = |mail: &(Duration, usize, Offer)| mail.0 <= now && mail.1 == self.number;
        loop {
            let mut mail = self.mail.borrow_mut();
            let Some(at) = mail.offers.iter().position(due) else { break };
            let Some((_, _, offer)) = mail.offers.remove(at) else { break };
            drop(mail);
            self.met.get_or_insert(now);
            if let Some(punch) = &mut self.punch {
                punch.handle_offer(instant(now), offer);
            }
        }
        let again: Vec<_> = self.asking.iter().filter(|(_, at)| *at <= now).map(|(socket, _)| *socket).collect();
        self.asking.retain(|(_, at)| *at > now);
        again.into_iter().for_each(|socket| self.ask(now, socket));
        self.drain(now);
    }

    fn drain(&mut self, now: Duration) {
        loop {
            let Some(punch) = &mut self.punch else { return };
            if let Some(request) = punch.poll_socket(instant(now), &mut self.budget) {
                match request {
                    SocketRequest::Open { socket, .. } => {
                        self.ports.insert(socket, self.next_port);
                        let local = SocketAddr::new([0, 0, 0, 0].into(), self.next_port);
                        self.next_port += 1;
                        punch.handle_socket(instant(now), SocketReport::Opened { socket, local });
                    }
                    SocketRequest::Close(socket) => drop(self.ports.remove(&socket)),
                }
                self.most_sockets = self.most_sockets.max(self.ports.len());
                continue;
            }
            match punch.poll_event() {
                Some(Event::Offer(offer)) => {
                    let mut mail = self.mail.borrow_mut();
                    mail.offers.push_back((now + self.mail_delay, 1 - self.number, *offer));
                    mail.posted += 1;
                }
                Some(Event::WantPort { socket }) => self.ask(now, socket),
                Some(Event::Open { socket, remote, probes, .. }) => {
                    assert_eq!(self.outcome, None, "decided once");
                    self.outcome = Some(Outcome::Open { socket, remote, at: now, probes });
                }
                Some(Event::Failed { reason, probes }) => {
                    assert_eq!(self.outcome, None, "decided once");
                    self.outcome = Some(Outcome::Failed { reason, probes });
                }
                None => return,
            }
        }
    }
}

impl Host for Party {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        match self {
            Self::Server { outbox } => {
                if bytes == [SEEN] {
                    let answer = [&[SEEN], from.to_string().as_bytes()].concat();
                    outbox.push_back(Packet::new(to, from, answer));
                }
            }
            Self::End(end) => {
                let socket = end.ports.iter().find(|(_, port)| **port == to.port()).map(|(socket, _)| *socket);
                let Some(socket) = socket else { return };
                if let Some((&SEEN, answer)) = bytes.split_first() {
                    let seen = str::from_utf8(answer).unwrap().parse().unwrap();
                    end.asking.retain(|(asking, _)| *asking != socket);
                    if socket == SocketId::MAIN {
                        end.seen = Some(seen);
                    } else if let Some(punch) = &mut end.punch {
                        punch.handle_mapped(instant(now), socket, seen);
                    }
                } else if let Some(punch) = &mut end.punch {
                    punch.handle_datagram(instant(now), socket, from, bytes);
                }
                end.drain(now);
            }
        }
    }

    fn handle_timeout(&mut self, now: Duration) {
        if let Self::End(end) = self {
            if let Some(punch) = &mut end.punch {
                punch.handle_timeout(instant(now), &mut end.budget);
            }
            end.run(now);
        }
    }

    fn poll_transmit(&mut self, now: Duration) -> Option<Packet> {
        match self {
            Self::Server { outbox } => outbox.pop_front(),
            Self::End(end) => {
                if let Some(packet) = end.outbox.pop_front() {
                    return Some(packet);
                }
                let (socket, to, bytes) = end.punch.as_mut()?.poll_transmit(instant(now), &mut end.budget)?;
                // What is sent from a closed socket is not sent.
                let Some(port) = end.port(socket) else { return self.poll_transmit(now) };
                Some(Packet::new(SocketAddr::new(end.ip, port), to, bytes))
            }
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let Self::End(end) = self else { return None };
        let punch = end.punch.as_ref().and_then(Punch::poll_timeout).map(Instant::since_start);
        let mail = end.mail.borrow().offers.iter().filter(|(_, to, _)| *to == end.number).map(|(at, _, _)| *at).min();
        let asking = end.asking.iter().map(|(_, at)| *at).min();
        [punch, mail, asking].into_iter().flatten().min()
    }
}

/// What is known of a NAT by who made it. A pool is measured: its bounds are widened a little.
pub(crate) fn fingerprint(nat: Option<&Nat>) -> Fingerprint {
    let Some(nat) = nat else {
        return Fingerprint {
            translated: Some(false),
            mapping: Some(Mapping::Independent),
            filtering: Some(Filtering::Independent),
            ports: Some(Ports::Kept),
            ..Fingerprint::default()
        };
    };
    let Behaviour { mapping, filtering, ports, hairpin, blocked, .. } = nat.behaviour.clone();
    let ports = match ports {
        netem::Ports::Kept => Ports::Kept,
        netem::Ports::Sequential { step } => Ports::Sequential { step: step as i16 },
        netem::Ports::Random { pool } if pool > 20_000 => Ports::Random { lowest: 1024, highest: u16::MAX },
        netem::Ports::Random { pool } => {
            let mut copy = nat.clone();
            let ports: Vec<u16> = (0..1500_u16)
                .filter_map(|n| {
                    let from = SocketAddr::from(([192, 168, 1, 99], 20_000 + n));
                    let to = SocketAddr::from(([198, 51, 100, 77], 20_000 + n));
                    Some(copy.outbound(Duration::ZERO, Packet::new(from, to, Vec::new())).ok()?.from.port())
                })
                .collect();
            let margin = pool / 200 + 1;
            Ports::Random {
                lowest: ports.iter().min().unwrap().saturating_sub(margin).max(1024),
                highest: ports.iter().max().unwrap().saturating_add(margin),
            }
        }
    };
    Fingerprint {
        translated: Some(true),
        blocked,
        mapping: Some(match mapping {
            netem::Mapping::Independent => Mapping::Independent,
            netem::Mapping::ByAddress => Mapping::ByAddress,
            netem::Mapping::ByAddressAndPort => Mapping::ByAddressAndPort,
        }),
        filtering: Some(match filtering {
            netem::Filtering::Independent => Filtering::Independent,
            netem::Filtering::ByAddress => Filtering::ByAddress,
            netem::Filtering::ByAddressAndPort => Filtering::ByAddressAndPort,
        }),
        ports: Some(ports),
        hairpin: Some(hairpin),
        lifetime: None,
    }
}

/// What a run is made of.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Behind what each end is, its own NAT first. The first one begins.
    pub(crate) nats: [Vec<Behaviour>; 2],
    /// Both are behind the first one's NATs.
    pub(crate) together: bool,
    pub(crate) loss: f64,
    pub(crate) jitter: Duration,
    /// The mailbox one way for each end's offers.
    pub(crate) mail: [Duration; 2],
    /// What both know of their NATs. `None`: the truth.
    pub(crate) known: [Option<Fingerprint>; 2],
    pub(crate) proven: bool,
    pub(crate) no_server: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64, a: &[Behaviour], b: &[Behaviour]) -> Self {
        Self {
            seed,
            nats: [a.to_vec(), b.to_vec()],
            together: false,
            loss: 0.0,
            jitter: Duration::ZERO,
            mail: [MAIL; 2],
            known: [None, None],
            proven: true,
            no_server: false,
        }
    }
}

/// A network in which two are about to punch.
pub(crate) struct World {
    pub(crate) network: Network<Party>,
    pub(crate) ends: [Site; 2],
    pub(crate) outer: [Option<NatId>; 2],
}

pub(crate) fn server() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 3478))
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let link =
            Link { delay: DELAY, jitter: plan.jitter, loss: netem::Loss::Independent(plan.loss), ..Link::default() };
        let mut network = Network::new(plan.seed, link);
        network.add(server(), Party::Server { outbox: VecDeque::new() });
        let mail = Mail::default();
        let mut inner: Option<NatId> = None;
        let mut outer = [None, None];
        let mut ends = Vec::new();
        for number in 0..2 {
            if number == 0 || !plan.together {
                inner = None;
                for (depth, behaviour) in plan.nats[number].iter().rev().enumerate() {
                    let outside = [if inner.is_some() { 100 } else { 203 }, 64, depth as u8, number as u8 + 1];
                    let nat = match inner {
                        None => network.add_nat(behaviour.clone(), outside),
                        Some(outside_of) => network.add_nat_behind(outside_of, behaviour.clone(), outside),
                    };
                    if let Some(previous) = inner {
                        at_once(&mut network, previous.into(), nat.into());
                    } else {
                        outer[number] = Some(nat);
                    }
                    inner = Some(nat);
                }
            } else {
                outer[1] = outer[0];
            }
            let ip: IpAddr = match inner {
                Some(_) => [192, 168, 1, if plan.together { number as u8 + 2 } else { 2 }].into(),
                None => [9, 9, 9, number as u8 + 1].into(),
            };
            let end = End {
                ip,
                number,
                server: server(),
                mail: Rc::clone(&mail),
                mail_delay: plan.mail[number],
                punch: None,
                budget: Budget::default(),
                seen: None,
                outbox: VecDeque::new(),
                ports: [(SocketId::MAIN, MAIN_PORT)].into(),
                next_port: FIRST_PORT,
                asking: Vec::new(),
                outcome: None,
                met: None,
                no_server: false,
                most_sockets: 0,
            };
            let site = inner.map_or(Site::machine(ip), |nat| nat.machine(ip));
            network.add(site, Party::End(Box::new(end)));
            if let Some(nat) = inner {
                at_once(&mut network, site, nat.into());
            }
            ends.push(site);
        }
        let mut world = Self { network, ends: [ends[0], ends[1]], outer };
        world.begin(plan);
        world
    }

    pub(crate) fn end(&mut self, number: usize) -> &mut End {
        match self.network.host_mut(self.ends[number]) {
            Some(Party::End(end)) => end,
            _ => panic!("an end lives there"),
        }
    }

    /// Both learn their public address; then both know of each other.
    fn begin(&mut self, plan: &Plan) {
        for number in 0..2 {
            self.end(number).ask(Duration::ZERO, SocketId::MAIN);
        }
        let ends = self.ends;
        self.network.run_until(BEGINS, |_| false);
        self.network.run_until(BEGINS_AT_LAST, |network| {
            let knows = |site| matches!(network.host(site), Some(Party::End(end)) if end.seen.is_some());
            ends.into_iter().all(knows)
        });
        let seen = [0, 1].map(|number| self.end(number).seen);
        let fingerprints = [0, 1].map(|number| {
            let nat = self.outer[number].and_then(|nat| self.network.nat(nat));
            plan.known[number].unwrap_or_else(|| fingerprint(nat))
        });
        for number in [1, 0] {
            let now = self.network.now();
            let end = self.end(number);
            end.asking.clear();
            end.no_server = plan.no_server;
            let candidates = [
                Some(Candidate::new(SocketAddr::new(end.ip, MAIN_PORT), CandidateKind::Host)),
                seen[number].map(|seen| Candidate::new(seen, CandidateKind::Reflexive)),
            ];
            let config = Config {
                initiator: number == 0,
                binding: [7; 32],
                seed: *blake3::keyed_hash(&[number as u8; 32], &plan.seed.to_be_bytes()).as_bytes(),
                ours: Ours {
                    fingerprint: fingerprints[number],
                    candidates: candidates.into_iter().flatten().collect(),
                    public: seen[number].map(|seen| seen.ip()).into_iter().collect(),
                    sockets: vec![(SocketId::MAIN, SocketAddr::new(end.ip, MAIN_PORT))],
                    interfaces: vec![Interface { address: end.ip, prefix: 24 }],
                },
                proven_ips: seen[1 - number].filter(|_| plan.proven).map(|seen| seen.ip()).into_iter().collect(),
                same_machine: false,
                relay_rtt: plan.mail[0] + plan.mail[1],
                first_socket: SocketId(1),
                advice: Advice::default(),
            };
            end.punch = Some(Punch::new(instant(now), config));
            end.run(now);
        }
    }

    /// Runs until both have decided, or until then. Whoever got mail looks for it.
    pub(crate) fn run(&mut self, deadline: Duration) -> [Option<Outcome>; 2] {
        let ends = self.ends;
        let mut known = 0;
        self.network.run_until(deadline, |network| {
            let mut decided = 0;
            let mut posted = 0;
            for site in ends {
                if let Some(Party::End(end)) = network.host(site) {
                    decided += usize::from(end.outcome.is_some());
                    posted = end.mail.borrow().posted;
                }
            }
            if posted != known {
                known = posted;
                for site in ends {
                    network.host_mut(site);
                }
            }
            decided == 2
        });
        [0, 1].map(|number| self.end(number).outcome.clone())
    }

    /// Where packets of an end to a remote leave into the world.
    pub(crate) fn outside(&mut self, number: usize, socket: SocketId, remote: SocketAddr) -> Option<SocketAddr> {
        let (ip, port) = (self.end(number).ip, self.end(number).port(socket)?);
        let inside = SocketAddr::new(ip, port);
        match self.outer[number] {
            None => Some(inside),
            Some(nat) => self.network.nat(nat)?.mapped(self.network.now(), inside, remote),
        }
    }
}

/// Neighbours within a house.
fn at_once(network: &mut Network<Party>, a: Site, b: Site) {
    network.set_link(a, b, Link::default());
    network.set_link(b, a, Link::default());
}
