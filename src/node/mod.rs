//! The room: who is in it, who leads, what was said, who holds which file.
//!
//! ```text
//!   Command ──▶ Node ──▶ Event                          node, turn, told: who is asked when; what one part reports to another
//!                │
//!      ┌─────────┼──────────────┬───────────────┐
//!      ▼         ▼              ▼               ▼
//!    room     catalogue      transfer         ticket
//!    who is   who offers     files between    an invitation
//!    in it    what           two members      as text
//!      └─────────┴───────┬──────┘               │
//!                        ▼                      │
//!                      links ◀── paths          │    one proven connection a peer, and the ways it goes
//!                        ▼                      ▼
//!                  mrt::Endpoint             record, identity: who somebody is     wire: bytes of what members say
//!
//!   disk     slices read and written, on a thread of its own     run      the node on a real socket
//!   surroundings   what the machine, the LAN and the gateway tell it
//! ```
//!
//! Reading order: [`api`], [`Node`], [`links`], [`paths`], [`room`], [`catalogue`], [`transfer`], [`disk`].

pub mod api;
pub mod catalogue;
pub mod disk;
pub mod files;
pub mod identity;
pub mod links;
pub mod paths;
pub mod profile;
pub mod record;
pub mod room;
pub mod run;
pub mod ticket;
pub mod transfer;
pub mod wire;

#[expect(clippy::module_inception, reason = "the node is the one noun of this folder")]
mod node;
mod surroundings;
mod told;
mod turn;

pub use api::{Command, Event};
pub use node::{Node, NodeConfig};
pub use run::{Setup, StartError, start};
