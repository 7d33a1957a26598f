//! Frames: what a DATA packet carries.
//!
//! ```text
//! PADDING         00
//! PING            01
//! ADAT            02 or 03, see `ack`
//! RESET           04 | channel | code | final offset
//! STOP            05 | channel | code
//! CHAN            08 + 1 if the channel ends here + 2 if the length is given
//!                    | channel | offset | [length] | data
//! MAX_DATA        10 | limit
//! MAX_CHAN        11 | channel | limit
//! MAX_CHANS       12 | class 1 | limit
//! PATH_CHALLENGE  18 | 8 bytes
//! PATH_RESPONSE   19 | 8 bytes
//! RCLS            1C | code | length | reason
//! ```
//!
//! The type is one byte; every number is a varint unless its size stands beside it.

use super::ack::{ADAT, ADAT_ECN, Ack};
use super::reader::{Malformed, Reader};
use super::varint;
use crate::mrt::api::{ChannelId, Class};
use core::fmt;

/// Bytes of the reason in RCLS, at most.
pub const MAX_REASON: usize = 256;

/// The largest limit in MAX_CHANS: the index of a channel has 59 bits, what its id leaves of a varint.
pub const MAX_CHANNEL_LIMIT: u64 = 1 << 59;

const PADDING: u8 = 0x00;
const PING: u8 = 0x01;
const RESET: u8 = 0x04;
const STOP: u8 = 0x05;
const CHAN: u8 = 0x08;
const CHAN_FIN: u8 = 0x01;
const CHAN_LENGTH: u8 = 0x02;
const MAX_DATA: u8 = 0x10;
const MAX_CHAN: u8 = 0x11;
const MAX_CHANS: u8 = 0x12;
const PATH_CHALLENGE: u8 = 0x18;
const PATH_RESPONSE: u8 = 0x19;
const RCLS: u8 = 0x1C;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Nothing, this many bytes of it.
    Padding(usize),
    /// Asks for an acknowledgement.
    Ping,
    /// ADAT: which packets arrived.
    Ack(Ack<'a>),
    /// The sender gives up on its half of a channel.
    Reset {
        /// Which channel.
        channel: ChannelId,
        /// The application's code.
        code: u32,
        /// How many bytes the channel had taken, for the accounts of credit.
        final_offset: u64,
    },
    /// The receiver asks the sender to give up on its half of a channel.
    Stop {
        /// Which channel.
        channel: ChannelId,
        /// The application's code.
        code: u32,
    },
    /// Bytes of a channel.
    Chan {
        /// Which channel.
        channel: ChannelId,
        /// Where in the channel `data` begins. `offset + data.len()` is at most 2^62 − 1.
        offset: u64,
        /// Whether the channel ends after `data`.
        fin: bool,
        /// The bytes.
        data: &'a [u8],
    },
    /// Credit of the connection: the sum of the highest offsets of all channels may reach this.
    MaxData {
        /// In bytes.
        limit: u64,
    },
    /// Credit of a channel: its highest offset may reach this.
    MaxChan {
        /// Which channel.
        channel: ChannelId,
        /// In bytes.
        limit: u64,
    },
    /// How many channels of a class the other side may have opened, counted since the connection began.
    MaxChans {
        /// Which class.
        class: Class,
        /// At most [`MAX_CHANNEL_LIMIT`].
        limit: u64,
    },
    /// To be repeated from the address that receives it (RFC 9000 §8.2).
    PathChallenge([u8; 8]),
    /// The repetition.
    PathResponse([u8; 8]),
    /// RCLS: the sender closes the connection.
    Close {
        /// The application's code.
        code: u32,
        /// Its words, at most [`MAX_REASON`] bytes. Untrusted.
        reason: &'a str,
    },
}

