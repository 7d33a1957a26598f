//! Who tells one thing to some and another to others, or says that it leads more than it does.

use super::super::line::{Line, LineId, Placed, Saying, Voice};
use super::super::message::*;
use super::super::*;
use super::walk::meet;
use super::{World, check};
use crate::node::api::Event;
use crate::node::identity::{Identity, NodeId};
use crate::node::record::Signature;
use std::sync::Arc;

/// What node `who` was told of others.
fn said(world: &World, who: usize, code: &str) -> Vec<String> {
    let words = world.peers[who].events.iter().filter_map(|event| match event {
        Event::Alert { code: of, message } if *of == code => Some(message.clone()),
        _ => None,
    });
    words.collect()
}

/// The lines that node `who` said and that have no place yet.
fn waiting(world: &World, who: usize) -> Vec<Line> {
    world.peers[who].room.outbox.unplaced().cloned().collect()
}

/// Node 0 puts `lines` into the first places.
fn order(world: &World, lines: &[Line]) -> RoomMessage {
    let (supernode, epoch) = (&world.peers[0].identity, world.peers[0].room.view().epoch);
    let (mut last, mut placed) = (Head::default(), Vec::new());
    for line in lines {
        let next = Placed::place(supernode, epoch, last, line.clone());
        last = next.head;
        placed.push(next);
    }
    RoomMessage::Lines(Lines { epoch, before: ChainHash::default(), oldest: 1, lines: placed })
}

/// In a room of four, node 0 stops to speak to all: the first successor gets some lines of node 2 in the first places, node 2 and 3 some of
/// node 3. `one` and `other` say how many each.
fn two_stories(seed: u64, one: usize, other: [usize; 2]) -> World {
    let mut world = World::room_of(seed, 4);
    world.oracle.liars = true;
    world.pause(0);
    for number in 0..3 {
        world.say(2, &format!("x{number}"));
        world.say(3, &format!("y{number}"));
    }
    let (x, y) = (waiting(&world, 2), waiting(&world, 3));
    let mine = order(&world, &x[..one]);
    world.inject(0, 1, mine);
    for (who, count) in [2, 3].into_iter().zip(other) {
        let theirs = order(&world, &y[..count]);
        world.inject(0, who, theirs);
    }
    world
}

/// It dies with that. `one`: how many lines the first successor holds; `other`: the two others, in another order.
pub(super) fn a_supernode_that_dies_after_two_stories(one: usize, other: [usize; 2]) -> World {
    let mut world = two_stories(80, one, other);
    let room = world.peers[0].room.view().room;
    world.crash(0);
    world.run(4000);
    world.say(1, "after");
    let _ = meet(&mut world, room);
    world
}

/// The survivors hold as many lines, or more, or fewer, and in another order than the next supernode. Were only the numbers compared, they
/// would hang for ever: nothing that comes after follows what they hold. They come over, bring what they held, and can prove who did it.
#[test]
fn survivors_who_were_told_another_order_come_over_and_say_who_told_two() {
    for (one, other) in [(1, [1, 1]), (1, [2, 3]), (3, [1, 2]), (2, [2, 3]), (0, [1, 1])] {
        let mut world = a_supernode_that_dies_after_two_stories(one, other);
        check(&world).unwrap();
        assert_eq!(world.assert_leader(), 1);
        let heads: Vec<Head> = (1..4).map(|who| world.peers[who].room.log.head()).collect();
        assert!(heads.iter().all(|head| *head == heads[0]), "{one} {other:?}: {heads:?}");
        for who in 1..4 {
            let lines = world.lines(who);
            assert_eq!(lines.len(), 3 + 3 + 1 + 3, "{one} {other:?}: {lines:?}");
            // With nothing at the first successor there were no two stories: the other order is simply taken.
            let caught = said(&world, who, "equivocation");
            assert_eq!(caught.len(), usize::from(one > 0), "{one} {other:?}: node {who} {caught:?}");
            assert!(said(&world, who, "forged").is_empty());
        }
        world.run(10_000);
        check(&world).unwrap();
    }
}

