//! One punch at work: rounds of a plan, each begun by an offer, until a way is proven or the plan is at its end.
//!
//! | phase | waits for | then |
//! |---|---|---|
//! | `Idle` | the initiator's first offer | `Preparing` |
//! | `Preparing` | a socket, and what its port looks like from outside | our offer; initiator: `Offered`, else `Waiting` |
//! | `Offered` | the other end's offer for this round | `Trying` |
//! | `Waiting` | half a round trip, so that the initiator has our offer when we begin | `Trying` |
//! | `Trying` | a proven way; the end of the stage | chosen: `Open`; initiator: `Preparing` for the next stage, or `Over` |
//! | `Open` | nothing more: answers an initiator whose last word was lost | `Over` |
//!
//! A way is proven at one end when a packet comes back from where it was sent to, echoing its nonce. The initiator chooses among the
//! proven ways, after a short wait for better ones, and has its choice confirmed over that very way: both ends report the same.
//!
//! **The clash of Linux NATs.** A packet that comes before ours has left becomes an entry of conntrack, our mapping then moves to another port,
//! and both ends stay deaf to each other. Both therefore begin at the same time; and when nothing came though it should have, the next
//! round is from a port that nobody ever sent to.

use crate::machine::{SocketId, SocketReport, SocketRequest};
use crate::stun::candidate::{Candidate, Context, Interface};
use crate::stun::fingerprint::Fingerprint;
use crate::stun::punch::budget::{Budget, Verdict, Word};
use crate::stun::punch::experience::Advice;
use crate::stun::punch::ledger::{Ledger, Way};
use crate::stun::punch::offer::{Latest, Offer};
use crate::stun::punch::packet::{self, Kind, Packet, PairId, Sealer};
use crate::stun::punch::plan::{Circumstances, End, MAX_PROBES, MAX_SOCKETS, Plan, Reason, Stage, StageKind, plan};
use crate::stun::punch::stages::Running;
use crate::time::{Duration, Instant};
use core::fmt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

mod hear;
mod rounds;

/// Socket ids that each punch needs for itself.
pub const SOCKETS_PER_PUNCH: u32 = 2048;

/// How long the initiator waits for an answer to its offer: the other end may have to ask a slow server first.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long a socket and its outside port are waited for before a round begins without.
const PREPARING_TIME: Duration = Duration::from_secs(1);

/// How long the end that did not choose still answers.
const LINGER: Duration = Duration::from_secs(6);

/// Rounds of one punch, whatever the other end says.
const MAX_ROUNDS: u16 = 20;

/// Answers that wait to be sent.
const MAX_ANSWERS: usize = 64;

/// Probes to single addresses that wait for their time: all candidates, and ways that were heard from.
const MAX_BEACONS: usize = 256;

/// Packets beyond [`MAX_PROBES`] that a punch may spend on answering and choosing.
const MAX_PACKETS: u32 = MAX_PROBES as u32 + 200;

/// What is known of this end. The owner asks its interfaces, port mappings and servers.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// What is known of our NAT.
    pub fingerprint: Fingerprint,
    /// Where we may be reached, on the sockets below.
    pub candidates: Vec<Candidate>,
    /// Our addresses as the world sees them.
    pub public: Vec<IpAddr>,
    /// Open sockets that candidates belong to, with their own addresses: the main one, and perhaps one of the other family.
    pub sockets: Vec<(SocketId, SocketAddr)>,
    /// Our own addresses, and who is near them.
    pub interfaces: Vec<Interface>,
}

