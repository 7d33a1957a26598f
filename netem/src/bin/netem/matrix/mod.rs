//! `netem matrix`: real nodes behind every pair of NATs find each other, and a table says how.
//!
//! ```text
//!   kinds ──▶ pairs ──▶ worlds (J at a time)          measure ──▶ table
//!   S public, A behind X, B behind Y, STUN   room: stdin, events ──▶ outcome of a run
//! ```
//!
//! Reading order: `options` (what is asked for), `kinds` (behind what a host can be, and which pairs there are), `world` (hosts and servers),
//! `room` (nodes that are told things and heard), `seen` (what one node said so far), `run` (a pair once), `outcome` (what became of it),
//! `table` (what became of all), `special` (what is no pair), `ticket` (of that, who comes through a member), `command` (all of that).
//!
//! It knows of a node what a script may know: options, commands and events. Whether a path is direct it takes from nobody's word: it counts
//! what the supernode sent while a file went from A to B.

mod command;
mod kinds;
mod options;
mod outcome;
mod room;
mod run;
mod seen;
mod special;
mod table;
mod ticket;
mod world;

pub(crate) use command::main;
pub(crate) use options::Options;
