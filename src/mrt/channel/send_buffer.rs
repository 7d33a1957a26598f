//! The sending side of a channel: what was pushed and is not acknowledged yet, and what of it is to be sent next.

use crate::mrt::ranges::RangeSet;
use bytes::Bytes;
use core::ops::Range;
use std::collections::VecDeque;

/// A run of bytes to be sent in one CHAN frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where in the channel it begins.
    pub offset: u64,
    /// How many bytes; 0 if only the end of the channel is to be told.
    pub len: usize,
    /// Whether the channel ends after it.
    pub fin: bool,
    /// Whether it was sent before. Only chunks that were not take credit.
    pub retransmit: bool,
}

/// Holds a channel's bytes from push to acknowledgement.
///
/// ```text
///       acked          unsent        end
///  ───────┼──────┬─────┬──┼───────────┤
///  freed  │ sent │ lost│  │ not sent  │  pushed
/// ```
///
/// Nothing is copied until it goes into a packet. What is lost goes out again before what is new. Memory is given back piece by
/// piece as pushed, when all of a piece and of those before it is acknowledged.
#[derive(Debug, Default)]
pub struct SendBuffer {
    /// Each piece with the offset of its first byte. The first contains `acked`, unless that is `end`.
    pieces: VecDeque<(u64, Bytes)>,
    /// Everything before is acknowledged.
    acked: u64,
    /// What is acknowledged after `acked`; never touches it.
    acked_beyond: RangeSet,
    /// What was sent, is taken for lost, and is to be sent again. Nothing of it is acknowledged.
    lost: RangeSet,
    /// Everything from here on was never sent.
    unsent: u64,
    end: u64,
    fin: Fin,
}

/// How far the news is that the channel ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Fin {
    /// More may be pushed.
    #[default]
    Open,
    /// To be sent, for the first time.
    Unsent,
    /// Under way.
    Sent,
    /// To be sent again.
    Lost,
    /// Arrived.
    Acked,
}

