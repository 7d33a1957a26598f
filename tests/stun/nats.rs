//! What is found out of every kind of NAT, from every kind of vantage points.
//!
//! Each cell of the matrix runs with many seeds (`ANJER_STUN_SEEDS`, 50 if it is not set): ports, pools, other users' flows and ids
//! are others each time.

use crate::world::{Helpers, Plan, World};
use anjer::stun::discovery::{Event, MAX_PACKETS};
use anjer::stun::fingerprint::{Filtering, Fingerprint, Mapping, Ports};
use core::time::Duration;
use netem::{Behaviour, FIRST_PORT};

const MAPPINGS: [(netem::Mapping, Mapping); 3] = [
    (netem::Mapping::Independent, Mapping::Independent),
    (netem::Mapping::ByAddress, Mapping::ByAddress),
    (netem::Mapping::ByAddressAndPort, Mapping::ByAddressAndPort),
];

const FILTERINGS: [(netem::Filtering, Filtering); 3] = [
    (netem::Filtering::Independent, Filtering::Independent),
    (netem::Filtering::ByAddress, Filtering::ByAddress),
    (netem::Filtering::ByAddressAndPort, Filtering::ByAddressAndPort),
];

/// The port policies of the matrix: how ports are chosen, and flows of others a second.
const POLICIES: [(netem::Ports, f64); 8] = [
    (netem::Ports::Kept, 0.0),
    (netem::Ports::Sequential { step: 1 }, 0.0),
    (netem::Ports::Sequential { step: 2 }, 0.0),
    (netem::Ports::Sequential { step: 1 }, 10.0),
    (netem::Ports::Sequential { step: 2 }, 10.0),
    (netem::Ports::Random { pool: u16::MAX }, 0.0),
    (netem::Ports::Random { pool: 4096 }, 0.0),
    (netem::Ports::Random { pool: 512 }, 0.0),
];

/// How often something was right, and of how many times.
#[derive(Clone, Copy, Default)]
struct Rate {
    right: u32,
    all: u32,
}

impl Rate {
    fn note(&mut self, is_right: bool) {
        self.right += u32::from(is_right);
        self.all += 1;
    }

    /// Per cent, at least.
    fn assert(self, what: &str, least: u32) {
        println!("{what}: {} of {}", self.right, self.all);
        assert!(self.all > 0, "{what}: nothing was measured");
        assert!(self.right * 100 >= self.all * least, "{what}: {} of {} are right", self.right, self.all);
    }
}

/// Everything that is judged.
#[derive(Default)]
struct Score {
    mapping: Rate,
    filtering: Rate,
    policy: Rate,
    pool: Rate,
    hairpin: Rate,
    worst_seconds: f64,
    worst_spent: u64,
    /// The estimates of pools, as multiples of the pools, and their number.
    widths: (f64, u32),
}

