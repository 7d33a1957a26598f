//! How long a silent mapping lasts (RFC 5780 §4.6).
//!
//! A fresh socket learns its outside address and stays silent; then somebody sends to it. For each silence a socket of its own, all
//! at the same time, so that the whole takes no longer than the longest silence; what happens to a young mapping is measured, and an old one
//! that saw traffic both ways lasts no shorter. Who sends: a server or member that answers to another port of ours (RESPONSE-PORT), a member
//! that is asked through the room; and where ports are not kept, it is enough to ask again: a mapping that was forgotten has another port.
//! The way is tried without any silence first: silence means something only from somebody who can send.

use super::api::{Vantage, Whom};
use super::bench::{Bench, Occasion};
use super::probing::{Probed, Probing};
use crate::machine::SocketId;
use crate::stun::client::{Outcome, Patience, Question, QuestionNumber};
use crate::time::{Duration, Instant};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Silences, at most.
const MAX_SILENCES: usize = 8;

/// Ways that are tried, at most, of each kind.
const MAX_WAYS: usize = 3;

/// What is sent through a mapping that is gone is repeated a few times, because packets get lost.
const WAKE: Patience = Patience { rto: None, requests: 3, last: 3 };

/// Nothing is measured for longer than that.
const DEADLINE: Duration = Duration::from_secs(180);

/// The step.
#[derive(Debug)]
pub(super) struct LifetimeStep {
    silences: Vec<Duration>,
    ways: VecDeque<Way>,
    way: Option<Way>,
    /// The socket that asks others to send. It is of use only for [`Way::Respond`].
    asker: Option<SocketId>,
    /// The one without silence, then the others.
    rungs: Vec<Rung>,
    is_tried: bool,
    held: Option<Duration>,
    deadline: Instant,
    is_over: bool,
}

/// How something gets to the silent socket.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// This server answers to its port.
    Respond(SocketAddr),
    /// This member is asked to.
    Ask(SocketAddr),
    /// It asks this server again, and looks whether it has the same port.
    Again(SocketAddr),
}

/// One socket and its silence.
#[derive(Debug)]
struct Rung {
    silence: Duration,
    socket: SocketId,
    state: State,
}

/// What is awaited.
#[derive(Clone, Copy, Debug)]
enum State {
    ExpectSocket,
    ExpectMapping(QuestionNumber),
    /// The end of the silence.
    Silent {
        mapped: SocketAddr,
        until: Instant,
    },
    /// What somebody sends, at somebody's word.
    ExpectAnswer {
        mapped: SocketAddr,
        question: QuestionNumber,
    },
    ExpectProbe(Probing),
    /// Nothing more. Whether it came, if that is known.
    Done(Option<bool>),
}

impl LifetimeStep {
    /// `ports_are_kept`: so that a mapping that was forgotten looks like one that was not.
    pub(super) fn start(
        bench: &mut Bench,
        now: Instant,
        answering: &[Vantage],
        silences: &[Duration],
        ports_are_kept: bool,
    ) -> Option<Self> {
        let respond = answering.iter().take(MAX_WAYS).map(|vantage| Way::Respond(vantage.address()));
        let members = answering.iter().filter(|vantage| matches!(vantage, Vantage::Member { .. })).take(MAX_WAYS);
        let ask = members.map(|vantage| Way::Ask(vantage.address()));
        let again = answering.first().filter(|_| !ports_are_kept).map(|vantage| Way::Again(vantage.address()));
        let mut silences: Vec<Duration> = silences.iter().copied().take(MAX_SILENCES).collect();
        silences.sort_unstable();
        let mut step = Self {
            silences,
            ways: respond.chain(ask).chain(again).collect(),
            way: None,
            asker: None,
            rungs: Vec::new(),
            is_tried: false,
            held: None,
            deadline: now + DEADLINE,
            is_over: false,
        };
        step.next_way(bench);
        (!step.is_over).then_some(step)
    }

    pub(super) fn handle(&mut self, bench: &mut Bench, now: Instant, occasion: &Occasion<'_>) -> bool {
        let is_taken = match occasion {
            Occasion::Opened(socket, _) if self.asker == Some(*socket) => true,
            Occasion::Failed(socket) if self.asker == Some(*socket) => {
                self.asker = None;
                self.fail_all();
                true
            }
            _ => {
                let (way, asker) = (self.way, self.asker);
                self.rungs.iter_mut().any(|rung| way.is_some_and(|way| rung.handle(bench, now, way, asker, occasion)))
            }
        };
        if is_taken {
            self.look(bench, now);
        }
        is_taken
    }

    pub(super) fn handle_timeout(&mut self, bench: &mut Bench, now: Instant) {
        if now >= self.deadline {
            self.end(bench);
        }
        let (Some(way), asker) = (self.way, self.asker) else { return };
        self.rungs.iter_mut().for_each(|rung| rung.handle_timeout(bench, now, way, asker));
        self.look(bench, now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        self.rungs.iter().filter_map(Rung::poll_timeout).chain([self.deadline]).min()
    }

    /// The longest silence that a mapping outlasted. Zero: not even the shortest. `None`: that is not known.
    pub(super) const fn held(&self) -> Option<Duration> {
        self.held
    }

    /// Whether nothing more is measured.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn close(&mut self, bench: &mut Bench) {
        self.end(bench);
    }

    fn next_way(&mut self, bench: &mut Bench) {
        self.close_sockets(bench);
        self.way = self.ways.pop_front();
        let Some(way) = self.way else { return self.end(bench) };
        if matches!(way, Way::Respond(_)) {
            self.asker = bench.open();
        }
        self.open(bench, Duration::ZERO);
    }

