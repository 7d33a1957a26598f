//! Connections are made by those who may, and nobody else hears anything.

use crate::pair::{CLIENT, MS, PATIENCE, Pair, Plan, SECRET_ID, SERVER, STRANGER, secs, seed_of};
use anjer::machine::Machine;
use anjer::mrt::{CloseReason, Config, ConnectError, ConnectTo, Endpoint, Event, PublicKey, SharedSecret, StaticKey};
use anjer::time::Instant;
use netem::{Link, Packet};
use std::net::SocketAddr;

/// The caller tries for as long as it said, then says that nobody answered; the server never noticed.
#[track_caller]
fn nobody_answers(mut pair: Pair, to: ConnectTo) {
    pair.call(to);
    pair.must("the caller gives up", PATIENCE + secs(1), |client, _| !client.losses().is_empty());
    assert_eq!(pair.client().losses(), [CloseReason::NoAnswer]);
    assert!(pair.network.now() >= PATIENCE, "it gave up early, {pair:?}");
    assert!(pair.server().events.is_empty() && pair.client().connections().is_empty(), "{pair:?}");
}

#[test]
fn each_pattern_tells_each_side_who_the_other_is() {
    for pattern in 0..3 {
        let mut pair = Pair::new(Plan::default());
        let to = pair.patterns()[pattern].clone();
        let called = pair.call(to);
        pair.must("both are connected", secs(1), |client, server| {
            client.connection().is_some() && server.connection().is_some()
        });
        let (client_key, server_key) = (pair.client_key, pair.server_key);
        let at_client = pair.client().events[0].clone();
        let at_server = pair.server().events[0].clone();
        let expected_secret = (pattern == 2).then_some(SECRET_ID);
        let Event::Connected { connection, route, key, initiator, secret, binding } = at_client else { panic!() };
        assert_eq!((connection, route, key), (called, SERVER.into(), server_key));
        assert_eq!((initiator, secret), (true, expected_secret));
        let Event::Connected { route, key, initiator, secret, binding: same, .. } = at_server else { panic!() };
        assert_eq!((route, key, initiator, secret), (CLIENT.into(), client_key, false, expected_secret));
        assert_eq!(binding, same, "the binding is what both can sign");
    }
}

#[test]
fn every_caller_is_connected_after_one_round_trip_and_the_called_half_a_one_later() {
    // Even with XX the second message proves who the called is; the third travels in front of the caller's first data.
    for pattern in 0..3 {
        let mut pair = Pair::new(Plan::default());
        let to = pair.patterns()[pattern].clone();
        pair.call(to);
        pair.must("the caller is connected", secs(1), |client, _| client.connection().is_some());
        assert_eq!(pair.network.now(), 20 * MS, "pattern {pattern}");
        pair.must("the called is connected", secs(1), |_, server| server.connection().is_some());
        assert_eq!(pair.network.now(), 30 * MS, "pattern {pattern}");
    }
}

#[test]
fn every_connection_has_a_binding_of_its_own() {
    let binding = |seed| {
        let mut pair = Pair::new(Plan { seed, ..Plan::default() });
        pair.connected();
        match pair.client().events[0] {
            Event::Connected { binding, .. } => binding,
            _ => panic!(),
        }
    };
    assert_ne!(binding(1), binding(2));
}

#[test]
fn a_wrong_secret_is_silence() {
    let pair = Pair::new(Plan::default());
    let to = ConnectTo::Invited { key: pair.server_key, id: SECRET_ID, secret: SharedSecret([9; 32]) };
    nobody_answers(pair, to);
}

#[test]
fn a_secret_that_was_withdrawn_is_silence() {
    let mut pair = Pair::new(Plan::default());
    pair.server().endpoint.remove_secret(SECRET_ID);
    let to = pair.patterns()[2].clone();
    nobody_answers(pair, to);
}

#[test]
fn a_wrong_key_is_silence() {
    let stranger = StaticKey::from_bytes([77; 32]).public();
    nobody_answers(Pair::new(Plan::default()), ConnectTo::Known(stranger));
}

#[test]
fn a_key_that_is_no_point_of_the_curve_worth_the_name_is_silence() {
    // All zeros: every agreement with it gives zeros, whatever the other key.
    let mut pair = Pair::new(Plan::default());
    let now = pair.now();
    if pair.client().endpoint.connect(now, SERVER, ConnectTo::Known(PublicKey([0; 32])), PATIENCE).is_ok() {
        pair.must("the caller gives up", PATIENCE + secs(1), |client, _| !client.losses().is_empty());
    }
    assert!(pair.server().events.is_empty() && pair.client().connections().is_empty());
}

#[test]
fn another_application_is_silence_with_every_pattern() {
    for pattern in 0..3 {
        let mut plan = Plan::default();
        plan.client.application = b"something else".to_vec();
        let pair = Pair::new(plan);
        let to = pair.patterns()[pattern].clone();
        nobody_answers(pair, to);
    }
}

#[test]
fn a_host_that_is_not_there_does_not_answer() {
    let mut pair = Pair::new(Plan::default());
    pair.network.crash(SERVER);
    pair.call(ConnectTo::Unknown);
    pair.network.run_for(PATIENCE + secs(1));
    assert_eq!(pair.client().losses(), [CloseReason::NoAnswer]);
}

#[test]
fn a_port_where_nobody_listens_is_refused_if_the_system_there_says_so() {
    let mut pair = Pair::new(Plan::default());
    pair.network.crash(SERVER);
    pair.network.unreachable_is_reported = true;
    pair.call(ConnectTo::Unknown);
    pair.network.run_for(PATIENCE + secs(1));
    assert_eq!(pair.client().losses(), [CloseReason::Refused]);
}

