//! Nobody can use a node to send more to a third party than they sent themselves.

use crate::ledger::Ledger;
use crate::life::{OTHER_WORLD, a_whole_life};
use crate::pair::{Pair, Plan, SERVER, STRANGER, pattern, secs};
use crate::scenario::{Scenario, Tally};
use anjer::mrt::wire::packet::PacketKind;
use anjer::mrt::wire::{Cid, Clear};
use anjer::time::Duration;
use netem::{Packet, Verdict};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

pub(crate) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        asked: "≤ 3×",
        held: "≤ 1×, for every kind of packet",
        ..Scenario::new("amplification", "setup, from an address that never answers", |_| {
            Tally::one(setup(0, usize::MAX))
        })
    },
    Scenario {
        asked: "≤ 3×",
        held: "≤ 1×, for every kind of packet",
        ..Scenario::new("amplification", "setup under load, answered by cookies", |_| Tally::one(setup(0, 0)))
    },
    Scenario {
        held: "not one byte",
        ..Scenario::new("amplification", "garbage and what was damaged", |_| Tally::one(garbage()))
    },
    Scenario::planted("amplification", "a server that repeats its answers twenty times", "bytes for", |_| {
        Tally::one(setup(19, usize::MAX))
    }),
];

/// Every datagram of three whole lives, alone, to a server that knows nothing of them, three times within three seconds.
fn setup(stutter: usize, max_half_open: usize) -> Result<(Duration, String), String> {
    let (mut kinds, mut answered, mut most) = (BTreeSet::new(), 0, 0.0_f64);
    let mut passed = Duration::ZERO;
    // A life without load has no cookie in it.
    let mut cookie = Vec::new();
    Clear::Rtry { to: Cid(1), cookie: &[9; 40] }.emit(&mut cookie);
    let mut life = a_whole_life();
    life.push(Packet::new(SERVER, STRANGER, cookie));
    let count = life.len();
    for packet in life {
        let mut plan = Plan { seed: OTHER_WORLD, ..Plan::default() };
        plan.server.max_half_open = plan.server.max_half_open.min(max_half_open);
        let mut pair = Pair::new(plan);
        pair.server().stutter = stutter;
        let ledger = Rc::new(RefCell::new(Ledger::new(SERVER)));
        let writer = Rc::clone(&ledger);
        pair.network.set_tap(move |_, packet| {
            writer.borrow_mut().enter(packet);
            Verdict::Pass
        });
        for _ in 0..3 {
            let packet = Packet::new(STRANGER, SERVER, packet.bytes.clone());
            ledger.borrow_mut().enter(&packet);
            pair.network.inject(packet);
            pair.network.run_for(secs(1));
        }
        pair.network.run_for(secs(60));
        passed += pair.network.now();
        let account = ledger.borrow().account(STRANGER);
        if ledger.borrow().overdrawn.is_some() {
            return Err(format!("{} bytes for {}, from {packet:?}", account.sent, account.received));
        }
        kinds.insert(PacketKind::of(packet.bytes[0]).map(|kind| format!("{kind:?}")));
        answered += u32::from(account.sent > 0);
        most = most.max(account.sent as f64 / account.received as f64);
    }
    if answered < 3 || kinds.len() < 4 {
        return Err(format!("{answered} answers to packets of the kinds {kinds:?}: nothing was shown"));
    }
    Ok((passed, format!("{count} packets, {answered} answered, at most {most:.2}×")))
}

fn garbage() -> Result<(Duration, String), String> {
    let mut pair = Pair::new(Plan { seed: OTHER_WORLD, ..Plan::default() });
    let mut count = 0;
    let mut inject = |bytes: Vec<u8>| {
        count += 1;
        pair.network.inject(Packet::new(STRANGER, SERVER, bytes));
    };
    for first_byte in 0..=255 {
        for length in [1, 2, 12, 13, 29, 30, 64, 508, 1199, 1200, 1201, 1472] {
            let mut bytes = pattern(length as u64, length);
            bytes[0] = first_byte;
            inject(bytes);
        }
    }
    for packet in a_whole_life() {
        for at in (0..packet.bytes.len()).step_by(7) {
            inject(packet.bytes[..at].to_vec());
            let mut bytes = packet.bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            inject(bytes);
        }
        inject([&packet.bytes[..], &[0]].concat());
    }
    pair.network.run_for(secs(60));
    let sent = pair.network.counters(SERVER, STRANGER).sent;
    if sent > 0 || !pair.server().events.is_empty() {
        return Err(format!("{sent} packets in answer; {pair:?}"));
    }
    Ok((pair.network.now(), format!("{count} packets, no answer")))
}
