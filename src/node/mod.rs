//! The room: who is in it, who leads, what was said, who holds which file.

pub mod api;
pub mod catalogue;
pub mod disk;
pub mod files;
pub mod identity;
pub mod links;
pub mod record;
pub mod room;
pub mod ticket;
pub mod transfer;
pub mod wire;

#[expect(clippy::module_inception, reason = "the node is the value that the folder is about")]
mod node;
mod run;
mod turn;

pub use api::{Command, Event};
pub use node::{Node, NodeConfig};
pub use run::{Setup, StartError, start};
