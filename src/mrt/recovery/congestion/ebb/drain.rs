//! Letting the queue run out: is it ours?

use super::super::controller::AckSample;
use super::ebb::Ebb;
use super::model::MIN_THRESHOLD;
use super::phase::{Drain, Phase};
use super::round::Round;
use crate::time::{Duration, Instant};

/// When the first drain was in vain: so much of what the path takes is sent and in flight, so that none of it waits anywhere.
pub(super) const DEEP: f64 = 0.75;
/// The first drains teach the loss floor, and later every fourth as long as there is any: then so little is sent that nothing of what is
/// lost can be our rate's fault.
const FIRST_LESSONS: u32 = 12;
const LESSON: u32 = 4;
const KNOWN: f64 = 0.01;
/// Round trips after what is in flight came down, until the queue counts as somebody else's: what was sent when it was down has come back.
const ANSWER_ROUNDS: u64 = 2;

impl Ebb {
    /// `before`: bytes a second that we had, in case the queue is a rival's.
    pub(super) fn move_to_drain(&mut self, now: Instant, gain: f64, before: f64) {
        self.drains = self.drains.wrapping_add(1);
        let few = self.drains < FIRST_LESSONS || self.model.floor.share() < KNOWN;
        let teaches = few || self.drains.is_multiple_of(LESSON);
        if teaches {
            self.model.floor.on_drain(now);
        } else {
            self.model.floor.on_in_vain();
        }
        let (reached, again, tries) = (None, false, None);
        self.phase = Phase::Drain(Drain { since: now, gain, teaches, reached, again, before, tries });
    }

    /// We compete: is there still somebody?
    pub(super) fn move_to_try(&mut self, sample: &AckSample<'_>, rtt: Option<Duration>) {
        self.move_to_drain(sample.now, DEEP, 0.0);
        if let Phase::Drain(drain) = &mut self.phase {
            drain.tries = Some((rtt.unwrap_or_default(), sample.in_flight_before));
        }
    }

    pub(super) fn drain(&mut self, mut state: Drain, sample: &AckSample<'_>, over: Option<&Round>) {
        let target = self.model.window(self.model.pipe() * state.gain).saturating_add(u64::from(self.model.mtu));
        if state.reached.is_none() && sample.in_flight <= target {
            state.reached = Some(sample.round);
        }
        self.phase = Phase::Drain(state);
        let base = self.model.base(sample.rtt);
        let threshold = self.model.threshold(base);
        let is_empty = sample.newest_sent_at >= state.since
            && sample.rtt_sample.is_some_and(|rtt| rtt <= base.saturating_add(threshold / 3));
        if is_empty {
            self.on_tried(&state, sample.rtt_sample, sample.in_flight);
            self.on_drained(sample.now);
            return;
        }
        let answered = state.reached.map(|reached| reached.saturating_add(ANSWER_ROUNDS));
        let Some(round) = over.filter(|round| answered.is_some_and(|answered| round.number >= answered)) else {
            return;
        };
        if !self.model.is_queued(round, sample.rtt) {
            self.on_drained(sample.now);
            return;
        }
        self.on_tried(&state, round.rtt, sample.in_flight);
        if state.again || state.tries.is_some() {
            self.move_to_compete(sample, state.before, false);
        } else {
            self.model.floor.on_in_vain();
            let state = Drain { since: sample.now, gain: DEEP, teaches: false, reached: None, again: true, ..state };
            self.phase = Phase::Drain(state);
        }
    }

    fn on_drained(&mut self, now: Instant) {
        self.model.floor.on_drained(now);
        self.move_to_cruise(now);
    }

    /// So much less in flight made the round trip so much shorter: that is how fast the queue goes down, whoever fills it.
    fn on_tried(&mut self, state: &Drain, drained: Option<Duration>, in_flight: u64) {
        let (Some((rtt, before)), Some(drained), Some(rival)) = (state.tries, drained, &mut self.rival) else { return };
        let (shorter, less) = (rtt.saturating_sub(drained), before.saturating_sub(in_flight));
        if shorter > MIN_THRESHOLD / 2 {
            rival.on_capacity(less as f64 / shorter.as_secs_f64());
        }
    }
}
