//! At the path's rate, and now and then a little above it to see whether there is more.

use super::super::controller::AckSample;
use super::drain::DEEP;
use super::ebb::Ebb;
use super::phase::{Phase, Probe};
use super::round::Round;
use crate::time::Instant;

/// Round trips between a drain and the next Up: with both, a cycle of seven or eight, as in draft-ietf-ccwg-bbr §5.3.3 at its shortest.
const ROUNDS: u32 = 5;
/// What is sent in Up, of the path's rate (draft-ietf-ccwg-bbr §5.3.3.6); and when that came back.
pub(super) const UP: f64 = 1.25;
pub(super) const UP_BOLDLY: f64 = 2.0;
/// So much more has to come back.
const MORE: f64 = 1.12;
/// What is left of the rate after Up, so that what it put into the queue runs out.
const AFTER_UP: f64 = 0.93;
/// And when the delay rose by itself.
const AFTER_QUEUE: f64 = 0.85;
/// Cruises in a row that the delay ended, until that counts as somebody who fills the queue faster than we drain it.
const PRESSED: u32 = 3;
/// So much of the rate has to be used for Up to show anything.
const USED: f64 = 0.8;

impl Ebb {
    pub(super) fn move_to_cruise(&mut self, now: Instant) {
        self.move_to_cruise_for(now, ROUNDS);
    }

    pub(super) fn move_to_cruise_for(&mut self, now: Instant, left: u32) {
        self.phase = Phase::Cruise { left };
        self.since = now;
        self.measured = None;
    }

    fn move_to_up(&mut self, now: Instant, boldly: bool) {
        self.phase = Phase::Up { boldly };
        self.since = now;
        self.measured = None;
        self.probe = Some(Probe { boldly, from: now, to: None, rate: None, rtt: None });
    }

    pub(super) fn cruise(&mut self, left: u32, sample: &AckSample<'_>, round: &Round) {
        if let Some(spread) = round.spread {
            self.model.on_spread(spread);
        }
        let congested = self.model.is_congested(round);
        if congested || self.model.is_queued(round, sample.rtt) {
            self.on_pressed(sample, congested);
        } else if left > 0 {
            self.phase = Phase::Cruise { left: left - 1 };
        } else {
            self.pressed = 0;
            let delivered = self.model.with_loss(round.delivered());
            if !round.app_limited || delivered > USED * self.model.rate {
                self.move_to_up(sample.now, false);
            }
        }
    }

    /// There is a queue, or more is lost than by chance.
    fn on_pressed(&mut self, sample: &AckSample<'_>, congested: bool) {
        if self.pressed == 0 {
            self.unpressed = self.model.rate;
        }
        self.pressed = self.pressed.saturating_add(1);
        if let Some(measured) = self.measured {
            self.model.set_rate(self.model.rate.min(measured));
        }
        if self.pressed >= PRESSED && !congested {
            self.move_to_compete(sample, self.unpressed, false);
        } else {
            self.move_to_drain(sample.now, AFTER_QUEUE, self.unpressed);
        }
    }

    /// A router says that there is a queue (RFC 8511: less than after a loss).
    pub(super) fn on_mark(&mut self, now: Instant) {
        let before = self.model.rate;
        self.model.set_rate(before * AFTER_QUEUE);
        self.move_to_drain(now, DEEP, before);
    }

    /// What was sent first in Up has come back.
    pub(super) fn up(&mut self, sample: &AckSample<'_>) {
        if let Some(probe) = &mut self.probe {
            probe.to = Some(sample.now);
        }
        self.move_to_drain(sample.now, AFTER_UP, self.model.rate);
    }

    /// What was sent in Up arrives, or all of it has.
    pub(super) fn on_answer(&mut self, sample: &AckSample<'_>) {
        let Some(probe) = &mut self.probe else { return };
        if sample.newest_sent_at <= probe.from {
            return;
        }
        let base = self.model.base(sample.rtt);
        if probe.to.is_none_or(|to| sample.newest_sent_at <= to) {
            if let Some(rate) = sample.rate {
                let rate = self.model.rate_of(rate);
                // The mean of the last quarter of a round trip.
                let weight = (4.0 * sample.acked_bytes as f64 / self.model.pipe().max(1.0)).clamp(0.0, 1.0);
                probe.rate = Some(probe.rate.map_or(rate, |mean| mean + (rate - mean) * weight));
            }
            let second_half = sample.newest_sent_at > probe.from + base / 2;
            if let Some(rtt) = sample.rtt_sample.filter(|_| second_half) {
                probe.rtt = Some(probe.rtt.map_or(rtt, |least| least.min(rtt)));
            }
            return;
        }
        if let Some(probe) = self.probe.take()
            && self.phase != Phase::Compete
            && let Some(rate) = probe.rate
        {
            let late = base.saturating_add(self.model.threshold(base));
            let is_more = rate > MORE * self.model.rate && probe.rtt.is_none_or(|rtt| rtt <= late);
            self.model.set_rate(self.model.rate.max(rate));
            self.on_probed(sample.now, probe.boldly, is_more);
        }
    }

    fn on_probed(&mut self, now: Instant, boldly: bool, is_more: bool) {
        if !is_more {
            self.full = self.full.saturating_add(1);
            return;
        }
        self.full = 0;
        if boldly {
            self.move_to_startup(self.model.room(1.0));
        } else {
            self.move_to_up(now, true);
        }
    }

    /// The rate that shows in what was sent since the phase began, as a mean.
    pub(super) fn measure(&mut self, sample: &AckSample<'_>) {
        if let Some(rate) = sample.rate.filter(|rate| !rate.app_limited)
            && sample.newest_sent_at > self.since + self.model.base(sample.rtt)
        {
            let rate = self.model.rate_of(rate);
            self.measured = Some(self.measured.map_or(rate, |mean| mean + (rate - mean) / 16.0));
        }
    }
}
