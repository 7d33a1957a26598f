//! Stories about what was sent and what became of it.

use super::*;
use crate::mrt::recovery::report::LossReport;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + ms(millis)
}

fn data(sent_at: Instant) -> SentPacket<u64> {
    SentPacket { sent_at, bytes: 1000, ack_eliciting: true, in_flight: true, mtu_probe: false, content: 0 }
}

fn ack_only(sent_at: Instant) -> SentPacket<u64> {
    SentPacket { bytes: 40, ack_eliciting: false, in_flight: false, ..data(sent_at) }
}

/// A ledger beside its round-trip time, with the two calls every ACK leads to.
#[derive(Default)]
struct Path {
    ledger: Ledger<u64>,
    rtt: Rtt,
}

impl Path {
    /// Sends the packets `numbers`, one a millisecond from `start` on.
    fn send(&mut self, numbers: core::ops::Range<u64>, start: u64) {
        for (n, number) in (0..).zip(numbers) {
            self.ledger.on_sent(number, SentPacket { content: number * 10, ..data(at(start + n)) });
        }
    }

    fn ack(&mut self, now: u64, ranges: &[RangeInclusive<u64>]) -> (AckReport, Vec<u64>) {
        let mut acked = Vec::new();
        let report =
            self.ledger.on_ack(at(now), ranges.iter().cloned(), Duration::ZERO, &mut self.rtt, |number, content| {
                assert_eq!(content, number * 10);
                acked.push(number);
            });
        (report, acked)
    }

    fn lost(&mut self, now: u64) -> (LossReport, Vec<u64>) {
        let mut lost = Vec::new();
        let report = self.ledger.detect_lost(at(now), &self.rtt, |number, _| lost.push(number));
        (report, lost)
    }
}

#[test]
fn an_ack_settles_what_it_covers_and_measures_the_round_trip() {
    let mut path = Path::default();
    path.send(0..5, 0);
    assert_eq!(path.ledger.bytes_in_flight(), 5000);
    let (report, acked) = path.ack(42, &[2..=2, 0..=0]);
    assert_eq!(acked, [2, 0]);
    assert_eq!((report.newly_acked, report.newly_acked_bytes, report.in_flight_before), (2, 2000, 5000));
    assert_eq!(report.largest_newly_acked, Some((2, at(2))));
    assert_eq!(report.rtt_sample, Some(ms(40)));
    assert_eq!(path.rtt.smoothed(), ms(40));
    assert_eq!(path.ledger.bytes_in_flight(), 3000);
    assert_eq!(path.ledger.largest_acked(), Some(2));
    // The same ACK again: nothing is new.
    let (report, acked) = path.ack(50, &[2..=2, 0..=0]);
    assert!(acked.is_empty() && report.rtt_sample.is_none() && report.newly_acked == 0 && !report.round_start);
}

#[test]
fn numbers_that_took_another_path_settle_nothing_here_and_give_no_round_trip() {
    let mut path = Path::default();
    path.send(0..5, 0);
    path.send(100..105, 10);
    let (report, acked) = path.ack(50, &[0..=1000]);
    assert_eq!(acked, [104, 103, 102, 101, 100, 4, 3, 2, 1, 0]);
    assert_eq!(report.rtt_sample, None, "the delay that the ACK tells is that of a packet on another path");
}

#[test]
fn what_is_given_up_is_lost_at_once_and_known_again_if_it_arrives_after_all() {
    let mut path = Path::default();
    path.send(0..10, 0);
    path.ack(40, &[0..=3]);
    let mut lost = Vec::new();
    let report = path.ledger.declare_all_lost(at(41), &path.rtt, |number, _| lost.push(number));
    assert_eq!(lost, [4, 5, 6, 7, 8, 9]);
    assert_eq!((report.lost_packets, path.ledger.bytes_in_flight()), (6, 0));
    assert!(!path.ledger.has_ack_eliciting_in_flight() && path.ledger.loss_deadline().is_none());
    let (report, acked) = path.ack(60, &[0..=9]);
    assert_eq!(acked, [9, 8, 7, 6, 5, 4]);
    assert_eq!((report.spurious, report.losses_all_spurious), (6, true));
}

