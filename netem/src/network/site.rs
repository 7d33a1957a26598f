//! Where something is in a network.

use core::fmt;
use std::net::{IpAddr, SocketAddr};

/// The port in the site of a host that has all ports of its address.
pub(super) const ALL_PORTS: u16 = 0;

/// A NAT of a network, by the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(pub u32);

impl NatId {
    /// The host at this address behind it. Other NATs may have the same addresses behind them.
    pub fn host(self, address: SocketAddr) -> Site {
        Site::Host { behind: Some(self), address }
    }

    /// The host that has all ports of this address behind it.
    pub fn machine(self, ip: impl Into<IpAddr>) -> Site {
        self.host(SocketAddr::new(ip.into(), ALL_PORTS))
    }
}

/// A host's place or a NAT. An address alone is a host of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// An address, in the world or behind a NAT, whether anybody lives there or not.
    Host {
        /// Whose private address this is.
        behind: Option<NatId>,
        /// The address and port.
        address: SocketAddr,
    },
    /// A NAT.
    Nat(NatId),
}

impl Site {
    /// A host of the world.
    pub fn host(ip: impl Into<IpAddr>, port: u16) -> Self {
        Self::Host { behind: None, address: SocketAddr::new(ip.into(), port) }
    }

    /// A host of the world that has all ports of its address: what [`Network::add`](crate::Network::add) puts there hears whatever is
    /// sent to the address, and tells its sockets apart by the port. Written as port 0, where no datagram goes.
    pub fn machine(ip: impl Into<IpAddr>) -> Self {
        Self::host(ip, ALL_PORTS)
    }

    /// Whether it is [all ports of an address](Self::machine).
    pub(super) const fn is_machine(&self) -> bool {
        matches!(self, Self::Host { address, .. } if address.port() == ALL_PORTS)
    }

    /// The NAT of this number.
    pub const fn nat(number: u32) -> Self {
        Self::Nat(NatId(number))
    }

    /// The host with the same address behind the NAT of this number. A NAT stays where it is.
    #[must_use]
    pub const fn behind(self, number: u32) -> Self {
        match self {
            Self::Host { address, .. } => Self::Host { behind: Some(NatId(number)), address },
            Self::Nat(_) => self,
        }
    }
}

impl From<SocketAddr> for Site {
    fn from(address: SocketAddr) -> Self {
        Self::Host { behind: None, address }
    }
}

impl From<NatId> for Site {
    fn from(nat: NatId) -> Self {
        Self::Nat(nat)
    }
}

/// As the expression that makes it.
impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nat(NatId(number)) => write!(f, "Site::nat({number})"),
            Self::Host { behind, address } => {
                match address.port() {
                    ALL_PORTS => write!(f, "Site::machine({})", Numbers(address.ip()))?,
                    port => write!(f, "Site::host({}, {port})", Numbers(address.ip()))?,
                }
                behind.map_or(Ok(()), |NatId(number)| write!(f, ".behind({number})"))
            }
        }
    }
}

/// An IP address as an array of numbers, which is what it can be made from.
pub(super) struct Numbers(pub(super) IpAddr);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => write!(f, "{:?}", ip.octets()),
            IpAddr::V6(ip) => write!(f, "{:?}", ip.segments()),
        }
    }
}