/// What a punch is begun with.
#[derive(Clone)]
pub struct Config {
    /// Whether we begin. Exactly one of the two ends does.
    pub initiator: bool,
    /// What is unique to the sealed channel between the two, the same at both ends.
    pub binding: [u8; 32],
    /// Random bytes, never used before.
    pub seed: [u8; 32],
    /// What is known of this end.
    pub ours: Ours,
    /// Addresses from which somebody we trust in this has heard the other end: ports are tried only there.
    pub proven_ips: Vec<IpAddr>,
    /// The other end runs on this machine.
    pub same_machine: bool,
    /// The round trip through the channel that carries offers.
    pub relay_rtt: Duration,
    /// The first of [`SOCKETS_PER_PUNCH`] ids that nobody else uses.
    pub first_socket: SocketId,
    /// What earlier punches of such pairs say; only the initiator's counts.
    pub advice: Advice,
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// To be carried to the other end's `handle_offer`, through the sealed channel.
    Offer(Box<Offer>),
    /// Ask a STUN server from this socket, and say what it sees by `handle_mapped`. At once: a NAT that counts goes on counting.
    WantPort {
        /// From which socket. It is open.
        socket: SocketId,
    },
    /// There is a way, and the other end reports the same one. All other sockets of this punch are closed; this one is the owner's.
    Open {
        /// From which socket.
        socket: SocketId,
        /// To where.
        remote: SocketAddr,
        /// A round trip on it.
        rtt: Duration,
        /// Packets that this end spent.
        probes: u32,
        /// What it was that worked.
        stage: StageKind,
    },
    /// There is none: the relay goes on.
    Failed {
        /// Why, for people.
        reason: Reason,
        /// Packets that this end spent.
        probes: u32,
    },
}

/// What was thrown away, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Looked like ours, with a wrong tag.
    pub forged: u64,
    /// Of another pair, or no punch packet.
    pub foreign: u64,
    /// Heard more often than it is answered.
    pub repeated: u64,
    /// Echoes something that was never sent there.
    pub unasked: u64,
    /// Probes that were not sent because their address had all it gets.
    pub withheld: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Preparing { socket: Option<SocketId>, until: Instant },
    Offered { until: Instant },
    Waiting { until: Instant },
    Trying { until: Instant, at_most: Instant },
    Open { way: Way, until: Instant },
    Over,
}

/// A probe to one address, at its time.
#[derive(Clone, Copy, Debug)]
struct Beacon {
    due: Instant,
    way: Way,
    /// Something was heard from there, so that it goes out even during a pause.
    heard: bool,
}

/// The initiator's choice, on its way to the other end.
#[derive(Clone, Copy, Debug)]
struct Choice {
    way: Way,
    next: Instant,
    tries: u32,
}

/// A socket of our own.
#[derive(Clone, Copy, Debug)]
struct Own {
    local: Option<SocketAddr>,
    /// It is for the series of this round.
    series: bool,
}

/// One end of one pair. See the module.
pub struct Punch {
    config: Config,
    counters: Counters,
    secret: [u8; 16],
    drawn: u64,
    sealer: Option<Sealer>,
    /// The other end's latest offer, sanitised.
    theirs: Option<Offer>,
    plan: Option<Plan>,
    /// The plan's stages in the order in which we try them.
    order: VecDeque<u8>,
    tried: Vec<StageKind>,
    /// A stage was left out for this reason.
    left_out: Option<Reason>,
    round: u16,
    stage: u8,
    phase: Phase,
    /// When the first probe of this round could leave.
    started: Instant,
    choice: Option<Choice>,
    ledger: Ledger,
    running: Option<Running>,
    beacons: Vec<Beacon>,
    answers: VecDeque<(Way, Kind, u64)>,
    sockets: BTreeMap<SocketId, Own>,
    next_socket: u32,
    /// The socket of a fresh port, and what that looks like from outside.
    fresh: Option<(SocketId, Option<SocketAddr>)>,
    /// Our counting NAT's port, when it was seen, and packets sent until then.
    counted: Option<(u16, Instant, u32)>,
    others_per_second: Option<u16>,
    proven: BTreeSet<IpAddr>,
    /// Those of them that answered us.
    answered: BTreeSet<IpAddr>,
    requests: VecDeque<SocketRequest>,
    events: VecDeque<Event>,
    spent: u32,
    blocked: Option<Instant>,
    paused: Option<Instant>,
    /// The way that was opened has a socket of ours, which is the owner's from here on.
    handed_over: bool,
}

/// Its secrets stay out of logs.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { initiator, ours, proven_ips, same_machine, relay_rtt, first_socket, advice, .. } = self;
        f.debug_struct("Config")
            .field("initiator", initiator)
            .field("ours", ours)
            .field("proven_ips", proven_ips)
            .field("same_machine", same_machine)
            .field("relay_rtt", relay_rtt)
            .field("first_socket", first_socket)
            .field("advice", advice)
            .finish_non_exhaustive()
    }
}

