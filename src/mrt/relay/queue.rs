//! What waits in one direction of one flow.

use super::api::RelayCount;
use crate::machine::Ecn;
use std::collections::VecDeque;

/// What a waiting datagram costs besides its bytes.
const OVERHEAD: usize = 64;

/// A datagram on its way through.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) ecn: Ecn,
    pub(crate) bytes: Box<[u8]>,
}

/// One direction: first come, first served, and a tail that is dropped.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Passing>,
    held: usize,
    limit: usize,
    /// Bytes that it may still send in its turn.
    pub(super) deficit: u64,
    /// It is in the middle of its turn.
    pub(super) in_turn: bool,
    pub(super) count: RelayCount,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// A datagram came. Says what it costs; `None`: too much waits, or it would be too much for all (`room`), and it was dropped.
    pub(super) fn push(&mut self, ecn: Ecn, bytes: &[u8], room: usize) -> Option<usize> {
        let cost = bytes.len().saturating_add(OVERHEAD);
        if self.held.saturating_add(cost) > self.limit || cost > room {
            self.drop_one(bytes.len());
            return None;
        }
        self.held += cost;
        self.waiting.push_back(Passing { ecn, bytes: bytes.into() });
        Some(cost)
    }

    /// The first in line, and what it costs.
    pub(super) fn pop(&mut self) -> Option<(Passing, usize)> {
        let passing = self.waiting.pop_front()?;
        let cost = passing.bytes.len().saturating_add(OVERHEAD);
        self.held = self.held.saturating_sub(cost);
        Some((passing, cost))
    }

    /// The size and mark of the first in line.
    pub(super) fn first(&self) -> Option<(usize, Ecn)> {
        self.waiting.front().map(|passing| (passing.bytes.len(), passing.ecn))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What all that waits costs.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// One was passed on.
    pub(super) const fn pass_one(&mut self, bytes: usize) {
        self.count.packets += 1;
        self.count.bytes += bytes as u64;
    }

    /// One was dropped.
    pub(super) const fn drop_one(&mut self, bytes: usize) {
        self.count.dropped_packets += 1;
        self.count.dropped_bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_what_waits_stays() {
        let mut queue = Queue::new(2 * (1000 + OVERHEAD));
        for _ in 0..5 {
            queue.push(Ecn::NotCapable, &[0; 1000], usize::MAX);
        }
        assert_eq!(queue.count, RelayCount { dropped_packets: 3, dropped_bytes: 3000, ..RelayCount::default() });
        assert_eq!(queue.push(Ecn::NotCapable, b"", 0), None, "nor what is too much for all");
        assert_eq!(queue.held(), 2 * (1000 + OVERHEAD));
        while queue.pop().is_some() {}
        assert_eq!((queue.held(), queue.is_empty()), (0, true));
    }
}