    fn open(&mut self, bench: &mut Bench, silence: Duration) {
        if let Some(socket) = bench.open() {
            self.rungs.push(Rung { silence, socket, state: State::ExpectSocket });
        }
    }

    /// What follows from what the rungs know.
    fn look(&mut self, bench: &mut Bench, now: Instant) {
        if self.is_over {
            return;
        }
        if !self.is_tried {
            match self.rungs.first().map(|rung| rung.state) {
                Some(State::Done(Some(true))) => {
                    self.is_tried = true;
                    self.rungs.drain(..).for_each(|rung| bench.close(rung.socket));
                    let silences = self.silences.clone();
                    silences.into_iter().for_each(|silence| self.open(bench, silence));
                    self.deadline = now + DEADLINE;
                }
                None | Some(State::Done(_)) => self.next_way(bench),
                Some(_) => {}
            }
            return;
        }
        while let Some(Rung { silence, state: State::Done(came), .. }) = self.rungs.first() {
            match came {
                Some(true) => self.held = Some(*silence),
                Some(false) => {
                    self.held.get_or_insert(Duration::ZERO);
                    return self.end(bench);
                }
                None => return self.end(bench),
            }
            let rung = self.rungs.remove(0);
            bench.close(rung.socket);
        }
        // A longer silence that was ended first says nothing yet.
        if self.rungs.is_empty() {
            self.end(bench);
        }
    }

    fn fail_all(&mut self) {
        self.rungs.iter_mut().for_each(|rung| rung.state = State::Done(None));
    }

    fn end(&mut self, bench: &mut Bench) {
        self.is_over = true;
        self.close_sockets(bench);
    }

    fn close_sockets(&mut self, bench: &mut Bench) {
        let rungs = self.rungs.drain(..).map(|rung| rung.socket);
        rungs.chain(self.asker.take()).for_each(|socket| bench.close(socket));
    }
}

impl Way {
    /// Whom the silent socket asks for its address: the one who will send.
    const fn contact(self) -> SocketAddr {
        match self {
            Self::Respond(contact) | Self::Ask(contact) | Self::Again(contact) => contact,
        }
    }
}

impl Rung {
    fn handle(
        &mut self,
        bench: &mut Bench,
        now: Instant,
        way: Way,
        asker: Option<SocketId>,
        occasion: &Occasion<'_>,
    ) -> bool {
        match (self.state, occasion) {
            (State::ExpectSocket, Occasion::Opened(socket, _)) if *socket == self.socket => {
                let question = bench.ask(now, Question::new(self.socket, way.contact(), Patience::SHORT));
                self.state = question.map_or(State::Done(None), State::ExpectMapping);
            }
            (State::Done(_), _) => return false,
            (_, Occasion::Failed(socket)) if *socket == self.socket => self.state = State::Done(None),
            (State::ExpectMapping(question), Occasion::Ended(report)) if question == report.number => {
                self.state = match report.outcome {
                    Outcome::Answered(answer) => State::Silent { mapped: answer.mapped, until: now + self.silence },
                    Outcome::Refused(_) | Outcome::Silent => State::Done(None),
                };
                self.handle_timeout(bench, now, way, asker);
            }
            (State::ExpectAnswer { mapped, question }, Occasion::Ended(report)) if question == report.number => {
                self.state = State::Done(match (way, report.outcome) {
                    (Way::Respond(_), Outcome::Answered(answer)) => (answer.on == self.socket).then_some(true),
                    (Way::Respond(_), Outcome::Silent) => Some(false),
                    (_, Outcome::Answered(answer)) => Some(answer.mapped == mapped),
                    (_, Outcome::Silent | Outcome::Refused(_)) => None,
                });
            }
            (State::ExpectProbe(mut probing), occasion) if probing.concerns(occasion) => {
                let probed = probing.handle(bench, now, occasion);
                self.state = Self::after(probed, probing);
            }
            _ => return false,
        }
        true
    }

    fn handle_timeout(&mut self, bench: &mut Bench, now: Instant, way: Way, asker: Option<SocketId>) {
        match self.state {
            State::Silent { mapped, until } if until <= now => self.state = self.wake(bench, now, way, asker, mapped),
            State::ExpectProbe(mut probing) => {
                let probed = probing.handle_timeout(bench, now);
                self.state = Self::after(probed, probing);
            }
            _ => {}
        }
    }

    const fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Silent { until, .. } => Some(*until),
            State::ExpectProbe(probing) => Some(probing.poll_timeout()),
            _ => None,
        }
    }

    /// The silence is over.
    fn wake(&self, bench: &mut Bench, now: Instant, way: Way, asker: Option<SocketId>, mapped: SocketAddr) -> State {
        let question = match (way, asker) {
            (Way::Respond(server), Some(asker)) => {
                let respond_to = Some((self.socket, mapped.port()));
                bench.ask(now, Question { respond_to, ..Question::new(asker, server, WAKE) })
            }
            (Way::Respond(_), None) => None,
            (Way::Ask(member), _) => {
                return State::ExpectProbe(Probing::start(bench, now, mapped, Whom::Same(member)));
            }
            (Way::Again(server), _) => bench.ask(now, Question::new(self.socket, server, WAKE)),
        };
        question.map_or(State::Done(None), |question| State::ExpectAnswer { mapped, question })
    }

    const fn after(probed: Probed, probing: Probing) -> State {
        match probed {
            Probed::Awaited => State::ExpectProbe(probing),
            Probed::Came { .. } => State::Done(Some(true)),
            Probed::Swallowed => State::Done(Some(false)),
            Probed::Unknown => State::Done(None),
        }
    }
}
