//! A connection outlives its addresses, and nobody else can move it.

use crate::ledger::Ledger;
use crate::pair::{CLIENT, MS, Pair, Plan, SERVER, STRANGER, pattern, secs};
use anjer::mrt::{Class, Event};
use netem::{Packet, Verdict};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

/// The client's packets come from another port from here on, as behind a NAT that forgot its mapping.
fn rebind(pair: &mut Pair, address: SocketAddr) {
    let mut client = pair.network.crash(CLIENT).unwrap();
    client.address = address;
    pair.network.add(address, client);
}

#[test]
fn a_transfer_goes_on_when_the_client_gets_another_address() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let sent = pattern(1, 20_000_000);
    let channel = pair.client().say(ends.client, Class::Bulk, sent.clone());
    pair.network.run_for(100 * MS);
    let elsewhere: SocketAddr = "192.0.2.77:999".parse().unwrap();
    rebind(&mut pair, elsewhere);
    let deadline = pair.network.now() + secs(60);
    let arrived = pair.network.run_until(deadline, |network| network.host(SERVER).unwrap().whole(channel).is_some());
    assert!(arrived, "{pair:?}");
    assert!(pair.server().whole(channel).unwrap() == sent);
    let moved = Event::Moved { connection: ends.server, route: elsewhere.into() };
    assert_eq!(pair.server().events.iter().filter(|event| **event == moved).count(), 1, "{pair:?}");
}

#[test]
fn whoever_forwards_packets_from_an_address_that_does_not_answer_moves_nothing_and_draws_three_times_as_much_at_most() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let down = pair.server().say(ends.server, Class::Bulk, pattern(2, 20_000_000));
    pair.network.run_for(100 * MS);
    // An attacker on the path holds one in ten of the client's packets and sends it on as the stranger's.
    let account = Rc::new(RefCell::new((Ledger::new(SERVER), Vec::new(), 0_u32)));
    let writer = Rc::clone(&account);
    pair.network.set_tap(move |_, packet| {
        let (ledger, stolen, count) = &mut *writer.borrow_mut();
        ledger.enter(packet);
        *count += u32::from(packet.from == CLIENT);
        if packet.from == CLIENT && count.is_multiple_of(10) {
            stolen.push(Packet { from: STRANGER, ..packet.clone() });
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    for _ in 0..500 {
        pair.network.run_for(10 * MS);
        let stolen = core::mem::take(&mut account.borrow_mut().1);
        for packet in stolen {
            account.borrow_mut().0.enter(&packet);
            pair.network.inject(packet);
        }
    }
    let stranger = account.borrow().0.account(STRANGER);
    assert!(stranger.received > 0 && stranger.sent > 0, "it was challenged, or nothing was shown: {stranger:?}");
    assert!(stranger.sent <= 3 * stranger.received, "{stranger:?}");
    assert!(!pair.server().events.iter().any(|event| matches!(event, Event::Moved { .. })), "{pair:?}");
    pair.must("the transfer is not harmed", secs(60), |client, _| client.whole(down).is_some());
}

#[test]
fn one_small_packet_from_elsewhere_draws_three_times_its_size_and_no_more() {
    // So small that repeating the challenge as often as it may be would be too much.
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    pair.network.run_for(secs(1));
    let ledger = Rc::new(RefCell::new((Ledger::new(SERVER), None)));
    let writer = Rc::clone(&ledger);
    pair.network.set_tap(move |_, packet| {
        let (ledger, stolen) = &mut *writer.borrow_mut();
        ledger.enter(packet);
        if packet.from == CLIENT {
            stolen.get_or_insert_with(|| Packet { from: STRANGER, ..packet.clone() });
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    let now = pair.now();
    pair.client().endpoint.ping(now, ends.client);
    pair.network.run_for(MS);
    let stolen: Packet = ledger.borrow_mut().1.clone().unwrap();
    assert!(stolen.bytes.len() < 64, "{stolen:?}");
    ledger.borrow_mut().0.enter(&stolen);
    pair.network.inject(stolen);
    pair.network.run_for(secs(20));
    let stranger = ledger.borrow().0.account(STRANGER);
    assert!(stranger.sent > 0 && stranger.sent <= 3 * stranger.received, "{stranger:?}");
}
