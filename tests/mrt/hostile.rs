//! What strangers and attackers can do: nothing, and they hear nothing.

use crate::ledger::Ledger;
use crate::life::{OTHER_WORLD, a_whole_life};
use crate::pair::{CLIENT, MS, Pair, Plan, SERVER, STRANGER, pattern, secs};
use anjer::mrt::{Class, CloseReason, ConnectTo, Event};
use netem::{Packet, Verdict};
use std::cell::RefCell;
use std::rc::Rc;

/// Watches the wire on behalf of the server.
fn watch(pair: &mut Pair) -> Rc<RefCell<Ledger>> {
    let ledger = Rc::new(RefCell::new(Ledger::new(SERVER)));
    let writer = Rc::clone(&ledger);
    pair.network.set_tap(move |_, packet| {
        writer.borrow_mut().enter(packet);
        Verdict::Pass
    });
    ledger
}

/// Puts a packet on the wire and into the books.
fn inject(pair: &mut Pair, ledger: &RefCell<Ledger>, packet: Packet) {
    ledger.borrow_mut().enter(&packet);
    pair.network.inject(packet);
}

#[test]
fn replayed_datagrams_change_nothing() {
    let mut pair = Pair::new(Plan::default());
    let record = pair.record();
    let ends = pair.connected();
    let sent = pattern(1, 500_000);
    let channel = pair.client().say(ends.client, Class::Bulk, sent.clone());
    let line = pair.server().say(ends.server, Class::Chat, "hello");
    pair.must("everything arrived", secs(30), |client, server| {
        server.whole(channel).is_some() && client.whole(line).is_some()
    });
    pair.network.run_for(secs(1));
    let (client_events, server_events) = (pair.client().events.clone(), pair.server().events.clone());
    let (client_received, server_received) = (pair.client().received(), pair.server().received());
    // As they were, and with another sender's address: a replay must not move the connection either.
    for packet in record.take() {
        let elsewhere = Packet { from: STRANGER, ..packet.clone() };
        pair.network.inject(packet);
        pair.network.inject(elsewhere);
    }
    pair.network.run_for(secs(20));
    assert_eq!(pair.client().events, client_events);
    assert_eq!(pair.server().events, server_events);
    assert_eq!((pair.client().received(), pair.server().received()), (client_received, server_received));
    let after = pair.client().say(ends.client, Class::Chat, "still here");
    pair.must("the connection lives on", secs(5), |_, server| server.whole(after).is_some());
}

#[test]
fn replayed_datagrams_do_not_keep_a_dead_connection_alive() {
    let mut pair = Pair::new(Plan::default());
    let record = pair.record();
    let ends = pair.connected();
    let channel = pair.client().say(ends.client, Class::Bulk, pattern(1, 50_000));
    pair.must("everything arrived", secs(5), |_, server| server.whole(channel).is_some());
    let spoken = record.take();
    pair.network.crash(CLIENT);
    for _ in 0..35 {
        for packet in spoken.iter().filter(|packet| packet.to == SERVER) {
            pair.network.inject(packet.clone());
        }
        pair.network.run_for(secs(1));
    }
    assert_eq!(pair.server().losses(), [CloseReason::TimedOut]);
}

#[test]
fn a_whole_life_replayed_to_a_server_that_was_restarted_makes_no_connection() {
    let life = a_whole_life();
    let mut pair = Pair::new(Plan { seed: OTHER_WORLD, ..Plan::default() });
    let ledger = watch(&mut pair);
    for packet in life.into_iter().filter(|packet| packet.to == SERVER) {
        inject(&mut pair, &ledger, packet);
    }
    pair.network.run_for(secs(120));
    assert!(pair.server().events.is_empty(), "{pair:?}");
    assert_eq!(ledger.borrow().overdrawn, None);
}

