//! What goes wrong on the way.

use crate::world::{DELAY, Helpers, INSIDE_IP, Plan, World};
use anjer::stun::discovery::Event;
use anjer::stun::fingerprint::{Fingerprint, Kind, Mapping, Ports};
use core::time::Duration;
use netem::{Behaviour, Link};

/// One packet in thirty is lost each way, one in a hundred comes twice, and they take up to 20 ms longer. What depends on silence is asked
/// for several times, and a counter is told from chance by the order of what was asked once.
#[test]
fn loss_and_jitter_make_hardly_any_difference() {
    let (mut wrong, mut all) = (0, 0);
    for (kind, make) in Behaviour::KINDS {
        for seed in 0..20 {
            let mut expected = World::new(Plan::new(seed, Some(make()), Helpers::Full));
            expected.settle();
            let mut plan = Plan::new(seed, Some(make()), Helpers::Full);
            let jitter = Duration::from_millis(20);
            plan.link = Link { jitter, duplication: 0.01, ..Link::with_delay(DELAY).losing(0.03) };
            let mut world = World::new(plan);
            world.settle();
            let scrub = |known: &Fingerprint| {
                let ports = known.ports.map(|ports| match ports {
                    Ports::Random { .. } => Ports::Random { lowest: 0, highest: 0 },
                    other => other,
                });
                Fingerprint { ports, ..*known }
            };
            all += 1;
            if scrub(expected.discovery.fingerprint()) != scrub(world.discovery.fingerprint()) {
                wrong += 1;
                println!("{kind} seed {seed}: {}", world.discovery.fingerprint());
            }
        }
    }
    assert!(wrong * 50 <= all, "{wrong} of {all}");
}

#[test]
fn where_udp_does_not_get_out_that_is_said() {
    let mut plan = Plan::new(1, Some(Behaviour::default()), Helpers::Full);
    plan.link = Link::default().losing(1.0);
    let mut world = World::new(plan);
    world.settle();
    assert_eq!(world.discovery.fingerprint().kind(), Some(Kind::Blocked));
    assert_eq!(world.discovery.public(), None);
    // Nobody was flooded for that.
    assert!(world.discovery.spent() <= 8, "{}", world.discovery.spent());
}

/// The same seed gives the same run, packet for packet.
#[test]
fn a_run_repeats_itself() {
    let run = |seed| {
        let mut world = World::new(Plan::new(seed, Some(Behaviour::symmetric()), Helpers::Members));
        world.network.keep_transcript();
        world.settle();
        (world.network.transcript(), world.events, world.discovery.spent())
    };
    assert!(run(7) == run(7));
    assert!(run(7).0 != run(8).0);
}

/// The laptop is carried from a network with a hard NAT to one with none.
#[test]
fn after_a_change_of_network_nothing_of_the_old_one_is_left() {
    let mut world = World::new(Plan::new(3, Some(Behaviour::symmetric()), Helpers::Full));
    world.settle();
    assert_eq!(world.discovery.fingerprint().kind(), Some(Kind::Hard));
    world.network.nat_mut(world.nat.unwrap()).unwrap().behaviour = Behaviour::full_cone();
    world.network.nat_mut(world.nat.unwrap()).unwrap().reboot();
    world.events.clear();
    let now = anjer::time::Instant::from_start(world.now());
    world.discovery.restart(now, (INSIDE_IP, 5000).into(), vec![INSIDE_IP.into()]);
    world.settle();
    let known = world.discovery.fingerprint();
    assert_eq!((known.mapping, known.ports), (Some(Mapping::Independent), Some(Ports::Kept)));
    assert!(world.events.iter().any(|(_, event)| matches!(event, Event::Public(_))));
}
