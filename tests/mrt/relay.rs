//! Two who cannot reach each other go through somebody who reaches both.

use crate::pair::{MS, PATIENCE, pattern, secs};
use crate::trio::{ALICE, ALICES, BOB, BOBS, Plan, RELAY, Trio, party, public};
use anjer::mrt::{
    Class, ConnectError, ConnectTo, Event, RelayChannel, RelayCount, RelayError, RelayLimits, RelayStats, Route,
};
use netem::{Link, Packet, Verdict};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

const RELY: u8 = 0xAC;

#[test]
fn two_are_connected_within_two_round_trips_through_the_relay_and_neither_sees_the_others_address() {
    let mut trio = Trio::new(Plan::default());
    trio.network.cut(ALICE, BOB);
    let began = trio.network.now();
    let ends = trio.connected();
    assert!(trio.network.now() - began <= 125 * MS, "{:?}", trio.network.now() - began);
    assert_eq!(trio.active(ALICE, ends.alice), Route::Relayed { by: trio.alice_to_relay, channel: ALICES });
    assert_eq!(trio.active(BOB, ends.bob), Route::Relayed { by: trio.bob_to_relay, channel: BOBS });
    let now = trio.now();
    assert_eq!(trio.party(ALICE).endpoint.stats(now, ends.alice).unwrap().remote(), None);
}

#[test]
fn the_relay_passes_on_what_it_cannot_read_and_counts_it() {
    let mut trio = Trio::new(Plan::default());
    trio.network.cut(ALICE, BOB);
    let record = Rc::new(RefCell::new(Vec::new()));
    let writer = Rc::clone(&record);
    trio.network.set_tap(move |_, packet| {
        writer.borrow_mut().push(packet.clone());
        Verdict::Pass
    });
    let ends = trio.connected();
    let secret = b"nobody in between reads this".repeat(2000);
    let channel = trio.party(ALICE).say(ends.alice, Class::Bulk, secret.clone());
    trio.must("it arrives", secs(5), |network| network.host(BOB).unwrap().whole(channel).is_some());
    assert!(trio.party(BOB).whole(channel).unwrap() == secret);
    let carried = trio.carried();
    let relayed: Vec<Packet> = record.borrow().iter().filter(|packet| packet.bytes[0] == RELY).cloned().collect();
    let to = |address: SocketAddr| relayed.iter().filter(move |packet| packet.to == address);
    let inner = |packet: &Packet| packet.bytes.len() as u64 - 37;
    assert_eq!(carried.forth.packets, to(BOB).count() as u64);
    assert_eq!(carried.forth.bytes, to(BOB).map(inner).sum::<u64>());
    assert_eq!(carried.back.bytes, to(ALICE).map(inner).sum::<u64>());
    assert_eq!(carried.forth.dropped_packets + carried.back.dropped_packets, 0);
    let words = b"nobody in between";
    assert!(relayed.iter().all(|packet| !packet.bytes.windows(words.len()).any(|it| it == words)));
    // What is carried is what was handed over, in an envelope for the next.
    let handed_over: Vec<Vec<u8>> =
        to(RELAY).map(|packet| packet.bytes[21..packet.bytes.len() - 16].to_vec()).collect();
    assert!(to(BOB).all(|packet| handed_over.contains(&packet.bytes[21..packet.bytes.len() - 16].to_vec())));
    // The connections to the relay are no busier for it: nothing of it is acknowledged there.
    let now = trio.now();
    let (alice_to_relay, stats) = (trio.alice_to_relay, trio.carried());
    let outer = trio.party(ALICE).endpoint.stats(now, alice_to_relay).unwrap();
    assert!(outer.sent_packets < 20 && stats.forth.packets > 40, "{outer:?}");
}

#[test]
fn a_hundred_of_a_hundred_connect_through_a_relay_and_ten_per_cent_of_loss_on_each_leg() {
    for seed in 0..100 {
        let mut plan = Plan { seed, ..Plan::default() };
        plan.relay = plan.relay.losing(0.1);
        let mut trio = Trio::new(plan);
        trio.network.cut(ALICE, BOB);
        trio.connected();
    }
}

