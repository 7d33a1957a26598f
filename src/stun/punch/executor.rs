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
//!
//! Its parts: `api` (what it is begun with, and says), `offers` (what both ends tell each other), `rounds` (how one is prepared, begun and
//! ended), `beacons` and `series` (what is sent in it: to single addresses, and by guessing), `sockets`, `transmit`, `hear` (what arrives),
//! `choice` (which way is taken, and the end).

use crate::machine::{SocketId, SocketReport, SocketRequest};
use crate::stun::punch::budget::Budget;
use crate::stun::punch::ledger::{Ledger, Way};
use crate::stun::punch::offer::Offer;
use crate::stun::punch::packet::{self, Kind, PairId, Sealer};
use crate::stun::punch::plan::{End, Plan, Reason, StageKind};
use crate::stun::punch::stages::Running;
use crate::time::Instant;
use core::fmt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

mod api;
mod beacons;
mod choice;
mod hear;
mod offers;
mod rounds;
mod series;
mod sockets;
mod transmit;

pub use api::{Config, Counters, Event, Ours};
pub use sockets::SOCKETS_PER_PUNCH;

use beacons::Beacon;
use choice::Choice;
use sockets::Own;

/// Rounds of one punch, whatever the other end says.
const MAX_ROUNDS: u16 = 20;

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

/// What is awaited. See the module.
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

    /// Whether it should be left alone: the other end was heard, or ports are being guessed at, which was paid for.
    pub fn is_promising(&self) -> bool {
        let guesses = matches!(self.tried.last(), Some(StageKind::Spray | StageKind::Product));
        self.choice.is_some() || guesses || self.beacons.iter().any(|beacon| beacon.heard)
    }

    /// Nothing will come of it any more: it can be dropped. An open one still answers for some seconds, in case the other end missed that.
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    const fn end(&self) -> End {
        if self.config.initiator { End::Initiator } else { End::Responder }
    }

    /// A number that nobody can guess.
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let hash = blake3::keyed_hash(&self.config.seed, &self.drawn.to_be_bytes());
        u64::from_be_bytes(hash.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}
