//! The ADAT frame: which packets arrived.
//!
//! ```text
//! ADAT   02 | largest | delay µs | count | first | (gap | length) × count
//! ADAT   03 | … the same … | ECT(0) | ECT(1) | CE
//! ```
//!
//! All numbers are varints, with the meaning of RFC 9000 §19.3: `first` is how many packets below `largest` arrived without a
//! gap; then alternating, each one less than the number of packets it stands for, how many are missing and how many are there.

use super::number::PacketNumber;
use super::reader::{Malformed, Reader};
use super::varint;
use core::fmt;
use core::ops::{Range, RangeInclusive};

/// Ranges in one frame, the first included, at most: a bound on the work that one packet can cause.
pub const MAX_RANGES: usize = 256;

pub(super) const ADAT: u8 = 0x02;
pub(super) const ADAT_ECN: u8 = 0x03;

/// Which packets arrived. Its ranges were checked when it was parsed.
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    largest: u64,
    first: u64,
    /// The pairs of gap and length.
    pairs: &'a [u8],
    /// How long the sender of the frame waited after `largest` arrived, in microseconds.
    pub delay_us: u64,
    /// How many packets arrived so far with ECT(0), ECT(1) and CE (RFC 9000 §19.3.2).
    pub ecn: Option<[u64; 3]>,
}

impl<'a> Ack<'a> {
    /// The largest number that arrived.
    pub const fn largest(&self) -> PacketNumber {
        PacketNumber(self.largest)
    }

    /// The numbers that arrived: at most [`MAX_RANGES`] ranges, the newest first, not touching.
    pub const fn ranges(&self) -> Ranges<'a> {
        Ranges { next: Some((self.largest - self.first, self.largest)), pairs: Reader::new(self.pairs) }
    }

    /// Reads the frame after its type byte.
    pub(super) fn parse(reader: &mut Reader<'a>, with_ecn: bool) -> Result<Self, Malformed> {
        const BELOW_ZERO: Malformed = Malformed("ADAT range below zero");
        let largest = reader.varint()?;
        let delay_us = reader.varint()?;
        let count = reader.varint()?;
        if count >= MAX_RANGES as u64 {
            return Err(Malformed("ADAT with too many ranges"));
        }
        let first = reader.varint()?;
        let mut smallest = largest.checked_sub(first).ok_or(BELOW_ZERO)?;
        let from_here = reader.remaining();
        for _ in 0..count {
            let (start, _) = below(smallest, reader.varint()?, reader.varint()?).ok_or(BELOW_ZERO)?;
            smallest = start;
        }
        let pairs = from_here.get(..from_here.len() - reader.remaining().len()).unwrap_or_default();
        let ecn = if with_ecn { Some([reader.varint()?, reader.varint()?, reader.varint()?]) } else { None };
        Ok(Self { largest, first, pairs, delay_us, ecn })
    }

    /// Appends the frame.
    pub fn emit(&self, buf: &mut Vec<u8>) {
        let ranges = self.ranges().map(|range| *range.start()..range.end() + 1);
        put_ack(buf, ranges, self.delay_us, self.ecn, usize::MAX);
    }
}

/// Equal if they say the same; the forms of the varints do not matter.
impl PartialEq for Ack<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.delay_us == other.delay_us && self.ecn == other.ecn && self.ranges().eq(other.ranges())
    }
}

impl Eq for Ack<'_> {}

impl fmt::Display for Ack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ADAT delay {}µs", self.delay_us)?;
        for range in self.ranges() {
            write!(f, " {}–{}", range.start(), range.end())?;
        }
        if let Some([ect0, ect1, ce]) = self.ecn {
            write!(f, " ecn {ect0}/{ect1}/{ce}")?;
        }
        Ok(())
    }
}

/// The ranges of an [`Ack`], the newest first.
#[derive(Clone, Debug)]
pub struct Ranges<'a> {
    /// Smallest and largest of the next range.
    next: Option<(u64, u64)>,
    pairs: Reader<'a>,
}

