//! Who is bound to whom, and whose turn it is.
//!
//! Turns go round by deficit (Shreedhar and Varghese 1996): each direction that has something waiting may send so many bytes a turn, and
//! keeps what it could not use because the next datagram was larger.

use super::api::{RelayDrops, RelayError, RelayFlow, RelayLimits, RelayStats};
use super::bucket::Bucket;
use super::queue::{Passing, Queue};
use crate::machine::{Ecn, MAX_SEGMENTS, MAX_TRANSMIT_BYTES};
use crate::mrt::api::ConnectionHandle;
use crate::mrt::route::RelayChannel;
use crate::mrt::wire::header::RELY_OVERHEAD;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Flows at once, at most: a relay with twice as many members of the largest room.
const MAX_FLOWS: usize = 1024;

/// Channels that are open at once, at most.
const MAX_OPEN: usize = 4096;

/// Bytes that may wait in all flows together.
const MAX_WAITING: usize = 8 << 20;

/// Bytes of one turn: a batch that is worth a system call.
const QUANTUM: u64 = 12_000;

/// One end of a flow: a connection, and a relay channel on it.
pub(crate) type End = (ConnectionHandle, RelayChannel);

/// What is passed on, and what comes to us through others.
#[derive(Debug)]
pub(crate) struct Relay {
    flows: BTreeMap<RelayFlow, Flow>,
    bound: BTreeMap<End, (RelayFlow, Direction)>,
    open: BTreeSet<End>,
    turns: VecDeque<(RelayFlow, Direction)>,
    all: Bucket,
    waiting: usize,
    /// When the rates let the next leave.
    wake: Option<Instant>,
    next_flow: u64,
    pub(crate) drops: RelayDrops,
}

#[derive(Debug)]
struct Flow {
    ends: [End; 2],
    bucket: Bucket,
    forth: Queue,
    back: Queue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forth,
    Back,
}

impl Flow {
    const fn queue_mut(&mut self, direction: Direction) -> &mut Queue {
        match direction {
            Direction::Forth => &mut self.forth,
            Direction::Back => &mut self.back,
        }
    }

    const fn towards(&self, direction: Direction) -> End {
        let [a, b] = self.ends;
        match direction {
            Direction::Forth => b,
            Direction::Back => a,
        }
    }
}

/// What leaves next: datagrams of one size, all to one end.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) to: End,
    pub(crate) ecn: Ecn,
    pub(crate) datagrams: Vec<Passing>,
    from: (RelayFlow, Direction),
}

