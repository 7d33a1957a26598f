//! What our NAT does, and what others want to know of theirs: STUN on the live sockets.

use crate::machine::{Datagram, Ecn, Transmit};
use crate::node::node::Node;
use crate::stun::Packet;
use crate::stun::server::{Config, Place, Server};
use crate::time::Instant;

/// Questions about addresses, ours and others'.
#[derive(Debug)]
pub(in crate::node) struct Nat {
    server: Server,
}

impl Default for Nat {
    fn default() -> Self {
        Self { server: Server::new(Config { main: Place::default(), ..Config::default() }) }
    }
}

impl Nat {
    /// The next small datagram of STUN, and how to send it.
    fn poll_packet(&mut self) -> Option<Packet> {
        self.server.poll_transmit()
    }
}

impl Node {
    /// A datagram of STUN.
    pub(in crate::node) fn on_stun(&mut self, now: Instant, datagram: &Datagram<'_>) {
        self.nat.server.handle_datagram(now, datagram.socket, datagram.from, datagram.contents);
    }

    /// What is to be sent that is not MRT's.
    pub(in crate::node) fn poll_small(&mut self, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let packet = self.nat.poll_packet()?;
        buffer.extend_from_slice(&packet.bytes);
        let segment_size = packet.bytes.len().max(1);
        Some(Transmit { socket: packet.socket, to: packet.to, ecn: Ecn::NotCapable, segment_size })
    }
}