/// The supernode lives and goes on, and tells node 3 something else than the others. Members show each other now and then what they hold: two
/// signatures for one place are enough.
#[test]
fn a_living_supernode_that_tells_two_stories_is_noticed_and_everybody_is_told_once() {
    let mut world = World::room_of(81, 4);
    world.oracle.liars = true;
    let room = world.peers[0].room.view().room;
    world.run(3000);
    world.cut_way(0, 3);
    world.say(1, "first");
    world.say(2, "second");
    let other = order(&world, &waiting(&world, 2));
    world.inject(0, 3, other);
    world.run(900);
    for who in 0..4 {
        assert_eq!(said(&world, who, "equivocation").len(), 1, "node {who}");
    }
    // Nobody is deposed for it, and what it orders next is taken by everyone.
    world.heal_all();
    let _ = meet(&mut world, room);
    check(&world).unwrap();
    assert_eq!(world.assert_leader(), 0);
    assert!((0..4).all(|who| world.lines(who).len() == 6 && said(&world, who, "equivocation").len() == 1));
}

#[test]
fn what_is_compared_costs_little_while_people_talk_and_nothing_while_nobody_does() {
    let mut world = World::room_of(82, 10);
    let compared = |world: &World| world.oracle.counts.get("orders compared").copied().unwrap_or(0);
    for second in 0..60 {
        world.say(second % 10, &format!("{second}"));
        world.run(1000);
    }
    let busy = compared(&world);
    // Nine members, fifteen times in a minute, and at most one answer each.
    assert!((50..=2 * 9 * 15).contains(&busy), "{busy}");
    world.run(20_000);
    let last = compared(&world);
    world.run(60_000);
    assert_eq!(compared(&world), last);
    assert!(!world.oracle.counts.contains_key("accusations"));
}

/// An accusation is worth its two signatures.
#[test]
fn nobody_is_accused_without_proof() {
    let mut world = World::room_of(83, 4);
    world.say(2, "hello");
    world.run(100);
    let seal = world.peers[2].room.log.get(1).unwrap().seal();
    let mallory = world.peers[3].identity.clone();
    let line = world.peers[2].room.log.get(1).unwrap().line.clone();
    let own = Epoch { counter: 1, supernode: mallory.id() };
    let placed = |last| Placed::place(&mallory, own, last, line.clone()).seal();
    let forged = line::Seal { head: Head { chain: ChainHash([7; 32]), ..seal.head }, ..seal };
    let other_place = line::Seal { head: Head { seq: 2, ..seal.head }, ..forged };
    // The same twice; a hash that was never signed; another place; its own two stories in an epoch that never was.
    let lies = [
        [seal, seal],
        [seal, forged],
        [seal, other_place],
        [placed(Head::default()), placed(Head { seq: 0, chain: ChainHash([7; 32]) })],
    ];
    for (count, lie) in lies.into_iter().enumerate() {
        world.inject(3, 1, RoomMessage::Equivocation(Box::new(lie)));
        assert_eq!(said(&world, 1, "forged").len(), count + 1);
    }
    world.inject(3, 1, RoomMessage::Compare(forged));
    world.run(3000);
    assert!(said(&world, 1, "equivocation").is_empty() && said(&world, 2, "equivocation").is_empty());
    assert_eq!(world.assert_leader(), 0);
}

fn say_as(identity: &Identity, room: RoomId, counter: u64, previous: ChainHash, text: &str) -> Line {
    let id = LineId { voice: Voice { author: identity.id(), start: 7 }, counter };
    Line::sign(identity, Saying { room, id, previous, time: 0, text: text.to_owned() })
}

