//! Random walks: a list of named operations among faults of every kind, watched by the [`Oracle`](super::oracle::Oracle) at every step;
//! then all that can heal heals, and the room must be one again within ten seconds.
//!
//! `WALKS=100000` walks further than the two thousand of the test command.

use super::oracle::Rule;
use super::world::Weather;
use super::{World, check};
use crate::node::room::RoomId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::io::Write as _;

#[derive(Clone, Debug)]
enum Operation {
    Say(usize),
    Join(usize),
    Quit(usize),
    Crash(usize),
    Restart(usize),
    Cut(usize, usize),
    CutWay(usize, usize),
    /// Whose bits differ cannot hear each other.
    Split(u64),
    Heal(usize, usize),
    HealAll,
    Pause(usize),
    Resume(usize),
    Wait(u64),
}

use Operation::{Crash, Cut, CutWay, Heal, HealAll, Join, Pause, Quit, Restart, Resume, Say, Split, Wait};

/// A walk, all of it.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    nodes: usize,
    /// Those who are in the room when it begins; the others come in during it.
    members: usize,
    weather: Weather,
    operations: Vec<Operation>,
}

impl Plan {
    fn new(seed: u64, cuts: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0xa5a5);
        let nodes = match rng.random_range(0..100) {
            0..80 => rng.random_range(3..=6),
            80..97 => rng.random_range(7..=12),
            _ => rng.random_range(13..=50),
        };
        let members = nodes - rng.random_range(0..=nodes / 3);
        let weather = if rng.random_bool(0.5) {
            Weather::CALM
        } else {
            let (delay, loss) = (rng.random_range(1..200), rng.random_range(0..=30));
            Weather { delay: (1, delay), loss, give_up: (1, 30), replay: rng.random_range(0..=100), ..Weather::CALM }
        };
        let mut gone = 0;
        let operations = (0..30 + nodes / 3).map(|_| {
            let (who, other) = (rng.random_range(0..nodes), rng.random_range(0..nodes));
            match rng.random_range(0..24) {
                0..=7 => Say(who),
                8 => Join(who),
                9 if gone < nodes / 2 => {
                    gone += 1;
                    Quit(who)
                }
                10 | 11 if gone < nodes / 2 => {
                    gone += 1;
                    Crash(who)
                }
                12 => Restart(who),
                13 | 14 if cuts && who != other => Cut(who, other),
                15 if cuts && who != other => CutWay(who, other),
                16 if cuts && rng.random_bool(0.3) => Split(rng.random()),
                17 if cuts && who != other => Heal(who, other),
                18 if cuts && rng.random_bool(0.3) => HealAll,
                19 => Pause(who),
                20 | 21 => Resume(who),
                _ => Wait([1, 3, 10, 200, 1200, 4000, 15_000][rng.random_range(0..7)]),
            }
        });
        let operations = operations.collect();
        Self { seed, nodes, members, weather, operations }
    }
}

/// Walks. What was broken, if anything, and what happened on the way.
fn walk(plan: &Plan) -> (Result<(), String>, BTreeMap<&'static str, u64>) {
    let mut world = World::room_of_some(plan.seed, plan.nodes, plan.members);
    world.weather = plan.weather;
    let room = world.peers[0].room.view().room;
    let mut result = wander(&mut world, plan, room);
    if result.is_ok() {
        result = meet(&mut world, room);
    }
    let result = result.map_err(|words| format!("{words}{}", world.picture()));
    (result, world.oracle.counts)
}

fn wander(world: &mut World, plan: &Plan, room: RoomId) -> Result<(), String> {
    let mut count = 0;
    for operation in &plan.operations {
        match *operation {
            Say(who) if world.is_running(who) => {
                count += 1;
                world.oracle.count("lines said");
                world.say(who, &format!("{who}/{count}"));
            }
            Join(who) if world.is_running(who) && world.peers[who].room.view().entries.len() == 1 => {
                let inside = |host: &usize| world.is_running(*host) && world.peers[*host].room.view().room == room;
                if let Some(host) = (0..plan.nodes).find(|host| *host != who && inside(host)) {
                    world.oracle.count("joins");
                    world.join(who, host);
                }
            }
            Quit(who) if world.is_running(who) => {
                world.oracle.count("quits");
                world.quit(who);
            }
            Crash(who) if world.peers[who].alive => {
                world.oracle.count("crashes");
                world.crash(who);
            }
            Restart(who) if !world.peers[who].alive || world.peers[who].left => {
                world.oracle.count("restarts");
                world.restart(who);
            }
            Cut(a, b) => world.cut(a, b),
            CutWay(from, to) => {
                world.oracle.count("cuts in one direction");
                world.cut_way(from, to);
            }
            Split(sides) => {
                world.oracle.count("splits");
                let side = |who: usize| sides >> (who % 64) & 1;
                let pairs = (0..plan.nodes).flat_map(|a| (0..a).map(move |b| (a, b)));
                pairs.filter(|(a, b)| side(*a) != side(*b)).for_each(|(a, b)| world.cut(a, b));
            }
            Heal(a, b) => world.heal(a, b),
            HealAll => world.heal_all(),
            Pause(who) if world.peers[who].alive => {
                world.oracle.count("pauses");
                world.pause(who);
            }
            Resume(who) if world.peers[who].alive => world.resume(who),
            Wait(ms) => world.run(ms),
            _ => {}
        }
        for who in 0..plan.nodes {
            world.oracle.look_at_caps(who, &world.peers[who].room);
        }
        check(world)?;
    }
    Ok(())
}

