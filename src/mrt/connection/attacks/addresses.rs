//! Who gets sent how much, and what proves a path.

use super::villain::{EVIL, MS, Villain, config, elsewhere};
use crate::mrt::api::{Class, Event};
use crate::mrt::wire::Frame;
use crate::time::Duration;
use bytes::Bytes;

#[test]
fn an_address_that_is_not_proven_gets_at_most_three_times_what_came_from_it() {
    let mut villain = Villain::calling(config(1));
    let channel = villain.victim.open_channel(Class::Bulk).unwrap();
    villain.victim.send(channel, &mut Bytes::from(vec![1; 100_000])).unwrap();
    for port in 1..200 {
        let challenges = vec![Frame::PathChallenge([1; 8]); usize::from(port % 7)];
        let mut frames = vec![Frame::Ping];
        frames.extend(challenges);
        let mut received = villain.send(elsewhere(port), &frames);
        villain.run_for(Duration::from_millis(u64::from(port) * 7));
        if port % 3 == 0 {
            // An older packet, late: from an address that is not on trial.
            villain.number -= 1;
            villain.number += 2;
            received += villain.send(elsewhere(port), &[Frame::PathChallenge([2; 8])]);
            villain.drain();
        }
        let sent = villain.sent_to(elsewhere(port));
        assert!(sent <= 3 * received, "port {port}: {sent} for {received}");
        villain.send(EVIL, &[Frame::Ping]);
        villain.drain();
    }
    assert!(villain.events.iter().all(|event| !matches!(event, Event::Moved { .. })));
}

#[test]
fn a_way_that_the_peer_shows_gets_three_times_what_came_from_it_however_often_it_is_asked() {
    let mut villain = Villain::calling(config(1));
    for round in 0..50_u16 {
        for port in 1..20 {
            let asked = villain.probe(elsewhere(port), Frame::PathChallenge([round as u8; 8]));
            assert_eq!(asked, 1200);
            villain.drain();
            let (sent, received) = (villain.sent_to(elsewhere(port)), usize::from(round + 1) * asked);
            assert!(sent <= 3 * received, "port {port}: {sent} for {received}");
        }
        let on_trial = villain.paths().iter().filter(|path| !path.validated).count();
        assert!((1..=4).contains(&on_trial), "{on_trial}");
        villain.run_for(Duration::from_millis(u64::from(round) * 9));
    }
    assert!(villain.events.iter().all(|event| !matches!(event, Event::PathUp { .. } | Event::Moved { .. })));
    // When nobody asks any more, it ends.
    villain.run_for(Duration::from_secs(20));
    villain.sent.clear();
    villain.send(EVIL, &[Frame::Ping]);
    villain.run_for(Duration::from_secs(5));
    assert_eq!(villain.paths().len(), 1);
    assert!(villain.sent.iter().all(|(to, _)| *to == EVIL), "and nobody else is asked");
}

#[test]
fn of_the_ways_that_a_peer_proves_four_are_kept() {
    let mut villain = Villain::calling(config(1));
    for port in 1..40 {
        villain.probe(elsewhere(port), Frame::PathChallenge([1; 8]));
        villain.drain();
        for token in villain.challenges_to(elsewhere(port)) {
            villain.probe(elsewhere(port), Frame::PathResponse(token));
        }
        let proven = villain.paths().iter().filter(|path| path.validated).count();
        assert_eq!(proven, usize::from(port + 1).min(4), "port {port}");
        villain.send(EVIL, &[Frame::Ping]);
        villain.run_for(MS);
    }
    assert_eq!(villain.events.iter().filter(|event| matches!(event, Event::PathUp { .. })).count(), 3);
    // They answer nothing: they are given up, and that is told once for each.
    for _ in 0..10 {
        villain.send(EVIL, &[Frame::Ping]);
        villain.run_for(Duration::from_secs(10));
    }
    assert_eq!(villain.events.iter().filter(|event| matches!(event, Event::PathDown { .. })).count(), 3);
    assert_eq!(villain.paths().len(), 1);
    assert_eq!(villain.violation(), None);
}

#[test]
fn an_answer_that_is_not_full_size_or_comes_from_elsewhere_proves_no_path() {
    let mut villain = Villain::calling(config(1));
    villain.probe(elsewhere(1), Frame::PathChallenge([1; 8]));
    villain.drain();
    let token = villain.challenges_to(elsewhere(1))[0];
    villain.send(elsewhere(1), &[Frame::PathResponse(token)]);
    villain.probe(elsewhere(2), Frame::PathResponse(token));
    villain.probe(elsewhere(1), Frame::PathResponse([9; 8]));
    assert_eq!(villain.paths().iter().filter(|path| path.validated).count(), 1);
    villain.probe(elsewhere(1), Frame::PathResponse(token));
    assert_eq!(villain.paths().iter().filter(|path| path.validated).count(), 2);
}
