//! Which of the ways that work is taken, and how a punch ends.

use super::{Event, Phase, Punch};
use crate::machine::SocketId;
use crate::stun::candidate::Preference;
use crate::stun::punch::ledger::Way;
use crate::stun::punch::packet::Kind;
use crate::stun::punch::plan::{Reason, StageKind};
use crate::time::{Duration, Instant};

/// The time that a better way than the first one gets.
const GRACE: Duration = Duration::from_millis(50);

/// Times that the initiator says its choice.
const CHOICES: u32 = 14;

/// How long the end that did not choose still answers.
const LINGER: Duration = Duration::from_secs(6);

/// The initiator's choice, on its way to the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) way: Way,
    next: Instant,
    tries: u32,
}

impl Punch {
    /// When the initiator decides, or says its choice again.
    pub(super) fn choice_due(&self) -> Option<Instant> {
        if !self.config.initiator
            || !matches!(self.phase, Phase::Trying { .. } | Phase::Preparing { .. } | Phase::Offered { .. })
        {
            return None;
        }
        if let Some(choice) = self.choice {
            return Some(choice.next);
        }
        let first = self.ledger.first_proven_at()?;
        let best = Preference::of(self.ledger.best()?.way.remote);
        let candidates = self.theirs.iter().flat_map(|theirs| &theirs.candidates);
        let better = candidates.map(|candidate| Preference::of(candidate.address)).filter(|other| *other < best).max();
        Some(match better {
            None => first,
            // Who is near answers at once, or is not near.
            Some(Preference::Near) => first.max(self.started + GRACE),
            Some(_) => first + GRACE,
        })
    }

    /// The initiator chooses a way that was proven, and says so until the other end agrees.
    pub(super) fn choose(&mut self, now: Instant) {
        if self.choice_due().is_none_or(|due| now < due) {
            return;
        }
        let mut choice = match self.choice {
            Some(choice) if choice.tries >= CHOICES => {
                self.ledger.forget(choice.way);
                self.choice = None;
                return;
            }
            Some(choice) => choice,
            None => match self.ledger.best() {
                Some(best) => Choice { way: best.way, next: now, tries: 0 },
                None => return,
            },
        };
        let Some(proven) = self.ledger.find(choice.way) else {
            self.choice = None;
            return;
        };
        self.answer(choice.way, Kind::Choose, proven.nonce);
        choice.tries += 1;
        choice.next = now + (proven.rtt * 5 / 4).clamp(Duration::from_millis(30), Duration::from_millis(600));
        self.choice = Some(choice);
    }

    /// Both ends agree on a way.
    pub(super) fn open(&mut self, now: Instant, way: Way) {
        let rtt = self.ledger.find(way).map_or(Duration::ZERO, |proven| proven.rtt);
        self.release(Some(way.socket));
        self.phase = Phase::Open { way, until: now + LINGER };
        let stage = self.tried.last().copied().unwrap_or(StageKind::Simultaneous);
        self.events.push_back(Event::Open { socket: way.socket, remote: way.remote, rtt, probes: self.spent, stage });
    }

    /// No way was found.
    pub(super) fn fail(&mut self, _now: Instant, reason: Reason) {
        if matches!(self.phase, Phase::Open { .. } | Phase::Over) {
            return;
        }
        self.release(None);
        self.phase = Phase::Over;
        self.events.push_back(Event::Failed { reason, probes: self.spent });
    }

    /// Stops sending, and closes the punch's own sockets but one.
    fn release(&mut self, but: Option<SocketId>) {
        self.running = None;
        self.beacons.clear();
        self.choice = None;
        self.answers.retain(|(way, _, _)| Some(way.socket) == but);
        self.handed_over |= but.is_some_and(|socket| self.sockets.contains_key(&socket));
        self.close_sockets(|socket| Some(socket) != but);
    }
}