#[test]
fn ranges_that_overlap_or_rise_or_are_empty_settle_nothing_twice() {
    let mut path = Path::default();
    path.send(0..10, 0);
    #[expect(clippy::reversed_empty_ranges, reason = "a hostile ACK")]
    let (_, acked) = path.ack(50, &[5..=9, 3..=7, 9..=9, 8..=2, 4..=4]);
    assert_eq!(acked, [9, 8, 7, 6, 5, 4, 3]);
    assert_eq!(path.ledger.bytes_in_flight(), 3000);
}

#[test]
fn numbers_may_be_skipped_by_any_distance_without_cost() {
    let mut path = Path::default();
    path.send(0..1, 0);
    path.send(1_000_000..1_000_001, 1);
    path.send(u64::MAX / 20..u64::MAX / 20 + 1, 2);
    assert_eq!(path.ledger.len(), 3);
    let (_, acked) = path.ack(50, &[0..=u64::MAX / 20]);
    assert_eq!(acked, [u64::MAX / 20, 1_000_000, 0]);
}

#[test]
fn a_wide_range_that_repeats_is_stepped_over_and_not_walked() {
    let mut path = Path::default();
    path.send(0..10_000, 0);
    path.ack(10_050, &[1..=5000]);
    path.ack(10_051, &[1..=9999]);
    // Packet 0 is out, so all are still there; the topmost one says how far it is settled below.
    let State::Settled { acked: true, run } = path.ledger.entries[9999].state else { panic!("settled") };
    assert_eq!(run, 9999);
}

#[test]
fn three_later_packets_make_one_lost() {
    let mut path = Path::default();
    path.send(0..5, 0);
    path.ack(41, &[2..=2]);
    assert_eq!(path.lost(41).1, [0u64; 0]);
    path.ack(43, &[2..=3]);
    let (report, lost) = path.lost(43);
    assert_eq!(lost, [0]);
    assert_eq!((report.lost_packets, report.lost_bytes), (1, 1000));
    assert_eq!((report.newest_lost_sent_at, report.oldest_lost_sent_at), (Some(at(0)), Some(at(0))));
    assert_eq!((report.largest_size_lost, report.persistent_congestion), (Some(1000), false));
    assert_eq!(path.ledger.bytes_in_flight(), 2000);
}

#[test]
fn time_makes_one_lost_that_a_later_one_overtook() {
    let mut path = Path::default();
    path.send(0..2, 0);
    path.ack(81, &[1..=1]);
    assert_eq!(path.lost(81).1, [0u64; 0]);
    // 9/8 of 80 ms after it was sent
    assert_eq!(path.ledger.loss_deadline(), Some(at(90)));
    assert_eq!(path.lost(89).1, [0u64; 0]);
    assert_eq!(path.lost(90).1, [0]);
    assert_eq!(path.ledger.loss_deadline(), None);
}

#[test]
fn nothing_is_lost_before_something_later_arrived() {
    let mut path = Path::default();
    path.send(0..100, 0);
    assert_eq!(path.lost(1_000_000).1, [0u64; 0]);
    path.ack(1_000_000, &[0..=0]);
    assert_eq!(path.lost(2_000_000).1, [0u64; 0]);
    assert_eq!(path.ledger.oldest_unacked(2).map(|(number, _)| number).collect::<Vec<_>>(), [1, 2]);
    assert!(path.ledger.has_ack_eliciting_in_flight());
    assert_eq!(path.ledger.last_ack_eliciting_sent_at(), Some(at(99)));
}

#[test]
fn a_loss_that_was_none_is_reported_and_teaches_patience() {
    let mut path = Path::default();
    path.send(0..6, 0);
    path.ack(45, &[5..=5, 2..=3]);
    assert_eq!(path.lost(45).1, [0, 1]);
    let (report, acked) = path.ack(46, &[0..=0]);
    assert_eq!((report.spurious, acked), (1, vec![0]));
    assert!(!report.losses_all_spurious, "one is still missing");
    let (report, _) = path.ack(47, &[0..=5]);
    assert_eq!(report.spurious, 1);
    assert!(report.losses_all_spurious);
    assert_eq!(path.ledger.bytes_in_flight(), 0);
    // Reordering over five places was seen, so six are waited for.
    path.send(6..20, 100);
    path.ack(145, &[11..=11]);
    assert_eq!(path.lost(106).1, [0u64; 0]);
    path.ack(146, &[12..=12]);
    assert_eq!(path.lost(107).1, [6]);
}

