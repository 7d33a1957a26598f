//! What links do to packets.

use crate::talker::{address, numbers, talk, times, two};
use core::time::Duration;
use netem::{Ecn, GilbertElliott, Host, Link, Loss, Mask, Network, Packet, Pipe, Profile, Queue, Reordering};
use std::net::SocketAddr;

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_perfect_link_delivers_everything_at_once_and_in_order() {
    let mut network = two(1, Link::default());
    talk(&mut network, 100, 50, MS);
    assert!(numbers(&network).into_iter().eq(0..100));
    assert!(times(&network).into_iter().eq((0..100).map(|number| number * MS)));
}

#[test]
fn the_rate_is_kept_headers_included() {
    let mut network = two(1, Link { rate: Some(8_000_000), delay: 10 * MS, ..Link::default() });
    talk(&mut network, 1000, 972, Duration::ZERO);
    // 972 bytes and 28 of headers are a kilobyte, a megabyte a second passes: one packet a millisecond.
    assert!(times(&network).into_iter().eq((1..=1000).map(|number| number * MS + 10 * MS)));
}

#[test]
fn a_queue_drops_its_tail_and_keeps_its_head() {
    let mut network = two(1, Link { rate: Some(8_000_000), queue: Queue::Packets(9), ..Link::default() });
    talk(&mut network, 20, 972, Duration::ZERO);
    assert!(numbers(&network).into_iter().eq(0..10), "one is sent, nine wait, the rest is too much");
    assert_eq!(network.counters(address(1), address(2)).dropped.queue, 10);
}

#[test]
fn a_queue_in_bytes_has_room_for_a_small_packet_where_a_large_one_does_not_fit() {
    let mut network = two(1, Link { rate: Some(8_000), queue: Queue::Bytes(1500), ..Link::default() });
    for size in [972, 972, 972, 300] {
        let packet = netem::Packet::new(address(1), address(2), vec![0; size]);
        network.host_mut(address(1)).unwrap().to_say.push_back(packet);
    }
    network.run_for(Duration::from_secs(60));
    let sizes: Vec<usize> = network.host(address(2)).unwrap().heard.iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(sizes, [972, 972, 300]);
}

#[test]
fn a_buffer_of_a_second_delays_by_a_second() {
    let mut network = two(1, Profile::Dsl.up());
    talk(&mut network, 1000, 1400, Duration::ZERO);
    let last = *times(&network).last().unwrap();
    assert!(last > Duration::from_millis(990) && last < Duration::from_millis(1040), "{last:?}");
    assert!(network.total().dropped.queue > 800);
}

#[test]
fn the_loss_rate_is_what_was_asked_for() {
    for (percent, seed) in [(1, 1), (10, 2), (30, 3)] {
        let probability = f64::from(percent) / 100.0;
        let mut network = two(seed, Link::default().losing(probability));
        talk(&mut network, 20_000, 20, Duration::ZERO);
        let lost = network.counters(address(1), address(2)).dropped.loss as f64 / 20_000.0;
        // Four standard deviations of a binomial distribution.
        let tolerance = 4.0 * (probability * (1.0 - probability) / 20_000.0).sqrt();
        assert!((lost - probability).abs() < tolerance, "{lost} instead of {probability}");
        assert_eq!(numbers(&network).len() as u64, network.counters(address(1), address(2)).delivered);
    }
}

#[test]
fn what_is_lost_took_its_time_to_be_sent() {
    let mut network = two(1, Link { rate: Some(8_000_000), loss: Loss::Independent(0.5), ..Link::default() });
    talk(&mut network, 1000, 972, Duration::ZERO);
    assert!(times(&network).iter().zip(numbers(&network)).all(|(at, number)| *at == (number + 1) * MS));
}

#[test]
fn jitter_changes_the_times_and_not_the_order() {
    let mut network = two(1, Link { delay: 20 * MS, jitter: 30 * MS, ..Link::default() });
    talk(&mut network, 1000, 20, MS);
    assert!(numbers(&network).into_iter().eq(0..1000));
    let delays: Vec<Duration> = times(&network).iter().zip(0..).map(|(at, number)| *at - number * MS).collect();
    assert!(delays.iter().all(|delay| (20 * MS..=50 * MS).contains(delay)));
    assert!(delays.iter().max().unwrap().saturating_sub(*delays.iter().min().unwrap()) > 10 * MS);
}

