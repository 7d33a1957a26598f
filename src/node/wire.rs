//! The one codec of everything that members say to each other: bincode, with a limit on every length.
//!
//! Only for what comes from an authenticated peer. The limit counts the bytes that a value claims, strings and lists included,
//! before they are allocated: a message of ten bytes cannot ask for a gigabyte.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use core::fmt;
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// The largest encoded message, in bytes: a view of 4096 members with eight addresses each fits.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_MESSAGE_BYTES>> =
    bincode::config::standard().with_limit::<MAX_MESSAGE_BYTES>();

/// A value that is encoded once and sent to many: a copy is another hand on the same bytes. What came from a peer is decoded when it is
/// looked at, and may be anything.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded(Arc<[u8]>);

impl Encoded {
    /// The bytes of `value`.
    pub fn new<T: Serialize>(value: &T) -> Self {
        Self(encode(value).into())
    }

    /// The value that they are.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, WireError> {
        decode(&self.0, MAX_MESSAGE_BYTES)
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Encoded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Encoded, E> {
                Ok(Encoded(bytes.into()))
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Encoded, E> {
                Ok(Encoded(bytes.into()))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

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
    fn what_is_encoded_once_is_bytes_within_a_message_and_bounded_like_them() {
        let message = (7u8, Encoded::new(&"hello"));
        let bytes = encode(&message);
        let back: (u8, Encoded) = decode(&bytes, 100).unwrap();
        assert_eq!(back, message);
        assert_eq!(back.1.decode::<String>(), Ok("hello".to_owned()));
        assert_eq!(back.1.decode::<u64>(), Err(WireError::Trailing(5)));
        // Two to the fortieth are claimed, one follows.
        let claim = [7, 253, 0, 0, 0, 0, 0, 1, 0, 0, 9];
        assert_eq!(decode::<(u8, Encoded)>(&claim, 100), Err(WireError::Malformed));
    }

    #[test]
    fn what_is_longer_than_the_limit_is_not_looked_at() {
        assert_eq!(decode::<Vec<u8>>(&encode(&vec![0u8; 100]), 50), Err(WireError::TooLong { limit: 50 }));
    }
}
