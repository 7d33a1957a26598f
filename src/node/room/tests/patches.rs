//! How a changed view travels.

use super::super::message::ViewStamp;
use super::super::patch::Patch;
use super::super::*;
use super::World;
use crate::node::api::Event;
use crate::node::identity::Identity;
use crate::node::record::MemberRecord;
use crate::node::wire::{self, Encoded};

fn counted(world: &World, what: &str) -> u64 {
    world.oracle.counts.get(what).copied().unwrap_or(0)
}

fn has_alert(world: &World, who: usize, wanted: &str) -> bool {
    world.peers[who].events.iter().any(|event| matches!(event, Event::Alert { code, .. } if *code == wanted))
}

fn stamps(world: &World, of: &[usize]) -> Vec<ViewStamp> {
    of.iter().map(|who| world.peers[*who].room.stamp()).collect()
}

/// The same for everyone, so that a patch fits everyone's.
fn all_equal(stamps: &[ViewStamp]) -> bool {
    stamps.windows(2).all(|two| two[0] == two[1])
}

#[test]
fn members_are_told_what_changed_and_newcomers_everything() {
    let mut world = World::room_of(500, 5);
    assert_eq!(counted(&world, "views told whole"), 0, "a newcomer has it from its welcome");
    assert!(all_equal(&stamps(&world, &[0, 1, 2, 3, 4])));
    world.crash(4);
    world.run(8000);
    assert!(all_equal(&stamps(&world, &[0, 1, 2, 3])));
    assert_eq!(counted(&world, "patches that did not fit"), 0);
}

/// Whoever follows another supernode than before has the view that the other had: all were told the same.
#[test]
fn whoever_takes_over_or_is_handed_over_to_tells_only_what_changed() {
    let mut world = World::room_of(501, 6);
    world.crash(0);
    world.run(6000);
    assert_eq!(world.rooms(), vec![vec![1, 2, 3, 4, 5]]);
    world.quit(1);
    world.run(4000);
    assert_eq!(world.rooms(), vec![vec![2, 3, 4, 5]]);
    assert_eq!((counted(&world, "take-overs"), counted(&world, "hand-overs")), (1, 1));
    assert_eq!(counted(&world, "views told whole"), 0);
    assert!(all_equal(&stamps(&world, &[2, 3, 4, 5])));
}

/// Neither a survivor whose view is another one, nor one whose view is an older one, is left with it.
#[test]
fn whoever_has_another_view_is_given_all_of_it() {
    for hand_over in [false, true] {
        let mut world = World::room_of(502, 6);
        // As if it had been told something else.
        world.peers[3].room.view.entries[2].seen = None;
        if hand_over {
            world.quit(0);
        } else {
            world.crash(0);
        }
        world.run(6000);
        assert!(all_equal(&stamps(&world, &[1, 2, 3, 4, 5])));
        assert_eq!(counted(&world, "views told whole"), 1);
        // By its report the one who takes over knows; the one who is handed over to is told.
        assert_eq!(counted(&world, "patches that did not fit"), u64::from(hand_over));
    }
    let mut world = World::room_of(503, 4);
    world.peers[2].room.view.entries[1].seen = None;
    world.crash(3);
    world.run(6000);
    assert!(all_equal(&stamps(&world, &[0, 1, 2])));
    assert_eq!((counted(&world, "patches that did not fit"), counted(&world, "views told whole")), (1, 1));
    // A patch that it never saw: the next does not fit.
    let mut world = World::room_of(504, 4);
    world.peers[2].room.view.number = 0;
    world.crash(3);
    world.run(6000);
    assert!(all_equal(&stamps(&world, &[0, 1, 2])));
}

#[test]
fn a_large_room_hears_of_many_newcomers_together() {
    let config = RoomConfig { local: true, at_once: 3, ..RoomConfig::default() };
    let mut world = World::new(505, 33, &config);
    for index in 1..3 {
        world.join(index, 0);
        world.run(300);
    }
    let before = world.sent[&(0, "Patch")].0;
    (3..33).for_each(|index| world.join(index, 0));
    world.run(3000);
    assert_eq!(world.rooms().len(), 1);
    assert!(all_equal(&stamps(&world, &(0..33).collect::<Vec<_>>())));
    // One for the first, one for all others, to each of those who were there before; and now and then one more for an address.
    let told = world.sent[&(0, "Patch")].0 - before;
    assert!(told < 33 * 4, "{told} patches");
    assert_eq!(super::check(&world), Ok(()));
}

