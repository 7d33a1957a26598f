//! Losing a supernode, and finding each other again.

use super::super::parts::Standing;
use super::{World, check};
use crate::node::api::{ErrorCode, Event, Succession};

fn successions(world: &World, who: usize) -> Vec<Succession> {
    let reasons = world.peers[who].events.iter().filter_map(|event| match event {
        Event::Supernode { reason, .. } => Some(*reason),
        _ => None,
    });
    reasons.collect()
}

#[test]
fn when_the_supernode_quits_no_line_is_lost_and_nobody_is_told_an_error() {
    let mut world = World::room_of(30, 4);
    for number in 0..10 {
        (0..4).for_each(|who| world.say(who, &format!("{who}/{number}")));
        if number == 5 {
            world.quit(0);
        }
        world.run(3);
    }
    world.run(1000);
    assert_eq!(world.assert_leader(), 1);
    // What the one who quit said after it quit is nobody's; everything else is everywhere.
    let others = |lines: Vec<String>| lines.into_iter().filter(|text| !text.starts_with("0/")).collect::<Vec<_>>();
    assert_eq!(others(world.lines(1)).len(), 30);
    assert_eq!(world.lines(2), world.lines(1));
    assert_eq!(world.lines(3), world.lines(1));
    assert!((0..6).all(|number| world.lines(1).contains(&format!("0/{number}"))));
    for who in 1..4 {
        assert!(world.errors(who).is_empty(), "{:?}", world.errors(who));
        assert_eq!(successions(&world, who).last(), Some(&Succession::Quit));
    }
    assert!(world.peers[0].left);
    check(&world).unwrap();
}

#[test]
fn a_supernode_that_quits_is_gone_within_a_round_trip_or_so_if_all_are_well() {
    let mut world = World::room_of(31, 3);
    world.quit(0);
    world.run(60);
    assert!(world.peers[0].left);
    world.say(2, "next");
    world.run(100);
    assert_eq!((world.lines(1), world.lines(2)), (vec!["next".to_owned()], vec!["next".to_owned()]));
}

#[test]
fn a_supernode_that_quits_under_a_frozen_first_successor_names_another() {
    let mut world = World::room_of(32, 4);
    world.pause(1);
    world.run(2500);
    world.quit(0);
    world.run(7500);
    assert!(world.peers[0].left);
    assert_eq!(world.assert_leader(), 2);
    world.resume(1);
    world.run(6000);
    assert_eq!(world.assert_leader(), 2);
}

#[test]
fn after_a_crash_in_mid_chat_the_first_in_line_leads_and_nothing_is_lost_or_doubled() {
    for seed in 0..20 {
        let mut world = World::room_of(100 + seed, 4);
        for number in 0..10 {
            (1..4).for_each(|who| world.say(who, &format!("{who}/{number}")));
            if number == 5 {
                world.crash(0);
            }
            world.run(1 + seed % 7);
        }
        world.run(2500);
        assert_eq!(world.assert_leader(), 1);
        assert_eq!(world.lines(1).len(), 30, "seed {seed}: {:?}", world.lines(1));
        assert_eq!(world.lines(2), world.lines(1));
        assert_eq!(world.lines(3), world.lines(1));
        assert_eq!(successions(&world, 2).last(), Some(&Succession::Lost));
        assert!((1..4).all(|who| world.errors(who).is_empty()));
        check(&world).unwrap();
    }
}

#[test]
fn supernode_and_first_successor_crash_together_and_the_next_leads() {
    for seed in 0..10 {
        let mut world = World::room_of(200 + seed, 4);
        world.say(3, "before");
        world.run(100);
        world.crash(0);
        world.crash(1);
        world.say(3, "after");
        world.run(4000);
        assert_eq!(world.assert_leader(), 2);
        assert_eq!(world.lines(2), ["before", "after"]);
        assert_eq!(world.lines(3), ["before", "after"]);
        check(&world).unwrap();
    }
}

#[test]
fn in_a_room_of_two_the_survivor_leads_for_itself_and_speaks() {
    for crashed in [0, 1] {
        let mut world = World::room_of(33, 2);
        world.crash(crashed);
        let other = 1 - crashed;
        world.say(other, "anybody?");
        world.run(8000);
        assert_eq!(world.assert_leader(), other);
        assert_eq!(world.lines(other), ["anybody?"]);
    }
}

#[test]
fn three_of_whom_the_supernode_crashes_speak_again_within_three_seconds() {
    for seed in 0..20 {
        let mut world = World::room_of(300 + seed, 3);
        world.crash(0);
        world.say(2, "still there?");
        world.run(2500);
        assert_eq!((world.lines(1).len(), world.lines(2).len()), (1, 1), "seed {seed}");
    }
}

