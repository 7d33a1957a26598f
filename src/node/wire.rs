//! The one codec of everything that members say to each other: bincode, with a limit on every length.
//!
//! Only for what comes from an authenticated peer. The limit counts the bytes that a value claims, strings and lists included,
//! before they are allocated: a message of ten bytes cannot ask for a gigabyte.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest encoded message, in bytes: a view of 4096 members with eight addresses each fits.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_MESSAGE_BYTES>> =
    bincode::config::standard().with_limit::<MAX_MESSAGE_BYTES>();

/// Why bytes are not a message. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than `limit` bytes.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// What the caller allows.
        limit: usize,
    },
    /// Not what the type looks like, or it ends too early, or it claims more than the limit.
    #[error("malformed")]
    Malformed,
    /// The value is followed by something else.
    #[error("{0} bytes too many")]
    Trailing(usize),
}

/// The bytes of `value`. Equal values have equal bytes, so they can be signed and hashed.
///
/// Our own types always encode; should one not, the result is empty, which decodes as no message.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).unwrap_or_default()
}

/// The value that `bytes` are, all of them, if they are at most `limit` (and never more than [`MAX_MESSAGE_BYTES`]).
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, WireError> {
    let limit = limit.min(MAX_MESSAGE_BYTES);
    if bytes.len() > limit {
        return Err(WireError::TooLong { limit });
    }
    let (value, used) = bincode::serde::decode_from_slice(bytes, CONFIG).map_err(|_| WireError::Malformed)?;
    match bytes.len().saturating_sub(used) {
        0 => Ok(value),
        more => Err(WireError::Trailing(more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes() {
        let value = ("a line".to_owned(), vec![1u64, 300, u64::MAX], Some([7u8; 32]));
        assert_eq!(decode::<(String, Vec<u64>, Option<[u8; 32]>)>(&encode(&value), 1000), Ok(value));
    }

    #[test]
    fn bytes_after_the_value_are_an_error() {
        let mut bytes = encode(&7u64);
        bytes.push(0);
        assert_eq!(decode::<u64>(&bytes, 1000), Err(WireError::Trailing(1)));
    }

    #[test]
    fn a_short_message_cannot_claim_a_long_text_or_list() {
        // Varint marker 253: eight bytes of length follow. 2^40 bytes are claimed by nine.
        let claim = [253, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(decode::<String>(&claim, 1000), Err(WireError::Malformed));
        assert_eq!(decode::<Vec<u64>>(&claim, 1000), Err(WireError::Malformed));
        assert_eq!(decode::<Vec<String>>(&claim, 1000), Err(WireError::Malformed));
    }

    #[test]
    fn what_is_longer_than_the_limit_is_not_looked_at() {
        assert_eq!(decode::<Vec<u8>>(&encode(&vec![0u8; 100]), 50), Err(WireError::TooLong { limit: 50 }));
    }
}
