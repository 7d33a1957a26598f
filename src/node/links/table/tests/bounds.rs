//! What others can make us hold, and send.

use super::net::{End, Net, SECOND, pair};
use crate::machine::{Datagram, Ecn, Machine, SocketId};
use crate::node::catalogue::CatalogueMessage;
use crate::node::links::table::*;
use std::net::SocketAddr;

/// The peer's machine is up but nothing there reads: what waits for it stays bounded, then the link goes.
#[test]
fn a_peer_that_is_not_reached_costs_bounded_memory() {
    let mut net = pair();
    net.dial(0, net.ends[1].known());
    net.run_for(SECOND);
    net.cut.insert(net.ends[1].address);
    let big = LinkMessage::Catalogue(CatalogueMessage::Want(vec![NodeId([1; 32]); 20_000]));
    let to = net.ends[1].id();
    let mut sent = 0;
    let last = loop {
        let end = &mut net.ends[0];
        match end.links.send(net.now, &mut end.endpoint, to, &big) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100, "64 MB wait and nobody minds");
    };
    assert_eq!(last, Lost::TooSlow);
    net.run_for(Duration::from_millis(1));
    assert_eq!(net.ends[0].downs(), 1);
}

#[test]
fn dials_at_once_are_capped() {
    let mut net = pair();
    for n in 0..MAX_DIALS + 3 {
        let nowhere = SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 1));
        net.dial(0, DialTo { addresses: vec![nowhere], ..net.ends[1].known() });
    }
    net.run_for(Duration::from_millis(1));
    assert_eq!(net.ends[0].events.len(), 3);
    assert_eq!(net.ends[0].links.dials.len(), MAX_DIALS);
}

/// A peer fills a queue for each of many links: all together are bounded, and those that are furthest behind go.
#[test]
fn what_waits_for_all_peers_together_is_bounded() {
    let mut ends: Vec<End> = (1..=24).map(|seed| End::new(seed, 1)).collect();
    let known: Vec<DialTo> = ends.iter().map(End::known).collect();
    ends[0].silent = false;
    let mut net = Net::new(ends);
    for to in known.into_iter().skip(1) {
        net.dial(0, to);
    }
    net.run_for(SECOND);
    assert_eq!(net.ends[0].links.peers.len(), 23);
    let all: Vec<SocketAddr> = net.ends.iter().skip(1).map(|end| end.address).collect();
    net.cut.extend(all);
    let large = LinkMessage::Catalogue(CatalogueMessage::Want(vec![NodeId([1; 32]); 30_000]));
    for _ in 0..9 {
        for to in 1..24 {
            let (to, now) = (net.ends[to].id(), net.now);
            let end = &mut net.ends[0];
            let _ = end.links.send(now, &mut end.endpoint, to, &large);
            let waiting: usize = end.links.peers.keys().map(|peer| end.links.waiting(*peer)).sum();
            assert!(waiting <= MAX_WAITING_ALL, "{waiting}");
        }
    }
    let left = net.ends[0].links.peers.len();
    assert!((1..23).contains(&left), "{left} links are left");
}

/// Messages of a few bytes, a megabyte of them at once: they are read in portions.
#[test]
fn a_flood_of_small_messages_is_read_in_portions_and_none_is_lost() {
    let mut net = pair();
    net.dial(0, net.ends[1].known());
    net.run_for(SECOND);
    for what in 0..40_000 {
        net.say(0, 1, what).unwrap();
    }
    // The other one does not look for a while, and then there is everything at once.
    let (now, mut most, mut heard) = (net.now, 0, Vec::new());
    for _ in 0..2000 {
        net.now = net.now + Duration::from_millis(1);
        let now = net.now;
        for back in [false, true] {
            let [one, two] = &mut net.ends[..] else { panic!("two") };
            let (from, to) = if back { (two, one) } else { (one, two) };
            let mut buffer = Vec::new();
            from.endpoint.handle_timeout(now);
            while let Some(transmit) = from.endpoint.poll_transmit(now, &mut buffer) {
                for contents in buffer.chunks_mut(transmit.segment_size) {
                    let datagram =
                        Datagram { socket: SocketId::MAIN, from: from.address, ecn: Ecn::NotCapable, contents };
                    to.endpoint.handle_datagram(now, datagram);
                }
                buffer.clear();
            }
        }
        while let Some(event) = net.ends[0].endpoint.poll_event() {
            let end = &mut net.ends[0];
            end.links.handle_event(now, &mut end.endpoint, event);
        }
    }
    let end = &mut net.ends[1];
    while let Some(event) = end.endpoint.poll_event() {
        end.links.handle_event(now, &mut end.endpoint, event);
    }
    loop {
        most = most.max(end.links.events.len());
        end.events.clear();
        end.events.extend(std::iter::from_fn(|| end.links.poll_event()));
        heard.extend(end.heard());
        if !end.links.resume(now, &mut end.endpoint) {
            break;
        }
    }
    assert!(most * MESSAGE_COST <= MAX_UNTAKEN + 2 * MESSAGE_COST, "{most} at once");
    assert!(heard.len() > 4000 && heard.iter().copied().eq(0..heard.len() as u64), "{}", heard.len());
}

/// Whoever can complete a handshake can have many keys: those from one place are few.
#[test]
fn strangers_from_one_place_are_few_and_members_are_not_counted() {
    let mut ends: Vec<End> = (1..=40).map(|seed| End::new(seed, 1)).collect();
    for (n, end) in ends.iter_mut().enumerate().skip(1) {
        end.address = SocketAddr::from(([10, 0, 0, 200], 7000 + n as u16));
    }
    let (host, members) = (ends[0].known(), ends[30..].iter().map(End::id).collect::<Vec<_>>());
    ends[0].links.set_members(members.into_iter());
    let mut net = Net::new(ends);
    for from in 1..40 {
        net.dial(from, host.clone());
    }
    net.run_for(2 * SECOND);
    assert_eq!(net.ends[0].links.peers.len(), MAX_STRANGERS_FROM_ONE + 10);
}

/// A list of a hundred members, each with eight ports of one host that has nothing to do with us, dialled as often as may be.
#[test]
fn no_list_of_addresses_turns_us_on_a_third_party() {
    let mut net = pair();
    let victim: Vec<SocketAddr> = (1..=8).map(|port| SocketAddr::from(([198, 51, 100, 1], port))).collect();
    let mut datagrams = 0;
    for second in 0..30 {
        for n in 0..100u8 {
            let to = DialTo { addresses: victim.clone(), id: Some(NodeId([n; 32])), ..net.ends[1].known() };
            net.dial(0, to);
        }
        let mut buffer = Vec::new();
        for step in 0..100 {
            let now = Instant::from_start(Duration::from_millis(1000 * (second + 1) + 10 * step));
            let end = &mut net.ends[0];
            end.endpoint.handle_timeout(now);
            end.links.handle_timeout(now, &mut end.endpoint);
            end.settle(now);
            while let Some(transmit) = end.endpoint.poll_transmit(now, &mut buffer) {
                datagrams += buffer.len().div_ceil(transmit.segment_size);
                buffer.clear();
            }
            net.now = now;
        }
    }
    // 64 calls at once and two a second, of nine datagrams each.
    assert!(datagrams < 10 * (64 + 2 * 30), "{datagrams} datagrams in 30 s");
}
