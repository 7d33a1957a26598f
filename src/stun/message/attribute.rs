//! Values of attributes.

use bytecodec::{DecodeExt as _, EncodeExt as _};
use std::net::SocketAddr;
use stun_codec::net::{SocketAddrDecoder, SocketAddrEncoder, socket_addr_xor};

use super::view::TransactionId;
use crate::stun::plausible::canonical;

pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
pub(super) const CHANGE_REQUEST: u16 = 0x0003;
/// RFC 3489 §11.2.5: what RESPONSE-ORIGIN says. Some servers still send it.
pub(super) const SOURCE_ADDRESS: u16 = 0x0004;
/// RFC 3489 §11.2.3: what OTHER-ADDRESS says. Some servers still send it.
pub(super) const CHANGED_ADDRESS: u16 = 0x0005;
pub(super) const ERROR_CODE: u16 = 0x0009;
pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const RESPONSE_PORT: u16 = 0x0027;
pub(super) const FINGERPRINT: u16 = 0x8028;
pub(super) const RESPONSE_ORIGIN: u16 = 0x802B;
pub(super) const OTHER_ADDRESS: u16 = 0x802C;

/// RFC 8489 §14: who does not know a type below this one cannot understand the message.
pub(super) const COMPREHENSION_OPTIONAL: u16 = 0x8000;

/// From where an answer is wanted (RFC 5780 §7.2). Neither: from where the question went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Change {
    /// From another address.
    pub ip: bool,
    /// From another port.
    pub port: bool,
}

/// RFC 5780 §7.2: bit 2 (from the lowest, counted from 0) is "change IP", bit 1 "change port".
const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;

impl Change {
    /// Neither address nor port.
    pub const NONE: Self = Self { ip: false, port: false };

    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let bits = u32::from_be_bytes(value.try_into().ok()?);
        Some(Self { ip: bits & CHANGE_IP != 0, port: bits & CHANGE_PORT != 0 })
    }

    pub(super) fn value(self) -> Vec<u8> {
        let bits = if self.ip { CHANGE_IP } else { 0 } | if self.port { CHANGE_PORT } else { 0 };
        bits.to_be_bytes().to_vec()
    }
}

/// RFC 5780 §7.5: a port and two bytes that mean nothing. Some senders leave these out and give the length as 2.
pub(super) fn parse_port(value: &[u8]) -> Option<u16> {
    match *value {
        [high, low] | [high, low, _, _] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

/// RFC 5780 §7.5, with the two bytes.
pub(super) fn port_value(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![high, low, 0, 0]
}

/// RFC 8489 §14.8: the hundreds and the rest of the code, then a reason for people. `None`: not between 300 and 699.
pub(super) fn parse_error(value: &[u8]) -> Option<u16> {
    let (&[_, _, class, number], _reason) = value.split_first_chunk::<4>()?;
    let (class, number) = (u16::from(class & 7), u16::from(number));
    ((3..=6).contains(&class) && number < 100).then_some(class * 100 + number)
}

/// RFC 8489 §14.8.
pub(super) fn error_value(code: u16, reason: &str) -> Vec<u8> {
    let (class, number) = ((code / 100) & 7, code % 100);
    let mut value = vec![0, 0, class.to_be_bytes()[1], number.to_be_bytes()[1]];
    value.extend_from_slice(reason.as_bytes());
    value
}

/// RFC 8489 §14.1. `None`: an unknown family, or a length that does not fit it.
pub(super) fn parse_address(value: &[u8]) -> Option<SocketAddr> {
    // `stun_codec` reads an IPv4 address and ignores what follows.
    let length = match value.get(1)? {
        1 => 8,
        2 => 20,
        _ => return None,
    };
    if value.len() != length {
        return None;
    }
    SocketAddrDecoder::new().decode_from_bytes(value).ok()
}

/// RFC 8489 §14.2.
pub(super) fn parse_xored(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    parse_address(value).map(|address| socket_addr_xor(address, codec_id(id)))
}

/// RFC 8489 §14.1.
pub(super) fn address_value(address: SocketAddr) -> Vec<u8> {
    SocketAddrEncoder::new().encode_into_bytes(canonical(address)).unwrap_or_default()
}

/// RFC 8489 §14.2.
pub(super) fn xored_value(address: SocketAddr, id: TransactionId) -> Vec<u8> {
    address_value_as_is(socket_addr_xor(canonical(address), codec_id(id)))
}

/// What was exclusive-ored is no address any more, and has no other form.
fn address_value_as_is(address: SocketAddr) -> Vec<u8> {
    SocketAddrEncoder::new().encode_into_bytes(address).unwrap_or_default()
}

pub(super) fn codec_id(id: TransactionId) -> stun_codec::TransactionId {
    stun_codec::TransactionId::new(id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = TransactionId([0xb7, 0xe7, 0xa7, 1, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

    /// RFC 5780 §7.2: the figure has A at the third bit from the right, B at the second.
    #[test]
    fn the_bits_of_a_change_request_are_those_of_the_figure() {
        let change = |ip, port| Change { ip, port };
        for (bits, expected) in
            [(0, Change::NONE), (2, change(false, true)), (4, change(true, false)), (6, change(true, true))]
        {
            assert_eq!(Change::parse(&[0, 0, 0, bits]), Some(expected));
            assert_eq!(expected.value(), [0, 0, 0, bits]);
        }
        assert_eq!(Change::parse(&[0xFF, 0xFF, 0xFF, 0xF9]), Some(Change::NONE));
        assert_eq!(Change::parse(&[0, 0, 6]), None);
        assert_eq!(Change::parse(&[0, 0, 0, 6, 0]), None);
    }

    #[test]
    fn a_response_port_is_what_was_meant() {
        assert_eq!(port_value(0x1234), [0x12, 0x34, 0, 0]);
        assert_eq!(parse_port(&port_value(65_535)), Some(65_535));
        assert_eq!(parse_port(&[0x12, 0x34]), Some(0x1234));
        assert_eq!(parse_port(&[0x12]), None);
        assert_eq!(parse_port(&[0; 5]), None);
    }

    /// RFC 5769 §2.2 and §2.3: 192.0.2.1:32853, and an IPv6 address with the same port.
    #[test]
    fn addresses_are_those_of_the_test_vectors() {
        let v4 = [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let v6 = [
            0, 2, 0xa1, 0x47, 1, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9,
            0xd9,
        ];
        let (seen4, seen6) = ("192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
        for (value, seen) in [(&v4[..], seen4), (&v6[..], seen6)] {
            let seen: SocketAddr = seen.parse().unwrap();
            assert_eq!(parse_xored(value, ID), Some(seen));
            assert_eq!(xored_value(seen, ID), value);
            assert_eq!(parse_address(&address_value(seen)), Some(seen));
        }
    }

    #[test]
    fn an_address_of_another_family_or_length_is_none() {
        for bad in [
            &[][..],
            &[0],
            &[0, 1, 0, 1],
            &[0, 3, 0, 1, 1, 2, 3, 4],
            &[0, 1, 0, 1, 1, 2, 3, 4, 5],
            &[0, 2, 0, 1, 1, 2, 3, 4],
        ] {
            assert_eq!(parse_address(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_error_has_a_class_and_a_number() {
        assert_eq!(parse_error(&error_value(420, "Unknown Attribute")), Some(420));
        assert_eq!(parse_error(&[0, 0, 4, 20]), Some(420));
        for bad in [&[][..], &[0, 0, 4], &[0, 0, 2, 0], &[0, 0, 7, 0], &[0, 0, 4, 100]] {
            assert_eq!(parse_error(bad), None, "{bad:?}");
        }
    }
}
