//! Paths as long as to the moon and back, and connections as old as a month.

use crate::course::{Course, Way, base_link, bytes, goodput};
use crate::pair::{CLIENT, Plan, SERVER, secs};
use crate::scenario::{Scenario, Tally};
use anjer::mrt::{Class, CloseReason};
use anjer::time::Duration;
use netem::Link;

const WEEK: Duration = secs(7 * 24 * 3600);
const SIZE: usize = 10_000_000;

pub(crate) const SCENARIOS: [Scenario; 6] = [
    Scenario {
        asked: "1.5 s",
        held: "connected, 10 MB each way",
        ..Scenario::new("long", "round trips of 1.5 s", |_| far(secs(3) / 4))
    },
    Scenario { held: "connected, 10 MB each way", ..Scenario::new("long", "round trips of 10 s", |_| far(secs(5))) },
    Scenario {
        held: "alive, no panic, a line arrives",
        ..Scenario::new("long", "four weeks idle", |_| Tally::one(idle(4 * WEEK, true)))
    },
    Scenario {
        held: "lost by timeout, no panic",
        ..Scenario::new("long", "four weeks asleep", |_| Tally::one(asleep(4 * WEEK)))
    },
    Scenario::planted("long", "four weeks idle without keepalive", "nothing heard", |_| {
        Tally::one(idle(4 * WEEK, false))
    }),
    Scenario::planted("long", "round trips longer than anybody waits", "not connected", |_| far(secs(50))),
];

fn far(delay: Duration) -> Tally {
    let link = Link { delay, ..base_link() };
    let patience = secs(60);
    let mut tally = Tally::default();
    for way in [Way::Up, Way::Down] {
        let plan = Plan { seed: 6, link: link.clone(), ..Plan::default() };
        let outcome = Course::patiently(plan, patience).and_then(|mut course| {
            let sent = bytes(6, SIZE);
            let took = course.carry(way, sent.clone(), sent, secs(7200), |_, _| Ok(()))?;
            Ok((took, format!("{:.2} Mbit/s", goodput(SIZE, took))))
        });
        tally.add(Tally::one(outcome));
    }
    tally
}

/// Nobody says anything for so long, then one says something.
fn idle(time: Duration, keep_alive: bool) -> Result<(Duration, String), String> {
    let mut plan = Plan { seed: 7, link: base_link(), ..Plan::default() };
    if !keep_alive {
        (plan.client.keep_alive, plan.server.keep_alive) = (None, None);
    }
    let mut course = Course::new(plan);
    course.pair.network.run_for(time);
    for server in [false, true] {
        if let [reason, ..] = course.party(server).0.losses().as_slice() {
            return Err(format!("{reason}, after {time:?}"));
        }
    }
    let ends = course.ends;
    let line = course.pair.client().say(ends.client, Class::Chat, "good morning");
    course.pair.must("the line arrives", secs(1), |_, server| server.whole(line).is_some());
    let packets = course.pair.network.total().sent;
    Ok((time, format!("{:.1} packets a minute", packets as f64 / (time.as_secs_f64() / 60.0))))
}

/// The client is frozen for so long, as a closed laptop is.
fn asleep(time: Duration) -> Result<(Duration, String), String> {
    let mut course = Course::new(Plan { seed: 8, link: base_link(), ..Plan::default() });
    let ends = course.ends;
    course.pair.server().say(ends.server, Class::Bulk, bytes(8, 1_000_000));
    course.pair.network.pause(CLIENT);
    course.pair.network.run_for(time);
    course.pair.network.resume(CLIENT);
    course.pair.network.run_for(secs(60));
    for address in [CLIENT, SERVER] {
        let losses = course.pair.network.host_mut(address).unwrap().losses();
        if losses != [CloseReason::TimedOut] {
            return Err(format!("{address}: {losses:?}"));
        }
    }
    let again = course.pair.server_key;
    course.pair.call(anjer::mrt::ConnectTo::Known(again));
    let back = course.pair.run_until(secs(5), |client, _| client.connections().len() == 2);
    if back { Ok((time, "connected again".to_owned())) } else { Err(format!("not connected again: {:?}", course.pair)) }
}
