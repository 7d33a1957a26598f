//! The keys of a connection in both directions, through key updates (RFC 9001 §6, without the TLS parts).
//!
//! Either side may move to the next key phase once something it sealed in the present one was acknowledged; the other follows as
//! soon as it opens a packet of the next phase. Packets of the phase before still open for a while, because the network reorders.

use crate::mrt::crypto::aead::{Cipher, PacketKey, Secret};
use crate::mrt::wire::number::PacketNumber;
use crate::time::{Duration, Instant};

/// After how many packets a sender changes keys. AES-GCM stays safe to 2^23 packets (RFC 9001 §6.6).
pub(crate) const UPDATE_AFTER: u64 = 1 << 22;

/// Both directions' keys.
pub(crate) struct Keys {
    cipher: Cipher,
    send: Sending,
    receive: Receiving,
}

struct Sending {
    phase: bool,
    secret: Secret,
    key: PacketKey,
    /// Packets sealed in this phase.
    sealed: u64,
    /// The first number of this phase: once it or a later one is acknowledged, the phase may end.
    first: Option<PacketNumber>,
    acknowledged: bool,
    update_after: u64,
}

struct Receiving {
    phase: bool,
    secret: Secret,
    key: PacketKey,
    /// The smallest number opened in this phase.
    first: Option<PacketNumber>,
    previous: Option<(PacketKey, Instant)>,
}

impl Keys {
    pub(crate) fn new(cipher: Cipher, send: Secret, receive: Secret, update_after: u64) -> Self {
        let (send_key, receive_key) = (PacketKey::new(cipher, &send), PacketKey::new(cipher, &receive));
        Self {
            cipher,
            send: Sending {
                phase: false,
                secret: send,
                key: send_key,
                sealed: 0,
                first: None,
                acknowledged: false,
                update_after: update_after.clamp(1, UPDATE_AFTER),
            },
            receive: Receiving { phase: false, secret: receive, key: receive_key, first: None, previous: None },
        }
    }

    /// The key phase bit that the packet sealed next carries. Changes keys when it is time to.
    pub(crate) fn phase_for(&mut self, number: PacketNumber) -> bool {
        if self.send.sealed >= self.send.update_after && self.send.acknowledged {
            self.move_to_next_send_key();
        }
        self.send.first.get_or_insert(number);
        self.send.phase
    }

    /// Seals a packet's frames in place; see [`PacketKey::seal`].
    pub(crate) fn seal(&mut self, number: PacketNumber, header: &[u8], body: &mut [u8]) -> [u8; 16] {
        self.send.sealed += 1;
        self.send.key.seal(number, header, body)
    }

    /// The other side acknowledged packets up to `largest`.
    pub(crate) fn on_acknowledged(&mut self, largest: PacketNumber) {
        if self.send.first.is_some_and(|first| largest >= first) {
            self.send.acknowledged = true;
        }
    }

    /// Opens a packet in place. A packet of the next phase moves both directions there; `keep_previous` says how long old packets may
    /// still come. `None`: not authentic, nothing changed.
    pub(crate) fn open<'a>(
        &mut self,
        now: Instant,
        keep_previous: Duration,
        number: PacketNumber,
        phase: bool,
        header: &[u8],
        body: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let receive = &mut self.receive;
        if phase == receive.phase {
            let opened = receive.key.open(number, header, body)?;
            receive.first = Some(receive.first.map_or(number, |first| first.min(number)));
            return Some(opened);
        }
        if receive.first.is_none_or(|first| number < first) {
            if let Some((key, until)) = &receive.previous
                && now <= *until
            {
                return key.open(number, header, body);
            }
            // Before anything was opened in this phase there is no next one to move to either.
            return None;
        }
        let secret = receive.secret.next();
        let key = PacketKey::new(self.cipher, &secret);
        let opened = key.open(number, header, body)?;
        let previous = core::mem::replace(&mut receive.key, key);
        receive.previous = Some((previous, now + keep_previous));
        receive.secret = secret;
        receive.phase = phase;
        receive.first = Some(number);
        if self.send.phase != phase {
            self.move_to_next_send_key();
        }
        Some(opened)
    }

    fn move_to_next_send_key(&mut self) {
        let send = &mut self.send;
        send.secret = send.secret.next();
        send.key = PacketKey::new(self.cipher, &send.secret);
        send.phase = !send.phase;
        send.sealed = 0;
        send.first = None;
        send.acknowledged = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(1);

    fn pair(update_after: u64) -> (Keys, Keys) {
        let (one, two) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let cipher = Cipher::ChaCha20Poly1305;
        (Keys::new(cipher, one.clone(), two.clone(), update_after), Keys::new(cipher, two, one, update_after))
    }

    fn seal(keys: &mut Keys, number: u64) -> (bool, Vec<u8>) {
        let phase = keys.phase_for(PacketNumber(number));
        let mut body = b"frames".to_vec();
        let tag = keys.seal(PacketNumber(number), b"h", &mut body);
        body.extend_from_slice(&tag);
        (phase, body)
    }

    fn opens(keys: &mut Keys, at: u64, number: u64, (phase, mut body): (bool, Vec<u8>)) -> bool {
        let now = Instant::from_start(Duration::from_secs(at));
        keys.open(now, KEEP, PacketNumber(number), phase, b"h", &mut body).is_some()
    }

    #[test]
    fn a_sender_changes_keys_only_after_an_acknowledgement_and_the_receiver_follows() {
        let (mut alice, mut bob) = pair(2);
        let late = seal(&mut alice, 0);
        for number in 1..5 {
            let packet = seal(&mut alice, number);
            assert!(!packet.0, "not acknowledged: the first phase goes on");
            assert!(opens(&mut bob, 0, number, packet));
        }
        alice.on_acknowledged(PacketNumber(4));
        let updated = seal(&mut alice, 5);
        assert!(updated.0);
        assert!(opens(&mut bob, 0, 5, updated));
        assert!(bob.phase_for(PacketNumber(0)), "the answer comes under the next key, too");
        assert!(opens(&mut bob, 1, 0, late.clone()), "a packet that was overtaken still opens");
        assert!(!opens(&mut bob, 9, 0, late), "but not for ever");
    }

    #[test]
    fn a_forged_phase_bit_changes_nothing() {
        let (mut alice, mut bob) = pair(100);
        assert!(opens(&mut bob, 0, 0, seal(&mut alice, 0)));
        let (_, body) = seal(&mut alice, 1);
        assert!(!opens(&mut bob, 0, 1, (true, body.clone())));
        assert!(opens(&mut bob, 0, 1, (false, body)));
    }
}
