//! A machine in another network; a lid that is closed and opened.

use super::gathering::{MINUTE, SECOND, become_direct, gather, talk, was_quiet, watch_calls};
use anjer::driver::surroundings::Surroundings;
use anjer::time::Duration;
use netem::{Behaviour, Site};
use std::net::IpAddr;

/// From one network into another, as a telephone goes from the wireless network at home to that of its provider.
#[test]
fn a_machine_that_moves_to_another_network_keeps_its_links() {
    let kinds: [[fn() -> Behaviour; 2]; 3] = [
        [Behaviour::port_restricted, Behaviour::port_restricted],
        [Behaviour::port_restricted, Behaviour::symmetric],
        [Behaviour::symmetric, Behaviour::port_restricted_random],
    ];
    for [before, after] in kinds {
        for mover in [1, 2] {
            let chains =
                if mover == 1 { [before(), Behaviour::restricted()] } else { [Behaviour::restricted(), before()] };
            let [a, b] = chains;
            let (mut town, _) = gather(1, &[&[a], &[b]]);
            become_direct(&mut town, 1, 2, 30 * SECOND);
            let calls = watch_calls(&mut town);
            let elsewhere = town.nat(&[after()]).unwrap();
            let ip = IpAddr::from([172, 16, 5, 9]);
            town.carry(mover, elsewhere.machine(ip), ip);
            town.tell(mover, Surroundings::NetworkChanged);
            talk(&mut town, 1, 2, 2 * SECOND);
            become_direct(&mut town, 1, 2, MINUTE);
            assert_eq!(*calls.borrow(), [], "another connection was made");
            was_quiet(&town, 3);
        }
    }
}

/// From behind a NAT to a public address.
#[test]
fn a_machine_that_comes_out_from_behind_its_nat_keeps_its_links() {
    let (mut town, _) = gather(1, &[&[Behaviour::port_restricted()], &[Behaviour::port_restricted()]]);
    become_direct(&mut town, 1, 2, 30 * SECOND);
    let ip = IpAddr::from([192, 0, 2, 200]);
    town.carry(1, Site::machine(ip), ip);
    town.tell(1, Surroundings::NetworkChanged);
    talk(&mut town, 1, 2, 2 * SECOND);
    become_direct(&mut town, 1, 2, MINUTE);
    was_quiet(&town, 3);
}

/// Asleep for less than the room waits for a silent member; meanwhile the NAT forgot everything. On waking every path is checked at
/// once, instead of when something is to be said.
#[test]
fn a_machine_that_wakes_finds_its_links() {
    let (mut town, nats) = gather(1, &[&[Behaviour::port_restricted_random()], &[Behaviour::port_restricted()]]);
    become_direct(&mut town, 1, 2, 30 * SECOND);
    let site = town.site(1);
    town.network.pause(site);
    let slept = Duration::from_millis(2500);
    town.run_until(slept, |_| false);
    town.network.nat_mut(nats[0].unwrap()).unwrap().reboot();
    town.network.resume(site);
    town.tell(1, Surroundings::Woke { slept });
    talk(&mut town, 1, 2, 2 * SECOND);
    become_direct(&mut town, 1, 2, MINUTE);
    was_quiet(&town, 3);
}
