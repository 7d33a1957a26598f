//! End to end: the real `node-client`, several of it, on loopback.
//!
//! Every client runs with `--local` (no server outside this machine is asked), a state folder and a shared folder of its own.
//! Nothing here sleeps: each step waits for the event that it needs, and says which one did not come.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "the harness is test code too: it fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "real programs run in real time")]

#[path = "client/harness.rs"]
mod harness;

#[path = "client/chat.rs"]
mod chat;
#[path = "client/door.rs"]
mod door;
#[path = "client/files.rs"]
mod files;
#[path = "client/idle.rs"]
mod idle;
#[path = "client/mistakes.rs"]
mod mistakes;
#[path = "client/start.rs"]
mod start;
#[path = "client/succession.rs"]
mod succession;
#[path = "client/terminal.rs"]
mod terminal;
