//! What a machine wants to know, or wants done, beyond its sockets.

use std::net::IpAddr;

/// Asked by a machine. None of it is answered at once, and some of it never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SurroundingsRequest {
    /// What addresses has this "host:port"? Answered by [`Surroundings::Resolved`](super::Surroundings::Resolved), always.
    Resolve(String),
    /// Have a gateway pass this UDP port of ours, and keep it so until the end. Answered by
    /// [`Surroundings::Mapped`](super::Surroundings::Mapped), or not at all. One port at a time: another one takes its place.
    MapPort(u16),
    /// Let the mapping go.
    UnmapPort,
    /// Be found by others on the LAN, under this name and UDP port, and find them
    /// ([`Surroundings::Neighbour`](super::Surroundings::Neighbour)). Whoever listens there learns both. Another one takes its
    /// place.
    Announce {
        /// Ours: letters, digits and hyphens, at most 63 of them; anything else is not announced.
        name: String,
        /// Where we listen.
        port: u16,
        /// At which addresses, 8 at most. None: at all that this machine has.
        addresses: Vec<IpAddr>,
    },
    /// Stop being found, and finding.
    Hush,
}