#[test]
fn a_lost_packet_is_remembered_for_one_probe_timeout() {
    let mut path = Path::default();
    path.send(0..4, 0);
    path.ack(43, &[1..=3]);
    assert_eq!(path.lost(43).1, [0]);
    assert_eq!(path.ledger.len(), 4);
    // 40 + 4 · 20 + 25 ms later
    path.lost(43 + 144);
    assert_eq!(path.ledger.len(), 4);
    path.lost(43 + 145);
    assert!(path.ledger.is_empty());
    assert_eq!(path.ack(200, &[0..=3]).0.newly_acked, 0);
}

#[test]
fn no_more_lost_packets_are_kept_than_the_cap_says() {
    let mut path = Path::default();
    let many = MAX_LOST as u64 + 1000;
    for number in 0..=many {
        path.ledger.on_sent(number, SentPacket { content: number * 10, ..data(at(0)) });
    }
    path.ack(40, &[many..=many]);
    assert_eq!(path.lost(50).1.len() as u64, many);
    assert_eq!(path.ledger.len(), MAX_LOST + 1);
}

#[test]
fn a_peer_that_never_acknowledges_acks_cannot_make_us_keep_them() {
    let mut path = Path::default();
    for number in 0..10_000 {
        path.ledger.on_sent(number, ack_only(at(number)));
    }
    assert_eq!(path.ledger.len(), MAX_ACK_ONLY);
    assert_eq!(path.ledger.bytes_in_flight(), 0);
    assert!(!path.ledger.has_ack_eliciting_in_flight());
    // What was not kept was sent all the same.
    let mut acked = 0;
    let report =
        path.ledger.on_ack(at(10_000), [0..=9999].into_iter(), Duration::ZERO, &mut path.rtt, |_, _| acked += 1);
    assert_eq!((acked, report.rtt_sample, report.ack_eliciting_acked), (MAX_ACK_ONLY, None, false));
    assert!(path.ledger.is_empty());
}

#[test]
fn a_lost_ack_packet_is_no_loss() {
    let mut path = Path::default();
    path.ledger.on_sent(0, ack_only(at(0)));
    path.send(1..5, 1);
    path.ack(44, &[1..=4]);
    let (report, lost) = path.lost(44);
    assert_eq!((report, lost), (LossReport::default(), vec![]));
    assert!(path.ledger.is_empty());
}

#[test]
fn an_mtu_probe_that_is_lost_says_nothing_about_congestion() {
    let mut path = Path::default();
    path.ledger.on_sent(0, SentPacket { bytes: 1472, mtu_probe: true, ..data(at(0)) });
    path.send(1..5, 1);
    assert_eq!(path.ledger.oldest_unacked(1).next().map(|(number, _)| number), Some(1));
    path.ack(44, &[1..=4]);
    let (report, lost) = path.lost(44);
    assert_eq!(lost, [0]);
    assert_eq!(report, LossReport { mtu_probe_lost: Some(1472), ..LossReport::default() });
    assert_eq!(path.ledger.bytes_in_flight(), 0);
    // If it arrives late, its size works.
    let (report, _) = path.ack(50, &[0..=4]);
    assert_eq!((report.mtu_probe_acked, report.spurious), (Some(1472), 0));
}

#[test]
fn three_probe_timeouts_of_silence_are_persistent_congestion() {
    // After two samples of 40 ms the timeout is 40 + 4 · 15 + 25 = 125 ms; three are 375.
    for (last, persistent) in [(475, false), (476, true)] {
        let mut path = Path::default();
        path.send(0..1, 0);
        path.ack(40, &[0..=0]);
        path.send(1..2, 100);
        path.send(2..3, 300);
        path.send(3..4, last);
        path.send(4..8, 1000);
        path.ack(1043, &[4..=7]);
        let (report, lost) = path.lost(1043);
        assert_eq!(lost, [1, 2, 3]);
        assert_eq!(report.persistent_congestion, persistent, "{last}");
    }
}

