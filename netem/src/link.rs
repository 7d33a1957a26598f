//! What one direction of a path does to packets: a list of numbers, each an impairment of its own.

use core::ops::Range;
use core::time::Duration;
use std::collections::BTreeSet;

/// One direction between two addresses. [`Link::default`] is perfect: no delay, no limit, no loss.
///
/// A packet meets the parts in the order of the fields: it is too large, or waits in the queue while those before it are sent at
/// `rate`, is lost or not, is damaged or not, travels for `delay` and some of `jitter`, is perhaps held back, perhaps doubled.
///
/// The other direction is a link of its own: whatever is wanted both ways is set twice.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Link {
    /// The largest IP packet that passes, in bytes: the UDP payload and [`headers`](crate::Packet::headers). Larger ones
    /// vanish, and nobody is told. `None`: any.
    pub mtu: Option<usize>,
    /// What `mtu` becomes, and when, the earliest first: a packet is measured by the last change that was before it was sent.
    pub mtu_changes: Vec<(Duration, Option<usize>)>,
    /// Bits per second of whole IP packets. `None`: sending takes no time.
    pub rate: Option<u64>,
    /// What may wait to be sent, besides the packet that is being sent. Means nothing without a `rate`.
    pub queue: Queue,
    /// A packet that has to wait longer than this is [marked](crate::Ecn::Ce) if its sender takes part in ECN, and the queue drops as it
    /// would without (the shallow, immediate step of RFC 8257 §3.1). `None`: nothing is marked.
    pub mark_after: Option<Duration>,
    /// When nothing passes: packets whose turn to be sent comes in one of these are lost.
    pub blackouts: Vec<Range<Duration>>,
    /// Which packets are lost, by number.
    pub mask: Mask,
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

    /// The same link without these packets.
    #[must_use]
    pub fn masking(self, mask: Mask) -> Self {
        Self { mask, ..self }
    }

    /// The largest IP packet that passes at a time.
    pub fn mtu_at(&self, now: Duration) -> Option<usize> {
        let change = self.mtu_changes.iter().take_while(|(from, _)| *from <= now).last();
        change.map_or(self.mtu, |(_, mtu)| *mtu)
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
    /// As much as is sent within this time: a packet that would have to wait longer is dropped.
    Time(Duration),
}

/// How a link chooses what it loses.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Loss {
    /// Nothing.
    #[default]
    Never,
    /// Each packet with this probability.
    Independent(f64),
    /// In bursts.
    Bursts(GilbertElliott),
}

impl Loss {
    /// Bursts in which everything is lost, between which nothing is: Gilbert's model. `loss`: the share that is lost in the long run,
    /// below 1. `burst`: how many packets in a row on average, 1 at least.
    ///
    /// Its probabilities: from bad to good 1 / `burst`, and from good to bad what balances it, `loss` / (1 − `loss`) / `burst`. When
    /// `loss` is too much for such short bursts (above `burst` / (`burst` + 1)), one packet passes between two of them, and less is lost.
    pub fn bursts(loss: f64, burst: f64) -> Self {
        let to_good = 1.0 / burst.max(1.0);
        let to_bad = (to_good * loss / (1.0 - loss)).clamp(0.0, 1.0);
        Self::Bursts(GilbertElliott { to_bad, to_good, loss_in_good: 0.0, loss_in_bad: 1.0 })
    }
}

/// Loss that comes in bursts: a link is in a good or in a bad state, and changes between them from packet to packet (Gilbert 1960,
/// Elliott 1963). It begins in the good one.
///
/// In the long run it is in the bad one for `to_bad / (to_bad + to_good)` of the packets, for `1 / to_good` packets in a row on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GilbertElliott {
    /// The probability that the good state ends with a packet (often called p).
    pub to_bad: f64,
    /// The probability that the bad state ends with a packet (r).
    pub to_good: f64,
    /// The probability that a packet is lost in the good state (1 − k).
    pub loss_in_good: f64,
    /// The probability that a packet is lost in the bad state (1 − h).
    pub loss_in_bad: f64,
}

/// Chosen packets of a link, each lost once: they are counted from 0, from when the link was set, and only those that met no
/// other fate before (size, queue, blackout).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mask(BTreeSet<u64>);

impl Mask {
    /// Packets of these numbers.
    pub fn packets(numbers: impl IntoIterator<Item = u64>) -> Self {
        Self(numbers.into_iter().collect())
    }

    /// Packet n is lost if bit n is set.
    pub fn bits(bits: u64) -> Self {
        Self::packets((0..64).filter(|bit| bits >> bit & 1 == 1))
    }

    /// Whether the packet of this number is lost.
    pub fn contains(&self, number: u64) -> bool {
        self.0.contains(&number)
    }
}

/// Some packets are held back while others pass them.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Reordering {
    /// Probability that a packet is held back.
    pub probability: f64,
    /// For how long. Only packets that come within this time overtake it.
    pub hold: Duration,
}
