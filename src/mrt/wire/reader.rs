//! A cursor over received bytes. Whatever is not there is an error, never a panic.

/// What was wrong with received bytes, in a few words for a log. Nothing was changed by parsing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub struct Malformed(pub &'static str);

/// Reads numbers and byte strings from the front of a slice. After an error its position is unspecified: stop reading.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was not read yet, without reading it.
    pub const fn remaining(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(Malformed("too short"))?;
        self.bytes = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A variable-length integer (RFC 9000 §16), at most [`varint::MAX`](super::varint::MAX).
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let first = *self.bytes.first().ok_or(Malformed("too short"))?;
        match first >> 6 {
            0 => self.u8().map(u64::from),
            1 => self.u16().map(|value| u64::from(value & 0x3FFF)),
            2 => self.u32().map(|value| u64::from(value & 0x3FFF_FFFF)),
            _ => self.u64().map(|value| value & super::varint::MAX),
        }
    }

    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.bytes.split_at_checked(n).ok_or(Malformed("too short"))?;
        self.bytes = tail;
        Ok(head)
    }

    /// Everything that was not read yet.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes;
        self.bytes = &[];
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_an_error() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u16(), Err(Malformed("too short")));
        assert_eq!(Reader::new(&[]).u8(), Err(Malformed("too short")));
        assert_eq!(Reader::new(&[]).varint(), Err(Malformed("too short")));
        // A first byte that promises seven more.
        assert_eq!(Reader::new(&[0xFF, 0, 0]).varint(), Err(Malformed("too short")));
        assert_eq!(Reader::new(&[0; 8]).bytes(usize::MAX), Err(Malformed("too short")));
    }

    #[test]
    fn rest_takes_everything_once() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.remaining(), [2, 3]);
        assert_eq!(reader.rest(), [2, 3]);
        assert!(reader.is_empty());
        assert!(reader.rest().is_empty());
    }
}