#[test]
fn one_packet_that_got_through_breaks_the_silence() {
    let mut path = Path::default();
    path.send(0..1, 0);
    path.ack(40, &[0..=0]);
    path.send(1..2, 100);
    path.send(2..3, 300);
    path.send(3..4, 700);
    path.send(4..8, 1000);
    path.ack(1043, &[4..=7, 2..=2]);
    let (report, lost) = path.lost(1043);
    assert_eq!((lost, report.persistent_congestion), (vec![1, 3], false));
}

#[test]
fn silence_before_the_first_sample_is_not_judged() {
    let mut path = Path::default();
    path.send(0..1, 0);
    path.send(1..2, 5000);
    path.send(2..6, 6000);
    path.ack(6043, &[2..=5]);
    assert!(!path.lost(6043).0.persistent_congestion);
}

#[test]
fn the_delivery_rate_is_what_the_path_delivers() {
    // One packet of 1000 bytes a millisecond, 40 ms there and back: 1 MB/s.
    let mut path = Path::default();
    let mut last = None;
    for millis in 0..200 {
        if let Some(number) = u64::checked_sub(millis, 40) {
            last = path.ack(millis, &[0..=number]).0.rate.or(last);
        }
        path.send(millis..millis + 1, millis);
    }
    let rate = last.expect("a sample");
    assert_eq!((rate.bytes_per_second(), rate.app_limited, rate.lost), (1_000_000, false, 0));
    assert_eq!(rate.delivered, 40_000);
}

#[test]
fn a_sample_says_when_only_the_application_was_slow() {
    let mut path = Path::default();
    path.send(0..2, 0);
    path.ledger.on_app_limited();
    path.send(2..4, 10);
    assert!(!path.ack(41, &[0..=1]).0.app_limited, "these left before");
    assert!(path.ack(51, &[0..=3]).0.app_limited);
    path.send(4..5, 60);
    assert!(!path.ack(100, &[0..=4]).0.app_limited, "what was out then has arrived");
}

#[test]
fn a_round_is_counted_when_a_packet_of_it_comes_back() {
    let mut path = Path::default();
    path.send(0..4, 0);
    let starts: Vec<_> = (0..4).map(|n| path.ack(40 + n, &[0..=n]).0.round_start).collect();
    assert_eq!(starts, [true, false, false, false]);
    path.send(4..8, 50);
    let (report, _) = path.ack(90, &[0..=4]);
    assert_eq!((report.round_start, report.round), (true, 2));
}

#[test]
fn when_the_path_goes_everything_outstanding_is_handed_back() {
    let mut path = Path::default();
    path.send(0..6, 0);
    path.ack(44, &[4..=4]);
    path.lost(44);
    let mut back = Vec::new();
    path.ledger.discard_all(|number, _| back.push(number));
    // 0 and 1 were reported lost before.
    assert_eq!(back, [2, 3, 5]);
    assert!(path.ledger.is_empty() && path.ledger.bytes_in_flight() == 0);
    assert_eq!(path.ack(60, &[0..=5]).0.newly_acked, 0);
}

/// One step of a random walk.
#[derive(Clone, Debug)]
enum Step {
    Send {
        gap: u64,
        kind: u8,
    },
    Wait(u64),
    /// Ranges as (distance below the last end, width).
    Ack(Vec<(u64, u64)>),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u64..3, 0u8..8).prop_map(|(gap, kind)| Step::Send { gap, kind }),
        2 => (0u64..80).prop_map(Step::Wait),
        3 => proptest::collection::vec((0u64..6, 0u64..6), 1..4).prop_map(Step::Ack),
        2 => Just(Step::Look),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Out,
    Lost,
    Acked,
}

