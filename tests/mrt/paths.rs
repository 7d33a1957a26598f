//! A connection has several ways, and goes the best of those that work.

use crate::pair::{MS, pattern, secs};
use crate::trio::{ALICE, ALICES, BOB, Plan, RELAY, Trio};
use anjer::mrt::{AddPathError, Class, Event, RelayChannel, Route};
use std::net::SocketAddr;

/// How long somebody who listens hears nothing while the connection moves, at most: two round trips through the relay, and a little.
const PAUSE: anjer::time::Duration = anjer::time::Duration::from_millis(2 * 80 + 30);

#[test]
fn a_transfer_moves_from_the_relay_to_the_direct_way_without_a_stall() {
    for upwards in [true, false] {
        let mut trio = Trio::new(Plan::default());
        let ends = trio.connected();
        let sent = pattern(1, 20_000_000);
        let (sender, receiver, connection) = if upwards { (ALICE, BOB, ends.alice) } else { (BOB, ALICE, ends.bob) };
        let channel = trio.party(sender).say(connection, Class::Bulk, sent.clone());
        let mut begun = None;
        let gap = trio.longest_gap(receiver, sent.len(), |trio, got| {
            if begun.is_none() && got > 5_000_000 {
                trio.go_direct(ends);
                begun = Some(trio.network.now());
            }
        });
        assert!(gap <= PAUSE, "{gap:?}; {trio:?}");
        assert_eq!(trio.active(ALICE, ends.alice), BOB.into(), "{trio:?}");
        assert_eq!(trio.active(BOB, ends.bob), ALICE.into(), "{trio:?}");
        trio.must("and everything is there", secs(5), |network| {
            network.host(receiver).unwrap().whole(channel).is_some()
        });
        assert!(trio.party(receiver).whole(channel).unwrap() == sent);
        // The relay's own counters: it carried the beginning, and then no more than questions and what was under way.
        let carried = trio.carried();
        let bytes = carried.forth.bytes + carried.back.bytes;
        assert!((5_000_000..9_000_000).contains(&bytes), "{carried:?}");
        // Loss is for congestion: a move is none.
        let now = trio.now();
        let stats = trio.party(sender).endpoint.stats(now, connection).unwrap();
        assert!(stats.lost_packets < 200, "{stats:?}");
    }
}

#[test]
fn both_sides_are_told_that_a_path_is_proven_and_that_data_goes_there() {
    let mut trio = Trio::new(Plan::default());
    let ends = trio.connected();
    let began = trio.network.now();
    trio.go_direct(ends);
    trio.must("Alice moves", secs(1), |network| {
        network.host(ALICE).unwrap().events.iter().any(|event| matches!(event, Event::Moved { .. }))
    });
    assert!(trio.network.now() - began <= 21 * MS, "one round trip: {:?}", trio.network.now() - began);
    trio.network.run_for(secs(1));
    for (who, connection, there) in [(ALICE, ends.alice, BOB), (BOB, ends.bob, ALICE)] {
        let events = trio.path_events(who, connection);
        let route = Route::from(there);
        let [Event::PathUp { route: up, rtt, .. }, Event::Moved { route: moved, .. }] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!((*up, *moved), (route, route));
        assert!((20..=22).contains(&rtt.as_millis()), "{rtt:?}");
        let paths = trio.paths(who, connection);
        assert_eq!(paths.len(), 2, "{paths:?}");
        assert!(paths[0].active && paths[0].route == route && paths.iter().all(|path| path.validated));
        assert!(paths[1].route.is_relayed() && !paths[1].active);
    }
}

#[test]
fn only_full_size_datagrams_prove_a_path() {
    // A tunnel on the direct way carries 1100 bytes, in one direction: questions pass, or their answers, and not both.
    for (from, to) in [(ALICE, BOB), (BOB, ALICE)] {
        let mut plan = Plan::default();
        plan.relay.mtu = Some(1500);
        let mut trio = Trio::new(plan.clone());
        trio.network.set_link(from, to, netem::Link { mtu: Some(1128), ..plan.direct });
        let ends = trio.connected();
        trio.go_direct(ends);
        trio.network.run_for(secs(20));
        assert!(trio.active(ALICE, ends.alice).is_relayed() && trio.active(BOB, ends.bob).is_relayed());
        let failed = Event::PathFailed { connection: ends.alice, route: BOB.into() };
        assert_eq!(trio.path_events(ALICE, ends.alice), [failed]);
        assert_eq!(trio.path_events(BOB, ends.bob), []);
        assert_eq!(trio.paths(ALICE, ends.alice).len(), 1);
    }
}

