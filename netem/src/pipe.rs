//! One link at work: what it decides for each packet, and what it counts.

use crate::link::{Link, Loss, Queue};
use crate::packet::{Ecn, Packet};
use core::time::Duration;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;

/// What happened on a link (or on all of them), counted in datagrams since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Handed to the link.
    pub sent: u64,
    /// Their UDP payload, in bytes.
    pub sent_bytes: u64,
    /// Handed to a host, copies too.
    pub delivered: u64,
    /// Their UDP payload, in bytes.
    pub delivered_bytes: u64,
    /// Put on the way a second time.
    pub duplicated: u64,
    /// Damaged.
    pub corrupted: u64,
    /// Held back.
    pub held_back: u64,
    /// Marked: congestion experienced.
    pub marked: u64,
    /// Not delivered, and why.
    pub dropped: Drops,
}

/// Why datagrams were not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Drops {
    /// Larger than the MTU.
    pub too_large: u64,
    /// The queue was full.
    pub queue: u64,
    /// Their turn came in a blackout.
    pub blackout: u64,
    /// Lost by the mask.
    pub mask: u64,
    /// Lost by chance.
    pub loss: u64,
    /// The two addresses are cut off from each other.
    pub cut: u64,
    /// The host is paused and its socket buffer is full.
    pub socket_buffer: u64,
    /// No host has this address.
    pub nobody: u64,
    /// The tap said so.
    pub tap: u64,
}

impl Drops {
    /// All together.
    pub const fn total(&self) -> u64 {
        let Self { too_large, queue, blackout, mask, loss, cut, socket_buffer, nobody, tap } = *self;
        too_large + queue + blackout + mask + loss + cut + socket_buffer + nobody + tap
    }
}

impl Counters {
    /// Adds another link's numbers.
    pub const fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
        self.held_back += other.held_back;
        self.marked += other.marked;
        self.dropped.too_large += other.dropped.too_large;
        self.dropped.queue += other.dropped.queue;
        self.dropped.blackout += other.dropped.blackout;
        self.dropped.mask += other.dropped.mask;
        self.dropped.loss += other.dropped.loss;
        self.dropped.cut += other.dropped.cut;
        self.dropped.socket_buffer += other.dropped.socket_buffer;
        self.dropped.nobody += other.dropped.nobody;
        self.dropped.tap += other.dropped.tap;
    }
}

/// When a packet that was accepted arrives, and its copy, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// When it arrives.
    pub first: Duration,
    /// When it arrives again.
    pub copy: Option<Duration>,
    /// Whether it waited so long that it is to be marked, if its sender takes part in ECN.
    pub is_late: bool,
}

/// A [`Link`] with its queue, its dice and its counters: a value that is asked what happens to each packet. It counts what it decides;
/// `counters.delivered` and what happens after the arrival are left to whoever hands packets over.
///
/// ```
/// use core::time::Duration;
/// use netem::{Link, Packet, Pipe};
///
/// let delay = Duration::from_millis(20);
/// let mut pipe = Pipe::new(Link::with_delay(delay), 7);
/// let mut packet = Packet::new("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap(), b"hello".to_vec());
/// let arrivals = pipe.carry(Duration::ZERO, &mut packet).unwrap();
/// assert_eq!((arrivals.first, arrivals.copy), (delay, None));
/// ```
#[derive(Debug)]
pub struct Pipe {
    pub(crate) link: Link,
    /// What happened so far.
    pub counters: Counters,
    /// The packets that the mask has counted.
    masked: u64,
    /// Whether bursty loss is in its bad state.
    is_bad: bool,
    dice: SmallRng,
    /// When the last packet that was accepted will have been sent.
    free_at: Duration,
    /// Packets that wait: when the sending of each begins, and its size.
    waiting: VecDeque<(Duration, usize)>,
    waiting_bytes: usize,
    /// When the last packet that was not held back arrives.
    last_arrival: Duration,
}

