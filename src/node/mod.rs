//! The room: who is in it, who leads, what was said, who holds which file.

pub mod api;
pub mod disk;
pub mod files;
pub mod identity;
pub mod profile;

pub use api::{Command, Event};
