//! Whoever does not read is not flooded, and holds up nobody else.

use crate::pair::{MS, Pair, Plan, pattern, secs};
use anjer::mrt::Class;
use netem::Link;

/// Small windows, so that the limits are reached soon.
fn plan() -> Plan {
    let mut plan = Plan { link: Link::with_delay(5 * MS), ..Plan::default() };
    plan.client.max_send_buffer = 200_000;
    plan.server.max_channel_window = 100_000;
    plan.server.max_connection_window = 300_000;
    plan
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer_until_it_reads() {
    let mut pair = Pair::new(plan());
    let ends = pair.connected();
    pair.server().reads = false;
    let sent = pattern(1, 2_000_000);
    let channel = pair.client().say(ends.client, Class::Bulk, sent.clone());
    pair.network.run_for(secs(10));
    let now = pair.now();
    let stats = pair.client().endpoint.stats(now, ends.client).unwrap();
    let delivered = stats.delivered_bytes as usize;
    assert!(delivered <= 100_000, "{delivered} bytes lie unread where 100,000 may");
    // The buffer is as configured, or four congestion windows if those are more.
    let buffer = 200_000.max(4 * stats.congestion_window as usize);
    assert!(buffer < 1_000_000, "the window has no reason to grow so large: {stats:?}");
    let taken = pair.client().outbox[&(ends.client, channel)].taken;
    assert!(taken <= delivered + buffer, "the endpoint took {taken} bytes: a window and a send buffer are the limit");
    assert!(pair.client().endpoint.unacknowledged(ends.client, channel) <= buffer);
    let idle = pair.network.total().sent;
    pair.network.run_for(secs(5));
    assert!(pair.network.total().sent - idle < 20, "a stopped writer is quiet");

    pair.server().read_again(now);
    pair.must("the rest arrived", secs(30), |_, server| server.whole(channel).is_some());
    assert!(pair.server().whole(channel).unwrap() == sent);
}

#[test]
fn an_unread_channel_does_not_hold_up_the_others() {
    let mut pair = Pair::new(plan());
    let ends = pair.connected();
    pair.server().reads = false;
    pair.client().say(ends.client, Class::Bulk, pattern(1, 1_000_000));
    pair.network.run_for(secs(2));
    // From here on what is new is read; the first channel stays as it is.
    pair.server().reads = true;
    let chat = pair.client().say(ends.client, Class::Chat, "still there?");
    pair.must("the line arrived", secs(1), |_, server| server.whole(chat).is_some());
}

#[test]
fn many_unread_channels_together_stay_below_the_window_of_the_connection() {
    let mut pair = Pair::new(plan());
    let ends = pair.connected();
    pair.server().reads = false;
    for salt in 0..20 {
        pair.client().say(ends.client, Class::Bulk, pattern(salt, 100_000));
    }
    pair.network.run_for(secs(10));
    let now = pair.now();
    let delivered = pair.client().endpoint.stats(now, ends.client).unwrap().delivered_bytes;
    assert!(delivered <= 300_000, "{delivered} bytes lie unread where 300,000 may");
    pair.server().read_again(now);
    pair.must("all arrived", secs(30), |_, server| server.inbox.values().filter(|inbox| inbox.finished).count() == 20);
    assert_eq!(pair.server().received(), 2_000_000);
}

#[test]
fn credit_that_is_lost_is_given_again() {
    let mut pair = Pair::new(Plan { link: Link::with_delay(5 * MS).losing(0.2), seed: 4, ..plan() });
    let ends = pair.connected();
    let channel = pair.client().say(ends.client, Class::Bulk, pattern(1, 1_500_000));
    pair.must("everything arrived", secs(300), |_, server| server.whole(channel).is_some());
}
