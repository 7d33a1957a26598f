//! What it costs to keep a room ready for the death of its supernode: bytes a minute, while nobody says anything.

use crate::village::{Village, address, street};
use anjer::time::Duration;
use std::io::Write as _;

const MINUTE: Duration = Duration::from_secs(60);

/// What the nodes `from` sent to the nodes `to` so far, in bytes of IP packets.
fn sent(village: &Village, from: &[usize], to: &[usize]) -> u64 {
    let pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to))).filter(|(from, to)| from != to);
    pairs.map(|(from, to)| village.network.counters(address(from), address(to)).sent_bytes).sum()
}

/// A line of the table: bytes a minute that a member exchanges with the supernode, that it exchanges with other members (the ways that are
/// kept warm), and that the supernode sends and receives in all.
fn measure(members: usize) -> [u64; 3] {
    let mut village = Village::with_room(members as u64, street(), members);
    // Until everything is measured, told and ordered.
    village.run_for(MINUTE);
    let (leader, rest): (Vec<usize>, Vec<usize>) = (0..members).partition(|one| *one == 0);
    let look = |village: &Village| {
        let with_leader = sent(village, &leader, &rest) + sent(village, &rest, &leader);
        [with_leader, sent(village, &rest, &rest)]
    };
    let before = look(&village);
    village.run_for(MINUTE);
    let after = look(&village);
    let others = rest.len() as u64;
    let [with_leader, among] = [0, 1].map(|kind| after[kind] - before[kind]);
    // What goes between two members is both of theirs.
    let row = [with_leader / others, 2 * among / others, with_leader];
    let _ = writeln!(
        std::io::stderr(),
        "| {members} | {:.1} | {:.1} | {:.1} |",
        row[0] as f64 / 1e3,
        row[1] as f64 / 1e3,
        row[2] as f64 / 1e3
    );
    row
}

/// Ways that nobody uses cost next to nothing beside the heartbeat; and a member of a larger room pays less, not more.
#[test]
fn keeping_warm_costs_a_member_a_few_kilobytes_a_minute() {
    let _ = writeln!(
        std::io::stderr(),
        "| members | member and supernode, kB/min | member and members | supernode in all |"
    );
    let sizes: &[usize] = if std::env::var_os("COST").is_some() { &[3, 5, 10, 16, 30, 100] } else { &[5, 10] };
    let rows: Vec<[u64; 3]> = sizes.iter().map(|members| measure(*members)).collect();
    for (members, [heartbeat, warm, _]) in sizes.iter().zip(rows) {
        assert!(heartbeat < 200_000, "{members}: {heartbeat}");
        assert!(warm < 60_000, "{members}: {warm}");
    }
}
