//! Rooms of a hundred and of a thousand that lose their supernode. Each node's uplink carries 20 Mbit/s, and its links take 20 ms.

use super::super::parts::Standing;
use super::super::sequencer::Follower;
use super::super::telling::Has;
use super::super::view::{Entry, Reason};
use super::super::*;
use super::World;
use super::world::Weather;
use crate::node::api::Event;
use crate::time::{Duration, Instant};
use std::collections::BTreeSet;

/// Bytes a second: a home's.
const UPLINK: u64 = 20_000_000 / 8;

/// `n` nodes that have been one room for a while, led by node 0. They did not come in one by one: that each of a thousand newcomers
/// verifies the signatures of all before it takes a minute here.
fn gathered(seed: u64, n: usize) -> World {
    let config = RoomConfig { local: true, ..RoomConfig::default() };
    let mut world = World::new(seed, n, &config);
    world.weather = Weather { delay: (20, 20), uplink: UPLINK, ..Weather::CALM };
    let records: Vec<_> = world.peers.iter().map(|peer| (peer.room.record.clone(), peer.address.ip())).collect();
    let leader = &mut world.peers[0].room;
    for (record, ip) in records.into_iter().skip(1) {
        leader.view.admitted += 1;
        let rank = leader.rank_of(Instant::ZERO, &record, leader.view.admitted);
        leader.view.entries.push(Entry { record, rank, seen: Some(ip) });
    }
    leader.view.sort();
    leader.view.number += 1;
    let view = leader.view.clone();
    let name = leader.published.begin(&view, Reason::First);
    for id in view.ids().skip(1) {
        let follower = Follower { has: Has::View(name), answered: Some(Instant::ZERO), ..Follower::new(Instant::ZERO) };
        leader.sequencer.followers.insert(id, follower);
    }
    for who in 0..n {
        let id = world.peers[who].id;
        world.oracle.admit(view.room, id);
        if who > 0 {
            let room = &mut world.peers[who].room;
            room.view = view.clone();
            room.standing = Standing::Following;
            room.detector.on_heard(Instant::ZERO, view.epoch.supernode);
        }
    }
    for who in 1..n {
        (0..who.min(4)).for_each(|ahead| world.linked(who, ahead, DialNumber(u64::MAX), None));
    }
    world.run(3000);
    assert_eq!(world.rooms().len(), 1);
    let busy = world.peers.iter().filter(|peer| peer.idle > world.now + Duration::from_millis(100)).count();
    assert_eq!(busy, 0, "somebody has more to say than its uplink carries: {:?}", world.sent);
    world
}

fn has_shown(world: &World, who: usize, wanted: &str) -> bool {
    let shown = |event: &Event| matches!(event, Event::Chat { text, .. } if text == wanted);
    world.peers[who].events.iter().rev().any(shown)
}

/// Runs until it is so; how long that took.
fn until(world: &mut World, most: Duration, so: impl Fn(&World) -> bool) -> Duration {
    let begin = world.now;
    while !so(world) {
        assert!(
            world.now.saturating_since(begin) < most,
            "{:?}",
            world.rooms().iter().map(Vec::len).collect::<Vec<_>>()
        );
        world.run(50);
    }
    world.now.saturating_since(begin)
}

/// The supernode dies. Everybody who is left follows one of them, knows who is there, and shows what a few of them say.
fn back_after_a_crash(n: usize, most: Duration) {
    let started = cpu();
    let mut world = gathered(700 + n as u64, n);
    let built = cpu() - started;
    let before = world.sent.clone();
    // Nobody is told: its packets just end.
    world.vanish(0);
    let alive: Vec<usize> = (1..n).collect();
    let followed = until(&mut world, most, |world| {
        let epoch = world.peers[1].room.view().epoch;
        let follows = |who: &usize| {
            let room = &world.peers[*who].room;
            room.view().epoch == epoch && room.view().entries.len() == n - 1
        };
        epoch.supernode != world.peers[0].id && alive.iter().all(follows)
    });
    let speakers = [1, n / 2, n - 1];
    speakers.iter().for_each(|who| world.say(*who, &format!("{who} is back")));
    let heard = until(&mut world, most, |world| {
        alive.iter().all(|who| speakers.iter().all(|one| has_shown(world, *who, &format!("{one} is back"))))
    });
    let total = followed + heard;
    let new = world.peers.iter().position(|peer| peer.alive && peer.room.is_supernode()).unwrap();
    println!(
        "{n} members: followed after {followed:?}, lines after {heard:?} more; CPU {:?} (before: {built:?})",
        cpu() - started - built
    );
    for ((_, kind), (messages, bytes)) in world.sent.iter().filter(|((who, _), _)| *who == new) {
        let (messages_before, bytes_before) = before.get(&(new, *kind)).copied().unwrap_or_default();
        println!("  the new supernode: {} {kind}, {} bytes", messages - messages_before, bytes - bytes_before);
    }
    println!("  {:?}", world.oracle.counts);
    assert!(total <= most, "{total:?}");
    assert_eq!(super::check(&world), Ok(()));
    // And it stays so.
    world.run(5000);
    let leaders: BTreeSet<_> = alive.iter().map(|who| world.peers[*who].room.view().epoch).collect();
    assert_eq!(leaders.len(), 1);
}

/// What this thread took so far, if the system says.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

#[test]
fn a_hundred_members_are_back_within_five_seconds() {
    back_after_a_crash(100, Duration::from_secs(5));
}

#[test]
fn a_thousand_members_are_back_within_ten_seconds() {
    back_after_a_crash(1000, Duration::from_secs(10));
}
