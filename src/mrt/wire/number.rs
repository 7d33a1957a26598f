//! Packet numbers: 62 bits in memory, the low 32 on the wire.

use super::varint;
use core::fmt;

/// The number of a DATA packet in one direction of a connection. Counts from 0, is never used twice, and is the nonce it is
/// sealed with. At most 2^62 − 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PacketNumber(pub u64);

impl PacketNumber {
    /// The last number there is. A connection that gets there ends.
    pub const MAX: Self = Self(varint::MAX);

    /// The low 32 bits, which travel in the header.
    pub const fn truncate(self) -> u32 {
        self.0 as u32
    }

    /// The number whose low 32 bits are `truncated` and which is nearest to what is expected next (RFC 9000 §A.3).
    ///
    /// Right as long as fewer than 2^31 packets are in flight; a wrong guess only makes the packet fail to open.
    /// `largest_received` is the largest number that was opened, `None` before the first.
    pub fn expand(truncated: u32, largest_received: Option<Self>) -> Self {
        const WINDOW: u64 = 1 << 32;
        const HALF: u64 = WINDOW / 2;
        // All sums stay below 2^63: the largest is at most 2^62 - 1.
        let expected = largest_received.map_or(0, |largest| largest.0.min(varint::MAX) + 1);
        let candidate = expected & !(WINDOW - 1) | u64::from(truncated);
        let nearest = if candidate + HALF <= expected {
            candidate + WINDOW
        } else if candidate > expected + HALF {
            candidate.checked_sub(WINDOW).unwrap_or(candidate)
        } else {
            candidate
        };
        // There is nothing above the last number, so the one a window below is meant.
        Self(if nearest > varint::MAX { nearest - WINDOW } else { nearest })
    }

    /// The number after this one, `None` after the last.
    pub const fn next(self) -> Option<Self> {
        if self.0 < varint::MAX { Some(Self(self.0 + 1)) } else { None }
    }
}

impl fmt::Display for PacketNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for PacketNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_packets_need_no_history() {
        assert_eq!(PacketNumber::expand(0, None), PacketNumber(0));
        assert_eq!(PacketNumber::expand(7, None), PacketNumber(7));
        // Above the middle of the first window there is still nothing below zero to mean.
        assert_eq!(PacketNumber::expand(u32::MAX, None), PacketNumber(u64::from(u32::MAX)));
    }

    #[test]
    fn numbers_go_on_across_the_32_bit_wrap_in_both_directions() {
        let last = PacketNumber((1 << 32) - 1);
        assert_eq!(PacketNumber::expand(0, Some(last)), PacketNumber(1 << 32));
        // A late packet from before the wrap.
        assert_eq!(PacketNumber::expand(u32::MAX - 5, Some(PacketNumber((1 << 32) + 3))), PacketNumber((1 << 32) - 6));
    }

    #[test]
    fn halfway_between_two_windows_the_later_is_meant() {
        // RFC 9000 §A.3 decides the tie this way: a packet exactly half a window ahead is understood.
        let largest = PacketNumber((1 << 33) + (1 << 31) - 1);
        assert_eq!(PacketNumber::expand(0, Some(largest)), PacketNumber((1 << 33) + (1 << 32)));
    }

    #[test]
    fn the_end_of_the_number_space_is_never_passed() {
        for truncated in [0, 1, u32::MAX / 2, u32::MAX - 1, u32::MAX] {
            for largest in [varint::MAX, varint::MAX - 1, varint::MAX - (1 << 31), u64::MAX] {
                let number = PacketNumber::expand(truncated, Some(PacketNumber(largest)));
                assert!(number <= PacketNumber::MAX);
                assert_eq!(number.truncate(), truncated);
            }
        }
        assert_eq!(PacketNumber::MAX.next(), None);
    }

    proptest! {
        #[test]
        fn any_number_within_half_a_window_survives_truncation(largest in 0..=varint::MAX, distance in -(1_i64 << 31) + 2..(1_i64 << 31)) {
            if let Some(number) = largest.checked_add_signed(distance).filter(|number| *number <= varint::MAX) {
                let number = PacketNumber(number);
                prop_assert_eq!(PacketNumber::expand(number.truncate(), Some(PacketNumber(largest))), number);
            }
        }

        #[test]
        fn expanding_keeps_the_low_bits_and_the_limit(truncated: u32, largest: Option<u64>) {
            let number = PacketNumber::expand(truncated, largest.map(PacketNumber));
            prop_assert!(number <= PacketNumber::MAX);
            prop_assert_eq!(number.truncate(), truncated);
        }
    }
}
