//! A way that has to prove itself before data goes there (RFC 9000 §8.2, §9).
//!
//! A NAT that forgets a mapping, a change of network, a hole that was punched: authentic packets come from another place, or are to go
//! to one. Nobody who did not ask is sent more than three times what came from there, until it has repeated what only its owner can have
//! read.

use super::challenge::Challenges;
use super::path::base_of;
use crate::mrt::recovery::pto::probe_timeout;
use crate::mrt::recovery::rtt::{INITIAL_RTT, MAX_ACK_DELAY, Rtt};
use crate::mrt::route::{PathStats, Route};
use crate::time::{Duration, Instant};

/// How often the challenge is sent, at most. At 20 % loss each way one in five hundred trials is given up wrongly.
const MAX_CHALLENGES: u32 = 6;

/// How many challenges are left, at least, after something authentic came from there.
const MORE_WHEN_HEARD: u32 = 2;

/// Why a way is on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mrt::connection) enum Purpose {
    /// Those above asked for one more path, and know that somebody is there.
    Added,
    /// The other side began it: one more path.
    Answering,
    /// The other side of this path seems to have another address. It takes the path's place.
    Rebound(Route),
}

/// A way on trial.
#[derive(Debug)]
pub(in crate::mrt::connection) struct Trial {
    pub(in crate::mrt::connection) route: Route,
    pub(in crate::mrt::connection) purpose: Purpose,
    /// When to send the challenge (again); `None`: not before it is heard from again.
    pub(in crate::mrt::connection) next: Option<Instant>,
    /// The other side sends data here already.
    pub(in crate::mrt::connection) wanted: bool,
    pub(super) challenges: Challenges,
    began: Instant,
    /// When the last challenge should have been answered.
    patient_until: Instant,
    sent: u32,
    received_packets: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Trial {
    pub(in crate::mrt::connection) fn new(now: Instant, route: Route, purpose: Purpose) -> Self {
        Self {
            route,
            purpose,
            next: Some(now),
            wanted: false,
            challenges: Challenges::default(),
            began: now,
            patient_until: now,
            sent: 0,
            received_packets: 0,
            received_bytes: 0,
            sent_bytes: 0,
        }
    }

    /// Those above want it, too: it begins anew, its failure is told, and answers that are under way still count.
    pub(super) const fn adopt(&mut self, now: Instant) {
        self.purpose = Purpose::Added;
        self.sent = 0;
        self.next = Some(now);
    }

    /// Bytes that a challenge is padded to, and that its answer has to have. RFC 9000 §8.2.1: a path is proven for datagrams of full
    /// size. An address that changes is challenged with the little that it may be sent.
    pub(in crate::mrt::connection) const fn size(&self) -> u16 {
        match self.purpose {
            Purpose::Added | Purpose::Answering => base_of(self.route),
            Purpose::Rebound(_) => 0,
        }
    }

    /// An authentic datagram came from there.
    pub(in crate::mrt::connection) fn on_received(&mut self, bytes: u64) {
        self.received_packets = self.received_packets.saturating_add(1);
        self.received_bytes = self.received_bytes.saturating_add(bytes);
        if !matches!(self.purpose, Purpose::Rebound(_)) {
            // Somebody is there, and may have begun later than we did.
            self.sent = self.sent.min(MAX_CHALLENGES - MORE_WHEN_HEARD);
        }
    }

    /// Whether `bytes` may go there. RFC 9000 §8.1: at most three times what came.
    pub(in crate::mrt::connection) fn allows(&self, bytes: u64) -> bool {
        self.purpose == Purpose::Added || self.sent_bytes.saturating_add(bytes) <= self.received_bytes.saturating_mul(3)
    }

    /// Whether the last challenge has waited for its answer in vain.
    pub(in crate::mrt::connection) fn is_over(&self, now: Instant) -> bool {
        let failed = self.sent >= MAX_CHALLENGES && self.next.is_some_and(|next| next <= now);
        failed && !matches!(self.purpose, Purpose::Rebound(_))
    }

    /// The challenge left. `known`: what is known of the way that the connection uses, which is all there is to know of one of its other
    /// end's new addresses.
    pub(in crate::mrt::connection) fn on_challenged(&mut self, now: Instant, token: [u8; 8], bytes: u64, known: &Rtt) {
        self.on_sent(bytes);
        self.challenges.on_sent(now, token);
        self.sent = self.sent.saturating_add(1);
        self.patient_until = now + self.timeout(known);
        let goes_on = !matches!(self.purpose, Purpose::Rebound(_)) || self.sent < MAX_CHALLENGES;
        self.next = goes_on.then_some(self.patient_until);
    }

    /// Something newer than all others came from there. Who was given up is asked again, but not more often than answers take.
    pub(in crate::mrt::connection) fn on_newest(&mut self, now: Instant) {
        if self.next.is_none() {
            self.next = Some(self.patient_until.max(now));
        } else if self.challenges.is_empty() {
            // What came may allow what was too much before.
            self.next = Some(now);
        }
    }

    fn timeout(&self, known: &Rtt) -> Duration {
        match self.purpose {
            // At first as fast as the path was, which a NAT does not change.
            Purpose::Rebound(_) => probe_timeout(known, MAX_ACK_DELAY, self.sent.saturating_sub(2)),
            Purpose::Added | Purpose::Answering => {
                probe_timeout(&Rtt::default(), Duration::ZERO, self.sent.saturating_sub(1))
            }
        }
    }

    /// The challenge would be more than may go there. It counts as sent, so that the trial ends; an address that may be the path's is
    /// asked when more comes from it.
    pub(in crate::mrt::connection) fn on_not_allowed(&mut self, now: Instant) {
        if let Purpose::Rebound(_) = self.purpose {
            self.next = None;
        } else {
            self.sent = self.sent.saturating_add(1);
            self.next = Some(now + self.timeout(&Rtt::default()));
        }
    }

    /// Something else went there.
    pub(in crate::mrt::connection) const fn on_sent(&mut self, bytes: u64) {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
    }

    pub(in crate::mrt::connection) const fn stats(&self) -> PathStats {
        PathStats {
            route: self.route,
            active: false,
            validated: false,
            rtt: INITIAL_RTT,
            min_rtt: None,
            mtu: base_of(self.route),
            sent_packets: self.sent as u64,
            sent_bytes: self.sent_bytes,
            received_packets: self.received_packets,
            received_bytes: self.received_bytes,
            last_heard: self.began,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn route() -> Route {
        SocketAddr::from(([192, 0, 2, 1], 9)).into()
    }

    #[test]
    fn an_unproven_address_gets_three_times_what_came_from_it_and_no_more() {
        for purpose in [Purpose::Answering, Purpose::Rebound(route())] {
            let mut trial = Trial::new(Instant::ZERO, route(), purpose);
            assert!(!trial.allows(1));
            trial.on_received(100);
            assert!(trial.allows(300));
            trial.on_sent(250);
            assert!(trial.allows(50) && !trial.allows(51));
        }
    }

    #[test]
    fn an_address_that_is_heard_all_the_time_and_never_answers_is_asked_once_a_second_at_last() {
        let mut trial = Trial::new(Instant::ZERO, route(), Purpose::Rebound(route()));
        let mut asked = 0;
        for ms in 0..60_000 {
            let now = Instant::from_start(Duration::from_millis(ms));
            trial.on_received(1200);
            trial.on_newest(now);
            if trial.next.is_some_and(|next| next <= now) {
                trial.on_challenged(now, [0; 8], 38, &Rtt::default());
                asked += 1;
            }
        }
        assert!((50..70).contains(&asked), "{asked}");
    }

    #[test]
    fn a_path_that_was_asked_for_gets_six_challenges_over_some_seconds() {
        let mut trial = Trial::new(Instant::ZERO, route(), Purpose::Added);
        let mut now = Instant::ZERO;
        let mut sent = 0;
        while !trial.is_over(now) {
            trial.on_challenged(now, [sent as u8; 8], 1200, &Rtt::default());
            sent += 1;
            now = trial.next.unwrap();
        }
        assert_eq!(sent, MAX_CHALLENGES);
        assert!((4000..6000).contains(&now.as_millis()), "{now:?}");
    }
}
