//! What members must not be able to do.

use super::super::line::{Line, LineId, Placed, Saying, Voice};
use super::super::message::*;
use super::super::*;
use super::World;
use crate::node::api::Event;
use crate::node::record::PROTOCOL_VERSION;

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
        RoomMessage::Lines(Lines { epoch: current, before: ChainHash::default(), oldest: 1, lines: vec![placed] })
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

/// A hand-over by node 0 of the room of `world`.
fn hand_over(world: &World, next: Epoch) -> RoomMessage {
    let facts = HandOverFacts {
        room: world.peers[0].room.view().room,
        epoch: epoch(world, 1, 0),
        next,
        head: world.peers[0].room.log.head(),
    };
    RoomMessage::HandOver(HandOver::sign(&world.peers[0].identity, facts))
}

/// Node 3 or node 0 sends a hand-over of node 0 that is not in order: refused, reported, nothing changes.
fn no_hand_over(from: usize, change: impl Fn(HandOverFacts) -> HandOverFacts) {
    let mut world = World::room_of(68, 4);
    let view = world.peers[0].room.view();
    let facts = HandOverFacts {
        room: view.room,
        epoch: view.epoch,
        next: Epoch { counter: 2, supernode: world.peers[2].id },
        head: Head::default(),
    };
    let hand_over = HandOver::sign(&world.peers[0].identity, change(facts));
    world.inject(from, 1, RoomMessage::HandOver(hand_over));
    assert_eq!(world.alerts(1), 1);
    world.run(3000);
    assert_eq!(world.assert_leader(), 0);
    assert_eq!(world.peers[1].room.view().epoch.counter, 1);
}

#[test]
fn a_hand_over_comes_from_nobody_but_whoever_hands_over() {
    no_hand_over(3, |facts| facts);
}

#[test]
fn a_hand_over_of_another_room_counts_for_nothing() {
    no_hand_over(0, |facts| HandOverFacts { room: RoomId([9; 16]), ..facts });
}

#[test]
fn a_hand_over_of_another_epoch_counts_for_nothing() {
    no_hand_over(0, |facts| HandOverFacts { epoch: Epoch { counter: 7, ..facts.epoch }, ..facts });
}

/// Nor to itself, or to an epoch that is none.
#[test]
fn a_hand_over_to_a_huge_epoch_counts_for_nothing() {
    for counter in [u64::MAX, 1 << 40, 1, 0] {
        no_hand_over(0, |facts| HandOverFacts { next: Epoch { counter, ..facts.next }, ..facts });
    }
    no_hand_over(0, |facts| HandOverFacts { next: Epoch { counter: 2, ..facts.epoch }, ..facts });
}

/// A member kept the hand-over by which the present epoch began, or one that came to nothing.
#[test]
fn a_hand_over_that_comes_again_counts_for_nothing() {
    let mut world = World::room_of(69, 4);
    let (before, after) = (epoch(&world, 1, 0), epoch(&world, 2, 1));
    let room = world.peers[0].room.view().room;
    let old = HandOverFacts { room, epoch: before, next: after, head: Head::default() };
    let old = HandOver::sign(&world.peers[0].identity, old);
    world.quit(0);
    world.run(1000);
    assert_eq!(world.assert_leader(), 1);
    world.inject(3, 2, RoomMessage::HandOver(old));
    assert_eq!(world.alerts(2), 1);
    world.run(3000);
    assert_eq!(world.assert_leader(), 1);
    assert_eq!(world.peers[2].room.view().epoch, after);
}

/// A supernode that goes tells one half of the room of one heir, the other half of another, under one counter. Each follows its own; the
/// two meet, somebody says who did it, and the room is one again.
#[test]
fn two_heirs_to_two_halves_are_noticed_and_the_halves_become_one() {
    let mut world = World::room_of(78, 5);
    world.oracle.liars = true;
    let room = world.peers[0].room.view().room;
    world.say(4, "before");
    world.run(500);
    let [one, other] = [1, 2].map(|who| hand_over(&world, epoch(&world, 5, who)));
    world.pause(0);
    for who in [1, 3] {
        world.inject(0, who, one.clone());
    }
    for who in [2, 4] {
        world.inject(0, who, other.clone());
    }
    world.crash(0);
    world.say(3, "here");
    world.say(4, "there");
    world.run(8000);
    let _ = super::walk::meet(&mut world, room);
    super::check(&world).unwrap();
    world.assert_leader();
    let told = (1..5).filter(|who| {
        let said = |event: &Event| matches!(event, Event::Alert { code: "equivocation", .. });
        world.peers[*who].events.iter().any(said)
    });
    assert!(told.count() >= 2, "both halves");
}

