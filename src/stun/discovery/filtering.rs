//! Who may come in: somebody sends to a fresh socket from where it never sent to.
//!
//! Two trials, each on a fresh socket that asked one vantage point: does a packet come in from another address? From another port of
//! the same address? A vantage point that is asked to answer from elsewhere answers with its word (RFC 5780 §4.4), a member is asked
//! through the room.

use super::api::{Vantage, Whom};
use super::bench::{Bench, Occasion};
use super::probing::{Probed, Probing};
use super::survey::Survey;
use crate::machine::SocketId;
use crate::stun::client::{Outcome, Patience, Question, QuestionNumber};
use crate::stun::fingerprint::Filtering;
use crate::stun::message::Change;
use crate::stun::plausible::canonical;
use crate::time::Instant;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Ways that a trial goes, at most, until one tells something.
const MAX_WAYS: usize = 4;

/// Both trials.
#[derive(Debug)]
pub(super) struct FilteringStep {
    elsewhere: Trial,
    other_port: Trial,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) filtering: Option<Filtering>,
    /// Whether more vantage points would tell nothing more.
    pub(super) is_sure: bool,
}

/// From where something is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Elsewhere,
    OtherPort,
}

/// How to get something from there.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A server answers from there.
    Change { server: SocketAddr, change: Change, from: SocketAddr },
    /// A member sends from there.
    Ask { contact: SocketAddr, whom: Whom },
}

/// One question: does it come in?
#[derive(Debug)]
struct Trial {
    goal: Goal,
    ways: VecDeque<Way>,
    state: State,
}

/// What is awaited.
#[derive(Clone, Copy, Debug)]
enum State {
    /// A fresh socket.
    ExpectSocket { way: Way, socket: SocketId },
    /// The answer of the one whom the socket contacts.
    ExpectContact { way: Way, socket: SocketId, question: QuestionNumber },
    /// The answer from elsewhere.
    ExpectChanged { from: SocketAddr, socket: SocketId, question: QuestionNumber },
    /// The probe of a member.
    ExpectProbe { contact: SocketAddr, socket: SocketId, probing: Probing },
    /// Nothing more: whether it came in, if that is known.
    Done(Option<bool>),
}

impl FilteringStep {
    /// `None`: nobody can send from elsewhere.
    pub(super) fn start(bench: &mut Bench, survey: &Survey) -> Option<Self> {
        let (elsewhere, other_port) = (ways(survey, Goal::Elsewhere), ways(survey, Goal::OtherPort));
        if elsewhere.is_empty() && other_port.is_empty() {
            return None;
        }
        Some(Self {
            elsewhere: Trial::start(bench, Goal::Elsewhere, elsewhere),
            other_port: Trial::start(bench, Goal::OtherPort, other_port),
        })
    }

    /// Whether there is a way for both trials, so that no more vantage points need to be waited for.
    pub(super) fn is_ready(survey: &Survey) -> bool {
        [Goal::Elsewhere, Goal::OtherPort].iter().all(|goal| !ways(survey, *goal).is_empty())
    }

    pub(super) fn handle(&mut self, bench: &mut Bench, now: Instant, occasion: &Occasion<'_>) -> bool {
        self.elsewhere.handle(bench, now, occasion) || self.other_port.handle(bench, now, occasion)
    }

    pub(super) fn handle_timeout(&mut self, bench: &mut Bench, now: Instant) {
        self.elsewhere.handle_timeout(bench, now);
        self.other_port.handle_timeout(bench, now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [&self.elsewhere, &self.other_port].into_iter().filter_map(Trial::poll_timeout).min()
    }

    /// What came of it, once that is sure. Who lets in other addresses lets in other ports, and the other way round: who keeps out other
    /// ports keeps out other addresses. Where nobody could send from another address, but from another port, and that came in, the
    /// worse of what is left is taken: by address.
    pub(super) fn result(&self) -> Option<Found> {
        let found = |filtering, is_sure| Some(Found { filtering, is_sure });
        match (self.elsewhere.verdict(), self.other_port.verdict()) {
            (Some(Some(true)), _) => found(Some(Filtering::Independent), true),
            (_, Some(Some(false))) => found(Some(Filtering::ByAddressAndPort), true),
            (Some(elsewhere), Some(Some(true))) => found(Some(Filtering::ByAddress), elsewhere.is_some()),
            (Some(_), Some(None)) => found(None, false),
            (None, _) | (_, None) => None,
        }
    }

    pub(super) fn close(&mut self, bench: &mut Bench) {
        self.elsewhere.end(bench, None);
        self.other_port.end(bench, None);
    }
}

impl Trial {
    fn start(bench: &mut Bench, goal: Goal, ways: VecDeque<Way>) -> Self {
        let mut trial = Self { goal, ways, state: State::Done(None) };
        trial.next_way(bench);
        trial
    }

    fn next_way(&mut self, bench: &mut Bench) {
        let way = self.ways.pop_front();
        let way = way.and_then(|way| Some((way, bench.open()?)));
        self.state = way.map_or(State::Done(None), |(way, socket)| State::ExpectSocket { way, socket });
    }

    const fn socket(&self) -> Option<SocketId> {
        match self.state {
            State::ExpectSocket { socket, .. }
            | State::ExpectContact { socket, .. }
            | State::ExpectChanged { socket, .. }
            | State::ExpectProbe { socket, .. } => Some(socket),
            State::Done(_) => None,
        }
    }

    const fn verdict(&self) -> Option<Option<bool>> {
        match self.state {
            State::Done(verdict) => Some(verdict),
            _ => None,
        }
    }

