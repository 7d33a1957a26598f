//! Who comes next: whom the others reach without the supernode, and whose program does not crash.

use super::super::message::Reaches;
use super::super::warm::Way;
use super::{World, check};
use crate::node::api::Event;

/// Everybody but the supernode, in order of succession, as node `who` knows it.
fn line(world: &World, who: usize) -> Vec<usize> {
    world.peers[who].room.view().successors().map(|id| world.index_of(id)).collect()
}

fn explained(world: &World, who: usize, of: usize) -> String {
    let (ranking, _) = world.peers[who].room.why();
    let id = world.peers[of].id;
    ranking.into_iter().find(|rank| rank.id == id).unwrap().terms.join(" ")
}

/// Node 1 has been there longest, and if the supernode dies it is no use to anybody: nobody has a way to it.
#[test]
fn whoever_is_not_reached_without_the_supernode_does_not_come_next() {
    let mut world = World::room_of(8000, 5);
    world.run(15_000);
    assert_eq!(line(&world, 3), [1, 2, 3, 4]);
    for other in 2..5 {
        world.cut(1, other);
    }
    world.run(20_000);
    for who in 0..5 {
        assert_eq!(line(&world, who), [2, 3, 4, 1], "node {who}");
        assert!(explained(&world, who, 1).contains("reached=0/4"), "{}", explained(&world, who, 1));
        assert!(explained(&world, who, 3).contains("reached=4/4"), "{}", explained(&world, who, 3));
    }
    world.crash(0);
    world.run(3000);
    assert_eq!(world.peers[3].room.view().epoch.supernode, world.peers[2].id);
    world.heal_all();
    world.run(15_000);
    assert_eq!(world.assert_leader(), 2);
    check(&world).unwrap();
}

/// A way that comes and goes moves nobody, one that stays away does, and so does one that is back for good.
#[test]
fn a_way_that_flickers_moves_nobody() {
    let mut world = World::room_of(8001, 4);
    world.run(15_000);
    let first = world.peers[1].id;
    let set = |world: &mut World, way| {
        for who in [2, 3] {
            world.call(who, |room, now| room.handle_way(now, first, way));
        }
    };
    let numbers = |world: &World| world.peers[0].room.view().number;
    let before = numbers(&world);
    for _ in 0..20 {
        set(&mut world, None);
        world.run(2000);
        set(&mut world, Some(Way::Direct));
        world.run(1000);
    }
    assert_eq!((line(&world, 3), numbers(&world)), (vec![1, 2, 3], before));
    set(&mut world, None);
    world.run(8000);
    assert_eq!(line(&world, 3), [2, 3, 1]);
    set(&mut world, Some(Way::Direct));
    world.run(2500);
    assert_eq!(line(&world, 3), [2, 3, 1], "not yet");
    world.run(5000);
    assert_eq!(line(&world, 3), [1, 2, 3]);
}

/// All are kept together by node 3, whom alone all reach directly. Should it lead, nothing has to be passed on.
#[test]
fn whoever_is_reached_directly_comes_before_those_who_are_passed_on() {
    let mut world = World::room_of(8002, 4);
    let ids: Vec<_> = world.peers.iter().map(|peer| peer.id).collect();
    for (a, b) in [(1, 2), (2, 1)] {
        world.call(a, |room, now| room.handle_way(now, ids[b], Some(Way::Relayed)));
    }
    world.run(12_000);
    assert_eq!(line(&world, 1), [3, 1, 2]);
    assert!(explained(&world, 1, 1).contains("reached=3/4"), "{}", explained(&world, 1, 1));
}

/// What was proven an hour ago says nothing: ways are tried, and one that does not answer is not told of.
#[test]
fn a_way_that_does_not_answer_is_none() {
    let mut world = World::room_of(8003, 4);
    world.weather.give_up = (600, 600);
    world.run(15_000);
    for other in [2, 3] {
        world.cut(1, other);
    }
    world.run(50_000);
    assert!(explained(&world, 0, 1).contains("reached=0/4"), "{}", explained(&world, 0, 1));
    assert_eq!(line(&world, 0), [2, 3, 1]);
}

