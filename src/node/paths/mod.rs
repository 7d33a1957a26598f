//! The ways to other members: through another member at first, straight there as soon as it can be.
//!
//! The promise: whoever is linked to somebody who reaches a member reaches that member, too; a direct path is found where one can be,
//! without any third party, and its link moves there without anybody noticing; and how each member is reached, and why, is always said.
//!
//! ```text
//!  message    what nodes say to each other about paths
//!  asking     ways through others that we asked for, or were offered
//!  relaying   flows that we pass on for others
//!  passing    the node's verbs over these two
//!  standing_by  ways for links that would not outlive the supernode
//!  sockets    which part of the node each socket belongs to
//!  pair       one member that is not reached directly, on the way to a direct path
//!  measured   whose NAT is known well enough to guess at its ports
//!  config     what a punch is begun with
//!  kept       sockets that a punch opened and a path uses
//!  punching   the node's verbs over all of them
//!  calling    calls to where a member says it is, and NATs that are opened for them
//!  meeting    two people who typed each other's addresses
//!  nat        what our NAT does; others' questions about theirs
//!  around     where we listen, and what the machine, the LAN and the gateway say
//! ```
//!
//! Reading order: as above. This folder knows links and members; it does not know what is said over them.

mod around;
mod asking;
mod calling;
mod config;
mod kept;
mod measured;
mod meeting;
mod message;
mod nat;
mod pair;
mod passing;
mod punching;
mod relaying;
mod sockets;
mod standing_by;

#[cfg(test)]
mod forged;
#[cfg(test)]
mod hostile;

pub(super) use around::{Around, Home, Homes};
pub(super) use meeting::Meetings;
pub use message::{PathMessage, Prober, Refusal};
pub(super) use nat::Nat;
pub(super) use passing::Passing;
pub(super) use punching::Punching;
pub(super) use sockets::{Owner, Sockets};
