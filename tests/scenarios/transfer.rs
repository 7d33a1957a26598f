//! A hundred megabytes through everything a link does to packets. They arrive whole, in order, once.

use crate::course::{Course, Way, base_link, bytes, goodput};
use crate::pair::{CLIENT, MS, Pair, Plan, SERVER, secs};
use crate::scenario::{Scenario, Share, Tally};
use anjer::time::Duration;
use netem::{Link, Loss, Queue, Reordering, Verdict};
use std::cell::Cell;
use std::rc::Rc;

const SIZE: usize = 100_000_000;
/// Half a day: slow is not what is judged here.
const PATIENCE: Duration = secs(12 * 3600);

pub(crate) const SCENARIOS: [Scenario; 11] = [
    row("2 % lost, 10 % reordered, 5 % doubled, 1 % damaged", |_| impaired(0.02)),
    row("5 % lost, 10 % reordered, 5 % doubled, 1 % damaged", |_| impaired(0.05)),
    row("10 % lost, 10 % reordered, 5 % doubled, 1 % damaged", |_| impaired(0.10)),
    row("2 % damaged", |_| damaged(0.02)),
    row("5 % damaged", |_| damaged(0.05)),
    row("10 % damaged", |_| damaged(0.10)),
    row("5 % lost, in bursts of 10 on the average", |_| gilbert()),
    row("bursts to 200 packets", |_| bursts(&fast_link(), 5000, 150)),
    row("bursts as long as 200 packets take", |_| bursts(&base_link(), 1000, 30)),
    Scenario::planted("transfer", "a byte is changed after the checks", "the byte at 700000 differs", |_| {
        let mut sent = bytes(1, 1_000_000).to_vec();
        sent[700_000] ^= 1;
        let mut course = Course::new(Plan { link: base_link(), ..Plan::default() });
        Tally::one(plain(&mut course, sent.into()))
    }),
    Scenario::planted("transfer", "the end is missing", "it ended after 999999 of 1000000 bytes", |_| {
        let mut course = Course::new(Plan { link: base_link(), ..Plan::default() });
        Tally::one(plain(&mut course, bytes(1, 1_000_000).slice(..999_999)))
    }),
];

const fn row(name: &'static str, run: fn(Share) -> Tally) -> Scenario {
    Scenario { asked: "2 MB at 2 %", held: "100 MB, whole and in order", ..Scenario::new("transfer", name, run) }
}

fn plain(course: &mut Course, sent: bytes::Bytes) -> Result<(Duration, String), String> {
    course.carry(Way::Up, sent, bytes(1, 1_000_000), secs(60), |_, _| Ok(())).map(|took| (took, String::new()))
}

fn impaired(loss: f64) -> Tally {
    let link = Link {
        reordering: Reordering { probability: 0.1, hold: 5 * MS },
        duplication: 0.05,
        corruption: 0.01,
        ..base_link()
    }
    .losing(loss);
    let mut course = Course::new(Plan { seed: 10, link, ..Plan::default() });
    let sent = bytes(2, SIZE);
    let took = course.carry(Way::Up, sent.clone(), sent, PATIENCE, |_, _| Ok(()));
    let there = course.pair.network.counters(CLIENT, SERVER);
    let exercised = there.dropped.loss > 0 && there.held_back > 0 && there.duplicated > 0 && there.corrupted > 0;
    Tally::one(took.and_then(|took| {
        let lost = there.dropped.loss as f64 / there.sent as f64;
        if !exercised || (lost - loss).abs() > 0.1 * loss {
            return Err(format!("the link did not do what it should: {there:?}"));
        }
        Ok((took, format!("{:.2} Mbit/s", goodput(SIZE, took))))
    }))
}