proptest! {
    /// The model is a map from number to fate; it keeps everything for ever and does nothing cleverly.
    #[test]
    fn it_agrees_with_a_plain_map(steps in proptest::collection::vec(step(), 1..300)) {
        let (mut ledger, mut rtt) = (Ledger::new(), Rtt::default());
        let mut model: BTreeMap<u64, (Fate, SentPacket<u64>)> = BTreeMap::new();
        let (mut now, mut next) = (0, 0);
        for step in steps {
            match step {
                Step::Send { gap, kind } => {
                    let number = next + gap;
                    next = number + 1;
                    let packet = match kind {
                        0 => ack_only(at(now)),
                        1 => SentPacket { bytes: 1400, mtu_probe: true, ..data(at(now)) },
                        _ => data(at(now)),
                    };
                    let packet = SentPacket { content: number * 10, ..packet };
                    ledger.on_sent(number, packet.clone());
                    model.insert(number, (Fate::Out, packet));
                }
                Step::Wait(millis) => now += millis,
                Step::Ack(shape) => {
                    let mut end = next;
                    let mut ranges = Vec::new();
                    for (below, width) in shape {
                        let Some(top) = end.checked_sub(below + 1) else { break };
                        let start = top.saturating_sub(width);
                        ranges.push(start..=top);
                        end = start;
                    }
                    let mut acked = Vec::new();
                    let report = ledger
                        .on_ack(at(now), ranges.iter().cloned(), Duration::ZERO, &mut rtt, |number, content| {
                            acked.push((number, content));
                        });
                    prop_assert_eq!(report.newly_acked, acked.len());
                    for (number, content) in &acked {
                        prop_assert_eq!(*content, number * 10);
                        prop_assert!(ranges.iter().any(|range| range.contains(number)));
                        let (fate, _) = model[number];
                        prop_assert_ne!(fate, Fate::Acked, "acknowledged twice");
                    }
                    for range in &ranges {
                        for (number, (fate, packet)) in model.range_mut(range.clone()) {
                            let told = acked.iter().any(|(acked, _)| acked == number);
                            // A lost one may have been forgotten, and one with nothing but ACKs; no other is.
                            prop_assert!(told || *fate != Fate::Out || !packet.in_flight);
                            if told {
                                *fate = Fate::Acked;
                            }
                        }
                    }
                }
                Step::Look => {
                    let mut lost = Vec::new();
                    let report = ledger.detect_lost(at(now), &rtt, |number, _| lost.push(number));
                    let largest = ledger.largest_acked();
                    for number in &lost {
                        prop_assert!(Some(*number) < largest);
                        prop_assert_eq!(model[number].0, Fate::Out);
                        model.entry(*number).and_modify(|(fate, _)| *fate = Fate::Lost);
                    }
                    let counted = lost.iter().filter(|number| !model[number].1.mtu_probe).count();
                    prop_assert_eq!(report.lost_packets, counted);
                    // Whatever asked for an ACK and was overtaken is lost, or a time is set at which it will be.
                    if let Some(largest) = largest {
                        let waiting = model.range(..largest)
                            .find(|(_, (fate, packet))| *fate == Fate::Out && packet.in_flight);
                        if let Some((number, _)) = waiting {
                            prop_assert!(largest - number < super::super::loss::MAX_PACKET_THRESHOLD);
                            prop_assert!(ledger.loss_deadline().is_some_and(|deadline| deadline > at(now)));
                        }
                    }
                }
            }
            let out = model.values().filter(|(fate, packet)| *fate == Fate::Out && packet.in_flight);
            prop_assert_eq!(ledger.bytes_in_flight(), out.clone().map(|(_, packet)| u64::from(packet.bytes)).sum::<u64>());
            prop_assert_eq!(ledger.has_ack_eliciting_in_flight(), out.count() > 0);
            let oldest = model.iter()
                .find(|(_, (fate, packet))| *fate == Fate::Out && packet.ack_eliciting && !packet.mtu_probe)
                .map(|(number, _)| *number);
            prop_assert_eq!(ledger.oldest_unacked(1).next().map(|(number, _)| number), oldest);
        }
    }
}