/// A member sends on the claim of another, which was made in earnest.
#[test]
fn a_claim_comes_from_nobody_but_whoever_claims() {
    refused(|world| {
        let room = world.peers[0].room.view().room;
        let facts = ClaimFacts { room, epoch: epoch(world, 1, 0), next: epoch(world, 2, 2) };
        RoomMessage::Claim(Claim::sign(&world.peers[2].identity, facts))
    });
}

/// It may have missed a change, or we did: it is told where we belong, and not believed.
#[test]
fn a_claim_of_another_epoch_changes_nothing() {
    let mut world = World::room_of(77, 4);
    let room = world.peers[0].room.view().room;
    let facts = ClaimFacts { room, epoch: epoch(&world, 7, 0), next: epoch(&world, 8, 3) };
    let claim = RoomMessage::Claim(Claim::sign(&world.peers[3].identity, facts));
    world.crash(0);
    for to in [1, 2] {
        world.inject(3, to, claim.clone());
        assert!(matches!(world.peers[to].room.standing, parts::Standing::Following));
    }
    world.run(4000);
    assert_eq!(world.assert_leader(), 1);
    assert_eq!(world.peers[1].room.view().epoch, epoch(&world, 2, 1));
}

#[test]
fn a_stranger_is_nobodys_heir() {
    let mut world = World::room_of(64, 4);
    let stranger = Epoch { counter: 2, supernode: crate::node::identity::NodeId([7; 32]) };
    let message = hand_over(&world, stranger);
    world.inject(0, 1, message);
    assert_eq!(world.alerts(1), 1);
    world.run(3000);
    assert_eq!(world.assert_leader(), 0);
    assert_eq!(world.peers[0].room.view().epoch.counter, 1);
}

/// A supernode names one successor after the other, each under a higher counter: of what it says twice under one the first counts, and an
/// earlier word that comes again changes nothing.
#[test]
fn two_heirs_under_one_counter_are_reported_and_an_old_hand_over_counts_for_nothing() {
    let mut world = World::room_of(65, 4);
    let promised = |world: &World| match &world.peers[3].room.standing {
        parts::Standing::Promised(promised) => Some(promised.next),
        _ => None,
    };
    let [first, second, earlier] = [(5, 1), (5, 2), (4, 2)].map(|(counter, who)| epoch(&world, counter, who));
    for next in [first, earlier, second] {
        let message = hand_over(&world, next);
        world.inject(0, 3, message);
        assert_eq!(promised(&world), Some(first));
    }
    assert_eq!(world.alerts(3), 1, "that it named two");
    // The first never opens its view: everything is as before.
    world.run(6000);
    assert_eq!(world.assert_leader(), 0);
}

/// Else one member could use the numbers up.
#[test]
fn whoever_comes_back_from_a_huge_epoch_is_not_let_in() {
    let mut world = World::room_of(66, 3);
    let record = world.peers[2].room.record.clone();
    let room = world.peers[0].room.view().room;
    for counter in [1 << 40, u64::MAX] {
        let epoch = Some(epoch(&world, 9, 2));
        let join =
            Join { version: PROTOCOL_VERSION, record: record.clone(), room: Some(room), voucher: None, epoch, counter };
        world.inject(2, 0, RoomMessage::Join(Box::new(join)));
    }
    assert_eq!(world.alerts(0), 2);
    assert_eq!(world.peers[0].room.view().epoch.counter, 1);
}

