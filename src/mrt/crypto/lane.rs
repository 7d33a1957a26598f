//! The tags of RELY packets: who is between two others passes on only what one of them handed over, once.
//!
//! Nothing is sealed here, for what is carried is sealed end to end. The keys are derived from the first secrets of the connection and
//! stay the same: with nothing to keep secret, there is nothing that a change of keys would protect. Numbers are never used twice.

use super::aead::{Cipher, PacketKey, Secret};
use super::replay::ReplayWindow;
use crate::mrt::route::RelayChannel;
use crate::mrt::wire::header::{RELY_HEADER_LEN, TAG_LEN};
use crate::mrt::wire::packet::Cid;
use crate::mrt::wire::{PacketNumber, RelyHeader};
use core::ops::Range;

/// What a connection has for relaying, in both directions. The keys come into being with the first packet.
pub(crate) struct Lane {
    cipher: Cipher,
    send: Secret,
    receive: Secret,
    keys: Option<Box<[PacketKey; 2]>>,
    next: u64,
    seen: ReplayWindow,
}

impl Lane {
    /// `send` and `receive`: the connection's first secrets.
    pub(crate) fn new(cipher: Cipher, send: &Secret, receive: &Secret) -> Self {
        Self {
            cipher,
            send: send.for_relaying(),
            receive: receive.for_relaying(),
            keys: None,
            next: 0,
            seen: ReplayWindow::new(),
        }
    }

    /// Appends the packet that carries `inner`. `None`: the numbers are used up.
    pub(crate) fn wrap(&mut self, to: Cid, channel: RelayChannel, inner: &[u8], buffer: &mut Vec<u8>) -> Option<()> {
        let counter = self.next;
        let after = PacketNumber(counter).next()?;
        self.next = after.0;
        let start = buffer.len();
        RelyHeader { to, counter, channel }.emit(buffer);
        buffer.extend_from_slice(inner);
        let [key, _] = self.keys();
        let tag = key.seal(PacketNumber(counter), buffer.get(start..)?, &mut []);
        buffer.extend_from_slice(&tag);
        Some(())
    }

    /// Where in the datagram the carried one lies, and whether it is the newest so far. `None`: not authentic, or seen before; nothing
    /// changed.
    pub(crate) fn unwrap(&mut self, header: RelyHeader, datagram: &mut [u8]) -> Option<(Range<usize>, bool)> {
        let number = PacketNumber(header.counter);
        if number > PacketNumber::MAX || !self.seen.is_fresh(number) {
            return None;
        }
        let end = datagram.len().checked_sub(TAG_LEN)?;
        let (authenticated, tag) = datagram.split_at_mut_checked(end)?;
        let [_, key] = self.keys();
        key.open(number, authenticated, tag)?;
        let newest = self.seen.largest().is_none_or(|largest| number > largest);
        self.seen.record(number);
        Some((RELY_HEADER_LEN..end, newest))
    }

    fn keys(&mut self) -> &[PacketKey; 2] {
        let (cipher, send, receive) = (self.cipher, &self.send, &self.receive);
        self.keys.get_or_insert_with(|| Box::new([PacketKey::new(cipher, send), PacketKey::new(cipher, receive)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> [Lane; 2] {
        let (a, b) = (Secret::new([1; 32]), Secret::new([2; 32]));
        [Lane::new(Cipher::Aes128Gcm, &a, &b), Lane::new(Cipher::Aes128Gcm, &b, &a)]
    }

    fn wrapped(lane: &mut Lane, inner: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        lane.wrap(Cid(7), RelayChannel(3), inner, &mut bytes).unwrap();
        bytes
    }

    fn opens(lane: &mut Lane, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let header = RelyHeader::parse(&bytes).ok()?;
        let (inner, _) = lane.unwrap(header, &mut bytes)?;
        Some(bytes[inner].to_vec())
    }

    #[test]
    fn what_is_wrapped_comes_out_once_and_only_at_the_other_end() {
        let [mut alice, mut bob] = pair();
        let bytes = wrapped(&mut alice, b"hello");
        assert_eq!(bytes.len(), 5 + crate::mrt::wire::header::RELY_OVERHEAD);
        assert_eq!(opens(&mut alice, bytes.clone()), None, "not even to who wrapped it");
        assert_eq!(opens(&mut bob, bytes.clone()).as_deref(), Some(&b"hello"[..]));
        assert_eq!(opens(&mut bob, bytes), None, "a copy");
    }

    #[test]
    fn a_byte_changed_anywhere_is_found_and_costs_the_genuine_one_nothing() {
        let [mut alice, mut bob] = pair();
        let bytes = wrapped(&mut alice, b"hello");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(opens(&mut bob, damaged), None, "byte {at}");
        }
        assert!(opens(&mut bob, bytes).is_some());
    }
}
