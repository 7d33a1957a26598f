//! What NATs do to packets: each property is seen to do what RFC 4787 says, and to do nothing when it is off.

use core::time::Duration;
use netem::{Behaviour, FIRST_PORT, Filtering, Mapping, Nat, PORTS, Packet, Ports, Refresh, Refused};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

const START: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);

fn outside() -> IpAddr {
    IpAddr::from([203, 0, 113, 1])
}

/// An inside host, and its port.
fn inside(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 168, 1, host], port))
}

/// A host of the world.
fn remote(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host], port))
}

fn nat(behaviour: Behaviour) -> Nat {
    Nat::new(behaviour, outside(), 7)
}

/// Sends a packet out; says from which port it left.
fn out(nat: &mut Nat, now: Duration, from: SocketAddr, to: SocketAddr) -> Result<u16, Refused> {
    let sent = nat.outbound(now, Packet::new(from, to, b"out".to_vec()))?;
    assert_eq!((sent.from.ip(), sent.to, sent.bytes.as_slice()), (outside(), to, b"out".as_slice()));
    Ok(sent.from.port())
}

/// Sends a packet in; says whom it reached.
fn come(nat: &mut Nat, now: Duration, from: SocketAddr, port: u16) -> Result<SocketAddr, Refused> {
    let came = nat.inbound(now, Packet::new(from, SocketAddr::new(outside(), port), b"in".to_vec()))?;
    assert_eq!((came.from, came.bytes.as_slice()), (from, b"in".as_slice()));
    Ok(came.to)
}

#[test]
fn a_mapping_is_used_again_for_as_many_remotes_as_rfc_4787_section_4_1_says() {
    let ports_of = |mapping| {
        let mut nat = nat(Behaviour { mapping, ports: Ports::Random { pool: 10_000 }, ..Behaviour::default() });
        let remotes = [remote(1, 10), remote(1, 20), remote(2, 10), remote(1, 10)];
        remotes.map(|remote| out(&mut nat, START, inside(2, 5000), remote).unwrap())
    };
    let [a, b, c, again] = ports_of(Mapping::Independent);
    assert!(a == b && b == c && a == again);
    let [a, b, c, again] = ports_of(Mapping::ByAddress);
    assert!(a == b && b != c && a == again);
    let [a, b, c, again] = ports_of(Mapping::ByAddressAndPort);
    assert!(a != b && b != c && a != c && a == again);
}

#[test]
fn the_filter_lets_in_whom_rfc_4787_section_5_says() {
    let who_comes_in = |filtering| {
        let mut nat = nat(Behaviour { filtering, ..Behaviour::default() });
        let port = out(&mut nat, START, inside(2, 5000), remote(1, 10)).unwrap();
        let came = [remote(1, 10), remote(1, 20), remote(2, 10)].map(|from| come(&mut nat, START, from, port).is_ok());
        assert_eq!(nat.counters.filtered, came.iter().filter(|came| !**came).count() as u64);
        came
    };
    assert_eq!(who_comes_in(Filtering::Independent), [true, true, true]);
    assert_eq!(who_comes_in(Filtering::ByAddress), [true, true, false]);
    assert_eq!(who_comes_in(Filtering::ByAddressAndPort), [true, false, false]);
}

#[test]
fn what_comes_in_reaches_the_host_that_the_port_belongs_to() {
    let mut nat = nat(Behaviour::full_cone());
    let hosts = [inside(2, 5000), inside(3, 5000), inside(2, 6000)];
    let ports = hosts.map(|host| out(&mut nat, START, host, remote(1, 10)).unwrap());
    for (host, port) in hosts.iter().zip(ports) {
        assert_eq!(come(&mut nat, START, remote(9, 9), port), Ok(*host));
    }
    let unused = (FIRST_PORT..).find(|port| !ports.contains(port)).unwrap();
    assert_eq!(come(&mut nat, START, remote(1, 10), unused), Err(Refused::NoMapping));
    assert_eq!((nat.counters.mapped, nat.mappings(START)), (3, 3));
}

