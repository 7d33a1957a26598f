//! How often something may happen.

use crate::time::{Duration, Instant};

/// So many at once, and one more every so often (a token bucket).
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// When it would be full. The later, the emptier it is.
    full_at: Instant,
}

impl Bucket {
    pub(super) const fn full() -> Self {
        Self { full_at: Instant::ZERO }
    }

    /// Takes one out, if there is one. `rate` a second come back; it holds `burst`.
    pub(super) fn take(&mut self, now: Instant, rate: u32, burst: u32) -> bool {
        if rate == 0 || burst == 0 {
            return false;
        }
        let one = Duration::from_secs(1) / rate;
        let begin = self.full_at.max(now);
        if begin.saturating_since(now) > one.saturating_mul(burst.saturating_sub(1)) {
            return false;
        }
        self.full_at = begin + one;
        true
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_so_many_a_second() {
        let mut bucket = Bucket::full();
        let at = |ms| Instant::from_start(Duration::from_millis(ms));
        let mut take = |ms| (0..100).filter(|_| bucket.take(at(ms), 10, 5)).count();
        assert_eq!((take(1000), take(1000), take(1100), take(1350)), (5, 0, 1, 2));
        assert_eq!(take(9000), 5);
        assert!(bucket.is_full(at(9500)) && !bucket.is_full(at(9499)));
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_through() {
        assert!(!Bucket::full().take(Instant::ZERO, 0, 5));
        assert!(!Bucket::full().take(Instant::ZERO, 5, 0));
    }
}
