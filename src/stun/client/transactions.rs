//! The table of transactions.

use super::ignored::{Ignored, Reason};
use super::question::{Answer, Outcome, Question, QuestionNumber, Report};
use super::rto::RoundTrips;
use crate::machine::SocketId;
use crate::stun::Packet;
use crate::stun::message::{BINDING, Class, Failure, Flaw, Malformed, Request, Success, TransactionId, View};
use crate::stun::plausible::{can_have_seen, canonical};
use crate::time::{Duration, Instant};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Questions that are under way, or whose reports wait, at most.
pub const MAX_QUESTIONS: usize = 96;

/// Asks servers for the address they see, any number of them at once, on any of our sockets.
#[derive(Debug)]
pub struct Client {
    random: StdRng,
    next_number: u64,
    transactions: BTreeMap<TransactionId, Transaction>,
    /// Those that are to be sent, in order.
    outbox: VecDeque<TransactionId>,
    reports: VecDeque<Report>,
    round_trips: RoundTrips,
    ignored: Ignored,
    sent: u64,
}

/// A question under way.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    number: QuestionNumber,
    question: Question,
    rto: Duration,
    sent: u32,
    sent_at: Instant,
    /// When to send again, or give up. `None`: it is in the outbox.
    next: Option<Instant>,
}