#[test]
fn one_bad_link_deposes_nobody() {
    for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2)] {
        let mut world = World::room_of(34, 4);
        world.cut(a, b);
        world.run(20_000);
        assert!(world.peers[0].room.is_supernode());
        assert_eq!(world.peers[0].room.view().epoch.counter, 1, "{a}-{b}");
        world.heal_all();
        world.run(8000);
        assert_eq!(world.assert_leader(), 0, "{a}-{b}");
        // Who led only itself meanwhile finds a higher epoch, under the same supernode.
        let moved = |who: usize| successions(&world, who).contains(&Succession::Lost);
        assert!((0..4).filter(|who| moved(*who)).count() <= 1, "{a}-{b}");
    }
}

#[test]
fn whoever_stood_still_suspects_itself_first() {
    for who in [1, 2] {
        for ms in [600, 1500, 2500] {
            let mut world = World::room_of(35, 3);
            world.pause(who);
            world.run(ms);
            world.resume(who);
            world.run(3000);
            assert_eq!(world.assert_leader(), 0);
            assert_eq!(world.peers[0].room.view().epoch.counter, 1, "node {who}, {ms} ms");
        }
    }
}

#[test]
fn a_supernode_that_comes_back_finds_another_in_its_place_and_becomes_a_member() {
    for ms in [2500, 4000, 20_000] {
        let mut world = World::room_of(36, 4);
        world.pause(0);
        world.say(2, "while it stood still");
        world.run(ms);
        world.resume(0);
        world.say(0, "what did I miss?");
        world.run(6000);
        assert_eq!(world.assert_leader(), 1, "{ms} ms");
        assert_eq!(world.lines(0), ["while it stood still", "what did I miss?"]);
        assert_eq!(world.lines(3), world.lines(0));
        check(&world).unwrap();
    }
}

#[test]
fn a_lone_survivor_meets_the_others_again_and_what_it_said_alone_is_said_again() {
    let mut world = World::room_of(37, 4);
    world.isolate(3);
    world.run(10_000);
    assert!(world.peers[3].room.is_supernode(), "it leads for itself");
    assert_eq!(world.peers[0].room.view().epoch.counter, 1, "and for nobody else");
    world.say(3, "hello?");
    world.say(1, "where is it?");
    world.run(100);
    assert_eq!(world.lines(3), ["hello?"]);
    world.heal_all();
    world.run(8000);
    assert_eq!(world.assert_leader(), 0);
    assert_eq!(successions(&world, 3).last(), Some(&Succession::Merged));
    assert_eq!(world.lines(0), ["where is it?", "hello?"]);
    assert_eq!(world.lines(3), ["hello?", "where is it?"], "once");
    assert!((0..3).all(|who| world.errors(who).is_empty()));
    assert!(
        matches!(world.errors(3)[..], [Event::Error { code: ErrorCode::Unreachable, .. }]),
        "{:?}",
        world.errors(3)
    );
    check(&world).unwrap();
}

/// Whoever was lost and finds one of the others is passed on to the rest: they may not reach it themselves.
#[test]
fn members_pass_on_for_those_who_were_lost_and_not_for_strangers() {
    let mut world = World::room_of_some(45, 4, 3);
    world.isolate(2);
    world.run(10_000);
    let [supernode, member, lost, stranger] = [0, 1, 2, 3].map(|who: usize| world.peers[who].id);
    let relay = &world.peers[1].room;
    assert!(relay.passes_on(world.now, lost, supernode) && relay.passes_on(world.now, supernode, lost));
    assert!(!relay.passes_on(world.now, stranger, supernode) && !relay.passes_on(world.now, supernode, stranger));
    assert!(!relay.passes_on(world.now, supernode, supernode) && relay.passes_on(world.now, supernode, member));
}

/// Nobody reaches anybody but the supernode, whose program is killed and started again. It knows which room it was in, and they look for it.
#[test]
fn whoever_was_killed_and_is_started_again_is_called_back_by_those_it_left_behind() {
    let mut world = World::room_of(43, 4);
    let room = world.peers[0].room.view().room;
    for (a, b) in [(1, 2), (1, 3), (2, 3)] {
        world.cut(a, b);
    }
    world.say(2, "before");
    world.run(1000);
    world.crash(0);
    world.run(15_000);
    world.restart(0);
    world.call(0, |member, _| member.was_in(room));
    world.run(10_000);
    assert_eq!(world.peers[0].room.view().room, room, "{}", world.picture());
    world.heal_all();
    world.run(10_000);
    world.assert_leader();
    world.say(0, "after");
    world.run(1000);
    assert!((0..4).all(|who| world.lines(who).last().is_some_and(|text| text == "after")));
    check(&world).unwrap();
}