impl Pipe {
    /// A link that draws from its own dice, so that traffic elsewhere changes nothing here.
    pub fn new(link: Link, seed: u64) -> Self {
        Self {
            link,
            counters: Counters::default(),
            masked: 0,
            is_bad: false,
            dice: SmallRng::seed_from_u64(seed),
            free_at: Duration::ZERO,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            last_arrival: Duration::ZERO,
        }
    }

    /// Becomes another link: its queue is empty, its dice roll on, its counters go on.
    pub fn relink(&mut self, link: Link) {
        self.link = link;
        self.masked = 0;
        self.is_bad = false;
        self.free_at = Duration::ZERO;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.last_arrival = Duration::ZERO;
    }

    /// What it is.
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Takes a packet. `None`: it is gone, and counted. May damage its payload, and mark it.
    pub fn carry(&mut self, now: Duration, packet: &mut Packet) -> Option<Arrivals> {
        let arrivals = self.accept(now, packet.wire_size(), &mut packet.bytes)?;
        if arrivals.is_late && packet.ecn.is_capable() {
            packet.ecn = Ecn::Ce;
            self.counters.marked += 1;
        }
        Some(arrivals)
    }

    /// As [`carry`](Self::carry), for any packet of this size (all headers included) with this payload; marking it is left to the caller.
    pub fn accept(&mut self, now: Duration, wire_size: usize, payload: &mut Vec<u8>) -> Option<Arrivals> {
        self.counters.sent += 1;
        self.counters.sent_bytes += payload.len() as u64;
        if self.link.mtu_at(now).is_some_and(|mtu| wire_size > mtu) {
            self.counters.dropped.too_large += 1;
            return None;
        }
        let Some((begins, sent)) = self.serialise(now, wire_size) else {
            self.counters.dropped.queue += 1;
            return None;
        };
        if self.link.blackouts.iter().any(|blackout| blackout.contains(&begins)) {
            self.counters.dropped.blackout += 1;
            return None;
        }
        let number = self.masked;
        self.masked += 1;
        if self.link.mask.contains(number) {
            self.counters.dropped.mask += 1;
            return None;
        }
        if self.is_lost() {
            self.counters.dropped.loss += 1;
            return None;
        }
        if self.happens(self.link.corruption) {
            self.counters.corrupted += 1;
            damage(&mut self.dice, payload);
        }
        let waited = begins.saturating_sub(now);
        let is_late = self.link.mark_after.is_some_and(|limit| waited > limit);
        let (first, copy) = self.travel(sent);
        Some(Arrivals { first, copy, is_late })
    }

    /// When the sending of a packet that comes now begins and ends. `None`: there is no room for it.
    fn serialise(&mut self, now: Duration, wire_size: usize) -> Option<(Duration, Duration)> {
        let Some(rate) = self.link.rate else { return Some((now, now)) };
        while let Some(&(begins, size)) = self.waiting.front()
            && begins <= now
        {
            self.waiting.pop_front();
            self.waiting_bytes -= size;
        }
        let begins = self.free_at.max(now);
        if begins > now {
            let has_room = match self.link.queue {
                Queue::Unlimited => true,
                Queue::Packets(limit) => self.waiting.len() < limit,
                Queue::Bytes(limit) => self.waiting_bytes + wire_size <= limit,
                Queue::Time(limit) => begins - now <= limit,
            };
            if !has_room {
                return None;
            }
            self.waiting.push_back((begins, wire_size));
            self.waiting_bytes += wire_size;
        }
        self.free_at = begins + transmission_time(wire_size, rate);
        Some((begins, self.free_at))
    }

    fn is_lost(&mut self) -> bool {
        match self.link.loss {
            Loss::Never => false,
            Loss::Independent(probability) => self.happens(probability),
            Loss::Bursts(model) => {
                let change = if self.is_bad { model.to_good } else { model.to_bad };
                self.is_bad ^= self.happens(change);
                self.happens(if self.is_bad { model.loss_in_bad } else { model.loss_in_good })
            }
        }
    }

