//! Each rule of the oracle is broken once, by a fault planted in the room: that rule speaks, and no other.

use super::super::parts::Standing;
use super::super::plant::{Plant, plant};
use super::World;
use super::liars;
use super::oracle::Rule;
use super::walk::{broken_by, meet};
use std::collections::BTreeSet;

/// What is broken by `story` with that fault; without it, nothing is.
fn breaks(fault: Plant, rule: Rule, story: impl Fn() -> World) {
    let rules = |world: &World| world.oracle.broken.iter().map(|(rule, _)| *rule).collect::<BTreeSet<_>>();
    let sound = rules(&story());
    assert!(sound.is_empty(), "without {fault:?}: {sound:?}");
    plant(Some(fault));
    let world = story();
    plant(None);
    assert_eq!(rules(&world), BTreeSet::from([rule]), "{fault:?}: {:?}", world.oracle.broken);
}

/// A lone survivor leads itself for a while, says something, and meets the others again.
fn apart_and_together() -> World {
    let mut world = World::room_of(90, 4);
    let room = world.peers[0].room.view().room;
    world.isolate(3);
    world.run(15_000);
    world.say(3, "alone");
    world.run(100);
    let _ = meet(&mut world, room);
    world
}

#[test]
fn a_word_given_twice() {
    // It takes two claims at the right time: some walk has them.
    plant(Some(Plant::WordTwice));
    let found = (101_000..105_000).find_map(|seed| Some((seed, broken_by(seed)?)));
    plant(None);
    let (seed, rule) = found.expect("the walks never had two claims under one counter");
    assert_eq!((rule, broken_by(seed)), (Rule::OneSequencer, None));
}

#[test]
fn an_epoch_that_falls() {
    breaks(Plant::EpochStays, Rule::EpochsRise, apart_and_together);
}

#[test]
fn a_view_that_differs() {
    breaks(Plant::HalfAView, Rule::SameMembers, || World::room_of(91, 4));
}

#[test]
fn a_line_that_is_shown_twice() {
    breaks(Plant::Repeats, Rule::OneOrder, || {
        let mut world = World::room_of(92, 3);
        // Said, and said again, since nothing comes back.
        world.cut_way(0, 2);
        world.say(2, "hello");
        world.run(2500);
        world.heal_all();
        world.run(3000);
        world
    });
}

#[test]
fn a_line_that_nobody_said() {
    breaks(Plant::MadeUp, Rule::NothingMadeUp, || {
        let mut world = World::room_of(93, 3);
        world.say(2, "hello");
        world.run(500);
        world
    });
}

#[test]
fn lines_out_of_their_authors_order() {
    breaks(Plant::Backwards, Rule::AuthorsOrder, || {
        let mut world = World::room_of(94, 3);
        world.crash(0);
        // Nobody takes them while the room looks for a supernode.
        while matches!(world.peers[2].room.standing, Standing::Following) {
            world.run(1);
        }
        (0..3).for_each(|number| world.say(2, &format!("{number}")));
        world.run(3000);
        world
    });
}

#[test]
fn an_order_that_is_forgotten() {
    breaks(Plant::NoRescue, Rule::NothingLost, || {
        let mut world = World::room_of(95, 5);
        let room = world.peers[0].room.view().room;
        for (a, b) in [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)] {
            world.cut(a, b);
        }
        world.run(15_000);
        world.say(0, "said in the smaller half, and safe there");
        world.run(2000);
        let _ = meet(&mut world, room);
        world
    });
}

#[test]
fn a_member_that_never_asked() {
    breaks(Plant::OpenDoor, Rule::OnlyAdmitted, || {
        let mut world = World::room_of_some(96, 3, 2);
        world.cut_way(2, 0);
        world.join(2, 0);
        world.run(500);
        world.heal_all();
        world.join(2, 0);
        world.run(500);
        world
    });
}

#[test]
fn a_queue_without_an_end() {
    breaks(Plant::NoCap, Rule::Caps, || {
        let mut world = World::room_of(97, 3);
        world.isolate(2);
        (0..300).for_each(|number| world.say(2, &format!("{number}")));
        world.oracle.look_at_caps(2, &world.peers[2].room);
        world
    });
}

#[test]
fn a_line_that_is_called_missed() {
    breaks(Plant::Skip, Rule::HonestMissed, || {
        let mut world = World::room_of(39, 3);
        world.pause(0);
        world.say(2, "a");
        while !matches!(world.peers[2].room.standing, Standing::Promised(_)) {
            world.run(1);
        }
        world.crash(1);
        world.resume(0);
        world.run(200);
        world.say(2, "b");
        world.run(1600);
        world
    });
}

#[test]
fn halves_that_never_meet() {
    breaks(Plant::Stay, Rule::OneRoom, apart_and_together);
}

#[test]
fn an_author_that_does_not_say_what_it_said_before() {
    breaks(Plant::AnyPrevious, Rule::AuthorsChain, || {
        let mut world = World::room_of(98, 3);
        (0..3).for_each(|number| world.say(2, &format!("{number}")));
        world.run(500);
        world
    });
}

#[test]
fn a_line_that_is_called_safe_too_soon() {
    breaks(Plant::SafeAlone, Rule::Safe, || {
        let mut world = World::room_of(99, 3);
        for other in [1, 2] {
            world.cut_way(0, other);
        }
        world.say(0, "nobody hears it");
        world.run(500);
        world.heal_all();
        world.run(5000);
        world
    });
}

#[test]
fn a_supernode_that_is_accused_for_nothing() {
    breaks(Plant::Slander, Rule::NobodyAccused, || {
        let mut world = World::room_of(89, 3);
        world.say(2, "hello");
        world.run(6000);
        world
    });
}

#[test]
fn a_half_that_is_believed() {
    breaks(Plant::BelieveSizes, Rule::ProvenHalf, || liars::a_half_of_words(|_| ()));
}

#[test]
fn orders_that_are_compared_by_number() {
    let story = || liars::a_supernode_that_dies_after_two_stories(1, [1, 1]);
    assert!(story().oracle.broken.is_empty());
    plant(Some(Plant::ByNumber));
    let broken: BTreeSet<Rule> = story().oracle.broken.iter().map(|(rule, _)| *rule).collect();
    plant(None);
    // Each shows what it was told, and what another holds in that place counts as the same.
    assert_eq!(broken, BTreeSet::from([Rule::OneOrder, Rule::Safe]));
}
