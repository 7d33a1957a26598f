//! PNCH: the packet that opens a NAT, and that proves which two addresses can talk.
//!
//! ```text
//! PNCH   A3 | kind 1 | round 2 | pair 8 | nonce 8 | echo 8 | tag 16 | CRC 4     = 48 bytes
//! ```
//!
//! Numbers are big-endian. The lowest three bits of `kind` are what it says, bit 7 is set by the end that began the punch (so that a
//! packet which is thrown back at its sender is not taken for an answer), bit 6 marks the open form between strangers. The tag is a
//! keyed BLAKE3 over everything before it: nobody but the two ends can make one. All packets have the same size, so that no answer is
//! larger than what it answers.

use core::fmt;

/// The first byte of every PNCH: MRT keeps it free for us (`A3`), and it is none of STUN's.
pub const PNCH: u8 = 0xA3;

/// Bytes of every PNCH.
pub const LEN: usize = 48;

const CRC_LEN: usize = 4;
const TAG_LEN: usize = 16;
const FROM_INITIATOR: u8 = 0x80;
const OPEN: u8 = 0x40;
const KIND_BITS: u8 = 0x07;

/// Names a punch on the wire, so that whoever has several finds the right one. The same at both ends, and no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairId(pub u64);

/// What a PNCH says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Are you there?
    Probe = 1,
    /// I heard your `echo`.
    Reply = 2,
    /// I heard your `echo`, which was a reply: this way works in both directions.
    Confirm = 3,
    /// Let us take this way. Only the initiator says that.
    Choose = 4,
    /// Agreed.
    Chosen = 5,
}

impl Kind {
    const fn from_wire(bits: u8) -> Option<Self> {
        match bits {
            1 => Some(Self::Probe),
            2 => Some(Self::Reply),
            3 => Some(Self::Confirm),
            4 => Some(Self::Choose),
            5 => Some(Self::Chosen),
            _ => None,
        }
    }
}

/// A packet's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it says.
    pub kind: Kind,
    /// Whether the end that began the punch sent it.
    pub from_initiator: bool,
    /// In which round it was sent.
    pub round: u16,
    /// The sender's name for it.
    pub nonce: u64,
    /// The nonce of the packet that it answers; of a probe, 0.
    pub echo: u64,
}

/// Why bytes are no packet of this punch. They changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a PNCH of this form, or damaged on the way.
    #[error("not a punch packet")]
    Malformed,
    /// Of another pair.
    #[error("of another pair")]
    Foreign,
    /// It looks right and its tag is wrong, or it is our own, thrown back: somebody else made it.
    #[error("wrong tag")]
    Forged,
}

/// Makes and checks the packets of one pair.
#[derive(Clone)]
pub struct Sealer {
    key: [u8; 32],
    pair: PairId,
    open: bool,
}

/// The key stays out of logs.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({:016x})", self.pair.0)
    }
}

/// Which punch a datagram belongs to, if it is a whole PNCH between acquainted ends. Nothing of it is proven by that.
pub fn pair_of(datagram: &[u8]) -> Option<PairId> {
    let (head, _) = split(datagram).ok()?;
    (head.flags & OPEN == 0).then_some(head.pair)
}

/// Whether a datagram is a whole PNCH between strangers. Nothing of it is proven by that.
pub fn is_open(datagram: &[u8]) -> bool {
    split(datagram).is_ok_and(|(head, _)| head.flags & OPEN != 0)
}

impl Sealer {
    /// For the pair that shares a channel with this binding (unique to it and secret or not) and two halves of a secret.
    pub fn new(binding: &[u8; 32], initiator: &[u8; 16], responder: &[u8; 16]) -> Self {
        let material = [&binding[..], initiator, responder].concat();
        let key = blake3::derive_key("anjer 2026 punch packet key", &material);
        Self { key, pair: pair_id(blake3::derive_key("anjer 2026 punch pair", &material)), open: false }
    }

    /// For strangers: whoever knows that the two want to meet can make this tag. It leads to no more than an answer.
    pub fn open() -> Self {
        let key = blake3::derive_key("anjer 2026 punch between strangers", b"open");
        Self { key, pair: PairId(0), open: true }
    }

    /// The name of the pair on the wire.
    pub const fn pair(&self) -> PairId {
        self.pair
    }

