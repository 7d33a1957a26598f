//! What the path was at its best in the last half minute: the smallest round-trip time, the highest rate.

use crate::time::{Duration, Instant};

/// How long a value counts. Longer than the sawtooth of a CUBIC flow beside us (some ten seconds, RFC 9438 §5.1), short enough for a route
/// that became longer.
const MEMORY: Duration = Duration::from_secs(30);
/// The memory is kept in so many parts, each with its best; the oldest part is forgotten as a whole.
const PARTS: usize = 3;

/// The smallest value, by `Ord`, over a window of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best<T> {
    parts: [Option<T>; PARTS],
    /// When the newest part began.
    began_at: Option<Instant>,
}

impl<T: Copy + Ord> Best<T> {
    pub(super) const fn new() -> Self {
        Self { parts: [None; PARTS], began_at: None }
    }

    pub(super) fn on_sample(&mut self, now: Instant, sample: T) {
        let began_at = *self.began_at.get_or_insert(now);
        if now.saturating_since(began_at) >= MEMORY / PARTS as u32 {
            self.parts.rotate_right(1);
            self.began_at = Some(now);
            if let Some(newest) = self.parts.first_mut() {
                *newest = None;
            }
        }
        if let Some(newest) = self.parts.first_mut() {
            *newest = Some(newest.map_or(sample, |least| least.min(sample)));
        }
    }

    /// `None` before the first sample.
    pub(super) fn get(&self) -> Option<T> {
        self.parts.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_least_counts_for_half_a_minute_and_is_forgotten_then() {
        let mut best = Best::new();
        assert_eq!(best.get(), None);
        best.on_sample(at(0), 40);
        for second in 1..30 {
            best.on_sample(at(second), 60);
            assert_eq!(best.get(), Some(40), "{second}");
        }
        best.on_sample(at(30), 60);
        assert_eq!(best.get(), Some(60));
    }

    #[test]
    fn time_that_jumps_or_goes_back_forgets_no_more_than_a_part_at_once() {
        let mut best = Best::new();
        best.on_sample(at(5), 40);
        best.on_sample(at(0), 50);
        best.on_sample(Instant::FAR_FUTURE, 60);
        assert_eq!(best.get(), Some(40));
    }
}
