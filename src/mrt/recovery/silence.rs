//! Persistent congestion (RFC 9002 §7.6): so long a silence that the window says nothing about the path any more.

use super::pto::probe_timeout;
use super::rtt::{MAX_ACK_DELAY, Rtt};
use crate::time::{Duration, Instant};

/// RFC 9002 §7.6.1: congestion is persistent after this many probe timeouts.
const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;

/// The longest time, in what one search found, during which everything that was sent was lost (RFC 9002 §7.6.2).
pub(super) struct Silence {
    /// Only packets sent after the first round-trip sample count: before it, the timeout is a guess.
    after: Option<Instant>,
    enough: Duration,
    since: Option<Instant>,
    longest: Duration,
}

impl Silence {
    /// Nothing was looked at.
    pub(super) fn new(rtt: &Rtt) -> Self {
        let enough = probe_timeout(rtt, MAX_ACK_DELAY, 0).saturating_mul(PERSISTENT_CONGESTION_THRESHOLD);
        Self { after: rtt.first_sample_at(), enough, since: None, longest: Duration::ZERO }
    }

    /// The next packet, ack-eliciting, was lost.
    pub(super) fn lost(&mut self, sent_at: Instant) {
        if self.after.is_some_and(|after| sent_at > after) {
            let since = *self.since.get_or_insert(sent_at);
            self.longest = self.longest.max(sent_at.saturating_since(since));
        }
    }

    /// The next packet was acknowledged.
    pub(super) const fn broken(&mut self) {
        self.since = None;
    }

    /// Whether it lasted long enough.
    pub(super) fn is_persistent(&self) -> bool {
        self.longest > self.enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// Of a path with a probe timeout of 145 ms, so that more than 435 ms are persistent.
    fn silence() -> Silence {
        let mut rtt = Rtt::default();
        rtt.update(at(0), Duration::from_millis(40), Duration::ZERO);
        Silence::new(&rtt)
    }

    #[test]
    fn it_lasts_from_the_first_to_the_last_packet_lost_in_a_row() {
        for (last, persistent) in [(535, false), (536, true)] {
            let mut silence = silence();
            for sent_at in [100, 300, last] {
                silence.lost(at(sent_at));
            }
            assert_eq!(silence.is_persistent(), persistent, "{last}");
        }
    }

    #[test]
    fn a_packet_that_arrived_splits_it() {
        let mut silence = silence();
        silence.lost(at(100));
        silence.broken();
        silence.lost(at(500));
        silence.lost(at(900));
        assert!(!silence.is_persistent());
    }

    #[test]
    fn one_that_is_over_still_counts() {
        let mut silence = silence();
        silence.lost(at(100));
        silence.lost(at(900));
        silence.broken();
        silence.lost(at(901));
        assert!(silence.is_persistent());
    }
}