    /// The datagram that says this.
    pub fn seal(&self, packet: &Packet) -> [u8; LEN] {
        let flags = packet.kind as u8
            | if packet.from_initiator { FROM_INITIATOR } else { 0 }
            | if self.open { OPEN } else { 0 };
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(&[PNCH, flags]);
        bytes.extend_from_slice(&packet.round.to_be_bytes());
        bytes.extend_from_slice(&self.pair.0.to_be_bytes());
        bytes.extend_from_slice(&packet.nonce.to_be_bytes());
        bytes.extend_from_slice(&packet.echo.to_be_bytes());
        let tag = self.tag(&bytes);
        bytes.extend_from_slice(&tag);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes.try_into().unwrap_or([0; LEN])
    }

    /// What a datagram says, if the other end of this pair made it. `initiator`: whether we began the punch; between strangers nobody
    /// did, and nothing can be said about who made it.
    pub fn open_datagram(&self, datagram: &[u8], initiator: bool) -> Result<Packet, Refused> {
        let (head, tag) = split(datagram)?;
        if head.pair != self.pair || (head.flags & OPEN != 0) != self.open {
            return Err(Refused::Foreign);
        }
        let signed = datagram.get(..LEN - CRC_LEN - TAG_LEN).ok_or(Refused::Malformed)?;
        let is_echo_of_ours = !self.open && (head.flags & FROM_INITIATOR != 0) == initiator;
        if !same(&self.tag(signed), &tag) || is_echo_of_ours {
            return Err(Refused::Forged);
        }
        Ok(Packet {
            kind: head.kind,
            from_initiator: head.flags & FROM_INITIATOR != 0,
            round: head.round,
            nonce: head.nonce,
            echo: head.echo,
        })
    }

    fn tag(&self, bytes: &[u8]) -> [u8; TAG_LEN] {
        let hash = blake3::keyed_hash(&self.key, bytes);
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, round, nonce, echo, .. } = self;
        write!(f, "PNCH {kind:?} round {round} nonce {nonce:016x} echo {echo:016x}")
    }
}

/// The fields before the tag, and the CRC is right.
struct Head {
    kind: Kind,
    flags: u8,
    round: u16,
    pair: PairId,
    nonce: u64,
    echo: u64,
}

fn split(datagram: &[u8]) -> Result<(Head, [u8; TAG_LEN]), Refused> {
    let whole: &[u8; LEN] = datagram.try_into().map_err(|_| Refused::Malformed)?;
    fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Refused> {
        let (field, tail) = rest.split_first_chunk().ok_or(Refused::Malformed)?;
        *rest = tail;
        Ok(field)
    }
    let mut rest = &whole[..];
    let [first, flags] = *take(&mut rest)?;
    let kind = Kind::from_wire(flags & KIND_BITS).ok_or(Refused::Malformed)?;
    let is_plain = flags & !(KIND_BITS | FROM_INITIATOR | OPEN) == 0;
    let head = Head {
        kind,
        flags,
        round: u16::from_be_bytes(*take(&mut rest)?),
        pair: PairId(u64::from_be_bytes(*take(&mut rest)?)),
        nonce: u64::from_be_bytes(*take(&mut rest)?),
        echo: u64::from_be_bytes(*take(&mut rest)?),
    };
    let tag = *take(&mut rest)?;
    let crc = u32::from_be_bytes(*take(&mut rest)?);
    let body = whole.split_last_chunk::<CRC_LEN>().map_or(&[][..], |(body, _)| body);
    if first != PNCH || !is_plain || crc32fast::hash(body) != crc {
        return Err(Refused::Malformed);
    }
    Ok((head, tag))
}

/// Comparing two BLAKE3 hashes takes the same time wherever they differ.
fn same(a: &[u8; TAG_LEN], b: &[u8; TAG_LEN]) -> bool {
    let whole = |tag: &[u8; TAG_LEN]| {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(tag).for_each(|(to, from)| *to = *from);
        blake3::Hash::from_bytes(bytes)
    };
    whole(a) == whole(b)
}

fn pair_id(hash: [u8; 32]) -> PairId {
    PairId(u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default()))
}

