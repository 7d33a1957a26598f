//! What a machine is told about the network around it.

use super::Interfaces;
use crate::time::Duration;
use std::net::SocketAddr;

/// Told to a machine. Hints, all of it: what follows from it has to be proven by packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// The addresses we have: told once at the start, and after every change.
    Interfaces(Interfaces),
    /// Addresses, routes or the gateway changed: paths that worked may not, others may. Comes after the
    /// [`Interfaces`](Self::Interfaces) that changed, or alone if only the gateway did.
    NetworkChanged,
    /// This machine slept, or was stopped: what was promised by others meanwhile (mappings, paths) may be void.
    Woke {
        /// About how long.
        slept: Duration,
    },
    /// A name was looked up.
    Resolved {
        /// As it was asked.
        name: String,
        /// IPv4 and IPv6, in the system's order of preference, 16 at most. None: there is no such name, or nobody to ask.
        addresses: Vec<SocketAddr>,
    },
    /// A gateway passes a port of ours. Told again when `external` changes.
    Mapped {
        /// Our port.
        local_port: u16,
        /// Where others reach it, as the gateway says: a global unicast address.
        external: SocketAddr,
        /// How it was asked for.
        by: MappedBy,
    },
    /// The gateway passes our port no longer.
    MappingLost,
    /// Somebody on the LAN announced itself, or has other addresses than before.
    Neighbour(Neighbour),
    /// Somebody on the LAN went.
    NeighbourGone {
        /// As it was announced.
        name: String,
    },
}

/// Somebody on the LAN, as it says itself. Anybody there can say anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Letters, digits and hyphens, at most 63 of them.
    pub name: String,
    /// Where it listens, sorted, 8 at most: private, link-local or shared-prefix unicast addresses, never loopback.
    pub addresses: Vec<SocketAddr>,
}

/// Protocols by which gateways are asked for a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MappedBy {
    /// Port Control Protocol (RFC 6887).
    Pcp,
    /// NAT Port Mapping Protocol (RFC 6886).
    NatPmp,
    /// UPnP Internet Gateway Device (v1 and v2).
    Igd,
}
