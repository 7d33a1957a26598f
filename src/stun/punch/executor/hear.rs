//! What arrives, and what is made of a way that works.

use super::{Beacon, Choice, Event, MAX_ANSWERS, MAX_BEACONS, Phase, Punch};
use crate::machine::{SocketId, SocketRequest};
use crate::stun::candidate::Preference;
use crate::stun::fingerprint::Mapping;
use crate::stun::punch::ledger::{Echo, Way};
use crate::stun::punch::packet::{Kind, Packet};
use crate::stun::punch::plan::{Reason, StageKind};
use crate::time::{Duration, Instant};

/// When a way that was heard from is probed, after that: its answer may get lost, and ours.
const CHECKS: [u64; 5] = [50, 120, 260, 500, 900];

/// The time that a better way than the first one gets.
const GRACE: Duration = Duration::from_millis(50);

/// Times that the initiator says its choice.
const CHOICES: u32 = 14;

/// How long a stage goes on, at least, after something was heard: it works one way.
const HEARD_TIME: Duration = Duration::from_millis(1200);

impl Punch {
    /// A packet that the other end made came on this way.
    pub(super) fn hear(&mut self, now: Instant, way: Way, packet: Packet) {
        tracing::trace!(socket = way.socket.0, from = %way.remote, %packet, "heard");
        if matches!(self.phase, Phase::Over) || !self.is_ours(way.socket) {
            return;
        }
        if packet.kind == Kind::Probe {
            if !self.ledger.answers(packet.nonce) {
                self.counters.repeated += 1;
                return;
            }
            self.answer(way, Kind::Reply, packet.nonce);
            self.follow_up(now, way);
            return;
        }
        match self.ledger.on_echo(now, way, packet.nonce, packet.echo) {
            Echo::Unknown => self.counters.unasked += 1,
            Echo::Strays => self.follow_up(now, way),
            Echo::Proves => {
                self.proven.insert(way.remote.ip());
                self.answered.insert(way.remote.ip());
                self.beacons.retain(|beacon| beacon.way != way);
                self.on_proven(now, way, packet);
            }
        }
    }

    fn on_proven(&mut self, now: Instant, way: Way, packet: Packet) {
        match packet.kind {
            Kind::Reply if self.ledger.answers(packet.nonce) => self.answer(way, Kind::Confirm, packet.nonce),
            Kind::Choose if !self.config.initiator => {
                if !matches!(self.phase, Phase::Open { .. }) {
                    self.open(now, way);
                }
                if matches!(self.phase, Phase::Open { way: open, .. } if open == way) {
                    self.answer(way, Kind::Chosen, packet.nonce);
                }
            }
            Kind::Chosen if self.choice.is_some_and(|choice| choice.way == way) => self.open(now, way),
            _ => {}
        }
    }

    /// Something came from there: it is probed until the way is proven.
    fn follow_up(&mut self, now: Instant, way: Way) {
        let known = self.ledger.is_proven(way) || self.beacons.iter().any(|beacon| beacon.heard && beacon.way == way);
        if known || matches!(self.phase, Phase::Open { .. }) {
            return;
        }
        for after in CHECKS {
            if self.beacons.len() < MAX_BEACONS {
                self.beacons.push(Beacon { due: now + Duration::from_millis(after), way, heard: true });
            }
        }
        if let Phase::Trying { until, at_most } = &mut self.phase {
            *until = (*until).max(now + HEARD_TIME).min(*at_most);
        }
        // Held sockets of a NAT that maps by port were heard on ports that the other end does not hear from: theirs towards where it
        // really is are others.
        if self.config.ours.fingerprint.mapping == Some(Mapping::ByAddressAndPort)
            && self.theirs.as_ref().is_some_and(|theirs| theirs.public.contains(&way.remote.ip()))
            && let Some(running) = &mut self.running
        {
            running.retarget(way.remote);
        }
    }

    fn answer(&mut self, way: Way, kind: Kind, echo: u64) {
        if self.answers.len() < MAX_ANSWERS {
            self.answers.push_back((way, kind, echo));
        }
    }

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

    fn open(&mut self, now: Instant, way: Way) {
        let rtt = self.ledger.find(way).map_or(Duration::ZERO, |proven| proven.rtt);
        self.release(Some(way.socket));
        self.phase = Phase::Open { way, until: now + super::LINGER };
        let stage = self.tried.last().copied().unwrap_or(StageKind::Simultaneous);
        self.events.push_back(Event::Open { socket: way.socket, remote: way.remote, rtt, probes: self.spent, stage });
    }

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

    /// Closes those of the punch's own sockets that `which` names.
    pub(super) fn close_sockets(&mut self, which: impl Fn(SocketId) -> bool) {
        let closing: Vec<SocketId> = self.sockets.keys().copied().filter(|socket| which(*socket)).collect();
        for socket in closing {
            self.sockets.remove(&socket);
            // What was not asked for yet need not be.
            let before = self.requests.len();
            self.requests
                .retain(|request| !matches!(request, SocketRequest::Open { socket: asked, .. } if *asked == socket));
            if self.requests.len() == before {
                self.requests.push_back(SocketRequest::Close(socket));
            }
        }
    }

    fn is_ours(&self, socket: SocketId) -> bool {
        self.sockets.contains_key(&socket) || self.config.ours.sockets.iter().any(|(own, _)| *own == socket)
    }
}
