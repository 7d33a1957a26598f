//! Bytes that have the form of a STUN message.

use core::fmt;

/// Bytes of the header (RFC 8489 §5).
pub const HEADER_LEN: usize = 20;

/// The longest message that is read or written. RFC 8489 §6.1: where the path's MTU is unknown, an IPv4 packet of 576 bytes, which leaves
/// this much for the message.
pub const MAX_LEN: usize = 548;

/// RFC 8489 §5.
pub(super) const MAGIC_COOKIE: u32 = 0x2112_A442;

/// RFC 8489 §14.7: exclusive-or of the CRC, so that it differs from one over the whole packet.
pub(super) const FINGERPRINT_MASK: u32 = 0x5354_554E;

/// Bytes of an attribute before its value.
const ATTRIBUTE_HEADER_LEN: usize = 4;

/// The only method (RFC 8489 §3).
pub const BINDING: u16 = 1;

/// Names a transaction: 96 bits that nobody can guess (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub [u8; 12]);

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a message is in its transaction (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// It was done.
    Success,
    /// It was not.
    Error,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Longer than a message may be: [`MAX_LEN`], unless something else is said.
    TooLong,
    /// Shorter than a header.
    TooShort,
    /// The first two bits are not zero, or there is no magic cookie: not STUN, or that of RFC 3489.
    NotStun,
    /// The length in the header is not that of the datagram, or no multiple of four.
    Length,
    /// An attribute reaches beyond the end.
    Attribute,
    /// There is a FINGERPRINT, and it is wrong or not the last attribute.
    Fingerprint,
}

/// A message whose form was checked: header, length, attributes up to the end, FINGERPRINT if there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct View<'a> {
    /// What it is in its transaction.
    pub class: Class,
    /// What is asked: [`BINDING`], or something we do not speak.
    pub method: u16,
    /// Its transaction.
    pub id: TransactionId,
    attributes: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks a datagram.
    pub fn check(datagram: &'a [u8]) -> Result<Self, Malformed> {
        Self::check_up_to(MAX_LEN, datagram)
    }

    /// Checks a datagram that may be longer than others.
    pub(crate) fn check_up_to(max_len: usize, datagram: &'a [u8]) -> Result<Self, Malformed> {
        if datagram.len() > max_len {
            return Err(Malformed::TooLong);
        }
        let (header, attributes) = datagram.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::TooShort)?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
        let kind = u16::from_be_bytes([t0, t1]);
        if kind >> 14 != 0 || u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(Malformed::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if length != attributes.len() || !length.is_multiple_of(4) {
            return Err(Malformed::Length);
        }
        let (class, method) = class_and_method(kind);
        let view = Self { class, method, id: TransactionId(id), attributes };
        view.check_attributes(datagram)?;
        Ok(view)
    }

    /// The attributes in front of FINGERPRINT: types and values, without padding, in order.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut left = self.attributes;
        core::iter::from_fn(move || {
            let (kind, value, rest) = split_attribute(left)?;
            left = rest;
            (kind != super::attribute::FINGERPRINT).then_some((kind, value))
        })
    }

    /// RFC 8489 §14.7: the CRC-32 of everything before the attribute, whose own length the header's already counts.
    fn check_attributes(&self, datagram: &[u8]) -> Result<(), Malformed> {
        let mut left = self.attributes;
        while !left.is_empty() {
            let (kind, value, rest) = split_attribute(left).ok_or(Malformed::Attribute)?;
            if kind == super::attribute::FINGERPRINT {
                let before = datagram.get(..datagram.len().saturating_sub(left.len())).unwrap_or_default();
                let expected = (crc32fast::hash(before) ^ FINGERPRINT_MASK).to_be_bytes();
                return if rest.is_empty() && value == expected { Ok(()) } else { Err(Malformed::Fingerprint) };
            }
            left = rest;
        }
        Ok(())
    }
}

