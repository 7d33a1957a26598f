//! Somebody who fills the queue, and the window with which we do the same.

use super::super::controller::{AckSample, CongestionEvent, Controller};
use super::super::cubic::Cubic;
use super::model::Model;
use crate::time::{Duration, Instant};

/// When it is first tried whether there still is somebody; each time it takes half as long again until the next, up to the last.
const FIRST_TRY: Duration = Duration::from_secs(3);
const LAST_TRY: Duration = Duration::from_secs(10);
/// One that comes back within this time is the same one.
const MEMORY: Duration = Duration::from_secs(5);
/// What remains of the window after a loss (RFC 9438 §4.6), and when we have little.
const BETA: f64 = 0.7;
const BETA_OF_LITTLE: f64 = 0.85;
/// A floor below this is none: every loss counts, as it does for the rival.
const NO_FLOOR: f64 = 0.002;
/// Chance has no memory: this much more than the floor may be lost, and up to so many packets at once.
const LUCK: f64 = 1.3;
const MIN_LUCK: f64 = 4.0;

/// CUBIC's window, which loss reduces only beyond the path's own.
#[derive(Clone, Debug)]
pub(super) struct Rival {
    pub(super) cubic: Cubic,
    /// When it is to be tried whether there still is somebody.
    pub(super) try_at: Instant,
    interval: Duration,
    seen_at: Instant,
    /// Bytes a second that all together get, as far as drains told; 0 before the first.
    capacity: f64,
    /// Packets that may be lost by chance.
    luck: f64,
}

impl Rival {
    /// `newly`: we have had nothing yet, so that the window doubles until something is lost.
    pub(super) fn new(now: Instant, mtu: u16, window: u64, newly: bool) -> Self {
        Self {
            cubic: Cubic::resume(mtu, window, newly),
            try_at: now + FIRST_TRY,
            interval: FIRST_TRY,
            seen_at: now,
            capacity: 0.0,
            luck: 0.0,
        }
    }

    /// `enough`: the window need not grow.
    pub(super) fn on_ack(&mut self, sample: &AckSample<'_>, model: &Model, enough: bool) {
        self.seen_at = sample.now;
        let share = model.floor.share();
        let most = MIN_LUCK + 0.5 * share * model.packets(self.cubic.window());
        let earned = LUCK * share * model.packets(sample.acked_bytes);
        self.luck = if share < NO_FLOOR { 0.0 } else { (self.luck + earned).min(most) };
        if !enough {
            self.cubic.on_ack(sample);
        }
    }

    /// `little`: we have less than we may hope for.
    pub(super) fn on_congestion(&mut self, event: &CongestionEvent, packets: f64, little: bool) {
        if !event.ecn && !event.persistent && packets <= self.luck {
            self.luck -= packets;
            return;
        }
        self.cubic.on_congestion_by(event, if little { BETA_OF_LITTLE } else { BETA });
    }

    /// Whether this is the one that was there a moment ago.
    pub(super) fn is_known(&self, now: Instant) -> bool {
        now.saturating_since(self.seen_at) < MEMORY
    }

    /// It is there still, or again.
    pub(super) fn on_back(&mut self, now: Instant) {
        self.interval = (self.interval + self.interval / 2).min(LAST_TRY);
        self.try_at = now + self.interval;
    }

    /// A drain showed how fast the queue goes down.
    pub(super) fn on_capacity(&mut self, capacity: f64) {
        self.capacity = if self.capacity > 0.0 { f64::midpoint(self.capacity, capacity) } else { capacity };
    }

    /// Bytes a second that all together get; 0 if that is not known.
    pub(super) const fn capacity(&self) -> f64 {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1000;

    fn loss(now: Instant, packets: u64) -> CongestionEvent {
        CongestionEvent { now, sent_at: now, lost_bytes: packets * 1000, persistent: false, ecn: false }
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_loss_takes_three_tenths_or_half_of_that_from_whoever_has_little() {
        for (little, left) in [(false, 70_000), (true, 85_000)] {
            let mut rival = Rival::new(at(0), MTU, 100_000, false);
            rival.on_congestion(&loss(at(1), 1), 1.0, little);
            assert_eq!(rival.cubic.window(), left);
        }
    }

    #[test]
    fn it_is_tried_ever_more_rarely_whether_it_is_there() {
        let mut rival = Rival::new(at(0), MTU, 100_000, false);
        let mut waits = vec![rival.try_at.as_millis()];
        for _ in 0..5 {
            let now = rival.try_at;
            rival.on_back(now);
            waits.push(rival.try_at.saturating_since(now).as_millis() as u64);
        }
        assert_eq!(waits, [3000, 4500, 6750, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn one_that_was_gone_for_long_is_another() {
        let rival = Rival::new(at(0), MTU, 100_000, false);
        assert!(rival.is_known(at(4)));
        assert!(!rival.is_known(at(6)));
    }
}
