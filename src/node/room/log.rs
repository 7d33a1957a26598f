//! The lines in their places, as far as they are kept.

use super::epoch::{ChainHash, Head};
use super::line::Placed;
use std::collections::VecDeque;

/// Lines that are kept, at most.
pub(super) const MAX_LOG_LINES: usize = 1024;

/// Bytes of lines that are kept, at most.
pub(super) const MAX_LOG_BYTES: usize = 4 << 20;

/// Consecutive lines, the newest at the end. The oldest make room.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    lines: VecDeque<Placed>,
    /// What the first line follows.
    before: Head,
    bytes: usize,
}

impl Log {
    /// Nothing is known of what came before `head`.
    pub(super) fn starting_at(head: Head) -> Self {
        Self { lines: VecDeque::new(), before: head, bytes: 0 }
    }

    /// The oldest place that is kept; the one after the last, if none is.
    pub(super) const fn oldest(&self) -> u64 {
        self.before.seq.saturating_add(1)
    }

    /// The last line.
    pub(super) fn head(&self) -> Head {
        self.lines.back().map_or(self.before, |line| line.head)
    }

    /// Takes a line if it comes directly after the last; else nothing changes.
    pub(super) fn push(&mut self, placed: Placed) -> bool {
        if !placed.follows(self.head()) {
            return false;
        }
        self.bytes += placed.line.bytes();
        self.lines.push_back(placed);
        while self.lines.len() > MAX_LOG_LINES || self.bytes > MAX_LOG_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.line.bytes();
            self.before = oldest.head;
        }
        true
    }

    /// The line in that place, if it is kept.
    pub(super) fn get(&self, seq: u64) -> Option<&Placed> {
        let index = seq.checked_sub(self.before.seq)?.checked_sub(1)?;
        self.lines.get(usize::try_from(index).ok()?)
    }

    /// The hash over everything up to that place, if it is known.
    pub(super) fn chain_at(&self, seq: u64) -> Option<ChainHash> {
        if seq == self.before.seq { Some(self.before.chain) } else { self.get(seq).map(|placed| placed.head.chain) }
    }

    /// The lines from `seq` on, or from the oldest that is kept.
    pub(super) fn since(&self, seq: u64) -> impl Iterator<Item = &Placed> + '_ {
        let skip = seq.saturating_sub(self.before.seq.saturating_add(1));
        self.lines.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// Forgets what comes after `last`; everything, if that lies before what is kept, or in another order than this.
    pub(super) fn truncate(&mut self, last: Head) {
        while self.lines.back().is_some_and(|line| line.head.seq > last.seq) {
            if let Some(line) = self.lines.pop_back() {
                self.bytes -= line.line.bytes();
            }
        }
        let end = self.head();
        if end.seq > last.seq || (end.seq == last.seq && end.chain != last.chain) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::epoch::{Epoch, RoomId};
    use super::super::line::{Line, LineId, Saying, Voice};
    use super::*;
    use crate::node::identity::Identity;

    fn say(log: &Log, text: &str) -> Placed {
        let identity = Identity::from_seed(&[1; 32]);
        let epoch = Epoch { counter: 1, supernode: identity.id() };
        let voice = Voice { author: identity.id(), start: 1 };
        let id = LineId { voice, counter: log.head().seq + 1 };
        let saying =
            Saying { room: RoomId([0; 16]), id, previous: ChainHash::default(), time: 0, text: text.to_owned() };
        Placed::place(&identity, epoch, log.head(), Line::sign(&identity, saying))
    }

    #[test]
    fn the_oldest_lines_make_room_by_number_and_by_size() {
        let mut log = Log::default();
        for _ in 0..MAX_LOG_LINES + 10 {
            let line = say(&log, "x");
            assert!(log.push(line));
        }
        assert_eq!((log.lines.len(), log.before.seq, log.head().seq), (MAX_LOG_LINES, 10, MAX_LOG_LINES as u64 + 10));
        let long = "y".repeat(16 << 10);
        for _ in 0..400 {
            let line = say(&log, &long);
            assert!(log.push(line));
        }
        assert!(log.lines.len() * (16 << 10) <= MAX_LOG_BYTES);
    }

    #[test]
    fn only_what_follows_is_taken_and_what_is_cut_off_can_come_again() {
        let mut log = Log::default();
        let first = say(&log, "a");
        assert!(log.push(first.clone()));
        assert!(!log.push(first.clone()));
        let second = say(&log, "b");
        assert!(log.push(second.clone()));
        log.truncate(first.head);
        assert_eq!(log.head(), first.head);
        assert_eq!(log.chain_at(1), Some(first.head.chain));
        assert!(log.get(2).is_none() && log.get(0).is_none());
        assert!(log.push(second.clone()));
        assert_eq!(log.since(2).count(), 1);
        log.truncate(Head { chain: ChainHash([9; 32]), ..second.head });
        assert_eq!(log.head(), Head::default(), "the same number in another order is not the same place");
    }
}