#[test]
fn who_is_called_under_load_asks_for_a_cookie_over_the_relay_too() {
    const RTRY: u8 = 0xA1;
    let mut trio = Trio::new(Plan { tune_bob: |config| config.max_half_open = 1, ..Plan::default() });
    let retries = Rc::new(RefCell::new(0));
    let counter = Rc::clone(&retries);
    trio.network.set_tap(move |_, packet| {
        let asks = packet.from == BOB && packet.bytes[0] == RELY && packet.bytes[21] == RTRY;
        *counter.borrow_mut() += usize::from(asks);
        Verdict::Pass
    });
    // The first is half-open when the second calls.
    let (now, route) = (trio.now(), trio.relayed());
    for _ in 0..2 {
        trio.party(ALICE).endpoint.connect(now, route, ConnectTo::Unknown, PATIENCE).unwrap();
    }
    trio.must("both are connected", secs(1), |network| network.host(BOB).unwrap().connections().len() == 3);
    assert_eq!(*retries.borrow(), 1);
}

#[test]
fn larger_datagrams_are_found_up_to_what_the_wrapping_leaves() {
    for (mtu, expected) in [(1500, 1415..=1435), (1400, 1315..=1335), (1228, 1163..=1163)] {
        let mut plan = Plan::default();
        plan.relay.mtu = Some(mtu);
        let mut trio = Trio::new(plan);
        trio.network.cut(ALICE, BOB);
        let ends = trio.connected();
        trio.party(ALICE).say(ends.alice, Class::Bulk, pattern(1, 2_000_000));
        trio.must("it arrives", secs(20), |network| network.host(BOB).unwrap().received() == 2_000_000);
        trio.network.run_for(secs(5));
        let now = trio.now();
        let stats = trio.party(ALICE).endpoint.stats(now, ends.alice).unwrap();
        assert!(expected.contains(&stats.mtu), "{stats:?} of {mtu}");
    }
}

#[test]
fn a_flow_keeps_to_its_rate() {
    let plan = Plan { limits: RelayLimits { rate: 500_000, queue: 100_000 }, ..Plan::default() };
    let mut trio = Trio::new(plan);
    let ends = trio.connected();
    let began = trio.network.now();
    trio.party(ALICE).say(ends.alice, Class::Bulk, pattern(1, 5_000_000));
    trio.must("it arrives", secs(60), |network| network.host(BOB).unwrap().received() == 5_000_000);
    let took = trio.network.now() - began;
    assert!((secs(9)..secs(14)).contains(&took), "{took:?}");
    assert!(trio.carried().forth.dropped_packets > 0, "that is how the sender learns of it");
}

#[test]
fn two_flows_through_one_relay_get_the_same() {
    // The relay gives 1 MB/s to all; Carol sends to Bob, too, with a round trip that is half as long.
    const CAROL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 4)), 4000);
    let limits = RelayLimits { rate: 10_000_000, queue: 60_000 };
    let mut trio = Trio::new(Plan { relay_rate: 1_000_000, limits, ..Plan::default() });
    let ends = trio.connected();
    trio.network.add(CAROL, party(7, CAROL, |_| {}));
    trio.network.set_link(CAROL, RELAY, Link::with_delay(5 * MS));
    trio.network.set_link(RELAY, CAROL, Link::with_delay(5 * MS));
    let now = trio.now();
    let by = trio.party(CAROL).endpoint.connect(now, RELAY, ConnectTo::Known(public(RELAY)), PATIENCE).unwrap();
    trio.network.run_for(secs(1));
    let (to_bob, hers) = (trio.relay_to_bob, RelayChannel(77));
    let to_carol = *trio.party(RELAY).connections().last().unwrap();
    let flow = trio.party(RELAY).endpoint.relay_bind((to_carol, hers), (to_bob, hers), limits).unwrap();
    let bob_to_relay = trio.bob_to_relay;
    trio.party(BOB).endpoint.relay_open(bob_to_relay, hers).unwrap();
    let now = trio.now();
    let route = Route::Relayed { by, channel: hers };
    let carols = trio.party(CAROL).endpoint.connect(now, route, ConnectTo::Known(public(BOB)), PATIENCE).unwrap();
    trio.network.run_for(secs(1));
    trio.party(ALICE).say(ends.alice, Class::Bulk, pattern(1, 20_000_000));
    trio.party(CAROL).say(carols, Class::Bulk, pattern(2, 20_000_000));
    trio.network.run_for(secs(3));
    let before = (trio.carried(), trio.party(RELAY).endpoint.relay_stats(flow).unwrap());
    trio.network.run_for(secs(15));
    let after = (trio.carried(), trio.party(RELAY).endpoint.relay_stats(flow).unwrap());
    let got = |after: RelayStats, before: RelayStats| (after.forth.bytes - before.forth.bytes) as f64;
    let (alice, carol) = (got(after.0, before.0), got(after.1, before.1));
    let sum = alice + carol;
    assert!((0.8..1.25).contains(&(alice / carol)), "{alice} and {carol}");
    assert!((12.5e6..15.2e6).contains(&sum), "{sum}");
}