#[test]
fn garbage_of_every_length_is_silence() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    for length in 0..1600 {
        for first_byte in [None, Some(0), Some(0x40), Some(0x80), Some(0xc0), Some(b'R'), Some(b'D')] {
            let mut bytes = pattern(length as u64, length);
            if let (Some(byte), Some(first)) = (first_byte, bytes.first_mut()) {
                *first = byte;
            }
            pair.network.inject(Packet::new(STRANGER, SERVER, bytes.clone()));
            // From the address of a living connection, too.
            pair.network.inject(Packet::new(CLIENT, SERVER, bytes));
        }
    }
    pair.network.run_for(secs(5));
    assert_eq!(pair.network.counters(SERVER, STRANGER).sent, 0);
    assert_eq!(pair.server().events.len(), 1);
    let after = pair.client().say(ends.client, Class::Chat, "still here");
    pair.must("the connection lives on", secs(5), |_, server| server.whole(after).is_some());
}

#[test]
fn every_first_byte_is_silence_too() {
    let mut pair = Pair::new(Plan::default());
    for first_byte in 0..=255 {
        for length in [1, 4, 20, 21, 64, 1200, 1472] {
            let mut bytes = pattern(u64::from(first_byte), length);
            bytes[0] = first_byte;
            pair.network.inject(Packet::new(STRANGER, SERVER, bytes));
        }
    }
    pair.network.run_for(secs(5));
    assert_eq!(pair.network.counters(SERVER, STRANGER).sent, 0);
    assert!(pair.server().events.is_empty());
}

