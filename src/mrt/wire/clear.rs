//! Packets in the clear: they set a connection up before there are keys. Each ends in a CRC-32 over everything before it, which finds
//! accidents, not attacks.

use super::header::RELY_OVERHEAD;
use super::packet::{ACON, Cid, Pattern, RCON, RTRY};
use super::reader::{Malformed, Reader};
use core::fmt;

/// The version of MRT that this code speaks.
pub const VERSION: u8 = 1;

/// Bytes of every RCON datagram, so that no answer to one is larger than the question (RFC 9000 §8.1), and so that a path that
/// cannot carry what MRT starts with is found out at once.
pub const RCON_LEN: usize = 1200;

/// Bytes of an RCON datagram that is relayed: what a path of 1200 bytes to the relay leaves.
pub const RELAYED_RCON_LEN: usize = RCON_LEN - RELY_OVERHEAD;

/// Bytes of a cookie, at most.
pub const MAX_COOKIE: usize = 64;

/// Bytes of a Noise message in a clear packet, at most.
pub const MAX_NOISE: usize = 512;

/// Bytes of the CRC-32 that ends a clear packet.
pub const CRC_LEN: usize = 4;

/// A packet in the clear.
///
/// ```text
/// RCON   A0 | version 1 | pattern 1 | from 8 | cookie length 1 | cookie | noise length 2 | noise | zeros | CRC 4    = 1200 bytes,
///                                                                                                     relayed: 1163 bytes
/// RTRY   A1 | to 8 | cookie length 1 | cookie | CRC 4
/// ACON   A2 | to 8 | from 8 | noise length 2 | noise | CRC 4
/// ```
///
/// Numbers are big-endian. An unknown version of RCON is told by its first two bytes and its CRC; nothing else of it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear<'a> {
    /// Asks for a connection; carries the first Noise message.
    Rcon {
        /// Whether it has the size of one that goes through a relay.
        relayed: bool,
        /// Which Noise pattern.
        pattern: Pattern,
        /// The asking side's connection id.
        from: Cid,
        /// The cookie from an RTRY, or nothing. At most [`MAX_COOKIE`] bytes.
        cookie: &'a [u8],
        /// At most [`MAX_NOISE`] bytes.
        noise: &'a [u8],
    },
    /// Asks to be asked again, with this cookie: the answer of a responder under load, which keeps no state for it.
    Rtry {
        /// The asking side's connection id.
        to: Cid,
        /// At most [`MAX_COOKIE`] bytes.
        cookie: &'a [u8],
    },
    /// From the responder: the second Noise message. From the initiator, in pattern XX: the third.
    Acon {
        /// The receiver's connection id.
        to: Cid,
        /// The sender's connection id.
        from: Cid,
        /// At most [`MAX_NOISE`] bytes.
        noise: &'a [u8],
    },
}

/// Why a clear packet cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClearError {
    /// It is damaged, or was made by something else.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An intact RCON in a version that this code does not speak.
    #[error("unsupported version {0}")]
    UnsupportedVersion(u8),
}

impl<'a> Clear<'a> {
    /// Reads a whole datagram. The CRC is checked before anything else.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ClearError> {
        let (body, crc) = datagram.split_last_chunk::<CRC_LEN>().ok_or(Malformed("too short"))?;
        if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
            return Err(Malformed("wrong CRC").into());
        }
        let mut reader = Reader::new(body);
        let packet = match reader.u8()? {
            RCON => return Self::parse_rcon(datagram.len(), reader),
            RTRY => Self::Rtry { to: Cid(reader.u64()?), cookie: parse_cookie(&mut reader)? },
            ACON => Self::Acon { to: Cid(reader.u64()?), from: Cid(reader.u64()?), noise: parse_noise(&mut reader)? },
            _ => return Err(Malformed("not a clear packet").into()),
        };
        if reader.is_empty() { Ok(packet) } else { Err(Malformed("bytes after the last field").into()) }
    }

    fn parse_rcon(datagram_len: usize, mut reader: Reader<'a>) -> Result<Self, ClearError> {
        let version = reader.u8()?;
        if version != VERSION {
            return Err(ClearError::UnsupportedVersion(version));
        }
        let relayed = match datagram_len {
            RCON_LEN => false,
            RELAYED_RCON_LEN => true,
            _ => return Err(Malformed("RCON that is not 1200 bytes").into()),
        };
        let pattern = Pattern::from_wire(reader.u8()?).ok_or(Malformed("unknown pattern"))?;
        let from = Cid(reader.u64()?);
        let cookie = parse_cookie(&mut reader)?;
        let noise = parse_noise(&mut reader)?;
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(Malformed("padding that is not zero").into());
        }
        Ok(Self::Rcon { relayed, pattern, from, cookie, noise })
    }

    /// Appends the whole datagram to `buf`. A cookie or Noise message beyond its limit is a mistake of the caller: it fails an
    /// assertion in debug builds and is cut otherwise.
    pub fn emit(&self, buf: &mut Vec<u8>) {
        let start = buf.len();
        match *self {
            Self::Rcon { relayed, pattern, from, cookie, noise } => {
                buf.extend_from_slice(&[RCON, VERSION, pattern as u8]);
                buf.extend_from_slice(&from.0.to_be_bytes());
                put_cookie(buf, cookie);
                put_noise(buf, noise);
                buf.resize(start + rcon_len(relayed) - CRC_LEN, 0);
            }
            Self::Rtry { to, cookie } => {
                buf.push(RTRY);
                buf.extend_from_slice(&to.0.to_be_bytes());
                put_cookie(buf, cookie);
            }
            Self::Acon { to, from, noise } => {
                buf.push(ACON);
                buf.extend_from_slice(&to.0.to_be_bytes());
                buf.extend_from_slice(&from.0.to_be_bytes());
                put_noise(buf, noise);
            }
        }
        let crc = crc32fast::hash(buf.get(start..).unwrap_or_default());
        buf.extend_from_slice(&crc.to_be_bytes());
    }

    /// The bytes that [`emit`](Self::emit) appends.
    #[expect(clippy::len_without_is_empty, reason = "a packet is never empty")]
    pub const fn len(&self) -> usize {
        match self {
            Self::Rcon { relayed, .. } => rcon_len(*relayed),
            Self::Rtry { cookie, .. } => 1 + 8 + 1 + cookie.len() + CRC_LEN,
            Self::Acon { noise, .. } => 1 + 8 + 8 + 2 + noise.len() + CRC_LEN,
        }
    }
}

