//! How connections end: by silence, by words, by both at once.

use crate::pair::{CLIENT, MS, Pair, Plan, SERVER, pattern, secs};
use anjer::mrt::{Class, CloseReason, ReceiveError, SendError};
use netem::Link;

#[test]
fn a_silent_connection_without_keepalive_ends_for_both_after_the_idle_timeout() {
    let mut plan = Plan::default();
    plan.client.keep_alive = None;
    plan.server.keep_alive = None;
    let mut pair = Pair::new(plan);
    pair.connected();
    let start = pair.network.now();
    pair.must("both gave up", secs(35), |client, server| !client.losses().is_empty() && !server.losses().is_empty());
    assert!(pair.network.now() - start >= secs(29), "{pair:?}");
    assert_eq!(pair.client().losses(), [CloseReason::TimedOut]);
    assert_eq!(pair.server().losses(), [CloseReason::TimedOut]);
}

#[test]
fn keepalive_keeps_a_silent_connection_for_a_day_at_little_cost() {
    let mut pair = Pair::new(Plan { link: Link::with_delay(10 * MS).losing(0.05), ..Plan::default() });
    let ends = pair.connected();
    pair.network.run_for(secs(24 * 3600));
    assert!(pair.client().losses().is_empty() && pair.server().losses().is_empty(), "{pair:?}");
    // Ten seconds apart, each with an answer, from both sides at worst; 5 % are lost and asked again.
    let datagrams = pair.network.total().sent;
    assert!(datagrams < 24 * 360 * 5, "{datagrams} datagrams");
    let channel = pair.server().say(ends.server, Class::Chat, "good morning");
    pair.must("it still carries", secs(5), |client, _| client.whole(channel).is_some());
}

#[test]
fn a_dead_path_is_noticed_by_both_although_they_keep_alive() {
    let mut pair = Pair::new(Plan::default());
    pair.connected();
    pair.network.run_for(secs(5));
    pair.network.cut(CLIENT, SERVER);
    let start = pair.network.now();
    pair.must("both gave up", secs(60), |client, server| !client.losses().is_empty() && !server.losses().is_empty());
    let took = pair.network.now() - start;
    assert!(took >= secs(20) && took <= secs(45), "{took:?}");
    assert_eq!(pair.client().losses(), [CloseReason::TimedOut]);
}

#[test]
fn a_path_that_comes_back_in_time_loses_nothing() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let sent = pattern(1, 30_000_000);
    let channel = pair.client().say(ends.client, Class::Bulk, sent.clone());
    pair.network.run_for(200 * MS);
    pair.network.cut(CLIENT, SERVER);
    pair.network.run_for(secs(25));
    pair.network.heal(CLIENT, SERVER);
    pair.must("everything arrived", secs(60), |_, server| server.whole(channel).is_some());
    assert!(pair.server().whole(channel).unwrap() == sent);
}

#[test]
fn a_close_tells_the_other_side_why() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    // Quiet, so that it is the close itself that leaves and not an answer to something late.
    pair.network.run_for(secs(1));
    let now = pair.now();
    pair.client().endpoint.close(now, ends.client, 7, "gone fishing");
    pair.must("both know", 10 * MS, |client, server| !client.losses().is_empty() && !server.losses().is_empty());
    assert_eq!(pair.client().losses(), [CloseReason::Local]);
    assert_eq!(pair.server().losses(), [CloseReason::Remote { code: 7, reason: "gone fishing".into() }]);
    pair.network.run_for(secs(60));
    assert!(pair.client().endpoint.is_quiet() && pair.server().endpoint.is_quiet());
    assert_eq!((pair.client().losses().len(), pair.server().losses().len()), (1, 1), "once is enough");
}

#[test]
fn a_very_long_reason_is_cut_at_a_character() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let now = pair.now();
    pair.client().endpoint.close(now, ends.client, 1, &"é".repeat(5000));
    pair.must("the server knows", secs(5), |_, server| !server.losses().is_empty());
    let [CloseReason::Remote { code: 1, reason }] = &pair.server().losses()[..] else { panic!("{pair:?}") };
    assert!(reason.len() <= 256 && reason.chars().all(|character| character == 'é') && !reason.is_empty());
}