#[test]
fn a_port_is_kept_unless_another_host_has_it() {
    let mut nat = nat(Behaviour::default());
    assert_eq!(out(&mut nat, START, inside(2, 5000), remote(1, 10)), Ok(5000));
    let second = out(&mut nat, START, inside(3, 5000), remote(1, 10)).unwrap();
    assert!(second != 5000 && second >= FIRST_PORT);
}

#[test]
fn sequential_ports_can_be_foretold_unless_others_take_some() {
    let distances = |background_flows| {
        let ports = Ports::Sequential { step: 3 };
        let mut nat = nat(Behaviour { ports, background_flows, ..Behaviour::symmetric() });
        let mut last = out(&mut nat, START, inside(2, 5000), remote(1, 1)).unwrap();
        let mut distance = |second: u16| {
            let port = out(&mut nat, u32::from(second) * SECOND, inside(2, 5000), remote(1, second + 1)).unwrap();
            let distance = (u32::from(port) + u32::from(PORTS) - u32::from(last)) % u32::from(PORTS);
            last = port;
            distance
        };
        (1..100).map(&mut distance).collect::<Vec<_>>()
    };
    assert!(distances(0.0).into_iter().all(|distance| distance == 3));
    let disturbed = distances(2.0);
    assert!(disturbed.iter().all(|distance| distance % 3 == 0));
    let others: u32 = disturbed.iter().map(|distance| distance / 3 - 1).sum();
    // 198 are expected in 99 seconds; four standard deviations of a Poisson distribution are 56.
    assert!((142..254).contains(&others), "{others}");
}

#[test]
fn random_ports_come_from_a_pool_and_end_with_it() {
    let ports = Ports::Random { pool: 50 };
    let mut nat = nat(Behaviour { ports, overloading: false, ..Behaviour::symmetric() });
    let ports: BTreeSet<u16> =
        (1..=50).map(|port| out(&mut nat, START, inside(2, 5000), remote(1, port)).unwrap()).collect();
    assert_eq!(ports.len(), 50);
    assert_eq!(ports.last().unwrap() - ports.first().unwrap(), 49);
    assert_eq!(out(&mut nat, START, inside(2, 5000), remote(1, 51)), Err(Refused::NoPort));
    assert_eq!(nat.counters.no_port, 1);
}

/// RFC 4787 §4.2.2: what a remote sends to a shared port belongs to whoever sent to that remote.
#[test]
fn a_port_may_be_shared_by_mappings_towards_different_remotes() {
    let mut nat = nat(Behaviour { ports: Ports::Random { pool: 512 }, ..Behaviour::symmetric() });
    let flows: Vec<_> =
        (0..2500).map(|n| (inside(2 + (n % 3) as u8, 5000), remote(1 + (n % 7) as u8, 1 + n))).collect();
    let ports: Vec<u16> = flows.iter().map(|(from, to)| out(&mut nat, START, *from, *to).unwrap()).collect();
    assert_eq!((nat.mappings(START), ports.iter().collect::<BTreeSet<_>>().len() <= 512), (2500, true));
    for ((from, to), port) in flows.iter().zip(&ports) {
        assert_eq!(come(&mut nat, START, *to, *port), Ok(*from));
    }
    // Towards one remote the pool ends: its answers could not be told apart.
    let one: Vec<_> = (0..600).map(|port| out(&mut nat, START, inside(9, 1000 + port), remote(200, 1))).collect();
    assert_eq!(one.iter().filter(|port| port.is_ok()).count(), 512);
    assert_eq!(one.last(), Some(&Err(Refused::NoPort)));
}

#[test]
fn ports_are_not_shared_where_the_remote_does_not_tell_the_mappings_apart() {
    let mut nat = nat(Behaviour {
        ports: Ports::Random { pool: 50 },
        filtering: Filtering::Independent,
        ..Behaviour::symmetric()
    });
    let ports = (1..=51).map(|port| out(&mut nat, START, inside(2, 5000), remote(1, port)));
    assert_eq!(ports.filter(Result::is_ok).count(), 50);
}

