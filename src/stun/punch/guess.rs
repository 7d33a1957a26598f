//! In which order ports are tried: each once, all of them in the end, and nobody else knows with which it begins.

use crate::stun::punch::plan::Pool;

/// Ports that NATs give by number or by chance begin here (RFC 4787 §4.2.1 tells the "well-known" ones from the others).
const FIRST_PORT: i64 = 1024;

/// How many there are from there on.
const PORTS: i64 = 65_536 - FIRST_PORT;

/// A pool's ports, in an order of which every beginning is spread evenly over the pool, from a place that a seed decides: a NAT that counts
/// has its ports side by side, and one that draws them has them in no place more than in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffled {
    pool: Pool,
    /// Has no factor in common with the number of ports, so that its multiples meet each of them once.
    stride: u32,
    offset: u32,
}

impl Shuffled {
    /// The order that `seed` decides.
    pub fn new(pool: Pool, seed: u64) -> Self {
        let ports = pool.len();
        // The golden section: no other stride keeps the gaps so even at every length (three-gap theorem; Knuth, TAOCP 3, §6.4). Near
        // a simple fraction, as two thirds, long beginnings stay in few places.
        let golden = (f64::from(ports) * 0.618_034).round() as u32;
        let stride = (0..ports).flat_map(|away| [golden.saturating_sub(away), golden.saturating_add(away)]);
        let stride = stride.filter(|stride| (1..ports).contains(stride)).find(|stride| gcd(*stride, ports) == 1);
        Self { pool, stride: stride.unwrap_or(1), offset: (seed % u64::from(ports)) as u32 }
    }

    /// The port in this place of the order, which repeats after the last one.
    pub fn port(&self, place: u32) -> u16 {
        let ports = u64::from(self.pool.len());
        let at = (u64::from(place) * u64::from(self.stride) + u64::from(self.offset)) % ports;
        self.pool.lowest.saturating_add(u16::try_from(at).unwrap_or(0))
    }
}

/// The port that a counting NAT gives as the `nth` after `last`, past the end of all ports if need be.
pub fn after(last: u16, step: i16, nth: u32) -> u16 {
    let moved = i64::from(last) - FIRST_PORT + i64::from(step) * i64::from(nth);
    u16::try_from(moved.rem_euclid(PORTS) + FIRST_PORT).unwrap_or(u16::MAX)
}

/// How many steps lie between two ports of a counting NAT, if the second came later.
pub fn steps_between(earlier: u16, later: u16, step: i16) -> u32 {
    if step == 0 {
        return 0;
    }
    let distance = (i64::from(later) - i64::from(earlier)) * i64::from(step.signum());
    u32::try_from(distance.rem_euclid(PORTS) / i64::from(step.unsigned_abs())).unwrap_or(0)
}

/// Where two series of probes cross, between two NATs that count.
///
/// One end's probe `i` goes to the other one's port `i` steps after the last that was seen, and leaves from its own port `i + α`, since
/// others took α ports in between. If the other end did the same (`j`, `β`), they would meet only if α + β were 0. It takes
/// longer steps instead, so that probe by probe it tests another sum: `j + ⌊(j − 1) / 2⌋` tests 0, 0, 1, 1, 2, 2 …, each twice because
/// packets get lost. As long as others are slower than we are, the sum that is tested catches up with the true one and cannot jump over it.
pub const fn crossing(nth: u32, stretched: bool) -> u32 {
    if stretched { nth.saturating_add(nth.saturating_sub(1) / 2) } else { nth }
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Two hundred sockets behind a NAT that counts, by ones and by twos, wherever it is: what is cast at all ports hits some of them. That
    /// held for most seeds alone when the stride could come near two thirds.
    #[test]
    fn the_first_ports_of_the_order_leave_no_wide_gap() {
        let all = Pool { lowest: 1024, highest: u16::MAX };
        for seed in 0..200_u64 {
            let order = Shuffled::new(all, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut first: Vec<u16> = (0..1_400).map(|place| order.port(place)).collect();
            first.sort_unstable();
            for parity in [0, 1] {
                let every_second: Vec<u16> = first.iter().copied().filter(|port| port % 2 == parity).collect();
                let widest = |ports: &[u16]| ports.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
                assert!(widest(&first) < 100 && widest(&every_second) < 400, "seed {seed}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_port_of_a_pool_comes_once_before_any_comes_again(lowest in 1_u16.., size in 0_u16..2000, seed in any::<u64>()) {
            let pool = Pool { lowest, highest: lowest.saturating_add(size) };
            let order = Shuffled::new(pool, seed);
            let ports: BTreeSet<u16> = (0..pool.len()).map(|place| order.port(place)).collect();
            prop_assert_eq!(ports.len() as u32, pool.len());
            prop_assert!(ports.iter().all(|port| (pool.lowest..=pool.highest).contains(port)));
            prop_assert_eq!(order.port(pool.len()), order.port(0));
        }

        #[test]
        fn steps_lead_to_where_they_were_counted_to(last in 1024_u16.., step in prop::sample::select(vec![1_i16, 2, 5, -1, -3]), nth in 0_u32..1000) {
            prop_assert_eq!(steps_between(last, after(last, step, nth), step), nth);
        }

        /// Two NATs that count: others take ports before the series begin and, more slowly than the probes, while they run.
        #[test]
        fn two_series_cross_whatever_others_took(before in (0_u32..6, 0_u32..6), meanwhile in prop::collection::vec(any::<(bool, bool)>(), 64)) {
            // Every eighth probe, somebody else may take a port too.
            let own_ports = |mut port: u32, pick: fn(&(bool, bool)) -> bool| -> Vec<u32> {
                meanwhile.iter().enumerate().map(|(at, others)| {
                    port += 1 + u32::from(at % 8 == 7 && pick(others));
                    port
                }).collect()
            };
            let a = own_ports(before.0, |others| others.0);
            let b = own_ports(before.1, |others| others.1);
            let meets = (1..=64).any(|i| (1..=64).any(|j| {
                let (from_a, from_b) = (a[i as usize - 1], b[j as usize - 1]);
                crossing(i, false) == from_b && crossing(j, true) == from_a
            }));
            prop_assert!(meets, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_quiet_pair_meets_at_the_first_probe() {
        assert_eq!((crossing(1, false), crossing(1, true)), (1, 1));
    }

    #[test]
    fn after_the_last_port_comes_the_first() {
        assert_eq!((after(65_535, 1, 1), after(65_535, 2, 1), after(1024, -1, 1)), (1024, 1025, 65_535));
    }
}
