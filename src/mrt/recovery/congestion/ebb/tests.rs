//! What the controller answers to single facts. How it treats whole links, and shares them, is told by `tests/link`.

use super::phase::Phase;
use super::*;
use crate::mrt::recovery::congestion::{AckSample, CongestionEvent, Controller};
use crate::mrt::recovery::rate::RateSample;
use crate::mrt::recovery::rtt::Rtt;
use crate::time::{Duration, Instant};

const MTU: u16 = 1000;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn path(ms: u64) -> Rtt {
    Rtt::new(Duration::from_millis(ms))
}

/// A packet that left `rtt` before `now` arrives, as one of a steady stream of `rate` bytes a second.
fn sample<'a>(now: Instant, rtt: &'a Rtt, rate: u64, in_flight: u64, round: u64, round_start: bool) -> AckSample<'a> {
    let interval = rtt.smoothed();
    let delivered = rate * interval.as_millis() as u64 / 1000;
    AckSample {
        now,
        acked_bytes: u64::from(MTU),
        newest_sent_at: now - interval,
        rtt_sample: Some(interval),
        rtt,
        in_flight_before: in_flight,
        in_flight: in_flight.saturating_sub(u64::from(MTU)),
        app_limited: false,
        rate: Some(RateSample {
            delivered,
            interval,
            in_flight_at_send: in_flight,
            lost: 0,
            prior_delivered: 0,
            app_limited: false,
        }),
        round_start,
        round,
    }
}

/// Cruising at 1 MB/s on a path of 100 ms, round 50 at 10 s.
fn cruising() -> Ebb {
    let mut ebb = Ebb::new(MTU);
    ebb.model.on_ack(at(10_000), false, Some(Duration::from_millis(100)), None);
    ebb.model.set_rate(1_000_000.0);
    ebb.move_to_cruise(at(10_000));
    ebb
}

fn event(now: u64, sent_at: u64) -> CongestionEvent {
    CongestionEvent { now: at(now), sent_at: at(sent_at), lost_bytes: 1000, persistent: false, ecn: false }
}

#[test]
fn startup_triples_in_a_round_trip() {
    let (mut ebb, rtt) = (Ebb::new(MTU), path(50));
    assert_eq!(ebb.window(), 10_000);
    let mut windows = Vec::new();
    for round in 1..4 {
        for packet in 0..ebb.window() / u64::from(MTU) {
            ebb.on_ack(&sample(at(50 * round), &rtt, 100_000, ebb.window(), round, packet == 0));
        }
        windows.push(ebb.window());
    }
    assert_eq!(windows, [30_000, 90_000, 270_000]);
    assert_eq!(ebb.pacing_rate(&rtt), 2 * 270_000 * 20);
}

#[test]
fn eight_packets_in_a_row_that_took_too_long_end_startup() {
    let (mut ebb, quick, slow) = (Ebb::new(MTU), path(50), path(60));
    ebb.on_ack(&sample(at(50), &quick, 100_000, 10_000, 1, true));
    for packet in 0..8 {
        assert!(matches!(ebb.phase, Phase::Startup(_)), "{packet}");
        ebb.on_ack(&sample(at(60), &slow, 100_000, 10_000, 1, false));
    }
    assert!(matches!(ebb.phase, Phase::Settle(state) if state.by_delay));
}

#[test]
fn a_loss_by_chance_changes_nothing_and_a_round_trip_full_of_them_drains() {
    let rtt = path(100);
    for (lost, drains) in [(2, false), (20, true)] {
        let mut ebb = cruising();
        ebb.on_ack(&sample(at(10_000), &rtt, 1_000_000, 100_000, 50, true));
        for _ in 0..lost {
            ebb.on_congestion(&event(10_050, 9_950));
        }
        for packet in 0..100 {
            ebb.on_ack(&sample(at(10_100), &rtt, 1_000_000, 100_000, 51, packet == 99));
        }
        assert_eq!(matches!(ebb.phase, Phase::Drain(_)), drains, "{lost} of 100");
    }
}

#[test]
fn a_mark_takes_fifteen_in_a_hundred_once_a_round_trip() {
    let mut ebb = cruising();
    let mark = |now, sent_at| CongestionEvent { ecn: true, lost_bytes: 0, ..event(now, sent_at) };
    ebb.on_congestion(&mark(10_100, 10_000));
    assert!((ebb.model.rate - 850_000.0).abs() < 1.0);
    assert!(matches!(ebb.phase, Phase::Drain(_)));
    ebb.on_congestion(&mark(10_150, 10_050));
    assert!((ebb.model.rate - 850_000.0).abs() < 1.0, "sent before it was answered");
    ebb.on_congestion(&mark(10_250, 10_150));
    assert!((ebb.model.rate - 722_500.0).abs() < 1.0);
}

