//! What can happen to a pair besides its NATs.

use crate::world::{DELAY, MS, Outcome, Plan, World, fingerprint};
use anjer::stun::fingerprint::Fingerprint;
use anjer::stun::punch::Reason;
use anjer::time::Instant;
use core::time::Duration;
use netem::Behaviour;
use std::slice::from_ref;

const MINUTE: Duration = Duration::from_secs(60);

fn both_open(outcomes: &[Option<Outcome>; 2]) -> bool {
    matches!(outcomes, [Some(Outcome::Open { .. }), Some(Outcome::Open { .. })])
}

fn failed(outcomes: &[Option<Outcome>; 2]) -> Option<[Reason; 2]> {
    match outcomes {
        [Some(Outcome::Failed { reason, .. }), Some(Outcome::Failed { reason: other, .. })] => Some([*reason, *other]),
        _ => None,
    }
}

/// How many of so many runs open.
fn opened(runs: u64, plan: impl Fn(u64) -> Plan) -> u64 {
    (0..runs)
        .filter(|seed| {
            let mut world = World::new(&plan(*seed));
            let outcomes = world.run(2 * MINUTE);
            assert!(both_open(&outcomes) || failed(&outcomes).is_some(), "seed {seed}: {outcomes:?}");
            both_open(&outcomes)
        })
        .count() as u64
}

#[test]
fn thirty_per_cent_of_loss_does_not_keep_simple_pairs_apart() {
    for nat in [Behaviour::full_cone(), Behaviour::restricted(), Behaviour::port_restricted()] {
        let met = opened(100, |seed| Plan {
            loss: 0.3,
            jitter: 10 * MS,
            ..Plan::new(seed, from_ref(&nat), &[Behaviour::port_restricted()])
        });
        assert!(met >= 99, "{nat:?}: {met} of 100");
    }
}

#[test]
fn guessing_bears_loss_and_reordering() {
    let (home, hard, counting) =
        (Behaviour::port_restricted(), Behaviour::symmetric(), Behaviour::symmetric_sequential_busy());
    for (a, b, least) in [
        (&home, &hard, 38),
        (&home, &counting, 38),
        (&counting, &counting, 36),
        (&Behaviour::address_dependent(), &hard, 36),
    ] {
        let met = opened(40, |seed| Plan { loss: 0.1, jitter: 5 * MS, ..Plan::new(seed, from_ref(a), from_ref(b)) });
        assert!(met >= least, "{a:?} {b:?}: {met} of 40");
    }
}

/// Both keep ports, so that they should meet at once; but the offer of one end takes longer than a packet, the other end's first one
/// comes too early, and conntrack makes both deaf. From fresh ports, and in step, they meet.
#[test]
fn the_clash_of_linux_nats_costs_a_round_and_not_the_path() {
    let linux = [Behaviour::linux()];
    let mut clashes = 0;
    for (seed, mail) in (0..20).flat_map(|seed| [[100, 100], [200, 20], [20, 200]].map(|mail| (seed, mail))) {
        let plan = Plan { mail: mail.map(|millis| millis * MS), ..Plan::new(seed, &linux, &linux) };
        let mut world = World::new(&plan);
        let outcomes = world.run(MINUTE);
        assert!(both_open(&outcomes), "{mail:?} seed {seed}: {outcomes:?}");
        clashes +=
            world.outer.iter().flatten().filter(|nat| world.network.nat(**nat).unwrap().counters.clashed > 0).count();
    }
    println!("{clashes} NATs clashed");
}

/// A packet of the other end that came before the punch began is a clash that no timing helps against.
#[test]
fn an_early_packet_of_the_other_end_is_outlived() {
    let linux = [Behaviour::linux()];
    for seed in 0..10 {
        let mut world = World::new(&Plan::new(seed, &linux, &linux));
        let early = [0, 1].map(|number| world.end(number).seen.unwrap());
        world.network.inject(netem::Packet::new(early[1], early[0], b"too early".to_vec()));
        world.network.inject(netem::Packet::new(early[0], early[1], b"too early".to_vec()));
        let outcomes = world.run(MINUTE);
        assert!(both_open(&outcomes), "seed {seed}: {outcomes:?}");
        let [Some(Outcome::Open { socket, at, .. }), _] = &outcomes else { unreachable!() };
        assert_ne!(socket.0, 0, "the old port is spoiled");
        assert!(*at <= Duration::from_secs(5), "{at:?}");
    }
}

#[test]
fn two_behind_one_nat_meet_inside_with_hairpin_and_without() {
    for hairpin in [false, true] {
        for kind in [Behaviour::port_restricted(), Behaviour::symmetric()] {
            let nat = Behaviour { hairpin, ..kind };
            let mut world = World::new(&Plan { together: true, ..Plan::new(5, from_ref(&nat), &[]) });
            let outcomes = world.run(MINUTE);
            let [Some(Outcome::Open { remote, .. }), Some(Outcome::Open { .. })] = &outcomes else {
                panic!("{nat:?} {outcomes:?}")
            };
            assert!(remote.ip().to_string().starts_with("192.168."), "the near way: {remote}");
        }
    }
}

#[test]
fn two_nats_in_a_row_are_what_the_stricter_one_is() {
    let (home, provider) = (Behaviour::port_restricted(), Behaviour::cgnat());
    let met = opened(10, |seed| Plan::new(seed, &[home.clone(), provider.clone()], &[home.clone(), provider.clone()]));
    assert_eq!(met, 10);
}

#[test]
fn where_udp_does_not_get_out_it_is_said_at_both_ends() {
    let plan = Plan {
        known: [Some(Fingerprint { blocked: true, ..Fingerprint::default() }), None],
        ..Plan::new(1, &[Behaviour::blocked()], &[Behaviour::port_restricted()])
    };
    let reasons = failed(&World::new(&plan).run(MINUTE)).unwrap();
    assert_eq!(
        reasons.map(|reason| reason.to_string()),
        ["UDP does not get out of our network", "UDP does not get out of their network"]
    );
}