impl fmt::Display for Clear<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rcon { relayed: _, pattern, from, cookie, noise } => {
                write!(f, "RCON {pattern:?} from {from} cookie {} noise {}", cookie.len(), noise.len())
            }
            Self::Rtry { to, cookie } => write!(f, "RTRY to {to} cookie {}", cookie.len()),
            Self::Acon { to, from, noise } => write!(f, "ACON to {to} from {from} noise {}", noise.len()),
        }
    }
}

const fn rcon_len(relayed: bool) -> usize {
    if relayed { RELAYED_RCON_LEN } else { RCON_LEN }
}

fn parse_cookie<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = usize::from(reader.u8()?);
    if len > MAX_COOKIE {
        return Err(Malformed("cookie too long"));
    }
    reader.bytes(len)
}

fn parse_noise<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = usize::from(reader.u16()?);
    if len > MAX_NOISE {
        return Err(Malformed("Noise message too long"));
    }
    reader.bytes(len)
}

fn put_cookie(buf: &mut Vec<u8>, cookie: &[u8]) {
    debug_assert!(cookie.len() <= MAX_COOKIE, "cookie too long");
    let cookie = cookie.get(..MAX_COOKIE).unwrap_or(cookie);
    buf.push(cookie.len() as u8);
    buf.extend_from_slice(cookie);
}

fn put_noise(buf: &mut Vec<u8>, noise: &[u8]) {
    debug_assert!(noise.len() <= MAX_NOISE, "Noise message too long");
    let noise = noise.get(..MAX_NOISE).unwrap_or(noise);
    buf.extend_from_slice(&(noise.len() as u16).to_be_bytes());
    buf.extend_from_slice(noise);
}

#[cfg(test)]
mod tests {
    use super::super::header::{RELY_HEADER_LEN, RelyHeader, TAG_LEN};
    use super::*;
    use crate::mrt::route::RelayChannel;
    use proptest::prelude::*;

    fn emitted(packet: &Clear<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.emit(&mut bytes);
        bytes
    }

