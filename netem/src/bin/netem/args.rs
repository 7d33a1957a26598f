//! The command line.

use crate::kernel;
use crate::matrix;
use crate::nat;
use crate::succession;
use crate::units;
use clap::{Args, Parser, ValueEnum};
use core::time::Duration;
use netem::{Behaviour, Link, Loss, Profile, Queue, Reordering};
use std::path::PathBuf;

/// A network in a box, for real programs: namespaces with links between them that delay, lose, limit and damage.
#[derive(Debug, Parser)]
#[command(name = "netem", version)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) subcommand: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Run commands on hosts with links between them
    Run(Box<RunOptions>),
    /// Run commands on both sides of a NAT of the kernel
    KernelNat(KernelOptions),
    /// Prove by a STUN client what each NAT is
    Check(CheckOptions),
    /// Let real nodes behind every pair of NATs find each other, and say how
    Matrix(matrix::Options),
    /// Let real nodes lose their supernode in every way there is, and say how long it shows
    Succession(succession::Options),
}

#[derive(Debug, Args)]
pub(crate) struct KernelOptions {
    /// What it shall be
    pub(crate) kind: kernel::Kind,
    /// What runs outside (192.0.2.2 and 192.0.2.3), by `sh -c`; it is ended when COMMAND has ended
    #[arg(long, value_name = "COMMAND")]
    pub(crate) far: Option<String>,
    /// What runs inside (10.1.0.2)
    #[arg(last = true, value_name = "COMMAND", required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// The kernel's instead of ours
    #[arg(long)]
    pub(crate) kernel: bool,
    /// Expect something wrong of one of them, to see that it is noticed
    #[arg(long, hide = true)]
    pub(crate) plant: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Hosts from a file, a line each: NAME [link options] [--nat KIND]… [--addresses N] [--serve] [-- COMMAND]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "far"])]
    pub(crate) scenario: Option<PathBuf>,
    /// What runs on the far host (192.0.2.2), by `sh -c`; it is ended when COMMAND has ended
    #[arg(long, value_name = "COMMAND")]
    pub(crate) far: Option<String>,
    /// Begins every random choice of the links
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The link of the near host
    #[command(flatten)]
    pub(crate) link: LinkOptions,
    /// What the near host is behind; the innermost first
    #[arg(long, value_name = "KIND", value_parser = nat::kind)]
    pub(crate) nat: Vec<Behaviour>,
    /// What runs on the near host (192.0.2.1)
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "scenario")]
    pub(crate) command: Vec<String>,
}

/// A line of a scenario, without its command.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub(crate) struct HostOptions {
    /// Letters, digits and hyphens
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) link: LinkOptions,
    /// What it is behind; the innermost first
    #[arg(long, value_name = "KIND", value_parser = nat::kind, conflicts_with = "addresses")]
    pub(crate) nat: Vec<Behaviour>,
    /// How many addresses it has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) addresses: u8,
    /// It has an address of IPv6 too, whatever it is behind
    #[arg(long)]
    pub(crate) six: bool,
    /// Its command is ended when all the others have ended
    #[arg(long)]
    pub(crate) serve: bool,
}

/// A link, in both directions alike unless a profile says otherwise. Options override the profile.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Link (each way)")]
pub(crate) struct LinkOptions {
    /// A kind of access
    #[arg(long, value_enum, ignore_case = true)]
    profile: Option<ProfileName>,
    /// As in 100mbit: bit, kbit, mbit, gbit
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    rate: Option<u64>,
    /// As in 20ms: us, ms, s
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    delay: Option<Duration>,
    /// Up to this much more delay
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    jitter: Option<Duration>,
    /// What waits to be sent at most, as in 25p, 64kB or 100ms
    #[arg(long, value_name = "ROOM", value_parser = units::queue)]
    queue: Option<Queue>,
    /// Each packet for itself, as in 2%
    #[arg(long, value_name = "P", value_parser = units::probability)]
    loss: Option<f64>,
    /// Loss comes so many packets in a row, on average
    #[arg(long, value_name = "N", requires = "loss", value_parser = units::burst)]
    burst: Option<f64>,
    /// Packets that wait longer are marked, if their sender knows ECN
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    mark_after: Option<Duration>,
    /// Damage that checksums do not notice, as in 1%
    #[arg(long, value_name = "P", value_parser = units::probability)]
    corruption: Option<f64>,
    /// As in 1%
    #[arg(long, value_name = "P", value_parser = units::probability)]
    duplication: Option<f64>,
    /// Held back how often and for how long, as in 1%:10ms
    #[arg(long, value_name = "P:TIME", value_parser = units::reordering)]
    reordering: Option<Reordering>,
    /// Larger IP packets vanish without a word
    #[arg(long, value_name = "BYTES")]
    mtu: Option<usize>,
}

impl LinkOptions {
    /// From the host to the world.
    pub(crate) fn up(&self) -> Link {
        self.over(self.profile.map_or_else(Link::default, |profile| profile.profile().up()))
    }

    /// From the world to the host.
    pub(crate) fn down(&self) -> Link {
        self.over(self.profile.map_or_else(Link::default, |profile| profile.profile().down()))
    }

    fn over(&self, base: Link) -> Link {
        Link {
            mtu: self.mtu.or(base.mtu),
            rate: self.rate.or(base.rate),
            queue: self.queue.unwrap_or(base.queue),
            mark_after: self.mark_after.or(base.mark_after),
            loss: match (self.loss, self.burst) {
                (Some(loss), Some(burst)) => Loss::bursts(loss, burst),
                (Some(loss), None) => Loss::Independent(loss),
                (None, _) => base.loss,
            },
            corruption: self.corruption.unwrap_or(base.corruption),
            delay: self.delay.unwrap_or(base.delay),
            jitter: self.jitter.unwrap_or(base.jitter),
            reordering: self.reordering.unwrap_or(base.reordering),
            duplication: self.duplication.unwrap_or(base.duplication),
            ..base
        }
    }
}

/// The library's profiles by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileName {
    /// 1 Gbit/s, 0.1 ms
    Lan,
    /// 100 Mbit/s, 1 ms, jitter
    Wifi,
    /// 20 Mbit/s, 2 ms, 3 % loss
    LossyWifi,
    /// 10/40 Mbit/s, 25 ms, half a second of buffer
    Lte,
    /// 3/20 Mbit/s, 300 ms
    Satellite,
    /// 1/16 Mbit/s, 10 ms, a second of buffer
    Dsl,
}

impl ProfileName {
    const fn profile(self) -> Profile {
        match self {
            Self::Lan => Profile::Lan,
            Self::Wifi => Profile::Wifi,
            Self::LossyWifi => Profile::LossyWifi,
            Self::Lte => Profile::Lte,
            Self::Satellite => Profile::Satellite,
            Self::Dsl => Profile::Dsl,
        }
    }
}
