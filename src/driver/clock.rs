//! The clock: the one place where time is read.

use crate::time::{Duration, Instant};

/// Counts from its own start, on the system's monotonic clock. Copies count from the same start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    /// Time since 1970-01-01 UTC at `start`.
    unix_at_start: Duration,
}

impl Clock {
    /// A clock that begins to count.
    #[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
    pub fn start() -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self { start: std::time::Instant::now(), unix_at_start: unix.unwrap_or_default() }
    }

    /// The time since the start.
    pub fn now(&self) -> Instant {
        Instant::from_start(self.start.elapsed())
    }

    /// What the calendar said when this clock started. The calendar of a later instant is this plus the time since the start:
    /// close enough for a line of chat, and it cannot jump.
    pub const fn unix_at_start(&self) -> Duration {
        self.unix_at_start
    }

    /// The time since 1970-01-01 UTC at an instant of this clock.
    pub fn unix_at(&self, instant: Instant) -> Duration {
        self.unix_at_start.saturating_add(instant.since_start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_count_from_the_same_start() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now();
        assert!(copy.now() >= first);
        assert!(clock.unix_at(first) >= clock.unix_at_start());
    }
}
