//! Channels: opened by either side, each a stream of its own.

use crate::pair::{Ends, MS, Pair, Plan, pattern, secs};
use anjer::mrt::{ChannelId, Class, ReceiveError, SendError};
use netem::Link;

#[test]
fn two_hundred_channels_of_all_classes_from_both_sides_arrive_whole() {
    let mut pair = Pair::new(Plan { link: Link::with_delay(10 * MS).losing(0.03), ..Plan::default() });
    let ends = pair.connected();
    let mut expected: Vec<(bool, ChannelId, Vec<u8>)> = Vec::new();
    for number in 0..100 {
        let class = Class::ALL[number as usize % 4];
        let (up, down) = (pattern(number, 7000), pattern(1000 + number, 5000));
        expected.push((true, pair.client().say(ends.client, class, up.clone()), up));
        expected.push((false, pair.server().say(ends.server, class, down.clone()), down));
    }
    pair.must("everything arrived", secs(60), |client, server| {
        expected.iter().all(|(up, channel, _)| if *up { server } else { client }.whole(*channel).is_some())
    });
    for (up, channel, bytes) in &expected {
        let party = if *up { pair.server() } else { pair.client() };
        assert_eq!(party.whole(*channel).unwrap(), bytes);
        assert_eq!(channel.opened_by_initiator(), *up);
    }
}

#[test]
fn a_channel_carries_both_ways() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let channel = pair.client().say(ends.client, Class::Request, "which file?");
    pair.must("the question arrived", secs(1), |_, server| server.whole(channel) == Some(b"which file?"));
    pair.server().write(ends.server, channel, "that one", true);
    pair.must("the answer arrived", secs(1), |client, _| client.whole(channel) == Some(b"that one"));
}

#[test]
fn no_more_channels_may_be_open_than_the_other_side_allows_but_finished_ones_make_room() {
    let mut plan = Plan::default();
    plan.server.max_channels = 4;
    let mut pair = Pair::new(plan);
    let ends = pair.connected();
    let mut open: Vec<ChannelId> = Vec::new();
    for _ in 0..4 {
        open.push(pair.client().endpoint.open_channel(ends.client, Class::Request).unwrap());
    }
    assert_eq!(pair.client().endpoint.open_channel(ends.client, Class::Request), Err(SendError::TooManyChannels));
    pair.client().endpoint.open_channel(ends.client, Class::Chat).unwrap();
    // A channel is over when both directions are.
    for channel in &open {
        pair.client().write(ends.client, *channel, "question", true);
    }
    pair.must("the questions arrived", secs(1), |_, server| {
        open.iter().all(|channel| server.whole(*channel).is_some())
    });
    for channel in &open {
        pair.server().write(ends.server, *channel, "answer", true);
    }
    pair.must("the answers arrived", secs(1), |client, _| open.iter().all(|channel| client.whole(*channel).is_some()));
    pair.network.run_for(secs(2));
    for _ in 0..4 {
        pair.client().endpoint.open_channel(ends.client, Class::Request).unwrap();
    }
}

#[test]
fn ten_thousand_channels_one_after_the_other_need_no_more_room_than_a_few() {
    let mut plan = Plan::default();
    plan.server.max_channels = 8;
    plan.link = Link::with_delay(MS);
    let mut pair = Pair::new(plan);
    let ends = pair.connected();
    for number in 0..10_000_u32 {
        let text = number.to_be_bytes();
        let channel = open_when_there_is_room(&mut pair, ends);
        pair.client().write(ends.client, channel, text.to_vec(), true);
        pair.must("it arrived", secs(5), |_, server| server.whole(channel) == Some(&text[..]));
        pair.server().write(ends.server, channel, "", true);
        // The memory of the story itself.
        pair.server().inbox.clear();
        pair.client().outbox.clear();
        pair.server().outbox.clear();
    }
}

/// Opens a channel; if as many are open as may be, waits until the other side allows one more.
#[track_caller]
fn open_when_there_is_room(pair: &mut Pair, ends: Ends) -> ChannelId {
    for _ in 0..200 {
        match pair.client().endpoint.open_channel(ends.client, Class::Chat) {
            Ok(channel) => return channel,
            Err(error) => assert_eq!(error, SendError::TooManyChannels),
        }
        pair.network.run_for(5 * MS);
    }
    unreachable!("no room for another channel; {pair:?}");
}

#[test]
fn a_reset_is_told_to_both_directions_with_its_code() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let channel = pair.client().endpoint.open_channel(ends.client, Class::Bulk).unwrap();
    pair.client().write(ends.client, channel, "beginning", false);
    pair.must("it began", secs(1), |_, server| server.heard(channel).is_some());
    pair.server().write(ends.server, channel, pattern(1, 8 << 20), true);
    pair.network.run_for(5 * MS);
    let now = pair.now();
    pair.client().endpoint.reset(now, ends.client, channel, 42).unwrap();
    pair.must("the server knows", secs(5), |_, server| {
        server.heard(channel).unwrap().error == Some(ReceiveError::Reset(42))
    });
    let told = pair.server().endpoint.send(ends.server, channel, &mut "more".into());
    assert!(matches!(told, Err(SendError::Stopped(42) | SendError::ChannelClosed)), "{told:?}");
    let after = pair.client().say(ends.client, Class::Bulk, "the connection lives on");
    pair.must("the connection lives on", secs(5), |_, server| server.whole(after).is_some());
}

#[test]
fn what_does_not_exist_is_an_error_and_changes_nothing() {
    let mut pair = Pair::new(Plan::default());
    let ends = pair.connected();
    let nowhere = ChannelId::new(true, Class::Chat, 99);
    let now = pair.now();
    let client = &mut pair.client().endpoint;
    assert_eq!(client.send(ends.client, nowhere, &mut "x".into()), Err(SendError::ChannelClosed));
    assert_eq!(client.finish(ends.client, nowhere), Err(SendError::ChannelClosed));
    assert_eq!(client.receive(now, ends.client, nowhere), Err(ReceiveError::ChannelClosed));
    assert_eq!(client.unacknowledged(ends.client, nowhere), 0);
    let channel = pair.client().say(ends.client, Class::Chat, "last words");
    let client = &mut pair.client().endpoint;
    assert_eq!(client.send(ends.client, channel, &mut "more".into()), Err(SendError::ChannelClosed));
    pair.must("it arrived", secs(1), |_, server| server.whole(channel) == Some(b"last words"));
}
