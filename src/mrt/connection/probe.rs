//! A new address of the other side, which has to prove itself before data goes there (RFC 9000 §9).
//!
//! A NAT that forgets a mapping, a change of network: authentic packets come from another address. Nobody sends more there than
//! three times what came from it, until it has repeated what only its owner can have read.

use crate::time::Instant;
use std::net::SocketAddr;

/// How often the challenge is sent, at most.
const MAX_CHALLENGES: u32 = 6;

/// An address on trial.
#[derive(Debug)]
pub(super) struct PathProbe {
    pub(super) remote: SocketAddr,
    pub(super) token: [u8; 8],
    /// When to send the challenge (again); `None`: given up, unless the address is heard from again.
    pub(super) next: Option<Instant>,
    sent: u32,
    received_bytes: u64,
    sent_bytes: u64,
}

impl PathProbe {
    pub(super) const fn new(now: Instant, remote: SocketAddr, token: [u8; 8]) -> Self {
        Self { remote, token, next: Some(now), sent: 0, received_bytes: 0, sent_bytes: 0 }
    }

    /// An authentic datagram came from there.
    pub(super) const fn on_received(&mut self, bytes: u64) {
        self.received_bytes = self.received_bytes.saturating_add(bytes);
    }

    /// Whether `bytes` may go there. RFC 9000 §8.1: at most three times what came.
    pub(super) const fn allows(&self, bytes: u64) -> bool {
        self.sent_bytes.saturating_add(bytes) <= self.received_bytes.saturating_mul(3)
    }

    /// The challenge left; `again`: when to repeat it.
    pub(super) const fn on_challenged(&mut self, bytes: u64, again: Instant) {
        self.on_sent(bytes);
        self.sent += 1;
        self.next = if self.sent < MAX_CHALLENGES { Some(again) } else { None };
    }

    /// Something else went there.
    pub(super) const fn on_sent(&mut self, bytes: u64) {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unproven_address_gets_three_times_what_came_from_it_and_no_more() {
        let mut probe = PathProbe::new(Instant::ZERO, SocketAddr::from(([192, 0, 2, 1], 9)), [0; 8]);
        assert!(!probe.allows(1));
        probe.on_received(100);
        assert!(probe.allows(300));
        probe.on_sent(250);
        assert!(probe.allows(50) && !probe.allows(51));
    }
}
