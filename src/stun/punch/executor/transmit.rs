//! What to send next: answers first, then beacons, then guesses, as far as the budget lets them out.

use super::Punch;
use crate::machine::SocketId;
use crate::stun::punch::budget::{Budget, Verdict, Word};
use crate::stun::punch::ledger::Way;
use crate::stun::punch::packet::{self, Kind, Packet};
use crate::stun::punch::plan::MAX_PROBES;
use crate::time::Instant;
use std::net::{IpAddr, SocketAddr};

/// Packets beyond [`MAX_PROBES`] that a punch may spend on answering and choosing.
const MAX_PACKETS: u32 = MAX_PROBES as u32 + 200;

impl Punch {
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

    /// Whether a probe may leave.
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
}
