//! Setup through loss and damage: a new pair for each seed, a caller that knows more or less of the other side, a line each way.

use crate::course::base_link;
use crate::pair::{CLIENT, Pair, Plan, SERVER, secs};
use crate::scenario::{Scenario, Share, Tally};
use anjer::mrt::Class;
use anjer::time::Duration;
use netem::{Link, Verdict};

/// What each side says when it is connected.
const LINE: &[u8] = &[7; 1000];

pub(crate) const SCENARIOS: [Scenario; 5] = [
    Scenario {
        asked: "50 of 50, ≤ 3 lost in a row",
        held: "1,000 of 1,000, p99 < 15 s",
        shares: 8,
        bar: |tally| count(tally, 1000).and(within(tally, 0.99, secs(15))),
        ..Scenario::new("handshake", "30 % lost each way", |share| pairs(share, 1000, &base_link().losing(0.3)))
    },
    Scenario {
        asked: "–",
        held: "200 of 200 within 60 s",
        shares: 4,
        bar: |tally| count(tally, 200).and(within(tally, 1.0, secs(60))),
        ..Scenario::new("handshake", "50 % lost each way", |share| pairs(share, 200, &base_link().losing(0.5)))
    },
    Scenario {
        asked: "50 of 50",
        held: "1,000 of 1,000, any byte, cut and extended",
        shares: 8,
        bar: |tally| count(tally, 1000).and(within(tally, 0.99, secs(15))),
        ..Scenario::new("handshake", "30 % damaged each way", |share| {
            pairs(share, 1000, &Link { corruption: 0.3, ..base_link() })
        })
    },
    Scenario::planted("handshake", "one of a thousand is never answered", "not connected", |share| {
        let mut tally = pairs(share, 999, &base_link());
        tally.enter(attempt(999, &base_link(), Sabotage::Deaf));
        tally
    }),
    Scenario::planted("handshake", "a line is not said", "a line did not arrive", |_| {
        let mut tally = Tally::default();
        tally.enter(attempt(0, &base_link(), Sabotage::Mute));
        tally
    }),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// The caller hears nothing.
    Deaf,
    /// The called says nothing of its own.
    Mute,
}

fn pairs(share: Share, total: u64, link: &Link) -> Tally {
    let mut tally = Tally::default();
    for seed in share.of(total) {
        tally.enter(attempt(seed, link, Sabotage::None));
    }
    tally
}

/// Returns how long it took until both sides were connected. Afterwards a line each way has to arrive.
fn attempt(seed: u64, link: &Link, sabotage: Sabotage) -> Result<Duration, String> {
    let mut pair = Pair::new(Plan { seed, link: link.clone(), ..Plan::default() });
    if sabotage == Sabotage::Deaf {
        pair.network.set_tap(|_, packet| if packet.from == SERVER { Verdict::Drop } else { Verdict::Pass });
    }
    let to = pair.patterns()[seed as usize % 3].clone();
    let now = pair.now();
    let connection = pair.network.host_mut(CLIENT).unwrap().endpoint.connect(now, SERVER, to, secs(60)).unwrap();
    let both = |pair: &mut Pair, within| {
        pair.run_until(within, |client, server| client.connection().is_some() && server.connection().is_some())
    };
    if !both(&mut pair, secs(60)) {
        return Err(format!("not connected: {pair:?}"));
    }
    let took = pair.network.now();
    let answer = pair.server().connection().unwrap();
    let up = pair.client().say(connection, Class::Chat, LINE);
    let said = if sabotage == Sabotage::Mute { &LINE[1..] } else { LINE };
    let down = pair.server().say(answer, Class::Chat, said);
    let arrived =
        pair.run_until(secs(60), |client, server| client.whole(down) == Some(LINE) && server.whole(up) == Some(LINE));
    if arrived { Ok(took) } else { Err(format!("a line did not arrive: {pair:?}")) }
}

fn count(tally: &Tally, runs: u64) -> Result<(), String> {
    if tally.runs == runs { Ok(()) } else { Err(format!("{} runs instead of {runs}", tally.runs)) }
}

fn within(tally: &Tally, part: f64, limit: Duration) -> Result<(), String> {
    let took = tally.quantile(part);
    if took < limit { Ok(()) } else { Err(format!("{} % took up to {took:?}", part * 100.0)) }
}
