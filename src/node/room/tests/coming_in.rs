//! How people come in.

use super::super::message::{Answer, Voucher, VoucherFacts};
use super::super::*;
use super::{World, check};
use crate::node::api::{ErrorCode, Event, Succession};
use crate::node::record::MemberRecord;

fn shut() -> RoomConfig {
    RoomConfig::default()
}

fn open() -> RoomConfig {
    RoomConfig { open: true, ..RoomConfig::default() }
}

fn last_error(world: &World, who: usize) -> Option<ErrorCode> {
    world.peers[who].events.iter().rev().find_map(|event| match event {
        Event::Error { code, .. } => Some(*code),
        _ => None,
    })
}

fn asked(world: &World, who: usize) -> usize {
    world.peers[who].events.iter().filter(|event| matches!(event, Event::Asked { .. })).count()
}

fn ticket(invitation: Invitation) -> Invited {
    let hosts = invitation.members.iter().map(|record| Host {
        id: record.id(),
        key: record.noise(),
        addresses: record.facts.addresses.clone(),
    });
    Invited { room: invitation.room, id: invitation.id, secret: invitation.secret.clone(), hosts: hosts.collect() }
}

#[test]
fn everyone_opens_a_room_of_its_own_and_leads_it() {
    let world = World::new(1, 1, &shut());
    let first = Event::Supernode { id: world.peers[0].id, epoch: 1, me: true, reason: Succession::First };
    assert_eq!(world.peers[0].events, [first]);
}

#[test]
fn from_loopback_and_at_an_open_door_one_is_let_in_unasked() {
    for config in [open(), RoomConfig { local: true, ..shut() }] {
        let mut world = World::new(2, 2, &config);
        world.join(1, 0);
        world.run(1000);
        assert_eq!(world.assert_leader(), 0);
        assert!(world.errors(0).is_empty() && world.errors(1).is_empty());
        let connected = world.peers[1].events.iter().any(|event| matches!(event, Event::Connected { .. }));
        assert!(connected);
    }
}

#[test]
fn at_a_shut_door_the_people_inside_are_asked_once_and_let_in_by_a_beginning_of_the_id() {
    let mut world = World::new(3, 2, &shut());
    world.join(1, 0);
    world.run(1000);
    world.join(1, 0);
    world.run(1000);
    assert_eq!(asked(&world, 0), 1);
    assert!(world.leader().is_none());
    let text = world.peers[1].id.to_string();
    world.call(0, |room, now| room.admit_id(now, "abc"));
    assert_eq!(last_error(&world, 0), Some(ErrorCode::Usage));
    world.call(0, |room, now| room.admit_id(now, "zzzzzz"));
    assert_eq!(last_error(&world, 0), Some(ErrorCode::NotFound));
    world.call(0, |room, now| room.admit_id(now, &text[..6]));
    world.run(500);
    assert_eq!(world.assert_leader(), 0);
}

#[test]
fn whoever_is_not_answered_for_ten_minutes_is_told_so() {
    let mut world = World::new(4, 2, &shut());
    world.join(1, 0);
    world.run(601_000);
    assert_eq!(last_error(&world, 1), Some(ErrorCode::Timeout));
}

#[test]
fn a_window_lets_in_whoever_comes_from_that_address_before_or_after() {
    for before in [true, false] {
        let mut world = World::new(5, 3, &shut());
        let address = world.peers[1].address;
        if before {
            world.call(0, |room, now| room.admit_address(now, address));
        }
        world.join(2, 0);
        world.join(1, 0);
        world.run(500);
        if !before {
            world.call(0, |room, now| room.admit_address(now, address));
            world.run(500);
        }
        assert!(world.peers[0].room.is_member(world.peers[1].id));
        assert!(!world.peers[0].room.is_member(world.peers[2].id));
    }
}

#[test]
fn a_ticket_lets_in_one_person_even_past_a_supernode_that_never_saw_it() {
    let mut world = World::new(6, 4, &shut());
    let address = world.peers[1].address;
    world.call(0, |room, now| room.admit_address(now, address));
    world.join(1, 0);
    world.run(1000);
    // A member invites; the ticket names it first, so it vouches to the supernode.
    let invitation = world.call(1, Room::invite).unwrap();
    world.run(500);
    let invited = ticket(invitation);
    world.call(2, |room, now| room.join_ticket(now, invited.clone()));
    world.run(1000);
    assert!(world.peers[0].room.is_member(world.peers[2].id));
    // The second person is refused, whoever is asked.
    for host in 0..2 {
        let mut one = invited.clone();
        one.hosts.retain(|other| other.id == world.peers[host].id);
        world.call(3, |room, now| room.join_ticket(now, one));
        world.run(1000);
        assert_eq!(last_error(&world, 3), Some(ErrorCode::Refused));
        assert!(!world.peers[0].room.is_member(world.peers[3].id));
    }
    // The first may come again.
    world.quit(2);
    world.run(1000);
    assert!(!world.peers[0].room.is_member(world.peers[2].id));
}

