//! Paths as they are found at home, with the numbers they stand for.

use crate::link::{Link, Loss, Queue, Reordering};
use core::time::Duration;

/// A kind of access, as seen by the home that has it. The numbers are round ones of the right size, chosen so that each profile
/// is hard in its own way; they are no measurement of a particular network.
///
/// | profile | up | down | delay each way | jitter | loss | queue |
/// |---|---|---|---|---|---|---|
/// | `Lan` | 1 Gbit/s | 1 Gbit/s | 0.1 ms | – | – | 1000 packets |
/// | `Wifi` | 100 Mbit/s | 100 Mbit/s | 1 ms | 3 ms | 0.1 % | 250 packets |
/// | `LossyWifi` | 20 Mbit/s | 20 Mbit/s | 2 ms | 15 ms | 3 % | 250 packets; 1 % held back 10 ms, 0.1 % doubled |
/// | `Lte` | 10 Mbit/s | 40 Mbit/s | 25 ms | 15 ms | 0.1 % | 625 kB up, 2.5 MB down (half a second) |
/// | `Satellite` | 3 Mbit/s | 20 Mbit/s | 300 ms | 10 ms | 0.5 % | 225 kB up, 1.5 MB down (0.6 s) |
/// | `Dsl` | 1 Mbit/s | 16 Mbit/s | 10 ms | 1 ms | – | 125 kB up, 2 MB down (a second) |
///
/// Every MTU is 1500 but that of `Dsl`, which is 1492 (PPPoE, RFC 2516 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// A cable in the same house.
    Lan,
    /// A good wireless network in the same room.
    Wifi,
    /// A wireless network two walls away.
    LossyWifi,
    /// A telephone with good reception.
    Lte,
    /// A geostationary satellite.
    Satellite,
    /// A telephone line behind a modem with a second of buffer.
    Dsl,
}

impl Profile {
    /// All of them, for tests that want each.
    pub const ALL: [Self; 6] = [Self::Lan, Self::Wifi, Self::LossyWifi, Self::Lte, Self::Satellite, Self::Dsl];

    /// From the home to the world.
    pub fn up(self) -> Link {
        let rate = match self {
            Self::Lan => 1_000_000_000,
            Self::Wifi => 100_000_000,
            Self::LossyWifi => 20_000_000,
            Self::Lte => 10_000_000,
            Self::Satellite => 3_000_000,
            Self::Dsl => 1_000_000,
        };
        self.at(rate)
    }

    /// From the world to the home.
    pub fn down(self) -> Link {
        let rate = match self {
            Self::Lan => 1_000_000_000,
            Self::Wifi => 100_000_000,
            Self::LossyWifi => 20_000_000,
            Self::Lte => 40_000_000,
            Self::Satellite => 20_000_000,
            Self::Dsl => 16_000_000,
        };
        self.at(rate)
    }

    fn at(self, rate: u64) -> Link {
        let millis = Duration::from_millis;
        let seconds_of_buffer = |seconds: f64| Queue::Bytes((rate as f64 / 8.0 * seconds) as usize);
        let (delay, jitter, loss, queue) = match self {
            Self::Lan => (Duration::from_micros(100), Duration::ZERO, Loss::Never, Queue::Packets(1000)),
            Self::Wifi => (millis(1), millis(3), Loss::Independent(0.001), Queue::Packets(250)),
            Self::LossyWifi => (millis(2), millis(15), Loss::Independent(0.03), Queue::Packets(250)),
            Self::Lte => (millis(25), millis(15), Loss::Independent(0.001), seconds_of_buffer(0.5)),
            Self::Satellite => (millis(300), millis(10), Loss::Independent(0.005), seconds_of_buffer(0.6)),
            Self::Dsl => (millis(10), millis(1), Loss::Never, seconds_of_buffer(1.0)),
        };
        let link = Link { rate: Some(rate), mtu: Some(1500), delay, jitter, loss, queue, ..Link::default() };
        match self {
            Self::LossyWifi => {
                Link { reordering: Reordering { probability: 0.01, hold: millis(10) }, duplication: 0.001, ..link }
            }
            Self::Dsl => Link { mtu: Some(1492), ..link },
            Self::Lan | Self::Wifi | Self::Lte | Self::Satellite => link,
        }
    }
}
