//! The headers of packets under keys: what is authenticated and not hidden.

use super::packet::{Cid, DATA, KEY_PHASE, RELY};
use super::reader::{Malformed, Reader};
use crate::mrt::route::RelayChannel;
use core::fmt;

/// Bytes of a DATA packet before its frames.
pub const DATA_HEADER_LEN: usize = 13;

/// Bytes of the smallest DATA packet: its header, one frame of one byte, its tag.
pub const MIN_DATA_LEN: usize = DATA_HEADER_LEN + 1 + TAG_LEN;

/// Bytes of a RELY packet before the datagram that it carries.
pub const RELY_HEADER_LEN: usize = 21;

/// Bytes that RELY adds to the datagram that it carries.
pub const RELY_OVERHEAD: usize = RELY_HEADER_LEN + TAG_LEN;

/// Bytes of the AEAD tag that ends a DATA packet.
pub const TAG_LEN: usize = 16;

/// The part of a DATA packet before its frames: the associated data of the seal.
///
/// ```text
/// DATA   A8 or A9 | to 8 | packet number, low 32 bits 4 | sealed frames | tag 16
/// ```
///
/// The lowest bit of the first byte is the key phase (RFC 9001 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataHeader {
    /// Which of the two current keys sealed it.
    pub key_phase: bool,
    /// The receiver's connection id.
    pub to: Cid,
    /// The low 32 bits of its number; see [`PacketNumber::expand`](super::PacketNumber::expand).
    pub number: u32,
}

impl DataHeader {
    /// Reads the header of a whole datagram, which is [`DATA_HEADER_LEN`] bytes. Checks that there is room for a frame and the
    /// tag.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        if datagram.len() < MIN_DATA_LEN {
            return Err(Malformed("too short"));
        }
        let mut reader = Reader::new(datagram);
        let first = reader.u8()?;
        if first & !KEY_PHASE != DATA {
            return Err(Malformed("not a DATA packet"));
        }
        Ok(Self { key_phase: first & KEY_PHASE != 0, to: Cid(reader.u64()?), number: reader.u32()? })
    }

    /// Appends the header.
    pub fn emit(&self, buf: &mut Vec<u8>) {
        buf.extend_from_slice(&self.to_bytes());
    }

    /// The header's bytes.
    pub fn to_bytes(&self) -> [u8; DATA_HEADER_LEN] {
        let [a, b, c, d, e, f, g, h] = self.to.0.to_be_bytes();
        let [i, j, k, l] = self.number.to_be_bytes();
        [DATA | u8::from(self.key_phase), a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

impl fmt::Display for DataHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DATA to {} number …{:08x} phase {}", self.to, self.number, u8::from(self.key_phase))
    }
}

/// The part of a RELY packet before the datagram that it carries. Together they are the associated data of its tag, which seals nothing:
/// what is carried is sealed end to end, or sets up what will be.
///
/// ```text
/// RELY   AC | to 8 | counter 8 | channel 4 | a whole datagram | tag 16
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelyHeader {
    /// The receiver's connection id.
    pub to: Cid,
    /// Counts RELY packets of one direction of a connection, from 0. Never used twice.
    pub counter: u64,
    /// Which relay channel of the connection.
    pub channel: RelayChannel,
}

impl RelyHeader {
    /// Reads the header of a whole datagram, which is [`RELY_HEADER_LEN`] bytes. Checks that there is room for a byte and the tag.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        if datagram.len() <= RELY_OVERHEAD {
            return Err(Malformed("too short"));
        }
        let mut reader = Reader::new(datagram);
        if reader.u8()? != RELY {
            return Err(Malformed("not a RELY packet"));
        }
        Ok(Self { to: Cid(reader.u64()?), counter: reader.u64()?, channel: RelayChannel(reader.u32()?) })
    }

    /// Appends the header.
    pub fn emit(&self, buf: &mut Vec<u8>) {
        buf.push(RELY);
        buf.extend_from_slice(&self.to.0.to_be_bytes());
        buf.extend_from_slice(&self.counter.to_be_bytes());
        buf.extend_from_slice(&self.channel.0.to_be_bytes());
    }
}

impl fmt::Display for RelyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RELY to {} counter {} channel {}", self.to, self.counter, self.channel.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_header_needs_room_for_a_frame_and_the_tag() {
        let header = DataHeader { key_phase: true, to: Cid(0x0102_0304_0506_0708), number: 0x0A0B_0C0D };
        let mut bytes = Vec::new();
        header.emit(&mut bytes);
        assert_eq!(bytes, [0xA9, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]);
        bytes.resize(MIN_DATA_LEN - 1, 0);
        assert_eq!(DataHeader::parse(&bytes), Err(Malformed("too short")));
        bytes.push(0);
        assert_eq!(DataHeader::parse(&bytes), Ok(header));
    }

    #[test]
    fn a_relay_header_needs_room_for_a_datagram_and_the_tag() {
        let header = RelyHeader { to: Cid(0x0102_0304_0506_0708), counter: 9, channel: RelayChannel(0x0A0B_0C0D) };
        let mut bytes = Vec::new();
        header.emit(&mut bytes);
        assert_eq!(bytes, [0xAC, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9, 10, 11, 12, 13]);
        bytes.resize(RELY_OVERHEAD, 0);
        assert_eq!(RelyHeader::parse(&bytes), Err(Malformed("too short")));
        bytes.push(0);
        assert_eq!(RelyHeader::parse(&bytes), Ok(header));
        assert_eq!(header.to_string(), "RELY to 0102030405060708 counter 9 channel 168496141");
        bytes[0] = 0xA8;
        assert!(RelyHeader::parse(&bytes).is_err());
    }

    #[test]
    fn a_data_header_shows_as_one_line() {
        let header = DataHeader { key_phase: false, to: Cid(1), number: 255 };
        assert_eq!(header.to_string(), "DATA to 0000000000000001 number …000000ff phase 0");
    }
}
