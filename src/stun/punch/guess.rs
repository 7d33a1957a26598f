//! In which order ports are tried: each once, all of them in the end, and nobody else knows the order.

use crate::stun::punch::plan::Pool;

/// Ports that NATs give by number or by chance begin here (RFC 4787 §4.2.1 tells the "well-known" ones from the others).
const FIRST_PORT: i64 = 1024;

/// How many there are from there on.
const PORTS: i64 = 65_536 - FIRST_PORT;

/// A pool's ports in an order that a seed decides.
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
        let half = (seed >> 32) as u32;
        // Near the golden section of the pool: neighbours in the order are far from each other in the pool.
        let about = (f64::from(ports) * 0.618) as u32;
        let spread = (ports / 8).max(1);
        let begin = about.saturating_add(half % spread) % ports.max(1);
        let stride = (begin..ports).chain(1..=begin).find(|stride| gcd(*stride, ports) == 1).unwrap_or(1);
        Self { pool, stride, offset: seed as u32 % ports }
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