impl<'a> Frame<'a> {
    /// Reads one frame.
    fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match reader.u8()? {
            PADDING => Self::parse_padding(reader),
            PING => Self::Ping,
            ADAT => Self::Ack(Ack::parse(reader, false)?),
            ADAT_ECN => Self::Ack(Ack::parse(reader, true)?),
            RESET => Self::Reset { channel: channel(reader)?, code: code(reader)?, final_offset: reader.varint()? },
            STOP => Self::Stop { channel: channel(reader)?, code: code(reader)? },
            kind if kind & !(CHAN_FIN | CHAN_LENGTH) == CHAN => Self::parse_chan(kind, reader)?,
            MAX_DATA => Self::MaxData { limit: reader.varint()? },
            MAX_CHAN => Self::MaxChan { channel: channel(reader)?, limit: reader.varint()? },
            MAX_CHANS => Self::MaxChans { class: class(reader)?, limit: channel_limit(reader)? },
            PATH_CHALLENGE => Self::PathChallenge(reader.array()?),
            PATH_RESPONSE => Self::PathResponse(reader.array()?),
            RCLS => Self::Close { code: code(reader)?, reason: reason(reader)? },
            _ => return Err(Malformed("unknown frame")),
        })
    }

    /// The type byte was read; the run goes on as long as there are zeros.
    fn parse_padding(reader: &mut Reader<'a>) -> Self {
        let rest = reader.remaining();
        let more = rest.iter().position(|byte| *byte != PADDING).unwrap_or(rest.len());
        *reader = Reader::new(rest.get(more..).unwrap_or_default());
        Self::Padding(1 + more)
    }

    fn parse_chan(kind: u8, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let channel = channel(reader)?;
        let offset = reader.varint()?;
        let data = if kind & CHAN_LENGTH != 0 { prefixed(reader)? } else { reader.rest() };
        // RFC 9000 §19.8: no byte of a stream lies beyond what an offset can name.
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > varint::MAX) {
            return Err(Malformed("channel data beyond the last offset"));
        }
        Ok(Self::Chan { channel, offset, fin: kind & CHAN_FIN != 0, data })
    }

    /// Appends the frame. CHAN always gets its length. A reason beyond its limit is cut between two characters.
    pub fn emit(&self, buf: &mut Vec<u8>) {
        match *self {
            Self::Padding(len) => buf.resize(buf.len() + len, PADDING),
            Self::Ping => buf.push(PING),
            Self::Ack(ack) => ack.emit(buf),
            Self::Reset { channel, code, final_offset } => {
                put_numbers(buf, RESET, &[channel.0, u64::from(code), final_offset]);
            }
            Self::Stop { channel, code } => put_numbers(buf, STOP, &[channel.0, u64::from(code)]),
            Self::Chan { channel, offset, fin, data } => {
                put_chan_header(buf, channel, offset, data.len(), fin);
                buf.extend_from_slice(data);
            }
            Self::MaxData { limit } => put_numbers(buf, MAX_DATA, &[limit]),
            Self::MaxChan { channel, limit } => put_numbers(buf, MAX_CHAN, &[channel.0, limit]),
            Self::MaxChans { class, limit } => {
                buf.extend_from_slice(&[MAX_CHANS, class as u8]);
                varint::put(buf, limit);
            }
            Self::PathChallenge(token) => put_token(buf, PATH_CHALLENGE, token),
            Self::PathResponse(token) => put_token(buf, PATH_RESPONSE, token),
            Self::Close { code, reason } => {
                let reason = cut(reason, MAX_REASON);
                put_numbers(buf, RCLS, &[u64::from(code), reason.len() as u64]);
                buf.extend_from_slice(reason.as_bytes());
            }
        }
    }

    /// Whether its receiver has to acknowledge the packet it came in (RFC 9002 §2).
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Ack(_) | Self::Close { .. }) && !self.is_probing()
    }

    /// Whether it only asks what a path is like, so that a packet of nothing else says nothing of where the other side is
    /// (RFC 9000 §9.1).
    pub const fn is_probing(&self) -> bool {
        matches!(self, Self::Padding(_) | Self::PathChallenge(_) | Self::PathResponse(_))
    }
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Padding(len) => write!(f, "PADDING {len}"),
            Self::Ping => f.write_str("PING"),
            Self::Ack(ack) => fmt::Display::fmt(ack, f),
            Self::Reset { channel, code, final_offset } => {
                write!(f, "RESET {} code {code} at {final_offset}", channel.0)
            }
            Self::Stop { channel, code } => write!(f, "STOP {} code {code}", channel.0),
            Self::Chan { channel, offset, fin, data } => {
                write!(f, "CHAN {} {offset}+{}{}", channel.0, data.len(), if *fin { " fin" } else { "" })
            }
            Self::MaxData { limit } => write!(f, "MAX_DATA {limit}"),
            Self::MaxChan { channel, limit } => write!(f, "MAX_CHAN {} {limit}", channel.0),
            Self::MaxChans { class, limit } => write!(f, "MAX_CHANS {class:?} {limit}"),
            Self::PathChallenge(token) => write!(f, "PATH_CHALLENGE {:016x}", u64::from_be_bytes(*token)),
            Self::PathResponse(token) => write!(f, "PATH_RESPONSE {:016x}", u64::from_be_bytes(*token)),
            Self::Close { code, reason } => write!(f, "RCLS {code} {reason:?}"),
        }
    }
}

