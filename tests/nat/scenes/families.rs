//! IPv6 alone against both.

use super::gathering::{MINUTE, SECOND, SUPERNODE, become_direct, talk, was_quiet};
use crate::town::{PORT, Town};
use anjer::node::Command;
use netem::{Behaviour, Site};
use std::net::{IpAddr, SocketAddr};

fn v6(last: u16) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])
}

/// The one has only IPv6, the other a NAT for IPv4 and an IPv6 address of its own: that is how they meet.
#[test]
fn one_with_ipv6_alone_reaches_one_with_both_directly() {
    let mut town = Town::new(1);
    let ip = IpAddr::from([192, 0, 2, 10]);
    town.settle_at(Site::machine(ip), &[ip, v6(10)], true);
    let alone = town.settle_at(Site::machine(v6(11)), &[v6(11)], false);
    let nat = town.nat(&[Behaviour::symmetric()]).unwrap();
    let inside = IpAddr::from([10, 0, 0, 12]);
    let both = town.settle_at(nat.machine(inside), &[inside, v6(12)], false);
    town.run_until(8 * SECOND, |_| false);
    town.command(both, Command::ConnectTo(SocketAddr::new(ip, PORT)));
    assert!(town.run_until(MINUTE, |town| town.members(both).len() == 2), "{}", town.story(both));
    town.command(alone, Command::ConnectTo(SocketAddr::new(v6(10), PORT)));
    let came = town.run_until(MINUTE, |town| town.members(alone).len() == 3 && town.members(both).len() == 3);
    assert!(came, "{}\n{}", town.story(SUPERNODE), town.story(alone));
    become_direct(&mut town, alone, both, 10 * SECOND);
    talk(&mut town, alone, both, SECOND);
    was_quiet(&town, 3);
}

/// One has IPv4 alone, one IPv6 alone: whoever has both passes on between them, for there is no other way.
#[test]
fn one_with_ipv6_alone_and_one_with_ipv4_alone_are_relayed() {
    let mut town = Town::new(1);
    let ip = IpAddr::from([192, 0, 2, 10]);
    town.settle_at(Site::machine(ip), &[ip, v6(10)], true);
    let six = town.settle_at(Site::machine(v6(11)), &[v6(11)], false);
    let four = town.settle(None, false);
    town.run_until(8 * SECOND, |_| false);
    town.command(four, Command::ConnectTo(SocketAddr::new(ip, PORT)));
    assert!(town.run_until(MINUTE, |town| town.members(four).len() == 2), "{}", town.story(four));
    town.command(six, Command::ConnectTo(SocketAddr::new(v6(10), PORT)));
    let linked = town.run_until(20 * SECOND, |town| town.path(six, four).is_some() && town.path(four, six).is_some());
    assert!(linked, "{}\n{}", town.story(six), town.story(four));
    talk(&mut town, six, four, SECOND);
    let said = town.run_until(MINUTE, |town| town.why(six, four).is_some() || town.why(four, six).is_some());
    assert!(said, "{}\n{}", town.story(six), town.story(four));
    was_quiet(&town, 3);
}
