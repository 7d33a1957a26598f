//! The last words of a connection (RFC 9000 §10.2).

use crate::time::{Duration, Instant};

/// The code of a close for a broken protocol; applications use smaller ones.
pub(crate) const VIOLATION: u32 = 0xFFFF_FF01;

/// Times that the close is said again when the other side goes on, at most.
const MAX_REPEATS: u32 = 8;

/// How long the close stands at most: a peer that answers late on purpose makes round trips look like hours.
const MAX_STANDING: Duration = Duration::from_secs(10);

/// A connection that this side closed: it answers with its close for a while, then is forgotten.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) code: u32,
    pub(super) reason: String,
    /// When it is forgotten.
    pub(super) until: Instant,
    /// Whether the close is to be said (again).
    pub(super) due: bool,
    repeats: u32,
    heard: u32,
}

impl Closing {
    /// `probe_timeout`: the path's; the close stands for three of them (RFC 9000 §10.2).
    pub(super) fn new(now: Instant, probe_timeout: Duration, code: u32, reason: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            until: now + probe_timeout.saturating_mul(3).min(MAX_STANDING),
            due: true,
            repeats: 0,
            heard: 0,
        }
    }

    /// The other side has not heard it: say it again after 1, 2, 4, … packets.
    pub(super) const fn on_packet(&mut self) {
        self.heard = self.heard.saturating_add(1);
        if self.heard.is_power_of_two() && self.repeats < MAX_REPEATS {
            self.repeats += 1;
            self.due = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_after_the_close_gets_few_answers() {
        let mut closing = Closing::new(Instant::ZERO, Duration::from_secs(1), 0, "");
        let mut said = 0;
        for _ in 0..100_000 {
            closing.on_packet();
            said += u32::from(core::mem::take(&mut closing.due));
        }
        assert!(said <= MAX_REPEATS + 1);
    }
}