impl SendBuffer {
    /// At the beginning of a channel.
    pub const fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            acked: 0,
            acked_beyond: RangeSet::new(),
            lost: RangeSet::new(),
            unsent: 0,
            end: 0,
            fin: Fin::Open,
        }
    }

    /// Takes bytes. After [`finish`](Self::finish) they are a mistake of the caller: an assertion fails in debug builds, and they
    /// are dropped otherwise.
    pub fn push(&mut self, data: Bytes) {
        debug_assert!(self.fin == Fin::Open, "pushed after the end");
        if data.is_empty() || self.fin != Fin::Open {
            return;
        }
        let start = self.end;
        self.end = self.end.saturating_add(data.len() as u64);
        self.pieces.push_back((start, data));
    }

    /// There will be no more. Harmless when repeated.
    pub fn finish(&mut self) {
        if self.fin == Fin::Open {
            self.fin = Fin::Unsent;
        }
    }

    /// What to send next: at most `max_len` bytes, what is lost first, new bytes only below `limit`, the channel's credit. Counts
    /// as sent from then on.
    pub fn next(&mut self, max_len: usize, limit: u64) -> Option<Chunk> {
        let (range, retransmit) = if let Some(lost) = self.lost.first() {
            let range = at_most(lost, max_len)?;
            self.lost.remove(range.clone());
            (range, true)
        } else if self.unsent < self.end.min(limit) {
            let range = at_most(self.unsent..self.end.min(limit), max_len)?;
            self.unsent = range.end;
            (range, false)
        } else if self.fin_is_due() {
            (self.end..self.end, self.fin == Fin::Lost)
        } else {
            return None;
        };
        let fin = range.end == self.end && !matches!(self.fin, Fin::Open | Fin::Acked);
        if fin {
            self.fin = Fin::Sent;
        }
        Some(Chunk { offset: range.start, len: (range.end - range.start) as usize, fin, retransmit })
    }

    /// Appends bytes to a packet. Bytes of a [`Chunk`] are there until they are acknowledged; others that are not there any more
    /// or not yet are left out.
    pub fn copy_to(&self, offset: u64, len: usize, buf: &mut Vec<u8>) {
        let end = offset.saturating_add(len as u64);
        let first = self.pieces.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        for (start, piece) in self.pieces.range(first..) {
            if *start >= end {
                break;
            }
            let from = offset.saturating_sub(*start).min(piece.len() as u64) as usize;
            let to = (end - start).min(piece.len() as u64) as usize;
            buf.extend_from_slice(piece.get(from..to).unwrap_or_default());
        }
    }

    /// A packet with these bytes, and with the end of the channel if `fin`, arrived. Returns how many of the bytes were not known
    /// to have arrived.
    pub fn on_acked(&mut self, range: Range<u64>, fin: bool) -> u64 {
        if fin && self.fin != Fin::Open {
            self.fin = Fin::Acked;
        }
        let range = range.start.max(self.acked)..range.end.min(self.unsent);
        if range.is_empty() {
            return 0;
        }
        if !self.lost.is_empty() {
            self.lost.remove(range.clone());
        }
        if range.start > self.acked {
            let newly = self.acked_beyond.gaps(range.clone()).map(|gap| gap.end - gap.start).sum();
            self.acked_beyond.insert(range);
            return newly;
        }
        let newly = self.acked_beyond.gaps(range.clone()).map(|gap| gap.end - gap.start).sum();
        self.acked = range.end;
        while let Some(next) = self.acked_beyond.first().filter(|next| next.start <= self.acked) {
            self.acked = self.acked.max(next.end);
            self.acked_beyond.pop_first();
        }
        while self.pieces.front().is_some_and(|(start, piece)| start + piece.len() as u64 <= self.acked) {
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            // An idle channel holds nothing.
            self.pieces = VecDeque::new();
        }
        newly
    }

    /// A packet with these bytes, and with the end of the channel if `fin`, is taken for lost. What of it arrived otherwise is not
    /// sent again.
    pub fn on_lost(&mut self, range: Range<u64>, fin: bool) {
        if fin && self.fin == Fin::Sent {
            self.fin = Fin::Lost;
        }
        let range = range.start.max(self.acked)..range.end.min(self.unsent);
        if range.is_empty() {
            return;
        }
        for gap in self.acked_beyond.gaps(range) {
            self.lost.insert(gap);
        }
    }

    /// Nothing of it is to be sent any more: what was pushed is dropped, and its memory given back. Where it stopped stays known.
    pub fn abandon(&mut self) {
        self.pieces = VecDeque::new();
        self.acked_beyond.clear();
        self.lost.clear();
        (self.acked, self.end) = (self.unsent, self.unsent);
    }

    /// Whether everything arrived, the end included.
    pub fn is_complete(&self) -> bool {
        self.fin == Fin::Acked && self.acked == self.end
    }

    /// Whether [`next`](Self::next) has something under this `limit`.
    pub fn has_pending(&self, limit: u64) -> bool {
        !self.lost.is_empty() || self.unsent < self.end.min(limit) || self.fin_is_due()
    }

    /// Bytes from the first that is not acknowledged to the last that was pushed.
    pub fn len(&self) -> usize {
        usize::try_from(self.end - self.acked).unwrap_or(usize::MAX)
    }

    /// Whether all bytes are acknowledged. The end of the channel may still be under way.
    pub const fn is_empty(&self) -> bool {
        self.acked == self.end
    }

    /// The offset after the last byte that was pushed.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the first byte that was never sent.
    pub const fn first_unsent(&self) -> u64 {
        self.unsent
    }

    /// Whether [`finish`](Self::finish) was called.
    pub fn is_finished(&self) -> bool {
        self.fin != Fin::Open
    }

    fn fin_is_due(&self) -> bool {
        self.unsent == self.end && matches!(self.fin, Fin::Unsent | Fin::Lost)
    }
}

