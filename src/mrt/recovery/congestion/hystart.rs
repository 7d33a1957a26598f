//! HyStart++ (RFC 9406): leaves slow start when the round-trip time rises, before the queue overflows.

use crate::time::Duration;

/// RFC 9406 §4.3: the rise that ends slow start is an eighth of the round trip, within these bounds.
const MIN_RTT_THRESHOLD: Duration = Duration::from_millis(4);
const MAX_RTT_THRESHOLD: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
/// Samples that a round needs before it is judged.
const RTT_SAMPLES: u32 = 8;
/// Rounds of conservative slow start before congestion avoidance.
const CSS_ROUNDS: u32 = 5;
/// How much slower the window grows in conservative slow start.
pub(super) const CSS_GROWTH_DIVISOR: u64 = 4;

/// How the window is to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// By every byte acknowledged.
    SlowStart,
    /// By a quarter of that: the delay rose, and it is being checked whether that was a mistake.
    Conservative,
    /// No further: slow start is over.
    Over,
}

/// The state of one slow start.
#[derive(Clone, Copy, Debug)]
pub struct HyStart {
    phase: Phase,
    last_round_min: Duration,
    round_min: Duration,
    samples: u32,
    css_baseline: Duration,
    css_rounds: u32,
}

impl HyStart {
    /// A slow start begins.
    pub const fn new() -> Self {
        Self {
            phase: Phase::SlowStart,
            last_round_min: Duration::MAX,
            round_min: Duration::MAX,
            samples: 0,
            css_baseline: Duration::MAX,
            css_rounds: 0,
        }
    }

    /// An ACK arrived, which may have begun a round and may have measured the round-trip time.
    pub fn on_ack(&mut self, round_start: bool, rtt_sample: Option<Duration>) -> Phase {
        if round_start {
            self.on_round();
        }
        if let Some(sample) = rtt_sample {
            self.round_min = self.round_min.min(sample);
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= RTT_SAMPLES {
            self.judge();
        }
        self.phase
    }

    /// How the window grows now.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    const fn on_round(&mut self) {
        self.last_round_min = self.round_min;
        self.round_min = Duration::MAX;
        self.samples = 0;
        if matches!(self.phase, Phase::Conservative) {
            self.css_rounds += 1;
            if self.css_rounds >= CSS_ROUNDS {
                self.phase = Phase::Over;
            }
        }
    }

    fn judge(&mut self) {
        match self.phase {
            Phase::SlowStart => {
                if self.last_round_min == Duration::MAX {
                    return;
                }
                let threshold = (self.last_round_min / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESHOLD, MAX_RTT_THRESHOLD);
                if self.round_min >= self.last_round_min.saturating_add(threshold) {
                    self.css_baseline = self.round_min;
                    self.css_rounds = 0;
                    self.phase = Phase::Conservative;
                }
            }
            // RFC 9406 §4.2: the delay went down again, so the rise was no queue of ours.
            Phase::Conservative => {
                if self.round_min < self.css_baseline {
                    self.css_baseline = Duration::MAX;
                    self.phase = Phase::SlowStart;
                }
            }
            Phase::Over => {}
        }
    }
}

impl Default for HyStart {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One round of ten ACKs that all measure `rtt_ms`.
    fn round(hystart: &mut HyStart, rtt_ms: u64) -> Phase {
        (0..10).map(|n| hystart.on_ack(n == 0, Some(Duration::from_millis(rtt_ms)))).last().expect("ten ACKs")
    }

    #[test]
    fn a_steady_delay_never_ends_slow_start() {
        let mut hystart = HyStart::new();
        for _ in 0..50 {
            assert_eq!(round(&mut hystart, 40), Phase::SlowStart);
        }
    }

    #[test]
    fn a_rise_by_an_eighth_slows_down_and_five_rounds_later_it_is_over() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 80);
        assert_eq!(round(&mut hystart, 89), Phase::SlowStart);
        let mut hystart = HyStart::new();
        round(&mut hystart, 80);
        let phases: Vec<_> = (0..6).map(|_| round(&mut hystart, 90)).collect();
        assert_eq!(phases[..5], [Phase::Conservative; 5]);
        assert_eq!(phases[5], Phase::Over);
    }

    #[test]
    fn the_threshold_is_at_least_4_and_at_most_16_ms() {
        for (before, still_fine, too_much) in [(2, 5, 6), (400, 415, 416)] {
            let mut hystart = HyStart::new();
            round(&mut hystart, before);
            assert_eq!(round(&mut hystart, still_fine), Phase::SlowStart);
            let mut hystart = HyStart::new();
            round(&mut hystart, before);
            assert_eq!(round(&mut hystart, too_much), Phase::Conservative);
        }
    }

    #[test]
    fn a_rise_that_goes_away_was_a_mistake_and_slow_start_resumes() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 80);
        assert_eq!(round(&mut hystart, 95), Phase::Conservative);
        assert_eq!(round(&mut hystart, 81), Phase::SlowStart);
    }

    #[test]
    fn fewer_than_eight_samples_prove_nothing() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 80);
        for n in 0..7 {
            assert_eq!(hystart.on_ack(n == 0, Some(Duration::from_millis(500))), Phase::SlowStart);
        }
        assert_eq!(hystart.on_ack(false, Some(Duration::from_millis(500))), Phase::Conservative);
    }
}