#[test]
fn both_may_close_at_once() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let now = pair.now();
    pair.client().endpoint.close(now, ends.client, 1, "me first");
    pair.server().endpoint.close(now, ends.server, 2, "no, me");
    pair.network.run_for(secs(60));
    assert_eq!(pair.client().losses(), [CloseReason::Local]);
    assert_eq!(pair.server().losses(), [CloseReason::Local]);
    let sent = pair.network.total().sent;
    pair.network.run_for(secs(60));
    assert_eq!(pair.network.total().sent, sent, "the last words were said");
    assert!(pair.client().endpoint.is_quiet() && pair.server().endpoint.is_quiet());
}

#[test]
fn a_close_gets_through_a_lossy_network_while_the_other_side_still_sends() {
    for seed in 0..50 {
        let mut pair = Pair::new(Plan { seed, link: Link::with_delay(10 * MS).losing(0.3), ..Plan::default() });
        let ends = pair.connected();
        pair.server().say(ends.server, Class::Bulk, pattern(1, 3_000_000));
        pair.network.run_for(100 * MS);
        let now = pair.now();
        pair.client().endpoint.close(now, ends.client, 3, "enough");
        pair.must("the server knows, by words or by silence", secs(40), |_, server| !server.losses().is_empty());
    }
}

#[test]
fn what_was_acknowledged_before_the_close_can_still_be_read_and_nothing_works_after_it() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let channel = pair.client().say(ends.client, Class::Chat, "one last thing");
    pair.must("it arrived", secs(1), |_, server| server.whole(channel).is_some());
    let now = pair.now();
    let client = &mut pair.client().endpoint;
    client.close(now, ends.client, 0, "");
    assert_eq!(client.open_channel(ends.client, Class::Chat), Err(SendError::NotConnected));
    assert_eq!(client.send(ends.client, channel, &mut "x".into()), Err(SendError::NotConnected));
    assert_eq!(client.finish(ends.client, channel), Err(SendError::NotConnected));
    assert_eq!(client.receive(now, ends.client, channel), Err(ReceiveError::NotConnected));
    assert!(client.stats(now, ends.client).is_none());
    client.close(now, ends.client, 0, "again");
    client.ping(now, ends.client);
    pair.network.run_for(secs(60));
    assert_eq!(pair.client().losses().len(), 1);
}

#[test]
fn a_call_that_is_given_up_by_its_caller_ends_at_once() {
    let mut pair = Pair::new(Plan::default());
    pair.network.cut(CLIENT, SERVER);
    let key = pair.server_key;
    let called = pair.call(anjer::mrt::ConnectTo::Known(key));
    pair.network.run_for(secs(1));
    let now = pair.now();
    pair.client().endpoint.close(now, called, 0, "changed my mind");
    pair.network.run_for(secs(1));
    assert_eq!(pair.client().losses(), [CloseReason::Local]);
    let sent = pair.network.total().sent;
    pair.network.run_for(secs(60));
    assert_eq!(pair.network.total().sent, sent);
}

#[test]
fn a_ping_is_answered() {
    let mut plan = Plan::default();
    plan.client.keep_alive = None;
    plan.server.keep_alive = None;
    let mut pair = Pair::new(plan);
    let ends = pair.connected();
    pair.network.run_for(secs(10));
    let now = pair.now();
    assert!(pair.client().endpoint.stats(now, ends.client).unwrap().silent_for > secs(8));
    pair.client().endpoint.ping(now, ends.client);
    pair.network.run_for(100 * MS);
    let now = pair.now();
    let stats = pair.client().endpoint.stats(now, ends.client).unwrap();
    assert!(stats.silent_for < 100 * MS);
    assert!(stats.rtt >= 20 * MS && stats.min_rtt >= Some(20 * MS) && stats.min_rtt < Some(25 * MS), "{stats:?}");
}
