//! The receiving side of a channel: pieces in any order in, bytes in order out.

use crate::mrt::ranges::RangeSet;
use bytes::{Buf, Bytes, BytesMut};
use core::ops::Range;
use std::collections::VecDeque;

/// Bytes of one block. Large enough that handing blocks out costs nothing beside copying into them, small enough that a single
/// byte far ahead pins little.
pub const BLOCK: u64 = 16 << 10;

/// A handed-out piece keeps its block in memory. Pieces that fill less than one part in this many of it are copied out instead.
const PINNED_AT_MOST: usize = 4;

/// How many separate pieces may wait beyond the first gap, for a receive window of this many bytes: enough for every second packet
/// of the window to be missing. Few enough that a peer which sends every second byte is stopped early: a piece costs moving half of
/// those that wait, and a packet can hold 150 of them.
pub const fn max_gaps(window: u64) -> usize {
    64 + (window / 2048) as usize
}

/// The piece would make one gap more than allowed. Nothing was changed: the packet it came in counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many gaps")]
pub struct TooManyGaps;

/// Puts a channel's bytes in order.
///
/// ```text
///        read      contiguous       ┌beyond┐      ┌┐
///  ────────┼───────────┼────────────┴──────┴──────┴┴─────▶ offset
///   popped │ can pop   │ missing    what came early
///      └ block ┘└ block ┘└ block ┘└  none ┘└ block ┘
/// ```
///
/// Bytes are copied once, from the packet into blocks aligned to the channel's offsets, and handed out as parts of these blocks.
/// A block comes into being with its first byte and goes with its last; as long as nothing waits, nothing is held.
///
/// How far ahead a peer may send is not checked here: that is [`ReceiveCredit`](super::ReceiveCredit)'s.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Everything before was popped.
    read: u64,
    /// Everything before was received.
    contiguous: u64,
    /// What was received after `contiguous`; never touches it.
    beyond: RangeSet,
    /// The first is the block in which `read` lies, and begins at `read`; the others begin at multiples of [`BLOCK`].
    blocks: VecDeque<Option<BytesMut>>,
}

impl Assembler {
    /// At the beginning of a channel.
    pub const fn new() -> Self {
        Self { read: 0, contiguous: 0, beyond: RangeSet::new(), blocks: VecDeque::new() }
    }

    /// Takes a piece. What of it is already there, or was popped, is ignored. Beyond the first gap there may be `max_gaps`
    /// pieces that do not touch.
    pub fn insert(&mut self, offset: u64, data: &[u8], max_gaps: usize) -> Result<(), TooManyGaps> {
        let end = offset.saturating_add(data.len() as u64);
        let wanted = offset.max(self.contiguous)..end;
        if wanted.is_empty() {
            return Ok(());
        }
        let in_order = wanted.start == self.contiguous;
        if !in_order && self.beyond.len() >= max_gaps && self.beyond.would_grow(&wanted) {
            return Err(TooManyGaps);
        }

        if self.beyond.is_empty() {
            self.write(wanted.clone(), piece(data, offset, &wanted));
        } else {
            // What came first stays: a peer that sends two versions of a byte cannot change what may have been seen.
            let missing: smallvec::SmallVec<[Range<u64>; 4]> = self.beyond.gaps(wanted.clone()).collect();
            for range in missing {
                self.write(range.clone(), piece(data, offset, &range));
            }
        }

        if in_order {
            self.contiguous = wanted.end;
            while let Some(next) = self.beyond.first().filter(|next| next.start <= self.contiguous) {
                self.contiguous = self.contiguous.max(next.end);
                self.beyond.pop_first();
            }
        } else {
            self.beyond.insert(wanted);
        }
        Ok(())
    }

    /// The next bytes in order, at most a block of them, never empty. Memory is given back with them.
    pub fn pop(&mut self) -> Option<Bytes> {
        let block_end = end_of_block(self.read);
        let len = usize::try_from(self.contiguous.min(block_end) - self.read).ok().filter(|len| *len > 0)?;
        let block = self.blocks.front_mut()?.as_mut()?;

        let bytes = if len < block.capacity() / PINNED_AT_MOST {
            let copy = Bytes::copy_from_slice(block.get(..len)?);
            block.advance(len);
            copy
        } else {
            block.split_to(len).freeze()
        };
        self.read += len as u64;
        if self.read == block_end {
            self.blocks.pop_front();
        }
        if self.read == self.contiguous && self.beyond.is_empty() {
            // Nothing waits: an idle channel holds nothing.
            self.blocks = VecDeque::new();
        }
        Some(bytes)
    }

    /// How many bytes were popped: the offset of the next.
    pub const fn read_offset(&self) -> u64 {
        self.read
    }

    /// Everything before this offset was received.
    pub const fn contiguous_end(&self) -> u64 {
        self.contiguous
    }

    /// Whether [`pop`](Self::pop) has something.
    pub const fn is_readable(&self) -> bool {
        self.read < self.contiguous
    }