/// Bits flip, ends are cut off or grow, and the UDP checksum does not notice.
fn damaged(share: f64) -> Tally {
    let link = Link { corruption: share, ..base_link() };
    let mut course = Course::new(Plan { seed: 11, link, ..Plan::default() });
    let sent = bytes(3, SIZE);
    let took = course.carry(Way::Up, sent.clone(), sent, PATIENCE, |_, _| Ok(()));
    let there = course.pair.network.counters(CLIENT, SERVER);
    Tally::one(took.and_then(|took| {
        let damaged = there.corrupted as f64 / there.sent as f64;
        if (damaged - share).abs() > 0.1 * share {
            return Err(format!("the link did not do what it should: {there:?}"));
        }
        Ok((took, format!("{:.2} Mbit/s", goodput(SIZE, took))))
    }))
}

/// Bursts of the usual model, whose length knows no bound and no time.
fn gilbert() -> Tally {
    let link = Link { loss: Loss::bursts(0.05, 10.0), ..base_link() };
    let mut course = Course::new(Plan { seed: 13, link, ..Plan::default() });
    let sent = bytes(4, SIZE);
    let took = course.carry(Way::Up, sent.clone(), sent, PATIENCE, |_, _| Ok(()));
    let there = course.pair.network.counters(CLIENT, SERVER);
    Tally::one(took.and_then(|took| {
        let lost = 100.0 * there.dropped.loss as f64 / there.sent as f64;
        if !(3.0..7.0).contains(&lost) {
            return Err(format!("{lost} % lost: {there:?}"));
        }
        Ok((took, format!("{:.2} Mbit/s, {lost:.1} % lost", goodput(SIZE, took))))
    }))
}

/// So fast and long that two hundred packets are under way at once.
fn fast_link() -> Link {
    Link { rate: Some(200_000_000), queue: Queue::Packets(500), delay: 15 * MS, ..Link::default() }
}

/// Nothing but bursts, each way for itself, one after so many packets on the average. A burst takes the next 1 to 200 packets, or as many
/// of them as come while 400 full packets could be sent: a sender that waits for an answer does not make the fade longer. At least one
/// burst has to have taken so many packets in a row.
fn bursts(link: &Link, apart: u64, in_a_row: u32) -> Tally {
    let packet_time = Duration::from_nanos(1500 * 8 * 1_000_000_000 / link.rate.unwrap_or(1));
    let mut pair = Pair::new(Plan { seed: 11, link: link.clone(), ..Plan::default() });
    let longest = Rc::new(Cell::new([0_u32; 2]));
    let seen = Rc::clone(&longest);
    let mut dice = crate::walk::Dice(12);
    // Packets left in the burst, when it ends anyway, and how many it took.
    let mut fades = [(0_u64, Duration::ZERO, 0_u32); 2];
    pair.network.set_tap(move |now, packet| {
        let way = usize::from(packet.from == SERVER);
        let (left, until, taken) = &mut fades[way];
        if *left == 0 || now >= *until {
            *taken = 0;
            *left = if dice.roll(apart) == 0 { 1 + dice.roll(200) } else { 0 };
            *until = now + packet_time * 400;
        }
        if *left == 0 {
            return Verdict::Pass;
        }
        (*left, *taken) = (*left - 1, *taken + 1);
        let mut most = seen.get();
        most[way] = most[way].max(*taken);
        seen.set(most);
        Verdict::Drop
    });
    let mut course = Course::over(pair);
    let sent = bytes(3, SIZE);
    let took = course.carry(Way::Up, sent.clone(), sent, PATIENCE, |_, _| Ok(()));
    let there = course.pair.network.counters(CLIENT, SERVER);
    Tally::one(took.and_then(|took| {
        let most = longest.get()[0];
        if most < in_a_row {
            return Err(format!("no more than {most} were lost in a row: {there:?}"));
        }
        let lost = 100.0 * there.dropped.tap as f64 / there.sent as f64;
        Ok((took, format!("{:.2} Mbit/s, {lost:.1} % lost, up to {most} in a row", goodput(SIZE, took))))
    }))
}