/// Those whose word for it is not the supernode's, or whose patch makes no view, change nothing; and it is said.
#[test]
fn patches_of_others_and_patches_that_make_no_view_are_refused() {
    let mut world = World::room_of(506, 4);
    let view = world.peers[0].room.view().clone();
    let before = stamps(&world, &[2]);
    let next = |change: &dyn Fn(&mut View)| {
        let mut next = view.clone();
        next.number += 1;
        change(&mut next);
        next
    };
    // A member's.
    let theirs = Patch::between(&view, &next(&|view| view.admitted += 1));
    world.inject(1, 2, RoomMessage::Patch(Encoded::new(&theirs)));
    assert!(has_alert(&world, 2, "forged"));
    world.peers[2].events.clear();
    // No patch at all.
    world.inject(0, 2, RoomMessage::Patch(Encoded::new(&"nothing")));
    assert!(has_alert(&world, 2, "forged"));
    world.peers[2].events.clear();
    // Somebody who never signed to be here.
    let mut stranger = MemberRecord::sign(&Identity::from_seed(&[99; 32]), "x", &[], 1);
    stranger.facts.name = "y".to_owned();
    let forged = next(&|view| {
        let mut entry = view.entries[1].clone();
        entry.rank.id.0 = stranger.id();
        entry.record = stranger.clone();
        view.entries.push(entry);
        view.sort();
    });
    world.inject(0, 2, RoomMessage::Patch(Encoded::new(&Patch::between(&view, &forged))));
    assert!(has_alert(&world, 2, "forged"));
    world.peers[2].events.clear();
    // Members in another order than that of their ranks, as a whole view.
    let disorder = next(&|view| view.entries.swap(1, 2));
    world.inject(0, 2, RoomMessage::View(Box::new(disorder)));
    assert!(has_alert(&world, 2, "forged"));
    // One that makes something else: it is asked for, and the supernode has no such view.
    let mut wrong = theirs;
    wrong.admitted += 1;
    world.inject(0, 2, RoomMessage::Patch(Encoded::new(&wrong)));
    assert_eq!(counted(&world, "patches that did not fit"), 1);
    assert_eq!(stamps(&world, &[2]), before);
    world.run(2000);
    assert!(all_equal(&stamps(&world, &[0, 1, 2, 3])));
}

/// A thousand members' view is 200 KB: whoever asks for it again and again gets it a few times.
#[test]
fn the_whole_view_is_not_had_for_the_asking() {
    let mut world = World::room_of(507, 3);
    let epoch = world.peers[0].room.view().epoch;
    let before = world.sent.get(&(0, "View")).map_or(0, |sent| sent.0);
    (0..2000).for_each(|_| world.inject(1, 0, RoomMessage::Whole(epoch)));
    let told = world.sent[&(0, "View")].0 - before;
    assert!((1..=64).contains(&told), "{told} views");
    // And nothing for an epoch that is not, or from somebody who is not one of us.
    world.inject(2, 0, RoomMessage::Whole(Epoch { counter: epoch.counter + 1, ..epoch }));
    assert_eq!(world.sent[&(0, "View")].0 - before, told);
}

/// What it costs the supernode that a hundred come, one after the other: as it is, and if each change were told to everyone whole.
#[test]
fn a_hundred_joins() {
    let config = RoomConfig { local: true, ..RoomConfig::default() };
    let mut world = World::new(508, 101, &config);
    let mut whole = 0;
    for index in 1..=100 {
        let number = world.peers[0].room.view().number;
        world.join(index, 0);
        world.run(100);
        let view = world.peers[0].room.view();
        let changes = view.number - number;
        whole += changes * (index as u64 - 1) * wire::encode(view).len() as u64;
    }
    world.run(1000);
    assert!(all_equal(&stamps(&world, &(0..101).collect::<Vec<_>>())));
    let (patches, bytes) = world.sent[&(0, "Patch")];
    let (_, welcomes) = world.sent[&(0, "Welcome")];
    println!(
        "100 joins: {patches} patches, {bytes} bytes; whole views would be {whole} bytes; welcomes {welcomes} bytes"
    );
    assert!(bytes * 20 < whole, "{bytes} of {whole}");
}

/// Everybody of the smaller half goes over, each in a moment of its own; and nobody elects anybody meanwhile.
#[test]
fn a_half_that_goes_over_does_not_come_all_at_once() {
    let n = 60;
    let mut world = World::room_of_some(509, n, n);
    let (left, right): (Vec<usize>, Vec<usize>) = (0..n).partition(|who| who % 3 == 0);
    left.iter().for_each(|a| right.iter().for_each(|b| world.cut(*a, *b)));
    world.run(15_000);
    assert_eq!(world.rooms().len(), 2);
    world.heal_all();
    let mut came = Vec::new();
    let winner = *right.iter().find(|who| world.peers[**who].room.is_supernode()).unwrap();
    for _ in 0..400 {
        let before = world.peers[winner].room.view().entries.len();
        world.run(25);
        let now = world.peers[winner].room.view().entries.len();
        came.extend((now > before).then_some(now - before));
    }
    assert_eq!(world.rooms().len(), 1);
    assert!(all_equal(&stamps(&world, &(0..n).collect::<Vec<_>>())));
    // 20 members in up to 100 ms.
    assert!(came.len() >= 3, "{came:?}");
    assert_eq!(super::check(&world), Ok(()));
}