#[test]
fn a_packet_that_is_held_back_is_overtaken_by_those_that_follow_in_time() {
    let reordering = Reordering { probability: 0.1, hold: 5 * MS };
    let mut network = two(1, Link { delay: 10 * MS, reordering, ..Link::default() });
    talk(&mut network, 1000, 20, 2 * MS);
    let heard = numbers(&network);
    let held_back = network.counters(address(1), address(2)).held_back;
    assert!((60..140).contains(&held_back), "{held_back}");
    // In 5 ms two followers pass, unless they are held back themselves; nobody falls back further than that.
    let overtaken = heard.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
    assert!(overtaken > held_back / 2 && overtaken <= held_back);
    let mut sorted = heard.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..1000), "nothing is lost by it");
    assert!(heard.iter().zip(0..).all(|(number, place)| number.abs_diff(place) <= 2));
}

#[test]
fn some_packets_arrive_twice() {
    let mut network = two(1, Link { duplication: 0.2, jitter: 5 * MS, ..Link::default() });
    talk(&mut network, 1000, 20, MS);
    let counters = network.counters(address(1), address(2));
    assert!((130..270).contains(&counters.duplicated));
    assert_eq!(counters.delivered, 1000 + counters.duplicated);
    assert_eq!(numbers(&network).len() as u64, counters.delivered);
}

#[test]
fn damaged_packets_are_delivered_damaged() {
    let mut network = two(1, Link { corruption: 0.3, ..Link::default() });
    talk(&mut network, 1000, 200, MS);
    let corrupted = network.counters(address(1), address(2)).corrupted;
    assert!((220..380).contains(&corrupted));
    let heard = &network.host(address(2)).unwrap().heard;
    assert_eq!(heard.len(), 1000);
    let whole = |number: u32| [number.to_be_bytes().as_slice(), &[0; 196]].concat();
    let different = heard.iter().zip(0..).filter(|((_, bytes), number)| *bytes != whole(*number)).count();
    assert_eq!(different as u64, corrupted);
}

#[test]
fn what_is_larger_than_the_mtu_vanishes() {
    let mut network = two(1, Link { mtu: Some(1500), ..Link::default() });
    talk(&mut network, 1, 1472, MS);
    talk(&mut network, 1, 1473, MS);
    assert_eq!(network.host(address(2)).unwrap().heard.len(), 1);
    assert_eq!(network.counters(address(1), address(2)).dropped.too_large, 1);
}

#[test]
fn nothing_passes_in_a_blackout() {
    let mut network = two(1, Link { blackouts: vec![10 * MS..20 * MS, 30 * MS..31 * MS], ..Link::default() });
    talk(&mut network, 40, 20, MS);
    assert!(numbers(&network).into_iter().eq((0..10).chain(20..30).chain(31..40)));
    assert_eq!(network.counters(address(1), address(2)).dropped.blackout, 11);
}

#[test]
fn every_packet_is_accounted_for_on_every_profile() {
    for profile in Profile::ALL {
        let mut network = two(5, profile.down());
        talk(&mut network, 2000, 1200, Duration::from_micros(300));
        let counters = network.counters(address(1), address(2));
        assert_eq!(counters.sent, 2000);
        assert_eq!(counters.sent + counters.duplicated, counters.delivered + counters.dropped.total(), "{profile:?}");
        assert!(counters.delivered > 0, "{profile:?}");
    }
}

