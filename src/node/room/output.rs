//! What the room wants done.

use super::message::RoomMessage;
use crate::mrt::{PublicKey, SecretId, SharedSecret};
use crate::node::api::Event;
use crate::node::identity::NodeId;
use crate::node::record::MemberRecord;
use crate::time::Duration;
use std::net::SocketAddr;

use super::epoch::RoomId;

/// Names a dial that the room asked for. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialNumber(pub u64);

/// Whom to dial, and what is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialTo {
    /// Where: try them all, the first that answers counts. Untrusted if they come from a record.
    pub addresses: Vec<SocketAddr>,
    /// Who must answer; `None`: whoever is there.
    pub id: Option<NodeId>,
    /// The key to connect with.
    pub key: Option<PublicKey>,
    /// The invitation to prove (pattern IKpsk2).
    pub invitation: Option<(SecretId, SharedSecret)>,
}

/// What the room wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomOutput {
    /// Send this over the link to `to`. If there is none the message is lost: the room repeats what matters when a link comes up.
    Send {
        /// Whom to.
        to: NodeId,
        /// What.
        message: RoomMessage,
    },
    /// Connect. Ends in `handle_link_up` with this number (also when the answer comes from someone we are linked to already;
    /// the older link stays in use) or in `handle_dial_failed`.
    Dial {
        /// To be repeated in the answer.
        dial: DialNumber,
        /// Whom.
        to: DialTo,
    },
    /// That dial is not needed any more. If it is too late for that, it ends like any other.
    GiveUp {
        /// Which.
        dial: DialNumber,
    },
    /// The link to `id` serves no purpose of the room: close it once what was sent on it has left.
    Drop {
        /// Whose link.
        id: NodeId,
    },
    /// Ping that peer: an answer comes as `handle_heard`.
    Probe {
        /// Whom.
        id: NodeId,
    },
    /// Send a few bytes there, so that packets from there can pass our NAT.
    Punch {
        /// Where to.
        to: SocketAddr,
    },
    /// Listen to callers who prove this secret.
    AddSecret {
        /// Its public name.
        id: SecretId,
        /// The secret.
        secret: SharedSecret,
    },
    /// Listen to it no longer.
    RemoveSecret {
        /// Its public name.
        id: SecretId,
    },
    /// Members, their order or their records changed: read [`Room::view`](super::Room::view), tell the user (`peers`).
    Publish,
    /// Tell the user.
    Event(Event),
    /// The room is left after `quit`: close every link, then say bye.
    Left,
}

/// A peer to whom a link came up. Whoever reports it has checked that the peer holds the key of `record.id()`, and the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedPeer {
    /// What it says of itself.
    pub record: MemberRecord,
    /// Where its packets come from; `None`: another member passes them on.
    pub remote: Option<SocketAddr>,
    /// The invitation's secret that it proved to know.
    pub secret: Option<SecretId>,
    /// The dial that this answers; `None` if the peer dialled us.
    pub dial: Option<DialNumber>,
}

/// Why a link is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDown {
    /// One side closed it.
    Closed,
    /// Nothing was heard for too long.
    Lost,
    /// The system says that nobody listens there: a hint, since anyone could have sent it.
    Refused,
}

/// Why a dial came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody answered.
    NoAnswer,
    /// Nobody answered, there or anywhere else: UDP seems not to get out.
    NoUdp,
    /// The system says that nobody listens there.
    Refused,
    /// Someone else answered than was expected.
    WrongPeer,
    /// A connection was made, and one of the two sides would not have the other: there are words that say why.
    Rejected,
    /// Not an address of a host, or our own.
    BadAddress,
}

/// What goes into a ticket. `Debug` does not show the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The room it is for.
    pub room: RoomId,
    /// The invitation's public name.
    pub id: SecretId,
    /// What the invited prove to know.
    pub secret: SharedSecret,
    /// How long it is good for.
    pub lifetime: Duration,
    /// Who can be asked: ourselves first, then the supernode and the first in line.
    pub members: Vec<MemberRecord>,
}

/// What the room needs of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// The room it is for.
    pub room: RoomId,
    /// The invitation's public name.
    pub id: SecretId,
    /// The secret.
    pub secret: SharedSecret,
    /// Who can be asked.
    pub hosts: Vec<Host>,
}

/// A member that a ticket names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Who.
    pub id: NodeId,
    /// The key to connect with.
    pub key: PublicKey,
    /// Where.
    pub addresses: Vec<SocketAddr>,
}
