//! What is said over links, and what they report.

use super::dial::DialNumber;
use crate::mrt::{ChannelId, ConnectionHandle, SecretId};
use crate::node::catalogue::CatalogueMessage;
use crate::node::identity::NodeId;
use crate::node::paths::PathMessage;
use crate::node::record::MemberRecord;
use crate::node::room::{DialFailure, LinkDown, RoomMessage};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What is said over a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LinkMessage {
    /// From room to room.
    Room(Box<RoomMessage>),
    /// From catalogue to catalogue.
    Catalogue(CatalogueMessage),
    /// About the ways between nodes.
    Path(Box<PathMessage>),
}

/// The connection that is a peer's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which connection.
    pub connection: ConnectionHandle,
    /// Whether we made it.
    pub initiator: bool,
    /// Where the peer's packets come from; `None`: another member passes them on.
    pub remote: Option<SocketAddr>,
    /// Noise's handshake hash: the same at both ends, and no other connection's.
    pub binding: [u8; 32],
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkEvent {
    /// A peer proved itself. Also said when a dial is answered by a peer that is linked already.
    Up {
        /// What it says of itself, checked.
        record: MemberRecord,
        /// Where its packets come from; `None`: another member passes them on.
        remote: Option<SocketAddr>,
        /// The invitation's secret that it proved to know.
        secret: Option<SecretId>,
        /// The dial that this answers.
        dial: Option<DialNumber>,
    },
    /// There is no link to this peer any more.
    Down {
        /// Which peer.
        peer: NodeId,
        /// Why.
        why: LinkDown,
    },
    /// A dial needs a way through that relay, to be reported to `on_route` or `on_no_route`.
    WantRelay {
        /// Which dial.
        dial: DialNumber,
        /// Who shall pass on.
        relay: NodeId,
        /// To whom.
        to: NodeId,
    },
    /// Nobody answered a dial, or not the right one.
    DialFailed {
        /// Which dial.
        dial: DialNumber,
        /// Why.
        why: DialFailure,
        /// The words of the other side, or ours for a person; may be empty.
        words: String,
    },
    /// A peer said something.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: LinkMessage,
    },
    /// There is something to receive on a bulk channel.
    Bulk {
        /// Whose.
        peer: NodeId,
        /// On which connection.
        connection: ConnectionHandle,
        /// Which channel.
        channel: ChannelId,
    },
    /// The system says that nobody listens at this peer's address: a hint, no more.
    Unreachable(NodeId),
    /// A connection is gone, and its channels.
    Gone(ConnectionHandle),
}

/// A message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// There is no link to that peer.
    #[error("not linked")]
    NotLinked,
    /// The message is larger than the peer would take.
    #[error("too large")]
    TooLarge,
    /// The peer does not read; its link was given up.
    #[error("the peer is too slow")]
    TooSlow,
}