#[test]
fn a_way_where_nobody_answers_fails_and_is_sent_six_datagrams() {
    let mut trio = Trio::new(Plan::default());
    let ends = trio.connected();
    let nobody: SocketAddr = "192.0.2.99:1".parse().unwrap();
    let now = trio.now();
    trio.party(ALICE).endpoint.add_path(now, ends.alice, nobody.into()).unwrap();
    trio.network.run_for(secs(20));
    assert_eq!(
        trio.path_events(ALICE, ends.alice),
        [Event::PathFailed { connection: ends.alice, route: nobody.into() }]
    );
    let there = trio.network.counters(ALICE, nobody);
    assert_eq!((there.sent, there.sent_bytes), (6, 7200));
}

#[test]
fn losing_the_direct_way_costs_a_probe_timeout_and_it_is_taken_again_when_it_answers() {
    for upwards in [true, false] {
        let mut trio = Trio::new(Plan::default());
        let ends = trio.direct();
        let sent = pattern(2, 20_000_000);
        let (sender, receiver, connection) = if upwards { (ALICE, BOB, ends.alice) } else { (BOB, ALICE, ends.bob) };
        trio.party(sender).say(connection, Class::Bulk, sent.clone());
        let mut cut_at = None;
        let gap = trio.longest_gap(receiver, sent.len(), |trio, got| {
            if cut_at.is_none() && got > 5_000_000 {
                trio.network.cut(ALICE, BOB);
                cut_at = Some(trio.network.now());
            }
            if cut_at.is_some_and(|at| trio.network.now() == at + secs(1)) {
                assert!(trio.active(sender, connection).is_relayed(), "{trio:?}");
                trio.network.heal(ALICE, BOB);
            }
        });
        // A probe timeout of the direct way with its queue (a tenth of a second or so), the question through the relay and back, and the
        // data's way there.
        assert!(gap <= 350 * MS, "{gap:?}; {trio:?}");
        assert_eq!(trio.active(ALICE, ends.alice), BOB.into(), "{trio:?}");
        assert_eq!(trio.active(BOB, ends.bob), ALICE.into(), "{trio:?}");
        let moves = trio.path_events(ALICE, ends.alice).into_iter();
        let moves: Vec<_> = moves.filter(|event| matches!(event, Event::Moved { .. })).collect();
        assert_eq!(moves.len(), 3, "direct, relayed, direct: {moves:?}");
    }
}

#[test]
fn a_direct_way_that_fails_in_one_direction_only_is_left_by_both() {
    for (from, to) in [(ALICE, BOB), (BOB, ALICE)] {
        let mut trio = Trio::new(Plan::default());
        let ends = trio.direct();
        trio.party(ALICE).say(ends.alice, Class::Bulk, pattern(3, 5_000_000));
        trio.party(BOB).say(ends.bob, Class::Bulk, pattern(4, 5_000_000));
        trio.network.run_for(200 * MS);
        trio.network.cut_one_way(from, to);
        trio.must("both transfers end", secs(10), |network| {
            [ALICE, BOB].iter().all(|who| network.host(*who).unwrap().received() >= 5_000_000)
        });
        assert!(trio.active(ALICE, ends.alice).is_relayed() && trio.active(BOB, ends.bob).is_relayed(), "{trio:?}");
    }
}

#[test]
fn a_path_that_stands_by_and_dies_is_reported_and_lives_again_when_it_answers() {
    let mut trio = Trio::new(Plan::default());
    let ends = trio.direct();
    let relayed = trio.relayed();
    trio.network.run_for(secs(10));
    assert_eq!(trio.path_events(ALICE, ends.alice).len(), 2, "it answers: nothing is said");
    trio.network.cut(BOB, RELAY);
    trio.network.run_for(secs(15));
    let down = Event::PathDown { connection: ends.alice, route: relayed };
    assert_eq!(trio.path_events(ALICE, ends.alice).last(), Some(&down), "{trio:?}");
    assert!(trio.paths(ALICE, ends.alice).iter().any(|path| path.route == relayed && !path.validated));
    assert_eq!(trio.active(ALICE, ends.alice), BOB.into());
    trio.network.heal(BOB, RELAY);
    trio.network.run_for(secs(10));
    assert!(
        matches!(trio.path_events(ALICE, ends.alice).last(), Some(Event::PathUp { route, .. }) if *route == relayed)
    );
    // For good: it is forgotten, and that is said once.
    trio.network.cut(BOB, RELAY);
    trio.network.run_for(secs(100));
    assert_eq!(trio.path_events(ALICE, ends.alice).iter().filter(|event| **event == down).count(), 2);
    assert_eq!(trio.paths(ALICE, ends.alice).len(), 1);
}

