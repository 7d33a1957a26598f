//! What arrived, and when the other side is told.

use crate::machine::Ecn;
use crate::mrt::ranges::RangeSet;
use crate::mrt::recovery::rtt::MAX_ACK_DELAY;
use crate::mrt::wire::put_ack;
use crate::time::{Duration, Instant};

/// Ranges that are remembered; older ones were acknowledged often enough. Four times what a lossy link needs at once.
const MAX_RANGES: usize = 64;

/// Ack-eliciting packets after which an acknowledgement does not wait (RFC 9000 §13.2.2). The driver hands over whole batches, so
/// that on fast links one acknowledgement stands for many more.
const EVERY: u32 = 2;

/// Packet numbers that arrived.
#[derive(Debug, Default)]
pub(super) struct Acks {
    received: RangeSet,
    largest: Option<(u64, Instant)>,
    /// Ack-eliciting packets that arrived since the last acknowledgement was sent.
    waiting: u32,
    /// When the oldest of them has waited long enough.
    due: Option<Instant>,
    ecn: [u64; 3],
}

impl Acks {
    /// The largest number that arrived.
    pub(super) fn largest(&self) -> Option<u64> {
        self.largest.map(|(number, _)| number)
    }

    /// An authentic packet was taken.
    pub(super) fn on_received(&mut self, now: Instant, number: u64, ack_eliciting: bool, ecn: Ecn) {
        let expected = self.largest().map_or(0, |largest| largest.saturating_add(1));
        self.received.insert(number..number.saturating_add(1));
        self.received.retain_newest(MAX_RANGES);
        if number >= expected {
            self.largest = Some((number, now));
        }
        let [ect0, ect1, ce] = &mut self.ecn;
        match ecn {
            Ecn::NotCapable => {}
            Ecn::Capable0 => *ect0 += 1,
            Ecn::Capable1 => *ect1 += 1,
            Ecn::CongestionExperienced => *ce += 1,
        }
        if ack_eliciting {
            self.waiting = self.waiting.saturating_add(1);
            // RFC 9000 §13.2.1: out of order, or marked by a router: tell at once.
            let at_once = number != expected || ecn == Ecn::CongestionExperienced || self.waiting >= EVERY;
            let due = if at_once { now } else { now + MAX_ACK_DELAY };
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// Whether there is anything the other side waits for.
    pub(super) const fn has_news(&self) -> bool {
        self.waiting > 0
    }

    /// When an acknowledgement must leave, even alone.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes an acknowledgement of at most `room` bytes. Returns the largest number it tells.
    pub(super) fn emit(&self, now: Instant, buffer: &mut Vec<u8>, room: usize) -> Option<u64> {
        let (largest, arrived) = self.largest?;
        let delay = u64::try_from(now.saturating_since(arrived).as_micros()).unwrap_or(u64::MAX);
        let ecn = (self.ecn != [0; 3]).then_some(self.ecn);
        // RFC 9000 §19.3: the delay is of the largest; ours is always in the newest range.
        let written = put_ack(buffer, self.received.iter().rev(), delay.min(MAX_DELAY_US), ecn, room);
        (written > 0).then_some(largest)
    }

    /// The acknowledgement left.
    pub(super) const fn on_emitted(&mut self) {
        self.waiting = 0;
        self.due = None;
    }

    /// What was told last may have gone to where nobody is any more: it is told again.
    pub(super) fn repeat(&mut self, now: Instant) {
        if self.largest.is_some() {
            self.waiting = self.waiting.max(1);
            self.due = Some(now);
        }
    }

    /// The other side knows that we got everything up to `largest`.
    pub(super) fn on_ack_acked(&mut self, largest: u64) {
        self.received.remove(0..largest);
    }
}

/// The longest delay worth telling, in microseconds: later it says nothing about the path.
const MAX_DELAY_US: u64 = Duration::from_secs(10).as_micros() as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn the_first_of_two_waits_and_the_second_does_not() {
        let mut acks = Acks::default();
        acks.on_received(at(0), 0, true, Ecn::NotCapable);
        assert_eq!(acks.due(), Some(at(25)));
        acks.on_received(at(1), 1, true, Ecn::NotCapable);
        assert_eq!(acks.due(), Some(at(1)));
        acks.on_emitted();
        assert_eq!((acks.due(), acks.has_news()), (None, false));
    }

    #[test]
    fn a_gap_is_told_at_once_and_packets_that_ask_for_nothing_wait_for_ever() {
        let mut acks = Acks::default();
        acks.on_received(at(0), 0, false, Ecn::NotCapable);
        assert_eq!(acks.due(), None);
        acks.on_received(at(1), 2, true, Ecn::NotCapable);
        assert_eq!(acks.due(), Some(at(1)), "1 is missing");
    }

    #[test]
    fn what_was_told_to_nobody_is_told_again() {
        let mut acks = Acks::default();
        acks.repeat(at(0));
        assert_eq!((acks.due(), acks.has_news()), (None, false), "there is nothing to tell");
        acks.on_received(at(1), 0, true, Ecn::NotCapable);
        acks.on_emitted();
        acks.repeat(at(2));
        assert_eq!((acks.due(), acks.has_news()), (Some(at(2)), true));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut acks = Acks::default();
        for number in 0..10_000 {
            acks.on_received(at(0), number * 2, true, Ecn::NotCapable);
        }
        assert_eq!(acks.received.len(), MAX_RANGES);
    }
}