/// Each line names the one before it. Two under one number, or one after a line that was never said: refused, and said once.
#[test]
fn an_author_with_two_lines_for_one_number_is_noticed() {
    for second in [1, 2] {
        let mut world = World::room_of(84, 4);
        world.oracle.liars = true;
        let (mallory, room) = (world.peers[3].identity.clone(), world.peers[0].room.view().room);
        let first = say_as(&mallory, room, 1, ChainHash::default(), "yes");
        let never = say_as(&mallory, room, 1, ChainHash::default(), "no").hash();
        let other = say_as(&mallory, room, second, if second == 1 { ChainHash::default() } else { never }, "no");
        world.inject(3, 0, RoomMessage::Say(Say { line: first.clone(), oldest: 1 }));
        for _ in 0..3 {
            world.inject(3, 0, RoomMessage::Say(Say { line: other.clone(), oldest: 1 }));
        }
        assert_eq!(said(&world, 0, "equivocation").len(), 1);
        world.inject(3, 0, RoomMessage::Say(Say { line: first.clone(), oldest: 1 }));
        let next = say_as(&mallory, room, 2, first.hash(), "it goes on");
        world.inject(3, 0, RoomMessage::Say(Say { line: next, oldest: 1 }));
        world.run(500);
        for who in 0..4 {
            assert_eq!(world.lines(who), ["yes", "it goes on"]);
        }
    }
}

/// The supernode plays along with such an author: the others show what has a place, since screens must not differ, and say what it is.
#[test]
fn an_author_whose_supernode_plays_along_is_noticed_by_everyone_else() {
    let mut world = World::room_of(85, 3);
    world.oracle.liars = true;
    let (mallory, room) = (world.peers[2].identity.clone(), world.peers[0].room.view().room);
    let first = say_as(&mallory, room, 1, ChainHash::default(), "yes");
    let other = say_as(&mallory, room, 2, ChainHash([7; 32]), "and no");
    let message = order(&world, &[first, other]);
    world.inject(0, 1, message);
    let epoch = world.peers[0].room.view().epoch;
    let number = world.peers[1].room.view().number;
    let beat = Beat { epoch, number, head: Head::default(), shown: 2, stable: 0, round: 9 };
    world.inject(0, 1, RoomMessage::Beat(beat));
    assert_eq!(world.lines(1), ["yes", "and no"]);
    assert_eq!(said(&world, 1, "equivocation").len(), 1);
}

/// Node 0 leads three, node 3 two. They meet, and node 3 says that it leads so many more, who are nobody. `extra` happens then.
pub(super) fn a_half_of_words(extra: impl Fn(&mut World)) -> World {
    let mut world = World::room_of(86, 5);
    let room = world.peers[0].room.view().room;
    for (a, b) in [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)] {
        world.cut(a, b);
    }
    world.run(15_000);
    assert_eq!(world.peers[0].room.view().entries.len(), 3);
    assert_eq!(world.peers[3].room.view().entries.len(), 2);
    world.say(0, "we are three");
    world.heal(0, 3);
    let (ours, theirs) = (world.peers[0].id, world.peers[3].id);
    while !world.peers[0].room.links.contains(theirs) || !world.peers[3].room.links.contains(ours) {
        world.run(1);
    }
    let crowd = [91, 92].map(|n| NodeId([n; 32]));
    let live = [world.peers[3].id, world.peers[4].id].into_iter().chain(crowd).collect();
    let hello = Hello { room, epoch: world.peers[3].room.view().epoch, live };
    world.inject(3, 0, RoomMessage::Hello(hello));
    extra(&mut world);
    world.run(5000);
    let _ = meet(&mut world, room);
    world
}

#[test]
fn a_leader_that_claims_members_it_does_not_have_wins_no_merge() {
    let world = a_half_of_words(|_| ());
    check(&world).unwrap();
    assert_eq!(world.assert_leader(), 0);
    assert!(world.oracle.counts["halves doubted"] > 0);
}

