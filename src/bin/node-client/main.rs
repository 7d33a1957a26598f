//! `node-client`: the program a person or a script talks to a room with.
//!
//! ```text
//!  options ─ questions ─▶ program ─▶ session (the node)
//!                            │          ▲ Command   │ Event
//!  terminal or plain ─ Input ▶ run ─────┘           │
//!                            ▲──────────────────────┘
//!                            └─ face (screen or json) ─▶ output
//! ```
//!
//! Reading order: `program`, `run`, `command_table`, `screen`; then the edges: `terminal`, `plain`, `output`, `signals`.

mod clock;
mod command_table;
mod defaults;
mod exit;
mod face;
mod harmless;
mod input;
mod json;
mod options;
mod output;
mod plain;
mod program;
mod progress;
mod questions;
mod run;
#[cfg(test)]
mod samples;
mod screen;
mod session;
mod signals;
mod table;
mod terminal;
mod units;

use clap::Parser;
use std::process::ExitCode;

fn main() -> std::io::Result<ExitCode> {
    let options = options::Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(program::program(options));
    // A thread may still wait for a line that nobody will type.
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}