#[test]
fn loss_in_bursts_has_the_share_and_the_length_that_were_asked_for() {
    let lost_runs = |loss| {
        let mut network = two(4, Link { loss, ..Link::default() });
        talk(&mut network, 50_000, 20, Duration::ZERO);
        let arrived = numbers(&network);
        let runs: Vec<u32> = arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|run| *run > 0).collect();
        let lost: u32 = runs.iter().sum();
        (f64::from(lost) / 50_000.0, f64::from(lost) / runs.len() as f64)
    };
    // A fifth of 50,000 in bursts of 20 are some 500 bursts; both numbers scatter by some five per cent of themselves.
    let (share, length) = lost_runs(Loss::bursts(0.2, 20.0));
    assert!((0.16..0.24).contains(&share) && (17.0..23.0).contains(&length), "{share} {length}");
    let (share, length) = lost_runs(Loss::Independent(0.2));
    assert!((0.19..0.21).contains(&share) && length < 1.4, "without bursts it is 1 / (1 - 0.2)");
}

#[test]
fn the_four_numbers_of_gilbert_and_elliott_each_do_something() {
    let lost = |to_bad, to_good, loss_in_good, loss_in_bad| {
        let loss = Loss::Bursts(GilbertElliott { to_bad, to_good, loss_in_good, loss_in_bad });
        let mut network = two(4, Link { loss, ..Link::default() });
        talk(&mut network, 10_000, 20, Duration::ZERO);
        network.total().dropped.loss
    };
    assert_eq!(lost(0.0, 1.0, 0.0, 1.0), 0, "it never turns bad");
    assert_eq!(lost(1.0, 0.0, 0.0, 1.0), 10_000, "it never turns good again");
    assert_eq!(lost(1.0, 1.0, 0.0, 1.0), 5_000, "every second packet");
    assert!((900..1100).contains(&lost(0.0, 1.0, 0.1, 1.0)), "a tenth in the good state");
    assert!((6700..7300).contains(&lost(1.0, 0.0, 0.0, 0.7)), "the bad state loses seven in ten");
}

#[test]
fn a_mask_loses_the_packets_of_these_numbers_once_and_in_one_direction() {
    let mut network = two(1, Link::default());
    network.set_link(address(1), address(2), Link::default().masking(Mask::packets([2, 3, 7])));
    talk(&mut network, 20, 20, MS);
    assert!(numbers(&network).into_iter().eq([0, 1].into_iter().chain(4..7).chain(8..20)));
    assert_eq!(network.counters(address(1), address(2)).dropped.mask, 3);
    for _ in 0..10 {
        let packet = Packet::new(address(2), address(1), vec![0]);
        network.host_mut(address(2)).unwrap().to_say.push_back(packet);
    }
    network.run_for(MS);
    assert_eq!(network.host(address(1)).unwrap().heard.len(), 10);
    assert_eq!(Mask::bits(0b1000_1100), Mask::packets([2, 3, 7]));
}

#[test]
fn a_link_that_is_replaced_begins_to_count_for_its_mask_again() {
    let mut network = two(1, Link::default());
    talk(&mut network, 5, 20, MS);
    network.set_link(address(1), address(2), Link::default().masking(Mask::bits(1)));
    talk(&mut network, 5, 20, MS);
    assert_eq!(numbers(&network), [0, 1, 2, 3, 4, 1, 2, 3, 4]);
}

#[test]
fn a_queue_in_time_holds_what_is_sent_within_it() {
    let mut network = two(1, Link { rate: Some(8_000_000), queue: Queue::Time(5 * MS), ..Link::default() });
    talk(&mut network, 20, 972, Duration::ZERO);
    assert!(numbers(&network).into_iter().eq(0..6), "a packet takes a millisecond: the sixth waits for five");
    assert_eq!(network.counters(address(1), address(2)).dropped.queue, 14);
}

#[test]
fn who_waits_long_is_marked_if_the_sender_takes_part_in_ecn() {
    let marked = |mark_after, ecn| {
        let mut pipe = Pipe::new(Link { rate: Some(8_000_000), mark_after, ..Link::default() }, 1);
        let after = [0; 10].map(|_| {
            let mut packet = Packet { ecn, ..Packet::new(address(1), address(2), vec![0; 972]) };
            pipe.carry(Duration::ZERO, &mut packet).unwrap();
            packet.ecn
        });
        assert_eq!(pipe.counters.marked, after.iter().filter(|after| **after != ecn).count() as u64);
        after.iter().filter(|after| **after == Ecn::Ce).count()
    };
    // The tenth waits nine milliseconds, the fifth four.
    assert_eq!(marked(Some(4 * MS), Ecn::Ect0), 5);
    assert_eq!(marked(Some(4 * MS), Ecn::Ect1), 5);
    assert_eq!(marked(Some(4 * MS), Ecn::NotCapable), 0);
    assert_eq!(marked(None, Ecn::Ect0), 0);
}

