//! Packets: what a datagram is, which its first byte tells, and whose.

use core::fmt;

pub(super) const RCON: u8 = 0xA0;
pub(super) const RTRY: u8 = 0xA1;
pub(super) const ACON: u8 = 0xA2;
const PNCH: u8 = 0xA3;
pub(super) const DATA: u8 = 0xA8;
/// The bit of DATA's first byte that says which of two keys.
pub(super) const KEY_PHASE: u8 = 0x01;
pub(super) const RELY: u8 = 0xAC;

/// What the first byte of a datagram says it is. STUN begins with 0–3 and is none of these (RFC 7983).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Asks for a connection.
    Rcon,
    /// Asks to be asked again, with a cookie.
    Rtry,
    /// Accepts a connection, or goes on with its setup.
    Acon,
    /// Opens a NAT: not ours, but on the same socket.
    Pnch,
    /// Sealed frames.
    Data,
    /// A whole datagram on its way through somebody else.
    Rely,
}

impl PacketKind {
    /// What a datagram with this first byte is; `None` if it is nothing of MRT's.
    pub const fn of(first_byte: u8) -> Option<Self> {
        match first_byte {
            RCON => Some(Self::Rcon),
            RTRY => Some(Self::Rtry),
            ACON => Some(Self::Acon),
            PNCH => Some(Self::Pnch),
            DATA | 0xA9 => Some(Self::Data),
            RELY => Some(Self::Rely),
            _ => None,
        }
    }
}

/// A connection id. Whoever receives packets with it has chosen it, at random, so that a packet finds its connection whatever
/// address it comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid(pub u64);

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The Noise pattern of a connection's setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pattern {
    /// Both keys are learned: two round trips.
    XX = 0,
    /// The responder's key is known: one round trip.
    IK = 1,
    /// As IK, and both know a secret.
    IKpsk2 = 2,
}

impl Pattern {
    pub(super) const fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::XX),
            1 => Some(Self::IK),
            2 => Some(Self::IKpsk2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_is_one_kind_or_none() {
        let ours: Vec<u8> = (0..=255).filter(|byte| PacketKind::of(*byte).is_some()).collect();
        assert_eq!(ours, [0xA0, 0xA1, 0xA2, 0xA3, 0xA8, 0xA9, 0xAC]);
        assert_eq!(PacketKind::of(0xA9), Some(PacketKind::Data));
    }
}
