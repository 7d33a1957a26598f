//! How many bytes may leave at a rate: a token bucket.

use crate::time::{Duration, Instant};

/// The bucket holds what the rate gives in this time…
const BURST: Duration = Duration::from_millis(50);

/// …and never less than one of the largest batches that leave at once, in bytes.
const MIN_BURST: u64 = 64 << 10;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A token bucket, in billionths of a byte so that no rate is rounded away.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: u64,
    credit: u64,
    updated_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(now: Instant, rate: u64) -> Self {
        let mut bucket = Self { rate: rate.max(1), credit: 0, updated_at: now };
        bucket.credit = bucket.capacity();
        bucket
    }

    /// How many bytes may leave.
    pub(super) fn available(&mut self, now: Instant) -> u64 {
        let elapsed = u64::try_from(now.saturating_since(self.updated_at).as_nanos()).unwrap_or(u64::MAX);
        self.updated_at = self.updated_at.max(now);
        self.credit = self.credit.saturating_add(elapsed.saturating_mul(self.rate)).min(self.capacity());
        self.credit / NANOS_PER_SECOND
    }

    /// They left.
    pub(super) const fn take(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_sub(bytes.saturating_mul(NANOS_PER_SECOND));
    }

    /// When so many may leave, as of the last time that it was asked.
    pub(super) fn when(&self, bytes: u64) -> Instant {
        let missing = bytes.saturating_mul(NANOS_PER_SECOND).saturating_sub(self.credit);
        self.updated_at + Duration::from_nanos(missing.div_ceil(self.rate))
    }

    fn capacity(&self) -> u64 {
        let burst = u64::try_from(u128::from(self.rate) * BURST.as_nanos() / u128::from(NANOS_PER_SECOND));
        burst.unwrap_or(u64::MAX).max(MIN_BURST).saturating_mul(NANOS_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn over_a_second_the_rate_is_kept_to_within_one_burst() {
        for rate in [1000, 100_000, 12_500_000] {
            let mut bucket = Bucket::new(at(0), rate);
            let mut taken = 0;
            for ms in 0..=1000 {
                let available = bucket.available(at(ms));
                bucket.take(available);
                taken += available;
            }
            let burst = MIN_BURST.max(rate / 20);
            assert!(taken >= rate && taken <= rate + burst, "{taken} at {rate}");
        }
    }

    #[test]
    fn it_says_when_there_is_enough_and_is_right() {
        let mut bucket = Bucket::new(at(0), 1200);
        bucket.take(u64::MAX);
        let when = bucket.when(1200);
        assert_eq!(when, at(1000));
        assert_eq!(bucket.available(when), 1200);
        // A rate of nothing is as little as there is.
        assert!(Bucket::new(at(0), 0).available(Instant::FAR_FUTURE) > 0);
    }
}