#[test]
fn nothing_that_is_forged_replayed_or_on_no_ones_channel_is_passed_on() {
    let mut trio = Trio::new(Plan::default());
    trio.network.cut(ALICE, BOB);
    let record = Rc::new(RefCell::new(Vec::new()));
    let writer = Rc::clone(&record);
    trio.network.set_tap(move |_, packet| {
        if packet.to == RELAY && packet.bytes[0] == RELY {
            writer.borrow_mut().push(packet.clone());
        }
        Verdict::Pass
    });
    let ends = trio.connected();
    trio.party(ALICE).say(ends.alice, Class::Chat, "hello");
    trio.network.run_for(secs(2));
    let before = (trio.carried(), trio.party(RELAY).endpoint.relay_drops());
    let sent_before = trio.network.counters(RELAY, BOB).sent + trio.network.counters(RELAY, ALICE).sent;
    let caught = record.borrow().clone();
    assert!(caught.len() > 4);
    for packet in caught {
        // As it was, and with another byte changed each time: id, counter, channel, contents, tag.
        trio.network.inject(packet.clone());
        for at in [1, 9, 16, 20, 21, packet.bytes.len() - 1] {
            let mut forged = packet.clone();
            forged.bytes[at] ^= 0x40;
            trio.network.inject(forged);
        }
        let mut cut = packet.clone();
        cut.bytes.truncate(37);
        trio.network.inject(cut);
    }
    trio.network.run_for(MS);
    trio.network.run_for(30 * MS);
    let after = (trio.carried(), trio.party(RELAY).endpoint.relay_drops());
    let sent_after = trio.network.counters(RELAY, BOB).sent + trio.network.counters(RELAY, ALICE).sent;
    assert!(after == before && sent_after <= sent_before + 2, "{before:?} {after:?}");

    // Genuine, for a channel that is bound to nobody: dropped, and counted.
    let (now, by) = (trio.now(), trio.alice_to_relay);
    let route = Route::Relayed { by, channel: RelayChannel(6) };
    trio.party(ALICE).endpoint.connect(now, route, ConnectTo::Known(public(BOB)), secs(5)).unwrap();
    trio.network.run_for(secs(6));
    let drops = trio.party(RELAY).endpoint.relay_drops();
    assert!(drops.unknown_channel >= 5 && drops.nested == 0, "{drops:?}");
    assert!(matches!(trio.party(ALICE).events.last(), Some(Event::Lost { .. })));

    // And what Bob gets on a channel that he has not opened, or closed, is nothing to him.
    let bob_to_relay = trio.bob_to_relay;
    trio.party(BOB).endpoint.relay_close(bob_to_relay, BOBS);
    let now = trio.now();
    let route = trio.relayed();
    trio.party(ALICE).endpoint.connect(now, route, ConnectTo::Unknown, secs(3)).unwrap();
    trio.network.run_for(secs(4));
    assert!(trio.party(BOB).endpoint.relay_drops().unknown_channel >= 4);
}

