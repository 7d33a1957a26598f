//! The beginning: more in every round trip, until the path shows that it is full.

use super::super::controller::AckSample;
use super::ebb::Ebb;
use super::model::MAX_WINDOW;
use super::phase::{Phase, Settle, Startup};
use super::round::Round;

/// The window grows by this many bytes for each that arrives: it triples in a round trip, which takes two thirds of the round trips that
/// doubling takes. The delay ends it early enough: a queue of an eighth of a round trip is seen one round trip after it was there.
const GROWTH: u64 = 2;
/// After what looked like the end and was not, it doubles.
const GROWTH_AGAIN: u64 = 1;
/// A round trip that brings less than this times the best before shows that the path may be full (draft-ietf-ccwg-bbr §5.3.1.2)…
const STEP: f64 = 1.25;
/// …and so many of them that it is; or one, when so much is lost.
const FLAT_ROUNDS: u32 = 2;
const LOSSY: f64 = 0.1;
/// Samples in a row that took too long and end it (RFC 9406 §4.2 needs eight as well).
const LATE_SAMPLES: u32 = 8;
/// While settling: if so much of what is out comes back within the shortest round trip, what rose was not our queue.
const NOT_OURS: f64 = 0.6;
/// What has to come back beyond the last time, for the delay to be a mere variation.
const GROWN: f64 = 1.2;
/// More is lost than by an odd accident.
const ODD: f64 = 0.02;
/// How often it goes on after it looked over.
const MAX_RESTARTS: u32 = 8;

impl Ebb {
    pub(super) fn move_to_startup(&mut self, window: u64) {
        self.window = window;
        self.restarts = 0;
        self.phase = Phase::Startup(Startup::growing_by(GROWTH));
    }

    fn startup_again(&mut self) {
        self.restarts = self.restarts.saturating_add(1);
        self.phase = Phase::Startup(Startup::growing_by(GROWTH_AGAIN));
    }

    pub(super) fn startup(&mut self, mut state: Startup, sample: &AckSample<'_>, over: Option<&Round>) {
        // RFC 9002 §7.8: a window that is not used proves nothing.
        let used = sample.in_flight_before.saturating_add(sample.in_flight_before / 2) >= self.window;
        if used && !sample.app_limited {
            self.window = self.window.saturating_add(state.growth.saturating_mul(sample.acked_bytes)).min(MAX_WINDOW);
        }
        let mut is_flat = false;
        if let Some(round) = over.filter(|round| !round.app_limited) {
            let delivered = round.delivered();
            state.flat = if delivered >= state.best * STEP { 0 } else { state.flat + 1 };
            is_flat = state.flat >= FLAT_ROUNDS || (state.flat > 0 && round.loss() > LOSSY);
            state.best = state.best.max(delivered);
        }
        if let Some(rtt) = sample.rtt_sample {
            let base = self.model.base(sample.rtt);
            let is_late = rtt > base.saturating_add(self.model.startup_threshold(base));
            state.late = if is_late { state.late + 1 } else { 0 };
        }
        let by_delay = state.late >= LATE_SAMPLES;
        self.phase = Phase::Startup(state);
        if is_flat || by_delay {
            self.window = sample.in_flight_before.clamp(self.model.min_window(), MAX_WINDOW);
            self.phase = Phase::Settle(Settle { since: sample.now, acked: 0, lost: 0, by_delay, starved: false });
        }
    }

    pub(super) fn settle(&mut self, mut state: Settle, sample: &AckSample<'_>) {
        state.acked = state.acked.saturating_add(sample.acked_bytes);
        state.starved |= sample.app_limited;
        self.phase = Phase::Settle(state);
        let took = sample.now.saturating_since(state.since);
        if took < sample.rtt.smoothed() {
            return;
        }
        let may_restart = self.restarts < MAX_RESTARTS;
        if state.starved && may_restart {
            // There was not enough to send to learn anything.
            self.startup_again();
            return;
        }
        let took = took.as_secs_f64().max(1e-6);
        let (rate, lost) = (state.acked as f64 / took, state.lost as f64 / took);
        let grows = rate > GROWN * self.model.rate;
        self.model.set_rate(self.model.with_loss(rate));
        let base = self.model.base(sample.rtt);
        let is_ours = (rate + lost) * base.as_secs_f64() <= NOT_OURS * self.window as f64;
        if state.by_delay && !is_ours {
            if grows && may_restart {
                let excess = sample.rtt.smoothed().saturating_sub(base);
                self.model.raise_noise((excess / 3).min(base / 6));
                self.startup_again();
                return;
            }
            if lost <= ODD * rate {
                // Somebody fills the queue: delay is no reason to stop, loss is.
                self.move_to_compete(sample, rate, true);
                return;
            }
        }
        self.move_to_drain(sample.now, 0.9, self.model.rate);
    }
}
