//! An IP packet as it comes from a device: headers apart from the payload, so that the payload can be damaged and the addresses
//! changed, and the checksums made right again.

use netem::{Ecn, Packet};
use std::io::IoSlice;
#[cfg(test)]
use std::net::SocketAddrV4;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The largest packet of either version, in bytes, that we make.
const MAX_SIZE: usize = 65_535;

/// The IPv6 header, in bytes (RFC 8200 §3).
const HEADER6: usize = 40;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

/// IPv4 or IPv6 and, unless it is a fragment, the header of UDP, TCP or ICMP; then the rest. Behind an extension header of IPv6 nothing
/// is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// At least 20 bytes, and as many as `transport` says are before the transport header.
    header: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Where the transport header begins.
    transport: usize,
    /// `None` if there is no whole transport header.
    protocol: Option<u8>,
    is_six: bool,
}

impl Frame {
    /// `None`: not IP, or broken. A whole packet of a kernel is neither.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let (transport, size, protocol, is_six) = match first >> 4 {
            4 => {
                // More fragments, or an offset: RFC 791 §3.1.
                let is_fragment = u16_at(bytes, 6)? & 0x3fff != 0;
                let protocol = Some(*bytes.get(9)?).filter(|_| !is_fragment);
                (usize::from(first & 0xf) * 4, usize::from(u16_at(bytes, 2)?), protocol, false)
            }
            6 => (HEADER6, HEADER6 + usize::from(u16_at(bytes, 4)?), Some(*bytes.get(6)?), true),
            _ => return None,
        };
        if transport < 20 || size < transport {
            return None;
        }
        let bytes = bytes.get(..size)?;
        let length = match (protocol, is_six) {
            (Some(UDP), _) | (Some(ICMP), false) | (Some(ICMP6), true) => 8,
            (Some(TCP), _) => usize::from(bytes.get(transport + 12).copied().unwrap_or(0) >> 4) * 4,
            _ => 0,
        };
        let whole = bytes.split_at_checked(transport + length).filter(|_| length > 0);
        let (header, payload) = whole.unwrap_or_else(|| bytes.split_at(transport));
        Some(Self {
            header: header.to_vec(),
            payload: payload.to_vec(),
            transport,
            protocol: protocol.filter(|_| whole.is_some()),
            is_six,
        })
    }

    /// Bytes on the wire.
    pub(crate) const fn size(&self) -> usize {
        self.header.len() + self.payload.len()
    }

    pub(crate) fn to(&self) -> IpAddr {
        self.address(if self.is_six { 24 } else { 16 })
    }

    fn from(&self) -> IpAddr {
        self.address(if self.is_six { 8 } else { 12 })
    }

    /// The datagram, if it is UDP and whole. The payload moves out.
    pub(crate) fn take_datagram(&mut self) -> Option<Packet> {
        if self.protocol != Some(UDP) {
            return None;
        }
        let port = |at| u16_at(&self.header, self.transport + at);
        let from = SocketAddr::from((self.from(), port(0)?));
        let to = SocketAddr::from((self.to(), port(2)?));
        Some(Packet { from, to, ecn: self.ecn(), bytes: core::mem::take(&mut self.payload) })
    }

    /// Takes a datagram's addresses and payload in place of its own. `false`: they are of the other IP version.
    pub(crate) fn set_datagram(&mut self, packet: Packet) -> bool {
        match (self.is_six, packet.from.ip(), packet.to.ip()) {
            (false, IpAddr::V4(from), IpAddr::V4(to)) => {
                self.put(12, &from.octets());
                self.put(16, &to.octets());
            }
            (true, IpAddr::V6(from), IpAddr::V6(to)) => {
                self.put(8, &from.octets());
                self.put(24, &to.octets());
            }
            _ => return false,
        }
        self.payload = packet.bytes;
        self.put(self.transport, &packet.from.port().to_be_bytes());
        self.put(self.transport + 2, &packet.to.port().to_be_bytes());
        self.seal();
        true
    }

    /// What it says about congestion: the low two bits of the traffic class (RFC 3168 §5), which is the second byte of IPv4 and the second
    /// and third half byte of IPv6.
    pub(crate) fn ecn(&self) -> Ecn {
        let byte = self.header.get(1).copied().unwrap_or(0);
        Ecn::from_bits(if self.is_six { byte >> 4 } else { byte })
    }

    /// Says that congestion was experienced.
    pub(crate) fn mark(&mut self) {
        let bits = if self.is_six { Ecn::Ce.bits() << 4 } else { Ecn::Ce.bits() };
        if let Some(byte) = self.header.get_mut(1) {
            *byte |= bits;
        }
        self.seal();
    }

    /// Makes lengths and checksums fit what is there.
    pub(crate) fn seal(&mut self) {
        self.payload.truncate(MAX_SIZE.saturating_sub(self.header.len()));
        let size = u16::try_from(self.size()).unwrap_or(u16::MAX);
        let length = size.saturating_sub(u16::try_from(self.transport).unwrap_or(u16::MAX));
        if self.is_six {
            self.put(4, &length.to_be_bytes());
        } else {
            self.put(2, &size.to_be_bytes());
            self.put(10, &[0, 0]);
            let sum = fold(sum(self.header.get(..self.transport).unwrap_or_default()));
            self.put(10, &(!sum).to_be_bytes());
        }
        let at = match self.protocol {
            Some(UDP) => {
                self.put(self.transport + 4, &length.to_be_bytes());
                6
            }
            Some(TCP) => 16,
            Some(ICMP | ICMP6) => 2,
            _ => return,
        };
        self.put(self.transport + at, &[0, 0]);
        let addresses = sum_of_addresses(&self.header, self.protocol, length);
        let header = sum_of_header(&self.header, self.transport);
        let sum = !fold(addresses + header + self::sum(&self.payload));
        // RFC 768: a sum of zero is sent as all ones, because zero says that there is none.
        let sum = if sum == 0 && self.protocol == Some(UDP) { 0xffff } else { sum };
        self.put(self.transport + at, &sum.to_be_bytes());
    }

    /// To be written to a device in one go.
    pub(crate) fn slices(&self) -> [IoSlice<'_>; 2] {
        [IoSlice::new(&self.header), IoSlice::new(&self.payload)]
    }

    fn address(&self, at: usize) -> IpAddr {
        let rest = self.header.get(at..).unwrap_or_default();
        if self.is_six {
            let bytes = rest.first_chunk::<16>();
            bytes.map_or(Ipv6Addr::UNSPECIFIED, |bytes| Ipv6Addr::from(*bytes)).into()
        } else {
            let bytes = rest.first_chunk::<4>();
            bytes.map_or(Ipv4Addr::UNSPECIFIED, |bytes| Ipv4Addr::from(*bytes)).into()
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

/// The pseudo header of TCP and UDP (RFC 768) and of everything above IPv6 (RFC 8200 §8.1); ICMP of IPv4 has none.
fn sum_of_addresses(header: &[u8], protocol: Option<u8>, length: u16) -> u64 {
    let is_six = header.first().is_some_and(|first| first >> 4 == 6);
    let addresses = match protocol {
        Some(TCP | UDP | ICMP6) if is_six => header.get(8..40),
        Some(TCP | UDP) => header.get(12..20),
        _ => return 0,
    };
    sum(addresses.unwrap_or_default()) + u64::from(protocol.unwrap_or(0)) + u64::from(length)
}

fn sum_of_header(header: &[u8], transport: usize) -> u64 {
    sum(header.get(transport..).unwrap_or_default())
}

/// RFC 1071: 16-bit words in network order; an odd byte at the end is the upper half of a word. Headers are even.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
    sum + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

fn fold(mut sum: u64) -> u16 {
    while let high @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + high;
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.slices().iter().flat_map(|slice| slice.to_vec()).collect()
}

/// A UDP packet as a kernel would send it.
#[cfg(test)]
fn datagram(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, UDP, 0, 0];
    bytes.extend(from.ip().octets());
    bytes.extend(to.ip().octets());
    bytes.extend([from.port(), to.port(), 0, 0].iter().flat_map(|word| word.to_be_bytes()));
    bytes.extend(payload);
    let size = u16::try_from(bytes.len()).unwrap();
    bytes[2..4].copy_from_slice(&size.to_be_bytes());
    let mut frame = Frame::parse(&bytes).unwrap();
    frame.seal();
    bytes_of(&frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    /// Whether the sums over an IP header and over a datagram come out as they must: all ones.
    fn is_sound(bytes: &[u8]) -> bool {
        let transport = usize::from(bytes[0] & 0xf) * 4;
        let length = u16::try_from(bytes.len() - transport).unwrap();
        let datagram = sum_of_addresses(bytes, Some(bytes[9]), length) + sum(&bytes[transport..]);
        fold(sum(&bytes[..transport])) == 0xffff && fold(datagram) == 0xffff
    }

    /// The example of RFC 1071 §3.
    #[test]
    fn the_checksum_is_the_one_of_rfc_1071() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    #[test]
    fn a_datagram_that_changed_its_addresses_is_sound_and_reads_as_what_it_became() {
        let bytes = datagram(address("10.0.0.1:1000"), address("192.0.2.1:2000"), b"odd");
        assert!(is_sound(&bytes));
        let mut frame = Frame::parse(&bytes).unwrap();
        let mut packet = frame.take_datagram().unwrap();
        assert_eq!((packet.from, packet.to), (address("10.0.0.1:1000").into(), address("192.0.2.1:2000").into()));
        packet.from = address("192.0.2.7:7").into();
        packet.bytes.push(b'!');
        assert!(frame.set_datagram(packet.clone()));
        let bytes = bytes_of(&frame);
        assert!(is_sound(&bytes));
        assert_eq!(Frame::parse(&bytes).unwrap().take_datagram(), Some(packet));
    }

    /// RFC 8200 §8.1: no checksum of the header, and one of UDP that includes the addresses.
    #[test]
    fn a_datagram_of_ipv6_is_read_marked_and_sound() {
        let (from, to): (SocketAddr, SocketAddr) =
            ("[2001:db8::1]:1000".parse().unwrap(), "[2001:db8::2]:2000".parse().unwrap());
        let mut bytes = vec![0x60, 0x20, 0, 0, 0, 11, UDP, 64];
        for ip in [from.ip(), to.ip()] {
            let IpAddr::V6(ip) = ip else { panic!() };
            bytes.extend(ip.octets());
        }
        bytes.extend([from.port(), to.port(), 11, 0].iter().flat_map(|word| word.to_be_bytes()));
        bytes.extend(b"odd");
        let mut frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.to(), frame.ecn()), (to.ip(), Ecn::Ect0));
        frame.mark();
        let mut packet = frame.take_datagram().unwrap();
        assert_eq!((packet.from, packet.to, packet.ecn), (from, to, Ecn::Ce));
        packet.bytes.push(b'!');
        assert!(frame.set_datagram(packet.clone()));
        let bytes = bytes_of(&frame);
        let whole = sum_of_addresses(&bytes, Some(UDP), 12) + sum(&bytes[40..]);
        assert_eq!((fold(whole), u16_at(&bytes, 4)), (0xffff, Some(12)));
        assert_eq!(Frame::parse(&bytes).unwrap().take_datagram(), Some(packet.clone()));
        packet.from = address("192.0.2.1:1").into();
        assert!(!frame.set_datagram(packet));
    }

    #[test]
    fn a_mark_changes_two_bits_and_leaves_the_packet_sound() {
        let mut bytes = datagram(address("10.0.0.1:1000"), address("192.0.2.1:2000"), b"odd");
        bytes[1] = 0b1010_1010;
        let mut frame = Frame::parse(&bytes).unwrap();
        assert_eq!(frame.ecn(), Ecn::Ect0);
        frame.mark();
        let bytes = bytes_of(&frame);
        assert_eq!(bytes[1], 0b1010_1011);
        assert!(is_sound(&bytes));
    }

    #[test]
    fn fragments_and_other_protocols_pass_whole_and_are_no_datagrams() {
        let mut bytes = datagram(address("10.0.0.1:1000"), address("192.0.2.1:2000"), &[7; 16]);
        bytes[6] = 0x20;
        let mut frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.payload.len(), frame.take_datagram()), (24, None));
        assert_eq!(bytes_of(&frame), bytes);
        bytes[6] = 0;
        bytes[9] = 50;
        assert_eq!(Frame::parse(&bytes).unwrap().take_datagram(), None);
    }

    proptest! {
        /// Whatever is written into a device, nothing panics, and what is understood comes out as it went in, up to its own end.
        #[test]
        fn any_bytes_are_parsed_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..100), shape in any::<bool>()) {
            if shape && bytes.len() > 20 {
                bytes[0] = 0x45;
                bytes[2] = 0;
                bytes[3] = 30;
                bytes[9] = [ICMP, TCP, UDP][usize::from(bytes[10]) % 3];
            } else if bytes.len() > 40 {
                bytes[0] = 0x60;
                bytes[4] = 0;
                bytes[5] %= 60;
                bytes[6] = [ICMP6, TCP, UDP][usize::from(bytes[10]) % 3];
            }
            if let Some(mut frame) = Frame::parse(&bytes) {
                prop_assert!(bytes.starts_with(&bytes_of(&frame)));
                frame.payload.extend([1, 2, 3]);
                frame.seal();
                prop_assert!(Frame::parse(&bytes_of(&frame)).is_some());
                frame.take_datagram();
            }
        }
    }
}