/// `binding success 0102030405060708090a0b0c, 2 attributes`.
impl fmt::Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = if self.method == BINDING { "binding" } else { "unknown" };
        let class = match self.class {
            Class::Request => "request",
            Class::Indication => "indication",
            Class::Success => "success",
            Class::Error => "error",
        };
        write!(f, "{method} {class} {:?}, {} attributes", self.id, self.attributes().count())
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// RFC 8489 §5: the bits of the class (C1, C0) lie between those of the method: `MMMMM C1 MMM C0 MMMM`.
const fn class_and_method(kind: u16) -> (Class, u16) {
    let class = match (kind >> 8 & 1, kind >> 4 & 1) {
        (0, 0) => Class::Request,
        (0, _) => Class::Indication,
        (_, 0) => Class::Success,
        (_, _) => Class::Error,
    };
    (class, kind & 0x000F | kind >> 1 & 0x0070 | kind >> 2 & 0x0F80)
}

/// The first attribute, and what follows its padding.
fn split_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&[t0, t1, l0, l1], rest) = bytes.split_first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let (padded, rest) = rest.split_at_checked(length.next_multiple_of(4))?;
    Some((u16::from_be_bytes([t0, t1]), padded.get(..length)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.2 without the attributes: header, XOR-MAPPED-ADDRESS.
    fn answer() -> Vec<u8> {
        let mut bytes = vec![1, 1, 0, 12, 0x21, 0x12, 0xA4, 0x42];
        bytes.extend([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);
        bytes.extend([0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        bytes
    }

    /// The same, with FINGERPRINT.
    fn fingerprinted() -> Vec<u8> {
        let mut bytes = answer();
        bytes[3] += 8;
        let crc = (crc32fast::hash(&bytes) ^ FINGERPRINT_MASK).to_be_bytes();
        bytes.extend([0x80, 0x28, 0, 4]);
        bytes.extend(crc);
        bytes
    }

    #[test]
    fn a_message_shows_its_class_method_id_and_attributes() {
        let bytes = answer();
        let view = View::check(&bytes).unwrap();
        assert_eq!((view.class, view.method, view.id.0[0]), (Class::Success, BINDING, 0xb7));
        assert_eq!(view.attributes().collect::<Vec<_>>(), [(0x20, &bytes[24..])]);
        assert_eq!(view.to_string(), "binding success b7e7a701bc34d686fa87dfae, 1 attributes");
        let kinds =
            [(0x0001, Class::Request), (0x0011, Class::Indication), (0x0101, Class::Success), (0x0111, Class::Error)];
        assert!(kinds.iter().all(|(kind, class)| class_and_method(*kind) == (*class, BINDING)));
        assert_eq!(class_and_method(0x3EEF), (Class::Request, 0xFFF));
    }

    #[test]
    fn what_is_wrong_with_a_message_is_said() {
        let good = answer();
        assert_eq!(View::check(&good[..19]), Err(Malformed::TooShort));
        assert_eq!(View::check(&[]), Err(Malformed::TooShort));
        assert_eq!(View::check(&good[..28]), Err(Malformed::Length));
        assert_eq!(View::check(&vec![0; MAX_LEN + 1]), Err(Malformed::TooLong));
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        assert_eq!(View::check(&changed(0, 0x41)), Err(Malformed::NotStun));
        assert_eq!(View::check(&changed(4, 0)), Err(Malformed::NotStun));
        assert_eq!(View::check(&changed(3, 13)), Err(Malformed::Length));
        assert_eq!(View::check(&changed(23, 9)), Err(Malformed::Attribute));
        assert_eq!(View::check(&changed(22, 0xFF)), Err(Malformed::Attribute));
        // Not a multiple of four, even where header and datagram agree.
        assert_eq!(View::check(&[&changed(3, 13)[..], &[0]].concat()), Err(Malformed::Length));
    }

    #[test]
    fn a_fingerprint_is_checked_and_has_to_be_the_last() {
        let good = fingerprinted();
        assert_eq!(View::check(&good).unwrap().attributes().count(), 1);
        for at in [2, 10, 20, 30, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(View::check(&bad).is_err(), "{at}");
        }
        let mut more = good.clone();
        more[3] += 4;
        more.extend([0x80, 0x22, 0, 0]);
        assert_eq!(View::check(&more), Err(Malformed::Fingerprint));
    }
}