/// Where it stands; its secrets stay out of logs.
impl fmt::Debug for Punch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { round, stage, phase, spent, counters, .. } = self;
        write!(f, "Punch {{ round {round} stage {stage} {phase:?}, {spent} packets, {counters:?} }}")
    }
}

impl Punch {
    /// Begins, if we are the initiator; else waits for its offer.
    pub fn new(now: Instant, config: Config) -> Self {
        let proven = config.proven_ips.iter().map(IpAddr::to_canonical).collect();
        let next_socket = config.first_socket.0;
        let mut punch = Self {
            counters: Counters::default(),
            secret: [0; 16],
            drawn: 0,
            sealer: None,
            theirs: None,
            plan: None,
            order: VecDeque::new(),
            tried: Vec::new(),
            left_out: None,
            round: 0,
            stage: 0,
            phase: Phase::Idle,
            started: now,
            choice: None,
            ledger: Ledger::new(0),
            running: None,
            beacons: Vec::new(),
            answers: VecDeque::new(),
            sockets: BTreeMap::new(),
            next_socket,
            fresh: None,
            counted: None,
            others_per_second: None,
            proven,
            answered: BTreeSet::new(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            spent: 0,
            blocked: None,
            paused: None,
            handed_over: false,
            config,
        };
        let (a, b) = (punch.draw().to_be_bytes(), punch.draw().to_be_bytes());
        punch.secret = [a, b].concat().try_into().unwrap_or_default();
        punch.ledger = Ledger::new(punch.draw());
        if punch.config.initiator {
            punch.prepare(now, 1, 0);
        }
        punch
    }

    /// The other end's offer came. Whatever is in it, nothing happens that the plan and the budget do not allow.
    pub fn handle_offer(&mut self, now: Instant, offer: Offer) {
        let expected = match self.phase {
            Phase::Offered { .. } => offer.round == self.round,
            Phase::Idle | Phase::Trying { .. } => {
                !self.config.initiator && offer.round > self.round && offer.round <= MAX_ROUNDS
            }
            _ => false,
        };
        if !expected || self.choice.is_some() {
            return;
        }
        let offer = self.sanitised(offer);
        if self.sealer.is_none() {
            self.meet(&offer);
        }
        let (round, stage) = (offer.round, offer.stage);
        self.theirs = Some(offer);
        if self.config.initiator {
            self.start(now);
        } else if self.planned(stage).is_some() {
            self.prepare(now, round, stage);
        }
    }

    /// What a server sees of a socket, as [`Event::WantPort`] asked.
    pub fn handle_mapped(&mut self, now: Instant, socket: SocketId, seen: SocketAddr) {
        if matches!(self.phase, Phase::Preparing { socket: Some(awaited), .. } if awaited == socket) {
            self.on_port(now, socket, seen);
        }
    }

    /// A datagram that begins with [`PNCH`](packet::PNCH) came. `false`: it is not of this pair.
    pub fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SocketAddr, bytes: &[u8]) -> bool {
        let Some(sealer) = &self.sealer else { return false };
        match sealer.open_datagram(bytes, self.config.initiator) {
            Ok(packet) => {
                self.hear(now, Way { socket, remote: crate::stun::candidate::unmapped(from) }, packet);
                true
            }
            Err(packet::Refused::Forged) => {
                self.counters.forged += 1;
                true
            }
            Err(packet::Refused::Foreign | packet::Refused::Malformed) => {
                self.counters.foreign += 1;
                false
            }
        }
    }

    /// What became of a socket.
    pub fn handle_socket(&mut self, now: Instant, report: SocketReport) {
        match report {
            SocketReport::Opened { socket, local } => self.on_opened(now, socket, local),
            SocketReport::Failed(socket) => self.on_no_socket(now, socket),
        }
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant, budget: &mut Budget) {
        self.choose(now);
        if self.paused.is_some() {
            return;
        }
        match self.phase {
            Phase::Preparing { socket, until } if now >= until => self.on_no_port(now, socket),
            Phase::Offered { until } if now >= until => self.fail(now, Reason::Silent),
            Phase::Waiting { until } if now >= until => self.start(now),
            Phase::Trying { until, at_most } if now >= until && self.choice.is_none() => {
                let sending = self.running.as_ref().is_some_and(|running| !running.is_over());
                if !sending || now >= at_most {
                    self.next_stage(now, budget);
                }
            }
            Phase::Open { until, .. } if now >= until => self.phase = Phase::Over,
            _ => {}
        }
    }

