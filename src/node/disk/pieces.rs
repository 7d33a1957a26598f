//! A slice as it came from the transport, in pieces, read without joining them.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, Read};

/// Reads piece after piece.
pub(super) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    /// Over these, in order.
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        Self(pieces.into())
    }

    /// Bytes not read yet.
    pub(super) fn left(&self) -> u64 {
        self.0.iter().fold(0, |sum, piece| sum.saturating_add(piece.len() as u64))
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(piece) = self.0.front_mut() {
            if piece.is_empty() {
                self.0.pop_front();
                continue;
            }
            let count = piece.len().min(buffer.len());
            let (now, _) = buffer.split_at_mut(count);
            piece.copy_to_slice(now);
            return Ok(count);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_as_one() {
        let mut pieces =
            Pieces::new(vec![Bytes::new(), Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cde")]);
        assert_eq!(pieces.left(), 5);
        let mut four = [0; 4];
        pieces.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"abcd");
        assert_eq!(pieces.left(), 1);
        let mut rest = Vec::new();
        pieces.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"e");
    }
}
