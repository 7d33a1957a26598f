//! What goes over a bulk channel: one question, and its answer.
//!
//! ```text
//!   asker  →  hash (32) | start (8) | end (8)   big-endian, then the channel's end
//!   holder →  the slice as bao encodes it, then the channel's end; or a reset with a code
//! ```

use crate::node::disk::{ByteRange, CHUNK_GROUP, MAX_SLICE};
use crate::node::files::FileHash;

/// Bytes of file that one question may ask for.
pub const MAX_RANGE: u64 = MAX_SLICE;

/// Bytes of a question.
pub(super) const ASK_LEN: usize = 48;

/// Why a holder resets the channel.
pub(super) mod code {
    /// The asker is no member of the holder's room.
    pub(in crate::node) const NOT_A_MEMBER: u32 = 1;
    /// The holder does not offer that.
    pub(in crate::node) const NOT_HELD: u32 = 2;
    /// The question makes no sense.
    pub(in crate::node) const BAD_QUESTION: u32 = 3;
    /// Too many questions wait: ask again later.
    pub(in crate::node) const BUSY: u32 = 4;
    /// The holder's disk would not give it.
    pub(in crate::node) const UNREADABLE: u32 = 5;
    /// Whoever resets lost interest.
    pub(in crate::node) const NOT_WANTED: u32 = 6;
}

/// A question for a range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which content.
    pub hash: FileHash,
    /// Which bytes.
    pub range: ByteRange,
}

impl Ask {
    /// As it goes over the wire.
    pub fn emit(&self) -> [u8; ASK_LEN] {
        let mut bytes = [0; ASK_LEN];
        let (hash, range) = bytes.split_at_mut(32);
        hash.copy_from_slice(&self.hash.0);
        let (start, end) = range.split_at_mut(8);
        start.copy_from_slice(&self.range.start.to_be_bytes());
        end.copy_from_slice(&self.range.end.to_be_bytes());
        bytes
    }

    /// The question in `bytes`, if it is one that may be asked at all: whole chunk groups, at most [`MAX_RANGE`].
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_first_chunk::<32>()?;
        let (start, rest) = rest.split_first_chunk::<8>()?;
        let end = rest.first_chunk::<8>()?;
        let range = ByteRange { start: u64::from_be_bytes(*start), end: u64::from_be_bytes(*end) };
        let length = range.end.checked_sub(range.start)?;
        let fits =
            bytes.len() == ASK_LEN && (1..=MAX_RANGE).contains(&length) && range.start.is_multiple_of(CHUNK_GROUP);
        fits.then_some(Self { hash: FileHash(*hash), range })
    }

    /// Whether a file of `size` bytes has this range, cut where a chunk group ends or the file does.
    pub const fn is_within(&self, size: u64) -> bool {
        self.range.end == size || (self.range.end < size && self.range.end.is_multiple_of(CHUNK_GROUP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_asked_is_what_is_read(hash: [u8; 32], group in 0u64..1 << 40, length in 1..=MAX_RANGE) {
            let start = group * CHUNK_GROUP;
            let ask = Ask { hash: FileHash(hash), range: ByteRange { start, end: start + length } };
            prop_assert_eq!(Ask::parse(&ask.emit()), Some(ask));
        }

        #[test]
        fn no_bytes_make_it_panic_or_pass_a_range_that_is_too_long(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(ask) = Ask::parse(&bytes) {
                prop_assert!(ask.range.end - ask.range.start <= MAX_RANGE);
            }
        }
    }

    #[test]
    fn nonsense_is_no_question() {
        let ask = |start, end| Ask { hash: FileHash([1; 32]), range: ByteRange { start, end } }.emit();
        assert_eq!(Ask::parse(&ask(0, 0)), None, "nothing");
        assert_eq!(Ask::parse(&ask(CHUNK_GROUP, 0)), None, "backwards");
        assert_eq!(Ask::parse(&ask(1, CHUNK_GROUP)), None, "inside a chunk group");
        assert_eq!(Ask::parse(&ask(0, MAX_RANGE + 1)), None, "too much");
        assert_eq!(Ask::parse(&ask(0, u64::MAX)), None, "far too much");
        assert!(
            !Ask { hash: FileHash([1; 32]), range: ByteRange { start: 0, end: 5 } }.is_within(6),
            "ends inside a group"
        );
    }
}