    /// What to send next: from which socket, where to, what.
    pub fn poll_transmit(&mut self, now: Instant, budget: &mut Budget) -> Option<(SocketId, SocketAddr, Vec<u8>)> {
        while let Some((way, kind, echo)) = self.answers.pop_front() {
            let ip = way.remote.ip();
            if self.spent < MAX_PACKETS && budget.answer(now, ip, packet::LEN, self.word(ip)) {
                if let Some(transmit) = self.send(now, way, kind, echo) {
                    return Some(transmit);
                }
            } else {
                self.counters.withheld += 1;
            }
        }
        if self.blocked.is_some_and(|until| now < until) {
            return None;
        }
        self.blocked = None;
        while let Some(way) = self.next_beacon(now) {
            match self.ask(now, budget, way) {
                Verdict::Go => {
                    self.take_beacon(now);
                    return self.send(now, way, Kind::Probe, 0);
                }
                Verdict::Never => self.take_beacon(now),
                Verdict::Wait(until) => {
                    self.blocked = Some(until);
                    return None;
                }
            }
        }
        while let Some(way) = self.next_guess(now) {
            match self.ask(now, budget, way) {
                Verdict::Go => {
                    self.take_guess(now);
                    return self.send(now, way, Kind::Probe, 0);
                }
                Verdict::Never => self.take_guess(now),
                Verdict::Wait(until) => {
                    self.blocked = Some(until);
                    return None;
                }
            }
        }
        None
    }

