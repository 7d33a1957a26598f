//! Whole nodes, many of them, on the simulated network: their supernode dies.
//!
//! `SIZE=1000 cargo test --test room many_are_back -- --nocapture` for more than the test command has: each newcomer verifies the records of all
//! who are there, and each pair of nodes that is linked makes a real handshake.

use crate::village::{Village, address, street};
use anjer::node::{Command, Event};
use anjer::time::Duration;

/// Nodes in the test command.
const NODES: usize = 100;

/// Whom a node follows, and how many members it sees.
fn sees(village: &Village, who: usize) -> Option<(anjer::node::identity::NodeId, usize)> {
    village.network.host(address(who))?.told.iter().rev().find_map(|(_, event)| match event {
        Event::Peers { supernode, members, .. } => Some((*supernode, members.len())),
        _ => None,
    })
}

fn shows(village: &Village, who: usize, wanted: &str) -> bool {
    let told = |(_, event): &(Duration, Event)| matches!(event, Event::Chat { text, .. } if text == wanted);
    village.network.host(address(who)).is_some_and(|house| house.told.iter().rev().any(told))
}

/// Everybody who is left is in one room again within five seconds (ten, if they are more than a hundred), and what a few of them say reaches
/// all. No system says that nobody listens any more where the supernode was.
#[test]
fn many_are_back_within_seconds() {
    let count: usize = std::env::var("SIZE").ok().and_then(|size| size.parse().ok()).unwrap_or(NODES);
    let bar = if count > 100 { 10 } else { 5 };
    let mut village = Village::new(71, street());
    village.network.unreachable_is_reported = false;
    for _ in 0..count {
        village.open(true);
    }
    for joiner in 1..count {
        village.command(joiner, Command::ConnectTo(address(0)));
        if joiner % 10 == 0 {
            village.run_for(Duration::from_millis(100));
        }
    }
    let whole = |village: &Village, from: usize| {
        let first = sees(village, from);
        first.is_some_and(|(_, members)| members == count - from)
            && (from..count).all(|who| sees(village, who) == first)
    };
    assert!(village.run_until(30, |village| whole(village, 0)), "the room never was whole");
    village.run_for(Duration::from_secs(5));
    let crash = village.network.now();
    village.kill(0);
    assert!(
        village.run_until(bar, |village| whole(village, 1)),
        "{:?}",
        (1..count).map(|who| sees(&village, who)).collect::<Vec<_>>()
    );
    let whole = village.network.now() - crash;
    let speakers = [1, count / 2, count - 1];
    speakers.iter().for_each(|who| village.say(*who, &format!("{who} is back")));
    let heard = |village: &Village| {
        (1..count).all(|who| speakers.iter().all(|speaker| shows(village, who, &format!("{speaker} is back"))))
    };
    assert!(village.run_until(bar, heard), "not everybody shows what was said");
    let back = village.network.now() - crash;
    println!("{count} nodes: one room after {whole:?}, lines of three shown by all after {back:?}");
    assert!(back <= Duration::from_secs(bar), "{back:?}");
}
