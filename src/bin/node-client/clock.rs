//! Milliseconds since the program started.

use std::time::Instant;

/// Counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts to count.
    #[expect(
        clippy::disallowed_methods,
        reason = "the program stamps what it prints; nothing in the core sees this clock"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long that is ago.
    pub(crate) fn milliseconds(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
