//! Two behind one NAT, NATs in a row, a NAT that clashes.

use super::gathering::{MINUTE, SECOND, assemble, become_direct, gather, talk, was_quiet};
use crate::town::Town;
use netem::{Behaviour, direct_path_required};

/// Two houses behind one NAT, which may or may not reach each other inside.
fn neighbours(nat: Behaviour, meet_inside: bool) -> Town {
    let mut town = Town::new(3);
    town.settle(None, true);
    let nat = town.nat(&[nat]);
    let [one, other] = [(), ()].map(|()| town.settle(nat, false));
    if !meet_inside {
        let sites = [town.site(one), town.site(other)];
        town.network.cut(sites[0], sites[1]);
    }
    assemble(&mut town, 2);
    town
}

/// Without hairpin the outside address leads nowhere: the private ones do, because both are on one network.
#[test]
fn two_behind_one_nat_without_hairpin_meet_inside() {
    for nat in [Behaviour::port_restricted(), Behaviour::symmetric()] {
        let mut town = neighbours(nat, true);
        become_direct(&mut town, 1, 2, 5 * SECOND);
        talk(&mut town, 1, 2, SECOND);
        was_quiet(&town, 3);
    }
}

/// A wireless network that keeps its guests apart leaves only the outside address.
#[test]
fn two_behind_one_nat_that_are_kept_apart_meet_by_its_hairpin() {
    for nat in [Behaviour::port_restricted_hairpin(), Behaviour::cgnat()] {
        let mut town = neighbours(nat, false);
        become_direct(&mut town, 1, 2, 15 * SECOND);
        talk(&mut town, 1, 2, SECOND);
        was_quiet(&town, 3);
    }
}

/// A home behind a provider's NAT, against whoever may be at the other end: the two NATs do what the stricter one does.
#[test]
fn two_nats_in_a_row_are_like_the_stricter_one() {
    let chain = [Behaviour::port_restricted(), Behaviour::cgnat()];
    let others: [&[Behaviour]; 5] = [
        &[],
        &[Behaviour::restricted()],
        &[Behaviour::port_restricted_random()],
        &[Behaviour::symmetric_512()],
        &[Behaviour::port_restricted(), Behaviour::symmetric()],
    ];
    for other in others {
        assert!(direct_path_required(&chain, other));
        let (mut town, _) = gather(1, &[&chain, other]);
        become_direct(&mut town, 1, 2, 30 * SECOND);
        talk(&mut town, 1, 2, SECOND);
        was_quiet(&town, 3);
    }
}

/// Two homes of one provider, which has one outside address for both: the way is the provider's hairpin.
#[test]
fn two_homes_of_one_provider_meet_by_its_hairpin() {
    let mut town = Town::new(1);
    town.settle(None, true);
    let provider = town.nat(&[Behaviour::cgnat()]).unwrap();
    for _ in 0..2 {
        let home = town.nat_behind(provider, Behaviour::port_restricted());
        town.settle(Some(home), false);
    }
    assemble(&mut town, 2);
    become_direct(&mut town, 1, 2, MINUTE);
    talk(&mut town, 1, 2, SECOND);
    was_quiet(&town, 3);
}

/// Linux moves a mapping to another port if its peer's packet was there first. Whoever comes from that port is answered all the same.
#[test]
fn nats_that_clash_let_direct_paths_through() {
    let others: [&[Behaviour]; 4] = [
        &[Behaviour::linux()],
        &[Behaviour::port_restricted()],
        &[Behaviour::symmetric_512()],
        &[Behaviour::restricted()],
    ];
    for other in others {
        for seed in 1..=2 {
            let (mut town, _) = gather(seed, &[&[Behaviour::linux()], other]);
            become_direct(&mut town, 1, 2, 40 * SECOND);
            talk(&mut town, 1, 2, SECOND);
            was_quiet(&town, 3);
        }
    }
}
