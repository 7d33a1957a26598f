//! How long answers take, server by server.

use crate::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The first interval towards a server that has not answered yet (RFC 8489 §6.2.1).
pub const FIRST_RTO: Duration = Duration::from_millis(500);

/// The shortest interval. Below the RFC's half a second once a server was measured: somebody waits for the answers, and a repetition too
/// early costs one packet of 28 bytes.
const MIN_RTO: Duration = Duration::from_millis(200);

/// The longest first interval (RFC 6298 §2.5 allows a limit of a minute; a start that waits longer than this is given up by people).
const MAX_RTO: Duration = Duration::from_secs(3);

/// Servers that are remembered, at most. Further ones get the first interval.
const MAX_SERVERS: usize = 64;

/// Smoothed round-trip time and its variation (RFC 6298 §2).
#[derive(Clone, Copy, Debug)]
struct Estimate {
    smoothed: Duration,
    variation: Duration,
}

/// Estimates by server's address.
#[derive(Clone, Debug, Default)]
pub(super) struct RoundTrips(BTreeMap<IpAddr, Estimate>);

impl RoundTrips {
    /// The first interval towards this server.
    pub(super) fn rto(&self, server: IpAddr) -> Duration {
        self.0.get(&server).map_or(FIRST_RTO, |estimate| {
            estimate.smoothed.saturating_add(estimate.variation.saturating_mul(4)).clamp(MIN_RTO, MAX_RTO)
        })
    }

    /// A question that was sent once was answered (RFC 6298 §3, Karn's rule: of repeated ones nobody knows which was answered).
    pub(super) fn on_sample(&mut self, server: IpAddr, sample: Duration) {
        if self.0.len() >= MAX_SERVERS && !self.0.contains_key(&server) {
            return;
        }
        let estimate = self.0.entry(server).or_insert(Estimate { smoothed: sample, variation: sample / 2 });
        let error = estimate.smoothed.abs_diff(sample);
        estimate.variation = (estimate.variation.saturating_mul(3).saturating_add(error)) / 4;
        estimate.smoothed = (estimate.smoothed.saturating_mul(7).saturating_add(sample)) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn a_measured_server_is_asked_again_sooner_but_not_at_once() {
        let mut round_trips = RoundTrips::default();
        assert_eq!(round_trips.rto(SERVER), FIRST_RTO);
        round_trips.on_sample(SERVER, Duration::from_millis(100));
        let first = round_trips.rto(SERVER);
        assert!((Duration::from_millis(200)..Duration::from_millis(300)).contains(&first), "{first:?}");
        (0..50).for_each(|_| round_trips.on_sample(SERVER, Duration::from_millis(5)));
        assert_eq!(round_trips.rto(SERVER), MIN_RTO);
        (0..50).for_each(|_| round_trips.on_sample(SERVER, Duration::MAX));
        assert_eq!(round_trips.rto(SERVER), MAX_RTO);
    }

    #[test]
    fn not_more_than_so_many_servers_are_remembered() {
        let mut round_trips = RoundTrips::default();
        for number in 0..1000_u32 {
            round_trips.on_sample(IpAddr::V4(number.into()), Duration::ZERO);
        }
        assert_eq!(round_trips.0.len(), MAX_SERVERS);
    }
}