/// For fuzzing: whatever the bytes, as they are and with the CRC put right, they are refused or mean what they say when sealed again.
pub fn fuzz(data: &[u8]) -> bool {
    let sealer = Sealer::new(&[1; 32], &[2; 16], &[3; 16]);
    let mut fixed = data.to_vec();
    fixed.truncate(LEN - CRC_LEN);
    fixed.extend_from_slice(&crc32fast::hash(&fixed).to_be_bytes());
    let read = [data, &fixed].map(|datagram| {
        for initiator in [true, false] {
            if let Ok(packet) = sealer.open_datagram(datagram, initiator) {
                assert_eq!(sealer.seal(&packet)[..], *datagram, "{packet}");
            }
        }
        pair_of(datagram).is_some() || is_open(datagram)
    });
    read.contains(&true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mrt::wire::PacketKind;
    use proptest::prelude::*;

    const PROBE: Packet = Packet { kind: Kind::Probe, from_initiator: true, round: 1, nonce: 7, echo: 0 };

    fn sealer() -> Sealer {
        Sealer::new(&[1; 32], &[2; 16], &[3; 16])
    }

    #[test]
    fn the_first_byte_is_the_one_that_mrt_keeps_for_us_and_none_of_stuns() {
        assert_eq!(PacketKind::of(PNCH), Some(PacketKind::Pnch));
        assert!(!crate::stun::is_stun(PNCH));
    }

    #[test]
    fn the_bytes_are_as_the_diagram_says() {
        let bytes = sealer().seal(&Packet { kind: Kind::Reply, round: 0x0102, nonce: 3, echo: 4, ..PROBE });
        assert_eq!(bytes[..4], [0xA3, 0x82, 1, 2]);
        assert_eq!(bytes[4..12], sealer().pair().0.to_be_bytes());
        assert_eq!(bytes[12..28], [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4]);
        assert_eq!(bytes[44..], crc32fast::hash(&bytes[..44]).to_be_bytes());
        assert_eq!(pair_of(&bytes), Some(sealer().pair()));
    }

    #[test]
    fn only_the_other_end_is_believed() {
        let bytes = sealer().seal(&PROBE);
        assert_eq!(sealer().open_datagram(&bytes, false), Ok(PROBE));
        assert_eq!(sealer().open_datagram(&bytes, true), Err(Refused::Forged), "our own, thrown back");
        assert_eq!(Sealer::new(&[1; 32], &[2; 16], &[4; 16]).open_datagram(&bytes, false), Err(Refused::Foreign));
        let mut guessed = bytes;
        guessed[40] ^= 1;
        let crc = crc32fast::hash(&guessed[..44]).to_be_bytes();
        guessed[44..].copy_from_slice(&crc);
        assert_eq!(sealer().open_datagram(&guessed, false), Err(Refused::Forged));
        assert_eq!(Sealer::open().open_datagram(&bytes, false), Err(Refused::Foreign));
    }

    #[test]
    fn strangers_understand_each_other_and_nobody_takes_it_for_more() {
        let bytes = Sealer::open().seal(&PROBE);
        assert!(is_open(&bytes) && pair_of(&bytes).is_none());
        assert_eq!(Sealer::open().open_datagram(&bytes, true), Ok(PROBE), "nobody is the initiator");
        assert_eq!(sealer().open_datagram(&bytes, false), Err(Refused::Foreign));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_what_is_changed_does_not(
            (kind, round, nonce, echo) in (1_u8..6, any::<u16>(), any::<u64>(), any::<u64>()),
            (at, change) in (0..LEN, 1_u8..),
        ) {
            let packet = Packet { kind: Kind::from_wire(kind).unwrap(), round, nonce, echo, ..PROBE };
            let mut bytes = sealer().seal(&packet);
            prop_assert_eq!(sealer().open_datagram(&bytes, false), Ok(packet));
            bytes[at] ^= change;
            prop_assert!(sealer().open_datagram(&bytes, false).is_err());
            let crc = crc32fast::hash(&bytes[..44]).to_be_bytes();
            bytes[44..].copy_from_slice(&crc);
            prop_assert!(at >= 44 || sealer().open_datagram(&bytes, false).is_err());
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            fuzz(&bytes);
        }
    }

    #[test]
    fn the_fuzzer_gets_past_the_first_checks() {
        assert!(fuzz(&sealer().seal(&PROBE)));
    }
}
