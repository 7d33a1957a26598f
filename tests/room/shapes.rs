//! Networks that are neither whole nor in two: some can reach some. Three shapes that leave other systems without a leader, or with one after
//! the other for ever (they are named in the work on Omni-Paxos). Here each ends with one supernode, which stays.

use crate::village::{Village, address, street};
use anjer::node::Event;
use anjer::node::identity::NodeId;
use anjer::time::Duration;

/// Within so many seconds after the fault there is one supernode again. A link whose path is cut, while nobody passes on for it yet, stands for
/// half a minute before it is given up (`mrt::Config::idle_timeout`); then another member is asked to pass on.
const SETTLED: u64 = 60;

/// It then stays for at least so long.
const STABLE: Duration = Duration::from_secs(60);

fn cut(village: &mut Village, one: usize, other: usize) {
    village.network.cut(address(one), address(other));
}

/// Who leads, as a node told last.
fn supernode(village: &Village, one: usize) -> Option<(u64, NodeId)> {
    village.told(one).into_iter().rev().find_map(|event| match event {
        Event::Supernode { id, epoch, .. } => Some((epoch, id)),
        _ => None,
    })
}

fn changes(village: &Village, who: &[usize]) -> usize {
    let changes =
        |one: &usize| village.told(*one).iter().filter(|event| matches!(event, Event::Supernode { .. })).count();
    who.iter().map(changes).sum()
}

/// One room of all of `who`, under one of them.
fn is_one(village: &Village, who: &[usize]) -> bool {
    let leader = supernode(village, who[0]);
    let lives = who.iter().any(|one| leader.is_some_and(|(_, id)| id == village.id(*one)));
    lives && who.iter().all(|one| supernode(village, *one) == leader && village.members(*one).len() == who.len())
}

/// After the fault `who` are one room under one supernode, which stays, and each hears what every other says.
fn one_stable_supernode(village: &mut Village, who: &[usize]) {
    let start = village.network.now();
    let one = village.run_until(SETTLED, |village| {
        // For a moment after the fault everything looks as it did before.
        village.network.now() > start + Duration::from_secs(15) && is_one(village, who)
    });
    println!("one after {:?}", village.network.now() - start);
    let picture = |village: &Village| {
        let of = |one: &usize| format!("{one}: {:?} of {}", supernode(village, *one), village.members(*one).len());
        who.iter().map(of).collect::<Vec<_>>()
    };
    assert!(one, "{:?}", picture(village));
    // Those who lost each other may still find a better way: from here on nothing changes any more.
    village.run_for(Duration::from_secs(10));
    let before = (changes(village, who), supernode(village, who[0]));
    village.run_for(STABLE);
    assert!(is_one(village, who), "{:?}", picture(village));
    assert_eq!((changes(village, who), supernode(village, who[0])), before, "{:?}", picture(village));
    for author in who {
        village.say(*author, &format!("heard from {author}"));
    }
    let all = |village: &Village| {
        who.iter().all(|one| who.iter().all(|author| village.has_heard(*one, &format!("heard from {author}"))))
    };
    assert!(village.run_until(10, all));
}

/// The supernode reaches only one of four others, who all reach each other. In Raft terms: it has lost its quorum, and the one who still
/// hears it sees no reason for an election.
#[test]
fn a_supernode_that_only_one_can_reach_any_more() {
    for seed in 0..3 {
        let mut village = Village::with_room(60 + seed, street(), 5);
        for other in [1, 2, 4] {
            cut(&mut village, 0, other);
        }
        one_stable_supernode(&mut village, &[0, 1, 2, 3, 4]);
    }
}

/// The supernode dies, and of the others only one, who is not next in line, reaches everybody; the rest do not reach each other.
#[test]
fn only_one_who_is_not_next_in_line_reaches_everybody() {
    for seed in 0..3 {
        let mut village = Village::with_room(63 + seed, street(), 5);
        for (one, other) in [(1, 2), (1, 4), (2, 4)] {
            cut(&mut village, one, other);
        }
        village.kill(0);
        one_stable_supernode(&mut village, &[1, 2, 3, 4]);
    }
}

/// The same, with a supernode that lives and is in the middle of nothing: it too reaches only that one.
#[test]
fn a_star_whose_middle_does_not_lead() {
    for seed in 0..3 {
        let mut village = Village::with_room(66 + seed, street(), 5);
        for (one, other) in [(0, 1), (0, 2), (0, 4), (1, 2), (1, 4), (2, 4)] {
            cut(&mut village, one, other);
        }
        one_stable_supernode(&mut village, &[0, 1, 2, 3, 4]);
    }
}

/// A chain: the ends do not reach each other. The supernode is at an end, or in the middle.
#[test]
fn a_chain_of_three() {
    for (seed, one, other) in [(69, 0, 2), (70, 0, 1), (71, 1, 2)] {
        let mut village = Village::with_room(seed, street(), 3);
        cut(&mut village, one, other);
        one_stable_supernode(&mut village, &[0, 1, 2]);
    }
}

/// A chain whose supernode dies: what is left is a chain of three, and its middle is last in line.
#[test]
fn a_chain_whose_supernode_dies() {
    let mut village = Village::with_room(72, street(), 4);
    cut(&mut village, 1, 2);
    village.kill(0);
    one_stable_supernode(&mut village, &[1, 2, 3]);
}