/// Whoever has others around itself by then stays, and so does who left.
#[test]
fn nobody_is_called_back_into_a_room_that_it_left_or_from_another_one() {
    for left in [true, false] {
        let mut world = World::room_of_some(44, 4, 3);
        let room = world.peers[0].room.view().room;
        world.crash(2);
        world.run(10_000);
        world.restart(2);
        if !left {
            world.join(3, 2);
            world.run(10);
            world.call(2, |member, _| member.was_in(room));
        }
        world.run(15_000);
        assert_ne!(world.peers[2].room.view().room, room);
    }
}

/// Each is told once, in words, as long as it lasts; who is left alone because the others went is not.
#[test]
fn where_nobody_is_reached_each_says_so_once_and_all_come_back_by_themselves() {
    let mut world = World::room_of(41, 4);
    world.quit(3);
    world.run(1000);
    (0..3).for_each(|who| world.isolate(who));
    world.run(9_900);
    for who in 0..3 {
        let told = world.errors(who);
        assert!(matches!(told[..], [Event::Error { command: None, code: ErrorCode::Unreachable, .. }]), "{told:?}");
    }
    world.run(60_000);
    assert!((0..3).all(|who| world.errors(who).len() == 1));
    world.heal_all();
    world.run(6000);
    world.assert_leader();
    (0..3).for_each(|who| world.quit(who));
    check(&world).unwrap();

    let mut world = World::room_of(42, 2);
    world.quit(1);
    world.run(10_000);
    assert!(world.errors(0).is_empty(), "it went, and said so");
}

#[test]
fn two_halves_of_a_room_meet_and_the_larger_leads() {
    let mut world = World::room_of(38, 5);
    for a in [0, 1] {
        for b in [2, 3, 4] {
            world.cut(a, b);
        }
    }
    world.run(15_000);
    assert_eq!(world.peers[2].room.view().entries.len(), 3);
    assert_eq!(world.peers[0].room.view().entries.len(), 2);
    world.say(0, "few");
    world.say(2, "many");
    world.run(500);
    world.heal_all();
    world.run(9000);
    assert_eq!(world.assert_leader(), 2);
    world.say(1, "together");
    world.run(500);
    for who in 0..5 {
        assert_eq!(world.lines(who).last().map(String::as_str), Some("together"));
    }
    check(&world).unwrap();
}

/// Node 2 believes that node 1 takes over, so it takes nothing from node 0, which only stood still and goes on: what it sends meanwhile is
/// thrown away, rightly. Then node 1 dies and node 2 goes back. What it threw away is not lost: the supernode keeps it.
#[test]
fn whoever_comes_back_from_a_claim_that_came_to_nothing_gets_what_it_threw_away_meanwhile() {
    let mut world = World::room_of(39, 3);
    world.say(2, "before");
    world.run(100);
    world.pause(0);
    world.say(2, "a");
    world.say(2, "b");
    let promised = |world: &World| matches!(world.peers[2].room.standing, Standing::Promised(_));
    while !promised(&world) {
        world.run(1);
    }
    world.crash(1);
    world.resume(0);
    world.run(200);
    assert!(promised(&world) && world.lines(2) == ["before"], "thrown away");
    world.say(2, "c");
    world.run(6000);
    assert_eq!(world.assert_leader(), 0);
    assert_eq!(world.lines(0), ["before", "a", "b", "c"]);
    assert_eq!(world.lines(2), world.lines(0));
    assert!(!world.peers[2].events.iter().any(|event| matches!(event, Event::Missed { .. })));
    assert!(world.peers[2].room.outbox.is_empty(), "it knows that they are safe");
    check(&world).unwrap();
}

/// The supernode's program is ended and started again within the time that its silence would be noticed: it answers, and leads a room of
/// its own.
#[test]
fn a_supernode_that_is_started_anew_at_once_leads_nobody_any_more() {
    let mut world = World::room_of(40, 4);
    world.say(2, "before");
    world.run(100);
    world.crash(0);
    world.restart(0);
    world.say(2, "after");
    world.run(4000);
    assert_eq!(world.rooms().iter().filter(|members| **members == [1, 2, 3]).count(), 1, "{}", world.picture());
    assert_eq!(world.lines(3), ["before", "after"]);
    world.join(0, 1);
    world.run(2000);
    world.assert_leader();
    check(&world).unwrap();
}
