//! Noticing that the supernode is lost: soon, and only then.

use super::super::parts::Standing;
use super::world::Weather;
use super::{World, check};
use crate::node::api::{Event, Succession};
use crate::time::Duration;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// 50 ms there and back.
const FAR: Weather = Weather { delay: (25, 25), ..Weather::CALM };

/// The same, and every hundredth packet is lost, or every tenth.
const LOSSY: Weather = Weather { loss: 1, ..FAR };
const BAD: Weather = Weather { loss: 10, ..FAR };

/// A room whose links are like that.
fn room_in(weather: Weather, seed: u64, members: usize) -> World {
    let config = super::super::RoomConfig { local: true, ..Default::default() };
    let mut world = World::new(seed, members, &config);
    world.weather = Weather { give_up: (30, 30), ..weather };
    for index in 1..members {
        world.join(index, 0);
        world.run(if members > 8 { 60 } else { 500 });
    }
    world.run(6000);
    assert_eq!(world.assert_leader(), 0);
    world
}

fn changes(world: &World, who: usize) -> usize {
    let changed = |event: &&Event| {
        matches!(event, Event::Supernode { reason: Succession::Lost | Succession::Quit | Succession::Merged, .. })
    };
    world.peers[who].events.iter().filter(changed).count()
}

fn nobody_noticed(world: &World, seed: u64) {
    for who in 0..world.peers.len() {
        assert_eq!(changes(world, who), 0, "seed {seed}, node {who}: {}", world.picture());
        assert_eq!(world.peers[who].room.view().entries.len(), world.peers.len(), "seed {seed}, node {who}");
    }
}

/// A supernode may get no processor for a second, again and again, on good and bad links: its heartbeat is heard again before anybody claims.
#[test]
fn a_supernode_that_is_starved_for_a_second_is_not_deposed() {
    for seed in 0..24 {
        let mut rng = StdRng::seed_from_u64(seed);
        let weather = [FAR, LOSSY, BAD][seed as usize % 3];
        let mut world = room_in(weather, 7000 + seed, 3 + seed as usize % 4);
        for _ in 0..40 {
            world.pause(0);
            world.run(if rng.random_bool(0.5) { 1000 } else { rng.random_range(300..=1000) });
            world.resume(0);
            world.run(rng.random_range(500..4000));
        }
        world.run(5000);
        nobody_noticed(&world, seed);
        check(&world).unwrap();
    }
}

/// A member that stood still for five seconds suspects itself, not the supernode, and is a member still.
#[test]
fn members_that_are_starved_for_five_seconds_depose_nobody_and_stay_members() {
    for seed in 0..24 {
        let mut rng = StdRng::seed_from_u64(seed);
        let weather = [FAR, LOSSY, BAD][seed as usize % 3];
        let members = 3 + seed as usize % 4;
        let mut world = room_in(weather, 7100 + seed, members);
        for _ in 0..20 {
            let who = rng.random_range(1..members);
            world.pause(who);
            world.run(rng.random_range(400..=5000));
            world.resume(who);
            world.run(rng.random_range(500..4000));
        }
        world.run(5000);
        nobody_noticed(&world, seed);
        check(&world).unwrap();
    }
}

/// From silence to when the next line that is said is everywhere, in milliseconds.
fn until_next_line(mut world: World, lost: &[usize], speaker: usize, phase: u64) -> u64 {
    world.run(phase);
    lost.iter().for_each(|who| world.isolate(*who));
    let at = world.now;
    world.run(50);
    world.say(speaker, "next");
    let rest: Vec<usize> = (0..world.peers.len()).filter(|who| !lost.contains(who)).collect();
    while !rest.iter().all(|who| world.lines(*who) == ["next"]) {
        world.run(5);
        assert!(world.now.saturating_since(at) < Duration::from_secs(20), "{}", world.picture());
    }
    check(&world).unwrap();
    u64::try_from(world.now.saturating_since(at).as_millis()).unwrap()
}

fn percentiles(mut times: Vec<u64>) -> (u64, u64) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 95 / 100])
}

/// Nothing is heard of it any more, not even that nobody listens there.
#[test]
fn when_the_supernode_is_gone_the_next_line_is_everywhere_within_a_second_and_a_half() {
    let times = (0..40).map(|seed| {
        let world = room_in(LOSSY, 7200 + seed, 4);
        until_next_line(world, &[0], 2, seed * 37 % 400)
    });
    let (half, most) = percentiles(times.collect());
    assert!(half <= 1500 && most <= 3000, "p50 {half} ms, p95 {most} ms");
}

#[test]
fn when_the_first_in_line_is_gone_too_it_takes_a_second_longer() {
    let times = (0..20).map(|seed| until_next_line(room_in(LOSSY, 7300 + seed, 4), &[0, 1], 3, seed * 37 % 400));
    let (half, most) = percentiles(times.collect());
    assert!(half <= 2500 && most <= 5000, "p50 {half} ms, p95 {most} ms");
}

/// Heartbeats are rarer in larger rooms, and what is promised is five seconds.
#[test]
fn a_room_of_thirty_goes_on_within_five_seconds() {
    for seed in 0..3 {
        let took = until_next_line(room_in(LOSSY, 7400 + seed, 30), &[0], 20, seed * 97);
        assert!(took <= 5000, "{took} ms");
    }
}

/// Nobody has given its word yet when the supernode is heard again.
#[test]
fn whoever_claims_and_hears_the_supernode_gives_up() {
    let mut world = World::room_of(7500, 4);
    for other in [2, 3] {
        world.cut(1, other);
    }
    world.call(1, |room, now| room.claim(now));
    assert!(matches!(world.peers[1].room.standing, Standing::Claiming(_)));
    world.run(300);
    assert!(matches!(world.peers[1].room.standing, Standing::Following));
    world.heal_all();
    world.run(5000);
    nobody_noticed(&world, 7500);
}

/// By then others were asked, and two of three had an answer on the way.
#[test]
fn witnesses_are_asked_while_the_silence_lasts() {
    let mut world = room_in(FAR, 7600, 4);
    world.isolate(0);
    world.run(800);
    assert!((1..4).all(|who| world.peers[who].room.doubts_supernode()));
    assert!((1..4).all(|who| matches!(world.peers[who].room.standing, Standing::Following)));
    world.heal_all();
    world.run(300);
    assert!((1..4).all(|who| !world.peers[who].room.doubts_supernode()), "it is heard");
    nobody_noticed(&world, 7600);
}
