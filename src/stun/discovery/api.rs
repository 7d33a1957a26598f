//! What goes in and out.

use crate::machine::SocketId;
use crate::stun::client::Patience;
use crate::stun::fingerprint::Fingerprint;
use crate::stun::message::TransactionId;
use crate::time::Duration;
use core::ops::Range;
use std::net::{IpAddr, SocketAddr};

/// How often to send something through a mapping of which nothing is known. NATs that forget after less than half a minute are rare
/// (RFC 4787 §4.3 asks for two minutes), and a packet may be lost.
pub const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(15);

/// What a discovery begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The socket whose public address is wanted.
    pub socket: SocketId,
    /// Its own address; perhaps unspecified. Vantage points of the other family are not asked: a second discovery is for that.
    pub local: SocketAddr,
    /// The addresses of this machine, to compare with if `local` is unspecified.
    pub interfaces: Vec<IpAddr>,
    /// The numbers of sockets that it may open. A restart goes on where the last run stopped; when they are used up, nothing more is opened.
    pub sockets: Range<u32>,
    /// How long vantage points are asked on the main socket before they count as silent.
    pub patience: Patience,
    /// How long mappings are left in silence to see whether they last, the shortest first. Empty: this is not measured.
    pub silences: Vec<Duration>,
}

impl Config {
    /// The full patience, and silences of up to 160 seconds.
    pub fn new(socket: SocketId, local: SocketAddr, sockets: Range<u32>) -> Self {
        let silences = [10, 20, 40, 80, 160].map(Duration::from_secs).to_vec();
        Self { socket, local, interfaces: Vec::new(), sockets, patience: Patience::FULL, silences }
    }
}

/// Somebody who sees us from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vantage {
    /// A STUN server. Whether it is one of RFC 5780 it says itself.
    Server(SocketAddr),
    /// A member of the room. It answers Binding requests, and members send probes when they are asked to.
    Member {
        /// Where it answers.
        address: SocketAddr,
        /// The same address with another port, where it answers too, if it does.
        second: Option<SocketAddr>,
    },
}

impl Vantage {
    /// Where it answers.
    pub const fn address(&self) -> SocketAddr {
        match self {
            Self::Server(address) | Self::Member { address, .. } => *address,
        }
    }
}

/// A member of the room is to send one [probe](crate::stun::message::Probe). The owner asks one through the room, and says with
/// [`Discovery::handle_carried`](super::Discovery::handle_carried) what came of it.
///
/// Whoever is asked has to make sure that `to` has the address that it knows the questioner by: nobody's packets go to third parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Where to.
    pub to: SocketAddr,
    /// What the probe says.
    pub token: TransactionId,
    /// Who.
    pub whom: Whom,
}

/// Who is to send a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Anybody at another IP address than this one.
    Uncontacted(SocketAddr),
    /// The member at this address, from another port.
    OtherPort(SocketAddr),
    /// The member at this address, from this very port.
    Same(SocketAddr),
}

/// What became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The address of the main socket as others see it.
    Public(SocketAddr),
    /// A term of the fingerprint is known, or another than before.
    Learned(Fingerprint),
    /// How often to send something through a mapping, so that it lasts.
    Keepalive(Duration),
    /// What can be measured from the vantage points that are known was measured.
    Settled,
}
