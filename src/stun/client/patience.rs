//! When a question is repeated, and when it is given up.

use crate::time::Duration;

/// How often and for how long to ask (RFC 8489 §6.2.1). Intervals double: with an RTO of half a second, the question is sent after 0, 0.5,
/// 1.5, 3.5, 7.5, 15.5 and 31.5 seconds, and given up after 39.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The first interval. `None`: what was measured with this server, or [`FIRST_RTO`](super::FIRST_RTO).
    pub rto: Option<Duration>,
    /// How often it is sent at most ("Rc"). 0 means 1.
    pub requests: u32,
    /// How many of the first intervals the last one is waited for ("Rm").
    pub last: u32,
}

impl Patience {
    /// What the RFC recommends: 39.5 seconds.
    pub const FULL: Self = Self { rto: None, requests: 7, last: 16 };

    /// Where silence is an answer, or somebody waits: four packets, five and a half seconds at the first RTO, a second and more at
    /// a measured one.
    pub const SHORT: Self = Self { rto: None, requests: 4, last: 4 };

    /// Where silence is the likely answer, of a server that has just answered another question: three packets, a second at the least RTO.
    pub const SILENCE: Self = Self { rto: None, requests: 3, last: 2 };

    /// How long to wait after sending for the `sent`-th time.
    pub(super) fn interval(self, rto: Duration, sent: u32) -> Duration {
        if self.is_last(sent) {
            return rto.saturating_mul(self.last);
        }
        rto.saturating_mul(1_u32.checked_shl(sent.saturating_sub(1)).unwrap_or(u32::MAX))
    }

    /// Whether it is not sent again.
    pub(super) fn is_last(self, sent: u32) -> bool {
        sent >= self.requests.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8489 §6.2.1.
    #[test]
    fn the_full_patience_is_that_of_the_rfc() {
        let rto = Duration::from_millis(500);
        let mut at = Duration::ZERO;
        let mut times = Vec::new();
        for sent in 1..=7 {
            times.push(at.as_millis());
            at += Patience::FULL.interval(rto, sent);
        }
        assert_eq!(times, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(at.as_millis(), 39_500);
        assert!(Patience::FULL.is_last(7) && !Patience::FULL.is_last(6));
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        let absurd = Patience { rto: None, requests: u32::MAX, last: u32::MAX };
        assert_eq!(absurd.interval(Duration::MAX, 40), Duration::MAX);
        assert!(Patience { requests: 0, ..absurd }.is_last(1));
    }
}
