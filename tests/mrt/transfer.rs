//! Bytes arrive whole, in order, once, whatever the network does; and a run can be repeated.

use crate::pair::{CLIENT, MS, Pair, Plan, SERVER, pattern, secs};
use anjer::mrt::Class;
use netem::{Link, Profile, Queue, Reordering};

/// 50 Mbit/s and 10 ms each way, with every impairment of the aims besides this much loss.
fn hard_link(loss: f64) -> Link {
    Link {
        rate: Some(50_000_000),
        queue: Queue::Packets(200),
        delay: 10 * MS,
        reordering: Reordering { probability: 0.1, hold: 5 * MS },
        duplication: 0.05,
        corruption: 0.02,
        ..Link::default()
    }
    .losing(loss)
}

#[track_caller]
fn ten_megabytes_arrive_through(loss: f64) {
    let mut pair = Pair::new(Plan { link: hard_link(loss), seed: 10, ..Plan::default() });
    let ends = pair.connected();
    let sent = pattern(1, 10_000_000);
    let channel = pair.client().say(ends.client, Class::Bulk, sent.clone());
    pair.must("everything arrived", secs(600), |_, server| server.whole(channel).is_some());
    assert!(pair.server().whole(channel).unwrap() == sent, "the bytes differ; {pair:?}");
    let there = pair.network.counters(CLIENT, SERVER);
    assert!(there.dropped.loss > 0 && there.held_back > 0 && there.duplicated > 0 && there.corrupted > 0, "{there:?}");
}

#[test]
fn ten_megabytes_arrive_identical_through_two_per_cent_of_loss() {
    ten_megabytes_arrive_through(0.02);
}

#[test]
fn ten_megabytes_arrive_identical_through_five_per_cent_of_loss() {
    ten_megabytes_arrive_through(0.05);
}

#[test]
fn ten_megabytes_arrive_identical_through_ten_per_cent_of_loss() {
    ten_megabytes_arrive_through(0.10);
}

#[test]
fn keys_change_again_and_again_under_a_transfer_and_nothing_is_missing() {
    let mut plan = Plan { link: hard_link(0.02), seed: 11, ..Plan::default() };
    plan.client.key_update_after = 50;
    plan.server.key_update_after = 70;
    let mut pair = Pair::new(plan);
    let record = pair.record();
    let ends = pair.connected();
    let (up, down) = (pattern(8, 3_000_000), pattern(9, 3_000_000));
    let up_channel = pair.client().say(ends.client, Class::Bulk, up.clone());
    let down_channel = pair.server().say(ends.server, Class::Bulk, down.clone());
    pair.must("everything arrived", secs(300), |client, server| {
        client.whole(down_channel).is_some() && server.whole(up_channel).is_some()
    });
    assert!(pair.server().whole(up_channel).unwrap() == up && pair.client().whole(down_channel).unwrap() == down);
    // The lowest bit of a DATA packet's first byte is the key phase.
    let phases: Vec<u8> = record
        .borrow()
        .iter()
        .filter(|packet| packet.from == CLIENT && packet.bytes[0] & 0xfe == 0xa8)
        .map(|packet| packet.bytes[0] & 1)
        .collect();
    let changes = phases.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes > 10, "{changes} changes in {} packets", phases.len());
}

#[test]
fn a_clean_link_is_filled() {
    let link = Link { rate: Some(50_000_000), queue: Queue::Packets(200), delay: 10 * MS, ..Link::default() };
    let mut pair = Pair::new(Plan { link, ..Plan::default() });
    let ends = pair.connected();
    let start = pair.network.now();
    let channel = pair.client().say(ends.client, Class::Bulk, pattern(2, 20_000_000));
    pair.must("everything arrived", secs(60), |_, server| server.whole(channel).is_some());
    let took = (pair.network.now() - start).as_secs_f64();
    // 20 MB at 50 Mbit/s are 3.2 s; headers, tags and slow start may cost a quarter more.
    assert!(took < 4.0, "{took} s");
}

