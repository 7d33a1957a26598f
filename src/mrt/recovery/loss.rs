//! When a packet counts as lost: RFC 9002 §6.1's two thresholds, made to learn from mistakes as RACK does (RFC 8985 §6.2 step 4).

use super::rtt::{GRANULARITY, Rtt};
use crate::time::{Duration, Instant};

/// A packet is lost when one sent this many packets later arrived (RFC 9002 §6.1.1, `kPacketThreshold`).
pub const PACKET_THRESHOLD: u64 = 3;

/// The packet threshold learns no further. A path that shuffles packets over more than 256 places (a third of a megabyte) does
/// so over a good part of its round-trip time, where the time threshold judges better; and a peer that feigns reordering
/// gains at most one window of late repair.
pub const MAX_PACKET_THRESHOLD: u64 = 256;

/// Loss episodes without a mistake until what was learnt is forgotten (RFC 8985 §6.2 step 4 uses 16 recoveries).
pub const EPISODES_TO_FORGET: u32 = 16;

/// How much reordering the path has shown, and so how patient to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    packets: u64,
    /// Quarters of the smallest round-trip time that the time window is wider.
    quarters: u32,
    /// When `quarters` grew last.
    grew_at: Option<Instant>,
    /// Loss episodes since the last mistake.
    episodes: u32,
}

impl Patience {
    /// That of a path that was not seen to reorder.
    pub const fn new() -> Self {
        Self { packets: PACKET_THRESHOLD, quarters: 0, grew_at: None, episodes: 0 }
    }

    /// A packet declared lost has arrived, `distance` packet numbers behind the largest acknowledged one.
    pub fn on_spurious(&mut self, now: Instant, rtt: &Rtt, distance: u64) {
        self.packets = self.packets.max(distance.saturating_add(1)).min(MAX_PACKET_THRESHOLD);
        self.episodes = 0;
        // RFC 8985 §6.2 step 4: the window grows at most once a round trip.
        let grown = self.grew_at.is_some_and(|at| now.saturating_since(at) < rtt.smoothed());
        if !grown && self.extra(rtt) < rtt.smoothed() {
            self.quarters = self.quarters.saturating_add(1);
            self.grew_at = Some(now);
        }
    }

    /// A new loss episode began.
    pub const fn on_episode(&mut self) {
        self.episodes = self.episodes.saturating_add(1);
        if self.episodes >= EPISODES_TO_FORGET {
            *self = Self::new();
        }
    }

    /// The number of later packets after which one is lost.
    pub const fn packet_threshold(&self) -> u64 {
        self.packets
    }

    /// How long after it was sent a packet is lost, once a later one arrived.
    pub fn time_threshold(&self, rtt: &Rtt) -> Duration {
        // RFC 9002 §6.1.2: max(9/8 · max(smoothed_rtt, latest_rtt), kGranularity)
        let base = rtt.smoothed().max(rtt.latest());
        base.saturating_add(base / 8).saturating_add(self.extra(rtt)).max(GRANULARITY)
    }

    /// What was learnt, at most one smoothed round trip.
    fn extra(&self, rtt: &Rtt) -> Duration {
        let quarter = rtt.min().unwrap_or(Duration::ZERO) / 4;
        quarter.saturating_mul(self.quarters).min(rtt.smoothed())
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn measured() -> Rtt {
        let mut rtt = Rtt::default();
        rtt.update(Instant::ZERO, ms(80), Duration::ZERO);
        rtt
    }

    #[test]
    fn a_path_that_keeps_order_is_judged_by_the_rfcs_numbers() {
        let patience = Patience::new();
        assert_eq!(patience.packet_threshold(), 3);
        assert_eq!(patience.time_threshold(&measured()), ms(90));
    }

    #[test]
    fn a_packet_that_came_after_all_teaches_both_thresholds() {
        let mut patience = Patience::new();
        patience.on_spurious(Instant::ZERO, &measured(), 7);
        assert_eq!(patience.packet_threshold(), 8);
        assert_eq!(patience.time_threshold(&measured()), ms(110));
        // A smaller distance teaches nothing about packets, and the same round trip nothing more about time.
        patience.on_spurious(Instant::ZERO + ms(79), &measured(), 2);
        assert_eq!(patience.packet_threshold(), 8);
        assert_eq!(patience.time_threshold(&measured()), ms(110));
    }

    #[test]
    fn patience_has_a_limit_in_packets_and_in_time() {
        let mut patience = Patience::new();
        for round in 0..100 {
            patience.on_spurious(Instant::ZERO + ms(80 * round), &measured(), u64::MAX);
        }
        assert_eq!(patience.packet_threshold(), MAX_PACKET_THRESHOLD);
        assert_eq!(patience.time_threshold(&measured()), ms(90 + 80));
    }

    #[test]
    fn sixteen_honest_losses_make_it_strict_again() {
        let mut patience = Patience::new();
        patience.on_spurious(Instant::ZERO, &measured(), 7);
        for _ in 0..15 {
            patience.on_episode();
        }
        assert_eq!(patience.packet_threshold(), 8);
        patience.on_episode();
        assert_eq!(patience, Patience::new());
    }
}
