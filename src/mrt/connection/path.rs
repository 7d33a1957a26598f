//! Where the other side is, and what the way there is like.

use crate::machine::Ecn;
use crate::mrt::recovery::congestion::{Algorithm, Congestion, Controller};
use crate::mrt::recovery::mtu::Mtu;
use crate::mrt::recovery::pacer::Pacer;
use crate::mrt::recovery::pto::probe_timeout;
use crate::mrt::recovery::rtt::{INITIAL_RTT, MAX_ACK_DELAY, Rtt};
use crate::time::{Duration, Instant};
use std::net::SocketAddr;

/// The UDP payload that every path has to carry (RFC 9000 §14), in bytes.
pub(crate) const BASE_DATAGRAM: u16 = 1200;

/// A path: what RFC 9002 keeps for one.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) remote: SocketAddr,
    pub(super) rtt: Rtt,
    pub(super) congestion: Congestion,
    pub(super) pacer: Pacer,
    pub(super) mtu: Mtu,
    pub(super) ecn: EcnState,
    algorithm: Algorithm,
    max_datagram: u16,
}

impl Path {
    pub(super) fn new(now: Instant, remote: SocketAddr, algorithm: Algorithm, max_datagram: u16) -> Self {
        Self {
            remote,
            rtt: Rtt::new(INITIAL_RTT),
            congestion: Congestion::new(algorithm, BASE_DATAGRAM),
            pacer: Pacer::new(now, BASE_DATAGRAM),
            mtu: Mtu::new(BASE_DATAGRAM, max_datagram.max(BASE_DATAGRAM)),
            ecn: EcnState::default(),
            algorithm,
            max_datagram,
        }
    }

    /// The other side is at another host: nothing is known of the way there (RFC 9000 §9.4).
    pub(super) fn move_to(&mut self, now: Instant, remote: SocketAddr) {
        // The other side counts marks for the whole connection: counts of a new path alone would look like lies.
        let ecn = self.ecn;
        *self = Self { ecn, ..Self::new(now, remote, self.algorithm, self.max_datagram) };
    }

    /// The path's probe timeout after `consecutive` of them without an answer.
    pub(super) fn probe_timeout(&self, consecutive: u32) -> Duration {
        probe_timeout(&self.rtt, MAX_ACK_DELAY, consecutive)
    }

    /// Bytes a second that may be sent.
    pub(super) fn pacing_rate(&self) -> u64 {
        self.congestion.pacing_rate(&self.rtt)
    }
}

/// Whether the path carries ECN marks (RFC 9000 §13.4.2): tried, and given up when the counts that come back do not fit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EcnState {
    failed: bool,
    marked: u64,
    acked: u64,
    counts: [u64; 3],
}

/// Packets that were acknowledged without a single count, after which the path is taken to wipe marks.
const GIVE_UP_AFTER: u64 = 10;

impl EcnState {
    /// The mark for the next packet.
    pub(super) const fn mark(&self) -> Ecn {
        if self.failed { Ecn::NotCapable } else { Ecn::Capable0 }
    }

    pub(super) const fn on_sent(&mut self) {
        if !self.failed {
            self.marked += 1;
        }
    }

    /// Packets were acknowledged, with the other side's counts. Returns whether a router newly said that it is congested.
    pub(super) fn on_acked(&mut self, packets: usize, counts: Option<[u64; 3]>) -> bool {
        if self.failed || packets == 0 {
            return false;
        }
        self.acked = self.acked.saturating_add(packets as u64);
        let Some([ect0, ect1, ce]) = counts else {
            self.failed = self.acked >= GIVE_UP_AFTER;
            return false;
        };
        let [old_ect0, old_ect1, old_ce] = self.counts;
        // Acknowledgements arrive in any order: an older one has smaller counts and is skipped. More marks than were sent are lies.
        if ect0 < old_ect0 || ect1 < old_ect1 || ce < old_ce {
            return false;
        }
        self.counts = [ect0, ect1, ce];
        self.failed = ect0.saturating_add(ect1).saturating_add(ce) > self.marked || ect1 > 0;
        !self.failed && ce > old_ce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_wipes_marks_is_not_marked_any_more() {
        let mut ecn = EcnState::default();
        (0..20).for_each(|_| ecn.on_sent());
        assert!(!ecn.on_acked(9, None));
        assert_eq!(ecn.mark(), Ecn::Capable0);
        assert!(!ecn.on_acked(1, None));
        assert_eq!(ecn.mark(), Ecn::NotCapable);
    }

    #[test]
    fn marks_are_counted_on_when_the_other_side_moves() {
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut path = Path::new(Instant::ZERO, at(1), Algorithm::default(), 1472);
        (0..20).for_each(|_| path.ecn.on_sent());
        path.ecn.on_acked(20, Some([20, 0, 0]));
        path.move_to(Instant::ZERO, at(2));
        path.ecn.on_sent();
        path.ecn.on_acked(1, Some([21, 0, 0]));
        assert_eq!(path.ecn.mark(), Ecn::Capable0);
    }

    #[test]
    fn a_new_congestion_mark_is_told_once_and_impossible_counts_end_it() {
        let mut ecn = EcnState::default();
        (0..20).for_each(|_| ecn.on_sent());
        assert!(ecn.on_acked(4, Some([3, 0, 1])));
        assert!(!ecn.on_acked(2, Some([5, 0, 1])));
        assert!(!ecn.on_acked(2, Some([50, 0, 9])), "more marks than packets");
        assert_eq!(ecn.mark(), Ecn::NotCapable);
    }
}
