//! Finding the largest datagram that a path carries (RFC 8899, DPLPMTUD), by asking the path and nobody else: ICMP can be forged
//! and is often filtered.
//!
//! ```text
//!            every rung and the gap done                 600 s
//!  Searching ─────────────────────────► Settled ───────────────► Searching (all sizes again)
//!      ▲                                   │
//!      └──── to 1200, then to 508 ◄────────┴── large ones vanish while smaller ones arrive
//! ```

use crate::time::{Duration, Instant};

/// What every path is assumed to carry (RFC 9000 §14).
pub const BASE: u16 = 1200;
/// What any IPv4 host must accept: 576 bytes less the largest IP header and UDP's. After a black hole even at 1200.
pub const FLOOR: u16 = 508;
/// How often one size is tried (RFC 8899 §5.1.2, `MAX_PROBES`).
pub const MAX_PROBES: u8 = 3;
/// When to search again (RFC 8899 §5.1.1, `PMTU_RAISE_TIMER`).
pub const RAISE_AFTER: Duration = Duration::from_secs(600);
/// A search ends when what is known to work and what is known to fail are this close.
pub const PRECISION: u16 = 20;
/// Losses, each noticed at another time, with smaller packets arriving and none as large: a black hole. A burst that is lost to a
/// full queue is noticed at once or followed by large ones that arrive.
pub const BLACK_HOLE_LOSSES: u8 = 3;

/// Sizes that are common, as UDP payload: the IPv6 minimum less headers rounded up, PPPoE and tunnels, Ethernet over IPv6 and
/// over IPv4, 4 kB links, jumbo frames over IPv6 and over IPv4.
const LADDER: [u16; 8] = [1200, 1280, 1392, 1452, 1472, 4052, 8952, 8972];

/// The datagram size of one path, in bytes of UDP payload.
#[derive(Clone, Debug)]
pub struct Mtu {
    /// Known to work, or assumed to.
    current: u16,
    /// Never exceeded.
    max: u16,
    /// What is added to every datagram on the way. Sizes in here include it, sizes that are told do not.
    wrapping: u16,
    /// The smallest size that is taken not to work; above `max` where none is known.
    fails: u32,
    /// The probe that is out.
    probe: Option<u16>,
    /// The size being tried, and how often it was lost.
    tried: (u16, u8),
    /// When to search again, once settled.
    raise_at: Option<Instant>,
    suspicion: Suspicion,
}

/// Evidence for a black hole.
#[derive(Clone, Copy, Debug, Default)]
struct Suspicion {
    losses: u8,
    noticed_at: Option<Instant>,
    /// The smallest of the lost.
    smallest_lost: u16,
    /// Something smaller arrived since.
    smaller_arrived: bool,
}

impl Mtu {
    /// A path taken to carry `base` bytes, to be searched up to `max`. Neither is below [`FLOOR`].
    pub fn new(base: u16, max: u16) -> Self {
        let max = max.max(FLOOR);
        Self {
            current: base.clamp(FLOOR, max),
            max,
            wrapping: 0,
            fails: u32::from(max) + 1,
            probe: None,
            tried: (0, 0),
            raise_at: None,
            suspicion: Suspicion::default(),
        }
    }

    /// The same path, for datagrams to which `wrapping` bytes are added on the way.
    #[must_use]
    pub const fn wrapped_in(self, wrapping: u16) -> Self {
        Self { wrapping, ..self }
    }

    /// The largest datagram to send.
    pub const fn current(&self) -> u16 {
        self.current.saturating_sub(self.wrapping)
    }

    /// The smallest that it will ever be.
    pub const fn floor(&self) -> u16 {
        FLOOR.saturating_sub(self.wrapping)
    }

    /// The size of the probe that is to be sent now, if any. It counts as sent: it will be reported as acknowledged or lost.
    pub fn poll_probe(&mut self, now: Instant) -> Option<u16> {
        if self.probe.is_some() {
            return None;
        }
        if let Some(raise_at) = self.raise_at {
            if raise_at > now {
                return None;
            }
            self.raise_at = None;
            self.fails = u32::from(self.max) + 1;
            self.tried = (0, 0);
        }
        match self.candidate() {
            Some(size) => {
                if self.tried.0 != size {
                    self.tried = (size, 0);
                }
                self.probe = Some(size);
                Some(size.saturating_sub(self.wrapping))
            }
            None => {
                self.raise_at = Some(now + RAISE_AFTER);
                None
            }
        }
    }

    /// The probe of `size` bytes arrived. Returns whether [`current`](Self::current) changed.
    pub fn on_probe_acked(&mut self, size: u16) -> bool {
        let size = size.saturating_add(self.wrapping);
        if self.probe == Some(size) {
            self.probe = None;
        }
        // A late answer to a probe given up is as good.
        if size <= self.current || size > self.max {
            return false;
        }
        self.current = size;
        self.fails = self.fails.max(u32::from(size) + 1);
        self.suspicion = Suspicion::default();
        true
    }

