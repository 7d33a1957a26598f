//! What arrives, and which ways that proves.

use super::{Phase, Punch};
use crate::stun::fingerprint::Mapping;
use crate::stun::punch::ledger::{Echo, Way};
use crate::stun::punch::packet::{Kind, Packet};
use crate::time::{Duration, Instant};

/// Answers that wait to be sent.
const MAX_ANSWERS: usize = 64;

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
        self.begin_checks(now, way);
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

    pub(super) fn answer(&mut self, way: Way, kind: Kind, echo: u64) {
        if self.answers.len() < MAX_ANSWERS {
            self.answers.push_back((way, kind, echo));
        }
    }
}
