//! Many small things at once.

use crate::course::{Course, base_link, bytes};
use crate::pair::{MS, Plan, secs};
use crate::scenario::{Scenario, Tally};
use anjer::mrt::{ChannelId, Class, Event, SendError};
use anjer::time::Duration;
use netem::Link;
use std::collections::BTreeMap;

const MESSAGES: usize = 10_000;
const LENGTH: usize = 32;

pub(crate) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        asked: "1,999 of 32 bytes",
        held: "10,000, each with its answer",
        ..Scenario::new("many", "messages of 32 bytes, a channel each", |_| messages(&base_link(), None))
    },
    Scenario {
        held: "10,000, each with its answer",
        ..Scenario::new("many", "messages of 32 bytes, 5 % lost", |_| messages(&base_link().losing(0.05), None))
    },
    Scenario {
        held: "1,000, each 10 kB each way",
        ..Scenario::new("many", "channels at once", |_| Tally::one(at_once(1000)))
    },
    Scenario::planted("many", "one answer of ten thousand is another's", "message 777", |_| {
        messages(&base_link(), Some(777))
    }),
];

/// What a message says: its number, so that none can stand for another.
fn message(number: usize) -> bytes::Bytes {
    bytes(number as u64 + 1, LENGTH)
}

/// The client asks on as many channels as it may have open, the server answers with what it heard. `wrong`: that one with something
/// else.
fn messages(link: &Link, wrong: Option<usize>) -> Tally {
    let mut course = Course::new(Plan { seed: 9, link: link.clone(), ..Plan::default() });
    let ends = course.ends;
    let began = course.now();
    let mut asked: BTreeMap<ChannelId, usize> = BTreeMap::new();
    let (mut next, mut answered) = (0, 0);
    Tally::one(loop {
        while next < MESSAGES {
            match course.pair.client().endpoint.open_channel(ends.client, Class::Request) {
                Ok(channel) => {
                    course.pair.client().write(ends.client, channel, message(next), true);
                    asked.insert(channel, next);
                    next += 1;
                }
                Err(SendError::TooManyChannels) => break,
                Err(error) => panic!("{error}"),
            }
        }
        course.pair.network.run_for(5 * MS);
        for channel in finished(&mut course, true) {
            let number = asked[&channel];
            let heard = course.pair.server().inbox.remove(&(ends.server, channel)).unwrap().bytes;
            let answer = if wrong == Some(number) { message(number + 1) } else { heard.into() };
            course.pair.server().write(ends.server, channel, answer, true);
        }
        let mut complaint = None;
        for channel in finished(&mut course, false) {
            let number = asked.remove(&channel).unwrap();
            let heard = course.pair.client().inbox.remove(&(ends.client, channel)).unwrap().bytes;
            if heard != message(number) {
                complaint.get_or_insert_with(|| format!("message {number} was answered by {heard:x?}"));
            }
            course.pair.client().outbox.remove(&(ends.client, channel));
            course.pair.server().outbox.remove(&(ends.server, channel));
            answered += 1;
        }
        if let Some(complaint) = complaint {
            break Err(complaint);
        }
        let took = course.now() - began;
        if answered == MESSAGES {
            break Ok((took, format!("{:.0} a second", MESSAGES as f64 / took.as_secs_f64())));
        }
        if took > secs(120) {
            break Err(format!("{answered} of {MESSAGES} after {took:?}; {:?}", course.pair));
        }
    })
}

/// Channels on which everything came since last asked.
fn finished(course: &mut Course, server: bool) -> Vec<ChannelId> {
    let (party, connection) = course.party(server);
    let mut channels: Vec<ChannelId> = core::mem::take(&mut party.events)
        .into_iter()
        .filter_map(|event| match event {
            Event::Readable { channel, .. } => Some(channel),
            Event::Lost { reason, .. } => panic!("{reason}"),
            _ => None,
        })
        .filter(|channel| party.inbox.get(&(connection, *channel)).is_some_and(|inbox| inbox.finished))
        .collect();
    channels.sort_unstable();
    channels.dedup();
    channels
}

/// So many channels are open at the same time, and all of them are in use both ways before the first is finished.
fn at_once(count: usize) -> Result<(Duration, String), String> {
    const SIZE: usize = 10_000;
    let mut course = Course::new(Plan { seed: 9, link: base_link(), ..Plan::default() });
    let (ends, began) = (course.ends, course.now());
    let channels: Vec<ChannelId> =
        (0..count).map(|_| course.pair.client().endpoint.open_channel(ends.client, Class::Request).unwrap()).collect();
    for (number, channel) in channels.iter().enumerate() {
        course.pair.client().write(ends.client, *channel, bytes(number as u64, SIZE).slice(..SIZE / 2), false);
    }
    let half = |inbox: Option<&crate::party::Inbox>| inbox.is_some_and(|inbox| inbox.bytes.len() >= SIZE / 2);
    course.pair.must("half of each arrives", secs(60), |_, server| {
        server.received() == count * SIZE / 2 && channels.iter().all(|channel| half(server.heard(*channel)))
    });
    for (number, channel) in channels.iter().enumerate() {
        let (up, down) = (bytes(number as u64, SIZE), bytes((count + number) as u64, SIZE));
        course.pair.client().write(ends.client, *channel, up.slice(SIZE / 2..), true);
        course.pair.server().write(ends.server, *channel, down, true);
    }
    course.pair.must("everything arrives", secs(120), |client, server| {
        server.received() == count * SIZE
            && client.received() == count * SIZE
            && channels.iter().all(|channel| server.whole(*channel).is_some() && client.whole(*channel).is_some())
    });
    for (number, channel) in channels.iter().enumerate() {
        let (up, down) = (bytes(number as u64, SIZE), bytes((count + number) as u64, SIZE));
        if course.pair.server().whole(*channel) != Some(&up[..])
            || course.pair.client().whole(*channel) != Some(&down[..])
        {
            return Err(format!("channel {number} carried something else"));
        }
    }
    Ok((course.now() - began, format!("{count} of {count}")))
}
