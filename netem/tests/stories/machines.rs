//! Hosts that have all ports of an address, and hosts that have several addresses.

use crate::talker::{Talker, address, echo};
use core::time::Duration;
use netem::{Behaviour, Fault, Link, Mapping, NatId, Network, Packet, Ports, Site};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOME: [u8; 4] = [192, 168, 1, 2];
const OUTSIDE: [u8; 4] = [203, 0, 113, 1];

/// A world with an echo at address 1, ten milliseconds away from everybody, and a machine behind a NAT.
fn world(behaviour: Behaviour) -> (Network<Talker>, NatId, Site) {
    let mut network = Network::new(3, Link::with_delay(10 * MS));
    network.add(address(1), echo());
    let nat = network.add_nat(behaviour, OUTSIDE);
    network.add(nat.machine(HOME), Talker::default());
    (network, nat, nat.machine(HOME))
}

fn say(network: &mut Network<Talker>, site: Site, from: SocketAddr, to: SocketAddr) {
    let bytes = from.port().to_be_bytes().to_vec();
    network.host_mut(site).unwrap().to_say.push_back(Packet::new(from, to, bytes));
}

/// The ports that what a machine heard was sent to.
fn sockets(network: &Network<Talker>, site: Site) -> Vec<u16> {
    network.host(site).unwrap().heard_at.iter().map(SocketAddr::port).collect()
}

#[test]
fn a_machine_with_many_sockets_is_one_host_and_hears_each_of_them() {
    let mut network = Network::new(3, Link::with_delay(10 * MS));
    network.add(address(1), echo());
    let site = Site::machine([10, 0, 0, 2]);
    network.add(site, Talker::default());
    for port in 5000..5256 {
        say(&mut network, site, SocketAddr::from(([10, 0, 0, 2], port)), address(1));
    }
    network.run_for(SECOND);
    assert_eq!(sockets(&network, site), (5000..5256).collect::<Vec<_>>());
    // They share one link.
    assert_eq!(network.counters(site, address(1)).delivered, 256);
    assert_eq!(network.sites().count(), 2);
    assert!(network.host(Site::host([10, 0, 0, 2], 5100)).is_some(), "any of its ports names it");
}

#[test]
fn behind_a_nat_each_socket_has_a_mapping_and_its_answers_come_to_it() {
    for (name, behaviour) in Behaviour::KINDS.into_iter().filter(|(name, _)| *name != "blocked") {
        let (mut network, nat, site) = world(behaviour());
        for port in 5000..5256 {
            say(&mut network, site, SocketAddr::from((HOME, port)), address(1));
        }
        network.run_for(SECOND);
        let heard: BTreeSet<u16> = sockets(&network, site).into_iter().collect();
        assert_eq!((heard.len(), network.nat(nat).unwrap().mappings(SECOND)), (256, 256), "{name}");
        let seen: BTreeSet<SocketAddr> = network.host(address(1)).unwrap().heard_from.iter().copied().collect();
        assert_eq!(seen.len(), 256, "{name}");
    }
}

#[test]
fn machines_behind_one_nat_are_told_apart() {
    let (mut network, nat, first) = world(Behaviour::port_restricted());
    let second = nat.machine([192, 168, 1, 3]);
    network.add(second, Talker::default());
    say(&mut network, first, SocketAddr::from((HOME, 5000)), address(1));
    say(&mut network, second, SocketAddr::from(([192, 168, 1, 3], 5000)), address(1));
    say(&mut network, second, SocketAddr::from(([192, 168, 1, 3], 5001)), SocketAddr::from((HOME, 7000)));
    network.run_for(SECOND);
    assert_eq!(sockets(&network, first), [7000, 5000], "the neighbour's comes first, without the NAT");
    assert_eq!(sockets(&network, second), [5000]);
}

#[test]
fn a_machine_has_an_address_behind_a_nat_and_another_in_the_world_of_ipv6() {
    let (mut network, nat, site) = world(Behaviour::symmetric());
    let [far, near] = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse::<IpAddr>().unwrap());
    network.add(Site::machine(far), echo());
    assert!(network.add_address(site, Site::machine(near)));
    assert!(!network.add_address(site, Site::machine(far)), "somebody has it");
    assert!(!network.add_address(Site::machine([9, 9, 9, 9]), Site::machine([9, 9, 9, 8])), "nobody has that");
    say(&mut network, site, SocketAddr::new(near, 6000), SocketAddr::new(far, 1));
    say(&mut network, site, SocketAddr::from((HOME, 4000)), address(1));
    network.run_for(SECOND);
    assert_eq!(sockets(&network, site).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([4000, 6000]));
    let seen = network.host(Site::machine(far)).unwrap().heard_from[0];
    assert_eq!(seen, SocketAddr::new(near, 6000), "nothing translates IPv6");
    assert_eq!(network.nat(nat).unwrap().counters.outbound, 1);
    // Each address has links of its own.
    assert_eq!(network.counters(Site::machine(near), Site::machine(far)).delivered, 1);
    network.cut(Site::machine(near), Site::machine(far));
    say(&mut network, site, SocketAddr::new(near, 6000), SocketAddr::new(far, 1));
    say(&mut network, site, SocketAddr::from((HOME, 4001)), address(1));
    network.run_for(SECOND);
    assert_eq!(sockets(&network, site).len(), 3);
    assert_eq!(network.counters(Site::machine(near), Site::machine(far)).dropped.cut, 1);
}

