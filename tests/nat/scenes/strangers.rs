//! Two people, two typed addresses, nobody else; a ticket where that cannot do.

use super::gathering::{MINUTE, SECOND, SETTLING, talk};
use crate::town::Town;
use anjer::node::{Command, Event};
use netem::{Behaviour, MATRIX, NatId};
use std::net::SocketAddr;

/// Two houses, each in a room of its own, whose people told each other their addresses.
fn two(seed: u64, one: &[Behaviour], other: &[Behaviour]) -> (Town, [SocketAddr; 2]) {
    let mut town = Town::new(seed);
    let nats: [Option<NatId>; 2] = [one, other].map(|chain| town.nat(chain));
    for nat in nats {
        town.settle(nat, false);
    }
    town.run_until(SETTLING, |_| false);
    let public = [0, 1].map(|index| town.public(index).expect("a STUN server answered"));
    (town, public)
}

fn have_met(town: &Town) -> bool {
    [0, 1].iter().all(|index| town.members(*index).len() == 2)
}

fn must_meet(mut town: Town, names: [&str; 2]) {
    let met = town.run_until(20 * SECOND, have_met);
    assert!(met, "{names:?} did not meet:\n{}\n{}", town.story(0), town.story(1));
    talk(&mut town, 0, 1, 2 * SECOND);
    assert!(town.errors(0).is_empty() && town.errors(1).is_empty(), "{names:?}:\n{}\n{}", town.story(0), town.story(1));
}

/// `A` typed by who leads, a second later `C` by who comes: the supernode may be behind anything, as long as whoever comes is not.
#[test]
fn a_supernode_behind_any_nat_is_reached_by_typed_addresses_alone() {
    for (name, chain) in MATRIX {
        for (other, joiner) in [MATRIX[0], MATRIX[2], MATRIX[3]] {
            let (mut town, [leads, comes]) = two(1, &chain(), &joiner());
            town.command(0, Command::AdmitAddress(comes));
            town.run_until(SECOND, |_| false);
            town.command(1, Command::ConnectTo(leads));
            must_meet(town, [name, other]);
        }
    }
}

/// The other way round: whoever comes may be behind anything, as long as the supernode is not.
#[test]
fn a_joiner_behind_any_nat_is_let_in_by_typed_addresses_alone() {
    for (name, chain) in MATRIX {
        for (other, leader) in [MATRIX[1], MATRIX[4]] {
            let (mut town, [leads, comes]) = two(2, &leader(), &chain());
            // This time the call is first.
            town.command(1, Command::ConnectTo(leads));
            town.run_until(SECOND, |_| false);
            town.command(0, Command::AdmitAddress(comes));
            must_meet(town, [other, name]);
        }
    }
}

/// Both call: that is consent on either side.
#[test]
fn two_who_call_each_other_meet() {
    for (name, chain) in MATRIX {
        let (other, easy) = MATRIX[3];
        let (mut town, [one, two]) = two(3, &chain(), &easy());
        town.command(0, Command::ConnectTo(two));
        town.run_until(SECOND / 2, |_| false);
        town.command(1, Command::ConnectTo(one));
        must_meet(town, [name, other]);
    }
}

/// Two NATs that nothing gets through: a ticket names a member whom both reach.
#[test]
fn a_ticket_that_names_a_public_member_leads_to_a_supernode_that_nobody_reaches() {
    let mut town = Town::new(1);
    let hard = [(); 2].map(|()| town.nat(&[Behaviour::symmetric()]));
    let leads = town.settle(hard[0], true);
    let public = town.settle(None, false);
    let comes = town.settle(hard[1], false);
    town.run_until(SETTLING, |_| false);
    // The supernode calls nobody: the public member comes to it, both by typed addresses.
    let (theirs, ours) = (town.public(public).unwrap(), town.public(leads).unwrap());
    town.command(leads, Command::AdmitAddress(theirs));
    town.command(public, Command::ConnectTo(ours));
    assert!(town.run_until(20 * SECOND, |town| town.members(public).len() == 2), "{}", town.story(public));
    town.command(leads, Command::Invite);
    let ticket = |town: &Town| {
        town.told(leads)
            .find_map(|(_, event)| if let Event::Ticket { ticket, .. } = event { Some(ticket.clone()) } else { None })
    };
    let ticket = ticket(&town).unwrap();
    town.command(comes, Command::ConnectWith(ticket));
    let came = town.run_until(MINUTE, |town| (0..3).all(|index| town.members(index).len() == 3));
    assert!(came, "{}\n{}\n{}", town.story(leads), town.story(public), town.story(comes));
    talk(&mut town, leads, comes, 2 * SECOND);
    assert!(town.errors(comes).is_empty(), "{}", town.story(comes));
}

/// Both type at once, as soon as each is told its address, when little is known of either NAT. The ports of one that counts lie side by
/// side, so that the even spread of what is tried finds them for certain; those that are drawn from a pool may be missed now and then.
#[test]
fn two_who_type_before_their_nats_are_measured_meet() {
    let missed = |leader: &[Behaviour], seed: u64| {
        let mut town = Town::new(seed);
        let nats = [leader, &[Behaviour::port_restricted()][..]].map(|chain| town.nat(chain));
        for nat in nats {
            town.settle(nat, false);
        }
        town.run_until(SECOND * 17 / 20, |_| false);
        let [leads, comes] = [0, 1].map(|index| town.public(index).expect("a STUN server answered"));
        town.command(0, Command::AdmitAddress(comes));
        town.command(1, Command::ConnectTo(leads));
        !town.run_until(20 * SECOND, have_met)
    };
    let count = |leader: &[Behaviour]| (1..=60).filter(|seed| missed(leader, *seed)).count();
    assert_eq!(count(&[Behaviour::symmetric_sequential()]), 0);
    assert_eq!(count(&[Behaviour::symmetric_sequential_2()]), 0);
    for leader in [Behaviour::symmetric_512(), Behaviour::symmetric()] {
        let missed = count(std::slice::from_ref(&leader));
        assert!(missed <= 2, "{leader:?}: {missed} of 60");
    }
}
