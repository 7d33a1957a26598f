//! The ledger: every packet that was sent on a path and is not settled yet.
//!
//! ```text
//!   on_sent ──► outstanding ──on_ack──► acknowledged
//!                    │                       ▲
//!               detect_lost                  │ on_ack, late ("spurious")
//!                    └──────► lost ──────────┘
//!                               └──one probe timeout later──► forgotten
//! ```
//!
//! Packets lie in a ring in the order of their numbers (numbers may be skipped), and leave it at the front once settled. A run
//! of settled packets behind one that is not is stepped over in one go, so that an ACK costs what it newly acknowledges, however
//! often its ranges repeat and however wide they are.
//!
//! Here is what is sent and acknowledged; `search` finds what is lost.

use super::loss::Patience;
use super::rate::{Delivery, Snapshot};
use super::report::AckReport;
use super::rtt::Rtt;
use crate::time::{Duration, Instant};
use core::ops::RangeInclusive;
use std::collections::VecDeque;

mod search;

use search::Episode;

/// Packets that ask for no ACK and are kept. A peer that sends without ever acknowledging would otherwise make us remember every
/// ACK that we sent it; those beyond are not recorded.
pub const MAX_ACK_ONLY: usize = 256;

/// Lost packets that are kept to recognise them if they arrive after all; the oldest go first.
pub const MAX_LOST: usize = 4096;

/// A packet as it left. `C` is what it contained: whatever is needed to send it again.
#[derive(Clone, Debug)]
pub struct SentPacket<C> {
    /// When it left. Never before the previous packet.
    pub sent_at: Instant,
    /// Its size, as UDP payload.
    pub bytes: u16,
    /// The peer will acknowledge it soon.
    pub ack_eliciting: bool,
    /// It counts towards the congestion window (all but packets with nothing but ACKs).
    pub in_flight: bool,
    /// It was padded to find out whether this size gets through; its loss means nothing else.
    pub mtu_probe: bool,
    /// What it contained.
    pub content: C,
}

/// What was sent on a path and is not settled.
#[derive(Clone, Debug)]
pub struct Ledger<C> {
    entries: VecDeque<Entry<C>>,
    /// Everything below this place is lost or settled, everything outstanding is at or above it.
    first_outstanding: usize,
    /// Numbers from here on were never sent here.
    next_number: u64,
    largest_acked: Option<u64>,
    bytes_in_flight: u64,
    ack_eliciting_in_flight: usize,
    last_ack_eliciting_sent_at: Option<Instant>,
    ack_only: usize,
    lost: usize,
    loss_deadline: Option<Instant>,
    patience: Patience,
    delivery: Delivery,
    episode: Episode,
}

#[derive(Clone, Debug)]
struct Entry<C> {
    number: u64,
    sent_at: Instant,
    bytes: u16,
    ack_eliciting: bool,
    in_flight: bool,
    mtu_probe: bool,
    snapshot: Snapshot,
    state: State<C>,
}

#[derive(Clone, Debug)]
enum State<C> {
    /// Neither acknowledged nor lost.
    Outstanding(C),
    /// Declared lost in that episode (0: no matter of congestion), remembered until that time.
    Lost { content: C, until: Instant, episode: u64 },
    /// Acknowledged or forgotten; this one and the `run - 1` before it are all settled.
    Settled { acked: bool, run: usize },
}