#[test]
fn nothing_passes_where_udp_is_blocked() {
    let mut nat = nat(Behaviour::blocked());
    assert_eq!(out(&mut nat, START, inside(2, 5000), remote(1, 10)), Err(Refused::Blocked));
    assert_eq!(come(&mut nat, START, remote(1, 10), 5000), Err(Refused::Blocked));
    assert_eq!((nat.counters.blocked, nat.mappings(START)), (2, 0));
}

#[test]
fn two_hosts_behind_one_nat_reach_each_other_by_its_outside_address_only_if_it_hairpins() {
    let talk = |hairpin| {
        let mut nat = nat(Behaviour { hairpin, ..Behaviour::port_restricted() });
        let ports = [2, 3].map(|host| out(&mut nat, START, inside(host, 5000), remote(1, 10)).unwrap());
        let to = ports.map(|port| SocketAddr::new(outside(), port));
        // Each sends once, which opens its filter; then the first sends again.
        let first = nat.outbound(START, Packet::new(inside(2, 5000), to[1], b"hi".to_vec()))?;
        assert_eq!(nat.inbound(START, first), Err(Refused::Filtered));
        nat.outbound(START, Packet::new(inside(3, 5000), to[0], b"hi".to_vec()))?;
        let again = nat.outbound(START, Packet::new(inside(2, 5000), to[1], b"hi".to_vec()))?;
        assert_eq!(nat.counters.hairpinned, 3);
        nat.inbound(START, again)
    };
    assert_eq!(talk(false), Err(Refused::NoHairpin));
    let arrived = talk(true).unwrap();
    // RFC 4787 REQ-9: the source that is seen is the outside one.
    assert_eq!((arrived.from, arrived.to), (SocketAddr::new(outside(), 5000), inside(3, 5000)));
}

#[test]
fn a_mapping_lives_as_long_as_what_refreshes_it() {
    let lives = |refresh, from_inside| {
        let mut nat = nat(Behaviour { refresh, lifetime: 30 * SECOND, ..Behaviour::port_restricted() });
        let port = out(&mut nat, START, inside(2, 5000), remote(1, 10)).unwrap();
        for second in [20, 40, 60] {
            if from_inside {
                out(&mut nat, second * SECOND, inside(2, 5000), remote(1, 10)).unwrap();
            } else {
                let _ = come(&mut nat, second * SECOND, remote(1, 10), port);
            }
        }
        come(&mut nat, 80 * SECOND, remote(1, 10), port).is_ok()
    };
    assert!(lives(Refresh::Outbound, true));
    assert!(!lives(Refresh::Outbound, false), "REQ-6 lets inbound packets refresh, and does not demand it");
    assert!(lives(Refresh::Both, true));
    assert!(lives(Refresh::Both, false));
}

#[test]
fn a_mapping_ends_when_its_lifetime_does_and_not_before() {
    let mut nat = nat(Behaviour { lifetime: 30 * SECOND, ..Behaviour::default() });
    let port = out(&mut nat, START, inside(2, 5000), remote(1, 10)).unwrap();
    let nanosecond = Duration::from_nanos(1);
    assert!(come(&mut nat, 30 * SECOND - nanosecond, remote(1, 10), port).is_ok());
    assert_eq!(come(&mut nat, 30 * SECOND, remote(1, 10), port), Err(Refused::NoMapping));
    assert_eq!(nat.mappings(30 * SECOND), 0);
}

#[test]
fn the_filter_forgets_a_remote_to_which_nothing_is_sent_any_more_though_the_mapping_lives() {
    let mut nat = nat(Behaviour { lifetime: 30 * SECOND, ..Behaviour::port_restricted() });
    let port = out(&mut nat, START, inside(2, 5000), remote(1, 10)).unwrap();
    out(&mut nat, 20 * SECOND, inside(2, 5000), remote(2, 10)).unwrap();
    assert!(come(&mut nat, 29 * SECOND, remote(1, 10), port).is_ok());
    assert_eq!(come(&mut nat, 40 * SECOND, remote(1, 10), port), Err(Refused::Filtered));
    assert!(come(&mut nat, 40 * SECOND, remote(2, 10), port).is_ok());
}

