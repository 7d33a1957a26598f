//! From the outside ports of sockets that were opened one after the other to the policy that chose them.
//!
//! **Kept**: three quarters of the ports at least are those inside (a port that another host has cannot be kept).
//!
//! **Sequential**: nearly all differences between neighbours have one sign. Others may take any number of ports in between; what remains
//! is the order, in which sixteen random ports come, with two exceptions at most, once in 250,000 times. The step is the largest number by
//! which nine tenths of the differences can be divided: others make them multiples of it.
//!
//! **Random**: everything else. The pool is estimated from the smallest and the largest port. Of n samples of a pool of P ports, the range
//! R = max − min + 1 is R/P = W with the distribution Beta(n − 1, 2), of which the mean is (n − 1)/(n + 1).
//! * If R fits a power of two S so well that W = R/S is not below the first percentile, the pool is taken to have S ports, as pools do
//!   that are given out as blocks (RFC 7422, RFC 8512), and reaches as far down and up as S allows: from max − S + 1 to min + S − 1. Blocks are
//!   often aligned to their size too; that is not used, because an unaligned pool's samples fall into one aligned block by chance once in
//!   nine times (n = 16).
//! * If not, the range is widened on each side by m·R, where (1 + m)^−(n − 1) = 0.5 %: that is how often the pool reaches further on that side.
//! * Ports below 1024 are taken to be no part of a pool in which none was seen (RFC 4787 §4.2.1).

use crate::stun::fingerprint::Ports;

/// Below so many samples nothing is said.
pub(super) const ENOUGH: usize = 8;

/// The smallest pool that is taken for a block.
const SMALLEST_BLOCK: u32 = 64;

/// Neighbours that are further apart have nothing to do with each other.
const MAX_JUMP: i32 = 2048;

/// The largest step that is looked for.
const MAX_STEP: i32 = 1024;

/// The share of pools that reach beyond what is said, at most.
const MISSED: f64 = 0.01;

/// The first port that is no "well-known" one.
const FIRST_PORT: u16 = 1024;

/// The port of a fresh socket inside and outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) inside: u16,
    pub(super) outside: u16,
    /// Whether the first packet made the mapping, so that its place in the order is known.
    pub(super) in_order: bool,
}

/// The policy by which these ports were chosen, in the order in which the sockets asked. `None`: there are too few.
pub(super) fn classify(samples: &[Sample]) -> Option<Ports> {
    if samples.len() < ENOUGH {
        return None;
    }
    let kept = samples.iter().filter(|sample| sample.inside == sample.outside).count();
    if kept.saturating_mul(4) >= samples.len().saturating_mul(3) {
        return Some(Ports::Kept);
    }
    let in_order: Vec<u16> = samples.iter().filter(|sample| sample.in_order).map(|sample| sample.outside).collect();
    if let Some(step) = step(&in_order) {
        return Some(Ports::Sequential { step });
    }
    let outside: Vec<u16> = samples.iter().map(|sample| sample.outside).collect();
    pool(&outside)
}

/// The step of a counter that gave these ports, if one did.
fn step(ports: &[u16]) -> Option<i16> {
    // So that chance passes once in 10,000 times at most.
    let exceptions = match ports.len() {
        0..ENOUGH => return None,
        ENOUGH..12 => 0,
        12..15 => 1,
        _ => 2,
    };
    let differences: Vec<i32> =
        ports.iter().zip(ports.iter().skip(1)).map(|(one, next)| i32::from(*next) - i32::from(*one)).collect();
    [1, -1].into_iter().find_map(|sign| {
        let ahead: Vec<i32> = differences
            .iter()
            .map(|difference| difference * sign)
            .filter(|ahead| (1..=MAX_JUMP).contains(ahead))
            .collect();
        if differences.len().saturating_sub(ahead.len()) > exceptions {
            return None;
        }
        let divides = |step: &i32| {
            let multiples = ahead.iter().filter(|ahead| *ahead % step == 0).count();
            multiples.saturating_mul(10) >= ahead.len().saturating_mul(9)
        };
        i16::try_from(sign * (1..=MAX_STEP).rev().find(divides)?).ok()
    })
}

/// The bounds of the pool from which these ports were drawn. `None`: there are none.
pub(super) fn pool(ports: &[u16]) -> Option<Ports> {
    let (min, max) = (ports.iter().min().copied()?, ports.iter().max().copied()?);
    let range = u32::from(max - min) + 1;
    let block = range.next_power_of_two().max(SMALLEST_BLOCK);
    let is_block = f64::from(range) >= f64::from(block) * narrowest(ports.len());
    let (down, up) = if is_block {
        (block - range, block - range)
    } else {
        let margin = (f64::from(range) * margin(ports.len())).ceil();
        // More than all ports is all ports.
        let margin = if margin < 65_536.0 { margin as u32 } else { 65_536 };
        (margin, margin)
    };
    let floor = if min >= FIRST_PORT { FIRST_PORT } else { 1 };
    let lowest = u16::try_from(u32::from(min).saturating_sub(down)).unwrap_or(0).max(floor.min(min));
    let highest = u16::try_from(u32::from(max).saturating_add(up)).unwrap_or(u16::MAX);
    Some(Ports::Random { lowest, highest })
}

/// The share of its pool that n samples span in all but [`MISSED`] of the cases: the quantile of Beta(n − 1, 2), whose distribution is
/// w^(n−1)·(n − (n−1)·w).
fn narrowest(samples: usize) -> f64 {
    let n = samples as f64;
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle: f64 = (low + high) / 2.0;
        let below = middle.powf(n - 1.0) * (n - (n - 1.0) * middle);
        if below < MISSED { low = middle } else { high = middle }
    }
    low
}