/// A member brings a line that its author never signed, and one of somebody nobody knows.
#[test]
fn nobody_makes_up_what_was_said_in_another_half() {
    let mut world = World::room_of(67, 4);
    let (mallory, room) = (world.peers[3].identity.clone(), world.peers[0].room.view().room);
    let nobody = crate::node::identity::Identity::from_seed(&[9; 32]);
    let made_up = |author: crate::node::identity::NodeId, signer: &crate::node::identity::Identity| {
        let id = LineId { voice: Voice { author, start: 1 }, counter: 1 };
        let saying = Saying { room, id, previous: ChainHash::default(), time: 0, text: "x".to_owned() };
        let epoch = Epoch { counter: 2, supernode: signer.id() };
        Placed::place(signer, epoch, Head::default(), Line::sign(signer, saying))
    };
    let lines = [made_up(world.peers[1].id, &mallory), made_up(nobody.id(), &nobody)];
    for line in lines {
        world.inject(3, 0, RoomMessage::Rescue(vec![line]));
    }
    assert_eq!(world.alerts(0), 1);
    world.run(500);
    assert!((0..4).all(|who| world.lines(who).is_empty()));
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
    let stranger = &world.peers[1].room;
    let stamp = stranger.stamp();
    let stranger = stranger.view().clone();
    for message in [
        RoomMessage::View(Box::new(stranger)),
        RoomMessage::Held(Held {
            epoch: current,
            number: 1,
            seq: 9,
            chain: ChainHash::default(),
            round: 0,
            again: false,
        }),
        RoomMessage::Beat(Beat { epoch: current, number: 9, head: Head::default(), shown: 9, stable: 9, round: 1 }),
        RoomMessage::Report(Report { next: current, head: Head::default(), view: stamp }),
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
    world.inject(
        1,
        0,
        RoomMessage::Join(Box::new(Join {
            version: PROTOCOL_VERSION,
            record,
            room: None,
            voucher,
            epoch: None,
            counter: 0,
        })),
    );
    world.run(500);
    assert!(!world.peers[0].room.is_member(world.peers[1].id));
}

#[test]
fn a_newer_protocol_is_refused_in_clear_words() {
    let mut world = World::new(55, 2, &RoomConfig { open: true, ..RoomConfig::default() });
    world.join(1, 0);
    world.run(30);
    let record = world.peers[1].room.record.clone();
    world.inject(
        1,
        0,
        RoomMessage::Join(Box::new(Join {
            version: PROTOCOL_VERSION + 1,
            record,
            room: None,
            voucher: None,
            epoch: None,
            counter: 0,
        })),
    );
    world.run(500);
    assert!(world.alerts(0) == 0);
}

/// One member says that it leads another half, with everybody in it and a crowd that nobody knows: those who are here answer for
/// themselves, and nobody is won by making up members.
#[test]
fn a_half_that_a_member_makes_up_deposes_nobody() {
    let mut world = World::room_of(56, 4);
    let room = world.peers[0].room.view().room;
    let everybody = world.peers.iter().map(|peer| peer.id);
    let crowd = (0..1000u16).map(|n| {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        crate::node::identity::NodeId(id)
    });
    let live: Vec<_> = everybody.chain(crowd).collect();
    for _ in 0..5 {
        let hello = Hello { room, epoch: epoch(&world, 1 << 40, 3), live: live.clone() };
        world.inject(3, 0, RoomMessage::Hello(hello));
        world.run(300);
        assert!(world.peers[0].room.is_supernode());
        assert!(world.peers[0].room.joining.is_none(), "it does not even ask");
    }
    world.run(3000);
    assert_eq!(world.assert_leader(), 0);
    let many = (0..5000u16).map(|n| crate::node::identity::NodeId([n as u8; 32])).collect();
    world.inject(3, 0, RoomMessage::Hello(Hello { room, epoch: epoch(&world, 9, 3), live: many }));
    assert_eq!(world.alerts(0), 1, "no room has so many");
}

/// While the next supernode collects what survivors hold, one of them says that it holds everything up to the end of all numbers. Were
/// that believed, no line would ever find a place again.
#[test]
fn a_survivor_that_lies_about_what_it_holds_does_not_use_up_the_places() {
    let mut world = World::room_of(57, 4);
    world.say(1, "before");
    world.run(500);
    world.crash(0);
    let room = world.peers[1].room.view().room;
    let mut lied = 0;
    for _ in 0..400 {
        world.run(10);
        let parts::Standing::Claiming(claiming) = &world.peers[1].room.standing else { continue };
        let (next, view) = (claiming.next, world.peers[3].room.stamp());
        for seq in [u64::MAX - 1, 1 << 30] {
            let last = Head { seq, chain: ChainHash([7; 32]) };
            world.inject(3, 1, RoomMessage::Report(Report { next, head: Head { seq: seq + 1, ..last }, view }));
            let mallory = &world.peers[3].identity;
            let id = LineId { voice: Voice { author: mallory.id(), start: 1 }, counter: 1 };
            let saying = Saying { room, id, previous: ChainHash::default(), time: 0, text: "x".to_owned() };
            let made_up = Epoch { counter: 0, supernode: mallory.id() };
            let placed = Placed::place(mallory, made_up, last, Line::sign(mallory, saying));
            let lines = Lines { epoch: next, before: last.chain, oldest: 1, lines: vec![placed] };
            world.inject(3, 1, RoomMessage::Lines(lines));
            lied += 1;
        }
    }
    assert!(lied > 0, "nobody claimed");
    world.run(5000);
    assert!(world.peers[1].room.log.head().seq < 10, "{:?}", world.peers[1].room.log.head());
    world.say(2, "after");
    world.run(1500);
    for who in [1, 2] {
        assert_eq!(world.lines(who), ["before", "after"]);
    }
}

/// The first in line takes one line at a time, each just before patience ends: the others do not wait for it line by line.
#[test]
fn a_successor_that_takes_one_line_at_a_time_makes_nobody_wait() {
    let mut world = World::room_of(58, 4);
    for other in [0, 2, 3] {
        world.cut(1, other);
    }
    (0..20).for_each(|n| world.say(0, &format!("line {n}")));
    let id = world.peers[1].id;
    for seq in 1..8 {
        world.run(280);
        let room = &world.peers[0].room;
        let (epoch, number, round) = (room.view().epoch, room.view().number, room.sequencer.round);
        let chain = room.log.chain_at(seq).unwrap();
        let held = Held { epoch, number, seq, chain, round, again: false };
        world.call(0, |room, now| room.handle_message(now, id, RoomMessage::Held(held)));
    }
    assert_eq!(world.lines(2).len(), 20, "two seconds later everything is on everybody else's screen");
}

/// Changes of one's own record, requests to be let in again, invitations that expire at once: each makes the supernode tell everybody.
#[test]
fn one_member_cannot_make_the_supernode_talk_without_end() {
    let mut world = World::room_of(59, 3);
    let before = world.peers[0].room.view().number;
    let (identity, room) = (world.peers[2].identity.clone(), world.peers[0].room.view().room);
    for n in 0..1000u64 {
        let record = crate::node::record::MemberRecord::sign(&identity, "x", &[], 10 + n);
        world.inject(2, 0, RoomMessage::Record(Box::new(record.clone())));
        world.inject(
            2,
            0,
            RoomMessage::Join(Box::new(Join {
                version: PROTOCOL_VERSION,
                record,
                room: Some(room),
                voucher: None,
                epoch: None,
                counter: 0,
            })),
        );
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let state = InvitationState { id, secret: [0; 32], by: identity.id(), remaining_ms: 0, used_by: None };
        world.inject(2, 0, RoomMessage::Invite(state));
    }
    let views = world.peers[0].room.view().number - before;
    assert!(views <= 70, "{views} views");
    world.run(3000);
    world.say(2, "and it may still speak");
    world.run(500);
    assert_eq!(world.lines(1), ["and it may still speak"]);
    assert_eq!(world.assert_leader(), 0);
}

/// A member that forges all day fills nobody's screen.
#[test]
fn alerts_are_few() {
    let mut world = World::room_of(60, 3);
    let room = world.peers[0].room.view().room;
    let facts = ClaimFacts { room, epoch: epoch(&world, 1, 0), next: epoch(&world, 2, 1) };
    let claim = RoomMessage::Claim(Claim::sign(&world.peers[2].identity, facts));
    (0..1000).for_each(|_| world.inject(2, 1, claim.clone()));
    assert_eq!(world.alerts(1), 16);
}

/// Two who know the room but not each other do not greet each other for ever.
#[test]
fn a_greeting_from_nobody_is_answered_now_and_then() {
    let mut world = World::new(61, 2, &RoomConfig::default());
    world.join(1, 0);
    world.run(200);
    let room = world.peers[0].room.view().room;
    let (stranger, hello) = (world.peers[1].id, Hello { room, epoch: epoch(&world, 7, 1), live: Vec::new() });
    let now = world.now;
    let host = &mut world.peers[0].room;
    while host.poll_output().is_some() {}
    (0..100).for_each(|_| host.handle_message(now, stranger, RoomMessage::Hello(hello.clone())));
    let answers = std::iter::from_fn(|| host.poll_output());
    let (greetings, others): (Vec<_>, Vec<_>) = answers
        .filter(|output| matches!(output, RoomOutput::Send { .. }))
        .partition(|output| matches!(output, RoomOutput::Send { message: RoomMessage::Hello(_), .. }));
    assert!(
        greetings.len() == 1 && (1..=8).contains(&others.len()),
        "and a few times it is told that it is a stranger"
    );
}

/// Records are signed by whom they name, who can write any address into them.
#[test]
fn nobody_far_away_makes_us_call_our_own_machine() {
    use crate::node::identity::Identity;
    use crate::node::record::MemberRecord;
    use crate::time::Instant;
    let [ann, bob, mallory] = [1, 2, 3].map(|seed| std::sync::Arc::new(Identity::from_seed(&[seed; 32])));
    let far = |host: u8| std::net::SocketAddr::from(([192, 0, 2, host], 7000));
    let here: std::net::SocketAddr = "127.0.0.1:53".parse().unwrap();
    let mapped: std::net::SocketAddr = "[::ffff:127.0.0.1]:53".parse().unwrap();
    let linked = |remote, record: &MemberRecord| LinkedPeer {
        record: record.clone(),
        remote: Some(remote),
        secret: None,
        dial: None,
    };
    let trap = MemberRecord::sign(&mallory, "m", &[here, mapped, far(9)], 1);
    let plain = MemberRecord::sign(&bob, "b", &[far(2)], 1);
    let room = |own: &[std::net::SocketAddr]| {
        let record = MemberRecord::sign(&ann, "a", own, 1);
        Room::new(ann.clone(), record, RoomConfig::default(), Instant::ZERO, [0; 32])
    };
    let mut one = room(&[far(1)]);
    one.handle_link_up(Instant::ZERO, linked(far(3), &trap));
    assert_eq!(one.addresses_of(&trap), [far(9)], "it was seen far away");
    assert_eq!(one.addresses_told_by(plain.id(), &trap), [far(9)]);
    one.handle_link_up(Instant::ZERO, linked(here, &plain));
    assert_eq!(one.addresses_told_by(plain.id(), &trap).len(), 3, "told by someone on this machine");
    assert_eq!(
        room(&[here]).addresses_of(&trap).len(),
        3,
        "we listen on loopback only, where nobody far away is heard"
    );
}

/// In a room of three the supernode dies, and the only witness says that it lives, for as long as it is asked: chat goes on all the same.
#[test]
fn a_witness_that_lies_does_not_keep_us_from_going_on() {
    let mut world = World::room_of(62, 3);
    world.crash(0);
    world.pause(2);
    let (old, liar) = (world.peers[1].room.view().epoch, world.peers[2].id);
    world.say(1, "is anybody there?");
    for _ in 0..300 {
        world.run(50);
        world.call(1, |room, now| {
            room.handle_heard(now, liar, crate::time::Duration::ZERO);
            room.handle_message(now, liar, RoomMessage::Verdict(Verdict { epoch: old, heard_ms: Some(1) }));
            room.handle_message(now, liar, RoomMessage::Alive(old));
        });
    }
    assert!(world.peers[1].room.is_supernode());
    assert_eq!(world.lines(1), ["is anybody there?"]);
}

/// Two halves of a room let two people in by one invitation: nobody is thrown out, but those who invited are told, once.
#[test]
fn an_invitation_used_in_both_halves_is_reported_once() {
    let mut world = World::room_of(63, 2);
    let invitation = world.call(0, |room, now| room.invite(now)).unwrap();
    world.run(200);
    let mut view = world.peers[0].room.view().clone();
    let used = |by: u8| Some(crate::node::identity::NodeId([by; 32]));
    for (number, by) in [(1, 7), (2, 8), (3, 8)] {
        view.number += number;
        let state = view.invitations.iter_mut().find(|state| state.id == invitation.id.0).unwrap();
        state.used_by = used(by);
        world.inject(0, 1, RoomMessage::View(Box::new(view.clone())));
    }
    assert_eq!(world.alerts(1), 1);
}