#[test]
fn a_long_silence_starts_again_from_four_packets() {
    let mut ebb = cruising();
    ebb.on_congestion(&CongestionEvent { persistent: true, ..event(15_000, 14_000) });
    assert!(matches!(ebb.phase, Phase::Startup(_)));
    assert_eq!(ebb.window(), 4000);
}

#[test]
fn after_ten_seconds_of_nothing_to_send_it_starts_with_half_of_what_it_knew() {
    let mut ebb = cruising();
    let before = ebb.model.pipe();
    ebb.on_sent(at(10_000), 1000, 1000);
    ebb.on_sent(at(19_000), 1000, 1000);
    assert!(matches!(ebb.phase, Phase::Cruise { .. }));
    ebb.on_sent(at(30_000), 1000, 1000);
    assert!(matches!(ebb.phase, Phase::Startup(_)));
    assert_eq!(ebb.window(), (before / 2.0) as u64);
}

#[test]
fn there_is_always_room_for_four_packets_of_any_size() {
    let mut ebb = cruising();
    ebb.model.set_rate(0.0);
    assert_eq!(ebb.window(), 4000);
    ebb.on_mtu(1472);
    assert_eq!(ebb.window(), 4 * 1472);
    assert!(ebb.pacing_rate(&path(100)) > 0);
    ebb.on_mtu(0);
    assert!(ebb.window() >= 4);
}

#[test]
fn beside_a_rival_it_is_cubic() {
    let (mut ebb, rtt) = (cruising(), path(200));
    ebb.full = 3;
    let sample = sample(at(10_000), &rtt, 1_000_000, 100_000, 50, true);
    ebb.on_ack(&sample);
    ebb.move_to_compete(&sample, 1_000_000.0, false);
    // With seven tenths of what the path carries, at the delay that there is.
    assert_eq!(ebb.window(), 140_000);
    ebb.on_congestion(&event(10_100, 10_050));
    assert_eq!(ebb.window(), 98_000);
}

#[test]
fn whatever_it_is_told_it_stays_within_bounds() {
    let durations = [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(50), Duration::MAX];
    let numbers = [0, 1, 1000, 1 << 40, u64::MAX];
    let times = [Instant::ZERO, at(1), at(100_000), Instant::FAR_FUTURE];
    let mut state: u64 = 88_172_645_463_325_252;
    let mut draw = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for run in 0..200 {
        let mut ebb = Ebb::new([0, 1, 1200, u16::MAX][run % 4]);
        for step in 0..500 {
            let rtt = path(draw(300) as u64);
            let now = if draw(4) == 0 { times[draw(4)] } else { at(20 * step) };
            let rate = RateSample {
                delivered: numbers[draw(5)],
                interval: durations[draw(4)],
                in_flight_at_send: numbers[draw(5)],
                lost: numbers[draw(5)],
                prior_delivered: numbers[draw(5)],
                app_limited: draw(2) == 0,
            };
            match draw(8) {
                0 => ebb.on_congestion(&CongestionEvent {
                    now,
                    sent_at: times[draw(4)],
                    lost_bytes: numbers[draw(5)],
                    persistent: draw(20) == 0,
                    ecn: draw(4) == 0,
                }),
                1 => ebb.on_sent(now, numbers[draw(5)], numbers[draw(5)]),
                2 => ebb.on_spurious_loss(now),
                3 if draw(10) == 0 => ebb.on_mtu([0, 508, 1472, u16::MAX][draw(4)]),
                _ => ebb.on_ack(&AckSample {
                    now,
                    acked_bytes: numbers[draw(5)],
                    newest_sent_at: if draw(2) == 0 { now } else { times[draw(4)] },
                    rtt_sample: (draw(4) > 0).then(|| durations[draw(4)]),
                    rtt: &rtt,
                    in_flight_before: numbers[draw(5)],
                    in_flight: numbers[draw(5)],
                    app_limited: draw(4) == 0,
                    rate: (draw(3) > 0).then_some(rate),
                    round_start: draw(3) == 0,
                    round: if draw(9) == 0 { numbers[draw(5)] } else { step },
                }),
            }
            assert!((1..=1 << 30).contains(&ebb.window()), "{ebb:?}");
            assert!((1..=100_000_000_000).contains(&ebb.pacing_rate(&rtt)) || ebb.phase == Phase::Compete, "{ebb:?}");
            assert!(ebb.model.rate.is_finite() && ebb.model.floor.share() <= 0.3);
        }
    }
}
