//! Frames on a channel: four bytes of length (big-endian), then the body.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of a frame's body before the peer has proven who it is: a [`Hello`](super::Hello) with the largest record.
pub(super) const MAX_HELLO: usize = 8 << 10;

/// Bytes of a frame's body afterwards. The largest message is a view: 4,096 members, each with a record of up to some 400 bytes.
pub(super) const MAX_FRAME: usize = 2 << 20;

/// Bytes before the body.
const HEADER: usize = 4;

/// The peer announced a frame that is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameTooLong;

/// `body` with its length in front.
pub(super) fn frame(body: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(HEADER + body.len());
    framed.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(body);
    framed.freeze()
}

/// Puts the frames of one channel together. Holds what has arrived, never what was only announced: a peer that says "two
/// megabytes follow" costs nothing until they do.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    buffer: BytesMut,
}

impl FrameReader {
    /// More bytes of the channel. To be followed by [`next`](Self::next) until it has no more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame's body, if it is here. `limit` is what its length may be.
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Bytes>, FrameTooLong> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes(*header) as usize;
        if length > limit {
            return Err(FrameTooLong);
        }
        if self.buffer.len() - HEADER < length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let body = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new(); // an idle link keeps no buffer
        }
        Ok(Some(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_held() {
        let mut reader = FrameReader::default();
        reader.push(&(MAX_FRAME as u32 + 1).to_be_bytes());
        assert_eq!(reader.next(MAX_FRAME), Err(FrameTooLong));
        let mut reader = FrameReader::default();
        reader.push(&u32::MAX.to_be_bytes());
        assert_eq!(reader.next(MAX_HELLO), Err(FrameTooLong));
        assert!(reader.buffer.capacity() < 1024);
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        let mut reader = FrameReader::default();
        reader.push(&frame(b""));
        assert_eq!(reader.next(MAX_FRAME), Ok(Some(Bytes::new())));
        assert_eq!(reader.next(MAX_FRAME), Ok(None));
    }

    proptest! {
        /// However the network cuts the stream, the same frames come out.
        #[test]
        fn frames_survive_any_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..12),
            cuts in prop::collection::vec(1usize..97, 1..20),
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body).to_vec()).collect();
            let (mut reader, mut out, mut rest) = (FrameReader::default(), Vec::new(), stream.as_slice());
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                reader.push(piece);
                while let Some(body) = reader.next(MAX_FRAME).unwrap() {
                    out.push(body.to_vec());
                }
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out, bodies);
        }
    }
}