/// The first `max_len` of `range`, `None` if that is none.
fn at_most(range: Range<u64>, max_len: usize) -> Option<Range<u64>> {
    let end = range.end.min(range.start.saturating_add(max_len as u64));
    (range.start < end).then_some(range.start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(offset: u64, len: usize, fin: bool, retransmit: bool) -> Option<Chunk> {
        Some(Chunk { offset, len, fin, retransmit })
    }

    fn copied(buffer: &SendBuffer, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        buffer.copy_to(offset, len, &mut bytes);
        bytes
    }

    fn with(data: &'static [u8]) -> SendBuffer {
        let mut buffer = SendBuffer::new();
        buffer.push(Bytes::from_static(data));
        buffer
    }

    #[test]
    fn chunks_cross_the_pieces_that_were_pushed() {
        let mut buffer = with(b"abc");
        buffer.push(Bytes::new());
        buffer.push(Bytes::from_static(b"d"));
        buffer.push(Bytes::from_static(b"efgh"));
        assert_eq!(buffer.next(6, 100), chunk(0, 6, false, false));
        assert_eq!(copied(&buffer, 0, 6), b"abcdef");
        assert_eq!(buffer.next(6, 100), chunk(6, 2, false, false));
        assert_eq!(copied(&buffer, 3, 5), b"defgh");
        assert_eq!(copied(&buffer, 7, 9), b"h");
        assert_eq!(buffer.next(6, 100), None);
    }

    #[test]
    fn nothing_new_is_sent_beyond_the_credit_but_what_is_lost_is() {
        let mut buffer = with(b"abcdef");
        buffer.finish();
        assert_eq!(buffer.next(100, 4), chunk(0, 4, false, false));
        assert!(!buffer.has_pending(4));
        assert_eq!(buffer.next(100, 4), None, "the end waits for the bytes before it");
        buffer.on_lost(0..4, false);
        assert!(buffer.has_pending(4));
        assert_eq!(buffer.next(100, 0), chunk(0, 4, false, true));
        assert_eq!(buffer.next(100, 6), chunk(4, 2, true, false));
    }

    #[test]
    fn what_arrived_is_not_sent_again() {
        let mut buffer = with(b"abcdefgh");
        buffer.next(100, 100);
        assert_eq!(buffer.on_acked(2..4, false), 2);
        buffer.on_lost(0..8, false);
        assert_eq!(buffer.next(100, 100), chunk(0, 2, false, true));
        // A copy that was thought lost arrives while it waits to be sent again.
        assert_eq!(buffer.on_acked(3..6, false), 2);
        assert_eq!(buffer.next(100, 100), chunk(6, 2, false, true));
        assert_eq!(buffer.next(100, 100), None);
    }

    #[test]
    fn memory_goes_with_the_acknowledged_beginning() {
        let mut buffer = with(b"abc");
        buffer.push(Bytes::from_static(b"def"));
        buffer.next(100, 100);
        assert_eq!(buffer.on_acked(3..6, false), 3);
        assert_eq!((buffer.len(), buffer.pieces.len()), (6, 2));
        assert_eq!(buffer.on_acked(0..3, false), 3);
        assert_eq!((buffer.len(), buffer.pieces.capacity()), (0, 0));
        assert_eq!(buffer.on_acked(0..6, false), 0, "a second acknowledgement says nothing");
    }

    #[test]
    fn the_end_travels_alone_if_it_has_to() {
        let mut buffer = with(b"ab");
        assert_eq!(buffer.next(100, 2), chunk(0, 2, false, false));
        buffer.finish();
        assert_eq!(buffer.next(0, 2), chunk(2, 0, true, false), "it takes neither room nor credit");
        assert_eq!(buffer.next(100, 2), None);
        buffer.on_lost(2..2, true);
        assert_eq!(buffer.next(100, 2), chunk(2, 0, true, true));
        buffer.on_acked(2..2, true);
        assert!(!buffer.is_complete());
        buffer.on_acked(0..2, false);
        assert!(buffer.is_complete());
        buffer.on_lost(0..2, true);
        assert!(!buffer.has_pending(100), "late news of a loss changes nothing");
    }

    #[test]
    fn a_lost_tail_takes_the_end_with_it() {
        let mut buffer = with(b"ab");
        buffer.finish();
        assert_eq!(buffer.next(100, 2), chunk(0, 2, true, false));
        buffer.on_lost(0..2, true);
        assert_eq!(buffer.next(1, 2), chunk(0, 1, false, true));
        assert_eq!(buffer.next(1, 2), chunk(1, 1, true, true));
        assert_eq!(buffer.next(1, 2), None);
    }

    #[test]
    fn an_empty_channel_is_complete_when_its_end_arrived() {
        let mut buffer = SendBuffer::new();
        assert!(!buffer.has_pending(0));
        buffer.finish();
        assert_eq!(buffer.next(100, 0), chunk(0, 0, true, false));
        buffer.on_acked(0..0, true);
        assert!(buffer.is_complete());
    }

    proptest! {
        #[test]
        fn any_schedule_of_losses_delivers_every_byte_and_ends(
            pushes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            fates in prop::collection::vec((0..6_u8, 0..400_usize, any::<prop::sample::Index>()), 0..300),
        ) {
            let (mut buffer, all) = (SendBuffer::new(), pushes.concat());
            let mut pushes = pushes.into_iter();
            let (mut flying, mut received, mut have, mut got_fin): (Vec<Chunk>, _, _, _) =
                (Vec::new(), vec![0; all.len()], RangeSet::new(), false);
            let mut limit = 0;
            let range = |chunk: &Chunk| chunk.offset..chunk.offset + chunk.len as u64;
            let mut acked_in_all = 0;
            // After the walk, whatever is under way arrives, until nothing is left to be sent.
            let walk = fates.into_iter().map(Some).chain(core::iter::repeat_n(None, 20_000));
            for fate in walk {
                match pushes.next() {
                    Some(data) => buffer.push(data.into()),
                    None => buffer.finish(),
                }
                limit = if fate.is_none() { u64::MAX } else { limit + 37 };
                let (kind, size, which) = fate.map_or((9, 500, None), |(kind, size, which)| (kind, size, Some(which)));
                let pending = buffer.has_pending(limit);
                match buffer.next(size, limit) {
                    Some(chunk) => {
                        prop_assert!(pending && chunk.len <= size);
                        prop_assert!(chunk.retransmit || chunk.offset + chunk.len as u64 <= limit);
                        let bytes = copied(&buffer, chunk.offset, chunk.len);
                        prop_assert_eq!(bytes.len(), chunk.len);
                        let (from, to) = (chunk.offset as usize, chunk.offset as usize + chunk.len);
                        if kind >= 2 {
                            received[from..to].copy_from_slice(&bytes);
                            have.insert(range(&chunk));
                            got_fin |= chunk.fin;
                        }
                        flying.push(chunk);
                    }
                    None => prop_assert!(!pending || size == 0),
                }
                if flying.is_empty() {
                    if buffer.is_complete() { break } else { continue }
                }
                let which = which.map_or(0, |which| which.index(flying.len()));
                // An acknowledgement is only ever for what arrived; a loss may be declared of anything.
                let arrived = have.contains_range(&range(&flying[which])) && (got_fin || !flying[which].fin);
                match kind {
                    0 | 2 => {
                        let chunk = flying.swap_remove(which);
                        buffer.on_lost(range(&chunk), chunk.fin);
                    }
                    3.. => {
                        let chunk = flying.swap_remove(which);
                        if arrived {
                            acked_in_all += buffer.on_acked(range(&chunk), chunk.fin);
                        } else {
                            buffer.on_lost(range(&chunk), chunk.fin);
                        }
                    }
                    _ => {}
                }
            }
            prop_assert!(buffer.is_complete() && got_fin);
            prop_assert_eq!((received, acked_in_all), (all.clone(), all.len() as u64));
            prop_assert_eq!((buffer.len(), buffer.end(), buffer.pieces.len()), (0, all.len() as u64, 0));
        }
    }
}
