//! What is known of the path: the rate it takes, its round-trip time without a queue, how much that varies, what it loses by chance.

use super::best::Best;
use super::floor::LossFloor;
use super::round::Round;
use crate::mrt::recovery::rate::RateSample;
use crate::mrt::recovery::rtt::Rtt;
use crate::time::{Duration, Instant};
use core::cmp::Reverse;

/// More delay than an eighth of the round trip is a queue, within these bounds (RFC 9406 §4.3 takes the same).
const DIVISOR: u32 = 8;
pub(super) const MIN_THRESHOLD: Duration = Duration::from_millis(4);
const MAX_THRESHOLD: Duration = Duration::from_millis(16);
/// So many packets one behind the other are no queue yet: they are sent in bursts of a few.
const THRESHOLD_PACKETS: f64 = 5.0;
/// A sample that is this many times the noise above the least is a queue.
const NOISES: u32 = 3;
/// No path is believed to vary more by itself.
const MAX_NOISE: Duration = Duration::from_secs(1);
/// What pacing in milliseconds adds to the time that packets are out.
const SLACK: Duration = Duration::from_millis(1);
/// Beyond the product of rate and delay: room for ACKs that come bunched.
const ROOM: f64 = 0.25;
/// The round-trip time of a path that was not measured.
const UNKNOWN: Duration = Duration::from_millis(100);

/// Windows and rates are kept within these: four packets, so that a loss shows by what follows it, and 10 Gbit/s over 800 ms.
const MIN_WINDOW_PACKETS: u64 = 4;
pub(super) const MAX_WINDOW: u64 = 1 << 30;
pub(super) const MAX_RATE: f64 = 1e11;

/// The path. Rates are in bytes a second, those that are lost by chance included.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) mtu: u16,
    pub(super) rate: f64,
    base: Best<Duration>,
    peak: Best<Reverse<u64>>,
    /// By how much samples of one round trip are above the least of them, without our doing.
    pub(super) noise: Duration,
    pub(super) floor: LossFloor,
    /// Passes more slowly while we compete.
    clock: Instant,
    ticked_at: Option<Instant>,
}

impl Model {
    pub(super) fn new(mtu: u16) -> Self {
        Self {
            mtu: mtu.max(1),
            rate: 0.0,
            base: Best::new(),
            peak: Best::new(),
            noise: Duration::ZERO,
            floor: LossFloor::default(),
            clock: Instant::ZERO,
            ticked_at: None,
        }
    }

    /// An ACK came. What is remembered is forgotten four times as slowly while we compete: the queue is never empty then, and the path never
    /// ours alone.
    pub(super) fn on_ack(&mut self, now: Instant, competing: bool, rtt: Option<Duration>, rate: Option<RateSample>) {
        let passed = now.saturating_since(self.ticked_at.replace(now).unwrap_or(now));
        self.clock = self.clock + if competing { passed / 4 } else { passed };
        if let Some(rtt) = rtt {
            self.base.on_sample(self.clock, rtt);
        }
        if let Some(rate) = rate {
            self.peak.on_sample(self.clock, Reverse(rate.bytes_per_second()));
        }
    }

    /// A round trip at a steady rate is over.
    pub(super) fn on_spread(&mut self, spread: Duration) {
        self.noise = (self.noise * 7 + spread.min(MAX_NOISE)) / 8;
    }

    /// The path varies at least by this.
    pub(super) fn raise_noise(&mut self, noise: Duration) {
        self.noise = self.noise.max(noise.min(MAX_NOISE));
    }

    pub(super) fn set_rate(&mut self, rate: f64) {
        self.rate = rate.clamp(f64::from(self.mtu), MAX_RATE);
    }

    /// What was delivered and what is lost by chance.
    pub(super) fn with_loss(&self, delivered: f64) -> f64 {
        delivered / (1.0 - self.floor.share())
    }

    pub(super) fn rate_of(&self, sample: RateSample) -> f64 {
        self.with_loss(sample.bytes_per_second() as f64)
    }

    pub(super) fn packets(&self, bytes: u64) -> f64 {
        bytes as f64 / f64::from(self.mtu)
    }

    /// The highest rate of the last half minute, without what was lost.
    pub(super) fn peak(&self) -> f64 {
        self.peak.get().map_or(0.0, |peak| peak.0 as f64)
    }

    /// The round-trip time without a queue.
    pub(super) fn base(&self, rtt: &Rtt) -> Duration {
        self.base.get().unwrap_or(rtt.smoothed())
    }

    /// A round-trip time that this is above the base shows a queue, before the rate is known.
    pub(super) fn startup_threshold(&self, base: Duration) -> Duration {
        (base / DIVISOR).clamp(MIN_THRESHOLD, MAX_THRESHOLD).max(self.noise * NOISES)
    }

    /// A round-trip time that this is above the base shows a queue.
    pub(super) fn threshold(&self, base: Duration) -> Duration {
        let packets = THRESHOLD_PACKETS * f64::from(self.mtu) / self.peak().max(1000.0);
        self.startup_threshold(base).max(Duration::from_secs_f64(packets.min(1.0)))
    }

    /// Whether even the quickest packet of a round trip waited in a queue.
    pub(super) fn is_queued(&self, round: &Round, rtt: &Rtt) -> bool {
        let base = self.base(rtt);
        round.rtt.is_some_and(|least| least > base.saturating_add(self.threshold(base)))
    }

    /// Whether more was lost in a round trip than by chance.
    pub(super) fn is_congested(&self, round: &Round) -> bool {
        let lost = self.packets(round.lost);
        lost > self.floor.allowance(lost + self.packets(round.acked))
    }

    /// Bytes in flight when the path is full and the queue empty. What is lost counts until it is found to be.
    pub(super) fn pipe(&self) -> f64 {
        let base = self.base.get().unwrap_or(UNKNOWN).saturating_add(SLACK).saturating_add(self.noise);
        self.rate * base.as_secs_f64() * (1.0 + 1.2 * self.floor.share())
    }

    /// Bytes that may be in flight when it is the rate that is to count.
    pub(super) fn room(&self, gain: f64) -> u64 {
        let noise = self.rate * self.noise.as_secs_f64();
        self.window((self.pipe() * (1.0 + self.floor.share()) + noise) * (gain + ROOM))
    }

    /// A window of so many bytes, within bounds.
    pub(super) fn window(&self, bytes: f64) -> u64 {
        (bytes as u64).clamp(self.min_window(), MAX_WINDOW)
    }

    pub(super) const fn min_window(&self) -> u64 {
        MIN_WINDOW_PACKETS * self.mtu as u64
    }
}