#[test]
fn a_full_table_takes_nothing_new_until_something_old_ends() {
    let mut nat = nat(Behaviour { table_limit: 3, lifetime: 30 * SECOND, ..Behaviour::port_restricted() });
    // One mapping with two remotes, and another mapping: three entries.
    for (from, to) in [(5000, 1), (5000, 2), (6000, 1)] {
        out(&mut nat, START, inside(2, from), remote(1, to)).unwrap();
    }
    assert_eq!(out(&mut nat, START, inside(2, 7000), remote(1, 1)), Err(Refused::TableFull), "a mapping");
    assert_eq!(out(&mut nat, START, inside(2, 6000), remote(1, 2)), Err(Refused::TableFull), "a remote");
    assert!(out(&mut nat, 10 * SECOND, inside(2, 5000), remote(1, 1)).is_ok(), "what is known goes on");
    assert_eq!(nat.counters.table_full, 2);
    assert!(out(&mut nat, 30 * SECOND, inside(2, 7000), remote(1, 1)).is_ok());
}

#[test]
fn uninvited_packets_cannot_make_the_table_of_a_clashing_nat_larger_than_its_limit() {
    let mut nat = nat(Behaviour { table_limit: 100, ..Behaviour::linux() });
    for port in 1..=1000 {
        assert_eq!(come(&mut nat, START, remote(1, port), 5000), Err(Refused::NoMapping));
    }
    // The flood filled it, and the inside pays: so it is with conntrack.
    assert_eq!(out(&mut nat, START, inside(2, 5000), remote(2, 1)), Err(Refused::TableFull));
    assert!(out(&mut nat, 120 * SECOND, inside(2, 5000), remote(2, 1)).is_ok());
}

#[test]
fn with_the_clash_a_packet_that_comes_too_early_moves_the_mapping_and_makes_both_sides_deaf() {
    let early_bird = |clash| {
        let mut nat = nat(Behaviour { clash, ..Behaviour::linux() });
        let known = out(&mut nat, START, inside(2, 5000), remote(1, 10)).unwrap();
        assert_eq!(come(&mut nat, SECOND, remote(2, 20), known), Err(Refused::Filtered));
        let towards_the_early = out(&mut nat, SECOND, inside(2, 5000), remote(2, 20)).unwrap();
        let next = come(&mut nat, SECOND, remote(2, 20), known);
        // Others see no difference.
        assert_eq!(out(&mut nat, SECOND, inside(2, 5000), remote(1, 10)), Ok(known));
        assert_eq!(out(&mut nat, SECOND, inside(2, 5000), remote(3, 30)), Ok(known));
        (known, towards_the_early, next, nat.counters.clashed)
    };
    assert_eq!(early_bird(false), (5000, 5000, Ok(inside(2, 5000)), 0));
    let (known, moved, next, clashed) = early_bird(true);
    assert_eq!((known, next, clashed), (5000, Err(Refused::Deaf), 1));
    assert_ne!(moved, known);
}

#[test]
fn a_clash_is_over_when_nothing_uninvited_came_for_a_lifetime() {
    let mut nat = nat(Behaviour::linux());
    assert_eq!(come(&mut nat, START, remote(2, 20), 5000), Err(Refused::NoMapping));
    assert_eq!(come(&mut nat, 100 * SECOND, remote(2, 20), 5000), Err(Refused::Deaf));
    assert_eq!(out(&mut nat, 220 * SECOND, inside(2, 5000), remote(2, 20)), Ok(5000));
}

#[test]
fn a_reboot_lets_kept_ports_come_back_and_a_rebinding_does_not() {
    let after = |forget: fn(&mut Nat)| {
        let mut nat = nat(Behaviour::port_restricted());
        let port = out(&mut nat, START, inside(2, 5000), remote(1, 10)).unwrap();
        forget(&mut nat);
        assert_eq!(come(&mut nat, SECOND, remote(1, 10), port), Err(Refused::NoMapping));
        out(&mut nat, SECOND, inside(2, 5000), remote(1, 10)).unwrap()
    };
    assert_eq!(after(Nat::reboot), 5000);
    assert_ne!(after(|nat| nat.rebind(SECOND)), 5000);
}

