//! Two people who typed each other's address, and share nothing else: no channel, no secret, no fingerprint of the other end.
//!
//! Each end opens its NAT towards the typed address, answers there to where it hears from, and escalates by what it knows of its own NAT
//! alone:
//!
//! | our NAT | after [`DIRECT_TIME`] |
//! |---|---|
//! | shows another port to each destination | holds sockets towards the typed port, which the other end's may well be |
//! | shows one port and filters by port | casts ports at the typed IP: the other end may be of the first kind |
//! | lets anybody in who was sent to | goes on as before: the other end will be heard |
//! | unknown | a little of both |
//!
//! PNCH in its open form proves nothing but that somebody at the typed IP listens; it leads to no more than an answer of the same size and
//! [`Event::Heard`], upon which the owner dials there. Packets from any other IP are ignored, so that nobody can make us answer a third party.

use crate::machine::{SocketId, SocketReport, SocketRequest};
use crate::stun::candidate::unmapped;
use crate::stun::fingerprint::{Filtering, Fingerprint, Mapping};
use crate::stun::punch::budget::{Budget, Verdict, Word};
use crate::stun::punch::ledger::{Echo, Ledger, Way};
use crate::stun::punch::packet::{self, Kind, Packet, Sealer};
use crate::stun::punch::plan::{Aim, Pool};
use crate::stun::punch::stages::{Guess, Running, Series};
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// How long only the typed address is tried.
pub const DIRECT_TIME: Duration = Duration::from_secs(2);

/// Socket ids that are needed.
pub const SOCKETS: u32 = 256;

/// Between probes of the typed address, at first and later on.
const OFTEN: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(2);

/// Sockets held by an end that knows it must, and by one that knows nothing.
const HELD: u32 = 200;
const HELD_PERHAPS: u32 = 100;

/// Held sockets send again after so long, so many times: the other person may take a while, and NATs forget in half a minute.
const HOLD_AGAIN: Duration = Duration::from_secs(20);
const HOLDS: u32 = 5;

/// Ports that are cast at by an end that knows it must, and by one that knows nothing: with as many sockets held there, 99.6 % and 89 %.
const CAST: u32 = 1_800;
const CAST_PERHAPS: u32 = 1_400;

/// A second cast follows so long after the first, over other ports: the other person may have been later.
const CAST_AGAIN: Duration = Duration::from_secs(45);
const CASTS: u32 = 2;

/// Answers a second, to whatever address.
const ANSWERS_PER_SECOND: u32 = 20;

/// Ways that are reported.
const MAX_HEARD: usize = 32;

/// What is begun with. The seed decides only in which order ports are tried.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the user typed. Typing it is the consent to try its ports.
    pub typed: SocketAddr,
    /// What is known of our NAT.
    pub fingerprint: Fingerprint,
    /// Open sockets, with their own addresses.
    pub sockets: Vec<(SocketId, SocketAddr)>,
    /// The first of [`SOCKETS`] ids that nobody else uses.
    pub first_socket: SocketId,
    /// Random bytes, never used before.
    pub seed: [u8; 32],
    /// How long to go on. The client promises ten minutes.
    pub patience: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody at the typed IP sends to us: dial there, from this socket. Each pair of them is reported once, and once more when
    /// `answered` becomes true.
    Heard {
        /// On which socket.
        socket: SocketId,
        /// From where.
        from: SocketAddr,
        /// They answered something that we sent there: it works in both directions.
        answered: bool,
    },
    /// The time is up.
    Ended {
        /// Packets spent.
        probes: u32,
    },
}

/// One end. The verbs are those of [`Punch`](super::Punch).
#[derive(Debug)]
pub struct Strangers {
    config: Config,
    sealer: Sealer,
    ledger: Ledger,
    began: Instant,
    /// Nobody who answers is looked for any further.
    answered: bool,
    over: bool,
    next_beacon: Instant,
    holds: u32,
    next_hold: Option<Instant>,
    casts: u32,
    next_cast: Option<Instant>,
    holding: Option<Running>,
    casting: Option<Running>,
    held: BTreeSet<SocketId>,
    opened: Vec<SocketId>,
    heard: BTreeMap<Way, bool>,
    answers: VecDeque<(Way, Kind, u64)>,
    answer_window: (Instant, u32),
    requests: VecDeque<SocketRequest>,
    events: VecDeque<Event>,
    spent: u32,
    handed_over: u32,
    blocked: Option<Instant>,
}