impl Iterator for Ranges<'_> {
    type Item = RangeInclusive<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, end) = self.next?;
        self.next = match (self.pairs.varint(), self.pairs.varint()) {
            (Ok(gap), Ok(length)) => below(start, gap, length),
            _ => None,
        };
        Some(start..=end)
    }
}

/// Smallest and largest of the range that lies `gap` and one below `smallest`.
const fn below(smallest: u64, gap: u64, length: u64) -> Option<(u64, u64)> {
    // Varints, so neither sum can overflow.
    let Some(end) = smallest.checked_sub(gap + 2) else { return None };
    let Some(start) = end.checked_sub(length) else { return None };
    Some((start, end))
}

/// Appends an ADAT frame with as many of `ranges` as fit into `max_bytes` and [`MAX_RANGES`], and returns how many those are. With
/// none, nothing is appended.
///
/// `ranges` are half-open, not empty, not touching, the newest first: what `RangeSet::iter().rev()` gives. `delay_us` is how long
/// ago the largest of them arrived.
pub fn put_ack(
    buf: &mut Vec<u8>,
    ranges: impl Iterator<Item = Range<u64>> + Clone,
    delay_us: u64,
    ecn: Option<[u64; 3]>,
    max_bytes: usize,
) -> usize {
    let mut all = ranges;
    let Some(newest) = all.next() else { return 0 };
    let Some(largest) = newest.end.checked_sub(1) else { return 0 };
    let Some(first) = largest.checked_sub(newest.start) else { return 0 };
    let delay_us = delay_us.min(varint::MAX);
    let ecn_len: usize = ecn.iter().flatten().map(|count| varint::len(*count)).sum();
    let mut used = 1 + varint::len(largest) + varint::len(delay_us) + varint::len(0) + varint::len(first) + ecn_len;
    if used > max_bytes {
        return 0;
    }

    // How many pairs fit: counted before they are written, because the count stands before them.
    let mut count: u64 = 0;
    for (gap, length) in (Pairs { smallest: newest.start, ranges: all.clone() }).take(MAX_RANGES - 1) {
        let more = varint::len(gap) + varint::len(length) + varint::len(count + 1) - varint::len(count);
        if used + more > max_bytes {
            break;
        }
        used += more;
        count += 1;
    }

    buf.reserve(used);
    buf.push(if ecn.is_some() { ADAT_ECN } else { ADAT });
    varint::put(buf, largest);
    varint::put(buf, delay_us);
    varint::put(buf, count);
    varint::put(buf, first);
    for (gap, length) in (Pairs { smallest: newest.start, ranges: all }).take(count as usize) {
        varint::put(buf, gap);
        varint::put(buf, length);
    }
    for count in ecn.iter().flatten() {
        varint::put(buf, *count);
    }
    count as usize + 1
}

/// Turns descending ranges into pairs of gap and length. Ends early at a range that is not below the one before.
struct Pairs<I> {
    smallest: u64,
    ranges: I,
}

