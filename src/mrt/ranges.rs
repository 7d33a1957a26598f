//! Sets of numbers as ranges: what was received, what was acknowledged, what was lost.

use core::fmt;
use core::ops::Range;
use std::collections::VecDeque;

/// A set of `u64`, kept as sorted half-open ranges that neither overlap nor touch.
///
/// Finding is O(log n). Adding at the end, which is what packets in order do, is O(1) and allocates nothing; adding or removing
/// elsewhere moves the ranges on the shorter side of it. The set itself has no bound: whoever lets a peer add to it asks
/// [`would_grow`](Self::would_grow) first, or calls [`retain_newest`](Self::retain_newest) afterwards.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: VecDeque<Range<u64>>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: VecDeque::new() }
    }

    /// Adds every number of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.ranges.back_mut() {
            Some(last) if range.start > last.end => self.ranges.push_back(range),
            Some(last) if range.start >= last.start => last.end = last.end.max(range.end),
            Some(_) => self.insert_inside(range),
            None => self.ranges.push_back(range),
        }
    }

    /// `range` begins before the last range does.
    fn insert_inside(&mut self, range: Range<u64>) {
        // Those from `from` to `to` overlap or touch it: they and it become one.
        let from = self.ranges.partition_point(|r| r.end < range.start);
        let to = self.ranges.partition_point(|r| r.start <= range.end);
        if from == to {
            self.ranges.insert(from, range);
            return;
        }
        let end = to.checked_sub(1).and_then(|last| self.ranges.get(last)).map_or(range.end, |last| last.end);
        if let Some(first) = self.ranges.get_mut(from) {
            first.start = first.start.min(range.start);
            first.end = end.max(range.end);
        }
        self.ranges.drain(from + 1..to);
    }

    /// Takes every number of `range` out. A range in whose middle it lies becomes two.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.ranges.partition_point(|r| r.end <= range.start);
        let to = self.ranges.partition_point(|r| r.start < range.end);
        if from >= to {
            return;
        }
        let before = self.ranges.get(from).map(|r| r.start..range.start).filter(|r| !r.is_empty());
        let after = self.ranges.get(to - 1).map(|r| range.end..r.end).filter(|r| !r.is_empty());
        // What remains is written over what was there, so that the ends of a range are cut in place.
        let mut keep = from;
        for remaining in [before, after].into_iter().flatten() {
            if keep < to {
                if let Some(slot) = self.ranges.get_mut(keep) {
                    *slot = remaining;
                }
            } else {
                self.ranges.insert(keep, remaining);
            }
            keep += 1;
        }
        if keep < to {
            self.ranges.drain(keep..to);
        }
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.range_at(number).is_some()
    }

    /// Whether every number of `range` is in the set. Of an empty range, every one is.
    pub fn contains_range(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.range_at(range.start).is_some_and(|r| range.end <= r.end)
    }

    /// The range that `number` lies in.
    pub fn range_at(&self, number: u64) -> Option<Range<u64>> {
        let index = self.ranges.partition_point(|r| r.end <= number);
        self.ranges.get(index).filter(|r| r.start <= number).cloned()
    }

    /// Whether [`insert`](Self::insert) of `range` would make one range more of the set.
    pub fn would_grow(&self, range: &Range<u64>) -> bool {
        let index = self.ranges.partition_point(|r| r.end < range.start);
        !range.is_empty() && self.ranges.get(index).is_none_or(|r| r.start > range.end)
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + Clone + '_ {
        self.ranges.iter().cloned()
    }

    /// What of `range` is not in the set, ascending.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let from = self.ranges.partition_point(|r| r.end <= range.start);
        let end = range.end;
        let inside = self.ranges.range(from..).take_while(move |r| r.start < end);
        // Each gap ends where one range of the set begins and starts where the one before ended.
        let starts = core::iter::once(range.start).chain(inside.clone().map(|r| r.end));
        let ends = inside.map(|r| r.start).chain(core::iter::once(end));
        starts.zip(ends).map(|(start, end)| start..end).filter(|gap| !gap.is_empty())
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no number in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The lowest range.
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.front().cloned()
    }

    /// The highest range.
    pub fn last(&self) -> Option<Range<u64>> {
        self.ranges.back().cloned()
    }

    /// Takes the lowest range out.
    pub fn pop_first(&mut self) -> Option<Range<u64>> {
        self.ranges.pop_front()
    }

    /// Keeps the `n` highest ranges.
    pub fn retain_newest(&mut self, n: usize) {
        let excess = self.ranges.len().saturating_sub(n);
        self.ranges.drain(..excess);
    }

    /// Empties the set, and gives its memory back.
    pub fn clear(&mut self) {
        self.ranges = VecDeque::new();
    }
}

impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.ranges).finish()
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "sets of one range are meant")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(ranges: &[Range<u64>]) -> RangeSet {
        let mut set = RangeSet::new();
        ranges.iter().cloned().for_each(|range| set.insert(range));
        set
    }

    #[test]
    fn ranges_that_touch_become_one() {
        assert_eq!(set(&[0..2, 4..6, 2..4]).iter().collect::<Vec<_>>(), [0..6]);
        assert_eq!(set(&[4..6, 0..2, 8..9, 1..8]).iter().collect::<Vec<_>>(), [0..9]);
    }

    #[test]
    fn a_hole_in_the_middle_makes_two() {
        let mut set = set(&[0..10]);
        set.remove(4..6);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0..4, 6..10]);
        set.remove(0..u64::MAX);
        assert!(set.is_empty());
    }

    #[test]
    fn numbers_in_order_take_no_memory() {
        let mut set = set(&[0..1]);
        let capacity = set.ranges.capacity();
        (1..1_000_000).for_each(|number| set.insert(number..number + 1));
        assert_eq!((set.len(), set.ranges.capacity()), (1, capacity));
    }

    #[test]
    fn the_newest_are_kept() {
        let mut set = set(&[0..1, 2..3, 4..5]);
        set.retain_newest(2);
        assert_eq!(set.iter().collect::<Vec<_>>(), [2..3, 4..5]);
        set.retain_newest(9);
        assert_eq!(set.len(), 2);
        set.retain_newest(0);
        assert!(set.is_empty());
    }

    #[test]
    fn the_ends_of_the_number_line_are_numbers_like_others() {
        let mut set = set(&[0..1, u64::MAX - 1..u64::MAX]);
        assert!(set.contains(0) && set.contains(u64::MAX - 1) && !set.contains(u64::MAX));
        assert!(!set.would_grow(&(1..5)) && set.would_grow(&(2..5)));
        set.insert(0..u64::MAX);
        assert_eq!(set.len(), 1);
    }

    proptest! {
        #[test]
        fn the_set_does_what_a_set_of_numbers_does(
            steps in prop::collection::vec((any::<bool>(), 0..60_u64, 0..12_u64), 1..60),
        ) {
            let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
            for (insert, start, len) in steps {
                let range = start..start + len;
                prop_assert_eq!(set.contains_range(&range), range.clone().all(|n| model.contains(&n)));
                let missing: Vec<_> = set.gaps(range.clone()).collect();
                prop_assert!(missing.windows(2).all(|pair| pair[0].end < pair[1].start));
                prop_assert!(missing.into_iter().flatten().eq(range.clone().filter(|n| !model.contains(n))));
                let (before, would_grow) = (set.len(), set.would_grow(&range));
                if insert {
                    set.insert(range.clone());
                    model.extend(range);
                    prop_assert_eq!(set.len() > before, would_grow);
                } else {
                    set.remove(range.clone());
                    model.retain(|n| !range.contains(n));
                }
                prop_assert_eq!(set.iter().flatten().collect::<BTreeSet<_>>(), model.clone());
                // Sorted, not empty, not touching.
                let ranges: Vec<_> = set.iter().collect();
                prop_assert!(ranges.iter().all(|r| r.start < r.end));
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
                prop_assert!((0..80).all(|n| set.contains(n) == model.contains(&n)));
                prop_assert_eq!(set.first().map(|r| r.start), model.first().copied());
                prop_assert_eq!(set.last().map(|r| r.end - 1), model.last().copied());
            }
        }
    }
}