/// The frames of one packet, in order. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    reader: Reader<'a>,
}

impl<'a> Frames<'a> {
    /// The frames in an opened payload.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { reader: Reader::new(payload) }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let frame = Frame::parse(&mut self.reader);
        if frame.is_err() {
            self.reader.rest();
        }
        Some(frame)
    }
}

/// Appends the part of a CHAN frame before its data, with the length. `len` bytes of data are to follow.
pub fn put_chan_header(buf: &mut Vec<u8>, channel: ChannelId, offset: u64, len: usize, fin: bool) {
    put_numbers(buf, CHAN | CHAN_LENGTH | u8::from(fin), &[channel.0, offset, len as u64]);
}

/// The bytes that [`put_chan_header`] appends.
pub const fn chan_header_len(channel: ChannelId, offset: u64, len: usize) -> usize {
    1 + varint::len(channel.0) + varint::len(offset) + varint::len(len as u64)
}

fn channel(reader: &mut Reader<'_>) -> Result<ChannelId, Malformed> {
    reader.varint().map(ChannelId)
}

fn code(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    u32::try_from(reader.varint()?).map_err(|_| Malformed("code of more than 32 bits"))
}

fn class(reader: &mut Reader<'_>) -> Result<Class, Malformed> {
    Class::ALL.get(usize::from(reader.u8()?)).copied().ok_or(Malformed("unknown class"))
}

fn channel_limit(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let limit = reader.varint()?;
    if limit <= MAX_CHANNEL_LIMIT { Ok(limit) } else { Err(Malformed("more channels than there are ids")) }
}

fn reason<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let bytes = prefixed(reader)?;
    if bytes.len() > MAX_REASON {
        return Err(Malformed("reason too long"));
    }
    core::str::from_utf8(bytes).map_err(|_| Malformed("reason that is not UTF-8"))
}

/// A length and that many bytes.
fn prefixed<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(reader.varint()?).map_err(|_| Malformed("too short"))?;
    reader.bytes(len)
}

fn put_numbers(buf: &mut Vec<u8>, kind: u8, numbers: &[u64]) {
    buf.push(kind);
    for number in numbers {
        varint::put(buf, *number);
    }
}

fn put_token(buf: &mut Vec<u8>, kind: u8, token: [u8; 8]) {
    buf.push(kind);
    buf.extend_from_slice(&token);
}

