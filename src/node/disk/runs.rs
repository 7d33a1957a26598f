//! Which bytes of a file are verified: runs in order, none touching the next.

use super::ByteRange;
use std::collections::BTreeMap;

/// A set of bytes as runs. Adding in order keeps one run; the number of runs is at most that of the ranges added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// End by start.
    runs: BTreeMap<u64, u64>,
}

impl Runs {
    /// Adds a range, joining it with what it overlaps or touches.
    pub(super) fn insert(&mut self, range: ByteRange) {
        let ByteRange { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // From the right: the runs that begin at or before our end, as long as they reach our start.
        while let Some((&run_start, &run_end)) = self.runs.range(..=end).next_back() {
            if run_end < start {
                break;
            }
            self.runs.remove(&run_start);
            start = start.min(run_start);
            end = end.max(run_end);
        }
        self.runs.insert(start, end);
    }

    /// Whether every byte from 0 to `size` is there.
    pub(super) fn cover(&self, size: u64) -> bool {
        size == 0 || self.runs.get(&0).is_some_and(|&end| end >= size)
    }

    /// How many bytes there are.
    pub(super) fn bytes(&self) -> u64 {
        self.runs.iter().fold(0, |sum, (start, end)| sum.saturating_add(end.saturating_sub(*start)))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = ByteRange> + '_ {
        self.runs.iter().map(|(&start, &end)| ByteRange { start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn touching_runs_become_one() {
        let mut runs = Runs::default();
        for (start, end) in [(4, 6), (0, 2), (8, 9), (2, 4), (5, 5), (7, 6)] {
            runs.insert(ByteRange { start, end });
        }
        assert_eq!(runs.iter().collect::<Vec<_>>(), [ByteRange { start: 0, end: 6 }, ByteRange { start: 8, end: 9 }]);
        assert_eq!(runs.bytes(), 7);
        assert!(runs.cover(6) && !runs.cover(7) && runs.cover(0));
    }

    proptest! {
        /// The same bytes as in a plain bitmap, and never two runs that touch.
        #[test]
        fn runs_hold_what_a_bitmap_holds(ranges in prop::collection::vec((0u64..64, 0u64..16), 0..24)) {
            let (mut runs, mut bitmap) = (Runs::default(), [false; 96]);
            for (start, len) in ranges {
                runs.insert(ByteRange { start, end: start + len });
                bitmap[start as usize..(start + len) as usize].fill(true);
            }
            let mut again = [false; 96];
            let mut last_end = None;
            for run in runs.iter() {
                prop_assert!(last_end.is_none_or(|end| end < run.start));
                last_end = Some(run.end);
                again[run.start as usize..run.end as usize].fill(true);
            }
            prop_assert_eq!(again, bitmap);
        }
    }
}
