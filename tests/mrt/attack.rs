//! Attacks on the setup, from beside the path and from strangers with keys of their own.

use crate::pair::{CLIENT, MS, PATIENCE, Pair, Plan, SERVER, STRANGER, pattern, secs, seed_of};
use anjer::machine::Machine;
use anjer::mrt::wire::{Cid, Clear, Pattern};
use anjer::mrt::{Class, Config, ConnectTo, ConnectionHandle, Endpoint, Event, StaticKey};
use anjer::time::Duration;
use netem::{Packet, Verdict};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

const RCON: u8 = 0xA0;
const RTRY: u8 = 0xA1;
const ACON: u8 = 0xA2;

/// Takes every packet of the kind off the wire, the first of each into the returned list.
fn catch(pair: &mut Pair, from: SocketAddr, kind: u8) -> Rc<RefCell<Vec<Packet>>> {
    let caught = Rc::new(RefCell::new(Vec::new()));
    let writer = Rc::clone(&caught);
    pair.network.set_tap(move |_, packet| {
        if packet.from != from || packet.bytes[0] != kind {
            return Verdict::Pass;
        }
        writer.borrow_mut().push(packet.clone());
        Verdict::Drop
    });
    caught
}

/// A call by one of the patterns, of which the first packet of the kind was taken off the wire, and all others of it.
fn call_and_catch(number: usize, from: SocketAddr, kind: u8, after: Duration) -> (Pair, ConnectionHandle, Packet) {
    let mut pair = Pair::new(Plan::default());
    let caught = catch(&mut pair, from, kind);
    let to = pair.patterns()[number].clone();
    let connection = pair.call(to);
    pair.network.run_for(after);
    let first = caught.borrow()[0].clone();
    (pair, connection, first)
}

fn must_connect(pair: &mut Pair, within: Duration) {
    pair.must("both are connected", within, |client, server| {
        client.connection().is_some() && server.connection().is_some()
    });
}

#[test]
fn a_caller_that_proves_its_key_from_an_address_that_is_not_its_own_turns_nothing_on_that_address() {
    // A stranger may have any key. Its third message claims to come from somebody else, who would get the first window of whatever
    // the application says to those who connect.
    let mut pair = Pair::new(Plan::default());
    let third = catch(&mut pair, CLIENT, ACON);
    pair.call(ConnectTo::Unknown);
    pair.must("the caller is connected", secs(1), |client, _| client.connection().is_some());
    let packet = third.borrow()[0].clone();
    let came = packet.bytes.len();
    pair.network.inject(Packet { from: STRANGER, ..packet });
    pair.must("and the called", secs(1), |_, server| server.connection().is_some());
    let record = pair.record();
    let connection = pair.server().connection().unwrap();
    let channel = pair.server().say(connection, Class::Bulk, pattern(1, 50_000));
    pair.must("the caller gets it where it is", secs(5), |client, _| client.whole(channel).is_some());
    let record = record.borrow();
    let to_stranger = record.iter().filter(|packet| packet.to == STRANGER).map(|packet| packet.bytes.len());
    assert!(to_stranger.sum::<usize>() <= 3 * came, "nobody has heard from there");
}

#[test]
fn an_answer_that_claims_to_come_from_elsewhere_turns_no_caller_on_that_address() {
    for number in 0..3 {
        let (mut pair, connection, packet) = call_and_catch(number, SERVER, ACON, 30 * MS);
        let came = packet.bytes.len();
        let record = pair.record();
        pair.network.inject(Packet { from: STRANGER, ..packet });
        must_connect(&mut pair, secs(2));
        let channel = pair.client().say(connection, Class::Bulk, pattern(1, 50_000));
        pair.must("the called gets it where it is", secs(5), |_, server| server.whole(channel).is_some());
        // It is asked whether it is there, and told no more: it may be the way to the called, behind a NAT that answers from elsewhere.
        let record = record.borrow();
        let to_stranger = record.iter().filter(|packet| packet.to == STRANGER).map(|packet| packet.bytes.len());
        let to_stranger: Vec<usize> = to_stranger.collect();
        assert!(to_stranger.iter().sum::<usize>() <= 3 * came, "pattern {number}: {to_stranger:?} for {came}");
        assert!(to_stranger.iter().all(|bytes| *bytes < 200), "pattern {number}: {to_stranger:?}");
    }
}

