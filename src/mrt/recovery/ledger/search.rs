//! Which packets count as lost, and to which episode they belong.

use super::{Ledger, State};
use crate::mrt::recovery::pto::probe_timeout;
use crate::mrt::recovery::report::LossReport;
use crate::mrt::recovery::rtt::{MAX_ACK_DELAY, Rtt};
use crate::mrt::recovery::silence::Silence;
use crate::time::Instant;

/// A loss episode: losses among packets that were sent before the first of them was noticed (RFC 9002's recovery period).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Episode {
    /// Counts from 1.
    pub(super) id: u64,
    pub(super) began_at: Option<Instant>,
    /// Its packets that have not arrived after all.
    pub(super) missing: usize,
}

impl<C> Ledger<C> {
    /// Looks for lost packets: after every ACK, and when [`loss_deadline`](Self::loss_deadline) has come. `each` is given every
    /// packet that counts as lost from now on, MTU probes too.
    pub fn detect_lost(&mut self, now: Instant, rtt: &Rtt, each: impl FnMut(u64, &C)) -> LossReport {
        self.loss_deadline = None;
        let Some(largest_acked) = self.largest_acked else { return LossReport::default() };
        self.search_lost(now, rtt, Some(largest_acked), each)
    }

    /// Nothing asks after this path any more, or nobody answers: everything that is outstanding counts as lost, and is remembered like
    /// other lost packets.
    pub fn declare_all_lost(&mut self, now: Instant, rtt: &Rtt, each: impl FnMut(u64, &C)) -> LossReport {
        self.loss_deadline = None;
        self.search_lost(now, rtt, None, each)
    }

    /// Everything below `largest_acked` that is beyond the thresholds; without one, everything.
    fn search_lost(
        &mut self,
        now: Instant,
        rtt: &Rtt,
        largest_acked: Option<u64>,
        mut each: impl FnMut(u64, &C),
    ) -> LossReport {
        let mut report = LossReport::default();
        let packet_threshold = self.patience.packet_threshold();
        let time_threshold = self.patience.time_threshold(rtt);
        let until = now + probe_timeout(rtt, MAX_ACK_DELAY, 0);
        let mut silence = Silence::new(rtt);
        // Those declared lost in this call, to be counted in their episode once the newest is known.
        let first = self.first_outstanding;

        while let Some(entry) = self.entries.get_mut(self.first_outstanding) {
            if largest_acked.is_some_and(|largest| entry.number >= largest) {
                break;
            }
            match &entry.state {
                State::Outstanding(_) => {}
                state => {
                    if let State::Settled { acked: true, .. } = state {
                        silence.broken();
                    }
                    self.first_outstanding += 1;
                    continue;
                }
            }
            // RFC 9002 §6.1: numbers and times rise together, so the first packet that is not lost ends the search.
            let deadline = entry.sent_at + time_threshold;
            if largest_acked.is_some_and(|largest| largest - entry.number < packet_threshold && deadline > now) {
                self.loss_deadline = Some(deadline);
                break;
            }
            let settled = State::Settled { acked: false, run: 1 };
            if let State::Outstanding(content) = core::mem::replace(&mut entry.state, settled) {
                if entry.ack_eliciting {
                    self.ack_eliciting_in_flight = self.ack_eliciting_in_flight.saturating_sub(1);
                    silence.lost(entry.sent_at);
                }
                if entry.in_flight {
                    self.bytes_in_flight = self.bytes_in_flight.saturating_sub(u64::from(entry.bytes));
                    self.delivery.on_lost(u64::from(entry.bytes));
                    count_lost(&mut report, entry.sent_at, entry.bytes, entry.mtu_probe);
                }
                if entry.in_flight || entry.ack_eliciting {
                    each(entry.number, &content);
                    entry.state = State::Lost { content, until, episode: 0 };
                    self.lost += 1;
                } else {
                    self.ack_only = self.ack_only.saturating_sub(1);
                }
            }
            self.first_outstanding += 1;
        }
        report.persistent_congestion = silence.is_persistent();
        self.count_episode(now, first, &report);
        self.forget_settled(now);
        report
    }

    /// Assigns the packets declared lost from `first` on to the episode that they began or belong to.
    fn count_episode(&mut self, now: Instant, first: usize, report: &LossReport) {
        let Some(newest) = report.newest_lost_sent_at else { return };
        if self.episode.began_at.is_none_or(|began_at| newest > began_at) {
            self.episode = Episode { id: self.episode.id.saturating_add(1), began_at: Some(now), missing: 0 };
            self.patience.on_episode();
        }
        self.episode.missing += report.lost_packets;
        let count = self.first_outstanding.saturating_sub(first);
        for entry in self.entries.iter_mut().skip(first).take(count) {
            if let State::Lost { episode, .. } = &mut entry.state
                && entry.in_flight
                && !entry.mtu_probe
            {
                *episode = self.episode.id;
            }
        }
    }
}

fn count_lost(report: &mut LossReport, sent_at: Instant, bytes: u16, mtu_probe: bool) {
    if mtu_probe {
        report.mtu_probe_lost = report.mtu_probe_lost.max(Some(bytes));
        return;
    }
    report.lost_packets += 1;
    report.lost_bytes = report.lost_bytes.saturating_add(u64::from(bytes));
    report.newest_lost_sent_at = report.newest_lost_sent_at.max(Some(sent_at));
    report.oldest_lost_sent_at = report.oldest_lost_sent_at.or(Some(sent_at));
    report.largest_size_lost = report.largest_size_lost.max(Some(bytes));
}