/// By how much of the range the pool reaches beyond it on one side, in all but half of [`MISSED`] of the cases.
fn margin(samples: usize) -> f64 {
    let n = samples.max(2) as f64;
    (MISSED / 2.0).powf(-1.0 / (n - 1.0)) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    fn samples(ports: impl IntoIterator<Item = u16>) -> Vec<Sample> {
        let sample = |(at, outside)| Sample { inside: 50_000 - at as u16 * 7, outside, in_order: true };
        ports.into_iter().enumerate().map(sample).collect()
    }

    fn sequential(step: i16) -> Option<Ports> {
        Some(Ports::Sequential { step })
    }

    #[test]
    fn ports_that_are_those_inside_are_kept_even_if_a_few_could_not_be() {
        let mut kept: Vec<Sample> =
            (0..16).map(|at| Sample { inside: 40_000 + at, outside: 40_000 + at, in_order: true }).collect();
        assert_eq!(classify(&kept), Some(Ports::Kept));
        kept.iter_mut().take(4).for_each(|sample| sample.outside = 2000);
        assert_eq!(classify(&kept), Some(Ports::Kept));
    }

    #[test]
    fn a_counter_is_told_by_its_order_and_its_step_by_what_divides_the_differences() {
        assert_eq!(classify(&samples((0..16).map(|at| 3000 + at))), sequential(1));
        assert_eq!(classify(&samples((0..16).map(|at| 3000 + 2 * at))), sequential(2));
        assert_eq!(classify(&samples((0..16).map(|at| 9000 - 4 * at))), sequential(-4));
        // Around the end, and with one that came too late.
        assert_eq!(classify(&samples((0..16).map(|at| if at < 5 { 65_531 + at } else { 1019 + at }))), sequential(1));
        let others = [0, 2, 4, 10, 12, 16, 18, 20, 24, 32, 34, 36, 44, 46, 48, 50];
        assert_eq!(classify(&samples(others.map(|port| 5000 + port))), sequential(2));
        let mut late = samples((0..16).map(|at| 3000 + at));
        late.iter_mut().step_by(5).for_each(|sample| (sample.outside, sample.in_order) = (3100, false));
        assert_eq!(classify(&late), sequential(1));
    }

    /// Ten flows of others a second, sixteen samples in one.
    #[test]
    fn others_do_not_hide_the_step() {
        let mut random = StdRng::seed_from_u64(1);
        for step in [1_u16, 2, 3] {
            for _ in 0..20_000 {
                let mut port = random.random_range(2000..50_000_u16);
                let ports = (0..16).map(|_| {
                    port += step;
                    // As many as come in 60 ms.
                    (0..60).for_each(|_| port += if random.random_bool(0.01) { step } else { 0 });
                    port
                });
                let ports: Vec<u16> = ports.collect();
                assert_eq!(classify(&samples(ports.clone())), sequential(step as i16), "{ports:?}");
            }
        }
    }

    #[test]
    fn chance_looks_like_a_counter_once_in_a_hundred_thousand_times_at_most() {
        let mut random = StdRng::seed_from_u64(2);
        for (count, rounds) in [(8, 20_000), (12, 20_000), (16, 200_000)] {
            let wrong = (0..rounds).filter(|_| {
                let ports: Vec<u16> = (0..count).map(|_| random.random_range(20_000..20_512)).collect();
                step(&ports).is_some()
            });
            let wrong = wrong.count();
            assert!(wrong <= 4, "{wrong} of {rounds} with {count}");
        }
    }

    /// Pools of all sizes that lie anywhere, drawn without replacement as a NAT's are.
    #[test]
    fn the_pool_is_within_the_bounds_in_ninety_nine_of_a_hundred_cases() {
        let mut random = StdRng::seed_from_u64(3);
        for size in [64_u32, 512, 1000, 2048, 3000, 4096, 6000, 28_232, 64_512] {
            for count in [16, 32, 48] {
                let (mut missed, mut widths) = (0, 0_u64);
                const ROUNDS: u32 = 2000;
                for _ in 0..ROUNDS {
                    let begin = random.random_range(1024..=65_536 - size);
                    let mut drawn = std::collections::BTreeSet::new();
                    while drawn.len() < count {
                        drawn.insert(random.random_range(begin..begin + size) as u16);
                    }
                    let drawn: Vec<u16> = drawn.into_iter().collect();
                    let Some(Ports::Random { lowest, highest }) = pool(&drawn) else { panic!() };
                    let covers = u32::from(lowest) <= begin && u32::from(highest) >= begin + size - 1;
                    missed += u32::from(!covers);
                    widths += u64::from(highest - lowest) + 1;
                }
                let width = widths as f64 / f64::from(ROUNDS) / f64::from(size);
                println!("{size:6} by {count}: missed {:.2} %, {width:.2} times as wide", f64::from(missed) / 20.0);
                if size.is_power_of_two() || size == 64_512 {
                    assert!(missed * 100 <= 2 * ROUNDS, "{size} {count}: {missed}");
                    assert!(width < if count == 16 { 1.4 } else { 1.25 }, "{size} {count}: {width}");
                }
            }
        }
    }

    #[test]
    fn a_few_ports_or_odd_ones_are_no_reason_to_fail() {
        assert_eq!(classify(&samples(0..7)), None);
        assert_eq!(pool(&[]), None);
        assert_eq!(pool(&[0]), Some(Ports::Random { lowest: 0, highest: 63 }));
        assert_eq!(pool(&[0, u16::MAX]), Some(Ports::Random { lowest: 0, highest: u16::MAX }));
        assert_eq!(pool(&[u16::MAX; 3]), Some(Ports::Random { lowest: u16::MAX - 14, highest: u16::MAX }));
        assert!(margin(0).is_finite() && narrowest(0).is_finite());
    }
}
