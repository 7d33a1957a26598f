//! A path that carries less than it did, and tells nobody.

use crate::course::{Course, Way, base_link, bytes};
use crate::pair::{Plan, secs};
use crate::scenario::{Scenario, Tally};
use anjer::time::Duration;
use netem::{Link, Verdict};

/// The second from which on the path has this MTU.
const STAGES: [(u64, usize); 5] = [(0, 1500), (10, 1280), (30, 576), (60, 536), (90, 1500)];
/// From the change until ten full packets' worth moved.
const MOVING_WITHIN: Duration = secs(10);
const MOVING: usize = 12_000;
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

/// Sends without end while the path changes. From the last stage on `hole` is the largest datagram that passes: a planted fault.
fn story(way: Way, hole: usize) -> Result<(Duration, String), String> {
    let mut course = Course::new(Plan { seed: 12, link: link(1500), ..Plan::default() });
    let mut stage = 0;
    let mut waiting = None;
    let mut notes = Vec::new();
    let began = course.now();
    let sender = way == Way::Down;
    // Far more than fits into the time: the stages end it, not its length.
    let sent = bytes(13, 150_000_000);
    let size = |course: &mut Course| {
        let now = course.pair.now();
        let (party, connection) = course.party(sender);
        party.endpoint.stats(now, connection).map_or(0, |stats| usize::from(stats.mtu))
    };
    let mut found_again = None;
    let outcome = course.carry(way, sent.clone(), sent, secs(900), |course, got| {
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
        if let Some((at, mtu)) = STAGES.get(stage + 1)
            && since >= secs(*at)
        {
            let (now, limit) = (size(course), STAGES[stage].1 - HEADERS);
            if now > limit || now + SLACK < limit {
                return Err(format!("datagrams of {now} bytes on a path for {limit}"));
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
        }
        if stage + 1 == STAGES.len() && found_again.is_none() && size(course) + SLACK >= 1500 - HEADERS {
            found_again = Some(since - secs(STAGES[stage].0));
            return Err("over".to_owned());
        }
        Ok(())
    });
    match (outcome, found_again) {
        (_, Some(after)) => {
            notes.push(format!("the large size again after {:.0} s", after.as_secs_f64()));
            Ok((course.now() - began, notes.join(", ")))
        }
        (Err(complaint), None) => Err(complaint),
        (Ok(_), None) => Err("the transfer ended before the large size was found again".to_owned()),
    }
}
