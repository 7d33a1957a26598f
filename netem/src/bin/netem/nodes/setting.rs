//! What all worlds of a command have in common.

use crate::failure::{Context, Failure};
use crate::tools;
use clap::ValueEnum;
use core::time::Duration;
use std::path::{Path, PathBuf};

/// What an access carries unless something else is asked for, in bits per second each way: a good line at home, so that a file does not
/// take the whole machine.
pub(crate) const RATE: u64 = 100_000_000;

/// See above.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// From any host to any other and back.
    pub(crate) rtt: Duration,
    /// Of the packets from one host to another, the share that is lost, each for itself.
    pub(crate) loss: f64,
    /// What an access carries, in bits per second each way.
    pub(crate) rate: u64,
    pub(crate) stun: Stun,
    /// The program under test. `None`: the one beside this one.
    pub(crate) node: Option<PathBuf>,
    /// Where what each node said is kept.
    pub(crate) logs: Option<PathBuf>,
}

/// Who tells nodes what they look like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stun {
    /// coturn with two addresses (RFC 5780)
    Coturn,
    /// Nobody answers
    None,
}

impl Setting {
    /// The program under test.
    pub(crate) fn program(&self) -> Result<PathBuf, Failure> {
        let beside = || -> Option<PathBuf> { Some(std::env::current_exe().ok()?.parent()?.join("node-client")) };
        let path = self.node.clone().or_else(beside).unwrap_or_default();
        if path.is_file() {
            return Ok(path);
        }
        let why =
            format!("there is no {}: `cargo build -p anjer --bins` in the same profile, or --node", path.display());
        Err(Failure::new(why))
    }

    /// Says what is not installed, if something is not.
    pub(crate) fn require_tools(&self, needs_kernel_nats: bool) -> Result<(), Failure> {
        let mut tools = vec![("ip", "iproute2")];
        tools.extend((self.stun == Stun::Coturn).then_some(("turnserver", "coturn")));
        tools.extend(needs_kernel_nats.then_some(("nft", "nftables")));
        tools::require(&tools)
    }
}

/// Writes a table into the file that was asked for, if one was.
pub(crate) fn write(path: Option<&Path>, text: &str) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, text).context(|| path.display().to_string())
}