#[test]
fn what_cannot_relay_is_refused_by_name() {
    let mut trio = Trio::new(Plan::default());
    let ends = trio.connected();
    let now = trio.now();
    let [to_alice, to_bob] = [trio.relay_to_alice, trio.relay_to_bob];
    let relay = &mut trio.party(RELAY).endpoint;
    let mut bind = |a, b| relay.relay_bind(a, b, RelayLimits::default());
    let channel = RelayChannel;
    assert_eq!(bind((to_alice, ALICES), (to_bob, channel(1))), Err(RelayError::InUse));
    assert_eq!(bind((to_alice, channel(1)), (to_alice, channel(2))), Err(RelayError::SameConnection));
    // A connection that is relayed cannot relay: neither end of it, nor a call over it.
    let by = ends.alice;
    let alice_to_relay = trio.alice_to_relay;
    let alice = &mut trio.party(ALICE).endpoint;
    let nested = (ends.alice, channel(1));
    let bound = alice.relay_bind((alice_to_relay, channel(1)), nested, RelayLimits::default());
    assert_eq!(bound, Err(RelayError::RelayedTwice));
    assert_eq!(alice.relay_open(by, channel(1)), Err(RelayError::RelayedTwice));
    let call = |route| (route, ConnectTo::Unknown);
    let (route, to) = call(Route::Relayed { by, channel: channel(1) });
    assert_eq!(alice.connect(now, route, to.clone(), PATIENCE), Err(ConnectError::RelayedTwice));
    alice.close(now, by, 0, "");
    assert_eq!(alice.connect(now, route, to, PATIENCE), Err(ConnectError::NoSuchRelay));
    assert_eq!(alice.relay_open(by, channel(1)), Err(RelayError::NotConnected));
}

#[test]
fn the_relays_clients_may_get_other_addresses_and_those_behind_do_not_notice() {
    let mut trio = Trio::new(Plan::default());
    trio.network.cut(ALICE, BOB);
    let ends = trio.connected();
    let sent = pattern(5, 10_000_000);
    let channel = trio.party(BOB).say(ends.bob, Class::Bulk, sent.clone());
    trio.network.run_for(secs(1));
    // Alice's NAT forgets her, in the middle: the same host, another port.
    let elsewhere = SocketAddr::new(ALICE.ip(), 999);
    let mut alice = trio.network.crash(ALICE).unwrap();
    alice.address = elsewhere;
    trio.network.add(elsewhere, alice);
    for (a, b) in [(elsewhere, RELAY), (RELAY, elsewhere)] {
        trio.network.set_link(a, b, Plan::default().relay);
    }
    trio.must("it all arrives", secs(20), |network| network.host(elsewhere).unwrap().whole(channel).is_some());
    assert!(trio.party(elsewhere).whole(channel).unwrap() == sent);
    let to_alice = trio.relay_to_alice;
    let moved = Event::Moved { connection: to_alice, route: elsewhere.into() };
    assert!(trio.party(RELAY).events.contains(&moved));
    assert!(trio.path_events(elsewhere, ends.alice).is_empty(), "to her it is the same path");
    assert!(trio.path_events(BOB, ends.bob).is_empty());
}

#[test]
fn a_flow_that_is_unbound_carries_nothing_more() {
    let mut trio = Trio::new(Plan::default());
    trio.connected();
    let flow = trio.flow;
    assert_ne!(trio.carried(), RelayStats::default());
    trio.party(RELAY).endpoint.relay_unbind(flow);
    assert_eq!(trio.party(RELAY).endpoint.relay_stats(flow), None);
    trio.network.run_for(secs(60));
    assert!(trio.party(RELAY).endpoint.relay_drops().unknown_channel > 0);
    let lost = trio.party(ALICE).events.iter().any(|event| matches!(event, Event::Lost { .. }));
    assert!(lost, "there was no other way");
    assert_eq!(RelayCount::default().packets, 0);
}
