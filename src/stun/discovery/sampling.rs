//! Which outside ports fresh sockets get: sixteen of them ask one server, one after the other.
//!
//! Where the ports turn out to be random and each destination has its own, the same sockets ask others too: more samples of the pool, for
//! no more sockets.

use super::bench::{Bench, Occasion};
use super::ports::{Sample, classify, pool};
use crate::machine::SocketId;
use crate::stun::client::{Outcome, Patience, Question, QuestionNumber};
use crate::stun::fingerprint::Ports;
use crate::time::{Duration, Instant};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

/// Sockets, and so samples in order.
const SOCKETS: u32 = 16;

/// The time from one socket to the next: longer than what jitter usually is, and in all less than people wait for.
const SPACING: Duration = Duration::from_millis(40);

/// Further destinations, at most: 48 samples more.
const MAX_FURTHER: usize = 3;

/// The time from one further question to the next: their order means nothing.
const FURTHER_SPACING: Duration = Duration::from_millis(5);

/// A sample that is lost is one less: little patience.
const PATIENCE: Patience = Patience { rto: None, requests: 3, last: 3 };

/// After so long those that are there count.
const DEADLINE: Duration = Duration::from_secs(10);

/// The step.
#[derive(Debug)]
pub(super) struct SamplingStep {
    server: SocketAddr,
    further: Vec<SocketAddr>,
    requested: u32,
    opening: BTreeSet<SocketId>,
    slots: Vec<Slot>,
    next_at: Instant,
    deadline: Instant,
    /// Further questions that are still to be asked, and those that were.
    to_ask: VecDeque<(SocketId, SocketAddr)>,
    asked: BTreeSet<QuestionNumber>,
    more: Vec<u16>,
    is_second_round: bool,
    result: Option<Option<Ports>>,
}

/// One socket.
#[derive(Debug)]
struct Slot {
    socket: SocketId,
    inside: u16,
    question: Option<QuestionNumber>,
    sample: Option<Sample>,
}

impl SamplingStep {
    /// `further`: other addresses to ask if each has a mapping of its own; empty if not.
    pub(super) fn start(now: Instant, server: SocketAddr, further: Vec<SocketAddr>) -> Self {
        let mut further = further;
        further.retain(|address| *address != server);
        further.truncate(MAX_FURTHER);
        Self {
            server,
            further,
            requested: 0,
            opening: BTreeSet::new(),
            slots: Vec::new(),
            next_at: now,
            deadline: now + DEADLINE,
            to_ask: VecDeque::new(),
            asked: BTreeSet::new(),
            more: Vec::new(),
            is_second_round: false,
            result: None,
        }
    }

    pub(super) fn handle(&mut self, bench: &mut Bench, now: Instant, occasion: &Occasion<'_>) -> bool {
        match occasion {
            Occasion::Opened(socket, local) if self.opening.remove(socket) => {
                let question = bench.ask(now, Question::new(*socket, self.server, PATIENCE));
                self.slots.push(Slot { socket: *socket, inside: local.port(), question, sample: None });
            }
            Occasion::Failed(socket) if self.opening.remove(socket) => {}
            Occasion::Failed(socket) if self.slots.iter().any(|slot| slot.socket == *socket) => {
                self.slots.iter_mut().filter(|slot| slot.socket == *socket).for_each(|slot| slot.question = None);
                self.to_ask.retain(|(asker, _)| asker != socket);
            }
            Occasion::Ended(report) if self.asked.remove(&report.number) => {
                if let Outcome::Answered(answer) = report.outcome {
                    self.more.push(answer.mapped.port());
                }
            }
            Occasion::Ended(report) => {
                let mut slots = self.slots.iter_mut();
                let Some(slot) = slots.find(|slot| slot.question == Some(report.number)) else { return false };
                slot.question = None;
                if let Outcome::Answered(answer) = report.outcome {
                    let (inside, outside) = (slot.inside, answer.mapped.port());
                    slot.sample = Some(Sample { inside, outside, in_order: answer.rtt.is_some() });
                }
            }
            _ => return false,
        }
        self.look(bench, now);
        true
    }

    pub(super) fn handle_timeout(&mut self, bench: &mut Bench, now: Instant) {
        if now >= self.next_at && self.requested < SOCKETS {
            self.requested = self.requested.saturating_add(1);
            self.next_at = now + SPACING;
            self.opening.extend(bench.open());
        }
        if now >= self.next_at && !self.to_ask.is_empty() {
            self.next_at = now + FURTHER_SPACING;
            if let Some((socket, address)) = self.to_ask.pop_front() {
                self.asked.extend(bench.ask(now, Question::new(socket, address, PATIENCE)));
            }
        }
        self.look(bench, now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.result.is_some() {
            return None;
        }
        let is_waiting = self.requested >= SOCKETS && self.to_ask.is_empty();
        Some(if is_waiting { self.deadline } else { self.next_at.min(self.deadline) })
    }

    /// What came of it.
    pub(super) const fn result(&self) -> Option<Option<Ports>> {
        self.result
    }

    pub(super) fn close(&mut self, bench: &mut Bench) {
        let slots = self.slots.iter().map(|slot| slot.socket);
        slots.chain(core::mem::take(&mut self.opening)).for_each(|socket| bench.close(socket));
        self.result.get_or_insert(None);
    }

    /// Whether a round is over, and what follows.
    fn look(&mut self, bench: &mut Bench, now: Instant) {
        if self.result.is_some() {
            return;
        }
        let is_over = if self.is_second_round {
            self.to_ask.is_empty() && self.asked.is_empty()
        } else {
            self.requested >= SOCKETS
                && self.opening.is_empty()
                && self.slots.iter().all(|slot| slot.question.is_none())
        };
        if !is_over && now < self.deadline {
            return;
        }
        let samples: Vec<Sample> = self.slots.iter().filter_map(|slot| slot.sample).collect();
        let ports = classify(&samples);
        let is_random = matches!(ports, Some(Ports::Random { .. }));
        if is_random && !self.is_second_round && !self.further.is_empty() {
            self.is_second_round = true;
            (self.next_at, self.deadline) = (now, now + DEADLINE);
            let with_sample = self.slots.iter().filter(|slot| slot.sample.is_some());
            let to_ask = with_sample.flat_map(|slot| self.further.iter().map(move |address| (slot.socket, *address)));
            self.to_ask = to_ask.collect();
            return;
        }
        let ports = if is_random {
            // A port that is seen twice is one mapping towards two destinations: one draw.
            let all: BTreeSet<u16> =
                samples.iter().map(|sample| sample.outside).chain(self.more.iter().copied()).collect();
            pool(&all.into_iter().collect::<Vec<u16>>())
        } else {
            ports
        };
        self.result = Some(ports);
        self.close(bench);
    }
}
