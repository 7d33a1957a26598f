//! `netem succession`: real nodes lose their supernode in every way there is, and a table says how long it shows and what it cost.
//!
//! ```text
//!   scene × NATs ──▶ stage: a room of nodes, all of whom talk ──▶ act: kill, quit, cut, … ──▶ check: every line at everyone, once,
//!   (J at a time)           one clock for all of them             time from the act            in one order ──▶ outcome ──▶ table
//! ```
//!
//! Reading order: `options` (what is asked for), `scene` (what there is, and the bars), `places` (behind what they are), `stage` (a room that
//! talks), `acts` (what happens in each scene), `check` (what may not have happened, as pure functions), `outcome` (what became of a run),
//! `transcript` (a run in order, for people), `table` (what became of all), `command` (all of that).
//!
//! Every member types a numbered line every tenth of a second, and the one process that types is the one that hears all screens, so that no
//! two clocks are compared. What is asked of the nodes is what a script may ask: options, commands, events, signals.

mod acts;
mod check;
mod command;
mod options;
mod outcome;
mod places;
mod scene;
mod stage;
mod table;
mod transcript;

pub(crate) use command::main;
pub(crate) use options::Options;