    /// Puts the right CRC under a datagram whose last four bytes are to be one.
    fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
        let body = bytes.len() - CRC_LEN;
        let crc = crc32fast::hash(&bytes[..body]);
        bytes[body..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    const ASK: Clear<'_> =
        Clear::Rcon { relayed: false, pattern: Pattern::IK, from: Cid(7), cookie: b"cookie", noise: b"noise" };

    #[test]
    fn the_bytes_of_a_retry_are_as_the_diagram_says() {
        let bytes = emitted(&Clear::Rtry { to: Cid(0x0102_0304_0506_0708), cookie: b"ab" });
        assert_eq!(bytes[..12], [0xA1, 1, 2, 3, 4, 5, 6, 7, 8, 2, b'a', b'b']);
        assert_eq!(bytes[12..], crc32fast::hash(&bytes[..12]).to_be_bytes());
    }

    #[test]
    fn a_request_is_always_1200_bytes_even_behind_other_bytes_in_the_buffer() {
        let mut bytes = b"before".to_vec();
        ASK.emit(&mut bytes);
        assert_eq!(bytes.len(), 6 + RCON_LEN);
        assert_eq!(Clear::parse(&bytes[6..]), Ok(ASK));
    }

    #[test]
    fn a_request_of_another_size_is_malformed_though_its_crc_is_right() {
        // Shorter would let an attacker draw a larger answer than it paid for.
        let mut short = emitted(&ASK);
        short.truncate(RCON_LEN - 1);
        assert_eq!(
            Clear::parse(&with_crc(short)),
            Err(ClearError::Malformed(Malformed("RCON that is not 1200 bytes")))
        );
        let mut long = emitted(&ASK);
        long.push(0);
        assert!(Clear::parse(&with_crc(long)).is_err());
    }

    #[test]
    fn padding_has_to_be_zero() {
        let mut bytes = emitted(&ASK);
        bytes[1000] = 1;
        assert_eq!(Clear::parse(&with_crc(bytes)), Err(ClearError::Malformed(Malformed("padding that is not zero"))));
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = emitted(&ASK);
        bytes[1] = 9;
        assert_eq!(Clear::parse(&bytes), Err(ClearError::Malformed(Malformed("wrong CRC"))));
        assert_eq!(Clear::parse(&with_crc(bytes)), Err(ClearError::UnsupportedVersion(9)));
        // A later version may have another size.
        assert_eq!(Clear::parse(&with_crc(vec![0xA0, 2, 0, 0, 0, 0])), Err(ClearError::UnsupportedVersion(2)));
    }

    #[test]
    fn lengths_beyond_their_limits_are_malformed() {
        let mut bytes = emitted(&ASK);
        bytes[11] = MAX_COOKIE as u8 + 1;
        assert_eq!(Clear::parse(&with_crc(bytes)), Err(ClearError::Malformed(Malformed("cookie too long"))));
        let mut bytes = emitted(&ASK);
        bytes[18..20].copy_from_slice(&(MAX_NOISE as u16 + 1).to_be_bytes());
        assert_eq!(Clear::parse(&with_crc(bytes)), Err(ClearError::Malformed(Malformed("Noise message too long"))));
    }

    #[test]
    fn the_largest_request_fits_its_datagram() {
        let (cookie, noise) = ([1; MAX_COOKIE], [2; MAX_NOISE]);
        let packet =
            Clear::Rcon { relayed: true, pattern: Pattern::XX, from: Cid(u64::MAX), cookie: &cookie, noise: &noise };
        assert_eq!(Clear::parse(&emitted(&packet)), Ok(packet));
    }

    #[test]
    fn a_relayed_request_leaves_room_for_the_wrapping_in_1200_bytes() {
        let mut bytes = Vec::new();
        RelyHeader { to: Cid(1), counter: 2, channel: RelayChannel(3) }.emit(&mut bytes);
        assert_eq!(bytes.len(), RELY_HEADER_LEN);
        Clear::Rcon { relayed: true, pattern: Pattern::IK, from: Cid(7), cookie: b"", noise: b"noise" }
            .emit(&mut bytes);
        assert_eq!(bytes.len() + TAG_LEN, RCON_LEN);
    }

    #[test]
    fn clear_packets_show_as_one_line() {
        assert_eq!(ASK.to_string(), "RCON IK from 0000000000000007 cookie 6 noise 5");
    }

    proptest! {
        #[test]
        fn clear_packets_survive_the_wire_and_any_damaged_byte_is_found(
            kind in 0..3_u8, to: u64, from: u64, pattern in 0..3_u8, relayed: bool,
            cookie in prop::collection::vec(any::<u8>(), 0..=MAX_COOKIE),
            noise in prop::collection::vec(any::<u8>(), 0..=MAX_NOISE),
            damage: prop::sample::Index, flip in 1..=255_u8,
        ) {
            let packet = match kind {
                0 => Clear::Rcon {
                    relayed, pattern: Pattern::from_wire(pattern).unwrap(), from: Cid(from), cookie: &cookie, noise: &noise,
                },
                1 => Clear::Rtry { to: Cid(to), cookie: &cookie },
                _ => Clear::Acon { to: Cid(to), from: Cid(from), noise: &noise },
            };
            let mut bytes = emitted(&packet);
            prop_assert_eq!(bytes.len(), packet.len());
            prop_assert_eq!(Clear::parse(&bytes), Ok(packet));
            let at = damage.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(Clear::parse(&bytes), Err(ClearError::Malformed(Malformed("wrong CRC"))));
        }

        #[test]
        fn arbitrary_bytes_with_a_right_crc_parse_or_fail_quietly(mut bytes in prop::collection::vec(any::<u8>(), 5..1300), first in 0xA0..0xA4_u8) {
            bytes[0] = first;
            let bytes = with_crc(bytes);
            if let Ok(packet) = Clear::parse(&bytes) {
                prop_assert_eq!(emitted(&packet), bytes);
            }
        }
    }
}