impl Strangers {
    /// Begins.
    pub fn new(now: Instant, mut config: Config) -> Self {
        config.typed = unmapped(config.typed);
        let first =
            u64::from_be_bytes(blake3::hash(&config.seed).as_bytes().first_chunk().copied().unwrap_or_default());
        let Fingerprint { mapping, filtering, translated, .. } = config.fingerprint;
        let mapping = if translated == Some(false) { Some(Mapping::Independent) } else { mapping };
        let escalates = Some(now + DIRECT_TIME);
        let is_strict = filtering.is_none_or(|filtering| filtering == Filtering::ByAddressAndPort);
        let is_v4 = config.typed.is_ipv4();
        Self {
            sealer: Sealer::open(),
            ledger: Ledger::new(first),
            began: now,
            answered: false,
            over: false,
            next_beacon: now,
            holds: 0,
            // IPv6 is seldom translated: no port of it is a guess.
            next_hold: escalates.filter(|_| is_v4 && mapping != Some(Mapping::Independent)),
            casts: 0,
            next_cast: escalates
                .filter(|_| is_v4 && is_strict && mapping.is_none_or(|mapping| mapping == Mapping::Independent)),
            holding: None,
            casting: None,
            held: BTreeSet::new(),
            opened: Vec::new(),
            heard: BTreeMap::new(),
            answers: VecDeque::new(),
            answer_window: (now, 0),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            spent: 0,
            handed_over: 0,
            blocked: None,
            config,
        }
    }