impl<I: Iterator<Item = Range<u64>>> Iterator for Pairs<I> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let range = self.ranges.next()?;
        let gap = self.smallest.checked_sub(range.end)?.checked_sub(1)?;
        let length = range.end.checked_sub(range.start)?.checked_sub(1)?;
        self.smallest = range.start;
        Some((gap, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Result<Ack<'_>, Malformed> {
        let mut reader = Reader::new(bytes);
        let with_ecn = reader.u8()? == ADAT_ECN;
        let ack = Ack::parse(&mut reader, with_ecn)?;
        assert!(reader.is_empty());
        Ok(ack)
    }

    /// Descending ranges, as a receiver holds them, from the sizes of what is missing and what is there.
    fn descending(pieces: &[(u64, u64)]) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        let mut at = 0;
        for (missing, there) in pieces {
            ranges.push(at + missing..at + missing + there);
            at += missing + there;
        }
        ranges.reverse();
        ranges
    }

    #[test]
    fn the_ranges_of_an_example_come_out_newest_first() {
        // 100 down to 95 arrived, 94 to 90 are missing, 89 arrived: gap 4 and length 0 stand for 5 and 1.
        let ack = parse(&[0x02, 0x40, 100, 25, 1, 5, 4, 0]).unwrap();
        assert_eq!(ack.largest(), PacketNumber(100));
        assert_eq!(ack.ranges().collect::<Vec<_>>(), [95..=100, 89..=89]);
        assert_eq!(ack.to_string(), "ADAT delay 25µs 95–100 89–89");
    }

    #[test]
    fn ranges_that_reach_below_zero_are_malformed() {
        assert_eq!(parse(&[0x02, 5, 0, 0, 6]), Err(Malformed("ADAT range below zero")));
        // 5 arrived; the next range ends at 3 and would be five long.
        assert_eq!(parse(&[0x02, 5, 0, 1, 0, 0, 4]), Err(Malformed("ADAT range below zero")));
        // The gap itself goes below zero.
        assert_eq!(parse(&[0x02, 5, 0, 1, 5, 0, 0]), Err(Malformed("ADAT range below zero")));
        assert_eq!(
            parse(&[0x02, 5, 0, 1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0]).map(|_| ()),
            Err(Malformed("ADAT range below zero"))
        );
    }

    #[test]
    fn more_than_256_ranges_are_neither_read_nor_written() {
        let ranges = descending(&[(1, 1); 300]);
        let mut bytes = Vec::new();
        assert_eq!(put_ack(&mut bytes, ranges.iter().cloned(), 0, None, usize::MAX), MAX_RANGES);
        assert_eq!(parse(&bytes).unwrap().ranges().count(), MAX_RANGES);
        let mut hostile = vec![0x02];
        for number in [5000, 0, MAX_RANGES as u64, 0] {
            varint::put(&mut hostile, number);
        }
        hostile.resize(hostile.len() + 2 * MAX_RANGES, 0);
        assert_eq!(parse(&hostile), Err(Malformed("ADAT with too many ranges")));
    }

    #[test]
    fn nothing_is_written_where_not_even_the_newest_range_fits() {
        let mut bytes = Vec::new();
        assert_eq!(put_ack(&mut bytes, core::iter::once(0..1), 0, None, 4), 0);
        assert_eq!(put_ack(&mut bytes, core::iter::empty(), 0, None, 100), 0);
        assert!(bytes.is_empty());
        assert_eq!(put_ack(&mut bytes, core::iter::once(0..1), 0, None, 5), 1);
    }

    proptest! {
        #[test]
        fn the_newest_ranges_that_fit_are_written_and_read_back(
            pieces in prop::collection::vec((1..100_000_u64, 1..100_000_u64), 1..300),
            delay_us in 0..=varint::MAX,
            ecn in prop::option::of([0..=varint::MAX, 0..=varint::MAX, 0..=varint::MAX]),
            max_bytes in 0..1200_usize,
        ) {
            let ranges = descending(&pieces);
            let mut bytes = Vec::new();
            let written = put_ack(&mut bytes, ranges.iter().cloned(), delay_us, ecn, max_bytes);
            prop_assert!(bytes.len() <= max_bytes);
            if written == 0 {
                prop_assert!(bytes.is_empty());
                return Ok(());
            }
            let ack = parse(&bytes).unwrap();
            prop_assert_eq!((ack.delay_us, ack.ecn), (delay_us, ecn));
            let read: Vec<_> = ack.ranges().map(|range| *range.start()..range.end() + 1).collect();
            prop_assert_eq!(&read[..], &ranges[..written]);
            // Nothing that would have fit was left out: one more range needs at most 9 bytes here.
            prop_assert!(written == ranges.len().min(MAX_RANGES) || bytes.len() + 9 > max_bytes);
            let mut again = Vec::new();
            ack.emit(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}
