//! What a controller is doing, and what it has to remember while it does.

use crate::time::{Duration, Instant};

/// The phases. A state holds what exists in it only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// More in every round trip, until the path shows that it is full.
    Startup(Startup),
    /// For a round trip nothing changes, to measure how fast a full path delivers.
    Settle(Settle),
    /// Less than the path takes, until the queue is empty or shows that it is not ours.
    Drain(Drain),
    /// At the path's rate, for so many more round trips.
    Cruise {
        /// Round trips to go.
        left: u32,
    },
    /// More for a round trip, to see whether more comes back.
    Up {
        /// A little more, or, if that came back, a lot.
        boldly: bool,
    },
    /// CUBIC's window.
    Compete,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Startup {
    /// By how many bytes the window grows for each that arrives.
    pub(super) growth: u64,
    /// The most that a round trip brought, in bytes a second, and round trips since that brought hardly more.
    pub(super) best: f64,
    pub(super) flat: u32,
    /// Samples in a row that took too long.
    pub(super) late: u32,
}

impl Startup {
    pub(super) const fn growing_by(growth: u64) -> Self {
        Self { growth, best: 0.0, flat: 0, late: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settle {
    pub(super) since: Instant,
    /// Bytes since then.
    pub(super) acked: u64,
    pub(super) lost: u64,
    /// Startup ended because packets took longer, not because no more came back.
    pub(super) by_delay: bool,
    /// There was not always something to send.
    pub(super) starved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drain {
    pub(super) since: Instant,
    /// What is sent and what is in flight, of what the path takes.
    pub(super) gain: f64,
    /// What is sent in it shows how much is lost at any rate.
    pub(super) teaches: bool,
    /// The round trip in which what is in flight came down to the target.
    pub(super) reached: Option<u64>,
    /// It is the second in a row.
    pub(super) again: bool,
    /// Bytes a second that we had before.
    pub(super) before: f64,
    /// We competed before: the round-trip time then, and what was in flight.
    pub(super) tries: Option<(Duration, u64)>,
}

/// More was sent for a round trip: what came back?
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) boldly: bool,
    /// When what belongs to it was sent.
    pub(super) from: Instant,
    pub(super) to: Option<Instant>,
    /// Bytes a second, by the newest packets of it that arrived.
    pub(super) rate: Option<f64>,
    /// The smallest round-trip time of its second half.
    pub(super) rtt: Option<Duration>,
}