impl<C> Ledger<C> {
    /// An empty one; the first packet number may be any.
    pub fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            first_outstanding: 0,
            next_number: 0,
            largest_acked: None,
            bytes_in_flight: 0,
            ack_eliciting_in_flight: 0,
            last_ack_eliciting_sent_at: None,
            ack_only: 0,
            lost: 0,
            loss_deadline: None,
            patience: Patience::new(),
            delivery: Delivery::default(),
            episode: Episode::default(),
        }
    }

    /// A packet left. Its number is higher than that of any before; numbers between were not sent here.
    pub fn on_sent(&mut self, number: u64, packet: SentPacket<C>) {
        debug_assert!(number >= self.next_number, "packet numbers rise");
        if number < self.next_number {
            return;
        }
        self.next_number = number.saturating_add(1);
        let SentPacket { sent_at, bytes, ack_eliciting, in_flight, mtu_probe, content } = packet;
        if !ack_eliciting && !in_flight {
            if self.ack_only >= MAX_ACK_ONLY {
                return;
            }
            self.ack_only += 1;
        }
        let size = if in_flight { u64::from(bytes) } else { 0 };
        let snapshot = self.delivery.on_sent(sent_at, size, self.bytes_in_flight);
        self.bytes_in_flight = self.bytes_in_flight.saturating_add(size);
        if ack_eliciting {
            self.ack_eliciting_in_flight += 1;
            self.last_ack_eliciting_sent_at = Some(sent_at);
        }
        let state = State::Outstanding(content);
        self.entries.push_back(Entry { number, sent_at, bytes, ack_eliciting, in_flight, mtu_probe, snapshot, state });
    }

    /// There is nothing to send although window and pacer would let it: rate samples are low until what is out now arrived.
    pub fn on_app_limited(&mut self) {
        self.delivery.on_app_limited(self.bytes_in_flight);
    }

    /// An ACK arrived, with its ranges from the highest down; numbers that were not sent on this path are none of its business
    /// ([`Numbers`](super::Numbers) has checked them). `each` is given every packet that it newly acknowledges, late ones
    /// (declared lost before) included. Call [`detect_lost`](Self::detect_lost) next.
    pub fn on_ack(
        &mut self,
        now: Instant,
        ranges: impl Iterator<Item = RangeInclusive<u64>>,
        ack_delay: Duration,
        rtt: &mut Rtt,
        mut each: impl FnMut(u64, C),
    ) -> AckReport {
        let mut ack = Ack {
            now,
            report: AckReport { in_flight_before: self.bytes_in_flight, ..AckReport::default() },
            lowest_late: None,
            late_in_episode: false,
        };
        let mut largest_in_frame = None;
        // Numbers from here on were walked; ranges that overlap or rise are cut to what lies below.
        let mut walked_from = self.next_number;
        for range in ranges {
            let (start, end) = range.into_inner();
            if start > end {
                continue;
            }
            largest_in_frame = largest_in_frame.max(Some(end));
            let Some(highest_below) = walked_from.checked_sub(1) else { break };
            let end = end.min(highest_below);
            if start <= end {
                walked_from = start;
                self.settle_range(start, end, &mut ack, &mut each);
            }
        }
        let Ack { mut report, lowest_late, late_in_episode, .. } = ack;

        // RFC 9002 §5.1: a sample needs the largest acknowledged packet to be new, and an ack-eliciting one among the new.
        if let Some((number, sent_at)) = report.largest_newly_acked
            && report.ack_eliciting_acked
            && Some(number) == largest_in_frame
        {
            let sample = now.saturating_since(sent_at);
            rtt.update(now, sample, ack_delay);
            report.rtt_sample = Some(sample);
        }
        if let Some((number, _)) = report.largest_newly_acked {
            self.largest_acked = self.largest_acked.max(Some(number));
        }
        if let (Some(number), Some(largest)) = (lowest_late, self.largest_acked) {
            self.patience.on_spurious(now, rtt, largest.saturating_sub(number));
        }
        report.losses_all_spurious = late_in_episode && self.episode.missing == 0;
        let finished = self.delivery.finish(rtt.min());
        report.rate = finished.rate;
        report.app_limited = finished.app_limited;
        report.round_start = finished.round_start;
        report.round = finished.round;
        self.forget_settled(now);
        report
    }

    /// When the oldest outstanding packet counts as lost, if nothing else happens: then call
    /// [`detect_lost`](Self::detect_lost).
    pub const fn loss_deadline(&self) -> Option<Instant> {
        self.loss_deadline
    }

    /// Bytes that are out, as the congestion window counts them.
    pub const fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight
    }

    /// Whether an ACK is to be expected: whether the probe timer runs.
    pub const fn has_ack_eliciting_in_flight(&self) -> bool {
        self.ack_eliciting_in_flight > 0
    }

    /// From when the probe timer runs.
    pub const fn last_ack_eliciting_sent_at(&self) -> Option<Instant> {
        self.last_ack_eliciting_sent_at
    }

    /// The highest packet number that was acknowledged.
    pub const fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }

    /// The number of packets that are remembered, settled ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Up to `n` of the oldest ack-eliciting packets that are neither acknowledged nor lost: what a probe sends again, without
    /// declaring it lost (RFC 9002 §6.2.4). MTU probes are left out: they are too large to probe with.
    pub fn oldest_unacked(&self, n: usize) -> impl Iterator<Item = (u64, &C)> {
        self.entries
            .iter()
            .skip(self.first_outstanding)
            .filter(|entry| entry.ack_eliciting && !entry.mtu_probe)
            .filter_map(|entry| match &entry.state {
                State::Outstanding(content) => Some((entry.number, content)),
                _ => None,
            })
            .take(n)
    }

    /// Forgets everything, because the path or its keys are gone. `each` is given what was outstanding; late ACKs of it are
    /// ignored.
    pub fn discard_all(&mut self, mut each: impl FnMut(u64, C)) {
        for entry in self.entries.drain(..) {
            if let State::Outstanding(content) = entry.state {
                each(entry.number, content);
            }
        }
        self.first_outstanding = 0;
        self.bytes_in_flight = 0;
        self.ack_eliciting_in_flight = 0;
        self.last_ack_eliciting_sent_at = None;
        self.ack_only = 0;
        self.lost = 0;
        self.loss_deadline = None;
        self.episode = Episode { missing: 0, ..self.episode };
    }

    /// Settles what is not settled among the numbers `start..=end`.
    fn settle_range(&mut self, start: u64, end: u64, ack: &mut Ack, each: &mut impl FnMut(u64, C)) {
        let Some(top) = self.place_at_or_below(end) else { return };
        let mut place = Some(top);
        let mut lowest = None;
        while let Some(here) = place {
            let Some(entry) = self.entries.get_mut(here) else { break };
            if entry.number < start {
                break;
            }
            let step = match core::mem::replace(&mut entry.state, State::Settled { acked: true, run: 1 }) {
                State::Settled { acked, run } => {
                    entry.state = State::Settled { acked, run };
                    run.max(1)
                }
                State::Outstanding(content) => {
                    let number = entry.number;
                    self.count_acked(here, ack);
                    each(number, content);
                    1
                }
                State::Lost { content, episode, .. } => {
                    let number = entry.number;
                    self.count_late(here, episode, ack);
                    each(number, content);
                    1
                }
            };
            lowest = Some(here.saturating_sub(step - 1));
            place = here.checked_sub(step);
        }
        // The next ACK that covers this range steps over it from its top.
        if let (Some(lowest), Some(entry)) = (lowest, self.entries.get_mut(top))
            && let State::Settled { run, .. } = &mut entry.state
        {
            *run = (*run).max(top - lowest + 1);
        }
    }

    /// The outstanding packet at `place` was acknowledged.
    fn count_acked(&mut self, place: usize, ack: &mut Ack) {
        let Some(entry) = self.entries.get(place) else { return };
        if entry.ack_eliciting {
            self.ack_eliciting_in_flight = self.ack_eliciting_in_flight.saturating_sub(1);
        }
        if entry.in_flight {
            self.bytes_in_flight = self.bytes_in_flight.saturating_sub(u64::from(entry.bytes));
        } else if !entry.ack_eliciting {
            self.ack_only = self.ack_only.saturating_sub(1);
        }
        self.count_newly_acked(place, ack);
    }

    /// The packet at `place`, declared lost in `episode`, was acknowledged after all.
    fn count_late(&mut self, place: usize, episode: u64, ack: &mut Ack) {
        self.lost = self.lost.saturating_sub(1);
        let Some(entry) = self.entries.get(place) else { return };
        if !entry.mtu_probe {
            ack.report.spurious += 1;
            ack.lowest_late = Some(entry.number); // ranges are walked downwards
            if episode == self.episode.id && episode != 0 {
                self.episode.missing = self.episode.missing.saturating_sub(1);
                ack.late_in_episode = true;
            }
        }
        self.count_newly_acked(place, ack);
    }

    /// What every newly acknowledged packet adds to the report.
    fn count_newly_acked(&mut self, place: usize, ack: &mut Ack) {
        let Some(entry) = self.entries.get(place) else { return };
        let report = &mut ack.report;
        report.newly_acked += 1;
        report.ack_eliciting_acked |= entry.ack_eliciting;
        if report.largest_newly_acked.is_none_or(|(number, _)| entry.number > number) {
            report.largest_newly_acked = Some((entry.number, entry.sent_at));
        }
        if entry.mtu_probe {
            report.mtu_probe_acked = report.mtu_probe_acked.max(Some(entry.bytes));
        } else {
            report.largest_size_acked = report.largest_size_acked.max(Some(entry.bytes));
        }
        if entry.in_flight {
            report.newly_acked_bytes = report.newly_acked_bytes.saturating_add(u64::from(entry.bytes));
            self.delivery.on_acked(ack.now, u64::from(entry.bytes), entry.sent_at, &entry.snapshot);
        }
    }

    /// Drops from the front what is settled, and lost packets whose time is over or that are too many.
    fn forget_settled(&mut self, now: Instant) {
        while let Some(entry) = self.entries.front() {
            match &entry.state {
                State::Outstanding(_) => break,
                State::Lost { until, .. } if *until > now && self.lost <= MAX_LOST => break,
                State::Lost { .. } => self.lost = self.lost.saturating_sub(1),
                State::Settled { .. } => {}
            }
            self.entries.pop_front();
            self.first_outstanding = self.first_outstanding.saturating_sub(1);
        }
    }

    /// Where the packet `number` lies, or the next lower one.
    fn place_at_or_below(&self, number: u64) -> Option<usize> {
        let offset = number.checked_sub(self.entries.front()?.number)?;
        // Without gaps the number says where.
        let guess = usize::try_from(offset).unwrap_or(usize::MAX);
        if self.entries.get(guess).is_some_and(|entry| entry.number == number) {
            return Some(guess);
        }
        self.entries.partition_point(|entry| entry.number <= number).checked_sub(1)
    }
}

impl<C> Default for Ledger<C> {
    fn default() -> Self {
        Self::new()
    }
}

/// One ACK while its ranges are walked.
struct Ack {
    now: Instant,
    report: AckReport,
    /// The lowest number that arrived after it was declared lost.
    lowest_late: Option<u64>,
    late_in_episode: bool,
}

#[cfg(test)]
mod tests;
