//! What a round trip shows: how much arrived, what was lost, how long the quickest packet took.

use super::super::controller::AckSample;
use crate::time::{Duration, Instant};

/// Samples that a spread needs.
const SPREAD_SAMPLES: u32 = 4;

/// One round trip that is over, counted in packets: from the acknowledgement of one until that of the first that left after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) number: u64,
    pub(super) acked: u64,
    pub(super) lost: u64,
    pub(super) took: Duration,
    /// The smallest round-trip time in it.
    pub(super) rtt: Option<Duration>,
    /// By how much the mean sample was above it, if there were enough to tell.
    pub(super) spread: Option<Duration>,
    /// There was not always something to send.
    pub(super) app_limited: bool,
}

impl Round {
    /// Bytes that arrived a second.
    pub(super) fn delivered(&self) -> f64 {
        self.acked as f64 / self.took.as_secs_f64().max(1e-6)
    }

    /// The share that was lost.
    pub(super) fn loss(&self) -> f64 {
        self.lost as f64 / (self.acked as f64 + self.lost as f64).max(1.0)
    }
}

/// The round trip that is going on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds {
    began_at: Option<Instant>,
    acked: u64,
    lost: u64,
    rtt: Option<Duration>,
    sum: Duration,
    samples: u32,
    app_limited: bool,
}

impl Rounds {
    /// Takes an acknowledgement; gives the round trip that it ends.
    pub(super) fn on_ack(&mut self, sample: &AckSample<'_>) -> Option<Round> {
        self.acked = self.acked.saturating_add(sample.acked_bytes);
        self.app_limited |= sample.app_limited;
        let mut over = None;
        if sample.round_start {
            over = self.began_at.map(|began_at| Round {
                number: sample.round,
                acked: self.acked,
                lost: self.lost,
                took: sample.now.saturating_since(began_at),
                rtt: self.rtt,
                spread: self.spread(),
                app_limited: self.app_limited,
            });
            *self = Self { began_at: Some(sample.now), app_limited: sample.app_limited, ..Self::default() };
        }
        if let Some(rtt) = sample.rtt_sample {
            self.rtt = Some(self.rtt.map_or(rtt, |least| least.min(rtt)));
            self.sum = self.sum.saturating_add(rtt);
            self.samples = self.samples.saturating_add(1);
        }
        over
    }

    fn spread(&self) -> Option<Duration> {
        let least = self.rtt.filter(|_| self.samples >= SPREAD_SAMPLES)?;
        Some((self.sum / self.samples.max(1)).saturating_sub(least))
    }

    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.lost = self.lost.saturating_add(bytes);
    }
}
