//! One order for everyone.

use super::super::*;
use super::{World, check};
use crate::node::api::{ErrorCode, Event};

#[test]
fn four_who_say_thirty_lines_at_once_see_the_same_order_once() {
    let mut world = World::room_of(20, 4);
    for number in 0..30 {
        for who in 0..4 {
            world.say(who, &format!("{who}/{number}"));
        }
    }
    world.run(1000);
    let first = world.lines(0);
    assert_eq!(first.len(), 120);
    for who in 1..4 {
        assert_eq!(world.lines(who), first);
    }
    check(&world).unwrap();
}

#[test]
fn alone_one_reads_oneself_at_once() {
    let mut world = World::new(21, 1, &RoomConfig::default());
    world.say(0, "hello");
    assert_eq!(world.lines(0), ["hello"]);
}

#[test]
fn a_frozen_first_successor_blocks_nobody_and_gets_everything_later() {
    let mut world = World::room_of(22, 4);
    world.pause(1);
    world.say(2, "while you slept");
    world.run(700);
    for who in [0, 2, 3] {
        assert_eq!(world.lines(who), ["while you slept"]);
    }
    world.run(6000);
    world.resume(1);
    world.run(3000);
    assert_eq!(world.lines(1), ["while you slept"]);
    assert_eq!(world.assert_leader(), 0);
    check(&world).unwrap();
}

/// Safe means that whoever leads next has it, and the two after that: three others who hold it help nobody.
#[test]
fn a_line_is_safe_once_the_next_three_in_line_hold_it_not_any_three() {
    let stable = |world: &World| world.peers[0].room.sequencer.stable;
    for late in [1, 2, 3] {
        let mut world = World::room_of(26, 6);
        world.cut_way(0, late);
        world.say(5, "hello");
        world.run(200);
        let held = (1..6).filter(|who| world.peers[*who].room.log.head().seq == 1).count();
        assert_eq!((held, stable(&world)), (4, 0), "{late}");
        assert_eq!(world.lines(0).len(), usize::from(late > 1), "shown once the first has it");
        assert!(!world.peers[5].room.outbox.is_empty(), "its author keeps it");
        // Whoever does not answer is passed over: the line waits for nobody that is frozen.
        world.run(300);
        assert_eq!((stable(&world), world.lines(0).len()), (1, 1), "{late}");
        world.run(600);
        assert!(world.peers[5].room.outbox.is_empty());
    }
}

#[test]
fn nothing_and_too_much_are_refused() {
    let mut world = World::new(23, 1, &RoomConfig::default());
    world.call(0, |room, now| room.say(now, "", 0));
    world.call(0, |room, now| room.say(now, &"x".repeat(line::MAX_TEXT_BYTES + 1), 0));
    let codes: Vec<ErrorCode> = world.peers[0]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Error { command: Some('T'), code, .. } => Some(*code),
            _ => None,
        })
        .collect();
    assert_eq!(codes, [ErrorCode::Usage, ErrorCode::TooLarge]);
}

#[test]
fn whoever_cannot_reach_the_room_may_say_256_lines_and_then_hears_no() {
    let mut world = World::room_of(24, 3);
    world.isolate(2);
    for number in 0..300 {
        world.call(2, |room, now| room.say(now, &format!("{number}"), 0));
    }
    let errors = world.peers[2].events.iter().filter(|event| matches!(event, Event::Error { .. })).count();
    assert_eq!(errors, 300 - 256);
}

#[test]
fn lines_that_nobody_keeps_any_more_are_reported_as_missed() {
    let mut world = World::room_of(25, 4);
    world.isolate(3);
    world.run(8000);
    for number in 0..1100 {
        world.say(0, &format!("{number}"));
        world.run(2);
    }
    world.run(3000);
    world.heal_all();
    world.run(6000);
    let missed = world.peers[3].events.iter().find_map(|event| match event {
        Event::Missed { from, to, count } => Some((*from, *to, *count)),
        _ => None,
    });
    assert_eq!(missed, Some((1, 1100 - 1024, 1100 - 1024)));
    assert_eq!(world.lines(3).len(), 1024);
}