    /// How many separate pieces wait beyond the first gap.
    pub fn gaps(&self) -> usize {
        self.beyond.len()
    }

    /// Bytes of memory held for data, used or not. At most what lies between the read offset and the highest received one,
    /// rounded up to whole blocks.
    pub fn allocated(&self) -> usize {
        self.blocks.iter().flatten().map(BytesMut::capacity).sum()
    }

    /// Forgets what was not popped, and gives the memory back: nobody wants it any more. Everything up to the highest received
    /// offset counts as popped.
    pub fn discard(&mut self) {
        self.contiguous = self.beyond.last().map_or(self.contiguous, |last| last.end);
        self.read = self.contiguous;
        self.beyond.clear();
        self.blocks = VecDeque::new();
    }

    /// Copies `data` to `range`, of which nothing is there yet.
    fn write(&mut self, range: Range<u64>, mut data: &[u8]) {
        // With nothing else buffered, the usual fate of a piece is to be popped before the next comes: give it what it needs.
        let alone = self.read == self.contiguous && range.start == self.read && self.beyond.is_empty();
        let mut at = range.start;
        while !data.is_empty() {
            let index = (at / BLOCK - self.read / BLOCK) as usize;
            let (start, end) = ((at - at % BLOCK).max(self.read), end_of_block(at));
            let (now, later) = data.split_at_checked((end - at) as usize).unwrap_or((data, &[]));
            if self.blocks.len() <= index {
                self.blocks.resize_with(index + 1, || None);
            }
            if let Some(slot) = self.blocks.get_mut(index) {
                let whole = if alone { now.len() } else { (end - start) as usize };
                let block = slot.get_or_insert_with(|| BytesMut::with_capacity(whole));
                put(block, (at - start) as usize, now, (end - start) as usize);
            }
            at = end;
            data = later;
        }
    }
}

/// The offset at which the block of `offset` ends. Offsets end at 2^62 (RFC 9000 §4.5), so there is always a block end.
const fn end_of_block(offset: u64) -> u64 {
    (offset - offset % BLOCK).saturating_add(BLOCK)
}

/// The part of `data`, which begins at `offset`, that belongs to `range`.
fn piece<'a>(data: &'a [u8], offset: u64, range: &Range<u64>) -> &'a [u8] {
    data.get((range.start - offset) as usize..(range.end - offset) as usize).unwrap_or_default()
}

