//! Whether two sockets behind the NAT reach each other by their outside addresses (RFC 4787 §6, RFC 5780 §4.5).
//!
//! Each of two fresh sockets learns its outside address and sends to the other's, so that filters are open: what is measured is whether
//! two hosts behind this NAT could use it, which is what it is wanted for. One packet that comes through is enough.

use super::bench::{Bench, Occasion};
use crate::machine::SocketId;
use crate::stun::client::{Outcome, Patience, Question, QuestionNumber};
use crate::stun::message::TransactionId;
use crate::time::{Duration, Instant};
use std::net::SocketAddr;

/// How often each sends.
const ROUNDS: u32 = 4;

/// The time from one round to the next.
const SPACING: Duration = Duration::from_millis(150);

/// How long after the last round something may still come: this way goes to the NAT and back.
const GRACE: Duration = Duration::from_millis(500);

/// How long the sockets and their addresses may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The step.
#[derive(Debug)]
pub(super) struct HairpinStep {
    server: SocketAddr,
    ends: Vec<End>,
    token: TransactionId,
    rounds: u32,
    next_at: Instant,
    result: Option<Option<bool>>,
}

/// One of the two.
#[derive(Debug)]
struct End {
    socket: SocketId,
    question: Option<QuestionNumber>,
    mapped: Option<SocketAddr>,
}

impl HairpinStep {
    pub(super) fn start(bench: &mut Bench, now: Instant, server: SocketAddr) -> Self {
        let ends = [bench.open(), bench.open()].into_iter().flatten();
        let ends = ends.map(|socket| End { socket, question: None, mapped: None }).collect();
        Self { server, ends, token: bench.token(), rounds: 0, next_at: now + DEADLINE, result: None }
    }

    pub(super) fn handle(&mut self, bench: &mut Bench, now: Instant, occasion: &Occasion<'_>) -> bool {
        match occasion {
            Occasion::Opened(socket, _) => {
                let Some(end) = self.ends.iter_mut().find(|end| end.socket == *socket) else { return false };
                end.question = bench.ask(now, Question::new(*socket, self.server, Patience::SHORT));
                if end.question.is_none() {
                    self.end(bench, None);
                }
            }
            Occasion::Failed(socket) if self.ends.iter().any(|end| end.socket == *socket) => self.end(bench, None),
            Occasion::Ended(report) => {
                let mut ends = self.ends.iter_mut();
                let Some(end) = ends.find(|end| end.question == Some(report.number)) else { return false };
                match report.outcome {
                    Outcome::Answered(answer) => end.mapped = Some(answer.mapped),
                    Outcome::Refused(_) | Outcome::Silent => self.end(bench, None),
                }
                self.send(bench, now);
            }
            Occasion::Probe { token, .. } if *token == self.token => self.end(bench, Some(true)),
            _ => return false,
        }
        true
    }

    pub(super) fn handle_timeout(&mut self, bench: &mut Bench, now: Instant) {
        if now < self.next_at || self.result.is_some() {
            return;
        }
        match self.rounds {
            0 => self.end(bench, None),
            ROUNDS.. => self.end(bench, Some(false)),
            _ => self.send(bench, now),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.result.is_none().then_some(self.next_at)
    }

    /// What came of it.
    pub(super) const fn result(&self) -> Option<Option<bool>> {
        self.result
    }

    pub(super) fn close(&mut self, bench: &mut Bench) {
        self.end(bench, None);
    }

    /// One round, once both know their outside addresses.
    fn send(&mut self, bench: &mut Bench, now: Instant) {
        let [one, other] = self.ends.as_slice() else { return };
        let (Some(to_one), Some(to_other)) = (one.mapped, other.mapped) else { return };
        bench.probe(one.socket, to_other, self.token);
        bench.probe(other.socket, to_one, self.token);
        self.rounds = self.rounds.saturating_add(1);
        self.next_at = now + if self.rounds < ROUNDS { SPACING } else { GRACE };
    }

    fn end(&mut self, bench: &mut Bench, result: Option<bool>) {
        self.ends.drain(..).for_each(|end| bench.close(end.socket));
        self.result.get_or_insert(result);
    }
}
