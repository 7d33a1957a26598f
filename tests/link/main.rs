//! How a sender treats a link, and whom it shares it with: whole endpoints over a simulated link, a story a row.
//!
//! `bottleneck` is the measuring stick. `cargo run --release --example link` measures with it at full length, what is in `rows`.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a helper that fails is a story that fails")]

mod bottleneck;
#[expect(dead_code, reason = "shared with tests/mrt, which uses all of it")]
#[path = "../mrt/party.rs"]
mod party;

use anjer::mrt::recovery::congestion::Algorithm;
use anjer::time::Duration;
use bottleneck::{Figures, Plan, link, payload_limit};
use netem::Link;

/// One sender on a link, for so many seconds.
fn alone(congestion: Algorithm, link: Link, seconds: f64) -> Figures {
    Plan::alone(congestion, link).run(Duration::from_secs_f64(seconds))
}

/// Of a link of so many megabits, the part that one sender filled from one second to another, loss taken off.
fn filled(link: &Link, figures: &Figures, from: f64, to: f64) -> f64 {
    figures.goodput(0, from, to) / payload_limit(link)
}

#[test]
fn a_link_that_loses_nothing_is_full() {
    let link = link(50.0, 20.0, 50.0);
    let figures = alone(Algorithm::Ebb, link.clone(), 5.0);
    let filled = filled(&link, &figures, 1.0, 5.0);
    assert!(filled >= 0.97, "{filled}");
    assert!(figures.overhead() < 1.03, "{}", figures.overhead());
}

#[test]
fn a_packet_in_a_hundred_lost_by_chance_is_no_reason_to_be_slower() {
    let link = link(50.0, 50.0, 50.0).losing(0.01);
    let figures = alone(Algorithm::Ebb, link.clone(), 6.0);
    let filled = filled(&link, &figures, 2.0, 6.0);
    assert!(filled >= 0.95 && figures.overhead() <= 1.1 * 1.01, "{filled}, {}", figures.overhead());
}

#[test]
fn nor_is_one_in_twenty_over_a_long_way() {
    let link = link(20.0, 200.0, 200.0).losing(0.05);
    let figures = alone(Algorithm::Ebb, link.clone(), 12.0);
    let filled = filled(&link, &figures, 4.0, 12.0);
    assert!(filled >= 0.93 && figures.overhead() <= 1.1 * 1.05, "{filled}, {}", figures.overhead());
}

#[test]
fn nor_one_in_ten_on_a_link_that_shakes_and_shuffles() {
    let link = Link {
        jitter: Duration::from_millis(5),
        reordering: netem::Reordering { probability: 0.05, hold: Duration::from_millis(5) },
        ..link(50.0, 30.0, 50.0).losing(0.1)
    };
    let figures = alone(Algorithm::Ebb, link.clone(), 9.0);
    let filled = filled(&link, &figures, 3.0, 9.0);
    assert!(filled >= 0.9 && figures.overhead() <= 1.1 * 1.1, "{filled}, {}", figures.overhead());
}

#[test]
fn what_a_small_queue_drops_is_no_chance_and_is_not_sent_at_again() {
    // Two milliseconds of queue: what is lost there is our own doing, and the delay never says so.
    let link = link(50.0, 20.0, 2.0);
    let figures = alone(Algorithm::Ebb, link.clone(), 6.0);
    let filled = filled(&link, &figures, 2.0, 6.0);
    assert!(filled >= 0.93 && figures.overhead() <= 1.12, "{filled}, {}", figures.overhead());
}

#[test]
fn a_long_link_is_full_within_a_few_round_trips() {
    // Tripling takes seven round trips from ten packets to 150 ms of 100 Mbit/s, and the handshake one.
    let link = link(100.0, 150.0, 150.0);
    let figures = alone(Algorithm::Ebb, link.clone(), 5.0);
    let whole = filled(&link, &figures, 0.0, 5.0);
    assert!(whole >= 0.7, "{whole}");
    let after = filled(&link, &figures, 2.5, 5.0);
    assert!(after >= 0.95, "{after}");
}

#[test]
fn a_second_of_queue_stays_empty_behind_a_full_link() {
    let link = link(20.0, 40.0, 1000.0);
    let figures = alone(Algorithm::Ebb, link.clone(), 10.0);
    let (filled, median, high) =
        (filled(&link, &figures, 3.0, 10.0), figures.delay(0.5, 3.0), figures.delay(0.95, 3.0));
    assert!(filled >= 0.97 && median <= 5.0 && high <= 15.0, "{filled}, {median} ms, {high} ms");
}

#[test]
fn and_cubic_fills_it() {
    // So that the ping is seen to feel what there is.
    let figures = alone(Algorithm::Cubic, link(20.0, 40.0, 1000.0), 10.0);
    assert!(figures.delay(0.5, 3.0) > 100.0, "{} ms", figures.delay(0.5, 3.0));
}

#[test]
fn a_second_after_the_link_is_itself_again_it_is_full() {
    let home = link(50.0, 40.0, 100.0);
    let slow = link(1.0, 40.0, 100.0);
    let far = Link { delay: home.delay + Duration::from_millis(500), ..home.clone() };
    for (what, change) in [("slow", slow), ("far", far)] {
        let mut plan = Plan::alone(Algorithm::Ebb, home.clone());
        plan.changes = vec![(Duration::from_secs(3), change), (Duration::from_secs(8), home.clone())];
        let figures = plan.run(Duration::from_secs(11));
        let filled = filled(&home, &figures, 9.0, 11.0);
        assert!(filled >= 0.9, "{what}: {filled}");
    }
}

#[test]
fn half_a_second_without_any_packet_is_made_up_for_within_a_second() {
    let link = Link { blackouts: vec![Duration::from_secs(3)..Duration::from_millis(3500)], ..link(50.0, 40.0, 100.0) };
    let figures = alone(Algorithm::Ebb, link.clone(), 6.5);
    let filled = filled(&link, &figures, 4.5, 6.5);
    assert!(filled >= 0.9, "{filled}");
}

#[test]
fn beside_cubic_each_gets_at_least_a_third_whoever_is_first() {
    for queue in [20.0, 40.0, 80.0] {
        for (first, second) in [(Algorithm::Ebb, Algorithm::Cubic), (Algorithm::Cubic, Algorithm::Ebb)] {
            let figures = Plan::beside(first, second, link(10.0, 20.0, queue)).run(Duration::from_secs(40));
            let jain = figures.jain(15.0, 40.0);
            assert!(jain >= 0.9, "{first:?} first, {queue} ms of queue: {jain}");
        }
    }
}

#[test]
fn two_share_alike_and_leave_the_queue_short() {
    let figures = Plan::beside(Algorithm::Ebb, Algorithm::Ebb, link(20.0, 40.0, 160.0)).run(Duration::from_secs(40));
    let (jain, median) = (figures.jain(15.0, 40.0), figures.delay(0.5, 15.0));
    assert!(jain >= 0.93 && median <= 30.0, "{jain}, {median} ms");
}
