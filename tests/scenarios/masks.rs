//! Whichever of the first packets are lost: the connection is made, and what both sides say arrives.

use crate::course::{base_link, bytes};
use crate::pair::{CLIENT, Pair, Plan, SERVER, secs};
use crate::scenario::{Scenario, Tally};
use anjer::mrt::Class;
use anjer::time::Duration;
use netem::Verdict;

/// What each side says at once: with the setup, more than forty packets.
const UP: usize = 16_000;
const DOWN: usize = 10_000;
const PATIENCE: Duration = secs(60);

pub(crate) const SCENARIOS: [Scenario; 3] = [
    Scenario {
        asked: "50 random masks (picoquic)",
        held: "all 4,096 × 3 patterns, within 60 s",
        shares: 16,
        bar: |tally| if tally.runs == 3 * 4096 { Ok(()) } else { Err(format!("{} runs", tally.runs)) },
        ..Scenario::new("masks", "which of the first 12 packets are lost", |share| {
            let mut tally = Tally::default();
            for number in share.of(3 * 4096) {
                tally.enter(run(number, number / 3));
            }
            tally
        })
    },
    Scenario {
        asked: "50 random masks (picoquic)",
        held: "100,000 random, within 60 s",
        shares: 64,
        bar: |tally| if tally.runs == 100_000 { Ok(()) } else { Err(format!("{} runs", tally.runs)) },
        ..Scenario::new("masks", "which of the first 40 packets are lost", |share| {
            let mut tally = Tally::default();
            for number in share.of(100_000) {
                let mask = crate::walk::Dice(number).roll(1 << 40);
                tally.enter(run(number, mask));
            }
            tally
        })
    },
    Scenario::planted("masks", "all that the first 64 packets carry", "not over after", |_| {
        let mut tally = Tally::default();
        tally.enter(run(0, u64::MAX));
        tally
    }),
];

/// Loses the packets whose bit is set, counted in the order in which they are sent, whoever sends them.
fn run(number: u64, mask: u64) -> Result<Duration, String> {
    let mut pair = Pair::new(Plan { seed: number, link: base_link(), ..Plan::default() });
    let mut bits = mask;
    pair.network.set_tap(move |_, _| {
        let lost = bits & 1 == 1;
        bits >>= 1;
        if lost { Verdict::Drop } else { Verdict::Pass }
    });
    let now = pair.now();
    let to = pair.patterns()[number as usize % 3].clone();
    pair.client().endpoint.connect(now, SERVER, to, PATIENCE).unwrap();
    let (up, down) = (bytes(1, UP), bytes(2, DOWN));
    let mut channels = [None; 2];
    let over = pair.network.run_until(PATIENCE, |network| {
        for (channel, address, bytes) in [(0, CLIENT, &up), (1, SERVER, &down)] {
            if channels[channel].is_none()
                && let Some(connection) = network.host(address).and_then(crate::party::Party::connection)
            {
                let party = network.host_mut(address).unwrap();
                channels[channel] = Some(party.say(connection, Class::Bulk, bytes.clone()));
            }
        }
        let whole = |channel: Option<_>, address| {
            channel.is_some_and(|channel| network.host(address).unwrap().whole(channel).is_some())
        };
        whole(channels[0], SERVER) && whole(channels[1], CLIENT)
    });
    let at = pair.network.now();
    if !over {
        return Err(format!("not over after {at:?}, number {number}, mask {mask:#x}: {pair:?}"));
    }
    let [Some(to_server), Some(to_client)] = channels else { panic!() };
    if pair.server().whole(to_server) != Some(&up[..]) || pair.client().whole(to_client) != Some(&down[..]) {
        return Err(format!("something else arrived, number {number}, mask {mask:#x}"));
    }
    Ok(at)
}
