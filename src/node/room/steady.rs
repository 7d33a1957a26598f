//! A measurement that does not flicker: what a rank is made of must not change with every lost packet.

use crate::time::{Duration, Instant};

/// What is shown of something measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steady<T> {
    shown: T,
    /// What was measured without a break, if it is something else, and since when.
    other: Option<(T, Instant)>,
}

impl<T: Copy + Ord> Steady<T> {
    pub(super) const fn new(shown: T) -> Self {
        Self { shown, other: None }
    }

    /// `measured` shows once it was measured for `hold` without a break; at once, if it is no more than `at_once`.
    pub(super) fn observe(&mut self, now: Instant, measured: T, at_once: Option<T>, hold: Duration) -> T {
        if measured == self.shown {
            self.other = None;
        } else {
            let since = self.other.filter(|(other, _)| *other == measured).map_or(now, |(_, since)| since);
            self.other = Some((measured, since));
            let is_urgent = measured < self.shown && at_once.is_some_and(|most| measured <= most);
            if is_urgent || now.saturating_since(since) >= hold {
                *self = Self::new(measured);
            }
        }
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(5);

    /// One measurement a second; what shows after each.
    fn shown(first: u8, at_once: Option<u8>, measured: &[u8]) -> Vec<u8> {
        let mut steady = Steady::new(first);
        let each = measured.iter().zip(0..);
        each.map(|(measured, second)| {
            steady.observe(Instant::ZERO + Duration::from_secs(second), *measured, at_once, HOLD)
        })
        .collect()
    }

    #[test]
    fn what_is_measured_shows_once_it_stays_and_what_is_urgent_at_once() {
        let table: [(u8, Option<u8>, &[u8], &[u8]); 6] = [
            // It stays.
            (4, None, &[4, 2, 2, 2, 2, 2, 2, 2], &[4, 4, 4, 4, 4, 4, 2, 2]),
            // A flicker begins anew each time.
            (4, None, &[2, 2, 2, 4, 2, 2, 2, 2, 2, 2], &[4, 4, 4, 4, 4, 4, 4, 4, 4, 2]),
            // From one to another and a third is no steady state either.
            (4, None, &[3, 2, 3, 2, 3, 2, 3, 2], &[4; 8]),
            // The lowest shows at once, and is left slowly.
            (1, Some(0), &[0, 1, 1, 1, 1, 1, 1, 1], &[0, 0, 0, 0, 0, 0, 1, 1]),
            (1, Some(0), &[0, 1, 0, 1, 1, 1], &[0, 0, 0, 0, 0, 0]),
            // What is low and not the lowest is not urgent.
            (3, Some(0), &[1, 1, 1], &[3, 3, 3]),
        ];
        for (first, at_once, measured, expected) in table {
            assert_eq!(shown(first, at_once, measured), expected, "{first} {measured:?}");
        }
    }
}
