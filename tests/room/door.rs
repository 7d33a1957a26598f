//! Who gets in.

use crate::village::{Village, address, street};
use anjer::node::{Command, Event};

fn ticket(village: &Village, inviter: usize) -> String {
    let ticket = |event| match event {
        Event::Ticket { ticket, .. } => Some(ticket),
        _ => None,
    };
    village.told(inviter).into_iter().find_map(ticket).unwrap()
}

#[test]
fn a_ticket_lets_one_person_in_and_no_second() {
    let mut village = Village::new(21, street());
    for _ in 0..3 {
        village.open(false);
    }
    village.command(0, Command::Invite);
    let ticket = ticket(&village, 0);
    village.command(1, Command::ConnectWith(ticket.clone()));
    assert!(village.run_until(5, |village| village.members(1).len() == 2), "{:?}", village.told(1));
    village.command(2, Command::ConnectWith(ticket));
    assert!(village.run_until(15, |village| !village.errors(2).is_empty()), "{:?}", village.told(2));
    assert_eq!(village.members(0).len(), 2);
}

/// The ancestor's way: `C` on one side, and an answer on the other.
#[test]
fn whoever_asks_is_let_in_when_somebody_says_so() {
    let mut village = Village::new(22, street());
    let (host, guest) = (village.open(false), village.open(false));
    village.command(guest, Command::ConnectTo(address(host)));
    let asked = |event: &Event| matches!(event, Event::Asked { .. });
    assert!(village.run_until(5, |village| village.told_at(host, asked).is_some()));
    assert_eq!(village.members(host).len(), 1);
    let id = village.id(guest).to_string();
    village.command(host, Command::AdmitId(id[..6].to_owned()));
    assert!(village.run_until(5, |village| village.members(guest).len() == 2), "{:?}", village.told(guest));
    village.say(guest, "hello");
    assert!(village.run_until(5, |village| village.has_heard(host, "hello")));
}

#[test]
fn two_who_type_c_at_each_other_are_in_one_room_that_the_lower_id_leads() {
    let mut village = Village::new(23, street());
    let (one, two) = (village.open(false), village.open(false));
    village.command(one, Command::ConnectTo(address(two)));
    village.command(two, Command::ConnectTo(address(one)));
    assert!(village.run_until(10, |village| [one, two].iter().all(|who| village.members(*who).len() == 2)));
    let lower = village.id(one).min(village.id(two));
    assert_eq!(village.members(one)[0], lower);
    assert_eq!(village.members(two)[0], lower);
}

#[test]
fn nobody_at_the_address_is_said_in_time() {
    let mut village = Village::new(24, street());
    let one = village.open(false);
    village.command(one, Command::ConnectTo(address(99)));
    assert!(village.run_until(15, |village| !village.errors(one).is_empty()));
    assert_eq!(village.errors(one)[0].0, Some('C'));
    village.say(one, "to myself");
    assert!(village.run_until(2, |village| village.has_heard(one, "to myself")), "the own room is still there");
}
