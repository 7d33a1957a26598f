//! What steps work with: questions, fresh sockets, probes, members; and the bounds over all of it.

use super::api::{Ask, Whom};
use crate::machine::{SocketId, SocketRequest};
use crate::stun::Packet;
use crate::stun::client::{Client, Question, QuestionNumber, Report};
use crate::stun::message::{Probe, TransactionId};
use crate::time::Instant;
use core::ops::Range;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use std::collections::{BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Packets from a start to the next, at most. A run where everybody answers takes fewer than 120.
pub const MAX_PACKETS: u64 = 500;

/// Fresh sockets from a start to the next, at most. A run where everybody answers takes fewer than 30, of which 24 are open at once.
pub const MAX_SOCKETS: u32 = 64;

/// Fresh sockets that are open at once, at most.
const MAX_OPEN: usize = 32;

/// Something that happened, which the step that waits for it takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Occasion<'a> {
    /// A fresh socket is there.
    Opened(SocketId, SocketAddr),
    /// A fresh socket is not, or no longer.
    Failed(SocketId),
    /// A question ended.
    Ended(&'a Report),
    /// A probe came.
    Probe { token: TransactionId, socket: SocketId, from: SocketAddr },
    /// A member sent a probe, or nobody did.
    Carried { token: TransactionId, carried: bool },
}

#[derive(Debug)]
pub(super) struct Bench {
    pub(super) client: Client,
    random: StdRng,
    is_v4: bool,
    numbers: Range<u32>,
    /// The fresh sockets.
    open: BTreeSet<SocketId>,
    opened: u32,
    requests: VecDeque<SocketRequest>,
    probes: VecDeque<Packet>,
    asks: VecDeque<Ask>,
    /// Packets sent before the last start, and those that were no questions since.
    before: u64,
    probed: u64,
}

impl Bench {
    pub(super) fn new(seed: [u8; 32], is_v4: bool, numbers: Range<u32>) -> Self {
        let mut random = StdRng::from_seed(seed);
        let client = Client::new(random.random());
        Self {
            client,
            random,
            is_v4,
            numbers,
            open: BTreeSet::new(),
            opened: 0,
            requests: VecDeque::new(),
            probes: VecDeque::new(),
            asks: VecDeque::new(),
            before: 0,
            probed: 0,
        }
    }

    /// Everything under way is forgotten, every fresh socket closed, and the bounds begin anew.
    pub(super) fn clear(&mut self, is_v4: bool) {
        let open: Vec<SocketId> = self.open.iter().copied().collect();
        open.into_iter().for_each(|socket| self.close(socket));
        self.client.forget_all();
        self.probes.clear();
        self.asks.clear();
        self.opened = 0;
        self.probed = 0;
        self.before = self.client.spent();
        self.is_v4 = is_v4;
    }

    /// Packets since the last start.
    pub(super) fn spent(&self) -> u64 {
        self.client.spent().saturating_sub(self.before).saturating_add(self.probed)
    }

    /// Asks. `None`: it is too much.
    pub(super) fn ask(&mut self, now: Instant, question: Question) -> Option<QuestionNumber> {
        if self.spent() >= MAX_PACKETS {
            return None;
        }
        self.client.ask(now, question)
    }

    /// Asks for a fresh socket. `None`: it is too much.
    pub(super) fn open(&mut self) -> Option<SocketId> {
        if self.open.len() >= MAX_OPEN || self.opened >= MAX_SOCKETS {
            return None;
        }
        let socket = SocketId(self.numbers.next()?);
        let bind = if self.is_v4 { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        self.opened = self.opened.saturating_add(1);
        self.open.insert(socket);
        self.requests.push_back(SocketRequest::Open { socket, bind });
        Some(socket)
    }

    /// A fresh socket has done its service.
    pub(super) fn close(&mut self, socket: SocketId) {
        if self.open.remove(&socket) {
            self.client.forget_socket(socket);
            self.requests.push_back(SocketRequest::Close(socket));
        }
    }

    /// Whether it is one of ours, and wanted.
    pub(super) fn has(&self, socket: SocketId) -> bool {
        self.open.contains(&socket)
    }

    /// A fresh socket could not be opened, or is gone.
    pub(super) fn on_failed(&mut self, socket: SocketId) {
        self.client.forget_socket(socket);
        self.open.remove(&socket);
    }

    /// What nobody can guess.
    pub(super) fn token(&mut self) -> TransactionId {
        let mut token = TransactionId([0; 12]);
        self.random.fill_bytes(&mut token.0);
        token
    }

    /// Sends a probe.
    pub(super) fn probe(&mut self, socket: SocketId, to: SocketAddr, token: TransactionId) {
        if self.spent() < MAX_PACKETS {
            self.probed = self.probed.saturating_add(1);
            self.probes.push_back(Packet { socket, to, bytes: Probe { token }.emit() });
        }
    }

    /// Asks a member to send a probe.
    pub(super) fn ask_member(&mut self, to: SocketAddr, token: TransactionId, whom: Whom) {
        if self.spent() < MAX_PACKETS {
            self.probed = self.probed.saturating_add(1);
            self.asks.push_back(Ask { to, token, whom });
        }
    }

    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        self.probes.pop_front().or_else(|| self.client.poll_transmit(now))
    }

    pub(super) fn poll_socket(&mut self) -> Option<SocketRequest> {
        self.requests.pop_front()
    }

    pub(super) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::client::Patience;
    use crate::time::Duration;

    fn bench() -> Bench {
        Bench::new([3; 32], true, 10..1000)
    }

    #[test]
    fn sockets_are_bounded_at_once_and_in_all_and_no_number_comes_twice() {
        let mut bench = bench();
        let first: Vec<SocketId> = core::iter::from_fn(|| bench.open()).collect();
        assert_eq!(first.len(), MAX_OPEN);
        first.iter().for_each(|socket| bench.close(*socket));
        let second: Vec<SocketId> = core::iter::from_fn(|| {
            let socket = bench.open()?;
            bench.close(socket);
            Some(socket)
        })
        .collect();
        assert_eq!(first.len() + second.len(), MAX_SOCKETS as usize);
        bench.clear(true);
        let third = bench.open().unwrap();
        assert!(third > *second.last().unwrap() && second.first() > first.last());
        assert_eq!(
            bench.poll_socket(),
            Some(SocketRequest::Open { socket: first[0], bind: "0.0.0.0:0".parse().unwrap() })
        );
        let mut few = Bench::new([3; 32], false, 10..11);
        assert!(few.open().is_some() && few.open().is_none());
    }

    #[test]
    fn packets_are_bounded() {
        let mut bench = bench();
        let to: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let token = bench.token();
        (0..1000).for_each(|_| bench.probe(SocketId(10), to, token));
        let now = Instant::from_start(Duration::from_secs(1));
        let sent = core::iter::from_fn(|| bench.poll_transmit(now)).count();
        assert_eq!(sent as u64, MAX_PACKETS);
        assert_eq!(bench.ask(now, Question::new(SocketId(0), to, Patience::FULL)), None);
        bench.ask_member(to, token, Whom::Same(to));
        assert_eq!(bench.poll_ask(), None);
        bench.clear(true);
        assert!(bench.spent() == 0 && bench.ask(now, Question::new(SocketId(0), to, Patience::FULL)).is_some());
    }
}
