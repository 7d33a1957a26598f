//! The numbers of a connection's packets, over all its paths: what was sent, and what was left out on purpose.

use core::ops::RangeInclusive;
use std::collections::VecDeque;

/// Deliberately skipped numbers that are remembered. One is enough to catch a peer that acknowledges what it has not received;
/// eight let the caller skip often.
pub const MAX_SKIPPED: usize = 8;

/// The peer acknowledged a packet that was never sent: it lies about what it received (RFC 9000 §13.1, §21.4). The connection is
/// to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packet {0} was acknowledged but never sent")]
pub struct AckOfUnsent(pub u64);

/// Which numbers were sent.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Numbers from here on were never sent.
    next: u64,
    skipped: VecDeque<u64>,
}

impl Numbers {
    /// The number of the next packet.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// A packet with the next number left.
    pub const fn on_sent(&mut self) {
        self.next += 1;
    }

    /// The next number is deliberately never sent: an ACK of it is [`AckOfUnsent`], so that a peer cannot acknowledge blindly
    /// (RFC 9000 §21.4).
    pub fn skip(&mut self) {
        if self.skipped.len() >= MAX_SKIPPED {
            self.skipped.pop_front();
        }
        self.skipped.push_back(self.next);
        self.next += 1;
    }

    /// Whether everything that an ACK names was sent.
    pub fn check(&self, ranges: impl Iterator<Item = RangeInclusive<u64>>) -> Result<(), AckOfUnsent> {
        for range in ranges {
            if range.is_empty() {
                continue;
            }
            if *range.end() >= self.next {
                return Err(AckOfUnsent(*range.end()));
            }
            if let Some(number) = self.skipped.iter().find(|number| range.contains(number)) {
                return Err(AckOfUnsent(*number));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u64) -> Numbers {
        let mut numbers = Numbers::default();
        (0..count).for_each(|_| numbers.on_sent());
        numbers
    }

    #[test]
    fn a_peer_that_acknowledges_the_future_is_caught() {
        let numbers = sent(5);
        assert_eq!(numbers.check([0..=4].into_iter()), Ok(()));
        assert_eq!(numbers.check([0..=5].into_iter()), Err(AckOfUnsent(5)));
        assert_eq!(numbers.check([0..=u64::MAX].into_iter()), Err(AckOfUnsent(u64::MAX)));
    }

    #[test]
    fn a_peer_that_acknowledges_a_skipped_number_is_caught_even_long_after() {
        let mut numbers = sent(3);
        numbers.skip();
        (0..96).for_each(|_| numbers.on_sent());
        assert_eq!(numbers.check([4..=99, 0..=2].into_iter()), Ok(()));
        assert_eq!(numbers.check([0..=99].into_iter()), Err(AckOfUnsent(3)));
    }

    #[test]
    fn no_more_than_eight_skipped_numbers_are_remembered() {
        let mut numbers = Numbers::default();
        (0..1000).for_each(|_| numbers.skip());
        assert_eq!(numbers.skipped.len(), MAX_SKIPPED);
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "a hostile ACK")]
    fn an_empty_range_names_nothing() {
        assert_eq!(sent(5).check([9..=8].into_iter()), Ok(()));
    }
}
