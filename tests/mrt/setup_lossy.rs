//! Connections are made through whatever the network does to their first packets.

use crate::pair::{CLIENT, MS, PATIENCE, Pair, Plan};
use netem::{Link, Reordering, Verdict};

/// One attempt over a fresh pair. The pattern follows from the seed.
#[track_caller]
fn connects(seed: u64, link: Link) {
    let mut pair = Pair::new(Plan { seed, link, ..Plan::default() });
    let to = pair.patterns()[seed as usize % 3].clone();
    pair.call(to);
    pair.must("both sides are connected", PATIENCE, |client, server| {
        client.connection().is_some() && server.connection().is_some()
    });
}

/// A thousand pairs, each with a seed and hence losses of its own.
#[track_caller]
fn a_thousand_connect(probability: f64) {
    for seed in 0..1000 {
        connects(seed, Link::with_delay(40 * MS).losing(probability));
    }
}

#[test]
fn a_thousand_of_a_thousand_connect_without_loss() {
    a_thousand_connect(0.0);
}

#[test]
fn a_thousand_of_a_thousand_connect_through_ten_per_cent_of_loss_each_way() {
    a_thousand_connect(0.1);
}

#[test]
fn a_thousand_of_a_thousand_connect_through_twenty_per_cent_of_loss_each_way() {
    a_thousand_connect(0.2);
}

#[test]
fn a_thousand_of_a_thousand_connect_through_thirty_per_cent_of_loss_each_way() {
    a_thousand_connect(0.3);
}

#[test]
fn handshake_packets_may_be_doubled_overtaken_and_damaged() {
    for seed in 0..200 {
        let link = Link {
            delay: 20 * MS,
            jitter: 20 * MS,
            duplication: 0.5,
            reordering: Reordering { probability: 0.5, hold: 50 * MS },
            corruption: 0.2,
            ..Link::default()
        };
        connects(seed, link);
    }
}

#[test]
fn whichever_of_the_first_six_datagrams_are_lost_both_sides_connect() {
    for pattern in 0..3 {
        for lost in 0..64_u32 {
            let mut pair = Pair::new(Plan::default());
            let mut number = 0;
            pair.network.set_tap(move |_, _| {
                number += 1;
                if number <= 6 && lost >> (number - 1) & 1 == 1 { Verdict::Drop } else { Verdict::Pass }
            });
            let to = pair.patterns()[pattern].clone();
            pair.call(to);
            let connected = pair
                .run_until(PATIENCE, |client, server| client.connection().is_some() && server.connection().is_some());
            assert!(connected, "pattern {pattern}, lost {lost:06b}: {pair:?}");
        }
    }
}

#[test]
fn nobody_is_connected_twice_when_every_handshake_packet_comes_three_times() {
    for pattern in 0..3 {
        let mut pair = Pair::new(Plan::default());
        let record = pair.record();
        let to = pair.patterns()[pattern].clone();
        pair.call(to);
        // Again as soon as it was sent, and again after everything is over.
        for _ in 0..40 {
            pair.network.run_for(MS);
            let copies = record.borrow().clone();
            for copy in copies {
                pair.network.inject(copy);
            }
        }
        pair.network.run_for(PATIENCE);
        assert_eq!((pair.client().events.len(), pair.server().events.len()), (1, 1), "{pair:?}");
        assert!(pair.network.counters(CLIENT, crate::pair::SERVER).sent < 200);
    }
}
