//! Routes: the ways to the other end of a connection, and what is told of them.

use super::api::ConnectionHandle;
use crate::machine::SocketId;
use crate::time::{Duration, Instant};
use core::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A way to the other end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Route {
    /// From one of our sockets to an address.
    Udp {
        /// From which of our sockets.
        socket: SocketId,
        /// Where to.
        remote: SocketAddr,
    },
    /// Through somebody we are connected to, who passes whole datagrams on.
    Relayed {
        /// Our connection to who passes them on.
        by: ConnectionHandle,
        /// On which of that connection's relay channels.
        channel: RelayChannel,
    },
}

impl Route {
    /// The address at the other end, if there is nobody in between.
    pub const fn remote(self) -> Option<SocketAddr> {
        match self {
            Self::Udp { remote, .. } => Some(remote),
            Self::Relayed { .. } => None,
        }
    }

    /// Whether somebody in between passes the datagrams on.
    pub const fn is_relayed(self) -> bool {
        matches!(self, Self::Relayed { .. })
    }

    /// Whether a host can be there at all: no port 0, nobody, everybody.
    pub(super) fn is_plausible(self) -> bool {
        let Self::Udp { remote, .. } = self else { return true };
        let ip = remote.ip().to_canonical();
        remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
    }
}

impl From<SocketAddr> for Route {
    /// From the main socket.
    fn from(remote: SocketAddr) -> Self {
        Self::Udp { socket: SocketId::MAIN, remote }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { socket: SocketId::MAIN, remote } => write!(f, "{remote}"),
            Self::Udp { socket, remote } => write!(f, "{remote} from socket {}", socket.0),
            Self::Relayed { by, channel } => write!(f, "channel {} of connection {}", channel.0, by.0),
        }
    }
}

/// Names a relay channel of a connection. The two ends of that connection agree on numbers above MRT.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelayChannel(pub u32);

/// Numbers of one path, counted since it was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStats {
    /// Which way.
    pub route: Route,
    /// Whether data goes there.
    pub active: bool,
    /// Whether it is proven and answers: a path that is on trial, or that died and is still tried, is not.
    pub validated: bool,
    /// Smoothed round-trip time; the initial guess until a sample was taken.
    pub rtt: Duration,
    /// Smallest round-trip time seen; `None` until a sample was taken.
    pub min_rtt: Option<Duration>,
    /// UDP payload size in use, in bytes, without what a relay's wrapping adds.
    pub mtu: u16,
    /// Datagrams sent there.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Authentic datagrams that came from there.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// When the last of them came, or when the path began.
    pub last_heard: Instant,
}

/// Why a path cannot be tried. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddPathError {
    /// No such connection, or it is not established, or it is closing.
    #[error("not connected")]
    NotConnected,
    /// Port 0, or an address that no single host can have.
    #[error("not an address of a host")]
    BadAddress,
    /// The connection has this path already, or is trying it.
    #[error("that path is known")]
    Known,
    /// As many paths are on trial as may be.
    #[error("too many paths on trial")]
    TooMany,
    /// There is no such connection that could relay.
    #[error("no such relay")]
    NoSuchRelay,
    /// The connection that is to relay is relayed itself.
    #[error("the relay is relayed itself")]
    RelayedTwice,
}
