//! Faults by name, in lists, and runs that repeat.

use crate::talker::{Talker, address, echo, two};
use core::time::Duration;
use netem::{Behaviour, Fault, Link, Loss, Network, Packet, Ports, Profile, Refresh, Reordering, Script, Site};
use std::net::SocketAddr;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn home() -> SocketAddr {
    SocketAddr::from(([192, 168, 1, 2], 5000))
}

/// A network of an echo (address 1) and a host behind NAT 0 that says something to it every 100 ms.
fn walk(seed: u64, link: Link, behaviour: Behaviour, script: &Script) -> Network<Talker> {
    let mut network = Network::new(seed, link);
    network.keep_transcript();
    network.add(address(1), echo());
    let nat = network.add_nat(behaviour, [203, 0, 113, 1]);
    network.add(nat.host(home()), Talker::default());
    network.set_restart(|_, _| Some(echo()));
    network.play(script);
    for number in 0..100_u8 {
        if let Some(host) = network.host_mut(nat.host(home())) {
            host.to_say.push_back(Packet::new(home(), address(1), vec![number; 100]));
        }
        network.run_for(100 * MS);
    }
    network.run_for(SECOND);
    network
}

fn inside() -> Site {
    Site::host([192, 168, 1, 2], 5000).behind(0)
}

fn server() -> Site {
    Site::host([10, 0, 0, 1], 5000)
}

/// The numbers whose echo came back.
fn echoed(network: &Network<Talker>) -> Vec<u8> {
    network.host(inside()).unwrap().heard.iter().map(|(_, bytes)| bytes[0]).collect()
}

fn with(script: Vec<(Duration, Fault)>) -> Network<Talker> {
    walk(1, Link::with_delay(10 * MS), Behaviour::port_restricted(), &Script(script))
}

#[test]
fn without_faults_everything_comes_back() {
    assert!(echoed(&with(vec![])).into_iter().eq(0..100));
}

#[test]
fn a_cut_stops_both_ways_and_a_one_way_cut_one() {
    let cut = |fault| {
        let network = with(vec![(SECOND, fault), (2 * SECOND, Fault::Heal(Site::nat(0), server()))]);
        assert!(echoed(&network).into_iter().eq((0..10).chain(20..100)));
        network.host(address(1)).unwrap().heard.len()
    };
    assert_eq!(cut(Fault::Cut(server(), Site::nat(0))), 90);
    assert_eq!(cut(Fault::CutOneWay(Site::nat(0), server())), 90);
    assert_eq!(cut(Fault::CutOneWay(server(), Site::nat(0))), 100, "the echo heard all and was not heard");
}

#[test]
fn a_crashed_host_is_silent_until_it_is_restarted() {
    let network = with(vec![(SECOND, Fault::Crash(server())), (2 * SECOND, Fault::Restart(server()))]);
    assert!(echoed(&network).into_iter().eq((0..10).chain(20..100)));
    assert_eq!(network.host(address(1)).unwrap().heard.len(), 80, "the second life knows nothing of the first");
}

#[test]
fn a_paused_host_answers_late() {
    let network = with(vec![(SECOND, Fault::Pause(server())), (2 * SECOND, Fault::Resume(server()))]);
    assert!(echoed(&network).into_iter().eq(0..100));
    let late = network.host(inside()).unwrap().heard.iter().filter(|(at, _)| *at == 2010 * MS).count();
    assert_eq!(late, 10);
}

#[test]
fn a_rebinding_moves_the_flow_to_another_port_and_a_reboot_does_not() {
    let ports = |fault| {
        let network = with(vec![(SECOND, fault)]);
        assert!(echoed(&network).into_iter().eq(0..100));
        let from = &network.host(address(1)).unwrap().heard_from;
        assert!(from[..10].iter().all(|from| from.port() == 5000));
        assert!(from[10..].iter().all(|other| *other == from[10]));
        from[10].port()
    };
    assert_ne!(ports(Fault::Rebind(Site::nat(0))), 5000);
    assert_eq!(ports(Fault::Reboot(Site::nat(0))), 5000);
}

#[test]
fn a_reboot_loses_what_is_on_its_way_in() {
    let network = with(vec![(1015 * MS, Fault::Reboot(Site::nat(0)))]);
    assert!(echoed(&network).into_iter().eq((0..10).chain(11..100)));
}

#[test]
fn a_nat_gets_another_address() {
    let network = with(vec![(SECOND, Fault::ChangeAddress(Site::nat(0), [203, 0, 113, 99].into()))]);
    let from = &network.host(address(1)).unwrap().heard_from;
    assert_eq!((from[9], from[10]), (([203, 0, 113, 1], 5000).into(), ([203, 0, 113, 99], 5000).into()));
    assert!(echoed(&network).into_iter().eq(0..100));
}

#[test]
fn a_host_that_moves_is_told_and_is_not_where_it_was() {
    let mut network = two(1, Link::default());
    let to = SocketAddr::from(([10, 9, 9, 9], 5000));
    assert!(network.apply(&Fault::ChangeAddress(address(2).into(), to.ip())));
    assert!(network.host(address(2)).is_none());
    assert_eq!(network.host(to).unwrap().moves, [to]);
    network.host_mut(address(1)).unwrap().to_say.push_back(Packet::new(address(1), to, b"hi".to_vec()));
    network.run_for(SECOND);
    assert_eq!(network.host(to).unwrap().heard.len(), 1);
}