#[test]
fn the_mtu_changes_when_it_should() {
    let mtu_changes = vec![(10 * MS, Some(1280)), (20 * MS, Some(576)), (30 * MS, Some(1500)), (40 * MS, None)];
    let mut network = two(1, Link { mtu: Some(1500), mtu_changes, ..Link::default() });
    for _ in 0..50 {
        for size in [548, 1252, 1472, 9000] {
            let packet = Packet::new(address(1), address(2), vec![0; size]);
            network.host_mut(address(1)).unwrap().to_say.push_back(packet);
        }
        network.run_for(MS);
    }
    let heard = &network.host(address(2)).unwrap().heard;
    let largest = |from: u32| {
        let then = heard.iter().filter(|(at, _)| (from * MS..(from + 10) * MS).contains(at));
        then.map(|(_, bytes)| bytes.len()).max().unwrap()
    };
    assert_eq!([0, 10, 20, 30, 40].map(largest), [1472, 1252, 548, 1472, 9000]);
}

#[test]
fn one_way_can_be_bad_while_the_other_is_perfect() {
    let mut network = two(1, Link::default());
    network.set_link(address(1), address(2), Link { mtu: Some(100), delay: 7 * MS, ..Link::default() }.losing(0.5));
    for (from, to) in [(1, 2), (2, 1)] {
        for size in [50, 500] {
            let packets = (0..100).map(|_| Packet::new(address(from), address(to), vec![0; size]));
            network.host_mut(address(from)).unwrap().to_say.extend(packets);
        }
    }
    network.run_for(Duration::from_secs(1));
    let there = network.counters(address(1), address(2)).dropped;
    assert!(there.too_large == 100 && (30..70).contains(&there.loss), "{there:?}");
    assert_eq!(network.counters(address(2), address(1)).delivered, 200);
    assert!(network.host(address(1)).unwrap().heard.iter().all(|(at, _)| *at == Duration::ZERO));
}

/// A host that reads ECN bits.
#[derive(Default)]
struct Reader(Vec<Ecn>, Vec<Packet>);

impl Host for Reader {
    fn handle_datagram(&mut self, _: Duration, _: SocketAddr, _: SocketAddr, _: &mut [u8]) {
        unreachable!("it is given the packet");
    }
    fn handle_packet(&mut self, _: Duration, packet: &mut Packet) {
        self.0.push(packet.ecn);
    }
    fn handle_timeout(&mut self, _: Duration) {}
    fn poll_transmit(&mut self, _: Duration) -> Option<Packet> {
        self.1.pop()
    }
    fn poll_timeout(&self) -> Option<Duration> {
        None
    }
}

#[test]
fn ecn_bits_travel_with_the_packet_and_come_out_marked() {
    let link = Link { rate: Some(8_000_000), mark_after: Some(MS / 2), ..Link::default() };
    let mut network = Network::new(1, link);
    network.add(address(2), Reader::default());
    let packets = [Ecn::Ect0, Ecn::NotCapable, Ecn::Ect1, Ecn::Ect0];
    let packets = packets.map(|ecn| Packet { ecn, ..Packet::new(address(1), address(2), vec![0; 972]) });
    network.add(address(1), Reader(Vec::new(), packets.into()));
    network.run_for(Duration::from_secs(1));
    // The last one leaves first, and does not wait.
    assert_eq!(network.host(address(2)).unwrap().0, [Ecn::Ect0, Ecn::Ce, Ecn::NotCapable, Ecn::Ce]);
    assert_eq!(network.total().marked, 2);
}