    /// What to do with sockets next.
    pub fn poll_socket(&mut self, now: Instant, budget: &mut Budget) -> Option<SocketRequest> {
        if core::mem::take(&mut self.handed_over) {
            budget.close_socket();
        }
        while let Some(request) = self.requests.pop_front() {
            match request {
                SocketRequest::Open { socket, .. } if !budget.open_socket() => {
                    self.on_no_socket(now, socket);
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

    /// When to call [`handle_timeout`](Self::handle_timeout) and to poll again. `None` at the end: see [`is_over`](Self::is_over).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Idle | Phase::Over => None,
            Phase::Open { until, .. } => Some(until),
            _ if self.paused.is_some() => None,
            Phase::Preparing { until, .. } | Phase::Offered { until } | Phase::Waiting { until } => Some(until),
            Phase::Trying { .. } if self.choice.is_some() => None,
            Phase::Trying { until, at_most } => {
                let sending = self.running.as_ref().is_some_and(|running| !running.is_over());
                Some(if sending { at_most } else { until })
            }
        };
        let sends = |due: Option<Instant>| due.map(|due| self.blocked.map_or(due, |until| due.max(until)));
        let beacons =
            self.beacons.iter().filter(|beacon| self.paused.is_none() || beacon.heard).map(|beacon| beacon.due).min();
        let guesses = self.running.as_ref().filter(|_| self.paused.is_none()).and_then(Running::due);
        [phase, sends(beacons), sends(guesses), self.choice_due()].into_iter().flatten().min()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Stops, and closes its sockets. Reported as a failure unless it is already decided.
    pub fn abort(&mut self, now: Instant) {
        self.fail(now, Reason::Aborted);
    }

    /// No probes from here on: something else on this line suffers. Answers go on, and what was heard is followed up.
    pub fn pause(&mut self, now: Instant) {
        if self.paused.is_none() {
            self.paused = Some(now);
        }
    }

    /// Goes on where it was paused.
    pub fn resume(&mut self, now: Instant) {
        let Some(since) = self.paused.take() else { return };
        let by = now.saturating_since(since);
        for beacon in &mut self.beacons {
            beacon.due = beacon.due + by;
        }
        if let Some(running) = &mut self.running {
            running.delay(by);
        }
        match &mut self.phase {
            Phase::Preparing { until, .. } | Phase::Offered { until } | Phase::Waiting { until } => {
                *until = *until + by
            }
            Phase::Trying { until, at_most } => (*until, *at_most) = (*until + by, *at_most + by),
            Phase::Idle | Phase::Open { .. } | Phase::Over => {}
        }
    }

    /// What its packets are recognised by, once both halves of the secret are known.
    pub fn pair(&self) -> Option<PairId> {
        self.sealer.as_ref().map(Sealer::pair)
    }

    /// Packets that this end spent.
    pub const fn probes(&self) -> u32 {
        self.spent
    }

    /// What was thrown away.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The stages that were tried so far, for [`Experience::note`](super::Experience::note): the last one is at work.
    pub fn tried(&self) -> &[StageKind] {
        &self.tried
    }

    /// What both ends try, once both have offered.
    pub const fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// Nothing will come of it any more: it can be dropped. An open one still answers for some seconds, in case the other end missed that.
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Both halves of the secret are there, and both fingerprints.
    fn meet(&mut self, offer: &Offer) {
        let (first, second) =
            if self.config.initiator { (self.secret, offer.secret) } else { (offer.secret, self.secret) };
        self.sealer = Some(Sealer::new(&self.config.binding, &first, &second));
        let ours = &self.config.ours;
        let circumstances = Circumstances {
            initiator: self.config.initiator,
            our_sockets: MAX_SOCKETS,
            their_sockets: offer.sockets,
            same_public_ip: offer.public.iter().any(|ip| ip.is_ipv4() && ours.public.contains(ip)),
        };
        let plan = plan(&ours.fingerprint, &offer.fingerprint, &circumstances);
        let Advice { first, skip } = &self.config.advice;
        let indexed = || (1_u8..).zip(plan.stages.iter().skip(1).map(Stage::kind));
        let preferred = indexed().filter(|(_, kind)| Some(*kind) == *first);
        let others = indexed().filter(|(_, kind)| Some(*kind) != *first && !skip.contains(kind));
        self.order = preferred.chain(others).map(|(at, _)| at).collect();
        self.plan = Some(plan);
    }

    fn sanitised(&self, offer: Offer) -> Offer {
        let ours = &self.config.ours;
        let same_public_ip =
            offer.public.iter().take(64).any(|ip| self.proven.contains(ip) && ours.public.contains(ip));
        let context = Context { interfaces: &ours.interfaces, same_public_ip, same_machine: self.config.same_machine };
        offer.sanitised(&context)
    }

    fn offer(&self, now: Instant) -> Offer {
        let ours = &self.config.ours;
        let latest = self.counted.map(|(port, seen, _)| Latest {
            port,
            age_ms: u32::try_from(now.saturating_since(seen).as_millis()).unwrap_or(u32::MAX),
            others_per_second: self.others_per_second,
        });
        Offer {
            round: self.round,
            stage: self.stage,
            secret: self.secret,
            fingerprint: ours.fingerprint,
            candidates: self.candidates(),
            public: ours.public.clone(),
            latest,
            sockets: MAX_SOCKETS,
        }
    }

    const fn end(&self) -> End {
        if self.config.initiator { End::Initiator } else { End::Responder }
    }

    fn ask(&mut self, now: Instant, budget: &mut Budget, way: Way) -> Verdict {
        if self.spent >= MAX_PROBES.into() {
            return Verdict::Never;
        }
        let ip = way.remote.ip();
        let verdict = budget.probe(now, ip, packet::LEN, self.word(ip));
        self.counters.withheld += u64::from(verdict == Verdict::Never);
        verdict
    }

    /// On whose word something may be sent there.
    fn word(&self, ip: IpAddr) -> Word {
        match (self.answered.contains(&ip), self.proven.contains(&ip)) {
            (true, _) => Word::Itself,
            (false, true) => Word::Supernode,
            (false, false) => Word::Namer,
        }
    }

    fn send(&mut self, now: Instant, way: Way, kind: Kind, echo: u64) -> Option<(SocketId, SocketAddr, Vec<u8>)> {
        let nonce = self.ledger.next_nonce()?;
        let packet = Packet { kind, from_initiator: self.config.initiator, round: self.round, nonce, echo };
        let bytes = self.sealer.as_ref()?.seal(&packet).to_vec();
        self.ledger.on_sent(now, way);
        self.spent += 1;
        tracing::trace!(socket = way.socket.0, to = %way.remote, %packet, "sent");
        Some((way.socket, way.remote, bytes))
    }

    /// A number that nobody can guess.
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let hash = blake3::keyed_hash(&self.config.seed, &self.drawn.to_be_bytes());
        u64::from_be_bytes(hash.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}
