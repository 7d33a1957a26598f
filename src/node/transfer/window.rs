//! How many bytes of a file are asked for at once.

use crate::time::{Duration, Instant};

/// What is under way at first, and at least, in bytes: full speed up to 1 Gbit/s at 30 ms.
pub(super) const MIN_WINDOW: u64 = 4 << 20;

/// What is under way at most, over all downloads, in bytes: this side's memory for them.
pub(super) const MAX_WINDOW: u64 = 16 << 20;

/// The rate is measured over spans of this length at least.
const SPAN: Duration = Duration::from_millis(100);

/// Twice what arrives in a round trip, so that the holder always has the next question before it has answered the last.
#[derive(Debug)]
pub(super) struct Window {
    bytes: u64,
    since: Option<Instant>,
    arrived: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { bytes: MIN_WINDOW, since: None, arrived: 0 }
    }
}

impl Window {
    /// Bytes that may be under way.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A slice of `bytes` arrived, over a path with this round-trip time.
    pub(super) fn on_arrived(&mut self, now: Instant, bytes: u64, rtt: Duration) {
        let since = *self.since.get_or_insert(now);
        self.arrived = self.arrived.saturating_add(bytes);
        let span = now.saturating_since(since);
        if span < SPAN.max(rtt) {
            return;
        }
        let in_a_round_trip = u128::from(self.arrived) * rtt.as_nanos() / span.as_nanos().max(1);
        self.bytes = u64::try_from(in_a_round_trip * 2).unwrap_or(MAX_WINDOW).clamp(MIN_WINDOW, MAX_WINDOW);
        (self.since, self.arrived) = (Some(now), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rate_per_ms: u64, rtt: Duration) -> u64 {
        let mut window = Window::default();
        for ms in 0..1000 {
            window.on_arrived(Instant::from_start(Duration::from_millis(ms)), rate_per_ms, rtt);
        }
        window.bytes()
    }

    #[test]
    fn a_long_fat_path_gets_more_and_a_short_one_the_least() {
        assert_eq!(after(1 << 20, Duration::from_micros(100)), MIN_WINDOW, "1 GB/s on loopback needs 200 kB");
        assert_eq!(after(12_500, Duration::from_millis(10)), MIN_WINDOW, "a LAN");
        let far = after(60_000, Duration::from_millis(100));
        assert!((11 << 20..14 << 20).contains(&far), "60 MB/s at 100 ms: twice 6 MB, was {far}");
        assert_eq!(after(1 << 30, Duration::from_millis(500)), MAX_WINDOW);
    }
}
