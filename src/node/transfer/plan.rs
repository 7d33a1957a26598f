//! What of a file is missing, and what to ask for next.

use super::ask::MAX_RANGE;
use crate::node::disk::{ByteRange, CHUNK_GROUP};
use std::collections::BTreeMap;

/// The ranges of one file: to be asked for, under way, on the disk. Every byte is in one of the three.
#[derive(Debug)]
pub(super) struct Plan {
    size: u64,
    /// Start → end of what nobody was asked for, disjoint.
    missing: BTreeMap<u64, u64>,
    /// Bytes verified and on the disk.
    done: u64,
}

impl Plan {
    /// For a file of `size` bytes of which the disk holds `have` (in order, not touching) from an earlier time.
    pub(super) fn new(size: u64, have: &[ByteRange]) -> Self {
        let (mut missing, mut at, mut done) = (BTreeMap::new(), 0, 0);
        for range in have {
            let (start, end) = (range.start.clamp(at, size), range.end.clamp(at, size));
            if start > at {
                missing.insert(at, start);
            }
            done += end.saturating_sub(start);
            at = at.max(end);
        }
        if at < size {
            missing.insert(at, size);
        }
        Self { size, missing, done }
    }

    /// The next range to ask for, from the front, at most [`MAX_RANGE`] bytes. It is under way from here on.
    pub(super) fn take(&mut self) -> Option<ByteRange> {
        let (start, end) = self.missing.pop_first()?;
        // Cut at multiples of the largest range, so that what a resumed download asks for falls into step again.
        let next_cut = (start / MAX_RANGE).saturating_add(1).saturating_mul(MAX_RANGE);
        let cut = end.min(next_cut);
        debug_assert!(start.is_multiple_of(CHUNK_GROUP), "the disk gives whole chunk groups");
        if cut < end {
            self.missing.insert(cut, end);
        }
        Some(ByteRange { start, end: cut })
    }

    /// A range that was under way did not come, or did not verify: it is missing again.
    pub(super) fn give_back(&mut self, range: ByteRange) {
        self.missing.insert(range.start, range.end);
    }

    /// A range that was under way is on the disk.
    pub(super) const fn on_written(&mut self, range: ByteRange) {
        self.done = self.done.saturating_add(range.end.saturating_sub(range.start));
    }

    /// Whether there is something to ask for.
    pub(super) fn has_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Bytes verified and on the disk.
    pub(super) const fn done(&self) -> u64 {
        self.done
    }

    /// Whether all of it is on the disk.
    pub(super) const fn is_complete(&self) -> bool {
        self.done >= self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    #[test]
    fn an_empty_file_is_complete_before_anything_is_asked() {
        let mut plan = Plan::new(0, &[]);
        assert!(plan.is_complete());
        assert_eq!(plan.take(), None);
    }

    #[test]
    fn what_is_on_the_disk_is_not_asked_for_again() {
        let size = 3 * MAX_RANGE + 5;
        let mut plan = Plan::new(size, &[range(CHUNK_GROUP, MAX_RANGE), range(2 * MAX_RANGE, 3 * MAX_RANGE)]);
        assert_eq!(plan.take(), Some(range(0, CHUNK_GROUP)));
        assert_eq!(plan.take(), Some(range(MAX_RANGE, 2 * MAX_RANGE)));
        assert_eq!(plan.take(), Some(range(3 * MAX_RANGE, size)));
        assert_eq!(plan.take(), None);
    }

    proptest! {
        /// Ranges that get lost now and then still cover every byte once, and the end is reached.
        #[test]
        fn every_byte_is_written_once(size in 0u64..40 << 20, losses in prop::collection::vec(any::<bool>(), 0..60)) {
            let (mut plan, mut losses, mut written) = (Plan::new(size, &[]), losses.into_iter(), Vec::new());
            while let Some(range) = plan.take() {
                prop_assert!(range.end - range.start <= MAX_RANGE);
                if losses.next() == Some(true) {
                    plan.give_back(range);
                } else {
                    plan.on_written(range);
                    written.push(range);
                }
            }
            prop_assert!(plan.is_complete());
            written.sort();
            let mut at = 0;
            for range in written {
                prop_assert_eq!(range.start, at);
                at = range.end;
            }
            prop_assert_eq!(at, size);
        }
    }
}
