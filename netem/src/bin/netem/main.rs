//! `netem`: a network in a box, for real programs.
//!
//! ```text
//!   namespace near                 this process                  namespace far
//!   COMMAND ── tun0 ──▶ NAT, up link ──▶ core ──▶ down link, NAT ──▶ tun0 ── COMMAND
//! ```
//!
//! Reading order: `args`, `units`, `nat` and `scenario` (what is asked for), `namespace` (where programs run), `frame` (a packet),
//! `gates` (NATs, and what is behind them), `carrier` (the loop that carries packets through the library's links and NATs), `world` (all of that, built and torn down), `run`,
//! `kernel`, `check` (what the subcommands do with it), `nodes` (real nodes in such a world), `matrix`, `succession` (what is measured of them); `privilege`, `signals`, `clock`, `tools`, `failure` (what the system adds).

#![cfg_attr(
    target_os = "linux",
    expect(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its user")
)]

#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod carrier;
#[cfg(target_os = "linux")]
mod check;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod failure;
#[cfg(target_os = "linux")]
mod frame;
#[cfg(target_os = "linux")]
mod gates;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod matrix;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod nat;
#[cfg(target_os = "linux")]
mod nodes;
#[cfg(target_os = "linux")]
mod privilege;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod scenario;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod succession;
#[cfg(target_os = "linux")]
mod tools;
#[cfg(target_os = "linux")]
mod units;
#[cfg(target_os = "linux")]
mod world;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use args::{Arguments, Subcommand};
    use clap::Parser;

    let arguments = Arguments::parse();
    let result = match &arguments.subcommand {
        Subcommand::Run(options) => run::main(options),
        Subcommand::KernelNat(options) => kernel::main(options),
        Subcommand::Check(options) => check::main(options),
        Subcommand::Matrix(options) => matrix::main(options),
        Subcommand::Succession(options) => succession::main(options),
    };
    result.unwrap_or_else(|failure| {
        eprintln!("netem: {failure}");
        std::process::ExitCode::from(failure::EXIT_CODE)
    })
}

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), &'static str> {
    Err("real packets are carried between network namespaces, which only Linux has")
}
