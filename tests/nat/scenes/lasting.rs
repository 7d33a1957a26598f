//! NATs that forget, move and lose their power; a silent room.

use super::gathering::{
    MINUTE, SECOND, become_direct, fetch, gather, is_whole, offer, slow_line, talk, was_quiet, watch_calls,
};
use crate::town::Town;
use anjer::time::Duration;
use netem::{Behaviour, Fault, Site};

/// What happens to the NAT of one of two in the middle of a download, which goes on.
fn survives(behaviours: [Behaviour; 2], happens: impl Fn(Site) -> Fault) {
    let [one, other] = behaviours;
    for troubled in [0, 1] {
        let (mut town, nats) = gather(1, &[core::slice::from_ref(&one), core::slice::from_ref(&other)]);
        become_direct(&mut town, 1, 2, 30 * SECOND);
        slow_line(&mut town, 1, nats[0].unwrap(), 16_000_000);
        offer(&mut town, 1, "film", 10 << 20, 2);
        fetch(&mut town, 2, "film");
        assert!(town.run_until(MINUTE, |town| town.progress(2) > 3 << 20), "{}", town.story(2));
        assert!(!town.has_saved(2, "film"));
        let calls = watch_calls(&mut town);
        assert!(town.network.apply(&happens(nats[troubled].unwrap().into())));
        assert!(town.run_until(MINUTE, |town| town.has_saved(2, "film")), "{}\n{}", town.story(1), town.story(2));
        is_whole(&town, 1, 2, "film");
        become_direct(&mut town, 1, 2, MINUTE);
        talk(&mut town, 1, 2, 2 * SECOND);
        assert_eq!(*calls.borrow(), [], "another connection was made:\n{}\n{}", town.story(1), town.story(2));
        was_quiet(&town, 3);
    }
}

#[test]
fn a_download_survives_a_nat_that_loses_its_power() {
    survives([Behaviour::port_restricted(), Behaviour::port_restricted_random()], Fault::Reboot);
}

/// Flows come out of other ports from one moment to the next.
#[test]
fn a_download_survives_a_nat_that_gives_other_ports() {
    survives([Behaviour::port_restricted_random(), Behaviour::restricted()], Fault::Rebind);
}

/// The provider gives another address over night.
#[test]
fn a_download_survives_a_nat_with_another_address() {
    survives([Behaviour::port_restricted(), Behaviour::port_restricted()], |nat| {
        Fault::ChangeAddress(nat, [203, 0, 113, 200].into())
    });
}

/// A mapping that lasts for 20 s has to be refreshed more often, which nobody sees.
#[test]
fn a_silent_room_behind_nats_that_forget_soon_is_there_when_somebody_speaks() {
    for other in [Behaviour::short_lived(), Behaviour::port_restricted(), Behaviour::mobile()] {
        let (mut town, _) = gather(1, &[&[Behaviour::short_lived()], &[other]]);
        become_direct(&mut town, 1, 2, 40 * SECOND);
        let calls = watch_calls(&mut town);
        town.run_until(3 * MINUTE, |_| false);
        let path = town.path(1, 2).unwrap().0;
        talk(&mut town, 1, 2, 2 * SECOND);
        assert!(town.are_direct(1, 2) && town.path(1, 2).unwrap().0 == path, "{}", town.story(1));
        assert_eq!(*calls.borrow(), [], "another connection was made");
        assert!(town.network.now() > path + Duration::from_secs(120));
        was_quiet(&town, 3);
    }
}

/// The same where the two are relayed.
#[test]
fn a_silent_room_behind_hard_nats_is_there_when_somebody_speaks() {
    let (mut town, _) = gather(2, &[&[Behaviour::mobile()], &[Behaviour::symmetric()]]);
    let linked = |town: &Town| town.path(1, 2).is_some();
    assert!(town.run_until(MINUTE, linked), "{}", town.story(1));
    town.run_until(3 * MINUTE, |_| false);
    talk(&mut town, 1, 2, 2 * SECOND);
    was_quiet(&town, 3);
}
