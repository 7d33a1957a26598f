//! Random walks over paths: they are cut, healed, added, dropped and asked, while both sides send; then everything works again, and has
//! to be found.

use crate::pair::{pattern, secs};
use crate::trio::{ALICE, BOB, Plan, RELAY, Trio};
use anjer::mrt::{Class, Event};
use anjer::time::Duration;

/// A die that is decided by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(Duration),
    Cut(usize),
    CutOneWay(usize),
    Heal(usize),
    Add,
    Drop(bool),
    Check(bool),
    Say(bool, usize),
}

const PAIRS: [(std::net::SocketAddr, std::net::SocketAddr); 3] = [(ALICE, BOB), (ALICE, RELAY), (BOB, RELAY)];

fn step(dice: &mut Dice) -> Step {
    match dice.roll(14) {
        0..=4 => Step::Wait(Duration::from_millis(1 + dice.roll(1500))),
        5 => Step::Cut(dice.roll(3) as usize),
        6 => Step::CutOneWay(dice.roll(3) as usize),
        7 | 8 => Step::Heal(dice.roll(3) as usize),
        9 | 10 => Step::Add,
        11 => Step::Drop(dice.roll(2) == 0),
        12 => Step::Check(dice.roll(2) == 0),
        _ => Step::Say(dice.roll(2) == 0, 1 + dice.roll(300_000) as usize),
    }
}

fn walk(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut plan = Plan { seed, ..Plan::default() };
    if dice.roll(3) == 0 {
        plan.direct = plan.direct.losing(0.05);
        plan.relay = plan.relay.losing(0.05);
    }
    let steps: Vec<Step> = (0..30).map(|_| step(&mut dice)).collect();
    let mut trio = Trio::new(plan);
    let ends = trio.connected();
    let mut said = Vec::new();
    for step in &steps {
        let now = trio.now();
        match *step {
            Step::Wait(time) => trio.network.run_for(time),
            Step::Cut(pair) => trio.network.cut(PAIRS[pair].0, PAIRS[pair].1),
            Step::CutOneWay(pair) => trio.network.cut_one_way(PAIRS[pair].1, PAIRS[pair].0),
            Step::Heal(pair) => trio.network.heal(PAIRS[pair].0, PAIRS[pair].1),
            Step::Add => drop(trio.party(ALICE).endpoint.add_path(now, ends.alice, BOB.into())),
            Step::Drop(true) => trio.party(ALICE).endpoint.drop_path(now, ends.alice, BOB.into()),
            Step::Drop(false) => trio.party(BOB).endpoint.drop_path(now, ends.bob, ALICE.into()),
            Step::Check(alice) => trio.party(if alice { ALICE } else { BOB }).endpoint.check_paths(now),
            Step::Say(alice, length) => {
                let (who, connection) = if alice { (ALICE, ends.alice) } else { (BOB, ends.bob) };
                let bytes = pattern(said.len() as u64, length);
                let channel = trio.party(who).say(connection, Class::Bulk, bytes.clone());
                said.push((if alice { BOB } else { ALICE }, channel, bytes));
            }
        }
    }
    for (a, b) in PAIRS {
        trio.network.heal(a, b);
    }
    let context = |trio: &mut Trio| {
        let paths = [(ALICE, ends.alice), (BOB, ends.bob)].map(|(who, connection)| trio.paths(who, connection));
        format!("seed {seed}, {steps:?}, {trio:?}, {paths:#?}")
    };
    let deadline = trio.network.now() + secs(90);
    let arrived = trio.network.run_until(deadline, |network| {
        said.iter().all(|(who, channel, _)| network.host(*who).unwrap().whole(*channel).is_some())
    });
    assert!(arrived, "everything arrives: {}", context(&mut trio));
    for (who, channel, bytes) in &said {
        assert!(trio.party(*who).whole(*channel).unwrap() == bytes);
    }
    // What was given up is found again; a trial that began while nothing passed may yet have to fail.
    for _ in 0..2 {
        let now = trio.now();
        let _known = trio.party(ALICE).endpoint.add_path(now, ends.alice, BOB.into());
        trio.network.run_for(secs(10));
    }
    assert_eq!(trio.active(ALICE, ends.alice), BOB.into(), "{}", context(&mut trio));
    assert_eq!(trio.active(BOB, ends.bob), ALICE.into(), "{}", context(&mut trio));
    // And then there is little to say.
    let before = trio.network.total().sent;
    trio.network.run_for(secs(20));
    let sent = trio.network.total().sent - before;
    assert!(sent < 120, "{sent} datagrams in 20 s of silence: {}", context(&mut trio));
    for (who, connection) in [(ALICE, ends.alice), (BOB, ends.bob)] {
        let lost = trio.party(who).events.iter().any(|event| matches!(event, Event::Lost { .. }));
        assert!(!lost, "{}", context(&mut trio));
        let now = trio.now();
        let stats = trio.party(who).endpoint.stats(now, connection).unwrap();
        assert_eq!(stats.in_flight, 0, "{}", context(&mut trio));
    }
}

#[test]
fn whatever_happens_to_the_paths_everything_arrives_and_the_best_one_is_found_again() {
    (1..=500).for_each(walk);
}
