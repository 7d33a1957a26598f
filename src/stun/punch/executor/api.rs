//! What a punch is begun with, and what it says.

use crate::machine::SocketId;
use crate::stun::candidate::{Candidate, Interface};
use crate::stun::fingerprint::Fingerprint;
use crate::stun::punch::experience::Advice;
use crate::stun::punch::offer::Offer;
use crate::stun::punch::plan::{Reason, StageKind};
use crate::time::Duration;
use core::fmt;
use std::net::{IpAddr, SocketAddr};

/// What is known of this end. The owner asks its interfaces, port mappings and servers.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// What is known of our NAT.
    pub fingerprint: Fingerprint,
    /// Where we may be reached, on the sockets below.
    pub candidates: Vec<Candidate>,
    /// Our addresses as the world sees them.
    pub public: Vec<IpAddr>,
    /// Open sockets that candidates belong to, with their own addresses: the main one, and perhaps one of the other family.
    pub sockets: Vec<(SocketId, SocketAddr)>,
    /// Our own addresses, and who is near them.
    pub interfaces: Vec<Interface>,
}

/// What a punch is begun with.
#[derive(Clone)]
pub struct Config {
    /// Whether we begin. Exactly one of the two ends does.
    pub initiator: bool,
    /// What is unique to the sealed channel between the two, the same at both ends.
    pub binding: [u8; 32],
    /// Random bytes, never used before.
    pub seed: [u8; 32],
    /// What is known of this end.
    pub ours: Ours,
    /// Addresses from which somebody we trust in this has heard the other end: ports are tried only there.
    pub proven_ips: Vec<IpAddr>,
    /// The other end runs on this machine.
    pub same_machine: bool,
    /// The round trip through the channel that carries offers.
    pub relay_rtt: Duration,
    /// The first of [`SOCKETS_PER_PUNCH`](super::SOCKETS_PER_PUNCH) ids that nobody else uses.
    pub first_socket: SocketId,
    /// What earlier punches of such pairs say; only the initiator's counts.
    pub advice: Advice,
}

/// Its secrets stay out of logs.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { initiator, ours, proven_ips, same_machine, relay_rtt, first_socket, advice, .. } = self;
        f.debug_struct("Config")
            .field("initiator", initiator)
            .field("ours", ours)
            .field("proven_ips", proven_ips)
            .field("same_machine", same_machine)
            .field("relay_rtt", relay_rtt)
            .field("first_socket", first_socket)
            .field("advice", advice)
            .finish_non_exhaustive()
    }
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// To be carried to the other end's `handle_offer`, through the sealed channel.
    Offer(Box<Offer>),
    /// Ask a STUN server from this socket, and say what it sees by `handle_mapped`. At once: a NAT that counts goes on counting.
    WantPort {
        /// From which socket. It is open.
        socket: SocketId,
    },
    /// There is a way, and the other end reports the same one. All other sockets of this punch are closed; this one is the owner's.
    Open {
        /// From which socket.
        socket: SocketId,
        /// To where.
        remote: SocketAddr,
        /// A round trip on it.
        rtt: Duration,
        /// Packets that this end spent.
        probes: u32,
        /// What it was that worked.
        stage: StageKind,
    },
    /// There is none: the relay goes on.
    Failed {
        /// Why, for people.
        reason: Reason,
        /// Packets that this end spent.
        probes: u32,
    },
}

/// What was thrown away, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Looked like ours, with a wrong tag.
    pub forged: u64,
    /// Of another pair, or no punch packet.
    pub foreign: u64,
    /// Heard more often than it is answered.
    pub repeated: u64,
    /// Echoes something that was never sent there.
    pub unasked: u64,
    /// Probes that were not sent because their address had all it gets.
    pub withheld: u64,
}