/// Neither end has measured its NAT: the kindest is assumed first, then that one of the two is hard.
#[test]
fn what_was_not_measured_is_found_out_by_trying() {
    let nothing = Some(Fingerprint::default());
    let home = Behaviour::port_restricted();
    let met = opened(20, |seed| Plan { known: [nothing; 2], ..Plan::new(seed, from_ref(&home), from_ref(&home)) });
    assert_eq!(met, 20);
    for order in [[&home, &Behaviour::symmetric()], [&Behaviour::symmetric(), &home]] {
        let met =
            opened(20, |seed| Plan { known: [nothing; 2], ..Plan::new(seed, from_ref(order[0]), from_ref(order[1])) });
        assert!(met >= 15, "{order:?}: {met} of 20");
    }
}

/// Ports are tried only where somebody we trust has heard the other end.
#[test]
fn without_proof_of_an_address_no_ports_are_tried_there() {
    let plan = Plan { proven: false, ..Plan::new(1, &[Behaviour::port_restricted()], &[Behaviour::symmetric()]) };
    let mut world = World::new(&plan);
    let outcomes = world.run(MINUTE);
    assert_eq!(failed(&outcomes).unwrap()[0], Reason::NotProven);
    let [Some(Outcome::Failed { probes, .. }), _] = outcomes else { unreachable!() };
    assert!(probes <= 20, "{probes}");
}

#[test]
fn without_a_server_pairs_that_keep_ports_still_outlive_the_clash() {
    let linux = [Behaviour::linux()];
    let mut world = World::new(&Plan { no_server: true, ..Plan::new(3, &linux, &linux) });
    let early = [0, 1].map(|number| world.end(number).seen.unwrap());
    world.network.inject(netem::Packet::new(early[1], early[0], b"too early".to_vec()));
    assert!(both_open(&world.run(MINUTE)));
}

#[test]
fn sockets_are_closed_whatever_the_end_and_never_too_many() {
    for (a, b) in [
        (Behaviour::port_restricted(), Behaviour::symmetric()),
        (Behaviour::symmetric_512(), Behaviour::symmetric_4096()),
        (Behaviour::symmetric(), Behaviour::symmetric()),
        (Behaviour::symmetric_sequential(), Behaviour::symmetric()),
    ] {
        let mut world = World::new(&Plan::new(9, &[a], &[b]));
        let outcomes = world.run(MINUTE);
        world.network.run_for(Duration::from_secs(10));
        for number in [0, 1] {
            let (open, budget, most) = {
                let end = world.end(number);
                (end.open_sockets(), end.budget.sockets(), end.most_sockets)
            };
            let kept = match &outcomes[number] {
                Some(Outcome::Open { socket, .. }) if socket.0 != 0 => 2,
                _ => 1,
            };
            assert_eq!((open, budget), (kept, 0), "{outcomes:?}");
            assert!(most <= 300);
            assert!(world.end(number).punch.as_ref().unwrap().is_over());
            assert_eq!(world.end(number).punch.as_ref().unwrap().poll_timeout(), None);
        }
    }
}

/// The supernode's keepalive suffers: nothing is sent until that is over, and then it goes on where it was.
#[test]
fn a_pause_sends_nothing_and_loses_nothing() {
    let (home, hard) = ([Behaviour::port_restricted()], [Behaviour::symmetric()]);
    let mut world = World::new(&Plan::new(4, &home, &hard));
    world.network.run_for(Duration::from_millis(900));
    let now = world.network.now();
    let pause = |world: &mut World, now: Duration| {
        for number in [0, 1] {
            world.end(number).punch.as_mut().unwrap().pause(Instant::from_start(now));
        }
    };
    pause(&mut world, now);
    world.network.run_for(DELAY * 4);
    let before = [0, 1].map(|number| world.end(number).punch.as_ref().unwrap().probes());
    world.network.run_for(Duration::from_secs(20));
    let after = [0, 1].map(|number| world.end(number).punch.as_ref().unwrap().probes());
    assert_eq!(before, after);
    let now = world.network.now();
    for number in [0, 1] {
        world.end(number).punch.as_mut().unwrap().resume(Instant::from_start(now));
    }
    assert!(both_open(&world.run(2 * MINUTE)));
}

#[test]
fn an_aborted_punch_is_over_at_once_and_the_other_end_learns_by_silence() {
    let (home, hard) = ([Behaviour::port_restricted()], [Behaviour::symmetric()]);
    let mut world = World::new(&Plan::new(4, &home, &hard));
    world.network.run_for(Duration::from_millis(900));
    let now = world.network.now();
    world.end(1).punch.as_mut().unwrap().abort(Instant::from_start(now));
    let outcomes = world.run(MINUTE);
    assert_eq!(failed(&outcomes).unwrap()[1], Reason::Aborted);
    assert_ne!(failed(&outcomes).unwrap()[0], Reason::Aborted);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::new(&Plan {
            loss: 0.05,
            ..Plan::new(11, &[Behaviour::symmetric_512()], &[Behaviour::symmetric_4096()])
        });
        world.network.keep_transcript();
        let outcomes = world.run(MINUTE);
        (outcomes, world.network.transcript())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_fingerprint_that_is_measured_has_the_pool_in_its_bounds() {
    let world = World::new(&Plan::new(2, &[Behaviour::symmetric_512()], &[]));
    let nat = world.network.nat(world.outer[0].unwrap());
    let pool = fingerprint(nat).ports.unwrap().pool();
    assert!((512..=530).contains(&pool), "{pool}");
}
