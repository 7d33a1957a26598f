//! Delivery rate (draft-ietf-ccwg-bbr §4.1): how fast the path delivers, measured by what each packet saw when it left.

use crate::time::{Duration, Instant};

/// How many bytes were delivered over how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSample {
    /// Bytes delivered between the sending of the newest acknowledged packet and now.
    pub delivered: u64,
    /// Over how long: the longer of the time to send them and the time to see them acknowledged. Never zero.
    pub interval: Duration,
    /// Bytes in flight just after that packet was sent, itself included.
    pub in_flight_at_send: u64,
    /// Bytes declared lost between the sending of that packet and now.
    pub lost: u64,
    /// Bytes delivered in all when that packet was sent.
    pub prior_delivered: u64,
    /// Whether the sample says only how fast the application was.
    pub app_limited: bool,
}

impl RateSample {
    /// Bytes a second.
    pub fn bytes_per_second(&self) -> u64 {
        let nanos = self.interval.as_nanos().max(1);
        u64::try_from(u128::from(self.delivered) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
    }
}

/// What a packet remembers of the moment it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    lost: u64,
    in_flight: u64,
    app_limited: bool,
}

/// The counters of one path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    lost: u64,
    /// Samples are limited by the application until this many bytes are delivered.
    app_limited_until: Option<u64>,
    /// A round ends when a packet is acknowledged that left after this many bytes were delivered.
    round_ends_at: u64,
    round: u64,
    /// The newest packet acknowledged since the last sample: its snapshot, and when it left.
    newest: Option<(Snapshot, Instant)>,
}

impl Delivery {
    /// A packet of `bytes` leaves while `in_flight` bytes are out.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) -> Snapshot {
        if in_flight == 0 {
            // Nothing is out: the measurement begins here, idle time does not count.
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Snapshot {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            lost: self.lost,
            in_flight: in_flight.saturating_add(bytes),
            app_limited: self.app_limited_until.is_some(),
        }
    }

    /// There was nothing more to send while `in_flight` bytes were out: until they are delivered, samples are low.
    pub(super) fn on_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = Some(self.delivered.saturating_add(in_flight));
    }

    /// Bytes were declared lost.
    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.lost = self.lost.saturating_add(bytes);
    }

    /// A packet was acknowledged.
    pub(super) fn on_acked(&mut self, now: Instant, bytes: u64, sent_at: Instant, snapshot: &Snapshot) {
        self.delivered = self.delivered.saturating_add(bytes);
        self.delivered_at = now;
        let newer = self.newest.is_none_or(|(best, at)| (snapshot.delivered, sent_at) > (best.delivered, at));
        if newer {
            self.newest = Some((*snapshot, sent_at));
        }
    }

    /// The end of one ACK: the sample it allows, whether its newest packet was limited by the application, and whether it
    /// began a round.
    pub(super) fn finish(&mut self, min_rtt: Option<Duration>) -> Finished {
        if self.app_limited_until.is_some_and(|until| self.delivered > until) {
            self.app_limited_until = None;
        }
        let Some((snapshot, sent_at)) = self.newest.take() else {
            return Finished { rate: None, app_limited: false, round_start: false, round: self.round };
        };
        let round_start = snapshot.delivered >= self.round_ends_at;
        if round_start {
            self.round_ends_at = self.delivered;
            self.round = self.round.saturating_add(1);
        }
        self.first_sent_at = self.first_sent_at.max(sent_at);
        let send_elapsed = sent_at.saturating_since(snapshot.first_sent_at);
        let ack_elapsed = self.delivered_at.saturating_since(snapshot.delivered_at);
        let interval = send_elapsed.max(ack_elapsed);
        // Shorter than any round trip: ACKs were compressed on the way, the sample would be far too high.
        let plausible = !interval.is_zero() && min_rtt.is_none_or(|min| interval >= min);
        let rate = plausible.then(|| RateSample {
            delivered: self.delivered.saturating_sub(snapshot.delivered),
            interval,
            in_flight_at_send: snapshot.in_flight,
            lost: self.lost.saturating_sub(snapshot.lost),
            prior_delivered: snapshot.delivered,
            app_limited: snapshot.app_limited,
        });
        Finished { rate, app_limited: snapshot.app_limited, round_start, round: self.round }
    }
}

/// What [`Delivery::finish`] found.
pub(super) struct Finished {
    pub(super) rate: Option<RateSample>,
    pub(super) app_limited: bool,
    pub(super) round_start: bool,
    pub(super) round: u64,
}