    fn end(&mut self, bench: &mut Bench, verdict: Option<bool>) {
        if let Some(socket) = self.socket() {
            bench.close(socket);
            self.state = State::Done(verdict);
        }
    }

    /// This way tells nothing.
    fn give_up_way(&mut self, bench: &mut Bench) {
        if let Some(socket) = self.socket() {
            bench.close(socket);
        }
        self.next_way(bench);
    }

    fn handle(&mut self, bench: &mut Bench, now: Instant, occasion: &Occasion<'_>) -> bool {
        match (self.state, occasion) {
            (State::ExpectSocket { way, socket }, Occasion::Opened(opened, _)) if socket == *opened => {
                let contact = match way {
                    Way::Change { server, .. } => server,
                    Way::Ask { contact, .. } => contact,
                };
                match bench.ask(now, Question::new(socket, contact, Patience::SHORT)) {
                    Some(question) => self.state = State::ExpectContact { way, socket, question },
                    None => self.end(bench, None),
                }
            }
            (state, Occasion::Failed(failed)) if self.socket() == Some(*failed) => {
                debug_assert!(!matches!(state, State::Done(_)), "it has a socket");
                self.give_up_way(bench);
            }
            (State::ExpectContact { way, socket, question }, Occasion::Ended(report)) if question == report.number => {
                match report.outcome {
                    Outcome::Answered(answer) => self.provoke(bench, now, way, socket, answer.mapped),
                    Outcome::Refused(_) | Outcome::Silent => self.give_up_way(bench),
                }
            }
            (State::ExpectChanged { from, question, .. }, Occasion::Ended(report)) if question == report.number => {
                match report.outcome {
                    Outcome::Answered(answer) if answer.from == canonical(from) => self.end(bench, Some(true)),
                    // It did not do what it was asked to.
                    Outcome::Answered(_) | Outcome::Refused(_) => self.give_up_way(bench),
                    Outcome::Silent => self.end(bench, Some(false)),
                }
            }
            (State::ExpectProbe { contact, socket, mut probing }, occasion) if probing.concerns(occasion) => {
                let probed = probing.handle(bench, now, occasion);
                self.state = State::ExpectProbe { contact, socket, probing };
                self.on_probed(bench, contact, probed);
            }
            _ => return false,
        }
        true
    }

    /// The socket is open for its contact alone: now something from elsewhere.
    fn provoke(&mut self, bench: &mut Bench, now: Instant, way: Way, socket: SocketId, mapped: SocketAddr) {
        match way {
            Way::Change { server, change, from } => {
                let question =
                    Question { change, also_from: Some(from), ..Question::new(socket, server, Patience::SILENCE) };
                match bench.ask(now, question) {
                    Some(question) => self.state = State::ExpectChanged { from, socket, question },
                    None => self.end(bench, None),
                }
            }
            Way::Ask { contact, whom } => {
                let probing = Probing::start(bench, now, mapped, whom);
                self.state = State::ExpectProbe { contact, socket, probing };
            }
        }
    }

    fn on_probed(&mut self, bench: &mut Bench, contact: SocketAddr, probed: Probed) {
        match probed {
            Probed::Awaited => {}
            Probed::Came { from, on } => {
                let from = canonical(from);
                let is_from_there = match self.goal {
                    Goal::Elsewhere => from.ip() != canonical(contact).ip(),
                    Goal::OtherPort => from.ip() == canonical(contact).ip() && from.port() != contact.port(),
                };
                if is_from_there && self.socket() == Some(on) {
                    self.end(bench, Some(true));
                } else {
                    self.give_up_way(bench);
                }
            }
            Probed::Swallowed => self.end(bench, Some(false)),
            Probed::Unknown => self.give_up_way(bench),
        }
    }

    fn handle_timeout(&mut self, bench: &mut Bench, now: Instant) {
        if let State::ExpectProbe { contact, socket, mut probing } = self.state {
            let probed = probing.handle_timeout(bench, now);
            self.state = State::ExpectProbe { contact, socket, probing };
            self.on_probed(bench, contact, probed);
        }
    }

    const fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::ExpectProbe { probing, .. } => Some(probing.poll_timeout()),
            _ => None,
        }
    }
}

/// Who can send from there: first those who do it on their own word.
fn ways(survey: &Survey, goal: Goal) -> VecDeque<Way> {
    let mut ways = VecDeque::new();
    let answering = survey.answering();
    let members = || answering.iter().filter(|vantage| matches!(vantage, Vantage::Member { .. })).map(Vantage::address);
    match goal {
        Goal::Elsewhere => {
            let change = Change { ip: true, port: true };
            let servers = survey.servers_with_other();
            ways.extend(servers.into_iter().map(|(server, other)| Way::Change { server, change, from: other }));
            // Somebody has to be left who was not contacted. The owner knows better than we do how many members there are.
            let contacts = answering.iter().map(Vantage::address);
            let contacts = contacts.filter(|contact| members().any(|member| member.ip() != contact.ip()));
            ways.extend(contacts.map(|contact| Way::Ask { contact, whom: Whom::Uncontacted(contact) }));
        }
        Goal::OtherPort => {
            let change = Change { ip: false, port: true };
            let servers = survey.with_second_port();
            ways.extend(servers.into_iter().map(|(server, second)| Way::Change { server, change, from: second }));
            ways.extend(members().map(|contact| Way::Ask { contact, whom: Whom::OtherPort(contact) }));
        }
    }
    ways.truncate(MAX_WAYS);
    ways
}