/// The doubt that node 0 has of node 3 after that, as it crossed the link.
fn doubt_of(world: &mut World) -> Muster {
    let (hello_from, now) = (world.peers[3].id, world.now);
    let live = [91, 92, 93].map(|n| NodeId([n; 32])).into_iter().chain([hello_from, world.peers[4].id]).collect();
    let view = world.peers[3].room.view();
    let hello = Hello { room: view.room, epoch: view.epoch, live };
    let room = &mut world.peers[0].room;
    while room.poll_output().is_some() {}
    room.handle_message(now, hello_from, RoomMessage::Hello(hello));
    let muster = std::iter::from_fn(|| room.poll_output()).find_map(|output| match output {
        RoomOutput::Send { message: RoomMessage::Muster(muster), .. } => Some(muster),
        _ => None,
    });
    muster.expect("a doubt")
}

/// Node 3 leads node 4, node 0 the others, and the two just heard of each other.
fn two_leaders_meet(seed: u64) -> World {
    let mut world = World::room_of(seed, 5);
    for (a, b) in [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)] {
        world.cut(a, b);
    }
    world.run(15_000);
    world.heal(0, 3);
    let (ours, theirs) = (world.peers[0].id, world.peers[3].id);
    while !world.peers[0].room.links.contains(theirs) || !world.peers[3].room.links.contains(ours) {
        world.run(1);
    }
    assert_eq!(world.peers[0].room.view().entries.len(), 3);
    assert!(world.peers[0].room.is_supernode() && world.peers[3].room.is_supernode());
    world
}

type Words = Vec<(NodeId, Signature)>;

/// Node 0 doubts, and node 3 shows what `proof` makes of it: whoever leads three goes nowhere. `alert`: what node 0 says to that.
fn unproven(alert: &str, proof: impl Fn(AllegianceFacts, &[Arc<Identity>]) -> Words) {
    let mut world = two_leaders_meet(87);
    let before = world.peers[0].room.view().clone();
    let (doubt, epoch) = (doubt_of(&mut world), world.peers[3].room.view().epoch);
    assert_eq!((doubt.to, doubt.need), (before.epoch, 3 + u32::from(epoch < before.epoch)));
    let facts = AllegianceFacts { room: before.room, epoch, to: doubt.to, nonce: doubt.nonce };
    let half = [world.peers[3].identity.clone(), world.peers[4].identity.clone()];
    let members = proof(facts, &half);
    world.inject(3, 0, RoomMessage::Proof(Box::new(Proof { epoch, nonce: doubt.nonce, members })));
    assert!(world.peers[0].room.joining.is_none(), "{alert}: it does not even ask");
    let said = said(&world, 0, "forged");
    assert_eq!(said.len(), usize::from(!alert.is_empty()));
    assert!(said.iter().all(|words| words.contains(alert)), "{said:?}");
    assert_eq!(world.peers[0].room.view(), &before);
}

fn all_of(facts: AllegianceFacts, half: &[Arc<Identity>]) -> Words {
    half.iter().map(|one| (one.id(), facts.sign(one))).collect()
}

#[test]
fn a_half_that_proves_to_be_smaller_is_not_followed() {
    unproven("", all_of);
}

#[test]
fn nobody_counts_twice() {
    unproven("proves nothing", |facts, half| [all_of(facts, half), all_of(facts, half)].concat());
}

#[test]
fn nobody_says_in_anothers_name_that_it_follows() {
    let stranger = || Identity::from_seed(&[31; 32]).id();
    unproven("proves nothing", |facts, half| [all_of(facts, half), vec![(stranger(), facts.sign(&half[0]))]].concat());
}

/// Keys cost nothing: of those that nobody here ever heard of, only so many count as there are known ones.
#[test]
fn a_crowd_of_strangers_outweighs_nobody() {
    unproven("", |facts, half| {
        let crowd = (31..60).map(|seed| Arc::new(Identity::from_seed(&[seed; 32]))).collect::<Vec<_>>();
        [all_of(facts, &half[..1]), all_of(facts, &crowd)].concat()
    });
}