#[test]
fn an_answer_whose_return_address_was_changed_on_the_way_does_not_spoil_the_setup() {
    // The id in front of a Noise message is in the clear, and whoever sees the message can send it first with another one.
    for number in 0..3 {
        let (mut pair, connection, genuine) = call_and_catch(number, SERVER, ACON, 30 * MS);
        let Ok(Clear::Acon { to, noise, .. }) = Clear::parse(&genuine.bytes) else { panic!() };
        let mut bytes = Vec::new();
        Clear::Acon { to, from: Cid(666), noise }.emit(&mut bytes);
        pair.network.set_tap(|_, _| Verdict::Pass);
        pair.network.inject(Packet { bytes, ..genuine.clone() });
        pair.network.inject(genuine);
        let channel = pair.client().say(connection, Class::Chat, "hello");
        pair.must("it arrives", secs(5), |_, server| server.whole(channel).is_some());
    }
}

#[test]
fn a_forged_answer_before_the_genuine_one_changes_nothing() {
    for number in 0..3 {
        let (mut pair, _, genuine) = call_and_catch(number, SERVER, ACON, 30 * MS);
        let Ok(Clear::Acon { to, from, noise }) = Clear::parse(&genuine.bytes) else { panic!() };
        pair.network.set_tap(|_, _| Verdict::Pass);
        for broken in 0..noise.len() {
            let mut noise = noise.to_vec();
            noise[broken] ^= 1;
            for length in [broken, noise.len()] {
                let mut bytes = Vec::new();
                Clear::Acon { to, from, noise: &noise[..length] }.emit(&mut bytes);
                pair.network.inject(Packet { bytes, ..genuine.clone() });
            }
        }
        pair.network.run_for(MS);
        assert!(pair.client().events.is_empty(), "pattern {number}");
        pair.network.inject(genuine);
        must_connect(&mut pair, secs(2));
    }
}

#[test]
fn a_forged_cookie_does_not_keep_a_caller_out() {
    let mut plan = Plan::default();
    // Room for those who show a cookie.
    plan.server.max_half_open = 1;
    let mut pair = Pair::new(plan);
    occupy(&mut pair, 1, 15 * MS);
    let first = catch(&mut pair, CLIENT, RCON);
    let key = pair.server_key;
    pair.call(ConnectTo::Known(key));
    pair.network.run_for(5 * MS);
    let Some(Ok(Clear::Rcon { from, .. })) =
        first.borrow().first().map(|packet| Clear::parse(&packet.bytes)).map(|clear| clear.map(owned))
    else {
        panic!()
    };
    let mut bytes = Vec::new();
    Clear::Rtry { to: from, cookie: &[9; 40] }.emit(&mut bytes);
    pair.network.inject(Packet::new(SERVER, CLIENT, bytes));
    pair.network.run_for(5 * MS);
    pair.network.set_tap(|_, _| Verdict::Pass);
    pair.must("it gets in with the genuine one", secs(2), |_, server| server.events.iter().any(is_the_client));
}

