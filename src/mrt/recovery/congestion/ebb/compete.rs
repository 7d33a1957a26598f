//! Beside somebody who fills the queue until packets are lost: CUBIC's window, with an eye on how much of the path we have.

use super::super::controller::{AckSample, Controller};
use super::ebb::Ebb;
use super::phase::Phase;
use super::rival::Rival;
use super::round::Round;

/// With how much of what the path was seen to carry we begin, at most: the rival fills the queue by then, so that it is less of the whole.
const START: f64 = 0.7;
/// Whoever has more than half beside at least one other has more than a fair part, however many there are: the window grows no further.
const ENOUGH: f64 = 0.52;
/// Whoever has less than this gives up half as much at a loss. Beside one CUBIC flow that is fair; beside many it is more than one of them
/// gets, but of a path of which each has little.
const LITTLE: f64 = 0.4;
/// Up probes in a row that brought nothing, after which the highest rate is known to be all there is.
const FULL: u32 = 3;
/// Round trips without a queue, after which there is nobody.
const CALM_ROUNDS: u32 = 3;

impl Ebb {
    /// `before`: bytes a second that we had. `newly`: we come to a queue that is full, and have had nothing yet.
    pub(super) fn move_to_compete(&mut self, sample: &AckSample<'_>, before: f64, newly: bool) {
        let before = if newly { before } else { before.min(START * self.model.peak()) };
        let window = self.model.window(before * sample.rtt.smoothed().as_secs_f64());
        self.model.floor.on_in_vain();
        match &mut self.rival {
            // Whoever left us much less than we have had since is somebody else.
            Some(rival) if rival.is_known(sample.now) && rival.cubic.window() >= window / 2 => {
                rival.on_back(sample.now);
            }
            _ => self.rival = Some(Rival::new(sample.now, self.model.mtu, window, newly)),
        }
        self.calm = 0;
        self.last_queue = None;
        self.phase = Phase::Compete;
    }

    pub(super) fn compete(&mut self, sample: &AckSample<'_>, over: Option<&Round>) {
        let enough = self.share().is_some_and(|share| share > ENOUGH);
        let Some(rival) = &mut self.rival else {
            self.move_to_cruise(sample.now);
            return;
        };
        rival.on_ack(sample, &self.model, enough);
        let try_at = rival.try_at;
        let Some(round) = over else { return };
        if !round.app_limited {
            self.model.set_rate(self.model.with_loss(round.delivered()));
        }
        self.calm = if self.model.is_queued(round, sample.rtt) { 0 } else { self.calm + 1 };
        let joins = self.sees_a_drain(sample, round);
        if self.calm >= CALM_ROUNDS {
            self.move_to_cruise_for(sample.now, 0);
        } else if joins || sample.now >= try_at {
            self.move_to_try(sample, round.rtt);
        }
    }

    /// The queue became shorter although nothing was lost: somebody drains, so it is one of us. Two that drain at once see the empty queue
    /// that neither sees alone.
    fn sees_a_drain(&mut self, sample: &AckSample<'_>, round: &Round) -> bool {
        let base = self.model.base(sample.rtt);
        let queue = round.rtt.filter(|_| round.lost == 0).map(|rtt| rtt.saturating_sub(base));
        let before = core::mem::replace(&mut self.last_queue, queue);
        before.zip(queue).is_some_and(|(before, now)| now < before.saturating_mul(4) / 5)
    }

    /// Whether we have less than we may hope for.
    pub(super) fn has_little(&self) -> bool {
        self.share().is_some_and(|share| share < LITTLE)
    }

    /// Our part of what the path carries, if that is known: from when we had it alone, or from drains.
    fn share(&self) -> Option<f64> {
        let alone = (self.full >= FULL).then(|| self.model.peak());
        let capacity = alone.or_else(|| self.rival.as_ref().map(Rival::capacity)).filter(|capacity| *capacity > 0.0)?;
        Some(self.model.rate / capacity)
    }
}
