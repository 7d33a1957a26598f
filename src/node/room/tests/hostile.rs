//! What members must not be able to do.

use super::super::line::{Line, LineId, Placed, Saying, Voice};
use super::super::message::*;
use super::super::*;
use super::World;

fn epoch(world: &World, counter: u64, who: usize) -> Epoch {
    Epoch { counter, supernode: world.peers[who].id }
}

/// Node 3, a member, sends `message` to node 1: refused, reported, nothing changes.
fn refused(message: impl Fn(&World) -> RoomMessage) {
    let mut world = World::room_of(50, 4);
    let message = message(&world);
    let before = world.peers[1].room.view().clone();
    world.inject(3, 1, message);
    assert_eq!(world.alerts(1), 1);
    world.run(3000);
    assert_eq!(world.peers[1].room.view().epoch, before.epoch);
    assert_eq!(world.assert_leader(), 0);
    assert!(world.lines(1).is_empty());
}

#[test]
fn a_view_of_our_epoch_comes_from_its_supernode_only() {
    refused(|world| {
        let mut view = world.peers[0].room.view().clone();
        view.number += 1;
        view.entries.truncate(2);
        RoomMessage::View(Box::new(view))
    });
}

#[test]
fn a_view_of_an_epoch_that_nobody_claimed_is_refused() {
    refused(|world| {
        let mut view = world.peers[0].room.view().clone();
        view.epoch = epoch(world, 2, 3);
        view.entries.rotate_right(1);
        view.reigns.push(view::Reign { epoch: view.epoch, base: Head::default() });
        RoomMessage::View(Box::new(view))
    });
}

#[test]
fn lines_come_from_the_supernode_only() {
    refused(|world| {
        let (mallory, room) = (&world.peers[3].identity, world.peers[0].room.view().room);
        let id = LineId { voice: Voice { author: mallory.id(), start: 1 }, counter: 1 };
        let saying = Saying { room, id, previous: ChainHash::default(), time: 0, text: "x".to_owned() };
        let current = world.peers[0].room.view().epoch;
        let placed = Placed::place(mallory, current, Head::default(), Line::sign(mallory, saying));
        RoomMessage::Lines(Lines { epoch: current, before: ChainHash::default(), lines: vec![placed] })
    });
}

#[test]
fn nobody_hands_over_for_the_supernode() {
    refused(|world| {
        let facts = HandOverFacts {
            room: world.peers[0].room.view().room,
            epoch: epoch(world, 1, 0),
            next: epoch(world, 2, 3),
            head: Head::default(),
        };
        RoomMessage::HandOver(HandOver::sign(&world.peers[3].identity, facts))
    });
}

#[test]
fn nobody_claims_in_anothers_name_or_for_another_room() {
    refused(|world| {
        let room = world.peers[0].room.view().room;
        let facts = ClaimFacts { room, epoch: epoch(world, 1, 0), next: epoch(world, 2, 1) };
        RoomMessage::Claim(Claim::sign(&world.peers[3].identity, facts))
    });
    refused(|world| {
        let facts = ClaimFacts { room: RoomId([9; 16]), epoch: epoch(world, 1, 0), next: epoch(world, 2, 3) };
        RoomMessage::Claim(Claim::sign(&world.peers[3].identity, facts))
    });
    refused(|world| {
        let room = world.peers[0].room.view().room;
        let facts = ClaimFacts { room, epoch: epoch(world, 1, 0), next: epoch(world, u64::MAX, 3) };
        RoomMessage::Claim(Claim::sign(&world.peers[3].identity, facts))
    });
}

#[test]
fn a_claim_while_the_supernode_lives_comes_to_nothing() {
    let mut world = World::room_of(51, 4);
    let room = world.peers[0].room.view().room;
    let facts = ClaimFacts { room, epoch: epoch(&world, 1, 0), next: epoch(&world, 2, 3) };
    let claim = RoomMessage::Claim(Claim::sign(&world.peers[3].identity, facts));
    for to in 0..3 {
        world.inject(3, to, claim.clone());
    }
    world.run(3000);
    assert_eq!(world.assert_leader(), 0);
    assert_eq!(world.peers[0].room.view().epoch.counter, 1);
}

#[test]
fn nobody_speaks_for_another() {
    let mut world = World::room_of(52, 4);
    let (ann, room) = (&world.peers[2].identity, world.peers[0].room.view().room);
    let id = LineId { voice: Voice { author: ann.id(), start: 1 }, counter: 1 };
    let saying = Saying { room, id, previous: ChainHash::default(), time: 0, text: "x".to_owned() };
    let mut line = Line::sign(&world.peers[3].identity, saying);
    world.inject(3, 0, RoomMessage::Say(Say { line: line.clone(), oldest: 1 }));
    assert_eq!(world.alerts(0), 1);
    line.saying.id.voice.author = world.peers[3].id;
    world.inject(3, 0, RoomMessage::Say(Say { line, oldest: 1 }));
    assert_eq!(world.alerts(0), 2);
    world.run(500);
    assert!((0..4).all(|who| world.lines(who).is_empty()));
}

#[test]
fn a_stranger_is_listened_to_only_at_the_door() {
    let mut world = World::new(53, 2, &RoomConfig::default());
    world.join(1, 0);
    world.run(500);
    let before = world.peers[0].events.len();
    let current = world.peers[0].room.view().epoch;
    let stranger = world.peers[1].room.view().clone();
    for message in [
        RoomMessage::View(Box::new(stranger)),
        RoomMessage::Held(Held { epoch: current, number: 1, seq: 9 }),
        RoomMessage::Beat(Beat { epoch: current, number: 9, head: Head::default(), shown: 9, stable: 9 }),
        RoomMessage::Report(Report { next: current, head: Head::default() }),
        RoomMessage::Fetch(Fetch { epoch: current, from: 0, to: u64::MAX }),
        RoomMessage::Ask(current),
    ] {
        world.inject(1, 0, message);
    }
    world.run(1000);
    assert_eq!(world.peers[0].events.len(), before);
    assert_eq!(world.peers[0].room.view().entries.len(), 1);
}

#[test]
fn a_voucher_of_a_stranger_opens_no_door() {
    let mut world = World::new(54, 3, &RoomConfig::default());
    world.join(1, 0);
    world.run(500);
    let facts = VoucherFacts {
        room: world.peers[0].room.view().room,
        counter: 1,
        joiner: world.peers[1].id,
        member: world.peers[2].id,
        invitation: None,
    };
    let voucher = Some(Voucher::sign(&world.peers[2].identity, facts));
    let record = world.peers[1].room.record.clone();
    world.inject(1, 0, RoomMessage::Join(Join { version: 1, record, room: None, voucher }));
    world.run(500);
    assert!(!world.peers[0].room.is_member(world.peers[1].id));
}

#[test]
fn a_newer_protocol_is_refused_in_clear_words() {
    let mut world = World::new(55, 2, &RoomConfig { open: true, ..RoomConfig::default() });
    world.join(1, 0);
    world.run(30);
    let record = world.peers[1].room.record.clone();
    world.inject(1, 0, RoomMessage::Join(Join { version: 2, record, room: None, voucher: None }));
    world.run(500);
    assert!(world.alerts(0) == 0);
}
