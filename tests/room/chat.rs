//! What is said, heard by everybody.

use crate::village::{Heard, Village, address, street};
use anjer::node::{Command, Event};
use anjer::time::Duration;
use netem::{Link, Loss};

/// Everybody shows the same lines in the same order, each once, and each author's in the order they were said.
fn assert_one_order(village: &Village, who: &[usize], said: &[Vec<String>]) {
    let first = village.heard(who[0]);
    for &other in who {
        let heard = village.heard(other);
        let common = |one: &[Heard], two: &[Heard]| -> Vec<Heard> {
            one.iter().filter(|line| two.iter().any(|other| other.line == line.line)).cloned().collect()
        };
        assert_eq!(common(&first, &heard), common(&heard, &first), "nodes {} and {other}", who[0]);
        let mut lines: Vec<&String> = heard.iter().map(|heard| &heard.line).collect();
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), heard.len(), "node {other} shows a line twice");
        for texts in said {
            let theirs: Vec<&String> =
                heard.iter().map(|heard| &heard.text).filter(|text| texts.contains(text)).collect();
            assert_eq!(theirs, texts.iter().collect::<Vec<_>>(), "node {other}");
        }
    }
}

fn talk(village: &mut Village, who: &[usize], lines: usize) -> Vec<Vec<String>> {
    let said: Vec<Vec<String>> =
        who.iter().map(|author| (0..lines).map(|line| format!("line {line} of {author}")).collect()).collect();
    for line in 0..lines {
        for (author, texts) in who.iter().zip(&said) {
            village.say(*author, &texts[line]);
        }
        village.run_for(Duration::from_millis(7));
    }
    said
}

#[test]
fn four_who_talk_at_once_hear_the_same_in_one_order() {
    let mut village = Village::with_room(1, street(), 4);
    let said = talk(&mut village, &[0, 1, 2, 3], 30);
    assert!(village.run_until(10, |village| (0..4).all(|one| village.heard(one).len() == 120)));
    assert_one_order(&village, &[0, 1, 2, 3], &said);
    for one in 0..4 {
        assert!(village.errors(one).is_empty(), "{:?}", village.errors(one));
    }
}

#[test]
fn a_twentieth_of_all_packets_lost_changes_nothing_but_the_time() {
    let link = Link { loss: Loss::Independent(0.05), ..street() };
    let mut village = Village::with_room(2, link, 4);
    let said = talk(&mut village, &[0, 1, 2, 3], 30);
    assert!(village.run_until(30, |village| (0..4).all(|one| village.heard(one).len() == 120)));
    assert_one_order(&village, &[0, 1, 2, 3], &said);
}

#[test]
fn a_supernode_that_quits_is_missed_by_nobody() {
    let mut village = Village::with_room(3, street(), 4);
    village.say(1, "before");
    village.command(0, Command::Quit);
    village.say(2, "while it goes");
    assert!(village.run_until(5, |village| village.told(0).last() == Some(&Event::Bye)), "{:?}", village.told(0));
    village.say(3, "after");
    let all = ["before", "while it goes", "after"];
    assert!(village.run_until(5, |village| (1..4).all(|one| all.iter().all(|text| village.has_heard(one, text)))));
    assert_one_order(&village, &[1, 2, 3], &[]);
    for one in 0..4 {
        assert!(village.errors(one).is_empty(), "node {one}: {:?}", village.errors(one));
    }
    assert_eq!(village.members(1).len(), 3);
}

/// Killed while everybody talks: lines flow again within three seconds, none lost, none twice.
#[test]
fn a_supernode_that_dies_while_all_talk_takes_nothing_along() {
    let mut village = Village::with_room(4, street(), 4);
    let before = talk(&mut village, &[1, 2, 3], 10);
    village.kill(0);
    let died = village.network.now();
    let during: Vec<Vec<String>> =
        [1, 2, 3].iter().map(|author| (0..10).map(|line| format!("orphan {line} of {author}")).collect()).collect();
    for line in 0..10 {
        for (author, texts) in [1, 2, 3].iter().zip(&during) {
            village.say(*author, &texts[line]);
        }
        village.run_for(Duration::from_millis(50));
    }
    assert!(
        village.run_until(10, |village| (1..4).all(|one| village.heard(one).len() == 60)),
        "{:?}",
        village.heard(1).len()
    );
    let said: Vec<Vec<String>> = before.into_iter().chain(during).collect();
    assert_one_order(&village, &[1, 2, 3], &said);
    for one in 1..4 {
        let orphan = |event: &Event| matches!(event, Event::Chat { text, .. } if text.starts_with("orphan"));
        let flows = village.told_at(one, orphan).unwrap() - died;
        assert!(flows < Duration::from_secs(3), "node {one} heard nothing for {flows:?}");
    }
}

/// Anyone can send datagrams to an open port: they cost nothing and change nothing.
#[test]
fn noise_on_the_port_disturbs_nobody() {
    let mut village = Village::with_room(5, street(), 3);
    for number in 0..5000u32 {
        let length = 1 + (number as usize * 37) % 1400;
        let mut bytes = crate::village::bytes((number % 251) as u8, length);
        bytes[0] = number as u8;
        let from = std::net::SocketAddr::from(([10, 9, (number >> 8) as u8, number as u8], 999));
        village.network.inject(netem::Packet::new(from, address(0), bytes));
        if number % 500 == 0 {
            village.say(1, &format!("still here {number}"));
            village.run_for(Duration::from_millis(5));
        }
    }
    assert!(village.run_until(5, |village| (0..3).all(|one| village.heard(one).len() == 10)));
    assert_eq!(village.members(0).len(), 3);
}