impl Client {
    /// Ids follow from the seed, which nobody else may know.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            random: StdRng::from_seed(seed),
            next_number: 0,
            transactions: BTreeMap::new(),
            outbox: VecDeque::new(),
            reports: VecDeque::new(),
            round_trips: RoundTrips::default(),
            ignored: Ignored::default(),
            sent: 0,
        }
    }

    /// Asks. `None`: [`MAX_QUESTIONS`] are open, and this one was not taken.
    pub fn ask(&mut self, now: Instant, question: Question) -> Option<QuestionNumber> {
        if self.transactions.len().saturating_add(self.reports.len()) >= MAX_QUESTIONS {
            return None;
        }
        let number = QuestionNumber(self.next_number);
        self.next_number = self.next_number.saturating_add(1);
        let mut id = TransactionId([0; 12]);
        self.random.fill_bytes(&mut id.0);
        let rto = question.patience.rto.unwrap_or_else(|| self.round_trips.rto(question.server.ip()));
        self.transactions.insert(id, Transaction { number, question, rto, sent: 0, sent_at: now, next: None });
        self.outbox.push_back(id);
        Some(number)
    }

    /// Asks no longer. There will be no report.
    pub fn forget(&mut self, number: QuestionNumber) {
        self.transactions.retain(|_, transaction| transaction.number != number);
        self.reports.retain(|report| report.number != number);
    }

    /// Forgets all that a socket asks or was to be answered on: it is closed.
    pub fn forget_socket(&mut self, socket: SocketId) {
        let is_of = |question: &Question| {
            question.socket == socket || question.respond_to.is_some_and(|(other, _)| other == socket)
        };
        self.transactions.retain(|_, transaction| !is_of(&transaction.question));
    }

    /// Forgets all questions. What was learned about round trips stays.
    pub fn forget_all(&mut self) {
        self.transactions.clear();
        self.outbox.clear();
        self.reports.clear();
    }

    /// Whether these bytes are an answer to one of our questions, as far as their id says: where several clients share a socket, the
    /// one that expects an answer is given it.
    pub fn expects(&self, bytes: &[u8]) -> bool {
        View::check(bytes).is_ok_and(|view| self.transactions.contains_key(&view.id))
    }

    /// A datagram that [is STUN's](crate::stun::is_stun) and no request.
    pub fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SocketAddr, bytes: &[u8]) {
        match self.answered(now, socket, from, bytes) {
            Ok((id, outcome)) => self.end(id, outcome),
            Err(reason) => self.ignored.note(reason),
        }
    }

    /// What a datagram answers to what, or what was wrong with it.
    fn answered(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<(TransactionId, Outcome), Reason> {
        let view = View::check(bytes).map_err(|malformed| match malformed {
            Malformed::TooLong => Reason::TooLong,
            _ => Reason::Malformed,
        })?;
        if view.method != BINDING || !matches!(view.class, Class::Success | Class::Error) {
            return Err(Reason::Kind);
        }
        let id = view.id;
        let transaction = *self.transactions.get(&id).ok_or(Reason::Id)?;
        let question = transaction.question;
        let from = canonical(from);
        let is_from = |expected| canonical(expected) == from;
        if !is_from(question.server) && !question.also_from.is_some_and(is_from) || transaction.sent == 0 {
            return Err(Reason::Source);
        }
        if question.socket != socket && question.respond_to.is_none_or(|(other, _)| other != socket) {
            return Err(Reason::Socket);
        }
        if view.class == Class::Error {
            return match Failure::parse(&view) {
                Ok(failure) => Ok((id, Outcome::Refused(failure.code))),
                Err(flaw) => Err(wrong(flaw)),
            };
        }
        let success = Success::parse(&view).map_err(wrong)?;
        let mapped = canonical(success.mapped);
        let server = canonical(question.server);
        if mapped.is_ipv4() != server.is_ipv4() {
            return Err(Reason::Family);
        }
        if !can_have_seen(server.ip(), mapped) {
            return Err(Reason::Implausible);
        }
        let rtt = (transaction.sent == 1).then(|| now.saturating_since(transaction.sent_at));
        if let Some(rtt) = rtt {
            self.round_trips.on_sample(question.server.ip(), rtt);
        }
        // What is said of other addresses is a hint, and a wrong one is no reason to doubt the rest.
        let useful =
            |address: SocketAddr| Some(canonical(address)).filter(|address| can_have_seen(server.ip(), *address));
        let answer = Answer {
            server: question.server,
            from,
            on: socket,
            mapped,
            rtt,
            origin: success.origin.and_then(useful),
            other: success.other.and_then(useful),
        };
        Ok((id, Outcome::Answered(answer)))
    }

    fn end(&mut self, id: TransactionId, outcome: Outcome) {
        if let Some(Transaction { number, question, .. }) = self.transactions.remove(&id) {
            self.reports.push_back(Report { number, question, outcome });
        }
    }

    /// Repeats and gives up what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |transaction: &Transaction| transaction.next.is_some_and(|next| next <= now);
        let due: Vec<TransactionId> =
            self.transactions.iter().filter(|(_, transaction)| is_due(transaction)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(transaction) = self.transactions.get_mut(&id) else { continue };
            if transaction.question.patience.is_last(transaction.sent) {
                self.end(id, Outcome::Silent);
            } else {
                transaction.next = None;
                self.outbox.push_back(id);
            }
        }
    }

    /// What to send next.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        loop {
            let id = self.outbox.pop_front()?;
            let Some(transaction) = self.transactions.get_mut(&id) else { continue };
            let question = transaction.question;
            transaction.sent = transaction.sent.saturating_add(1);
            transaction.sent_at = now;
            transaction.next = Some(now + question.patience.interval(transaction.rto, transaction.sent));
            self.sent = self.sent.saturating_add(1);
            let response_port = question.respond_to.map(|(_, port)| port);
            let request = Request { id, change: question.change, response_port };
            return Some(Packet { socket: question.socket, to: question.server, bytes: request.emit() });
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.transactions.values().filter_map(|transaction| transaction.next).min()
    }

    /// How a question ended.
    pub fn poll_event(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// What came and changed nothing.
    pub const fn ignored(&self) -> &Ignored {
        &self.ignored
    }

    /// Packets that were sent.
    pub const fn spent(&self) -> u64 {
        self.sent
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.transactions.is_empty()
    }
}

/// What is wrong with an answer.
const fn wrong(flaw: Flaw) -> Reason {
    match flaw {
        Flaw::Unknown => Reason::Unknown,
        Flaw::Empty | Flaw::Bad => Reason::Empty,
        Flaw::Contradiction => Reason::Contradiction,
    }
}

#[cfg(test)]
mod tests;