#[test]
fn a_machine_is_paused_crashes_and_moves_with_all_its_ports() {
    let mut network = Network::new(3, Link::with_delay(10 * MS));
    network.unreachable_is_reported = true;
    let (site, six) = (Site::machine([10, 0, 0, 2]), Site::machine("2001:db8::2".parse::<IpAddr>().unwrap()));
    network.add(address(1), Talker::default());
    network.add(site, Talker::default());
    network.add_address(site, six);
    let at = |last: u8, port: u16| SocketAddr::from(([10, 0, 0, last], port));
    network.pause(Site::host([10, 0, 0, 2], 5000));
    say(&mut network, address(1).into(), address(1), at(2, 7));
    network.run_for(SECOND);
    assert!(sockets(&network, site).is_empty());
    network.resume(site);
    assert_eq!(sockets(&network, site), [7]);
    assert!(network.apply(&Fault::ChangeAddress(site, [10, 0, 0, 3].into())));
    say(&mut network, address(1).into(), address(1), at(2, 8));
    say(&mut network, address(1).into(), address(1), at(3, 9));
    network.run_for(SECOND);
    let moved = Site::machine([10, 0, 0, 3]);
    assert_eq!(sockets(&network, moved), [7, 9]);
    assert_eq!(network.host(address(1)).unwrap().unreachable, [at(2, 8)], "the port is told");
    assert!(network.host(six).is_some_and(|host| host.heard.len() == 2), "it kept its other address");
    assert!(network.crash(six).is_some() && network.host(moved).is_none());
}

/// The same for all sockets: after a reboot kept ports come back, after a rebinding none does, and after 20 s of silence nobody gets in.
#[test]
fn reboot_rebinding_and_lifetime_happen_to_every_socket() {
    let seen_after = |trouble: fn(&mut Network<Talker>, Site)| {
        let (mut network, nat, site) = world(Behaviour::short_lived());
        let round = |network: &mut Network<Talker>| -> Vec<SocketAddr> {
            let before = network.host(address(1)).unwrap().heard_from.len();
            (5000..5064).for_each(|port| say(network, site, SocketAddr::from((HOME, port)), address(1)));
            network.run_for(SECOND);
            network.host(address(1)).unwrap().heard_from[before..].to_vec()
        };
        let first = round(&mut network);
        trouble(&mut network, Site::from(nat));
        let inside = network.nat(nat).unwrap().counters.inbound;
        for remote in &first {
            network.inject(Packet::new(address(1), *remote, b"still there?".to_vec()));
        }
        network.run_for(SECOND);
        let came = network.nat(nat).unwrap().counters.inbound - inside;
        let second = round(&mut network);
        (came, first.iter().zip(&second).filter(|(first, second)| first == second).count())
    };
    assert_eq!(seen_after(|_, _| ()), (64, 64));
    assert_eq!(seen_after(|network, nat| assert!(network.apply(&Fault::Reboot(nat)))), (0, 64));
    assert_eq!(seen_after(|network, nat| assert!(network.apply(&Fault::Rebind(nat)))), (0, 0));
    assert_eq!(seen_after(|network, _| network.run_for(20 * SECOND)), (0, 64));
}

#[test]
fn through_two_nats_in_a_row_a_machine_has_as_many_ports_as_sockets() {
    let (mut network, outer, _) = world(Behaviour::symmetric());
    let inner = network.add_nat_behind(outer, Behaviour::port_restricted(), [100, 64, 0, 1]);
    let site = inner.machine(HOME);
    network.add(site, Talker::default());
    (5000..5064).for_each(|port| say(&mut network, site, SocketAddr::from((HOME, port)), address(1)));
    network.run_for(SECOND);
    assert_eq!(sockets(&network, site), (5000..5064).collect::<Vec<_>>());
}

#[test]
fn where_udp_is_blocked_a_machine_hears_nothing() {
    let (mut network, nat, site) = world(Behaviour::blocked());
    (5000..5064).for_each(|port| say(&mut network, site, SocketAddr::from((HOME, port)), address(1)));
    network.run_for(SECOND);
    assert!(sockets(&network, site).is_empty());
    assert_eq!(network.nat(nat).unwrap().counters.blocked, 64);
}

/// What the birthday attack on two NATs rests on: 50 sockets × 50 remote ports are 2,500 mappings of 512 ports.
#[test]
fn sockets_and_remote_ports_multiply_where_every_remote_has_its_mapping() {
    let (mut network, nat, site) = world(Behaviour::symmetric_512());
    for socket in 5000..5050 {
        for port in 1..=50 {
            say(&mut network, site, SocketAddr::from((HOME, socket)), SocketAddr::from(([10, 0, 0, 7], port)));
        }
    }
    network.run_for(SECOND);
    let nat = network.nat(nat).unwrap();
    assert_eq!((nat.mappings(SECOND), nat.counters.no_port), (2500, 0));
    assert_eq!((nat.behaviour.mapping, nat.behaviour.ports), (Mapping::ByAddressAndPort, Ports::Random { pool: 512 }));
}