    /// The probe of `size` bytes was lost.
    pub fn on_probe_lost(&mut self, size: u16) {
        let size = size.saturating_add(self.wrapping);
        if self.probe != Some(size) {
            return;
        }
        self.probe = None;
        self.tried.1 = self.tried.1.saturating_add(1);
        if self.tried.1 >= MAX_PROBES && size > self.current {
            self.fails = self.fails.min(u32::from(size));
        }
    }

    /// A datagram of `size` bytes, not a probe, was lost. Returns whether [`current`](Self::current) changed.
    pub fn on_lost(&mut self, size: u16, now: Instant) -> bool {
        let size = size.saturating_add(self.wrapping);
        if size <= self.fallback() {
            return false;
        }
        let seen = &mut self.suspicion;
        seen.smallest_lost = if seen.losses == 0 { size } else { seen.smallest_lost.min(size) };
        if seen.noticed_at != Some(now) || seen.losses == 0 {
            seen.losses = seen.losses.saturating_add(1);
            seen.noticed_at = Some(now);
        }
        self.judge()
    }

    /// A datagram of `size` bytes, not a probe, arrived. Returns whether [`current`](Self::current) changed.
    pub fn on_acked(&mut self, size: u16) -> bool {
        let size = size.saturating_add(self.wrapping);
        if self.suspicion.losses == 0 {
            return false;
        }
        if size >= self.suspicion.smallest_lost {
            self.suspicion = Suspicion::default();
            return false;
        }
        self.suspicion.smaller_arrived = true;
        self.judge()
    }