    /// A datagram that begins with [`PNCH`](packet::PNCH) came. `false`: it is none between strangers.
    pub fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(packet) = self.sealer.open_datagram(bytes, false) else { return false };
        let way = Way { socket, remote: unmapped(from) };
        // Our own packets may come back to us through a hairpin.
        let is_ours = self.ledger.is_ours(packet.nonce);
        if self.over || is_ours || way.remote.ip() != self.config.typed.ip() {
            return true;
        }
        match packet.kind {
            Kind::Probe if self.may_answer(now) && self.ledger.answers(packet.nonce) => {
                self.answers.push_back((way, Kind::Reply, packet.nonce));
                self.report(way, false);
            }
            Kind::Reply => match self.ledger.on_echo(now, way, packet.nonce, packet.echo) {
                Echo::Proves => {
                    self.answered = true;
                    self.report(way, true);
                }
                Echo::Strays => self.report(way, false),
                Echo::Unknown => {}
            },
            _ => {}
        }
        true
    }

    /// What became of a socket.
    pub fn handle_socket(&mut self, _now: Instant, report: SocketReport) {
        let Some(holding) = &mut self.holding else { return };
        match report {
            SocketReport::Opened { socket, .. } if self.held.contains(&socket) => {
                holding.on_socket(socket);
                self.opened.push(socket);
            }
            SocketReport::Failed(socket) if self.held.remove(&socket) => holding.on_no_socket(),
            _ => {}
        }
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.over {
            return;
        }
        if now >= self.began + self.config.patience {
            self.stop(&[]);
            self.events.push_back(Event::Ended { probes: self.spent });
            return;
        }
        if self.answered {
            return;
        }
        if self.next_hold.is_some_and(|at| now >= at) {
            self.hold(now);
        }
        if self.next_cast.is_some_and(|at| now >= at) {
            self.cast(now);
        }
    }

    /// What to send next.
    pub fn poll_transmit(&mut self, now: Instant, budget: &mut Budget) -> Option<(SocketId, SocketAddr, Vec<u8>)> {
        while let Some((way, kind, echo)) = self.answers.pop_front() {
            if budget.answer(now, way.remote.ip(), packet::LEN, Word::Itself) {
                return self.send(now, way, kind, echo);
            }
        }
        if self.over || self.blocked.is_some_and(|until| now < until) {
            return None;
        }
        self.blocked = None;
        while let Some((way, what)) = self.due(now) {
            match budget.probe(now, way.remote.ip(), packet::LEN, Word::Itself) {
                Verdict::Wait(until) => {
                    self.blocked = Some(until);
                    return None;
                }
                verdict => {
                    self.take(now, what);
                    if verdict == Verdict::Go {
                        return self.send(now, way, Kind::Probe, 0);
                    }
                }
            }
        }
        None
    }

    /// What to do with sockets next.
    pub fn poll_socket(&mut self, budget: &mut Budget) -> Option<SocketRequest> {
        for _ in 0..core::mem::take(&mut self.handed_over) {
            budget.close_socket();
        }
        while let Some(request) = self.requests.pop_front() {
            match request {
                SocketRequest::Open { socket, .. } if !budget.open_socket() => {
                    self.held.remove(&socket);
                    if let Some(holding) = &mut self.holding {
                        holding.on_no_socket();
                    }
                }
                SocketRequest::Open { .. } => return Some(request),
                SocketRequest::Close(_) => {
                    budget.close_socket();
                    return Some(request);
                }
            }
        }
        None
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and to poll again. `None`: it is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let further = |at: Option<Instant>| at.filter(|_| !self.answered);
        let guesses = [&self.holding, &self.casting].into_iter().flatten().filter_map(Running::due);
        let sends = guesses.filter(|_| !self.answered).chain(self.base().map(|_| self.next_beacon)).min();
        let sends = sends.map(|due| self.blocked.map_or(due, |until| due.max(until)));
        let end = Some(self.began + self.config.patience);
        [sends, further(self.next_hold), further(self.next_cast), end].into_iter().flatten().min()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Stops, and closes its own sockets but those that the owner goes on with.
    pub fn stop(&mut self, but: &[SocketId]) {
        if self.over {
            return;
        }
        self.over = true;
        (self.holding, self.casting) = (None, None);
        self.answers.clear();
        for socket in core::mem::take(&mut self.held) {
            if but.contains(&socket) {
                self.handed_over += 1;
                continue;
            }
            let before = self.requests.len();
            self.requests
                .retain(|request| !matches!(request, SocketRequest::Open { socket: asked, .. } if *asked == socket));
            if self.requests.len() == before {
                self.requests.push_back(SocketRequest::Close(socket));
            }
        }
    }

    /// Packets that were spent.
    pub const fn probes(&self) -> u32 {
        self.spent
    }

    /// It was stopped, or its time was up.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    fn report(&mut self, way: Way, answered: bool) {
        let known = self.heard.get(&way).copied();
        if known.is_none() && self.heard.len() >= MAX_HEARD || known.is_some_and(|before| before || !answered) {
            return;
        }
        self.heard.insert(way, answered);
        self.events.push_back(Event::Heard { socket: way.socket, from: way.remote, answered });
        if !answered {
            // Whether it works in both directions is found out at once.
            self.answers.push_back((way, Kind::Probe, 0));
        }
    }

    fn may_answer(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.answer_window;
        if now.saturating_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= ANSWERS_PER_SECOND
    }

    fn hold(&mut self, now: Instant) {
        self.holds += 1;
        self.next_hold = (self.holds < HOLDS).then_some(now + HOLD_AGAIN);
        let sockets = if self.config.fingerprint.mapping.is_some() { HELD } else { HELD_PERHAPS };
        let series = Series::Hold { target: self.config.typed, probes: sockets };
        if self.holds > 1 {
            let mut again =
                Running::new(Series::Hold { target: self.config.typed, probes: self.opened.len() as u32 }, 0, now);
            self.opened.iter().for_each(|socket| again.on_socket(*socket));
            self.holding = Some(again);
            return;
        }
        let bind = if self.config.typed.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let first = self.config.first_socket.0;
        for socket in (first..first.saturating_add(sockets)).map(SocketId) {
            self.held.insert(socket);
            self.requests.push_back(SocketRequest::Open { socket, bind });
        }
        self.holding = Some(Running::new(series, self.held.len() as u32, now));
    }

    fn cast(&mut self, now: Instant) {
        const ALL: Pool = Pool { lowest: 1024, highest: u16::MAX };
        self.casts += 1;
        self.next_cast = (self.casts < CASTS).then_some(now + CAST_AGAIN);
        let Some(socket) = self.base() else { return };
        let seed = blake3::keyed_hash(&self.config.seed, &self.casts.to_be_bytes());
        let seed = u64::from_be_bytes(seed.as_bytes().first_chunk().copied().unwrap_or_default());
        let probes = if self.config.fingerprint.mapping.is_some() { CAST } else { CAST_PERHAPS };
        self.casting = Guess::new(Aim::Pool(ALL), None, seed).map(|guess| {
            let ip = self.config.typed.ip();
            Running::new(Series::Cast { socket, ip, guess, probes, passes: 1 }, 0, now)
        });
    }

    fn base(&self) -> Option<SocketId> {
        let is_family = |local: &SocketAddr| local.is_ipv4() == self.config.typed.is_ipv4();
        self.config.sockets.iter().find(|(_, local)| is_family(local)).map(|(socket, _)| *socket)
    }

    /// The probe that is due.
    fn due(&self, now: Instant) -> Option<(Way, Due)> {
        if now >= self.next_beacon
            && let Some(socket) = self.base()
        {
            return Some((Way { socket, remote: self.config.typed }, Due::Beacon));
        }
        let is_due = |running: &&Running| !self.answered && running.due().is_some_and(|due| due <= now);
        let next = |running: &Option<Running>| running.as_ref().filter(is_due).and_then(Running::peek);
        next(&self.holding).map(|way| (way, Due::Hold)).or_else(|| next(&self.casting).map(|way| (way, Due::Cast)))
    }

    fn take(&mut self, now: Instant, due: Due) {
        let running = match due {
            Due::Beacon => {
                let apart = if now < self.began + DIRECT_TIME { OFTEN } else { SELDOM };
                self.next_beacon = now + apart;
                return;
            }
            Due::Hold => &mut self.holding,
            Due::Cast => &mut self.casting,
        };
        if let Some(running) = running {
            running.advance(now);
        }
    }

    fn send(&mut self, now: Instant, way: Way, kind: Kind, echo: u64) -> Option<(SocketId, SocketAddr, Vec<u8>)> {
        let nonce = self.ledger.next_nonce()?;
        let packet = Packet { kind, from_initiator: false, round: 0, nonce, echo };
        self.ledger.on_sent(now, way);
        self.spent += 1;
        Some((way.socket, way.remote, self.sealer.seal(&packet).to_vec()))
    }
}

/// Which of the things that are sent.
#[derive(Clone, Copy, Debug)]
enum Due {
    Beacon,
    Hold,
    Cast,
}