/// The ticket names the supernode too: the call to it is slow, a member sends us on meanwhile, and one of the two calls answers.
#[test]
fn whoever_is_sent_on_to_a_node_that_is_called_already_needs_one_of_the_two_calls() {
    for answered in [1, 3] {
        let mut world = World::new(8, 3, &RoomConfig { local: true, ..shut() });
        world.join(1, 0);
        world.run(500);
        let invitation = world.call(1, Room::invite).unwrap();
        let (host, member) = (world.peers[0].room.view().entries[0].record.clone(), world.peers[1].id);
        let member = world.peers[0].room.view().record(member).unwrap().clone();
        let facts = VoucherFacts {
            room: invitation.room,
            counter: 1,
            joiner: world.peers[2].id,
            member: member.id(),
            invitation: None,
        };
        let voucher = Voucher::sign(&world.peers[1].identity, facts);
        let mut invited = ticket(invitation);
        invited.hosts.sort_by_key(|to| to.id != host.id());
        let (now, room) = (world.now, &mut world.peers[2].room);
        while room.poll_output().is_some() {}
        let dials = |room: &mut Room| -> Vec<DialNumber> {
            let dial = |output| if let RoomOutput::Dial { dial, .. } = output { Some(dial) } else { None };
            std::iter::from_fn(|| room.poll_output()).filter_map(dial).collect()
        };
        let link =
            |record: &MemberRecord, dial| LinkedPeer { record: record.clone(), remote: None, secret: None, dial };
        room.join_ticket(now, invited);
        let first = dials(room);
        room.handle_link_up(now, link(&member, Some(first[1])));
        let answer = Answer::Redirect(Box::new(host.clone()), Box::new(voucher));
        room.handle_message(now, member.id(), RoomMessage::Answer(answer));
        let again = dials(room);
        assert_eq!((first.len(), again.len()), (2, 1));
        let (answers, other) = if answered == 1 { (first[0], again[0]) } else { (again[0], first[0]) };
        room.handle_link_up(now, link(&host, Some(answers)));
        let given_up = |output| if let RoomOutput::GiveUp { dial } = output { Some(dial) } else { None };
        let given_up: Vec<_> = std::iter::from_fn(|| room.poll_output()).filter_map(given_up).collect();
        assert_eq!(given_up, [other]);
    }
}

#[test]
fn a_member_that_is_not_the_supernode_vouches_and_sends_on() {
    let mut world = World::new(7, 3, &RoomConfig { local: true, ..shut() });
    world.join(1, 0);
    world.run(500);
    world.join(2, 1);
    world.run(1000);
    assert_eq!(world.assert_leader(), 0);
}

#[test]
fn joining_a_node_of_ones_own_room_is_a_clear_error() {
    let mut world = World::room_of(8, 3);
    world.join(2, 1);
    world.run(500);
    assert_eq!(last_error(&world, 2), Some(ErrorCode::Exists));
    assert_eq!(world.assert_leader(), 0);
}

#[test]
fn nobody_there_is_a_clear_error_and_the_room_is_kept() {
    let mut world = World::new(9, 2, &open());
    world.crash(0);
    world.join(1, 0);
    world.run(2000);
    assert_eq!(last_error(&world, 1), Some(ErrorCode::Unreachable));
    assert!(world.peers[1].room.is_supernode());
}

#[test]
fn two_who_type_c_at_each_other_meet_under_the_lower_id_whoever_was_first() {
    for gap in [0, 1, 5, 7, 11, 20, 300] {
        for first in [0, 1] {
            let mut world = World::new(10, 2, &shut());
            world.join(first, 1 - first);
            world.run(gap);
            world.join(1 - first, first);
            world.run(2000);
            assert_eq!(world.assert_leader(), 0, "gap {gap}, first {first}");
            assert!(world.errors(0).is_empty() && world.errors(1).is_empty(), "gap {gap}, first {first}");
        }
    }
}

#[test]
fn whoever_joins_another_room_hands_its_own_over() {
    let mut world = World::new(11, 5, &RoomConfig { local: true, ..shut() });
    for who in [1, 2] {
        world.join(who, 0);
        world.run(500);
    }
    world.join(4, 3);
    world.run(500);
    world.join(0, 3);
    world.run(3000);
    let members = |world: &World, who: usize| world.peers[who].room.view().entries.len();
    assert_eq!((members(&world, 1), members(&world, 2)), (2, 2), "those who stayed have a supernode among them");
    assert!(world.peers[1].room.is_supernode());
    assert_eq!((members(&world, 0), members(&world, 3), members(&world, 4)), (3, 3, 3));
    assert!((0..5).all(|who| world.errors(who).is_empty()));
}

#[test]
fn a_newcomer_gets_what_was_said_before_as_history() {
    let mut world = World::new(12, 3, &open());
    world.join(1, 0);
    world.run(500);
    for text in ["a", "b", "c"] {
        world.say(0, text);
    }
    world.run(500);
    world.join(2, 0);
    world.run(1000);
    let history: Vec<&str> = world.peers[2]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Chat { text, history: true, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(history, ["a", "b", "c"]);
    world.say(1, "d");
    world.run(500);
    assert_eq!(world.lines(2), ["d"]);
    check(&world).unwrap();
}

#[test]
fn the_order_of_succession_follows_tenure_and_closes_up() {
    let mut world = World::room_of(13, 4);
    let order = |world: &World| world.peers[0].room.view().ids().collect::<Vec<_>>();
    let id = |world: &World, who: usize| world.peers[who].id;
    assert_eq!(order(&world), (0..4).map(|who| id(&world, who)).collect::<Vec<_>>());
    world.quit(1);
    world.run(1000);
    assert_eq!(order(&world), [0, 2, 3].map(|who| id(&world, who)));
    let (ranking, _) = world.peers[3].room.why();
    assert_eq!(ranking.len(), 3);
    assert!(ranking.iter().all(|rank| rank.terms.iter().any(|term| term.starts_with("tenure="))));
}
