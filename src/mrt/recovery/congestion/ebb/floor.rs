//! Loss that is there at any rate: what a path loses while we send less than it takes.

use crate::time::Instant;

/// Packets that an estimate weighs against: so many without a loss are assumed before the first.
const DOUBT: f64 = 20.0;
/// How much of the older evidence is kept when there is newer.
const KEPT: f64 = 0.8;
/// No path is believed to lose more by chance.
const MAX: f64 = 0.3;
/// Packets that may be lost at once without a lesson being useless.
const ACCIDENT: f64 = 3.0;

/// The share of packets that the path loses whatever we do. Learnt from packets sent in drains only, and from those only that found the
/// queue empty: loss that comes from our own rate is not seen there, so that a shallow queue or a policer is never taken for bad luck.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossFloor {
    acked: f64,
    lost: f64,
    /// Of the last drain: what was sent in it may still be on its way.
    lesson: Option<Lesson>,
}

/// What became of packets that were sent in a drain.
#[derive(Clone, Copy, Debug)]
struct Lesson {
    from: Instant,
    /// Until when, if the queue was found empty.
    to: Option<Instant>,
    acked: f64,
    lost: f64,
}

impl Lesson {
    /// So much is lost when something breaks, not by chance: it teaches nothing.
    fn is_plausible(&self) -> bool {
        self.to.is_some() && self.lost <= MAX * (self.acked + self.lost) + ACCIDENT
    }
}

impl LossFloor {
    /// A drain begins.
    pub(super) fn on_drain(&mut self, now: Instant) {
        self.fold();
        self.lesson = Some(Lesson { from: now, to: None, acked: 0.0, lost: 0.0 });
    }

    /// The drain is over: the queue was empty.
    pub(super) fn on_drained(&mut self, now: Instant) {
        if let Some(Lesson { to: to @ None, .. }) = &mut self.lesson {
            *to = Some(now);
        }
    }

    /// The drain is over: the queue stayed; or it is none to learn from.
    pub(super) fn on_in_vain(&mut self) {
        self.fold();
    }

    /// So many packets arrived, of which the newest was sent then.
    pub(super) fn on_acked(&mut self, sent_at: Instant, packets: f64) {
        if let Some(lesson) = self.lesson_of(sent_at) {
            lesson.acked += packets;
        }
    }

    /// So many packets were lost, of which the newest was sent then.
    pub(super) fn on_lost(&mut self, sent_at: Instant, packets: f64) {
        if let Some(lesson) = self.lesson_of(sent_at) {
            lesson.lost += packets;
        }
    }

    fn lesson_of(&mut self, sent_at: Instant) -> Option<&mut Lesson> {
        self.lesson.as_mut().filter(|lesson| sent_at >= lesson.from && lesson.to.is_none_or(|to| sent_at <= to))
    }

    /// The last lesson joins the others.
    fn fold(&mut self) {
        if let Some(lesson) = self.lesson.take().filter(Lesson::is_plausible) {
            self.acked = self.acked * KEPT + lesson.acked;
            self.lost = self.lost * KEPT + lesson.lost;
        }
    }

    /// The share, between 0 and 0.3.
    pub(super) fn share(&self) -> f64 {
        let last = self.lesson.filter(Lesson::is_plausible).map_or((0.0, 0.0), |lesson| (lesson.acked, lesson.lost));
        let (acked, lost) = (self.acked + last.0, self.lost + last.1);
        (lost / (acked + lost + DOUBT)).min(MAX)
    }

    /// How many of so many packets may be lost before it is more than chance: two deviations above the share, and two in a hundred
    /// (draft-ietf-ccwg-bbr, `BBR.LossThresh`).
    pub(super) fn allowance(&self, packets: f64) -> f64 {
        let share = self.share();
        packets * (share + 0.02) + 2.0 * (packets * share * (1.0 - share)).sqrt() + 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    /// A drain of 100 ms from `start` in which so many of 300 packets are lost.
    fn lesson(floor: &mut LossFloor, start: u64, lost: f64) {
        floor.on_drain(at(start));
        floor.on_acked(at(start + 50), 300.0 - lost);
        floor.on_lost(at(start + 50), lost);
        floor.on_drained(at(start + 100));
    }

    #[test]
    fn what_drains_lose_is_learnt_in_a_few_of_them() {
        let mut floor = LossFloor::default();
        for n in 0..4 {
            lesson(&mut floor, 1000 * n, 30.0);
        }
        assert!((0.09..=0.1).contains(&floor.share()), "{}", floor.share());
        // Of 300 packets 30 are lost by chance, and 60 are not.
        assert!(floor.allowance(300.0) > 30.0 && floor.allowance(300.0) < 60.0);
    }

    #[test]
    fn what_is_lost_outside_of_drains_teaches_nothing() {
        let mut floor = LossFloor::default();
        floor.on_lost(at(1), 1000.0);
        lesson(&mut floor, 10, 0.0);
        floor.on_lost(at(200), 1000.0);
        assert!(floor.share() < 1e-9);
        // What was sent in the drain and is found lost later does.
        floor.on_lost(at(60), 10.0);
        assert!(floor.share() > 0.02);
    }

    #[test]
    fn a_drain_that_found_the_queue_full_teaches_nothing() {
        let mut floor = LossFloor::default();
        floor.on_drain(at(0));
        floor.on_lost(at(50), 100.0);
        floor.on_in_vain();
        assert!(floor.share() < 1e-9);
    }

    #[test]
    fn a_path_that_loses_nearly_everything_is_not_believed() {
        let mut floor = LossFloor::default();
        for n in 0..50 {
            lesson(&mut floor, 1000 * n, 299.0);
        }
        assert!(floor.share() < 1e-9, "something else is broken");
    }
}