#[test]
fn a_rebinding_nat_with_a_single_port_gives_it_again() {
    let mut nat = nat(Behaviour { ports: Ports::Random { pool: 1 }, ..Behaviour::default() });
    let port = out(&mut nat, START, inside(2, 5000), remote(1, 10)).unwrap();
    nat.rebind(START);
    assert_eq!(out(&mut nat, START, inside(2, 5000), remote(1, 10)), Ok(port));
}

#[test]
fn a_nat_that_moves_is_known_by_its_other_address_only() {
    let mut nat = nat(Behaviour::full_cone());
    let port = out(&mut nat, START, inside(2, 5000), remote(1, 10)).unwrap();
    let elsewhere = IpAddr::from([203, 0, 113, 99]);
    nat.move_to(elsewhere);
    assert_eq!(come(&mut nat, START, remote(1, 10), port), Err(Refused::Astray));
    let sent = nat.outbound(START, Packet::new(inside(2, 5000), remote(1, 10), Vec::new())).unwrap();
    assert_eq!(sent.from, SocketAddr::new(elsewhere, 5000));
}

#[test]
fn packets_of_the_other_ip_version_do_not_pass() {
    let mut nat = nat(Behaviour::full_cone());
    let six: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
    assert_eq!(out(&mut nat, START, inside(2, 5000), six), Err(Refused::Astray));
    assert_eq!(out(&mut nat, START, six, remote(1, 10)), Err(Refused::Astray));
    assert_eq!(come(&mut nat, START, six, 5000), Err(Refused::Astray));
    assert_eq!(nat.counters.astray, 3);
}

fn any_behaviour() -> impl Strategy<Value = Behaviour> {
    let mapping = prop::sample::select(vec![Mapping::Independent, Mapping::ByAddress, Mapping::ByAddressAndPort]);
    let filtering =
        prop::sample::select(vec![Filtering::Independent, Filtering::ByAddress, Filtering::ByAddressAndPort]);
    let ports = prop_oneof![
        Just(Ports::Kept),
        (0_u16..4).prop_map(|step| Ports::Sequential { step }),
        (0_u16..40).prop_map(|pool| Ports::Random { pool }),
    ];
    (mapping, filtering, ports, any::<bool>(), 1_usize..30).prop_map(
        |(mapping, filtering, ports, flag, table_limit)| Behaviour {
            mapping,
            filtering,
            ports,
            background_flows: if flag { 3.0 } else { 0.0 },
            lifetime: 5 * SECOND,
            table_limit,
            clash: !flag,
            overloading: table_limit % 2 == 0,
            ..Behaviour::default()
        },
    )
}

proptest! {
    /// Whatever a NAT is and whatever it is given: who was just sent something can answer, two inside hosts never share an outside
    /// port, the table keeps its limit, and every packet is counted once.
    #[test]
    fn a_nat_keeps_its_word(
        behaviour in any_behaviour(),
        steps in prop::collection::vec((0_u8..8, 1_u8..4, 1_u8..4, 1_u16..5, 0_u64..2000), 1..150),
    ) {
        let mut nat = nat(behaviour.clone());
        let mut now = START;
        let mut given = 0;
        for (what, host, far, port, millis) in steps {
            let (from, to) = (inside(host, 5000 + port), remote(far, port));
            match what {
                0 => now += Duration::from_millis(millis),
                1 => nat.rebind(now),
                2 | 3 => {
                    let _ = come(&mut nat, now, to, FIRST_PORT + port);
                    let _ = come(&mut nat, now, to, 5000 + port);
                    given += 2;
                }
                _ => {
                    given += 1;
                    if let Ok(port) = out(&mut nat, now, from, to) {
                        given += 1;
                        prop_assert_eq!(come(&mut nat, now, to, port), Ok(from));
                        prop_assert_eq!(nat.mapped(now, from, to), Some(SocketAddr::new(outside(), port)));
                    }
                }
            }
            prop_assert!(nat.mappings(now) <= behaviour.table_limit);
            let counters = nat.counters;
            let refused = counters.no_mapping + counters.filtered + counters.deaf + counters.table_full
                + counters.no_port + counters.no_hairpin + counters.blocked + counters.astray;
            prop_assert_eq!(counters.outbound + counters.inbound + refused, given);
        }
    }
}
