//! A UDP datagram as the network sees it.

use core::fmt;
use std::net::SocketAddr;

/// A UDP datagram and where it goes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The sender's address, as the receiver will see it.
    pub from: SocketAddr,
    /// The receiver's address.
    pub to: SocketAddr,
    /// What the sender and the queues on the way say about congestion.
    pub ecn: Ecn,
    /// The UDP payload.
    pub bytes: Vec<u8>,
}

impl Packet {
    /// A packet of a sender that knows nothing of ECN.
    pub const fn new(from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) -> Self {
        Self { from, to, ecn: Ecn::NotCapable, bytes }
    }

    /// Bytes of the IP and UDP headers before the payload: 28 for IPv4, 48 for IPv6, without options.
    pub const fn headers(&self) -> usize {
        if self.to.is_ipv4() { 28 } else { 48 }
    }

    /// Bytes on the wire: headers and payload.
    pub const fn wire_size(&self) -> usize {
        self.headers() + self.bytes.len()
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}, {} bytes", self.from, self.to, self.bytes.len())
    }
}

/// The two ECN bits of the IP header (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Ecn {
    /// 00: the sender does not take part; a full queue can only drop.
    #[default]
    NotCapable,
    /// 01: capable, and asking for the early marks of L4S (RFC 9331 §4.1).
    Ect1,
    /// 10: capable.
    Ect0,
    /// 11: congestion was experienced on the way.
    Ce,
}

impl Ecn {
    /// Whether a queue may mark the packet instead of dropping it.
    pub const fn is_capable(self) -> bool {
        !matches!(self, Self::NotCapable)
    }

    /// From the low two bits of the traffic class.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotCapable,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// As the low two bits of the traffic class.
    pub const fn bits(self) -> u8 {
        match self {
            Self::NotCapable => 0,
            Self::Ect1 => 1,
            Self::Ect0 => 2,
            Self::Ce => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_codepoints_survive_the_header() {
        for bits in 0..4 {
            assert_eq!(Ecn::from_bits(0b1010_1000 | bits).bits(), bits);
        }
        assert_eq!([Ecn::NotCapable, Ecn::Ce].map(Ecn::is_capable), [false, true]);
    }
}
