//! Sockets and probes that are not needed.

use super::gathering::{MINUTE, SECOND, SUPERNODE, assemble, become_direct, gather};
use crate::house::House;
use crate::town::Town;
use anjer::machine::SocketId;
use anjer::stun::punch::budget::SOCKETS;
use anjer::time::Duration;
use netem::{Behaviour, Verdict};
use std::cell::Cell;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// What all punches together may have open, and what a node has besides: where it listens, and what measures the NAT.
const MOST_SOCKETS: usize = SOCKETS as usize + 10;

/// Sockets that are no punch's or path's: those where a NAT's lifetime is measured, for minutes.
const DISCOVERY: RangeInclusive<SocketId> = SocketId(1)..=SocketId(1 << 20);

fn open_sockets(house: &House) -> usize {
    house.sockets().filter(|(socket, _)| !DISCOVERY.contains(socket)).count()
}

/// A direct path may be on a socket that a punch opened; the others are closed.
#[test]
fn sockets_that_serve_no_path_are_closed() {
    let pairs: [[Behaviour; 2]; 4] = [
        [Behaviour::port_restricted(), Behaviour::port_restricted()],
        [Behaviour::port_restricted(), Behaviour::symmetric()],
        [Behaviour::symmetric_512(), Behaviour::symmetric_4096()],
        [Behaviour::symmetric(), Behaviour::symmetric()],
    ];
    for [one, other] in pairs {
        let (mut town, _) = gather(1, &[core::slice::from_ref(&one), core::slice::from_ref(&other)]);
        let done = |town: &Town| town.are_direct(1, 2) || town.why(1, 2).is_some() || town.why(2, 1).is_some();
        assert!(town.run_until(MINUTE, done), "{}", town.story(1));
        town.run_until(25 * SECOND, |_| false);
        for index in 0..3 {
            let house = town.house(index);
            // The main one, the one that STUN's other port is answered from, and one for the path.
            assert!(
                open_sockets(house) <= 3,
                "{index} has {:?} open: {one:?} {other:?}\n{}",
                house.sockets().collect::<Vec<_>>(),
                town.story(index)
            );
            assert!(house.most_sockets <= MOST_SOCKETS, "{index} had {} open", house.most_sockets);
        }
    }
}

/// Several pairs at once share what sockets there are.
#[test]
fn five_hard_cases_at_once_keep_to_the_sockets_of_one() {
    let hard: &[Behaviour] = &[Behaviour::symmetric()];
    let easy: &[Behaviour] = &[Behaviour::port_restricted()];
    let (mut town, _) = gather(1, &[hard, easy, easy, easy, hard]);
    town.run_until(MINUTE, |_| false);
    for index in 0..6 {
        let most = town.house(index).most_sockets;
        assert!(most <= MOST_SOCKETS, "{index} had {most} sockets open");
    }
    become_direct(&mut town, 1, 2, MINUTE);
}

/// Probes may be what keeps the line to the supernode from being heard: they pause when that is silent.
#[test]
fn probes_pause_while_the_supernode_is_silent() {
    let mut town = Town::new(1);
    town.settle(None, true);
    for behaviour in [Behaviour::port_restricted(), Behaviour::symmetric()] {
        let nat = town.nat(&[behaviour]);
        town.settle(nat, false);
    }
    // Probes of the first member as they leave its machine, and whether the supernode is to be heard by it.
    let (probes, deaf) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(false)));
    let (counted, is_deaf) = (Rc::clone(&probes), Rc::clone(&deaf));
    let (supernode, site) = (town.address(SUPERNODE), town.address(1));
    town.network.set_tap(move |_, packet| {
        counted.set(counted.get() + u32::from(packet.from == site && packet.bytes.first() == Some(&0xA3)));
        let between: fn(SocketAddr, SocketAddr) -> bool = |one, other| one.ip() == other.ip();
        let lost = is_deaf.get() && between(packet.from, supernode) && packet.to.ip() == site.ip();
        if lost { Verdict::Drop } else { Verdict::Pass }
    });
    assemble(&mut town, 2);
    assert!(town.run_until(20 * SECOND, |_| probes.get() > 100), "ports are tried: {}", probes.get());
    assert!(!town.are_direct(1, 2));
    deaf.set(true);
    town.run_until(Duration::from_millis(900), |_| false);
    let before = probes.get();
    town.run_until(Duration::from_millis(300), |_| false);
    assert_eq!(probes.get(), before, "probes go on");
    deaf.set(false);
    become_direct(&mut town, 1, 2, MINUTE);
}
