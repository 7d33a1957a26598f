//! What a punch sent and heard: which nonce went where, and which ways were proven.

use crate::machine::SocketId;
use crate::stun::candidate::Preference;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Packets of one punch whose nonces are remembered: all that it may send, answers included.
const MAX_SENT: usize = 4_096;

/// The other end's nonces that are remembered.
const MAX_HEARD: usize = 8_192;

/// Answers to one nonce: a packet may be duplicated, and an answer lost. A replayed one gets no more.
const MAX_ANSWERS: u8 = 3;

/// Ways that were proven and not chosen yet.
const MAX_WAYS: usize = 16;

/// A local socket and a remote address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) socket: SocketId,
    pub(super) remote: SocketAddr,
}

/// A way that works in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) way: Way,
    pub(super) rtt: Duration,
    /// The last nonce that came this way, to be echoed.
    pub(super) nonce: u64,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    way: Way,
    at: Instant,
}

/// See above.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// The nonce of the first packet; the others count on from there.
    first: u64,
    sent: Vec<Sent>,
    heard: BTreeMap<u64, u8>,
    proven: Vec<Proven>,
}

/// What an echo says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    /// It came back from where it was sent to: the way works in both directions.
    Proves,
    /// It came back, from elsewhere: the sender leaves by another port than it receives on.
    Strays,
    /// We never sent that, or not on this socket.
    Unknown,
}

impl Ledger {
    pub(super) const fn new(first: u64) -> Self {
        Self { first, sent: Vec::new(), heard: BTreeMap::new(), proven: Vec::new() }
    }

    /// The nonce for the next packet. `None`: there were too many.
    pub(super) fn next_nonce(&self) -> Option<u64> {
        (self.sent.len() < MAX_SENT).then(|| self.first.wrapping_add(self.sent.len() as u64))
    }

    /// The packet with [the next nonce](Self::next_nonce) is sent.
    pub(super) fn on_sent(&mut self, at: Instant, way: Way) {
        self.sent.push(Sent { way, at });
    }

    /// Whether we sent a packet with this nonce.
    pub(super) fn is_ours(&self, nonce: u64) -> bool {
        nonce.wrapping_sub(self.first) < self.sent.len() as u64
    }

    /// Whether a packet of the other end is to be answered.
    pub(super) fn answers(&mut self, nonce: u64) -> bool {
        if self.heard.len() >= MAX_HEARD && !self.heard.contains_key(&nonce) {
            return false;
        }
        let answers = self.heard.entry(nonce).or_default();
        *answers = answers.saturating_add(1);
        *answers <= MAX_ANSWERS
    }

    /// The other end's packet `nonce` came on this way and echoes one of ours.
    pub(super) fn on_echo(&mut self, now: Instant, way: Way, nonce: u64, echo: u64) -> Echo {
        let index = usize::try_from(echo.wrapping_sub(self.first)).ok();
        let Some(sent) = index.and_then(|index| self.sent.get(index)) else { return Echo::Unknown };
        if sent.way.socket != way.socket {
            return Echo::Unknown;
        }
        if sent.way.remote != way.remote {
            return Echo::Strays;
        }
        let rtt = now.saturating_since(sent.at);
        let has_room = self.proven.len() < MAX_WAYS;
        match self.proven.iter_mut().find(|proven| proven.way == way) {
            Some(proven) => {
                proven.rtt = proven.rtt.min(rtt);
                proven.nonce = nonce;
            }
            None if has_room => self.proven.push(Proven { way, rtt, nonce, at: now }),
            None => {}
        }
        Echo::Proves
    }

    /// The best of the ways that were proven; of equals the first.
    pub(super) fn best(&self) -> Option<Proven> {
        self.proven.iter().min_by_key(|proven| (Preference::of(proven.way.remote), proven.at)).copied()
    }

    /// When the first of them was.
    pub(super) fn first_proven_at(&self) -> Option<Instant> {
        self.proven.iter().map(|proven| proven.at).min()
    }

    pub(super) fn is_proven(&self, way: Way) -> bool {
        self.find(way).is_some()
    }

    pub(super) fn find(&self, way: Way) -> Option<Proven> {
        self.proven.iter().find(|proven| proven.way == way).copied()
    }

    /// A way that was chosen and then did not answer.
    pub(super) fn forget(&mut self, way: Way) {
        self.proven.retain(|proven| proven.way != way);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(port: u16) -> Way {
        Way { socket: SocketId::MAIN, remote: ([9, 9, 9, 9], port).into() }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn only_what_comes_back_from_where_it_went_proves_a_way() {
        let mut ledger = Ledger::new(u64::MAX);
        for port in [1, 2] {
            ledger.on_sent(at(0), way(port));
        }
        // The second nonce is 0: they count on past the end.
        assert_eq!(ledger.on_echo(at(30), way(2), 7, 1), Echo::Unknown);
        assert_eq!(ledger.on_echo(at(30), way(3), 7, 0), Echo::Strays);
        assert_eq!(ledger.on_echo(at(30), Way { socket: SocketId(4), ..way(2) }, 7, 0), Echo::Unknown);
        assert_eq!(ledger.best(), None);
        assert_eq!(ledger.on_echo(at(30), way(2), 7, 0), Echo::Proves);
        assert_eq!(ledger.best().map(|proven| (proven.way, proven.rtt.as_millis())), Some((way(2), 30)));
    }

    #[test]
    fn what_a_peer_can_fill_is_bounded() {
        let mut ledger = Ledger::new(0);
        let answered = (0..100_000).filter(|nonce| ledger.answers(*nonce)).count();
        assert_eq!((answered, ledger.heard.len()), (MAX_HEARD, MAX_HEARD));
        assert_eq!((0..10).filter(|_| ledger.answers(5)).count(), usize::from(MAX_ANSWERS) - 1);
        while let Some(nonce) = ledger.next_nonce() {
            ledger.on_sent(at(0), way(nonce as u16 + 1));
            ledger.on_echo(at(1), way(nonce as u16 + 1), 1, nonce);
        }
        assert_eq!((ledger.sent.len(), ledger.proven.len()), (MAX_SENT, MAX_WAYS));
    }
}
