//! So much at once, and then so much in a while.

use crate::time::{Duration, Instant};

/// What is left, and since when more comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    left: u32,
    since: Instant,
}

impl Bucket {
    /// Full.
    pub(super) const fn new(now: Instant, full: u32) -> Self {
        Self { left: full, since: now }
    }

    /// Takes `cost` out, if there is so much. It holds `full` at most, and gets one more every `every`.
    pub(super) fn take(&mut self, now: Instant, full: u32, every: Duration, cost: u32) -> bool {
        self.refill(now, full, every);
        let enough = self.left >= cost;
        if enough {
            self.left -= cost;
        }
        enough
    }

    /// Whether nothing was taken lately.
    pub(super) fn is_full(&mut self, now: Instant, full: u32, every: Duration) -> bool {
        self.refill(now, full, every);
        self.left >= full
    }

    fn refill(&mut self, now: Instant, full: u32, every: Duration) {
        let more = now.saturating_since(self.since).as_nanos() / every.as_nanos().max(1);
        if let Ok(more) = u32::try_from(more)
            && more < full
        {
            self.left = self.left.saturating_add(more).min(full);
            self.since = self.since + every * more;
        } else {
            *self = Self::new(now, full);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_slowly_and_never_becomes_more() {
        let every = Duration::from_millis(10);
        let (mut bucket, mut taken) = (Bucket::new(Instant::ZERO, 5), 0);
        for ms in 0..1000 {
            taken += u32::from(bucket.take(Instant::from_start(Duration::from_millis(ms)), 5, every, 1));
        }
        assert_eq!(taken, 5 + 99);
        let later = Instant::from_start(Duration::from_secs(1_000_000));
        assert!(bucket.is_full(later, 5, every) && !bucket.take(later, 5, every, 6) && bucket.take(later, 5, every, 5));
    }
}