    fn travel(&mut self, sent: Duration) -> (Duration, Option<Duration>) {
        let arrival = sent + self.flight_time();
        let first = if self.happens(self.link.reordering.probability) {
            self.counters.held_back += 1;
            arrival + self.link.reordering.hold
        } else {
            self.last_arrival = self.last_arrival.max(arrival);
            self.last_arrival
        };
        let copy = self.happens(self.link.duplication).then(|| {
            self.counters.duplicated += 1;
            sent + self.flight_time()
        });
        (first, copy)
    }

    fn flight_time(&mut self) -> Duration {
        let jitter = u64::try_from(self.link.jitter.as_nanos()).unwrap_or(u64::MAX);
        if jitter == 0 {
            return self.link.delay;
        }
        self.link.delay + Duration::from_nanos(self.dice.random_range(0..=jitter))
    }

    /// Whether something of this probability happens. Impossible things draw nothing, so that switching one impairment on leaves
    /// the draws of the others in their order.
    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.dice.random_bool(probability.min(1.0))
    }
}

/// How long a packet of so many bytes takes at so many bits per second. A rate of 0 sends nothing within a human life.
fn transmission_time(bytes: usize, rate: u64) -> Duration {
    const NEVER: u64 = 1 << 62;
    let nanos = (bytes as u128 * 8 * 1_000_000_000).checked_div(u128::from(rate));
    Duration::from_nanos(nanos.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(NEVER).min(NEVER))
}

/// Bytes that damage appends, at most.
const MAX_EXTENSION: usize = 64;

/// Flips one to eight bits, or cuts the end off, or appends some bytes. An empty payload can only grow.
fn damage(dice: &mut SmallRng, payload: &mut Vec<u8>) {
    let length = payload.len();
    let kind = if length == 0 { 4 } else { dice.random_range(0..5) };
    match kind {
        0..=2 => {
            let first = dice.random_range(0..length);
            flip(payload, first, dice.random_range(0..8));
            // The others hit other bytes, so that they cannot undo the first.
            for _ in 0..dice.random_range(0..8) {
                if length > 1 {
                    flip(payload, (first + dice.random_range(1..length)) % length, dice.random_range(0..8));
                }
            }
        }
        3 => payload.truncate(dice.random_range(0..length)),
        _ => payload.extend((0..dice.random_range(1..=MAX_EXTENSION)).map(|_| dice.random::<u8>())),
    }
}

fn flip(payload: &mut [u8], at: usize, bit: u8) {
    if let Some(byte) = payload.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_packet_takes_twelve_milliseconds_at_a_megabit() {
        assert_eq!(transmission_time(1500, 1_000_000), Duration::from_millis(12));
    }

    #[test]
    fn a_rate_of_zero_is_no_division_by_zero() {
        assert!(transmission_time(1, 0) > Duration::from_secs(3600 * 24 * 365 * 100));
    }

    #[test]
    fn damage_always_changes_something_and_takes_all_three_forms() {
        let mut dice = SmallRng::seed_from_u64(1);
        let (mut same_length, mut shorter, mut longer) = (0, 0, 0);
        let before = [0xa5; 100];
        for _ in 0..1000 {
            let mut after = before.to_vec();
            damage(&mut dice, &mut after);
            match after.len().cmp(&before.len()) {
                core::cmp::Ordering::Less => shorter += 1,
                core::cmp::Ordering::Equal => same_length += usize::from(after != before),
                core::cmp::Ordering::Greater => longer += 1,
            }
        }
        assert!(shorter > 100 && longer > 100 && same_length > 500);
        assert_eq!(shorter + longer + same_length, 1000);
    }

    #[test]
    fn the_queue_counts_what_waits_and_not_what_is_being_sent() {
        let link = Link { rate: Some(8_000), queue: Queue::Packets(2), ..Link::default() };
        let mut pipe = Pipe::new(link, 0);
        let mut accepted_at = |now: u64| pipe.accept(Duration::from_secs(now), 1000, &mut vec![0; 972]).is_some();
        // A second for each: one is being sent, two wait, the fourth finds no room; after a second there is room for one again.
        assert_eq!([0, 0, 0, 0, 1, 1].map(&mut accepted_at), [true, true, true, false, true, false]);
    }
}
