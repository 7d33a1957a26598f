//! Which outside port a mapping gets.

use super::behaviour::Ports;
use core::time::Duration;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

/// The lowest outside port that is given out by number or by chance; those below are kept for inside ports below (RFC 4787 §4.2.1
/// tells "well-known" ports from the others).
pub const FIRST_PORT: u16 = 1024;

/// How many ports there are from [`FIRST_PORT`] on.
pub const PORTS: u16 = u16::MAX - FIRST_PORT + 1;

/// Draws from a random pool before it is searched in order.
const DRAWS: usize = 16;

/// Other users' flows that are drawn one by one. More of them are counted at their average rate, from which they differ little.
const DRAWN_FLOWS: f64 = 4096.0;

/// Where the next port comes from.
#[derive(Clone, Debug)]
pub(super) struct Allocator {
    /// The last port of a sequential NAT, as a distance from [`FIRST_PORT`].
    last: u16,
    /// Where a random pool begins, in 65536ths of the room there is for it.
    pool_at: u16,
    /// When the next flow of somebody else begins.
    next_flow: Option<Duration>,
}

impl Allocator {
    pub(super) fn new(dice: &mut SmallRng) -> Self {
        Self { last: dice.random_range(0..PORTS), pool_at: dice.random(), next_flow: None }
    }

    /// A port that `is_free`, by this policy. `None`: there is none.
    pub(super) fn choose(
        &mut self,
        policy: Ports,
        inside: u16,
        dice: &mut SmallRng,
        is_free: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        match policy {
            Ports::Kept if inside != 0 && is_free(inside) => Some(inside),
            Ports::Kept => draw(0, PORTS, dice, is_free),
            Ports::Sequential { step } => {
                let free = (0..PORTS).find_map(|_| {
                    self.advance(step);
                    Some(FIRST_PORT + self.last).filter(|port| is_free(*port))
                });
                // A step that shares a factor with the number of ports meets only some of them.
                free.or_else(|| draw(0, PORTS, dice, is_free))
            }
            Ports::Random { pool } => {
                let pool = pool.clamp(1, PORTS);
                let room = u32::from(PORTS - pool) + 1;
                let begins = (u32::from(self.pool_at) * room) >> 16;
                draw(u16::try_from(begins).unwrap_or(0), pool, dice, is_free)
            }
        }
    }

    /// Lets other users take what they took until now, at this many flows a second.
    pub(super) fn others(&mut self, policy: Ports, rate: f64, now: Duration, dice: &mut impl Rng) {
        let Ports::Sequential { step } = policy else { return };
        if rate.is_nan() || rate <= 0.0 {
            return;
        }
        let mut next = self.next_flow.unwrap_or_else(|| now + pause(rate, dice));
        let expected = now.saturating_sub(next).as_secs_f64() * rate;
        if expected > DRAWN_FLOWS {
            // The remainder by the number of ports is all that shows.
            (0..(expected % f64::from(PORTS)) as u64).for_each(|_| self.advance(step));
            next = now + pause(rate, dice);
        }
        while next <= now {
            self.advance(step);
            next += pause(rate, dice);
        }
        self.next_flow = Some(next);
    }

    fn advance(&mut self, step: u16) {
        let last = (u32::from(self.last) + u32::from(step.max(1))) % u32::from(PORTS);
        self.last = u16::try_from(last).unwrap_or(0);
    }
}

/// Any free one of `count` ports from `begins` above [`FIRST_PORT`] on.
fn draw(begins: u16, count: u16, dice: &mut SmallRng, is_free: impl Fn(u16) -> bool) -> Option<u16> {
    let port = |offset: u16| FIRST_PORT.saturating_add(begins).saturating_add(offset);
    for _ in 0..DRAWS {
        let candidate = port(dice.random_range(0..count));
        if is_free(candidate) {
            return Some(candidate);
        }
    }
    let start = dice.random_range(0..count);
    (start..count).chain(0..start).map(port).find(|candidate| is_free(*candidate))
}

/// The time to the next of events that come at this rate, each for itself (exponentially distributed; a nanosecond at least, so that
/// time passes at any rate, and a century at most).
fn pause(rate: f64, dice: &mut impl Rng) -> Duration {
    const CENTURY: f64 = 3.15e9;
    let uniform: f64 = dice.random();
    let seconds = -(1.0 - uniform).ln() / rate;
    Duration::from_secs_f64(seconds.clamp(1e-9, CENTURY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::BTreeSet;

    fn allocator(seed: u64) -> (Allocator, SmallRng) {
        let mut dice = SmallRng::seed_from_u64(seed);
        (Allocator::new(&mut dice), dice)
    }

    #[test]
    fn a_port_is_kept_if_it_is_free_and_else_any_free_one_is_taken() {
        let (mut allocator, mut dice) = allocator(1);
        assert_eq!(allocator.choose(Ports::Kept, 80, &mut dice, |_| true), Some(80));
        let other = allocator.choose(Ports::Kept, 5000, &mut dice, |port| port != 5000).unwrap();
        assert!(other >= FIRST_PORT && other != 5000);
        assert_eq!(allocator.choose(Ports::Kept, 5000, &mut dice, |port| port == 7), None);
    }

    #[test]
    fn sequential_ports_go_up_by_the_step_past_what_is_taken_and_around_the_end() {
        let (mut allocator, mut dice) = allocator(2);
        allocator.last = PORTS - 3;
        let policy = Ports::Sequential { step: 2 };
        let taken = FIRST_PORT + 1;
        let ports = [(); 3].map(|()| allocator.choose(policy, 9, &mut dice, |port| port != taken).unwrap());
        assert_eq!(ports, [u16::MAX, FIRST_PORT + 3, FIRST_PORT + 5]);
    }

    #[test]
    fn a_random_pool_has_the_size_that_was_asked_for_and_every_port_of_it_is_used() {
        for pool in [1, 7, 300] {
            let (mut allocator, mut dice) = allocator(u64::from(pool));
            let mut taken = BTreeSet::new();
            while let Some(port) = allocator.choose(Ports::Random { pool }, 9, &mut dice, |port| !taken.contains(&port))
            {
                taken.insert(port);
            }
            assert_eq!(taken.len(), usize::from(pool));
            assert_eq!(taken.last().unwrap() - taken.first().unwrap(), pool - 1);
        }
    }

    #[test]
    fn other_users_take_ports_of_a_sequential_nat_at_their_rate() {
        let (mut allocator, mut dice) = allocator(3);
        let policy = Ports::Sequential { step: 1 };
        allocator.others(policy, 10.0, Duration::ZERO, &mut dice);
        allocator.last = 0;
        for second in 1..=100 {
            allocator.others(policy, 10.0, Duration::from_secs(second), &mut dice);
        }
        // A thousand are expected; four standard deviations of a Poisson distribution are 126.
        assert!((874..1126).contains(&allocator.last), "{}", allocator.last);
        // A day later there is no loop over a day's flows.
        allocator.others(policy, 1e6, Duration::from_secs(86_400), &mut dice);
        assert!(allocator.next_flow.unwrap() > Duration::from_secs(86_400));
    }
}
