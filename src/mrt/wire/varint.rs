//! Variable-length integers (RFC 9000 §16): one, two, four or eight bytes, the first two bits say which.
//!
//! ```text
//!  00xxxxxx                                 6 bits
//!  01xxxxxx xxxxxxxx                       14 bits
//!  10xxxxxx xxxxxxxx ×3                    30 bits
//!  11xxxxxx xxxxxxxx ×7                    62 bits
//! ```
//!
//! A longer form than needed is allowed when parsing (RFC 9000 §16) and never emitted.

/// The largest value that has a form: 2^62 − 1.
pub const MAX: u64 = (1 << 62) - 1;

/// The bytes that [`put`] appends for `value`.
pub const fn len(value: u64) -> usize {
    match value {
        0..=0x3F => 1,
        0x40..=0x3FFF => 2,
        0x4000..=0x3FFF_FFFF => 4,
        _ => 8,
    }
}

/// Appends the shortest form of `value`.
///
/// A value above [`MAX`] is a mistake of the caller, whatever a peer sent: it fails an assertion in debug builds and is written
/// as [`MAX`] otherwise.
pub fn put(buf: &mut Vec<u8>, value: u64) {
    debug_assert!(value <= MAX, "{value} has no variable-length form");
    let value = value.min(MAX);
    // `as` keeps the low bytes, and the match arm says that the high ones are zero.
    match len(value) {
        1 => buf.push(value as u8),
        2 => buf.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        4 => buf.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => buf.extend_from_slice(&(value | 0xC000_0000_0000_0000).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mrt::wire::Reader;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc_read_as_it_says() {
        // RFC 9000 §A.1.
        for (bytes, value) in [
            (&[0xC2, 0x19, 0x7C, 0x5E, 0xFF, 0x14, 0xE8, 0x8C][..], 151_288_809_941_952_652),
            (&[0x9D, 0x7F, 0x3E, 0x7D], 494_878_333),
            (&[0x7B, 0xBD], 15_293),
            (&[0x25], 37),
        ] {
            let mut written = Vec::new();
            put(&mut written, value);
            assert_eq!(written, bytes);
            assert_eq!(Reader::new(bytes).varint(), Ok(value));
        }
        // The last example is 37 in two bytes: longer than needed, and allowed.
        assert_eq!(Reader::new(&[0x40, 0x25]).varint(), Ok(37));
    }

    #[test]
    fn every_form_ends_where_the_next_begins() {
        for (value, bytes) in
            [(0, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 4), ((1 << 30) - 1, 4), (1 << 30, 8), (MAX, 8)]
        {
            let mut written = Vec::new();
            put(&mut written, value);
            assert_eq!((written.len(), len(value)), (bytes, bytes), "{value}");
            assert_eq!(Reader::new(&written).varint(), Ok(value));
        }
    }

    proptest! {
        #[test]
        fn what_is_put_is_read_back(value in 0..=MAX, shift in 0..62_u32) {
            let value = value >> shift;
            let mut written = Vec::new();
            put(&mut written, value);
            prop_assert_eq!(written.len(), len(value));
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_empty());
        }
    }
}
