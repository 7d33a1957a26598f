//! A host that says what it is told to say and remembers what it heard.

use core::time::Duration;
use netem::{Host, Link, Network, Packet};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// See above.
#[derive(Default)]
pub(crate) struct Talker {
    pub(crate) to_say: VecDeque<Packet>,
    /// When each datagram came, and what it was.
    pub(crate) heard: Vec<(Duration, Vec<u8>)>,
    /// From where each came.
    pub(crate) heard_from: Vec<SocketAddr>,
    /// To which of its own addresses and ports each came.
    pub(crate) heard_at: Vec<SocketAddr>,
    /// Whether to send back what comes.
    pub(crate) echoes: bool,
    /// Where it was moved to.
    pub(crate) moves: Vec<SocketAddr>,
    /// When to be woken, the earliest first.
    pub(crate) alarms: VecDeque<Duration>,
    /// When it was woken.
    pub(crate) woken: Vec<Duration>,
    /// Where nobody listens.
    pub(crate) unreachable: Vec<SocketAddr>,
}

impl Host for Talker {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        self.heard.push((now, bytes.to_vec()));
        self.heard_from.push(from);
        self.heard_at.push(to);
        if self.echoes {
            self.to_say.push_back(Packet::new(to, from, bytes.to_vec()));
        }
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.alarms.pop_front();
        self.woken.push(now);
    }

    fn poll_transmit(&mut self, _: Duration) -> Option<Packet> {
        self.to_say.pop_front()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.alarms.front().copied()
    }

    fn handle_unreachable(&mut self, _: Duration, to: SocketAddr) {
        self.unreachable.push(to);
    }

    fn handle_move(&mut self, _: Duration, _: SocketAddr, to: SocketAddr) {
        self.moves.push(to);
    }
}

pub(crate) fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 5000))
}

/// A talker that sends everything back.
pub(crate) fn echo() -> Talker {
    Talker { echoes: true, ..Talker::default() }
}

/// Two talkers at addresses 1 and 2, with such links between them.
pub(crate) fn two(seed: u64, link: Link) -> Network<Talker> {
    let mut network = Network::new(seed, link);
    network.add(address(1), Talker::default());
    network.add(address(2), Talker::default());
    network
}

/// Host 1 sends `count` numbered datagrams of `size` bytes to host 2, one every `pause`, and everything has time to arrive.
pub(crate) fn talk(network: &mut Network<Talker>, count: u32, size: usize, pause: Duration) {
    for number in 0..count {
        let mut bytes = vec![0; size];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let packet = Packet::new(address(1), address(2), bytes);
        network.host_mut(address(1)).unwrap().to_say.push_back(packet);
        network.run_for(pause);
    }
    network.run_for(Duration::from_secs(3600));
}

/// The numbers of the datagrams that host 2 heard, in the order they came.
pub(crate) fn numbers(network: &Network<Talker>) -> Vec<u32> {
    let number = |bytes: &Vec<u8>| u32::from_be_bytes(bytes[..4].try_into().unwrap());
    network.host(address(2)).unwrap().heard.iter().map(|(_, bytes)| number(bytes)).collect()
}

/// When host 2 heard something.
pub(crate) fn times(network: &Network<Talker>) -> Vec<Duration> {
    network.host(address(2)).unwrap().heard.iter().map(|(at, _)| *at).collect()
}
