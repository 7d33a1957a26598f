//! Hosts behind NATs, and NATs behind NATs.

use crate::talker::{Talker, address, echo};
use core::time::Duration;
use netem::{Behaviour, Filtering, Link, NatId, Network, Packet, Profile, Site};
use std::net::SocketAddr;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The address that everybody has at home.
fn home() -> SocketAddr {
    SocketAddr::from(([192, 168, 1, 2], 5000))
}

fn outside(number: u8) -> [u8; 4] {
    [203, 0, 113, number]
}

/// A world with an echo at address 1, ten milliseconds away from everybody.
fn world() -> Network<Talker> {
    let mut network = Network::new(3, Link::with_delay(10 * MS));
    network.add(address(1), echo());
    network
}

fn say(network: &mut Network<Talker>, site: Site, to: SocketAddr, bytes: &[u8]) {
    let Site::Host { address, .. } = site else { return };
    network.host_mut(site).unwrap().to_say.push_back(Packet::new(address, to, bytes.to_vec()));
    network.run_for(SECOND);
}

fn heard(network: &Network<Talker>, site: impl Into<Site>) -> Vec<Vec<u8>> {
    network.host(site).unwrap().heard.iter().map(|(_, bytes)| bytes.clone()).collect()
}

#[test]
fn two_homes_may_use_the_same_private_addresses() {
    let mut network = world();
    let sites = [1, 2].map(|number| {
        let site = network.add_nat(Behaviour::port_restricted(), outside(number)).host(home());
        network.add(site, Talker::default());
        site
    });
    for (site, word) in sites.iter().zip([b"one", b"two"]) {
        say(&mut network, *site, address(1), word);
    }
    assert_eq!(heard(&network, sites[0]), [b"one"]);
    assert_eq!(heard(&network, sites[1]), [b"two"]);
    let seen = &network.host(address(1)).unwrap().heard_from;
    assert_eq!(*seen, [1, 2].map(|number| SocketAddr::from((outside(number), 5000))));
    assert_eq!(
        network.host(sites[0]).unwrap().heard[0].0,
        20 * MS,
        "behind the NAT no time passes unless told otherwise"
    );
}

#[test]
fn neighbours_behind_one_nat_talk_without_it() {
    let mut network = world();
    let nat = network.add_nat(Behaviour::symmetric(), outside(1));
    let neighbour = SocketAddr::from(([192, 168, 1, 3], 5000));
    network.add(nat.host(home()), Talker::default());
    network.add(nat.host(neighbour), echo());
    say(&mut network, nat.host(home()), neighbour, b"over the fence");
    assert_eq!(heard(&network, nat.host(home())), [b"over the fence"]);
    assert_eq!(network.nat(nat).unwrap().counters.outbound, 0);
    assert_eq!(network.counters(nat.host(home()), nat.host(neighbour)).delivered, 1);
}

#[test]
fn nobody_comes_in_uninvited() {
    let mut network = world();
    let nat = network.add_nat(Behaviour::port_restricted(), outside(1));
    network.add(nat.host(home()), Talker::default());
    say(&mut network, nat.host(home()), address(9), b"out");
    let mapped = SocketAddr::from((outside(1), 5000));
    say(&mut network, address(1).into(), mapped, b"uninvited");
    network.inject(Packet::new(address(9), mapped, b"invited".to_vec()));
    network.run_for(SECOND);
    assert_eq!(heard(&network, nat.host(home())), [b"invited"]);
    let counters = network.nat(nat).unwrap().counters;
    assert_eq!((counters.filtered, counters.inbound), (1, 1));
}

#[test]
fn private_addresses_mean_nothing_in_the_world() {
    let mut network = world();
    let nat = network.add_nat(Behaviour::full_cone(), outside(1));
    network.add(nat.host(home()), Talker::default());
    say(&mut network, address(1).into(), home(), b"to a private address");
    assert!(heard(&network, nat.host(home())).is_empty());
    assert_eq!(network.counters(address(1), home()).dropped.nobody, 1);
}

#[test]
fn a_packet_passes_two_nats_in_a_row_and_back_and_each_has_its_say() {
    let through = |provider: Behaviour| {
        let mut network = world();
        let outer = network.add_nat(provider, outside(1));
        let inner = network.add_nat_behind(outer, Behaviour::full_cone(), [100, 64, 0, 7]);
        network.add(inner.host(home()), Talker::default());
        say(&mut network, inner.host(home()), address(1), b"far");
        assert_eq!(heard(&network, inner.host(home())), [b"far"]);
        let seen = network.host(address(1)).unwrap().heard_from[0];
        assert_eq!(seen.ip(), std::net::IpAddr::from(outside(1)));
        assert_eq!([outer, inner].map(|nat| network.nat(nat).unwrap().counters.inbound), [1, 1]);
        assert_eq!([outer, inner].map(|nat| network.nat(nat).unwrap().counters.outbound), [1, 1]);
        // A stranger gets as far as the stricter of the two lets it.
        network.inject(Packet::new(address(9), seen, b"hi".to_vec()));
        network.run_for(SECOND);
        heard(&network, inner.host(home())).len() == 2
    };
    assert!(through(Behaviour::full_cone()));
    assert!(!through(Behaviour::cgnat()));
}