/// Who is far down the line is not tried by everybody: it is taken to be reachable until it is its turn.
#[test]
fn in_a_larger_room_the_first_three_are_judged_and_the_others_have_their_turn() {
    let mut world = World::room_of(8004, 8);
    for other in 2..8 {
        world.cut(1, other);
    }
    world.run(25_000);
    let order = line(&world, 7);
    assert_eq!(order[..3], [2, 3, 4]);
    assert_eq!(order.last(), Some(&1));
}

#[test]
fn who_is_silent_is_passed_over_at_once_and_has_to_speak_for_a_while() {
    let mut world = World::room_of(8005, 4);
    world.pause(1);
    world.run(3500);
    assert_eq!(line(&world, 3), [2, 3, 1]);
    world.resume(1);
    world.run(8000);
    assert_eq!(line(&world, 3), [2, 3, 1]);
    world.run(4000);
    assert_eq!(line(&world, 3), [1, 2, 3]);
}

/// Nodes 0 and 2 run one build, 1 and 3 another.
fn two_builds(seed: u64) -> World {
    let mut world = World::room_of(seed, 4);
    for (who, build) in [(0, 7), (1, 8), (2, 7), (3, 8)] {
        let peer = &world.peers[who];
        let mut record = peer.room.view().record(peer.id).unwrap().clone();
        record.facts.sequence += 1;
        let record = record.of_build(&peer.identity, build);
        world.call(who, |room, now| room.update_record(now, record));
        world.run(100);
    }
    world
}

#[test]
fn a_build_that_has_been_crashing_goes_last_and_is_forgiven() {
    let mut world = two_builds(8006);
    assert_eq!(line(&world, 3), [1, 2, 3]);
    world.crash(0);
    world.run(5000);
    assert_eq!(world.assert_leader(), 1);
    assert_eq!(line(&world, 3), [3, 2], "though 2 was there before 3");
    assert!(explained(&world, 3, 2).contains("crashes=1"), "{}", explained(&world, 3, 2));
    world.restart(0);
    world.join(0, 1);
    world.run(5000);
    assert!(explained(&world, 3, 2).contains("crashes=1"), "its program was started anew: it crashed");
    world.run(3_700_000);
    assert_eq!(line(&world, 3)[..2], [2, 3], "after an hour");
}

/// A crash and a broken link look the same, until the lost one comes back: the same run of the same program did not crash.
#[test]
fn a_supernode_that_was_only_cut_off_did_not_crash() {
    let mut world = two_builds(8007);
    world.isolate(0);
    world.run(5000);
    assert!(explained(&world, 3, 2).contains("crashes=1"));
    world.heal_all();
    world.run(15_000);
    assert_eq!(world.assert_leader(), 1);
    assert!(explained(&world, 3, 2).contains("crashes=0"), "{}", explained(&world, 3, 2));
    assert_eq!(line(&world, 3)[..2], [2, 3]);
}

#[test]
fn a_build_that_is_lost_again_and_again_is_told_of() {
    let mut world = World::room_of(8008, 5);
    for lost in 0..3 {
        world.crash(lost);
        world.run(6000);
    }
    let told = |event: &&Event| matches!(event, Event::Alert { code: "version", .. });
    assert_eq!(world.peers[3].events.iter().filter(told).count(), 1);
}

/// What counts is what others say of one, in the words of the present view.
#[test]
fn nobody_ranks_itself_and_old_words_count_for_nothing() {
    let mut world = World::room_of(8009, 5);
    world.run(15_000);
    let view = world.peers[0].room.view();
    let (epoch, number, own, second) = (view.epoch, view.number, 1 << 3, 1 << 1);
    for _ in 0..10 {
        for (number, direct) in [(number - 1, second), (number + 1, second), (number, own), (number, u64::MAX << 4)] {
            let reaches = Reaches { epoch, number, direct, relayed: 0 };
            world.inject(4, 0, super::super::RoomMessage::Reaches(reaches));
        }
        world.run(1000);
    }
    assert_eq!((line(&world, 0), world.peers[0].room.view().number), (vec![1, 2, 3, 4], number));
    assert_eq!(world.alerts(0), 0);
}
