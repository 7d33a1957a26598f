//! The path is gone for a while, both ways or one way: the connection is not, and moves again within two seconds of the path's return.

use crate::course::{Course, Way, base_link, bytes};
use crate::pair::{CLIENT, MS, Plan, SERVER, secs};
use crate::scenario::{Scenario, Share, Tally};
use anjer::time::Duration;
use core::ops::Range;
use netem::Link;

const SIZE: usize = 10_000_000;
/// The time from the path's return until the transfer moves.
const LIMIT: Duration = secs(2);
/// Moving: ten packets' worth arrived that had not.
const MOVING: usize = 12_000;

pub(crate) const SCENARIOS: [Scenario; 10] = [
    row("2 s off every 5 s, both ways", |_| story(every_five(), [true, true])),
    row("2 s off every 5 s, there", |_| story(every_five(), [true, false])),
    row("2 s off every 5 s, back", |_| story(every_five(), [false, true])),
    row("10 s once, both ways", |_| story(once(10), [true, true])),
    row("10 s once, there", |_| story(once(10), [true, false])),
    row("10 s once, back", |_| story(once(10), [false, true])),
    row("25 s once, both ways", |_| story(once(25), [true, true])),
    row("25 s once, there", |_| story(once(25), [true, false])),
    row("25 s once, back", |_| story(once(25), [false, true])),
    Scenario::planted("blackhole", "the path stays away three seconds longer than it says", "moved again", |_| {
        let mut tally = Tally::default();
        tally.enter(watch(&[secs(3)..secs(8)], &[secs(3)..secs(5)], [true, true]).map(|(took, _)| took));
        tally
    }),
];

const fn row(name: &'static str, run: fn(Share) -> Tally) -> Scenario {
    Scenario {
        asked: "10 MB, 2 s off every 5 s",
        held: "10 MB, moving ≤ 2 s after",
        ..Scenario::new("blackhole", name, run)
    }
}

fn every_five() -> Vec<Range<Duration>> {
    (0..100).map(|number| secs(3 + 5 * number)..secs(5 + 5 * number)).collect()
}

fn once(seconds: u64) -> Vec<Range<Duration>> {
    [secs(3)..secs(3 + seconds)].into()
}

/// With ends at ten points of the second, since a sender probes once a second.
fn story(outages: Vec<Range<Duration>>, ways: [bool; 2]) -> Tally {
    let mut tally = Tally::default();
    let mut slowest = Duration::ZERO;
    for tenth in 0..10 {
        let outages: Vec<_> = outages.iter().map(|outage| outage.start..outage.end + 100 * MS * tenth).collect();
        match watch(&outages, &outages, ways) {
            Ok((took, moving)) => {
                slowest = slowest.max(moving);
                tally.enter(Ok(took));
            }
            Err(alarm) => tally.enter(Err(format!("{alarm}, outages {outages:?}"))),
        }
    }
    tally.notes.push(format!("moving after {:.2} s at most", slowest.as_secs_f64()));
    tally
}

/// Sends from the client while the path fails as in `real`, and judges by what was `announced`. Returns how long the transfer took, and
/// the longest time from a path's return until it moved.
fn watch(
    real: &[Range<Duration>],
    announced: &[Range<Duration>],
    [there, back]: [bool; 2],
) -> Result<(Duration, Duration), String> {
    let link = |off: bool| Link { blackouts: if off { real.to_vec() } else { Vec::new() }, ..base_link() };
    let mut course = Course::new(Plan { seed: 3, link: base_link(), ..Plan::default() });
    course.pair.network.set_link(CLIENT, SERVER, link(there));
    course.pair.network.set_link(SERVER, CLIENT, link(back));
    let mut progress: Vec<(Duration, usize)> = Vec::new();
    let sent = bytes(4, SIZE);
    let took = course.carry(Way::Up, sent.clone(), sent, secs(300), |course, got| {
        progress.push((course.now(), got));
        Ok(())
    })?;
    let mut slowest = Duration::ZERO;
    let mut seen = 0;
    for outage in announced {
        let Some((_, before)) = progress.iter().rfind(|(at, _)| *at <= outage.end) else { break };
        let over = progress.last().is_some_and(|(at, _)| *at <= outage.end);
        if over {
            break;
        }
        let goal = (before + MOVING).min(SIZE);
        let at = progress.iter().find(|(_, got)| *got >= goal).map_or(course.now(), |(at, _)| *at);
        slowest = slowest.max(at - outage.end);
        seen += 1;
    }
    if seen == 0 {
        return Err("the transfer was over before the first outage".to_owned());
    }
    if slowest > LIMIT {
        return Err(format!("it moved again {slowest:?} after the path returned"));
    }
    Ok((took, slowest))
}
