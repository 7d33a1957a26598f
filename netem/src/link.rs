//! What one direction of a path does to packets: a list of numbers, each an impairment of its own.

use core::ops::Range;
use core::time::Duration;

/// One direction between two addresses. [`Link::default`] is perfect: no delay, no limit, no loss.
///
/// A packet meets the parts in the order of the fields: it is too large, or waits in the queue while those before it are sent at
/// `rate`, is lost or not, is damaged or not, travels for `delay` and some of `jitter`, is perhaps held back, perhaps doubled.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Link {
    /// The largest IP packet that passes, in bytes: the UDP payload and [`headers`](crate::Packet::headers). Larger ones
    /// vanish, and nobody is told. `None`: any.
    pub mtu: Option<usize>,
    /// Bits per second of whole IP packets. `None`: sending takes no time.
    pub rate: Option<u64>,
    /// What may wait to be sent, besides the packet that is being sent. Means nothing without a `rate`.
    pub queue: Queue,
    /// When nothing passes: packets whose turn to be sent comes in one of these are lost.
    pub blackouts: Vec<Range<Duration>>,
    /// Which packets are lost on the way, after they took their time to be sent.
    pub loss: Loss,
    /// Probability that a packet is damaged: up to eight bits flip, or its end is cut off, or bytes are appended. It is delivered
    /// like that: the damage is of the kind that a 16-bit checksum does not notice.
    pub corruption: f64,
    /// The time from the last bit sent to the last bit received.
    pub delay: Duration,
    /// Up to this much more, evenly distributed, a new draw for each packet. Does not change the order: a packet that would
    /// arrive before its predecessor arrives right after it, as behind a router that was busy.
    pub jitter: Duration,
    /// Which packets are overtaken by those behind them.
    pub reordering: Reordering,
    /// Probability that a packet arrives twice, the second time after another draw of `jitter`.
    pub duplication: f64,
}

impl Link {
    /// A perfect link but for its delay.
    pub fn with_delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// The same link with this probability of losing a packet, each for itself.
    #[must_use]
    pub fn losing(self, probability: f64) -> Self {
        Self { loss: Loss::Independent(probability), ..self }
    }
}

/// Room for packets that wait to be sent. What does not fit is dropped (tail drop).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Queue {
    /// As much as comes.
    #[default]
    Unlimited,
    /// So many packets, of whatever size.
    Packets(usize),
    /// So many bytes of IP packets.
    Bytes(usize),
}

/// How a link chooses what it loses.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Loss {
    /// Nothing.
    #[default]
    Never,
    /// Each packet with this probability.
    Independent(f64),
}

/// Some packets are held back while others pass them.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Reordering {
    /// Probability that a packet is held back.
    pub probability: f64,
    /// For how long. Only packets that come within this time overtake it.
    pub hold: Duration,
}
