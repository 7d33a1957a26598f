//! What lives in a network.

use crate::packet::Packet;
use core::time::Duration;
use std::net::SocketAddr;

/// Whatever sends and receives datagrams. The network keeps one sentence: after any call it drains
/// [`poll_transmit`](Self::poll_transmit), then waits for a datagram or for [`poll_timeout`](Self::poll_timeout).
pub trait Host {
    /// A datagram arrived. It may be opened in place.
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]);

    /// A packet arrived: for hosts that want to know its [ECN bits](crate::Ecn) too. The others are given the datagram.
    fn handle_packet(&mut self, now: Duration, packet: &mut Packet) {
        self.handle_datagram(now, packet.from, packet.to, &mut packet.bytes);
    }

    /// The time last returned by [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Duration);

    /// What to send next.
    fn poll_transmit(&mut self, now: Duration) -> Option<Packet>;

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    fn poll_timeout(&self) -> Option<Duration>;

    /// Nobody listens at `to`, says the system there. Called only if
    /// [`unreachable_is_reported`](crate::Network::unreachable_is_reported).
    fn handle_unreachable(&mut self, now: Duration, to: SocketAddr) {
        let _ = (now, to);
    }

    /// The system gave this host another address: what it sends from the old one is not answered.
    fn handle_move(&mut self, now: Duration, from: SocketAddr, to: SocketAddr) {
        let _ = (now, from, to);
    }
}

/// What a tap does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Lets the link decide.
    Pass,
    /// Takes it away.
    Drop,
}

/// UDP payload, in bytes, that is kept for a paused host: what Linux gives a socket by default (`net.core.rmem_default`).
pub const SOCKET_BUFFER: usize = 212_992;