/// The longest beginning of `text` that has at most `max` bytes and whole characters.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mrt::wire::put_ack;
    use proptest::prelude::*;

    fn first(bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
        Frames::new(bytes).next().unwrap()
    }

    fn emitted(frame: &Frame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.emit(&mut bytes);
        bytes
    }

    #[test]
    fn the_bytes_of_frames_are_as_the_diagram_says() {
        let channel = ChannelId(9);
        for (frame, bytes) in [
            (Frame::Padding(3), &[0, 0, 0][..]),
            (Frame::Ping, &[1]),
            (Frame::Reset { channel, code: 2, final_offset: 64 }, &[4, 9, 2, 0x40, 64]),
            (Frame::Stop { channel, code: 2 }, &[5, 9, 2]),
            (Frame::Chan { channel, offset: 1, fin: false, data: b"ab" }, &[0x0A, 9, 1, 2, b'a', b'b']),
            (Frame::Chan { channel, offset: 3, fin: true, data: b"" }, &[0x0B, 9, 3, 0]),
            (Frame::MaxData { limit: 5 }, &[0x10, 5]),
            (Frame::MaxChan { channel, limit: 5 }, &[0x11, 9, 5]),
            (Frame::MaxChans { class: Class::Bulk, limit: 5 }, &[0x12, 3, 5]),
            (Frame::PathChallenge(*b"12345678"), b"\x1812345678"),
            (Frame::PathResponse(*b"12345678"), b"\x1912345678"),
            (Frame::Close { code: 7, reason: "bye" }, b"\x1C\x07\x03bye"),
        ] {
            assert_eq!(emitted(&frame), bytes, "{frame}");
            assert_eq!(first(bytes), Ok(frame));
        }
    }

    #[test]
    fn channel_data_without_a_length_goes_to_the_end_of_the_packet() {
        let mut frames = Frames::new(b"\x01\x09\x00\x05rest");
        assert_eq!(frames.next(), Some(Ok(Frame::Ping)));
        let all = Frame::Chan { channel: ChannelId(0), offset: 5, fin: true, data: b"rest" };
        assert_eq!(frames.next(), Some(Ok(all)));
        assert_eq!(frames.next(), None);
    }

    #[test]
    fn padding_between_frames_is_one_frame() {
        let frames: Vec<_> = Frames::new(&[1, 0, 0, 0, 1, 0]).map(Result::unwrap).collect();
        assert_eq!(frames, [Frame::Ping, Frame::Padding(3), Frame::Ping, Frame::Padding(1)]);
    }

    #[test]
    fn nothing_is_read_after_the_first_mistake() {
        // The bytes after an unknown frame cannot be told apart: its length is not known.
        let mut frames = Frames::new(&[1, 0x3F, 1, 1]);
        assert_eq!(frames.next(), Some(Ok(Frame::Ping)));
        assert_eq!(frames.next(), Some(Err(Malformed("unknown frame"))));
        assert_eq!(frames.next(), None);
    }

    #[test]
    fn values_beyond_their_limits_are_malformed() {
        let mut too_far = vec![0x08, 0];
        varint::put(&mut too_far, varint::MAX);
        assert!(first(&too_far).is_ok(), "no data at the last offset is within the limit");
        too_far.push(b'x');
        assert_eq!(first(&too_far), Err(Malformed("channel data beyond the last offset")));

        assert_eq!(first(&[5, 0, 0xC0, 0, 0, 1, 0, 0, 0, 0]), Err(Malformed("code of more than 32 bits")));
        assert_eq!(first(&[0x12, 4, 0]), Err(Malformed("unknown class")));
        let mut many = vec![0x12, 0];
        varint::put(&mut many, MAX_CHANNEL_LIMIT + 1);
        assert_eq!(first(&many), Err(Malformed("more channels than there are ids")));
        assert_eq!(first(&[0x1C, 0, 2, 0xC3, 0x28]), Err(Malformed("reason that is not UTF-8")));
        let mut wordy = vec![0x1C, 0];
        varint::put(&mut wordy, MAX_REASON as u64 + 1);
        wordy.resize(wordy.len() + MAX_REASON + 1, b'x');
        assert_eq!(first(&wordy), Err(Malformed("reason too long")));
        // A length that promises more than there is.
        assert_eq!(first(&[0x0A, 0, 0, 5, 1]), Err(Malformed("too short")));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = "é".repeat(200) + "x";
        let bytes = emitted(&Frame::Close { code: 0, reason: &reason });
        assert_eq!(first(&bytes), Ok(Frame::Close { code: 0, reason: &"é".repeat(128) }));
        let shifted = "x".to_owned() + &reason;
        let bytes = emitted(&Frame::Close { code: 0, reason: &shifted });
        assert_eq!(first(&bytes), Ok(Frame::Close { code: 0, reason: &("x".to_owned() + &"é".repeat(127)) }));
    }

    #[test]
    fn the_length_of_a_header_is_known_before_it_is_written() {
        for (channel, offset, len) in [(0, 0, 0), (64, 1 << 20, 1200), (varint::MAX, varint::MAX - 70_000, 65_000)] {
            let mut bytes = Vec::new();
            put_chan_header(&mut bytes, ChannelId(channel), offset, len, true);
            assert_eq!(bytes.len(), chan_header_len(ChannelId(channel), offset, len));
        }
    }

    fn number() -> impl Strategy<Value = u64> {
        (0..=varint::MAX, 0..62_u32).prop_map(|(value, shift)| value >> shift)
    }

    /// A kind, numbers and bytes, from which any frame can be made.
    fn made<'a>(kind: u8, [a, b]: [u64; 2], fin: bool, bytes: &'a [u8], text: &'a str, ack: &'a [u8]) -> Frame<'a> {
        let (channel, code) = (ChannelId(a), b as u32);
        match kind {
            0 => Frame::Ping,
            1 => Frame::Reset { channel, code, final_offset: b },
            2 => Frame::Stop { channel, code },
            3 => Frame::Chan { channel, offset: b.min(varint::MAX - bytes.len() as u64), fin, data: bytes },
            4 => Frame::MaxData { limit: a },
            5 => Frame::MaxChan { channel, limit: b },
            6 => Frame::MaxChans { class: Class::ALL[a as usize % 4], limit: b >> 3 },
            7 => Frame::PathChallenge(a.to_be_bytes()),
            8 => Frame::PathResponse(b.to_be_bytes()),
            9 => Frame::Close { code, reason: text },
            _ => first(ack).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn any_sequence_of_frames_is_read_back(
            parts in prop::collection::vec(
                (0..11_u8, [number(), number()], any::<bool>(), prop::collection::vec(any::<u8>(), 0..40), ".{0,60}"), 0..12,
            ),
            start in number(),
        ) {
            let mut ack = Vec::new();
            let start = start.min(varint::MAX - 10);
            put_ack(&mut ack, [start + 7..start + 9, start..start + 5].into_iter(), 3, Some([1, 2, 3]), 100);
            let frames: Vec<_> =
                parts.iter().map(|(kind, numbers, fin, bytes, text)| made(*kind, *numbers, *fin, bytes, text, &ack)).collect();
            let mut bytes = Vec::new();
            for frame in &frames {
                frame.emit(&mut bytes);
            }
            let read: Result<Vec<_>, _> = Frames::new(&bytes).collect();
            prop_assert_eq!(read, Ok(frames));
        }

        #[test]
        fn arbitrary_bytes_parse_or_fail_quietly(bytes in prop::collection::vec(prop_oneof![0..0x20_u8, any::<u8>()], 0..200)) {
            for frame in Frames::new(&bytes) {
                let Ok(frame) = frame else { break };
                let again = emitted(&frame);
                prop_assert_eq!(first(&again), Ok(frame), "{}", frame);
            }
        }
    }
}