#[test]
fn a_fault_says_when_there_was_nothing_to_go_wrong() {
    let mut network = two(1, Link::default());
    let nobody = Site::host([9, 9, 9, 9], 9);
    for fault in [
        Fault::Crash(nobody),
        Fault::Restart(nobody),
        Fault::Pause(nobody),
        Fault::Resume(nobody),
        Fault::Rebind(Site::nat(5)),
        Fault::Reboot(nobody),
        Fault::ChangeAddress(nobody, [1, 1, 1, 1].into()),
        Fault::ChangeAddress(Site::nat(5), [1, 1, 1, 1].into()),
        // There is somebody at address 1 already.
        Fault::ChangeAddress(address(2).into(), address(1).ip()),
    ] {
        assert!(!network.apply(&fault), "{fault}");
    }
    assert!(network.host(address(2)).is_some());
    assert!(network.apply(&Fault::Pause(address(1).into())));
}

/// What is printed is Rust: the text below is the expression above it.
#[test]
fn a_script_prints_as_the_code_that_makes_it() {
    #[rustfmt::skip]
    let script = Script(vec![
        (Duration::from_secs(1), Fault::Crash(Site::host([10, 0, 0, 1], 5000))),
        (Duration::from_millis(1500), Fault::Restart(Site::host([10, 0, 0, 1], 5000))),
        (Duration::from_micros(1500001), Fault::Pause(Site::host([192, 168, 1, 2], 5000).behind(0))),
        (Duration::from_nanos(1500001001), Fault::Resume(Site::host([192, 168, 1, 2], 5000).behind(0))),
        (Duration::from_secs(2), Fault::Cut(Site::nat(0), Site::host([8193, 3512, 0, 0, 0, 0, 0, 1], 443))),
        (Duration::from_secs(2), Fault::CutOneWay(Site::nat(0), Site::nat(1))),
        (Duration::from_secs(3), Fault::Heal(Site::nat(0), Site::nat(1))),
        (Duration::from_secs(4), Fault::Rebind(Site::nat(0))),
        (Duration::from_secs(5), Fault::Reboot(Site::nat(0))),
        (Duration::from_secs(6), Fault::ChangeAddress(Site::nat(0), [203, 0, 113, 9].into())),
    ]);
    let expected = "Script(vec![
    (Duration::from_secs(1), Fault::Crash(Site::host([10, 0, 0, 1], 5000))),
    (Duration::from_millis(1500), Fault::Restart(Site::host([10, 0, 0, 1], 5000))),
    (Duration::from_micros(1500001), Fault::Pause(Site::host([192, 168, 1, 2], 5000).behind(0))),
    (Duration::from_nanos(1500001001), Fault::Resume(Site::host([192, 168, 1, 2], 5000).behind(0))),
    (Duration::from_secs(2), Fault::Cut(Site::nat(0), Site::host([8193, 3512, 0, 0, 0, 0, 0, 1], 443))),
    (Duration::from_secs(2), Fault::CutOneWay(Site::nat(0), Site::nat(1))),
    (Duration::from_secs(3), Fault::Heal(Site::nat(0), Site::nat(1))),
    (Duration::from_secs(4), Fault::Rebind(Site::nat(0))),
    (Duration::from_secs(5), Fault::Reboot(Site::nat(0))),
    (Duration::from_secs(6), Fault::ChangeAddress(Site::nat(0), [203, 0, 113, 9].into())),
])";
    assert_eq!(script.to_string(), expected);
}

#[test]
fn with_everything_on_the_same_seed_twice_is_the_same_run_and_another_seed_another() {
    let link = Link {
        jitter: 8 * MS,
        loss: Loss::bursts(0.1, 3.0),
        corruption: 0.1,
        duplication: 0.1,
        reordering: Reordering { probability: 0.1, hold: 150 * MS },
        mark_after: Some(MS),
        ..Profile::Lte.up()
    };
    let behaviour = Behaviour {
        ports: Ports::Sequential { step: 2 },
        background_flows: 5.0,
        lifetime: 2 * SECOND,
        refresh: Refresh::Both,
        clash: true,
        ..Behaviour::symmetric()
    };
    let script = Script(vec![
        (SECOND, Fault::Rebind(Site::nat(0))),
        (2 * SECOND, Fault::CutOneWay(server(), Site::nat(0))),
        (3 * SECOND, Fault::Heal(server(), Site::nat(0))),
        (4 * SECOND, Fault::Crash(server())),
        (5 * SECOND, Fault::Restart(server())),
        (6 * SECOND, Fault::Pause(inside())),
        (7 * SECOND, Fault::Resume(inside())),
        (8 * SECOND, Fault::ChangeAddress(Site::nat(0), [203, 0, 113, 99].into())),
        (9 * SECOND, Fault::Reboot(Site::nat(0))),
    ]);
    let run = |seed, script: &Script| {
        let network = walk(seed, link.clone(), behaviour.clone(), script);
        let total = network.total();
        assert!(total.dropped.loss > 0 && total.duplicated > 0 && total.held_back > 0 && total.corrupted > 0);
        assert!(echoed(&network).len() > 30);
        (network.transcript().unwrap(), total, network.nat(netem::NatId(0)).unwrap().counters)
    };
    assert_eq!(run(1, &script), run(1, &script));
    assert_ne!(run(1, &script).0, run(2, &script).0);
    assert_ne!(run(1, &script).0, run(1, &Script::default()).0);
}