impl Relay {
    /// Nothing is bound. `rate`: bytes a second over all flows.
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            flows: BTreeMap::new(),
            bound: BTreeMap::new(),
            open: BTreeSet::new(),
            turns: VecDeque::new(),
            all: Bucket::new(Instant::ZERO, rate),
            waiting: 0,
            wake: None,
            next_flow: 0,
            drops: RelayDrops::default(),
        }
    }

    /// Passes on between these two from here on.
    pub(crate) fn bind(&mut self, a: End, b: End, limits: RelayLimits) -> Result<RelayFlow, RelayError> {
        if a.0 == b.0 {
            return Err(RelayError::SameConnection);
        }
        if [a, b].iter().any(|end| self.bound.contains_key(end) || self.open.contains(end)) {
            return Err(RelayError::InUse);
        }
        if self.flows.len() >= MAX_FLOWS {
            return Err(RelayError::TooMany);
        }
        let name = RelayFlow(self.next_flow);
        self.next_flow += 1;
        self.bound.insert(a, (name, Direction::Forth));
        self.bound.insert(b, (name, Direction::Back));
        // Full, whenever it is asked first.
        let bucket = Bucket::new(Instant::ZERO, limits.rate);
        let (forth, back) = (Queue::new(limits.queue), Queue::new(limits.queue));
        self.flows.insert(name, Flow { ends: [a, b], bucket, forth, back });
        Ok(name)
    }

    /// Passes on no more. What waits is dropped.
    pub(crate) fn unbind(&mut self, name: RelayFlow) {
        let Some(flow) = self.flows.remove(&name) else { return };
        self.waiting = self.waiting.saturating_sub(flow.forth.held()).saturating_sub(flow.back.held());
        for end in flow.ends {
            self.bound.remove(&end);
        }
        self.turns.retain(|(other, _)| *other != name);
    }

    pub(crate) fn stats(&self, name: RelayFlow) -> Option<RelayStats> {
        self.flows.get(&name).map(|flow| RelayStats { forth: flow.forth.count, back: flow.back.count })
    }

    /// Takes in what comes to us on this channel. Opening it again changes nothing.
    pub(crate) fn open(&mut self, end: End) -> Result<(), RelayError> {
        if self.bound.contains_key(&end) {
            return Err(RelayError::InUse);
        }
        if self.open.len() >= MAX_OPEN && !self.open.contains(&end) {
            return Err(RelayError::TooMany);
        }
        self.open.insert(end);
        Ok(())
    }

    pub(crate) fn close(&mut self, end: End) {
        self.open.remove(&end);
    }

    pub(crate) fn is_open(&self, end: End) -> bool {
        self.open.contains(&end)
    }

    pub(crate) fn is_bound(&self, end: End) -> bool {
        self.bound.contains_key(&end)
    }

    /// A connection is over. Says whether anything came to us through it.
    pub(crate) fn forget(&mut self, connection: ConnectionHandle) -> bool {
        let all = (connection, RelayChannel(0))..=(connection, RelayChannel(u32::MAX));
        let flows: Vec<RelayFlow> = self.bound.range(all.clone()).map(|(_, (flow, _))| *flow).collect();
        flows.into_iter().for_each(|flow| self.unbind(flow));
        let open: Vec<End> = self.open.range(all).copied().collect();
        open.iter().for_each(|end| self.close(*end));
        !open.is_empty()
    }

    /// A datagram came on this end. `false`: it is bound to nobody.
    pub(crate) fn pass(&mut self, from: End, ecn: Ecn, bytes: &[u8]) -> bool {
        let Some((name, direction)) = self.bound.get(&from).copied() else { return false };
        let Some(flow) = self.flows.get_mut(&name) else { return false };
        let queue = flow.queue_mut(direction);
        let was_empty = queue.is_empty();
        if let Some(cost) = queue.push(ecn, bytes, MAX_WAITING.saturating_sub(self.waiting)) {
            self.waiting += cost;
            if was_empty {
                self.turns.push_back((name, direction));
            }
        }
        true
    }

    /// What leaves now. Each flow that has to wait for its rate lets the others go first.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Batch> {
        self.wake = None;
        if self.turns.is_empty() {
            return None;
        }
        let all = self.all.available(now);
        // Each once to be given its quantum, and once to use it.
        for _ in 0..self.turns.len().saturating_mul(2) {
            let turn @ (name, direction) = *self.turns.front()?;
            let Some(flow) = self.flows.get_mut(&name) else {
                self.turns.pop_front();
                continue;
            };
            let (to, allowed) = (flow.towards(direction), flow.bucket.available(now));
            let queue = match direction {
                Direction::Forth => &mut flow.forth,
                Direction::Back => &mut flow.back,
            };
            let Some((size, ecn)) = queue.first() else {
                self.turns.pop_front();
                continue;
            };
            if size as u64 > all {
                self.wake = Some(self.all.when(size as u64));
                return None;
            }
            if !core::mem::replace(&mut queue.in_turn, true) {
                queue.deficit = queue.deficit.saturating_add(QUANTUM).min(2 * QUANTUM.max(size as u64));
            }
            let mut left = queue.deficit.min(allowed).min(all);
            let mut datagrams = Vec::new();
            while queue.first() == Some((size, ecn))
                && size as u64 <= left
                && datagrams.len() < MAX_SEGMENTS
                && (datagrams.len() + 1) * (size + RELY_OVERHEAD) <= MAX_TRANSMIT_BYTES
            {
                let Some((passing, cost)) = queue.pop() else { break };
                self.waiting = self.waiting.saturating_sub(cost);
                left -= size as u64;
                datagrams.push(passing);
            }
            let used = (datagrams.len() * size) as u64;
            queue.deficit = queue.deficit.saturating_sub(used);
            let next = queue.first().map(|(size, _)| size as u64);
            if next.is_none() {
                queue.deficit = 0;
            }
            // It is over when it used what it may, or its own rate stops it; not when the rate of all does.
            let slow = next.is_some_and(|next| next > allowed.saturating_sub(used));
            let over = slow || next.is_none_or(|next| next > queue.deficit);
            queue.in_turn = !over;
            flow.bucket.take(used);
            self.all.take(used);
            if let Some(next) = next.filter(|_| slow) {
                let at = flow.bucket.when(next);
                self.wake = Some(self.wake.map_or(at, |earlier| earlier.min(at)));
            }
            if over {
                self.turns.pop_front();
                if next.is_some() {
                    self.turns.push_back(turn);
                }
            }
            if !datagrams.is_empty() {
                self.wake = None;
                return Some(Batch { to, ecn, datagrams, from: turn });
            }
        }
        None
    }

    /// What became of a batch: whether it left.
    pub(crate) fn on_left(&mut self, batch: &Batch, left: bool) {
        let (name, direction) = batch.from;
        let Some(flow) = self.flows.get_mut(&name) else { return };
        let queue = flow.queue_mut(direction);
        for passing in &batch.datagrams {
            match left {
                true => queue.pass_one(passing.bytes.len()),
                false => queue.drop_one(passing.bytes.len()),
            }
        }
    }

    /// When the rates let the next leave.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn end(connection: u64, channel: u32) -> End {
        (ConnectionHandle(connection), RelayChannel(channel))
    }

    fn at(ms: u64) -> Instant {
        Instant::from_start(Duration::from_millis(ms))
    }

    const ALL: u64 = 1_000_000;

    /// Runs for a second, with as much waiting as fits. Returns the bytes that each end got.
    fn second(relay: &mut Relay, sources: &[(End, usize)]) -> BTreeMap<End, usize> {
        let mut got = BTreeMap::new();
        for ms in 0..1000 {
            for (from, size) in sources {
                for _ in 0..20 {
                    relay.pass(*from, Ecn::NotCapable, &vec![1; *size]);
                }
            }
            while let Some(batch) = relay.next(at(ms)) {
                *got.entry(batch.to).or_default() += batch.datagrams.iter().map(|one| one.bytes.len()).sum::<usize>();
                relay.on_left(&batch, true);
            }
            // What still waits, waits for its rate.
            assert_eq!(relay.waiting > 0, relay.poll_timeout().is_some_and(|wake| wake > at(ms)));
        }
        got
    }

    #[test]
    fn two_flows_get_the_same_whatever_the_size_of_their_datagrams_and_no_more_than_all_may() {
        let mut relay = Relay::new(ALL);
        let limits = RelayLimits { rate: 10 * ALL, queue: 100_000 };
        for n in 0..2 {
            relay.bind(end(1, n), end(2, n), limits).unwrap();
        }
        let got = second(&mut relay, &[(end(1, 0), 1400), (end(1, 1), 300)]);
        let [large, small] = [got[&end(2, 0)], got[&end(2, 1)]];
        // The first burst belongs to whose turn it is.
        assert!(large.abs_diff(small) <= large / 10, "{large} and {small}");
        assert!((950_000..=1_080_000).contains(&(large + small)), "{}", large + small);
    }

    #[test]
    fn a_flow_keeps_to_its_own_rate_and_the_others_take_what_it_leaves() {
        let mut relay = Relay::new(ALL);
        let slow = RelayLimits { rate: 100_000, queue: 100_000 };
        let flow = relay.bind(end(1, 0), end(2, 0), slow).unwrap();
        relay.bind(end(1, 1), end(2, 1), RelayLimits { rate: 10 * ALL, ..slow }).unwrap();
        let got = second(&mut relay, &[(end(1, 0), 1000), (end(1, 1), 1000), (end(2, 0), 1000)]);
        let slow = got[&end(2, 0)] + got[&end(1, 0)];
        assert!((90_000..=170_000).contains(&slow), "both directions together, and a burst: {slow}");
        assert!(got[&end(2, 1)] > 800_000, "{got:?}");
        let stats = relay.stats(flow).unwrap();
        assert_eq!((stats.forth.bytes + stats.back.bytes) as usize, slow);
        assert!(stats.forth.dropped_packets > 1000 && stats.back.dropped_packets > 1000);
    }

    #[test]
    fn memory_stays_within_its_bounds() {
        let mut relay = Relay::new(1);
        let limits = RelayLimits { rate: 1, queue: usize::MAX };
        relay.bind(end(1, 0), end(2, 0), limits).unwrap();
        for _ in 0..20_000 {
            relay.pass(end(1, 0), Ecn::NotCapable, &[0; 1400]);
        }
        assert!(relay.waiting <= MAX_WAITING && relay.waiting > MAX_WAITING - 2000, "{}", relay.waiting);
        for n in 1..MAX_FLOWS as u32 {
            relay.bind(end(1, n), end(2, n), limits).unwrap();
        }
        let more = relay.bind(end(3, 0), end(4, 0), limits);
        assert_eq!(more, Err(RelayError::TooMany));
        (0..MAX_OPEN as u32).for_each(|n| relay.open(end(5, n)).unwrap());
        assert_eq!(relay.open(end(6, 0)), Err(RelayError::TooMany));
        assert_eq!(relay.open(end(5, 0)), Ok(()), "it is open already");
    }

    #[test]
    fn a_connection_that_ends_takes_its_flows_with_it_and_what_waits() {
        let mut relay = Relay::new(ALL);
        let flow = relay.bind(end(1, 7), end(2, 7), RelayLimits::default()).unwrap();
        let other = relay.bind(end(1, 8), end(3, 8), RelayLimits::default()).unwrap();
        relay.open(end(2, 9)).unwrap();
        relay.pass(end(1, 7), Ecn::NotCapable, b"one");
        assert!(relay.forget(ConnectionHandle(2)));
        assert_eq!((relay.stats(flow), relay.waiting), (None, 0));
        assert!(relay.stats(other).is_some() && !relay.is_open(end(2, 9)));
        assert!(!relay.pass(end(1, 7), Ecn::NotCapable, b"two") && relay.next(at(1)).is_none());
    }

    #[test]
    fn what_is_in_use_is_not_bound_again_nor_to_itself() {
        let mut relay = Relay::new(ALL);
        relay.open(end(1, 1)).unwrap();
        let bind = |relay: &mut Relay, a, b| relay.bind(a, b, RelayLimits::default());
        assert_eq!(bind(&mut relay, end(1, 1), end(2, 1)), Err(RelayError::InUse));
        assert_eq!(bind(&mut relay, end(1, 2), end(1, 3)), Err(RelayError::SameConnection));
        let flow = bind(&mut relay, end(1, 2), end(2, 2)).unwrap();
        assert_eq!(bind(&mut relay, end(3, 2), end(2, 2)), Err(RelayError::InUse));
        assert_eq!(relay.open(end(2, 2)), Err(RelayError::InUse));
        relay.unbind(flow);
        assert_ne!(bind(&mut relay, end(1, 2), end(2, 2)), Ok(flow), "names are not used twice");
    }

    #[test]
    fn datagrams_leave_in_order_in_batches_of_one_size_and_mark() {
        let mut relay = Relay::new(ALL);
        relay.bind(end(1, 1), end(2, 1), RelayLimits::default()).unwrap();
        for (ecn, size) in [(Ecn::Capable0, 9), (Ecn::Capable0, 9), (Ecn::CongestionExperienced, 9), (Ecn::Capable0, 5)]
        {
            relay.pass(end(1, 1), ecn, &vec![0; size]);
        }
        let mut batches = Vec::new();
        while let Some(batch) = relay.next(at(0)) {
            batches.push((batch.ecn, batch.datagrams.len()));
        }
        assert_eq!(batches, [(Ecn::Capable0, 2), (Ecn::CongestionExperienced, 1), (Ecn::Capable0, 1)]);
    }
}
