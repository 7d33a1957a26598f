//! Where a server is asked, and from where else it can answer.

use crate::machine::SocketId;
use std::net::SocketAddr;

/// What a server has, and what it bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Config {
    /// Where it is asked.
    pub main: Place,
    /// From where else it can answer (RFC 5780 §6). Without, questions that want that are refused with 420.
    pub alternate: Option<Alternate>,
    /// How much it answers.
    pub limits: Limits,
}

/// One of our sockets, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// The socket.
    pub socket: SocketId,
    /// Its address, if it is known: what RESPONSE-ORIGIN and OTHER-ADDRESS say.
    pub address: Option<SocketAddr>,
}

/// Other places to answer from. Each is asked and answers like the main one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternate {
    /// The same address, another port.
    pub port: Place,
    /// Another address: the same port there, and the other port there. Only who has that says OTHER-ADDRESS (RFC 5780 §7.4).
    pub address: Option<[Place; 2]>,
}

/// How many answers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A second, to everybody.
    pub per_second: u32,
    /// At once, to everybody.
    pub burst: u32,
    /// A second, to one IPv4 address or one IPv6 network of 64 bits.
    pub per_second_each: u32,
    /// At once, to one of them.
    pub burst_each: u32,
}

/// What a home's upstream does not notice: 500 answers of some 100 bytes a second. One address may be a provider's NAT with many
/// questioners behind it, of which each asks some fifty times when it measures.
impl Default for Limits {
    fn default() -> Self {
        Self { per_second: 500, burst: 1000, per_second_each: 50, burst_each: 200 }
    }
}

impl Config {
    /// The places by what distinguishes them from the main one: bit 0 the port, bit 1 the address.
    pub(super) fn places(&self) -> [Option<Place>; 4] {
        let other_address = self.alternate.and_then(|alternate| alternate.address);
        [
            Some(self.main),
            self.alternate.map(|alternate| alternate.port),
            other_address.map(|[same_port, _]| same_port),
            other_address.map(|[_, other_port]| other_port),
        ]
    }
}
