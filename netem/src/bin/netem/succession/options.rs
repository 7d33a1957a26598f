//! What is asked for.

use super::places::Nats;
use super::scene::Scene;
use crate::nodes::setting::{RATE, Setting, Stun};
use crate::units;
use clap::{Args, ValueEnum};
use core::time::Duration;
use std::path::PathBuf;

/// `netem succession`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How often each scene, each time with other dice
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    /// These scenes only
    #[arg(long, value_name = "SCENE,…", value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Scene>,
    /// What the members are behind
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Nats::None, Nats::Model, Nats::Kernel])]
    pub(crate) nats: Vec<Nats>,
    /// In the room, the supernode among them, where the scene leaves it open
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=8))]
    pub(crate) members: u8,
    /// From any host to any other and back
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = units::time)]
    pub(crate) rtt: Duration,
    /// Of the packets from any host to any other
    #[arg(long, value_name = "P", default_value = "1%", value_parser = units::probability)]
    pub(crate) loss: f64,
    /// Worlds at a time. Too many starve each other, and then that is what is measured
    #[arg(long, value_name = "J", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) jobs: u8,
    /// Begins every random choice of the links and NATs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long the supernode stands still in `stop`
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::time)]
    pub(crate) pause: Duration,
    /// Also writes the table into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// The program under test; the one beside this one
    #[arg(long, value_name = "PATH")]
    pub(crate) node: Option<PathBuf>,
    /// Keeps what each node said in this folder, and each run as one story
    #[arg(long, value_name = "DIR")]
    pub(crate) logs: Option<PathBuf>,
}

impl Options {
    /// The scenes that are asked for, in their own order.
    pub(crate) fn scenes(&self) -> Vec<Scene> {
        let is_asked_for = |scene: &Scene| self.only.is_empty() || self.only.contains(scene);
        Scene::value_variants().iter().copied().filter(is_asked_for).collect()
    }

    /// For the worlds of a scene.
    pub(crate) fn setting(&self, scene: Scene) -> Setting {
        let Self { rtt, loss, node, logs, .. } = self.clone();
        Setting { rtt, loss, rate: scene.rate().unwrap_or(RATE), stun: Stun::Coturn, node, logs }
    }
}