#[test]
fn real_datagrams_cut_short_lengthened_or_flipped_are_silence() {
    let life = a_whole_life();
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let mut damaged = 0_u32;
    for packet in life.iter().filter(|packet| packet.to == SERVER) {
        let length = packet.bytes.len();
        let cuts = (0..length).step_by(1 + length / 40).map(|at| packet.bytes[..at].to_vec());
        let longer = [1, 7, 300].map(|more| [packet.bytes.as_slice(), &pattern(5, more)].concat());
        let flips = (0..length).step_by(1 + length / 40).map(|at| {
            let mut bytes = packet.bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        for bytes in cuts.chain(longer).chain(flips) {
            pair.network.inject(Packet::new(STRANGER, SERVER, bytes));
            damaged += 1;
        }
    }
    pair.network.run_for(secs(5));
    assert!(damaged > 1000, "{damaged}");
    assert_eq!(pair.network.counters(SERVER, STRANGER).sent, 0);
    assert_eq!(pair.server().events.len(), 1, "{pair:?}");
    let after = pair.client().say(ends.client, Class::Chat, "still here");
    pair.must("the connection lives on", secs(5), |_, server| server.whole(after).is_some());
}

#[test]
fn an_address_that_never_answers_gets_no_more_than_came_from_it_whatever_came() {
    let mut answered = 0;
    for packet in a_whole_life() {
        let mut pair = Pair::new(Plan { seed: OTHER_WORLD, ..Plan::default() });
        let ledger = watch(&mut pair);
        for _ in 0..3 {
            inject(&mut pair, &ledger, Packet::new(STRANGER, SERVER, packet.bytes.clone()));
            pair.network.run_for(secs(1));
        }
        pair.network.run_for(secs(60));
        let ledger = ledger.borrow();
        assert_eq!(ledger.overdrawn, None, "{:?} for {packet:?}", ledger.account(STRANGER));
        answered += u32::from(ledger.account(STRANGER).sent > 0);
    }
    assert!(answered >= 3, "each pattern's first packet gets an answer, or nothing was shown: {answered}");
}

#[test]
fn the_same_holds_under_load_when_the_answer_is_a_cookie() {
    let mut plan = Plan { seed: OTHER_WORLD, ..Plan::default() };
    plan.server.max_half_open = 1;
    let mut pair = Pair::new(plan);
    let ledger = watch(&mut pair);
    let life = a_whole_life();
    for (packet, port) in life.iter().filter(|packet| packet.to == SERVER).cycle().take(2000).zip(10_000..) {
        let from = std::net::SocketAddr::new(STRANGER.ip(), port);
        inject(&mut pair, &ledger, Packet::new(from, SERVER, packet.bytes.clone()));
    }
    pair.network.run_for(secs(120));
    assert_eq!(ledger.borrow().overdrawn, None);
    assert!(pair.server().events.is_empty());
}

#[test]
fn a_caller_that_hears_nothing_is_answered_no_more_than_it_asks() {
    for pattern_number in 0..3 {
        let mut pair = Pair::new(Plan::default());
        let ledger = Rc::new(RefCell::new(Ledger::new(SERVER)));
        let writer = Rc::clone(&ledger);
        // The ledger sees the answers; the caller does not.
        pair.network.set_tap(move |_, packet| {
            writer.borrow_mut().enter(packet);
            if packet.from == SERVER { Verdict::Drop } else { Verdict::Pass }
        });
        let to = pair.patterns()[pattern_number].clone();
        pair.call(to);
        pair.network.run_for(secs(60));
        let ledger = ledger.borrow();
        assert_eq!(ledger.overdrawn, None, "pattern {pattern_number}: {:?}", ledger.account(CLIENT));
        assert!(ledger.account(CLIENT).sent > 0, "it was answered, or nothing was shown");
        assert!(pair.server().events.is_empty(), "nobody proved anything");
    }
}

#[test]
fn the_ledger_catches_a_server_that_repeats_its_answers() {
    let life = a_whole_life();
    let mut pair = Pair::new(Plan { seed: OTHER_WORLD, ..Plan::default() });
    // Twenty times an answer to a first packet of 1200 bytes: too much, unless the answer is shorter than a key and a tag.
    pair.server().stutter = 19;
    let ledger = watch(&mut pair);
    for packet in life.into_iter().filter(|packet| packet.to == SERVER) {
        inject(&mut pair, &ledger, Packet { from: STRANGER, ..packet });
        pair.network.run_for(MS);
    }
    assert_eq!(ledger.borrow().overdrawn, Some(STRANGER));
}

#[test]
fn the_ledger_allows_as_much_as_came_and_not_a_byte_more() {
    let mut ledger = Ledger::new(SERVER);
    ledger.enter(&Packet::new(STRANGER, SERVER, vec![0; 100]));
    ledger.enter(&Packet::new(SERVER, STRANGER, vec![0; 100]));
    assert_eq!(ledger.overdrawn, None);
    ledger.enter(&Packet::new(SERVER, STRANGER, vec![0; 1]));
    assert_eq!(ledger.overdrawn, Some(STRANGER));
}

#[test]
fn two_connections_do_not_read_each_others_packets() {
    let mut pair = Pair::new(Plan::default());
    let record = pair.record();
    let key = pair.server_key;
    let first = pair.call(ConnectTo::Known(key));
    pair.must("connected", secs(1), |client, _| client.connections().len() == 1);
    let second = pair.call(ConnectTo::Known(key));
    pair.must("connected twice", secs(1), |client, server| {
        client.connections().len() == 2 && server.connections().len() == 2
    });
    let channel = pair.client().say(first, Class::Chat, "for the first");
    let other = pair.client().say(second, Class::Chat, "for the second");
    pair.must("both arrived", secs(1), |_, server| server.inbox.values().filter(|inbox| inbox.finished).count() == 2);
    assert_eq!(channel, other, "each connection numbers its channels for itself");
    let texts: Vec<_> = pair.server().inbox.values().map(|inbox| inbox.bytes.clone()).collect();
    assert!(texts.contains(&b"for the first".to_vec()) && texts.contains(&b"for the second".to_vec()));
    let in_the_clear =
        |text: &[u8]| record.borrow().iter().any(|packet| packet.bytes.windows(text.len()).any(|it| it == text));
    assert!(!in_the_clear(b"for the first") && !in_the_clear(b"stories"), "nobody else can read along");
    assert!(pair.server().events.iter().all(|event| !matches!(event, Event::Moved { .. })));
}