#[test]
fn an_idle_pair_keeps_its_second_way_warm_with_a_few_small_datagrams() {
    let mut trio = Trio::new(Plan::default());
    trio.direct();
    trio.network.run_for(secs(5));
    let before = trio.carried();
    trio.network.run_for(secs(100));
    let after = trio.carried();
    let packets = after.forth.packets - before.forth.packets;
    // Each side asks every five seconds, and answers as often.
    assert!((30..=50).contains(&packets), "{packets}");
    assert!((after.forth.bytes - before.forth.bytes) / packets < 60);
}

#[test]
fn a_path_that_is_dropped_is_not_used_and_the_last_one_stays() {
    let mut trio = Trio::new(Plan::default());
    let ends = trio.direct();
    let (now, relayed) = (trio.now(), trio.relayed());
    trio.party(ALICE).endpoint.drop_path(now, ends.alice, BOB.into());
    assert_eq!(trio.active(ALICE, ends.alice), relayed);
    trio.party(ALICE).endpoint.drop_path(now, ends.alice, relayed);
    assert_eq!(trio.active(ALICE, ends.alice), relayed, "there is no other");
    let channel = trio.party(ALICE).say(ends.alice, Class::Chat, "still there?");
    trio.must("it arrives", secs(2), |network| network.host(BOB).unwrap().whole(channel).is_some());
}

#[test]
fn when_the_relay_closes_the_connection_those_it_served_go_direct_at_once() {
    let mut trio = Trio::new(Plan::default());
    let ends = trio.direct();
    let (now, relayed) = (trio.now(), trio.relayed());
    let outer = trio.relay_to_alice;
    trio.party(RELAY).endpoint.close(now, outer, 0, "enough");
    trio.network.run_for(MS * 100);
    let down = Event::PathDown { connection: ends.alice, route: relayed };
    assert_eq!(trio.path_events(ALICE, ends.alice).last(), Some(&down), "{trio:?}");
    let channel = trio.party(ALICE).say(ends.alice, Class::Chat, "still there?");
    trio.must("it arrives", secs(2), |network| network.host(BOB).unwrap().whole(channel).is_some());
}

#[test]
fn after_sleep_every_path_is_asked_at_once_and_what_is_gone_is_left() {
    let mut trio = Trio::new(Plan::default());
    let ends = trio.direct();
    trio.network.cut(ALICE, BOB);
    let now = trio.now();
    trio.party(ALICE).endpoint.check_paths(now);
    trio.must("Alice goes through the relay", 400 * MS, |network| {
        let moved = |event: &&Event| matches!(event, Event::Moved { .. });
        network.host(ALICE).unwrap().events.iter().filter(moved).count() == 2
    });
    trio.network.run_for(secs(1));
    assert!(trio.active(BOB, ends.bob).is_relayed(), "and Bob follows: {trio:?}");
}

#[test]
fn what_cannot_be_a_path_is_refused_by_name() {
    let mut trio = Trio::new(Plan::default());
    let ends = trio.connected();
    let now = trio.now();
    let relayed = trio.relayed();
    let alice = &mut trio.party(ALICE).endpoint;
    let mut add = |route: Route| alice.add_path(now, ends.alice, route);
    assert_eq!(add("192.0.2.9:0".parse::<SocketAddr>().unwrap().into()), Err(AddPathError::BadAddress));
    assert_eq!(add("224.0.0.1:5".parse::<SocketAddr>().unwrap().into()), Err(AddPathError::BadAddress));
    assert_eq!(add(relayed), Err(AddPathError::Known));
    // Through a connection that is relayed itself, or through itself.
    let nested = Route::Relayed { by: ends.alice, channel: ALICES };
    assert_eq!(add(nested), Err(AddPathError::RelayedTwice));
    for port in 1..=4 {
        assert_eq!(add(SocketAddr::from(([192, 0, 2, 99], port)).into()), Ok(()));
    }
    assert_eq!(add(SocketAddr::from(([192, 0, 2, 99], 5)).into()), Err(AddPathError::TooMany));
    let outer = trio.alice_to_relay;
    let alice = &mut trio.party(ALICE).endpoint;
    assert_eq!(alice.add_path(now, outer, nested), Err(AddPathError::RelayedTwice));
    alice.close(now, ends.alice, 0, "");
    assert_eq!(alice.add_path(now, ends.alice, BOB.into()), Err(AddPathError::NotConnected));
    let gone = Route::Relayed { by: ends.alice, channel: RelayChannel(1) };
    assert_eq!(alice.add_path(now, outer, gone), Err(AddPathError::NoSuchRelay));
}
