//! What nodes say to each other about the ways between them.

use crate::node::identity::NodeId;
use crate::stun::fingerprint::Fingerprint;
use crate::stun::punch::Offer;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// A message about paths. All of them travel sealed, between the two it concerns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PathMessage {
    /// To a relay: pass datagrams on between me and that member. Mine will carry this channel number.
    Ask {
        /// The member.
        to: NodeId,
        /// Chosen by whoever asks.
        channel: u32,
    },
    /// From a relay to who asked: datagrams on that channel are passed on.
    Bound {
        /// As asked.
        channel: u32,
        /// From where the relay hears the member.
        seen: Option<IpAddr>,
    },
    /// From a relay to who asked: they are not.
    Refused {
        /// As asked.
        channel: u32,
        /// Why.
        why: Refusal,
    },
    /// From a relay to the member that was asked for: what comes on this channel is from there, and answers go the same way.
    Incoming {
        /// Who asked.
        from: NodeId,
        /// Chosen by the relay.
        channel: u32,
        /// From where the relay hears whoever asked.
        seen: Option<IpAddr>,
    },
    /// Nothing is passed on over this channel any more, or needs to be.
    End {
        /// Either side's number.
        channel: u32,
    },
    /// To a member whose link is direct: send the probe with this token to an address of mine, which a filter may keep out.
    Probe {
        /// An outside address of whoever asks.
        to: SocketAddr,
        /// To be repeated in the probe.
        token: [u8; 12],
        /// From where.
        by: Prober,
    },
    /// What came of it.
    Probed {
        /// As asked.
        token: [u8; 12],
        /// Whether the probe left.
        sent: bool,
    },
    /// To the other end of a link that goes through a relay: where and how I can be reached, for a direct path.
    Offer(Box<Offer>),
    /// To the one that begins: this is known of my NAT by now, and something else may be tried.
    Changed(Fingerprint),
}

/// Why a relay does not pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// One of the two is not a member here.
    NotMember,
    /// The other one is not linked to the relay, or only through another relay.
    NotLinked,
    /// As many flows are passed on already as may be.
    Full,
}

/// From where a probe is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prober {
    /// From the port that the member is known by.
    Known,
    /// From another one.
    OtherPort,
}