#[test]
fn two_homes_behind_one_provider_meet_at_its_hairpin() {
    let meet = |hairpin| {
        let mut network = world();
        let provider = Behaviour { hairpin, filtering: Filtering::Independent, ..Behaviour::cgnat() };
        let outer = network.add_nat(provider, outside(1));
        let sites = [1, 2].map(|number| {
            let site = network.add_nat_behind(outer, Behaviour::full_cone(), [100, 64, 0, number]).host(home());
            network.add(site, Talker::default());
            site
        });
        for site in sites {
            say(&mut network, site, address(1), b"where am I?");
        }
        let second = network.host(address(1)).unwrap().heard_from[1];
        say(&mut network, sites[0], second, b"neighbour!");
        heard(&network, sites[1]).contains(&b"neighbour!".to_vec())
    };
    assert!(meet(true));
    assert!(!meet(false));
}

#[test]
fn each_hop_is_a_link_of_its_own() {
    let mut network = world();
    let nat = network.add_nat(Behaviour::port_restricted(), outside(1));
    let site = nat.host(home());
    network.add(site, Talker::default());
    network.set_link(site, nat, Link::with_delay(3 * MS));
    network.set_link(nat, site, Link::with_delay(5 * MS));
    network.set_profile(nat, address(1), Profile::Satellite);
    say(&mut network, site, address(1), b"far");
    let at = network.host(site).unwrap().heard[0].0;
    assert!(at > 608 * MS && at < 632 * MS, "{at:?}");
    let (gate, echo) = (Site::from(nat), Site::from(address(1)));
    for (from, to) in [(site, gate), (gate, echo), (echo, gate)] {
        assert_eq!(network.counters(from, to).delivered, 1);
    }
    network.cut_one_way(nat, address(1));
    say(&mut network, site, address(1), b"cut");
    assert_eq!(network.counters(site, nat).delivered, 2);
    assert_eq!(network.counters(nat, address(1)).dropped.cut, 1);
    network.heal(address(1), nat);
    say(&mut network, site, address(1), b"healed");
    assert_eq!(heard(&network, site), [b"far".as_slice(), b"healed"]);
}

#[test]
fn an_answer_to_a_sender_that_does_not_exist_inside_ends_there() {
    let mut network = world();
    let nat = network.add_nat(Behaviour::full_cone(), outside(1));
    let site = nat.host(home());
    network.add(site, Talker::default());
    let forged = SocketAddr::from(([192, 168, 77, 77], 1));
    network.host_mut(site).unwrap().to_say.push_back(Packet::new(forged, address(1), b"forged".to_vec()));
    network.run_for(SECOND);
    assert_eq!(network.counters(nat, nat.host(forged)).dropped.nobody, 1);
}

#[test]
fn a_host_behind_a_nat_that_does_not_exist_reaches_nobody() {
    let mut network = world();
    let site = NatId(9).host(home());
    network.add(site, Talker::default());
    say(&mut network, site, address(1), b"hello?");
    assert_eq!(network.counters(site, NatId(9)).dropped.nobody, 1);
}

/// A thousand homes, a third of them behind a provider's NAT too, each with the same private address; each says ten things to an
/// echo. Everything is counted on each hop.
#[test]
fn a_thousand_homes_with_nats_talk_and_every_packet_is_counted() {
    let mut network = world();
    let provider = network.add_nat(Behaviour { table_limit: 100_000, ..Behaviour::cgnat() }, outside(254));
    let sites: Vec<Site> = (0..1000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let nat = if number % 3 == 0 {
                network.add_nat_behind(provider, Behaviour::linux(), [100, 64, high, low])
            } else {
                network.add_nat(Behaviour::symmetric(), [20, 0, high, low])
            };
            network.add(nat.host(home()), Talker::default());
            nat.host(home())
        })
        .collect();
    for word in 0..10_u8 {
        for site in &sites {
            let packet = Packet::new(home(), address(1), vec![word]);
            network.host_mut(*site).unwrap().to_say.push_back(packet);
        }
        network.run_for(SECOND);
    }
    assert!(sites.iter().all(|site| heard(&network, *site) == (0..10).map(|word| vec![word]).collect::<Vec<_>>()));
    // There and back, two hops each; three for those behind the provider.
    let expected = 10 * 2 * (666 * 2 + 334 * 3);
    assert_eq!((network.total().delivered, network.total().dropped.total()), (expected, 0));
    assert_eq!(network.nat(provider).unwrap().counters.mapped, 334);
}