/// The last fault is over.
pub(super) fn meet(world: &mut World, room: RoomId) -> Result<(), String> {
    world.calm();
    world.run(10_000);
    check(world)?;
    let rooms = world.rooms().into_iter();
    // Who never came in, or came back without having asked again, leads a room of its own.
    let rooms: Vec<Vec<usize>> = rooms.filter(|members| world.peers[members[0]].room.view().room == room).collect();
    let Some(members) = rooms.first().cloned() else { return Ok(()) };
    let whole = |who: &usize| world.peers[*who].room.view().entries.len() == members.len();
    if rooms.len() > 1 || !members.iter().all(whole) {
        world.oracle.break_rule(Rule::OneRoom, format!("after 10 s there are {rooms:?}"));
        return check(world);
    }
    for who in &members {
        world.say(*who, &format!("{who}/last"));
    }
    world.run(1000);
    world.oracle.count("rooms that are one in the end");
    world.oracle.look_at_losses(room, &members, &world.peers);
    check(world)
}

/// The first rule that a walk breaks.
pub(super) fn broken_by(seed: u64) -> Option<Rule> {
    let plan = Plan::new(seed, seed >= 100_000);
    let mut world = World::room_of_some(plan.seed, plan.nodes, plan.members);
    world.weather = plan.weather;
    let room = world.peers[0].room.view().room;
    let _ = wander(&mut world, &plan, room).and_then(|()| meet(&mut world, room));
    world.oracle.broken.first().map(|(rule, _)| *rule)
}

/// How many walks of either kind.
fn seeds() -> u64 {
    std::env::var("WALKS").ok().and_then(|walks| walks.parse().ok()).unwrap_or(1000)
}

fn walks(seeds: std::ops::Range<u64>, cuts: bool) -> BTreeMap<&'static str, u64> {
    let (total, mut counts, mut failures) = (seeds.end - seeds.start, BTreeMap::new(), Vec::new());
    for seed in seeds {
        let plan = Plan::new(seed, cuts);
        let (result, happened) = walk(&plan);
        for (what, count) in happened {
            *counts.entry(what).or_default() += count;
        }
        if let Err(error) = result {
            failures.push((plan, error));
        }
    }
    if let Some((plan, error)) = failures.first() {
        for (plan, error) in &failures {
            println!("{} of {}: {}", plan.seed, plan.nodes, error.lines().next().unwrap_or_default());
        }
        panic!("seed {}: {error}\n{plan:?}\n{} of {total} failed", plan.seed, failures.len());
    }
    counts
}

/// What the walks went through, on the terminal whether the test passes or not; and it must be everything.
fn exercised(walks: u64, counts: &BTreeMap<&'static str, u64>, must: &[&str]) {
    let table: Vec<String> = counts.iter().map(|(what, count)| format!("  {count:>9} {what}")).collect();
    let _ = writeln!(std::io::stderr(), "{walks} walks, no rule broken\n{}", table.join("\n"));
    for what in must {
        assert!(counts.get(what).is_some_and(|count| *count > 0), "the walks never had {what}");
    }
}

const ALWAYS: [&str; 10] = [
    "lines said",
    "joins",
    "quits",
    "crashes",
    "restarts",
    "pauses",
    "take-overs",
    "hand-overs",
    "orders compared",
    "rooms that are one in the end",
];

const WITH_CUTS: [&str; 9] = [
    "cuts in one direction",
    "splits",
    "gaps to be filled",
    "lines to be sent again",
    "messages said twice",
    "halves doubted",
    "halves proven",
    "members sent to the other half",
    "members of a smaller half that came over",
];

#[test]
fn whatever_crashes_quits_and_stands_still_the_room_stays_one_and_loses_nothing() {
    let counts = walks(0..seeds(), false);
    exercised(seeds(), &counts, &ALWAYS);
}

#[test]
fn whatever_is_cut_besides_the_halves_find_each_other_again_and_nothing_is_lost() {
    let counts = walks(100_000..100_000 + seeds(), true);
    exercised(seeds(), &counts, &[&ALWAYS[..], &WITH_CUTS[..]].concat());
}

/// Found by walks. Two were given a word under one counter: by a member that asked to be let in, then went with a claimer, and was let in; two
/// that never heard of each other stayed apart; a late view was never sent again; what was said before a newcomer came was never shown; a lone
/// leader was on its way to somebody started anew whenever another proved to lead more.
#[test]
fn seeds_that_found_something() {
    for seed in
        [49, 1288, 100_098, 100_130, 100_158, 100_201, 100_614, 101_229, 104_197, 105_093, 106_526, 108_729, 109_316]
    {
        assert_eq!(broken_by(seed), None, "{seed}");
    }
}

/// One walk, by `SEED=7` (from 100,000 on: with cuts), and all that was said about it.
#[test]
#[ignore = "for looking at a seed by hand"]
fn one_seed() {
    let seed = std::env::var("SEED").unwrap().parse().unwrap();
    walks(seed..seed + 1, seed >= 100_000);
}