#[test]
fn a_forged_report_that_nobody_listens_does_not_stop_a_setup() {
    // Anyone can send such a report; the answer is on its way.
    let mut pair = Pair::new(Plan { link: Link { delay: 150 * MS, ..Link::default() }, ..Plan::default() });
    pair.call(ConnectTo::Unknown);
    pair.network.run_for(10 * MS);
    let now = pair.now();
    pair.client().endpoint.handle_unreachable(now, SERVER);
    pair.must("both connected", secs(1), |client, server| {
        client.connection().is_some() && server.connection().is_some()
    });
}

#[test]
fn strangers_are_not_heard_where_they_are_not_wanted_but_those_who_know_the_key_are() {
    let mut pair = Pair::new(Plan::default());
    pair.server().endpoint.listen_to_strangers(false);
    pair.connected();
    let mut pair = Pair::new(Plan::default());
    pair.server().endpoint.listen_to_strangers(false);
    nobody_answers(pair, ConnectTo::Unknown);
}

#[test]
fn mistakes_are_said_at_once() {
    let mut pair = Pair::new(Plan::default());
    let own = pair.client_key;
    let client = &mut pair.client().endpoint;
    let mut call =
        |to: &str, key| client.connect(Instant::ZERO, to.parse::<std::net::SocketAddr>().unwrap(), key, PATIENCE);
    assert_eq!(call("192.0.2.2:0", ConnectTo::Unknown), Err(ConnectError::BadAddress));
    assert_eq!(call("0.0.0.0:5", ConnectTo::Unknown), Err(ConnectError::BadAddress));
    assert_eq!(call("224.0.0.1:5", ConnectTo::Unknown), Err(ConnectError::BadAddress));
    assert_eq!(call("255.255.255.255:5", ConnectTo::Unknown), Err(ConnectError::BadAddress));
    assert_eq!(call("192.0.2.2:5", ConnectTo::Known(own)), Err(ConnectError::Ourselves));
    pair.network.run_for(PATIENCE);
    assert!(pair.client().events.is_empty());
    assert_eq!(pair.network.total().sent, 0);
}

#[test]
fn an_endpoint_makes_no_more_connections_than_it_may() {
    let mut plan = Plan::default();
    plan.client.max_connections = 3;
    let mut pair = Pair::new(plan);
    let made: Vec<bool> = (0..5)
        .map(|_| pair.client().endpoint.connect(Instant::ZERO, SERVER, ConnectTo::Unknown, PATIENCE))
        .map(|result| result.inspect_err(|error| assert_eq!(*error, ConnectError::TooMany)).is_ok())
        .collect();
    assert_eq!(made, [true, true, true, false, false]);
}

#[test]
fn two_who_call_each_other_at_once_both_get_through() {
    let mut pair = Pair::new(Plan::default());
    let (client_key, server_key) = (pair.client_key, pair.server_key);
    pair.call(ConnectTo::Known(server_key));
    pair.server().endpoint.connect(Instant::ZERO, CLIENT, ConnectTo::Known(client_key), PATIENCE).unwrap();
    pair.must("two connections", secs(2), |client, server| {
        client.connections().len() == 2 && server.connections().len() == 2
    });
}

/// First packets of `count` callers, each with a key of its own.
fn first_packets(count: u64, to: &ConnectTo) -> Vec<Vec<u8>> {
    let first_packet = |number| {
        let config = Config::new(StaticKey::from_bytes(seed_of(7, number)), b"stories");
        let mut caller = Endpoint::new(config, seed_of(8, number));
        caller.connect(Instant::ZERO, SERVER, to.clone(), PATIENCE).unwrap();
        let mut buffer = Vec::new();
        let transmit = caller.poll_transmit(Instant::ZERO, &mut buffer).unwrap();
        buffer.truncate(transmit.segment_size);
        buffer
    };
    (0..count).map(first_packet).collect()
}

#[test]
fn under_load_a_caller_proves_its_address_first_and_still_gets_in() {
    let mut plan = Plan::default();
    plan.server.max_half_open = 8;
    let mut pair = Pair::new(plan);
    let to = ConnectTo::Known(pair.server_key);
    for (bytes, number) in first_packets(50, &to).into_iter().zip(0..) {
        let from = SocketAddr::new(STRANGER.ip(), 10_000 + number);
        pair.network.inject(Packet::new(from, SERVER, bytes));
    }
    let start = pair.network.now();
    pair.call(to);
    pair.must("the caller is connected", PATIENCE, |client, _| client.connection().is_some());
    let took = pair.network.now() - start;
    assert!(took >= 40 * MS, "a cookie costs a round trip more: {took:?}");
    assert!(took < 60 * MS, "and no more than that: {took:?}");
    pair.must("the server agrees", secs(1), |_, server| server.connections().len() == 1);
    pair.network.run_for(secs(120));
    assert_eq!(pair.server().events.len(), 1, "the others never came back, and nobody heard of them");
}

#[test]
fn a_thousand_callers_at_once_all_get_in() {
    // One endpoint calls a thousand times: more than may be half open, so that most are sent back for a cookie.
    let mut pair = Pair::new(Plan { link: Link::with_delay(10 * MS).losing(0.05), ..Plan::default() });
    for pattern in pair.patterns().into_iter().cycle().take(1000) {
        pair.call(pattern);
    }
    pair.must("a thousand connections", PATIENCE, |client, server| {
        client.events.len() >= 1000 && server.events.len() >= 1000
    });
    assert_eq!((pair.client().connections().len(), pair.server().connections().len()), (1000, 1000));
}
