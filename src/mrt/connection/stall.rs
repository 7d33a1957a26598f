//! A stream that stops in the middle: whoever receives it asks.
//!
//! A NAT that forgets a mapping cuts the receiver off without a sign: the sender goes on sending, and then probing, to an address where
//! nobody is any more, and the receiver, who alone can show its new one, has nothing to say before the next keepalive. One ping is
//! enough: it is repeated until it is answered, as everything is that asks for an answer.

use crate::time::{Duration, Instant};

/// Packets that follow each other without a pause before they count as a stream. More than a line of chat, a heartbeat or a setup
/// brings, so that a quiet room stays quiet.
const STREAM: u32 = 16;

/// Whether packets were streaming in, and when their silence becomes strange.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stall {
    last: Option<Instant>,
    run: u32,
    due: Option<Instant>,
}

impl Stall {
    /// A packet came that asks for an acknowledgement. `patience`: the longest pause within a stream.
    pub(super) fn on_received(&mut self, now: Instant, patience: Duration) {
        let follows = self.last.is_some_and(|last| now.saturating_since(last) <= patience);
        self.run = if follows { self.run.saturating_add(1) } else { 1 };
        self.last = Some(now);
        self.due = (self.run >= STREAM).then(|| now + patience);
    }

    /// When to ask, if nothing comes.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// It was asked: once is enough, until a stream comes again.
    pub(super) const fn on_asked(&mut self) {
        self.due = None;
        self.run = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn at(ms: u64) -> Instant {
        Instant::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn a_stream_that_stops_is_asked_after_once() {
        let mut stall = Stall::default();
        for number in 0..100 {
            stall.on_received(at(number), PATIENCE);
        }
        assert_eq!(stall.due(), Some(at(299)));
        stall.on_asked();
        assert_eq!(stall.due(), None);
        // The answer is no stream.
        stall.on_received(at(340), PATIENCE);
        assert_eq!(stall.due(), None);
    }

    #[test]
    fn heartbeats_and_lines_are_no_stream() {
        let mut stall = Stall::default();
        for number in 0..1000 {
            stall.on_received(at(number * 201), PATIENCE);
        }
        for number in 0..u64::from(STREAM) - 1 {
            stall.on_received(at(1_000_000 + number), PATIENCE);
        }
        assert_eq!(stall.due(), None);
    }
}