fn seeds() -> u64 {
    std::env::var("ANJER_STUN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(50)
}

/// All 72 NATs, each with a share of the seeds, seen by these helpers.
fn matrix(helpers: Helpers, filtering_is_known: bool) -> Score {
    let mut score = Score::default();
    for (mapping, expected_mapping) in MAPPINGS {
        for (filtering, expected_filtering) in FILTERINGS {
            for (ports, background_flows) in POLICIES {
                for seed in 0..seeds() {
                    let hairpin = seed % 2 == 0;
                    let behaviour =
                        Behaviour { mapping, filtering, ports, background_flows, hairpin, ..Behaviour::default() };
                    let seed = seed * 1000 + u64::from(filtering as u8) * 100 + u64::from(mapping as u8) * 10;
                    let mut world = World::new(Plan::new(seed, Some(behaviour.clone()), helpers));
                    world.settle();
                    judge(&mut score, &world, seed, &behaviour, helpers, expected_mapping);
                    let known = world.discovery.fingerprint();
                    let expected = filtering_is_known.then_some(expected_filtering);
                    note(&mut score.filtering, known.filtering == expected, &behaviour, seed, known);
                }
            }
        }
    }
    score
}

fn note(rate: &mut Rate, is_right: bool, behaviour: &Behaviour, seed: u64, known: &Fingerprint) {
    rate.note(is_right);
    if !is_right && rate.all - rate.right <= 5 {
        println!("seed {seed}: {known}, of {behaviour:?}");
    }
}

fn judge(score: &mut Score, world: &World, seed: u64, behaviour: &Behaviour, helpers: Helpers, mapping: Mapping) {
    let known = world.discovery.fingerprint();
    assert_eq!((known.translated, known.blocked), (Some(true), false));
    // With one port of each address nobody can tell by address from by port: the worse of the two is said.
    let by_port = mapping != Mapping::Independent && helpers == Helpers::Plain;
    let mapping = if by_port { Mapping::ByAddressAndPort } else { mapping };
    note(&mut score.mapping, known.mapping == Some(mapping), behaviour, seed, known);

    match (behaviour.ports, known.ports) {
        (netem::Ports::Kept, Some(Ports::Kept)) => note(&mut score.policy, true, behaviour, seed, known),
        (netem::Ports::Sequential { step }, Some(Ports::Sequential { step: said })) => {
            note(&mut score.policy, i32::from(said) == i32::from(step), behaviour, seed, known);
        }
        (netem::Ports::Random { pool }, Some(Ports::Random { lowest, highest })) => {
            note(&mut score.policy, true, behaviour, seed, known);
            let (first, last) = bounds(world, pool);
            note(&mut score.pool, lowest <= first && last <= highest, behaviour, seed, known);
            let width = f64::from(highest - lowest) + 1.0;
            score.widths = (score.widths.0 + width / (f64::from(last - first) + 1.0), score.widths.1 + 1);
        }
        _ => note(&mut score.policy, false, behaviour, seed, known),
    }

    // What hosts behind it can use without guessing at ports: a filter lets in what its own end sent to, and with a mapping for each
    // remote that is not where the packets come from.
    let opens =
        behaviour.mapping == netem::Mapping::Independent || behaviour.filtering == netem::Filtering::Independent;
    note(&mut score.hairpin, known.hairpin == Some(behaviour.hairpin && opens), behaviour, seed, known);

    assert!(world.discovery.spent() <= MAX_PACKETS && world.open() == 0, "{} left open", world.open());
    score.worst_seconds = score.worst_seconds.max(world.now().as_secs_f64());
    score.worst_spent = score.worst_spent.max(world.discovery.spent());
}

/// Where the NAT's pool lies: found out by using it, many times more than the discovery did.
fn bounds(world: &World, pool: u16) -> (u16, u16) {
    if pool >= netem::PORTS {
        return (FIRST_PORT, u16::MAX);
    }
    let mut nat = world.network.nat(world.nat.unwrap()).unwrap().clone();
    let now = world.now() + Duration::from_secs(3600);
    // All of it at once: what is in use is not given again.
    nat.behaviour.mapping = netem::Mapping::Independent;
    let ports = (0..pool).map(|inside| {
        let inside = std::net::SocketAddr::from(([192, 168, 1, 3], inside + 1));
        let packet = netem::Packet::new(inside, "198.51.100.1:9".parse().unwrap(), vec![]);
        nat.outbound(now, packet).unwrap().from.port()
    });
    let ports: Vec<u16> = ports.collect();
    let (first, last) = (*ports.iter().min().unwrap(), *ports.iter().max().unwrap());
    assert_eq!(last - first + 1, pool);
    (first, last)
}

fn report(score: &Score, seconds: f64, packets: u64) {
    score.mapping.assert("mapping", 100);
    score.filtering.assert("filtering", 100);
    score.policy.assert("port policy", 99);
    score.pool.assert("the pool is within its bounds", 98);
    score.hairpin.assert("hairpin", 100);
    let width = score.widths.0 / f64::from(score.widths.1);
    println!(
        "the bounds are {width:.2} times as wide as the pool; {} packets and {:.1} s at worst",
        score.worst_spent, score.worst_seconds
    );
    assert!(width < 1.4, "{width}");
    assert!(score.worst_seconds < seconds, "{} s", score.worst_seconds);
    assert!(score.worst_spent <= packets, "{} packets", score.worst_spent);
}

#[test]
fn two_servers_of_rfc_5780_tell_everything() {
    report(&matrix(Helpers::Full, true), 8.0, 120);
}

/// Without a second port of anybody filtering stays unknown, and mapping by address looks like mapping by port.
#[test]
fn two_plain_servers_tell_everything_but_filtering() {
    report(&matrix(Helpers::Plain, false), 8.0, 120);
}

#[test]
fn members_of_a_room_tell_everything_without_any_server() {
    report(&matrix(Helpers::Members, true), 8.0, 120);
}

/// The room grows from one member to three. What one can tell is told at once, and what more can tell replaces it.
#[test]
fn members_that_come_later_complete_the_picture() {
    for (filtering, expected) in FILTERINGS {
        for (mapping, expected_mapping) in MAPPINGS {
            let ports = netem::Ports::Random { pool: 4096 };
            let behaviour = Behaviour { filtering, mapping, ports, ..Behaviour::default() };
            let mut world = World::new(Plan::new(5, Some(behaviour), Helpers::OneMember));
            world.settle();
            let known = *world.discovery.fingerprint();
            // It can send from another port, not from another address: the worse of the two that let this in.
            let worse = expected.max(Filtering::ByAddress);
            assert_eq!((known.translated, known.mapping, known.filtering), (Some(true), None, Some(worse)), "{known}");
            assert!(matches!(known.ports, Some(Ports::Random { .. })), "{known}");
            world.run(Duration::from_secs(100), |_| false);
            world.events.clear();
            world.help(Helpers::Members);
            world.settle();
            let known = *world.discovery.fingerprint();
            assert_eq!((known.mapping, known.filtering), (Some(expected_mapping), Some(expected)), "{known}");
            assert_eq!(known.hairpin, Some(false), "{known}");
        }
    }
}

#[test]
fn a_host_without_a_nat_knows_it_after_one_round_trip() {
    for helpers in [Helpers::Full, Helpers::Plain, Helpers::Members] {
        let mut world = World::new(Plan::new(1, None, helpers));
        world.settle();
        let known = *world.discovery.fingerprint();
        assert_eq!(
            (known.translated, known.mapping, known.ports),
            (Some(false), Some(Mapping::Independent), Some(Ports::Kept))
        );
        assert_eq!(known.filtering, (helpers != Helpers::Plain).then_some(Filtering::Independent));
        let first = world.events.iter().find(|(_, event)| matches!(event, Event::Public(_))).unwrap().0;
        assert_eq!(first, crate::world::DELAY * 2);
    }
}

/// Silences of 10, 20, 40, 80 and 160 seconds: what lasts 20 seconds outlasts the first, what lasts 120 outlasts 80.
#[test]
fn the_lifetime_is_the_longest_silence_that_a_mapping_outlasts() {
    const SECOND: Duration = Duration::from_secs(1);
    let cells = [(20, 10, 7.5), (120, 80, 60.0), (400, 160, 120.0), (5, 0, 5.0)];
    for helpers in [Helpers::Full, Helpers::Plain, Helpers::Members] {
        // Behind a NAT that lets nothing out there is nothing to outlast.
        for (kind, make) in Behaviour::KINDS.into_iter().filter(|(_, make)| !make().blocked) {
            for (lifetime, expected, keepalive) in cells {
                for seed in 0..seeds().div_ceil(10) {
                    let behaviour = Behaviour { lifetime: SECOND * lifetime, ..make() };
                    let mut plan = Plan::new(seed, Some(behaviour), helpers);
                    plan.silences = [10, 20, 40, 80, 160].map(|silence| SECOND * silence).to_vec();
                    let mut world = World::new(plan);
                    world.finish();
                    let known = world.discovery.fingerprint();
                    let what = format!("{kind}, {lifetime} s, {helpers:?}, seed {seed}: {known}");
                    assert_eq!(known.lifetime, Some(SECOND * expected), "{what}");
                    assert_eq!(world.discovery.keepalive().as_secs_f64(), keepalive, "{what}");
                    assert_eq!(world.open(), 0, "{what}");
                    assert!(world.most_open <= 24, "{what}: {} sockets", world.most_open);
                    assert!(world.discovery.spent() <= 150, "{what}: {} packets", world.discovery.spent());
                    let last = world.events.iter().map(|(at, _)| *at).max().unwrap();
                    assert!(last < 190 * SECOND, "{what}: {last:?}");
                }
            }
        }
    }
}
