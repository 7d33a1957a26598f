//! What is asked for.

use crate::nodes::setting::{RATE, Setting, Stun};
use crate::units;
use clap::{Args, ValueEnum};
use core::time::Duration;
use std::path::PathBuf;

/// `netem matrix`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How often each pair, each time with other dice
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    /// All pairs of these kinds
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    pub(crate) kinds: Vec<String>,
    /// Which pairs, without --kinds
    #[arg(long, value_enum, default_value_t = Pairs::Representative)]
    pub(crate) pairs: Pairs,
    /// NATs of the kernel instead of the model's, where it has them
    #[arg(long)]
    pub(crate) kernel: bool,
    /// Worlds at a time; most of their time they wait
    #[arg(long, value_name = "J", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) jobs: u8,
    /// From any host to any other and back
    #[arg(long, value_name = "TIME", default_value = "40ms", value_parser = units::time)]
    pub(crate) rtt: Duration,
    /// Begins every random choice of the NATs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long two who know of each other may take to find a direct path
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = units::time)]
    pub(crate) patience: Duration,
    /// Size of the file that goes from A to B
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) mib: u8,
    /// The STUN servers
    #[arg(long, value_enum, default_value_t = Stun::Coturn)]
    pub(crate) stun: Stun,
    /// Two in one home, two NATs in a row, a firewall, a reboot, …: what is no pair of kinds
    #[arg(long)]
    pub(crate) special: bool,
    /// Of the special ones, those with this in their name
    #[arg(long, value_name = "WORD", requires = "special")]
    pub(crate) only: Option<String>,
    /// Also writes the table into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// The program under test; the one beside this one
    #[arg(long, value_name = "PATH")]
    pub(crate) node: Option<PathBuf>,
    /// Keeps what each node said in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) logs: Option<PathBuf>,
}

/// Which pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pairs {
    /// Eight, one for each way to meet
    Representative,
    /// Every kind with every kind
    All,
}

/// What the worlds of these options have in common: links that lose nothing, so that what is measured is finding a path.
impl From<&Options> for Setting {
    fn from(options: &Options) -> Self {
        let Options { rtt, stun, node, logs, .. } = options.clone();
        Self { rtt, loss: 0.0, rate: RATE, stun, node, logs }
    }
}
