//! One way to the other side, and what it is like.

use super::ecn::EcnState;
use super::standby::Liveness;
use crate::mrt::connection::content::Content;
use crate::mrt::recovery::congestion::{Algorithm, Congestion, Controller};
use crate::mrt::recovery::ledger::Ledger;
use crate::mrt::recovery::mtu::Mtu;
use crate::mrt::recovery::pacer::Pacer;
use crate::mrt::recovery::pto::probe_timeout;
use crate::mrt::recovery::rtt::{INITIAL_RTT, MAX_ACK_DELAY, Rtt};
use crate::mrt::route::{PathStats, Route};
use crate::mrt::wire::header::RELY_OVERHEAD;
use crate::time::{Duration, Instant};

/// The UDP payload that every path has to carry (RFC 9000 §14), in bytes.
pub(crate) const BASE_DATAGRAM: u16 = 1200;

/// What a relay's wrapping takes of every datagram.
const WRAPPING: u16 = RELY_OVERHEAD as u16;

/// The datagram that has to go both ways before a path is proven: 1200 bytes, and through a relay what a path of 1200 bytes to it and
/// from it leaves.
pub(in crate::mrt::connection) const fn base_of(route: Route) -> u16 {
    if route.is_relayed() { BASE_DATAGRAM - WRAPPING } else { BASE_DATAGRAM }
}

/// A path: what RFC 9002 keeps for one.
#[derive(Debug)]
pub(in crate::mrt::connection) struct Path {
    pub(in crate::mrt::connection) route: Route,
    pub(in crate::mrt::connection) rtt: Rtt,
    pub(in crate::mrt::connection) congestion: Congestion,
    pub(in crate::mrt::connection) pacer: Pacer,
    pub(in crate::mrt::connection) mtu: Mtu,
    pub(in crate::mrt::connection) ecn: EcnState,
    /// What was sent here and is not settled.
    pub(in crate::mrt::connection) ledger: Ledger<Content>,
    pub(in crate::mrt::connection) liveness: Liveness,
    pub(in crate::mrt::connection) last_heard: Instant,
    /// The other side sends data here, as far as its newest packet tells.
    pub(in crate::mrt::connection) wanted: bool,
    /// Datagrams of full size went both ways.
    pub(in crate::mrt::connection) full_size: bool,
    counters: Counters,
}

/// What was counted since the path was proven.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    sent_packets: u64,
    sent_bytes: u64,
    received_packets: u64,
    received_bytes: u64,
}

impl Path {
    /// A path of which nothing is known. `max_datagram`: what both sides allow.
    pub(in crate::mrt::connection) fn new(now: Instant, route: Route, algorithm: Algorithm, max_datagram: u16) -> Self {
        let base = base_of(route);
        let mtu = Mtu::new(BASE_DATAGRAM, max_datagram.max(BASE_DATAGRAM));
        Self {
            route,
            rtt: Rtt::new(INITIAL_RTT),
            congestion: Congestion::new(algorithm, base),
            pacer: Pacer::new(now, base),
            mtu: if route.is_relayed() { mtu.wrapped_in(WRAPPING) } else { mtu },
            ecn: EcnState::default(),
            ledger: Ledger::new(),
            liveness: Liveness::default(),
            last_heard: now,
            wanted: false,
            full_size: false,
            counters: Counters::default(),
        }
    }

    /// The path's probe timeout after `consecutive` of them without an answer.
    pub(in crate::mrt::connection) fn probe_timeout(&self, consecutive: u32) -> Duration {
        probe_timeout(&self.rtt, MAX_ACK_DELAY, consecutive)
    }

    /// Bytes a second that may be sent.
    pub(in crate::mrt::connection) fn pacing_rate(&self) -> u64 {
        self.congestion.pacing_rate(&self.rtt)
    }

    /// What is added to every datagram on the way.
    pub(in crate::mrt::connection) const fn wrapping(&self) -> usize {
        if self.route.is_relayed() { WRAPPING as usize } else { 0 }
    }

    /// A datagram left here.
    pub(in crate::mrt::connection) const fn count_sent(&mut self, bytes: u64) {
        self.counters.sent_packets += 1;
        self.counters.sent_bytes += bytes;
    }

    /// An authentic datagram came from here.
    pub(in crate::mrt::connection) const fn on_heard(&mut self, now: Instant, bytes: u64) {
        self.last_heard = now;
        self.counters.received_packets += 1;
        self.counters.received_bytes += bytes;
    }

    /// When what is left here counts as lost, while data goes elsewhere and nothing asks after it.
    pub(in crate::mrt::connection) fn drained_at(&self) -> Option<Instant> {
        let sent_at = self.ledger.last_ack_eliciting_sent_at()?;
        self.ledger.has_ack_eliciting_in_flight().then(|| sent_at + self.probe_timeout(0))
    }

    pub(in crate::mrt::connection) fn stats(&self, active: bool) -> PathStats {
        PathStats {
            route: self.route,
            active,
            validated: self.liveness.is_alive(),
            rtt: self.rtt.smoothed(),
            min_rtt: self.rtt.min(),
            mtu: self.mtu.current(),
            sent_packets: self.counters.sent_packets,
            sent_bytes: self.counters.sent_bytes,
            received_packets: self.counters.received_packets,
            received_bytes: self.counters.received_bytes,
            last_heard: self.last_heard,
        }
    }
}
