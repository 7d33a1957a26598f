//! A path that carries less than it did, and tells nobody.

use crate::course::{Course, Way, base_link, bytes};
use crate::pair::{Plan, secs};
use crate::scenario::{Scenario, Tally};
use anjer::time::Duration;
use netem::{Link, Verdict};

/// The second from which on the path has this MTU.
const STAGES: [(u64, usize); 5] = [(0, 1500), (10, 1280), (30, 576), (60, 536), (90, 1500)];
/// From the change until more has arrived than can have been under way.
const MOVING_WITHIN: Duration = secs(10);
const MOVING: usize = 200_000;
/// From when the path carries large datagrams again: a search begins anew ten minutes after the last (RFC 8899 §5.1.1).
const FOUND_AGAIN_WITHIN: Duration = secs(11 * 60);
/// IP and UDP headers.
const HEADERS: usize = 28;
/// How far below what the path carries a search may end (RFC 8899 §5.3.2), and half a rung.
const SLACK: usize = 32;

pub(crate) const SCENARIOS: [Scenario; 3] = [
    Scenario {
        held: "moving again ≤ 10 s after each, each size found",
        ..Scenario::new("mtu", "1500 → 1280 → 576 → 536 → 1500, sending", |_| {
            Tally::one(story(Way::Up, usize::MAX))
        })
    },
    Scenario {
        held: "moving again ≤ 10 s after each, each size found",
        ..Scenario::new("mtu", "1500 → 1280 → 576 → 536 → 1500, receiving", |_| {
            Tally::one(story(Way::Down, usize::MAX))
        })
    },
    Scenario::planted("mtu", "a path for 400 bytes", "had not moved", |_| Tally::one(story(Way::Up, 400))),
];

fn link(mtu: usize) -> Link {
    Link { mtu: Some(mtu), ..base_link() }
}

/// Sends while the path changes. From the second stage on `hole` is the largest datagram that passes: a planted fault.
fn story(way: Way, hole: usize) -> Result<(Duration, String), String> {
    let mut course = Course::new(Plan { seed: 12, link: link(1500), ..Plan::default() });
    let (began, mut stage, mut waiting, mut notes) = (course.now(), 0, None, Vec::new());
    // Enough for all stages.
    let sent = bytes(13, 150_000_000);
    course.carry(way, sent.clone(), sent, secs(900), |course, got| {
        let since = course.now() - began;
        if let Some((changed, goal)) = waiting {
            if got >= goal {
                notes.push(format!("{} after {:.1} s", STAGES[stage].1, (since - changed).as_secs_f64()));
                waiting = None;
            } else if since > changed + MOVING_WITHIN {
                return Err(format!(
                    "it had not moved {:?} after the path carried {}",
                    since - changed,
                    STAGES[stage].1
                ));
            }
        }
        let Some((_, mtu)) = STAGES.get(stage + 1).filter(|(at, _)| since >= secs(*at)) else { return Ok(()) };
        let (size, limit) = (datagram(course, way), STAGES[stage].1 - HEADERS);
        if size > limit || size + SLACK < limit {
            return Err(format!("datagrams of {size} bytes on a path for {limit}"));
        }
        stage += 1;
        course.relink(&link(*mtu));
        waiting = Some((since, got + MOVING));
        if hole < usize::MAX {
            course.pair.network.set_tap(
                move |_, packet| {
                    if packet.bytes.len() > hole { Verdict::Drop } else { Verdict::Pass }
                },
            );
        }
        Ok(())
    })?;
    if stage + 1 < STAGES.len() || waiting.is_some() {
        return Err(format!("the transfer was over in stage {stage}"));
    }
    while datagram(&mut course, way) + SLACK < 1500 - HEADERS {
        if course.now() - began > secs(STAGES[stage].0) + FOUND_AGAIN_WITHIN {
            return Err(format!("datagrams are still of {} bytes", datagram(&mut course, way)));
        }
        course.pair.network.run_for(secs(1));
    }
    let after = course.now() - began - secs(STAGES[stage].0);
    let sent = bytes(14, 5_000_000);
    course.carry(way, sent.clone(), sent, secs(20), |_, _| Ok(()))?;
    notes.push(format!("large again after {:.0} s", after.as_secs_f64()));
    Ok((course.now() - began, notes.join(", ")))
}

/// The size of the sender's datagrams.
fn datagram(course: &mut Course, way: Way) -> usize {
    let now = course.pair.now();
    let (party, connection) = course.party(way == Way::Down);
    party.endpoint.stats(now, connection).map_or(0, |stats| usize::from(stats.mtu))
}
