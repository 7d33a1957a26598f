//! Noticing that this machine slept: two clocks, one of which goes on meanwhile.

use super::Surroundings;
use super::teller::{Over, Teller};
use crate::driver::Clock;
use crate::time::{Duration, Instant};

/// How often the clocks are compared, and so how late a wake-up may be noticed.
const TICK: Duration = Duration::from_secs(1);

/// Sleep shorter than this changes nothing that anybody keeps for us: the shortest lifetime of a mapping in use is 20 s.
const SHORTEST_SLEEP: Duration = Duration::from_secs(2);

/// A tick that is late by this much was stopped by something other than a busy machine (a debugger, a paused virtual machine).
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Both clocks, read together.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Stands still while the machine sleeps.
    awake: Instant,
    /// Does not.
    always: Duration,
}

/// Tells of every sleep, until nobody listens. `woke` is called first.
pub(super) async fn run(teller: Teller, clock: Clock, woke: impl Fn()) -> Result<(), Over> {
    let mut before = read(&clock);
    loop {
        tokio::time::sleep(TICK).await;
        let after = read(&clock);
        if let Some(slept) = slept(before, after) {
            woke();
            teller.tell(Surroundings::Woke { slept }).await?;
        }
        before = after;
    }
}

/// The time that passed unnoticed between two readings one tick apart.
fn slept(before: Reading, after: Reading) -> Option<Duration> {
    let awake = after.awake.saturating_since(before.awake);
    let asleep = after.always.saturating_sub(before.always).saturating_sub(awake);
    if asleep >= SHORTEST_SLEEP {
        return Some(asleep);
    }
    let late = awake.saturating_sub(TICK);
    (late >= LONGEST_DELAY).then_some(late)
}

fn read(clock: &Clock) -> Reading {
    Reading { awake: clock.now(), always: always() }
}

/// Time since the system started, sleep included.
#[cfg(target_os = "linux")]
fn always() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Into::into)
}

/// The calendar, which may be set: a wake-up that is noticed once too often costs a few packets.
#[cfg(not(target_os = "linux"))]
fn always() -> Duration {
    Clock::start().unix_at_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(awake: Duration, always: Duration) -> Option<Duration> {
        let before = Reading { awake: Instant::ZERO + Duration::from_secs(7), always: Duration::from_secs(100) };
        slept(before, Reading { awake: before.awake + awake, always: before.always + always })
    }

    #[test]
    fn only_a_gap_is_sleep() {
        let ms = Duration::from_millis;
        assert_eq!(between(ms(1000), ms(1000)), None);
        assert_eq!(between(ms(1300), ms(1301)), None, "a busy machine");
        assert_eq!(between(ms(1000), ms(61_000)), Some(ms(60_000)), "a lid was closed for a minute");
        assert_eq!(between(ms(9000), ms(9000)), Some(ms(8000)), "the process was stopped");
        assert_eq!(between(ms(1000), ms(0)), None, "a clock that cannot be read");
    }

    #[test]
    fn the_clocks_agree_while_nobody_sleeps() {
        let clock = Clock::start();
        let before = read(&clock);
        assert!(before.always > Duration::ZERO);
        assert_eq!(slept(before, read(&clock)), None);
    }
}