    /// When the search begins again.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.raise_at
    }

    /// Where a black hole leads to.
    const fn fallback(&self) -> u16 {
        if self.current > BASE { BASE } else { FLOOR }
    }

    fn judge(&mut self) -> bool {
        let Suspicion { losses, smallest_lost, smaller_arrived, .. } = self.suspicion;
        if losses < BLACK_HOLE_LOSSES || !smaller_arrived || self.current <= FLOOR {
            return false;
        }
        self.current = self.fallback();
        self.fails = u32::from(smallest_lost.max(self.current.saturating_add(1)));
        self.tried = (0, 0);
        self.raise_at = None;
        self.suspicion = Suspicion::default();
        true
    }

    /// The size to try next: the next rung, or else the middle of the gap.
    fn candidate(&self) -> Option<u16> {
        let current = u32::from(self.current);
        let fits = |size: u16| u32::from(size) > current && u32::from(size) < self.fails && size <= self.max;
        if self.fails.saturating_sub(current) <= u32::from(PRECISION) && !fits(self.max) {
            return None;
        }
        if let Some(rung) = LADDER.into_iter().chain([self.max]).find(|size| fits(*size)) {
            return Some(rung);
        }
        let middle = current + self.fails.saturating_sub(current) / 2;
        u16::try_from(middle).ok().filter(|size| fits(*size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// Answers every probe as a path of `limit` bytes would, until the search rests. Returns the sizes probed.
    fn search(mtu: &mut Mtu, limit: u16, now: Instant) -> Vec<u16> {
        let mut probed = Vec::new();
        while let Some(size) = mtu.poll_probe(now) {
            probed.push(size);
            assert!(probed.len() < 200, "a search ends: {probed:?}");
            if size <= limit {
                mtu.on_probe_acked(size);
            } else {
                mtu.on_probe_lost(size);
            }
        }
        probed
    }

    #[test]
    fn ethernet_is_found_in_four_probes() {
        let mut mtu = Mtu::new(BASE, 1472);
        assert_eq!(search(&mut mtu, 1472, at(0)), [1280, 1392, 1452, 1472]);
        assert_eq!(mtu.current(), 1472);
    }

    #[test]
    fn what_is_wrapped_on_the_way_stays_so_much_smaller_at_every_step() {
        let mut mtu = Mtu::new(BASE, 1472).wrapped_in(37);
        assert_eq!((mtu.current(), mtu.floor()), (1163, 471));
        assert_eq!(search(&mut mtu, 1435, at(0)), [1243, 1355, 1415, 1435]);
        assert_eq!(mtu.current(), 1435);
        for n in 0..6 {
            mtu.on_acked(60);
            mtu.on_lost(mtu.current(), at(n));
        }
        assert_eq!(mtu.current(), 471);
    }

    #[test]
    fn a_tunnel_between_two_rungs_is_found_to_within_twenty_bytes() {
        let mut mtu = Mtu::new(BASE, 1472);
        let probed = search(&mut mtu, 1420, at(0));
        assert_eq!(probed, [1280, 1392, 1452, 1452, 1452, 1422, 1422, 1422, 1407]);
        assert_eq!(mtu.current(), 1407);
    }

    #[test]
    fn there_is_one_probe_at_a_time_and_each_size_has_three_chances() {
        let mut mtu = Mtu::new(BASE, 1472);
        assert_eq!(mtu.poll_probe(at(0)), Some(1280));
        assert_eq!(mtu.poll_probe(at(0)), None);
        mtu.on_probe_lost(1280);
        assert_eq!(mtu.poll_probe(at(0)), Some(1280));
        mtu.on_probe_lost(1280);
        assert_eq!(mtu.poll_probe(at(0)), Some(1280));
        assert!(mtu.on_probe_acked(1280));
        assert_eq!((mtu.current(), mtu.poll_probe(at(0))), (1280, Some(1392)));
    }

    #[test]
    fn reports_of_probes_that_are_not_out_change_nothing() {
        let mut mtu = Mtu::new(BASE, 1472);
        mtu.on_probe_lost(1280);
        mtu.on_probe_lost(9000);
        assert!(!mtu.on_probe_acked(9000), "above the maximum");
        assert!(!mtu.on_probe_acked(600));
        assert_eq!(mtu.current(), BASE);
        assert_eq!(mtu.poll_probe(at(0)), Some(1280));
    }

    #[test]
    fn after_ten_minutes_it_searches_again_because_paths_change() {
        let mut mtu = Mtu::new(BASE, 1472);
        search(&mut mtu, 1300, at(0));
        assert!(mtu.current() <= 1300);
        assert_eq!(mtu.poll_timeout(), Some(at(600_000)));
        assert_eq!(mtu.poll_probe(at(599_999)), None);
        search(&mut mtu, 1472, at(600_000));
        assert_eq!(mtu.current(), 1472);
    }

    #[test]
    fn large_ones_that_vanish_while_small_ones_arrive_are_a_black_hole() {
        let mut mtu = Mtu::new(BASE, 1472);
        search(&mut mtu, 1472, at(0));
        for n in 0..3 {
            assert_eq!(mtu.current(), 1472);
            mtu.on_acked(100);
            mtu.on_lost(1472, at(n));
        }
        // Nothing small arrived since the third loss, but it did since the first.
        assert_eq!(mtu.current(), BASE);
        // And what the path carries now is searched for at once, below what is known to vanish.
        search(&mut mtu, 1400, at(10));
        assert!((1380..=1400).contains(&mtu.current()), "{}", mtu.current());
    }

    #[test]
    fn a_black_hole_below_the_base_leads_to_what_every_host_accepts() {
        let mut mtu = Mtu::new(BASE, 1472);
        for n in 0..3 {
            mtu.on_lost(1200, at(n));
            mtu.on_acked(60);
        }
        assert_eq!(mtu.current(), FLOOR);
        search(&mut mtu, 1000, at(10));
        assert!((980..=1000).contains(&mtu.current()), "{}", mtu.current());
    }

    #[test]
    fn congestion_is_no_black_hole() {
        let mut mtu = Mtu::new(BASE, 1472);
        search(&mut mtu, 1472, at(0));
        // A burst lost at once is one observation.
        for _ in 0..100 {
            mtu.on_lost(1472, at(1));
            mtu.on_acked(60);
        }
        // And one large packet that arrives proves the path.
        for n in 2..100 {
            mtu.on_lost(1472, at(n));
            mtu.on_acked(60);
            mtu.on_acked(1472);
        }
        assert_eq!(mtu.current(), 1472);
    }

    #[test]
    fn a_blackout_is_no_black_hole() {
        let mut mtu = Mtu::new(BASE, 1472);
        search(&mut mtu, 1472, at(0));
        for n in 0..100 {
            mtu.on_lost(1472, at(n));
            mtu.on_lost(60, at(n));
        }
        assert_eq!(mtu.current(), 1472);
    }

    #[test]
    fn nothing_is_smaller_than_the_floor_or_larger_than_the_maximum() {
        assert_eq!(Mtu::new(0, 0).current(), FLOOR);
        assert_eq!(Mtu::new(u16::MAX, 1000).current(), 1000);
        let mut mtu = Mtu::new(BASE, u16::MAX);
        search(&mut mtu, u16::MAX, at(0));
        assert_eq!(mtu.current(), u16::MAX);
    }

    proptest! {
        #[test]
        fn any_path_is_measured_to_within_twenty_bytes(
            max in 0u16..,
            limit in FLOOR..,
            lost_anyway in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let mut mtu = Mtu::new(BASE, max);
            let ceiling = max.max(FLOOR).min(limit);
            // Data of the full size and small packets flow; a search runs beside them, and a few probes are lost for no reason.
            let mut chance = lost_anyway.into_iter();
            for step in 0..2000 {
                let now = at(step * 10_000);
                if let Some(size) = mtu.poll_probe(now) {
                    prop_assert!(size <= max.max(FLOOR));
                    if size <= limit && !chance.next().unwrap_or(false) {
                        mtu.on_probe_acked(size);
                    } else {
                        mtu.on_probe_lost(size);
                    }
                }
                let size = mtu.current();
                if size <= limit {
                    mtu.on_acked(size);
                } else {
                    mtu.on_lost(size, now);
                }
                mtu.on_acked(60);
                prop_assert!((FLOOR..=max.max(FLOOR)).contains(&mtu.current()));
            }
            // 20,000 s: bad luck spoils a search with three probes or more, so at most 20 of them; the rest were clean.
            prop_assert!(mtu.current() <= ceiling);
            prop_assert!(ceiling - mtu.current() <= PRECISION, "{} of {ceiling}", mtu.current());
        }
    }
}
