//! A public STUN server with two addresses and two ports (RFC 5780 §6): our own, as a bare value.

use anjer::machine::SocketId;
use anjer::stun::Packet as StunPacket;
use anjer::stun::server::{Alternate, Config, Limits, Place, Server};
use anjer::time::{Duration, Instant};
use netem::{Host, Packet};
use std::net::{IpAddr, SocketAddr};

/// The server and the four places at which it is asked.
pub(crate) struct Observatory {
    server: Server,
    places: [SocketAddr; 4],
}

impl Observatory {
    /// At these two addresses.
    pub(crate) fn new(ips: [IpAddr; 2]) -> Self {
        let [one, other] = ips;
        let places = [(one, 3478), (one, 3479), (other, 3478), (other, 3479)].map(SocketAddr::from);
        let mut named = (0..).zip(places).map(|(n, at)| Place { socket: SocketId(n), address: Some(at) });
        let mut next = || named.next().unwrap_or_default();
        let (main, port, address) = (next(), next(), [next(), next()]);
        let limits = Limits { per_second: 100_000, burst: 100_000, per_second_each: 100_000, burst_each: 100_000 };
        let alternate = Some(Alternate { port, address: Some(address) });
        Self { server: Server::new(Config { main, alternate, limits }), places }
    }
}

impl Host for Observatory {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        let at = self.places.iter().position(|place| *place == to);
        let Some(socket) = at.and_then(|at| u32::try_from(at).ok()) else { return };
        self.server.handle_datagram(Instant::from_start(now), SocketId(socket), from, bytes);
    }

    fn handle_timeout(&mut self, _: Duration) {}

    fn poll_transmit(&mut self, _: Duration) -> Option<Packet> {
        let StunPacket { socket, to, bytes } = self.server.poll_transmit()?;
        Some(Packet::new(self.places[socket.0 as usize], to, bytes))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        None
    }
}