#[test]
fn every_profile_carries_both_ways_at_once() {
    for profile in Profile::ALL {
        let mut pair = Pair::new(Plan { seed: 20, ..Plan::default() });
        pair.network.set_profile(CLIENT, SERVER, profile);
        let ends = pair.connected();
        let (up, down) = (pattern(3, 300_000), pattern(4, 1_000_000));
        let up_channel = pair.client().say(ends.client, Class::Bulk, up.clone());
        let down_channel = pair.server().say(ends.server, Class::Bulk, down.clone());
        let arrived = pair.run_until(secs(120), |client, server| {
            client.whole(down_channel).is_some() && server.whole(up_channel).is_some()
        });
        assert!(arrived, "{profile:?}: {pair:?}");
        assert!(pair.server().whole(up_channel).unwrap() == up && pair.client().whole(down_channel).unwrap() == down);
    }
}

#[test]
fn a_blackout_of_five_seconds_costs_little_more_than_five_seconds() {
    let outage = secs(1)..secs(6);
    let link = Link { rate: Some(10_000_000), queue: Queue::Packets(50), blackouts: vec![outage], ..Link::default() };
    let mut pair = Pair::new(Plan { link: Link { delay: 10 * MS, ..link }, ..Plan::default() });
    let ends = pair.connected();
    // Four seconds' worth.
    let channel = pair.client().say(ends.client, Class::Bulk, pattern(5, 5_000_000));
    pair.must("everything arrived", secs(16), |_, server| server.whole(channel).is_some());
}

#[test]
fn the_search_finds_the_largest_datagram_that_passes() {
    for (mtu, largest) in [(1500, 1472), (1400, 1372), (1300, 1272)] {
        let link = Link { mtu: Some(mtu), delay: 10 * MS, ..Link::default() };
        let mut pair = Pair::new(Plan { link, ..Plan::default() });
        let ends = pair.connected();
        let channel = pair.client().say(ends.client, Class::Bulk, pattern(6, 3_000_000));
        pair.must("everything arrived", secs(60), |_, server| server.whole(channel).is_some());
        pair.network.run_for(secs(20));
        let now = pair.now();
        let found = pair.client().endpoint.stats(now, ends.client).unwrap().mtu;
        // The search ends when the rest is not worth another probe (RFC 8899 §5.3.2).
        assert!(found <= largest && found + 32 >= largest, "{found} through an MTU of {mtu}");
    }
}

#[test]
fn a_thousand_empty_and_tiny_messages_arrive_on_channels_of_their_own() {
    let mut pair = Pair::new(Plan { link: Link::with_delay(10 * MS).losing(0.05), ..Plan::default() });
    let ends = pair.connected();
    let channels: Vec<_> = (0..1000)
        .map(|number| pair.client().say(ends.client, Class::Request, pattern(number, number as usize % 3)))
        .collect();
    pair.must("everything arrived", secs(30), |_, server| {
        channels.iter().all(|channel| server.whole(*channel).is_some())
    });
    for (number, channel) in channels.iter().enumerate() {
        assert_eq!(pair.server().whole(*channel).unwrap(), pattern(number as u64, number % 3));
    }
}

#[test]
fn the_same_seed_gives_the_same_run_to_the_byte_and_another_seed_another() {
    let transcript = |seed| {
        let mut pair = Pair::new(Plan { seed, link: Profile::LossyWifi.up(), ..Plan::default() });
        pair.network.keep_transcript();
        let ends = pair.connected();
        let channel = pair.client().say(ends.client, Class::Bulk, pattern(7, 1_000_000));
        pair.server().say(ends.server, Class::Chat, "hello");
        pair.must("everything arrived", secs(60), |_, server| server.whole(channel).is_some());
        (pair.network.transcript(), pair.network.total())
    };
    assert_eq!(transcript(1), transcript(1));
    assert_ne!(transcript(1), transcript(2));
}
