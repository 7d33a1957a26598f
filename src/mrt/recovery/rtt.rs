//! The round-trip time of a path (RFC 9002 §5).

use crate::time::{Duration, Instant};

/// What is assumed before the first sample. RFC 9002 §6.2.2 recommends 333 ms for the open web; friends are mostly on one
/// continent (10–80 ms), and a lost first packet is then noticed after 0.3 s rather than 1 s. A longer path costs one
/// needless probe.
pub const INITIAL_RTT: Duration = Duration::from_millis(100);

/// The longest a peer may hold an acknowledgement back, on purpose (RFC 9000 §18.2: the default of `max_ack_delay`). What it
/// claims above this counts as path time.
pub const MAX_ACK_DELAY: Duration = Duration::from_millis(25);

/// Timers are not finer than this (RFC 9002 §6.1.2, `kGranularity`).
pub const GRANULARITY: Duration = Duration::from_millis(1);

/// A smoothed round-trip time, its variation, and the smallest one seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    latest: Duration,
    smoothed: Duration,
    variance: Duration,
    min: Option<Duration>,
    first_sample_at: Option<Instant>,
}

impl Rtt {
    /// A path that was not measured yet, assumed to take `initial` (normally [`INITIAL_RTT`]).
    pub fn new(initial: Duration) -> Self {
        // RFC 9002 §5.3: the variation starts at half the estimate.
        Self { latest: initial, smoothed: initial, variance: initial / 2, min: None, first_sample_at: None }
    }

    /// A packet came back acknowledged after `latest`, of which the peer says that it held the acknowledgement for
    /// `ack_delay`.
    pub fn update(&mut self, now: Instant, latest: Duration, ack_delay: Duration) {
        self.latest = latest;
        let Some(min) = self.min else {
            self.min = Some(latest);
            self.smoothed = latest;
            self.variance = latest / 2;
            self.first_sample_at = Some(now);
            return;
        };
        // RFC 9002 §5.2: the minimum takes raw samples, so that a peer which lies about its delay cannot lower it.
        let min = min.min(latest);
        self.min = Some(min);
        // RFC 9002 §5.3: the peer's delay is taken off, but no more than it may claim, and never below the minimum.
        let ack_delay = ack_delay.min(MAX_ACK_DELAY);
        let adjusted = match latest.checked_sub(ack_delay) {
            Some(without_delay) if without_delay >= min => without_delay,
            _ => latest,
        };
        let difference = self.smoothed.abs_diff(adjusted);
        self.variance = weighted(self.variance, 3, difference, 4);
        self.smoothed = weighted(self.smoothed, 7, adjusted, 8);
    }

    /// The moving average, or the initial guess.
    pub const fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The mean deviation (RFC 9002's `rttvar`).
    pub const fn variance(&self) -> Duration {
        self.variance
    }

    /// The last sample as it was measured, or the initial guess.
    pub const fn latest(&self) -> Duration {
        self.latest
    }

    /// The smallest sample.
    pub const fn min(&self) -> Option<Duration> {
        self.min
    }

    /// Whether anything was measured.
    pub const fn has_sample(&self) -> bool {
        self.min.is_some()
    }

    /// When the first sample came.
    pub const fn first_sample_at(&self) -> Option<Instant> {
        self.first_sample_at
    }
}

impl Default for Rtt {
    fn default() -> Self {
        Self::new(INITIAL_RTT)
    }
}

/// `(old · weight + new) / total`, without overflow for any two durations.
fn weighted(old: Duration, weight: u32, new: Duration, total: u32) -> Duration {
    old.saturating_mul(weight).saturating_add(new) / total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_first_sample_replaces_the_guess_and_ignores_the_claimed_delay() {
        let mut rtt = Rtt::default();
        assert!(!rtt.has_sample());
        rtt.update(Instant::ZERO + ms(40), ms(40), ms(20));
        assert_eq!((rtt.smoothed(), rtt.variance(), rtt.min()), (ms(40), ms(20), Some(ms(40))));
        assert_eq!(rtt.first_sample_at(), Some(Instant::ZERO + ms(40)));
    }

    #[test]
    fn later_samples_are_smoothed_by_an_eighth_and_a_quarter() {
        let mut rtt = Rtt::default();
        rtt.update(Instant::ZERO, ms(40), Duration::ZERO);
        rtt.update(Instant::ZERO, ms(80), Duration::ZERO);
        // 7/8 · 40 + 1/8 · 80; 3/4 · 20 + 1/4 · |40 − 80|
        assert_eq!((rtt.smoothed(), rtt.variance(), rtt.latest()), (ms(45), ms(25), ms(80)));
    }

    #[test]
    fn a_claimed_delay_is_clamped_to_what_a_peer_may_claim() {
        let mut honest = Rtt::default();
        let mut liar = Rtt::default();
        for rtt in [&mut honest, &mut liar] {
            rtt.update(Instant::ZERO, ms(40), Duration::ZERO);
        }
        honest.update(Instant::ZERO, ms(200), MAX_ACK_DELAY);
        liar.update(Instant::ZERO, ms(200), Duration::MAX);
        assert_eq!(honest, liar);
    }

    #[test]
    fn a_claimed_delay_never_pushes_a_sample_below_the_minimum() {
        let mut rtt = Rtt::default();
        rtt.update(Instant::ZERO, ms(40), Duration::ZERO);
        rtt.update(Instant::ZERO, ms(50), ms(25));
        // 25 ms would be below the 40 ms that the path is known to take, so the claim is not believed at all.
        assert_eq!(rtt.smoothed(), Duration::from_micros(41_250));
        assert_eq!(rtt.min(), Some(ms(40)));
    }

    #[test]
    fn absurd_samples_saturate() {
        let mut rtt = Rtt::new(Duration::MAX);
        rtt.update(Instant::ZERO, Duration::MAX, Duration::MAX);
        rtt.update(Instant::FAR_FUTURE, Duration::ZERO, Duration::MAX);
        rtt.update(Instant::FAR_FUTURE, Duration::MAX, Duration::ZERO);
        assert_eq!(rtt.min(), Some(Duration::ZERO));
    }
}
