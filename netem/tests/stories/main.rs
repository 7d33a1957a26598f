//! Stories about links and faults: each impairment is seen to do what it says, and nothing else.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails is a test that fails")]

mod faults;
mod links;
mod machines;
mod nats;
mod punching;
mod script;
mod talker;
mod topology;