/// Only what does not borrow.
fn owned(clear: Clear<'_>) -> Clear<'static> {
    match clear {
        Clear::Rcon { relayed, pattern, from, .. } => Clear::Rcon { relayed, pattern, from, cookie: &[], noise: &[] },
        _ => panic!("{clear}"),
    }
}

#[test]
fn forged_cookies_make_a_caller_send_no_more_than_it_would_and_one() {
    let mut pair = Pair::new(Plan::default());
    let caught = catch(&mut pair, CLIENT, RCON);
    pair.call(ConnectTo::Unknown);
    pair.network.run_for(MS);
    let Ok(Clear::Rcon { from, .. }) = Clear::parse(&caught.borrow()[0].bytes).map(owned) else { panic!() };
    let full: Vec<[u8; 40]> = (0..100).map(|number| [number; 40]).collect();
    for cookies in [vec![&[][..]; 100], full.iter().map(|cookie| &cookie[..]).collect()] {
        for cookie in cookies {
            let mut bytes = Vec::new();
            Clear::Rtry { to: from, cookie }.emit(&mut bytes);
            pair.network.inject(Packet::new(SERVER, CLIENT, bytes));
            pair.network.run_for(MS);
        }
    }
    let sent = caught.borrow().len();
    assert!(sent <= 3, "{sent} times 1200 bytes for as many of forty");
}

/// `count` callers at one address that is theirs, who show cookies and never prove their keys.
fn occupy(pair: &mut Pair, count: u64, stay: Duration) {
    let key = pair.server_key;
    for number in 0..count {
        let config = Config::new(StaticKey::from_bytes(seed_of(7, number)), b"stories");
        let at = SocketAddr::new(STRANGER.ip(), 20_000 + number as u16);
        let mut party = crate::party::Party::new(Endpoint::new(config, seed_of(8, number)), at);
        party.endpoint.connect(pair.now(), SERVER, ConnectTo::Known(key), PATIENCE).unwrap();
        pair.network.add(at, party);
    }
    // They stay to hear a cookie at most, and are gone before the answer.
    pair.network.run_for(stay);
    for number in 0..count {
        pair.network.crash(SocketAddr::new(STRANGER.ip(), 20_000 + number as u16));
    }
}

fn is_the_client(event: &Event) -> bool {
    matches!(event, Event::Connected { route, .. } if *route == CLIENT.into())
}

#[test]
fn callers_who_fill_all_places_and_say_nothing_more_do_not_keep_others_out() {
    let mut plan = Plan::default();
    plan.server.max_half_open = 2;
    let mut pair = Pair::new(plan);
    // Eight times two with a cookie: all places are taken, for twenty seconds.
    occupy(&mut pair, 100, 25 * MS);
    pair.network.run_for(20 * MS);
    let key = pair.server_key;
    pair.call(ConnectTo::Known(key));
    pair.must("another one gets in", secs(3), |_, server| server.events.iter().any(is_the_client));
}

#[test]
fn requests_that_cannot_be_read_bring_the_cookies_too() {
    // Each costs the called an agreement of keys, from whatever address it claims to come, and none of them is ever half-open.
    let mut pair = Pair::new(Plan::default());
    let cookies = Rc::new(RefCell::new(0));
    let writer = Rc::clone(&cookies);
    pair.network.set_tap(move |_, packet| {
        *writer.borrow_mut() += u32::from(packet.from == SERVER && packet.bytes[0] == RTRY);
        Verdict::Pass
    });
    for number in 0..1000 {
        let mut bytes = Vec::new();
        let noise = pattern(number, 150);
        Clear::Rcon { relayed: false, pattern: Pattern::IK, from: Cid(number), cookie: &[], noise: &noise }
            .emit(&mut bytes);
        let from = SocketAddr::new(STRANGER.ip(), 20_000 + number as u16);
        pair.network.inject(Packet::new(from, SERVER, bytes));
        pair.network.run_for(MS / 10);
    }
    assert!(*cookies.borrow() >= 900, "{} of 1000 were asked for a cookie", cookies.borrow());
    pair.connected();
    pair.network.run_for(secs(5));
    assert_eq!(pair.server().events.len(), 1);
    assert!(matches!(pair.server().events[0], Event::Connected { .. }));
    let before = *cookies.borrow();
    let key = pair.server_key;
    pair.call(ConnectTo::Known(key));
    pair.network.run_for(secs(1));
    assert_eq!(*cookies.borrow(), before, "the flood is over, and so are the cookies");
}

#[test]
fn a_request_in_anothers_name_does_not_take_its_place() {
    for number in 0..3 {
        let (mut pair, _, genuine) = call_and_catch(number, CLIENT, RCON, MS);
        pair.network.set_tap(|_, _| Verdict::Pass);
        // Whoever saw it asks first, from the same address and with the same id, for a connection of its own.
        let Ok(Clear::Rcon { from, .. }) = Clear::parse(&genuine.bytes).map(owned) else { panic!() };
        let mut other = Endpoint::new(Config::new(StaticKey::from_bytes([66; 32]), b"stories"), [66; 32]);
        let to = pair.patterns()[number].clone();
        other.connect(pair.now(), SERVER, to, PATIENCE).unwrap();
        let mut buffer = Vec::new();
        other.poll_transmit(pair.now(), &mut buffer).unwrap();
        let Ok(Clear::Rcon { pattern, noise, .. }) = Clear::parse(&buffer) else { panic!() };
        let mut bytes = Vec::new();
        Clear::Rcon { relayed: false, pattern, from, cookie: &[], noise }.emit(&mut bytes);
        pair.network.inject(Packet { bytes, ..genuine.clone() });
        pair.network.inject(genuine);
        must_connect(&mut pair, secs(1));
    }
}

#[test]
fn files_that_nobody_reads_do_not_use_up_the_credit_of_the_chat() {
    let mut plan = Plan::default();
    plan.server.max_channel_window = 100_000;
    plan.server.max_connection_window = 300_000;
    let mut pair = Pair::new(plan);
    let ends = pair.connected();
    pair.server().reads = false;
    for _ in 0..5 {
        pair.client().say(ends.client, Class::Bulk, pattern(1, 1_000_000));
    }
    pair.network.run_for(secs(2));
    // From here on what is new is read; the files stay as they are, together as much as the connection may hold.
    pair.server().reads = true;
    for class in [Class::Control, Class::Chat, Class::Request] {
        let line = pair.client().say(ends.client, class, pattern(2, 5000));
        pair.must("the line arrived", secs(1), |_, server| server.whole(line).is_some());
    }
}
