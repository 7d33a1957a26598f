//! One connection, from authenticated by MRT to closed.
//!
//! ```text
//!   ExpectHello ──proven──▶ Linked ──dropped──▶ Closing ──▶ (closed)
//!        │                    │                    ▲
//!        └──proven, but the   └─────not the one────┤
//!           other one stays ───────that stays──────┘ Retiring
//! ```
//!
//! Whoever made a connection decides whether it becomes a link, by saying hello on it or not: while another connection leads to the
//! same peer, or is about to, it only listens.

use super::choice::Candidate;
use super::dial::DialNumber;
use super::frame::FrameReader;
use super::hello::Ends;
use super::outgoing::Outgoing;
use crate::mrt::{ChannelId, ConnectionHandle, Endpoint, PublicKey, SecretId};
use crate::node::identity::NodeId;
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A peer has this long to prove itself.
pub(super) const HELLO_TIME: Duration = Duration::from_secs(5);

/// What was said last on a connection that is being closed has this long to arrive.
pub(super) const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// The connection that lost to another one stays at least this long, for frames on channels whose first packet was lost.
pub(super) const RETIRING_TIME: Duration = Duration::from_secs(1);

/// Channels that a peer may open before it has proven itself: its control channel, and a few whose data overtook the hello.
pub(super) const MAX_EARLY_CHANNELS: usize = 32;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The peer has to prove itself first.
    ExpectHello {
        /// Until then.
        until: Instant,
    },
    /// This is the link to that peer.
    Linked {
        /// Who.
        peer: NodeId,
    },
    /// Another connection to the same peer is its link; this one is read until the peer has said all.
    Retiring {
        /// Who.
        peer: NodeId,
        /// Not closed before.
        after: Instant,
    },
    /// What was said has to leave; then it is closed.
    Closing {
        /// Closed then in any case.
        until: Instant,
        /// Told to the other side.
        code: u32,
    },
}

/// A connection that MRT calls connected.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) handle: ConnectionHandle,
    pub(super) key: PublicKey,
    /// Where its packets come from, if nobody passes them on.
    pub(super) remote: Option<SocketAddr>,
    pub(super) initiator: bool,
    pub(super) secret: Option<SecretId>,
    pub(super) binding: [u8; 32],
    pub(super) since: Instant,
    pub(super) phase: Phase,
    pub(super) dial: Option<DialNumber>,
    /// The peer's program, once proven.
    pub(super) program: u64,
    /// Whether our hello was said. Without it the other end takes nothing from here, and knows of no link.
    pub(super) said_hello: bool,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: BTreeMap<ChannelId, FrameReader>,
    /// Channels with something to read, left for later.
    pub(super) unread: BTreeSet<ChannelId>,
    /// Not read until that one, which the peer used before, has been read to its end.
    pub(super) behind: Option<ConnectionHandle>,
    /// Whether the channels of a retiring connection were finished.
    pub(super) retired: bool,
}

impl Connection {
    /// What the other end's hello must be bound to.
    pub(super) const fn theirs(&self, own: PublicKey) -> Ends {
        Ends { binding: self.binding, prover: self.key, checker: own }
    }

    /// What our hello is bound to.
    pub(super) const fn ours(&self, own: PublicKey) -> Ends {
        Ends { binding: self.binding, prover: own, checker: self.key }
    }

    /// What is compared when there are two.
    pub(super) const fn candidate(&self, own: NodeId, peer: NodeId) -> Candidate {
        Candidate { initiator: if self.initiator { own } else { peer }, program: self.program }
    }

    /// Whether the peer opened this channel.
    pub(super) const fn is_theirs(&self, channel: ChannelId) -> bool {
        channel.opened_by_initiator() != self.initiator
    }

    /// Whom it leads to, while anything from there counts.
    pub(super) const fn peer(&self) -> Option<NodeId> {
        match self.phase {
            Phase::Linked { peer } | Phase::Retiring { peer, .. } => Some(peer),
            Phase::ExpectHello { .. } | Phase::Closing { .. } => None,
        }
    }

    /// Whether it is its peer's link, or one that we made and where both may have said hello.
    pub(super) const fn leads(&self) -> bool {
        match self.phase {
            Phase::Linked { .. } => true,
            Phase::ExpectHello { .. } => self.initiator && self.said_hello,
            Phase::Retiring { .. } | Phase::Closing { .. } => false,
        }
    }

    /// Whether the other end learns more of its peer here than over `other`: that an invitation is in our hands.
    pub(super) fn proves_more_than(&self, other: &Self) -> bool {
        self.secret.is_some() && self.secret != other.secret
    }

    /// Whether everything that was said has arrived.
    pub(super) fn is_said(&self, endpoint: &Endpoint) -> bool {
        self.outgoing.is_empty() && self.outgoing.unacknowledged(endpoint, self.handle) == 0
    }

    /// Whether the peer finished every channel it opened.
    pub(super) fn is_heard(&self) -> bool {
        self.incoming.is_empty() && self.unread.is_empty()
    }
}
