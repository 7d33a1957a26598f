//! `mrt-perf`: measures MRT between two processes.
//!
//! `serve` discards what is sent on bulk channels, echoes request channels, and tells on chat channels how long each message was
//! on its way (both ends need one calendar clock). `send`, `ping` and `idle` are its counterparts.
//!
//! ```text
//!  args      what can be asked for
//!  run       a subcommand's endpoint as the driver sees it
//!  serve · send · ping · idle     a subcommand each
//!  process   what this process cost
//!  report    the last line
//! ```

mod args;
mod idle;
mod ping;
mod process;
mod report;
mod run;
mod send;
mod serve;

use args::{Arguments, Subcommand};
use clap::Parser;
use std::process::ExitCode;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The local address cannot be had.
    #[error("cannot bind {0}: {1}; give another address or port")]
    Bind(std::net::SocketAddr, std::io::Error),
    /// No connection, or none any more.
    #[error("{0}")]
    Lost(String),
    /// The system did not give a thread or randomness.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.subcommand {
        Subcommand::Serve(options) => serve::main(&options),
        Subcommand::Send(options) => send::main(&options),
        Subcommand::Ping(options) => ping::main(&options),
        Subcommand::Idle(options) => idle::main(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::complain(&failure);
            ExitCode::from(if matches!(failure, Failure::Bind(..)) { 3 } else { 1 })
        }
    }
}
