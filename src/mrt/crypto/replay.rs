//! The replay window: every packet number is accepted once.

use crate::mrt::wire::PacketNumber;
use std::collections::VecDeque;

/// How many numbers are remembered, the largest received included. Older packets count as replayed: to be taken for a copy by
/// mistake, a full-size packet would have to be overtaken by about 10 MB of others.
pub const WINDOW: u64 = 8192;

/// Numbers in one word of the bitmap.
const WORD: u64 = 64;

/// Words besides the newest, at most: enough that the window is covered wherever in its word the largest number is.
const MAX_OLDER: usize = (WINDOW / WORD) as usize;

/// Which packet numbers were received: a bitmap that moves on by whole words (RFC 6479), so that nothing is shifted.
///
/// The newest word is part of the struct, older ones come into being as numbers pass them: a connection of fewer than 64 packets
/// allocates nothing, any other at most 1 KiB.
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    /// The word that `largest` lies in. Zero as long as nothing was received.
    newest: u64,
    /// The words before it, the newest last.
    older: VecDeque<u64>,
    largest: u64,
}

impl ReplayWindow {
    /// Nothing was received.
    pub const fn new() -> Self {
        Self { newest: 0, older: VecDeque::new(), largest: 0 }
    }

    /// The largest number received.
    pub const fn largest(&self) -> Option<PacketNumber> {
        if self.newest == 0 { None } else { Some(PacketNumber(self.largest)) }
    }

    /// Whether a packet of this number is neither a copy nor older than the window.
    pub fn is_fresh(&self, number: PacketNumber) -> bool {
        if self.newest == 0 || number.0 > self.largest {
            return true;
        }
        if self.largest - number.0 >= WINDOW {
            return false;
        }
        let word = match self.words_back(number) {
            0 => self.newest,
            // Words that are not there lie below the first number that was ever received, and nothing of them was.
            back => self.older_index(back).and_then(|index| self.older.get(index)).copied().unwrap_or(0),
        };
        word & bit(number) == 0
    }

    /// Remembers a number. To be called once its packet is known to be authentic; without effect if it is not
    /// [fresh](Self::is_fresh).
    pub fn record(&mut self, number: PacketNumber) {
        if !self.is_fresh(number) {
            return;
        }
        if number.0 / WORD > self.largest / WORD {
            self.advance(number.0 / WORD - self.largest / WORD);
        }
        self.largest = self.largest.max(number.0);
        match self.words_back(number) {
            0 => self.newest |= bit(number),
            back => {
                if let Some(word) = self.older_index(back).and_then(|index| self.older.get_mut(index)) {
                    *word |= bit(number);
                }
            }
        }
    }

    /// Begins the word that is `words` after the newest.
    fn advance(&mut self, words: u64) {
        let newest = core::mem::take(&mut self.newest);
        self.push_older(newest);
        for _ in 1..words.min(MAX_OLDER as u64 + 1) {
            self.push_older(0);
        }
    }

    fn push_older(&mut self, word: u64) {
        if self.older.len() == MAX_OLDER {
            self.older.pop_front();
        }
        self.older.push_back(word);
    }

    /// How many words before the newest the one of `number` is.
    const fn words_back(&self, number: PacketNumber) -> u64 {
        (self.largest / WORD).saturating_sub(number.0 / WORD)
    }

    fn older_index(&self, words_back: u64) -> Option<usize> {
        self.older.len().checked_sub(usize::try_from(words_back).ok()?)
    }
}

const fn bit(number: PacketNumber) -> u64 {
    1 << (number.0 % WORD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_packet_is_fresh_once() {
        let mut window = ReplayWindow::new();
        assert_eq!(window.largest(), None);
        for number in [0, 5, 3, 64, 63, 8000] {
            let number = PacketNumber(number);
            assert!(window.is_fresh(number));
            window.record(number);
            assert!(!window.is_fresh(number));
        }
        assert_eq!(window.largest(), Some(PacketNumber(8000)));
        assert!(window.is_fresh(PacketNumber(4)));
    }

    #[test]
    fn what_is_older_than_the_window_is_not_fresh() {
        // Wherever in its word the largest number is.
        for largest in WINDOW..WINDOW + 2 * WORD {
            let mut window = ReplayWindow::new();
            window.record(PacketNumber(0));
            window.record(PacketNumber(largest));
            assert!(!window.is_fresh(PacketNumber(largest - WINDOW)));
            assert!(window.is_fresh(PacketNumber(largest - WINDOW + 1)));
            window.record(PacketNumber(largest - WINDOW + 1));
            assert!(!window.is_fresh(PacketNumber(largest - WINDOW + 1)));
        }
    }

    #[test]
    fn a_leap_past_the_window_leaves_nothing_of_the_old_behind() {
        for words in MAX_OLDER as u64 - 1..MAX_OLDER as u64 + 3 {
            let mut window = ReplayWindow::new();
            (0..WORD).for_each(|number| window.record(PacketNumber(number)));
            let largest = words * WORD;
            window.record(PacketNumber(largest));
            for number in largest.saturating_sub(WINDOW - 1)..largest {
                assert_eq!(window.is_fresh(PacketNumber(number)), number >= WORD, "{number} after {largest}");
            }
        }
    }

    #[test]
    fn memory_stays_within_its_bounds() {
        let mut window = ReplayWindow::new();
        (0..64).for_each(|number| window.record(PacketNumber(number)));
        assert_eq!(window.older.capacity(), 0, "64 packets need no allocation");
        window.record(PacketNumber::MAX);
        (0..100_000).for_each(|number| window.record(PacketNumber(number * 97)));
        assert_eq!(window.older.capacity(), MAX_OLDER);
        let mut window = ReplayWindow::new();
        (0..100_000).for_each(|number| window.record(PacketNumber(number)));
        assert_eq!(window.older.len(), MAX_OLDER);
        assert_eq!(window.older.capacity(), MAX_OLDER);
    }

    #[test]
    fn the_first_number_may_be_any() {
        let mut window = ReplayWindow::new();
        window.record(PacketNumber(1_000_000));
        assert!(window.is_fresh(PacketNumber(999_000)));
        window.record(PacketNumber(999_000));
        assert!(!window.is_fresh(PacketNumber(999_000)));
    }

    /// Mostly forward, sometimes back, rarely far.
    fn steps() -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(
            prop_oneof![8 => -3..8_i64, 4 => -200..200_i64, 2 => -9000..9000_i64, 1 => 0..1_000_000_i64],
            1..200,
        )
    }

    proptest! {
        #[test]
        fn the_window_does_what_a_list_of_all_numbers_does(steps in steps()) {
            let (mut window, mut seen) = (ReplayWindow::new(), BTreeSet::new());
            let mut at = 0_u64;
            for step in steps {
                at = at.saturating_add_signed(step);
                let largest = seen.last().copied();
                let fresh = !seen.contains(&at) && largest.is_none_or(|largest| at + WINDOW > largest);
                prop_assert_eq!(window.is_fresh(PacketNumber(at)), fresh);
                window.record(PacketNumber(at));
                if fresh {
                    seen.insert(at);
                }
                prop_assert_eq!(window.largest().map(|number| number.0), seen.last().copied());
                prop_assert!(window.older.len() <= MAX_OLDER);
            }
        }
    }
}
