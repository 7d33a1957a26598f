//! A chat line never waits behind a file.

use crate::pair::{MS, Pair, Plan, pattern, secs};
use anjer::mrt::Class;
use anjer::time::Duration;
use netem::{Link, Queue};

/// 10 Mbit/s, 20 ms each way, room for 26 ms in the router.
fn plan() -> Plan {
    let link = Link { rate: Some(10_000_000), queue: Queue::Bytes(32_500), delay: 20 * MS, ..Link::default() };
    Plan { link, ..Plan::default() }
}

/// How long each of `count` lines took, one every 150 ms, while a file runs the same way.
fn lines_beside_a_file(count: u64) -> Vec<Duration> {
    let mut pair = Pair::new(plan());
    let ends = pair.connected();
    let file = pair.client().say(ends.client, Class::Bulk, pattern(1, 20_000_000));
    let chat = pair.client().endpoint.open_channel(ends.client, Class::Chat).unwrap();
    pair.network.run_for(secs(2));
    let mut delays = Vec::new();
    for number in 0..count {
        let said_at = pair.network.now();
        pair.client().write(ends.client, chat, vec![b'x'; 100], false);
        let heard = (number as usize + 1) * 100;
        pair.must("the line arrived", secs(5), |_, server| {
            server.heard(chat).is_some_and(|inbox| inbox.bytes.len() == heard)
        });
        delays.push(pair.network.now() - said_at);
        pair.network.run_for(150 * MS);
    }
    assert!(pair.server().whole(file).is_none(), "the file was over before the lines: nothing was shown");
    assert!(pair.server().received() > 1_000_000, "the file stood still: nothing was shown");
    delays.sort();
    delays
}

#[test]
fn a_chat_line_overtakes_a_running_file() {
    let delays = lines_beside_a_file(50);
    let (median, worst) = (delays[25], delays[49]);
    // 20 ms to travel and at most 26 ms behind what is already in the router; half a round trip for the pacer.
    assert!(median < 70 * MS, "{delays:?}");
    // A line that the full router dropped is sent again: one round trip and what loss detection takes.
    assert!(worst < 160 * MS, "{delays:?}");
}

#[test]
fn a_more_urgent_class_is_served_first_and_the_others_go_on_when_it_is_done() {
    let mut pair = Pair::new(plan());
    let ends = pair.connected();
    let size = 1_000_000;
    // Written in the wrong order on purpose.
    let channels: Vec<_> = [Class::Bulk, Class::Request, Class::Chat, Class::Control]
        .into_iter()
        .map(|class| pair.client().say(ends.client, class, pattern(class as u64, size)))
        .collect();
    pair.must("all arrived", secs(60), |_, server| channels.iter().all(|channel| server.whole(*channel).is_some()));
    let ended: Vec<_> = channels.iter().rev().map(|channel| pair.server().heard(*channel).unwrap().at).collect();
    assert!(ended.is_sorted(), "the most urgent first: {ended:?}");
    assert!(ended[0] + secs(1) < ended[3], "and not all together: {ended:?}");
}

#[test]
fn files_of_one_class_share() {
    let mut pair = Pair::new(plan());
    let ends = pair.connected();
    let channels: Vec<_> =
        (0..4).map(|salt| pair.client().say(ends.client, Class::Bulk, pattern(salt, 3_000_000))).collect();
    pair.network.run_for(secs(5));
    let received: Vec<usize> =
        channels.iter().map(|channel| pair.server().heard(*channel).map_or(0, |inbox| inbox.bytes.len())).collect();
    let (least, most) = (received.iter().min().unwrap(), received.iter().max().unwrap());
    assert!(*least > 0 && *most <= 2 * *least, "nobody starves: {received:?}");
}
