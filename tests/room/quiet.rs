//! Hours in which nobody dies: members that get no processor for five seconds, a supernode that gets none for up to one, on links that lose
//! every twentieth packet, or every tenth. Nobody ever sees another supernode.
//!
//! `QUIET=8h cargo test --test room quiet -- --nocapture` is quiet for that long on either kind of link.

use crate::village::{Village, address};
use anjer::node::Event;
use anjer::time::Duration;
use netem::{Link, Loss};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::io::Write as _;

const MEMBERS: usize = 5;

/// Somebody is starved this often, on average.
const EVERY: Duration = Duration::from_secs(20);

/// How long the test command is quiet: some eight seconds of a processor on either kind of link.
const USUALLY: Duration = Duration::from_secs(3 * 3600);

/// What is asked for: a number, with `s`, `m` or `h` behind it.
fn asked_for() -> Duration {
    let Ok(words) = std::env::var("QUIET") else { return USUALLY };
    let unit = match words.chars().last() {
        Some('h') => 3600,
        Some('m') => 60,
        _ => 1,
    };
    let number: u64 = words.trim_end_matches(['s', 'm', 'h']).parse().expect("QUIET=8h, QUIET=30m or QUIET=600s");
    Duration::from_secs(number * unit)
}

/// Who took over, by what each node told since then.
fn changes(village: &Village, told: &[usize]) -> Vec<(usize, Event)> {
    let of = |one: usize| village.told(one).into_iter().skip(told[one]);
    let changed = |event: &Event| matches!(event, Event::Supernode { .. } | Event::Error { .. } | Event::Alert { .. });
    (0..MEMBERS).flat_map(|one| of(one).filter(changed).map(move |event| (one, event))).collect()
}

fn is_quiet(seed: u64, loss: f64) {
    let (time, mut rng) = (asked_for(), StdRng::seed_from_u64(seed));
    let link = Link { loss: Loss::Independent(loss), ..Link::with_delay(Duration::from_millis(25)) };
    let mut village = Village::with_room(seed, Link { loss: Loss::Never, ..link.clone() }, MEMBERS);
    for from in 0..MEMBERS {
        for to in (0..MEMBERS).filter(|to| *to != from) {
            village.network.set_link(address(from), address(to), link.clone());
        }
    }
    village.run_for(Duration::from_secs(10));
    let told: Vec<usize> = (0..MEMBERS).map(|one| village.told(one).len()).collect();
    let (end, mut starved, mut waited) = (village.network.now() + time, [0_u64; 2], Duration::ZERO);
    while village.network.now() < end {
        let is_supernode = rng.random_bool(0.5);
        let (who, most) = if is_supernode { (0, 1000) } else { (rng.random_range(1..MEMBERS), 5000) };
        // Half of them for as long as may be.
        let ms = if rng.random_bool(0.5) { most } else { rng.random_range(100..=most) };
        village.network.pause(address(who));
        village.run_for(Duration::from_millis(ms));
        village.network.resume(address(who));
        let rest = EVERY.mul_f64(rng.random_range(0.1..2.0));
        village.run_for(rest);
        starved[usize::from(is_supernode)] += 1;
        waited += rest;
        // What is said still comes to everyone.
        if rng.random_bool(0.1) {
            let text = format!("at {}", village.network.now().as_millis());
            village.say(rng.random_range(0..MEMBERS), &text);
            assert!(village.run_until(10, |village| (0..MEMBERS).all(|one| village.has_heard(one, &text))), "{text}");
        }
        let changes = changes(&village, &told);
        assert!(changes.is_empty(), "after {:?}, seed {seed}: {changes:?}", village.network.now());
    }
    let sent = village.network.total().sent;
    let _ = writeln!(
        std::io::stderr(),
        "{} s of quiet at {} % loss: members starved {} times, the supernode {} times, {sent} packets, no change of supernode",
        time.as_secs(),
        loss * 100.0,
        starved[0],
        starved[1],
    );
    assert!(time < Duration::from_secs(300) || starved.iter().all(|times| *times > 5), "{starved:?}");
    assert!(waited > time / 2);
}

#[test]
fn nobody_is_deposed_in_quiet_times_on_links_that_lose_every_twentieth_packet() {
    is_quiet(1, 0.05);
}

#[test]
fn nobody_is_deposed_in_quiet_times_on_links_that_lose_every_tenth_packet() {
    is_quiet(2, 0.1);
}