#[test]
fn a_word_is_worth_nothing_for_another_doubt() {
    unproven("proves nothing", |facts, half| all_of(AllegianceFacts { nonce: [9; 16], ..facts }, half));
}

#[test]
fn a_word_is_worth_nothing_to_another_leader() {
    unproven("proves nothing", |facts, half| {
        all_of(AllegianceFacts { to: Epoch { counter: 9, ..facts.to }, ..facts }, half)
    });
}

#[test]
fn a_word_is_worth_nothing_in_another_room_or_epoch() {
    unproven("proves nothing", |facts, half| all_of(AllegianceFacts { room: RoomId([9; 16]), ..facts }, half));
    unproven("proves nothing", |facts, half| {
        all_of(AllegianceFacts { epoch: Epoch { counter: 9, ..facts.epoch }, ..facts }, half)
    });
}

/// Everything in it is true and was enough once: for the doubt before.
#[test]
fn a_proof_that_comes_again_counts_for_nothing() {
    let mut world = two_leaders_meet(88);
    let (first, epoch) = (doubt_of(&mut world), world.peers[3].room.view().epoch);
    let room = world.peers[0].room.view().room;
    let facts = AllegianceFacts { room, epoch, to: first.to, nonce: [3; 16] };
    let everybody = world.peers[1..].iter().map(|peer| peer.identity.clone()).collect::<Vec<_>>();
    let old = Proof { epoch, nonce: [3; 16], members: all_of(facts, &everybody) };
    for _ in 0..2 {
        world.inject(3, 0, RoomMessage::Proof(Box::new(old.clone())));
    }
    assert!(said(&world, 0, "forged").iter().all(|words| words.contains("nobody asked for")));
    assert_eq!(said(&world, 0, "forged").len(), 2);
    assert!(world.peers[0].room.joining.is_none());
}

/// Members give their word to their own supernode only, and it checks each.
#[test]
fn a_word_is_given_to_nobody_but_our_supernode_and_a_false_one_is_not_passed_on() {
    let mut world = World::room_of(79, 4);
    let muster = |to: Epoch| RoomMessage::Muster(Muster { to, nonce: [1; 16], need: 3 });
    let mallory = Epoch { counter: 9, supernode: world.peers[3].id };
    let given = |world: &World| world.oracle.counts.get("words given").copied().unwrap_or(0);
    for to in [mallory, world.peers[0].room.view().epoch] {
        world.inject(3, 1, muster(to));
    }
    assert_eq!(given(&world), 0);
    world.inject(3, 0, muster(mallory));
    let view = world.peers[0].room.view();
    let facts = AllegianceFacts { room: view.room, epoch: view.epoch, to: mallory, nonce: [1; 16] };
    let signature = facts.sign(&world.peers[3].identity);
    world.inject(2, 0, RoomMessage::Allegiance(Allegiance { facts, signature }));
    assert_eq!(said(&world, 0, "forged").len(), 1);
    world.run(200);
    assert_eq!(given(&world), 3, "and then each says so once");
    assert_eq!(world.assert_leader(), 0);
}

/// However many say that they lead this room, and however many doubt that we do.
#[test]
fn doubts_are_few() {
    let mut world = World::room_of(76, 3);
    for n in 0..200 {
        let leader = Epoch { counter: 9, supernode: NodeId([n; 32]) };
        world.call(0, |room, now| {
            room.doubt(now, leader.supernode, leader);
            room.on_muster(now, leader.supernode, Muster { to: leader, nonce: [n; 16], need: 1 });
        });
    }
    assert_eq!(world.peers[0].room.musters.len(), muster::MAX_DOUBTS);
    world.run(6000);
    world.call(0, |room, now| room.doubt(now, NodeId([1; 32]), Epoch { counter: 9, supernode: NodeId([1; 32]) }));
    assert_eq!(world.peers[0].room.musters.len(), 1, "after a while they are forgotten");
}
