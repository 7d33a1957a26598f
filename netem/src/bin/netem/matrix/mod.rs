//! `netem matrix`: real nodes behind every pair of NATs find each other, and a table says how.
//!
//! ```text
//!   kinds ──▶ pairs ──▶ worlds (J at a time)          measure ──▶ table
//!   S public, A behind X, B behind Y, STUN   room: stdin, events ──▶ outcome of a run
//! ```
//!
//! Reading order: `nodes` (real nodes in a world of their own, beside this folder), `options` (what is asked for), `kinds` (which pairs there
//! are), `run` (a pair once), `outcome` (what became of it), `table` (what became of all), `special` (what is no pair), `ticket` (of that, who
//! comes through a member), `command` (all of that).
//!
//! It knows of a node what a script may know: options, commands and events. Whether a path is direct it takes from nobody's word: it counts
//! what the supernode sent while a file went from A to B.

mod command;
mod kinds;
mod options;
mod outcome;
mod run;
mod special;
mod table;
mod ticket;

use crate::nodes::{room, world};
pub(crate) use command::main;
pub(crate) use options::Options;