/// Copies `data` to position `at` of a block that will be `whole` bytes long.
fn put(block: &mut BytesMut, at: usize, data: &[u8], whole: usize) {
    if block.capacity() < at + data.len() {
        // Not `reserve`: that might double, and hold more than a block.
        let mut larger = BytesMut::with_capacity(whole);
        larger.extend_from_slice(block);
        *block = larger;
    }
    if block.len() < at {
        block.resize(at, 0);
    }
    let inside = data.len().min(block.len() - at);
    let (over, after) = data.split_at_checked(inside).unwrap_or((data, &[]));
    if let Some(target) = block.get_mut(at..at + inside) {
        target.copy_from_slice(over);
    }
    block.extend_from_slice(after);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GAPS: usize = 64;

    /// The byte that belongs at `offset`.
    fn byte(offset: u64) -> u8 {
        (offset ^ offset >> 8 ^ offset >> 16) as u8
    }

    fn stream(range: Range<u64>) -> Vec<u8> {
        range.map(byte).collect()
    }

    fn drain(assembler: &mut Assembler) -> Vec<u8> {
        core::iter::from_fn(|| assembler.pop()).flatten().collect()
    }

    #[test]
    fn bytes_in_order_pass_through_and_leave_nothing_behind() {
        let mut assembler = Assembler::new();
        for packet in 0..100 {
            let range = packet * 1200..(packet + 1) * 1200;
            assembler.insert(range.start, &stream(range.clone()), GAPS).unwrap();
            assert!(assembler.allocated() <= 1200, "no more than the packet itself");
            assert_eq!(drain(&mut assembler), stream(range));
            assert_eq!(assembler.allocated(), 0);
        }
    }

    #[test]
    fn a_burst_comes_out_in_whole_blocks() {
        let mut assembler = Assembler::new();
        let all = stream(0..4 * BLOCK);
        for (index, packet) in all.chunks(1200).enumerate() {
            assembler.insert(index as u64 * 1200, packet, GAPS).unwrap();
        }
        let popped: Vec<Bytes> = core::iter::from_fn(|| assembler.pop()).collect();
        assert_eq!(popped.iter().map(Bytes::len).collect::<Vec<_>>(), [BLOCK as usize; 4]);
        assert_eq!(popped.concat(), all);
    }

    #[test]
    fn a_missing_piece_holds_back_what_follows() {
        let mut assembler = Assembler::new();
        assembler.insert(3, b"def", GAPS).unwrap();
        assert_eq!(assembler.pop(), None);
        assert!(!assembler.is_readable());
        assembler.insert(0, b"abc", GAPS).unwrap();
        assert_eq!(drain(&mut assembler), b"abcdef");
    }

    #[test]
    fn the_first_version_of_a_byte_is_the_one_that_counts() {
        let mut assembler = Assembler::new();
        assembler.insert(2, b"cd", GAPS).unwrap();
        assembler.insert(0, b"XXXXXX", GAPS).unwrap();
        assembler.insert(0, b"yyyyyy", GAPS).unwrap();
        assert_eq!(drain(&mut assembler), b"XXcdXX");
        assembler.insert(4, b"zzzz", GAPS).unwrap();
        assert_eq!(drain(&mut assembler), b"zz");
    }

    #[test]
    fn one_gap_too_many_changes_nothing() {
        let mut assembler = Assembler::new();
        for gap in 1..=3 {
            assembler.insert(gap * 10, b"x", 3).unwrap();
        }
        let held = assembler.allocated();
        assert_eq!(assembler.insert(100_000, b"x", 3), Err(TooManyGaps));
        assert_eq!((assembler.gaps(), assembler.allocated()), (3, held));
        // What makes no gap is still welcome: it may be what closes one.
        assert_eq!(assembler.insert(11, b"x", 3), Ok(()));
        assert_eq!(assembler.insert(0, b"0123456789", 3), Ok(()));
        assert_eq!(assembler.gaps(), 2);
        assert_eq!(assembler.insert(100_000, b"x", 3), Ok(()));
    }

    #[test]
    fn bytes_that_are_sent_one_in_two_cost_no_more_than_their_span() {
        let (mut assembler, window) = (Assembler::new(), 64 * BLOCK);
        let refused =
            (0..window / 2).filter(|at| assembler.insert(at * 2 + 1, b"x", max_gaps(window)).is_err()).count();
        assert_eq!(assembler.gaps(), max_gaps(window));
        assert_eq!(refused, window as usize / 2 - max_gaps(window));
        assert!(assembler.allocated() as u64 <= window);
    }

    #[test]
    fn small_pieces_do_not_pin_their_block() {
        let mut assembler = Assembler::new();
        assembler.insert(10, b"early", GAPS).unwrap();
        assembler.insert(0, b"0123456789", GAPS).unwrap();
        let held = assembler.pop().unwrap();
        assert_eq!(held, b"0123456789early"[..]);
        // 15 bytes of a 16 KiB block: the caller holds a copy of its own.
        assert_eq!(assembler.allocated(), 0);
        assert!(held.try_into_mut().is_ok_and(|unshared| unshared.capacity() < 64));
    }

    #[test]
    fn a_block_that_grows_becomes_no_more_than_a_block() {
        let mut assembler = Assembler::new();
        assembler.insert(0, &stream(0..9000), GAPS).unwrap();
        assert_eq!(assembler.allocated(), 9000);
        assembler.insert(9000, &stream(9000..9100), GAPS).unwrap();
        assert_eq!(assembler.allocated() as u64, BLOCK);
        assert_eq!(drain(&mut assembler), stream(0..9100));
    }

    #[test]
    fn discarded_bytes_are_gone_and_do_not_come_back() {
        let mut assembler = Assembler::new();
        assembler.insert(0, b"abc", GAPS).unwrap();
        assembler.insert(10, b"k", GAPS).unwrap();
        assembler.discard();
        assert_eq!((assembler.pop(), assembler.allocated(), assembler.read_offset()), (None, 0, 11));
        assembler.insert(0, b"abcdefghijklm", GAPS).unwrap();
        assert_eq!(drain(&mut assembler), b"lm");
    }

    proptest! {
        #[test]
        fn any_order_repetition_and_overlap_gives_the_stream_back(
            len in 1..5 * BLOCK,
            pieces in prop::collection::vec((any::<prop::sample::Index>(), 1..9000_u64, any::<bool>()), 0..80),
        ) {
            let (mut assembler, mut out, mut highest) = (Assembler::new(), Vec::new(), 0);
            let mut take = |assembler: &mut Assembler, range: Range<u64>, pop: bool| {
                assembler.insert(range.start, &stream(range.clone()), GAPS * 4).unwrap();
                highest = highest.max(range.end);
                let span = (highest - highest % BLOCK + BLOCK) - (assembler.read_offset() - assembler.read_offset() % BLOCK);
                assert!(assembler.allocated() as u64 <= span, "{} in {span}", assembler.allocated());
                if pop {
                    let before = assembler.contiguous_end();
                    out.extend(drain(assembler));
                    assert_eq!(out.len() as u64, before);
                }
            };
            for (start, size, pop) in pieces {
                let start = start.index(len as usize) as u64;
                take(&mut assembler, start..(start + size).min(len), pop);
            }
            for start in (0..len).step_by(1200) {
                take(&mut assembler, start..(start + 1200).min(len), start % 7 == 0);
            }
            out.extend(drain(&mut assembler));
            prop_assert_eq!(out, stream(0..len));
            prop_assert_eq!((assembler.allocated(), assembler.gaps()), (0, 0));
        }
    }
}
