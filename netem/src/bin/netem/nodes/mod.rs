//! Real nodes in a world of their own: what the commands that watch them have in common.
//!
//! ```text
//!   Setting, Plans ──▶ World: namespaces, NATs, STUN        node-client ── stdin ◀── Room::tell
//!                                                                 └──── stdout ──▶ Seen, Record
//! ```
//!
//! Reading order: `setting` (what all worlds of a command share), `kind` (behind what a host can be), `world` (hosts and servers), `room`
//! (nodes that are started, told things, heard and ended), `seen` (what one node says now), `record` (what it has said, in order).
//!
//! It knows of a node what a script may know: options, commands, events and signals.

pub(crate) mod kind;
pub(crate) mod record;
pub(crate) mod room;
pub(crate) mod seen;
pub(crate) mod setting;
pub(crate) mod world;
