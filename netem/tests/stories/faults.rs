//! What can go wrong besides links, and that a run can be repeated.

use crate::talker::{Talker, address, numbers, talk, times, two};
use core::time::Duration;
use netem::{Link, Network, Packet, Profile, SOCKET_BUFFER, Verdict};
use std::cell::Cell;
use std::rc::Rc;

const MS: Duration = Duration::from_millis(1);

fn say(network: &mut Network<Talker>, from: u8, to: u8, bytes: &[u8]) {
    let packet = Packet::new(address(from), address(to), bytes.to_vec());
    network.host_mut(address(from)).unwrap().to_say.push_back(packet);
}

#[test]
fn the_same_seed_twice_gives_the_same_transcript_and_another_seed_another() {
    let transcript = |seed| {
        let mut network = two(seed, Profile::LossyWifi.up());
        network.keep_transcript();
        talk(&mut network, 2000, 600, MS);
        network.transcript().unwrap()
    };
    assert_eq!(transcript(1), transcript(1));
    assert_ne!(transcript(1), transcript(2));
}

#[test]
fn traffic_elsewhere_changes_nothing_on_a_link() {
    let run = |busy: bool| {
        let mut network = two(9, Link::with_delay(MS).losing(0.2));
        network.add(address(3), Talker::default());
        if busy {
            for _ in 0..100 {
                say(&mut network, 3, 1, b"noise");
            }
        }
        talk(&mut network, 500, 20, MS);
        numbers(&network)
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn a_host_is_woken_when_it_asked_and_not_at_the_other_times() {
    let mut network = two(1, Link::default());
    network.host_mut(address(1)).unwrap().alarms.extend([5 * MS, 7 * MS, 1000 * MS]);
    network.run_for(100 * MS);
    assert_eq!(network.host(address(1)).unwrap().woken, [5 * MS, 7 * MS]);
    assert_eq!(network.now(), 100 * MS);
}

#[test]
fn time_passes_even_for_a_host_that_wants_to_be_woken_in_the_past_for_ever() {
    let mut network = two(1, Link::default());
    network.host_mut(address(1)).unwrap().alarms.extend([Duration::ZERO; 1000]);
    assert!(network.run_until(MS, |network| network.host(address(1)).unwrap().woken.len() == 1000));
}

#[test]
fn the_condition_is_asked_before_anything_happens_and_may_give_orders() {
    let mut network = two(1, Link::with_delay(MS));
    assert!(network.run_until(MS, |_| true));
    assert_eq!(network.now(), Duration::ZERO);
    let mut said = false;
    let arrived = network.run_until(10 * MS, |network| {
        if !said {
            say(network, 1, 2, b"order");
            said = true;
        }
        !network.host(address(2)).unwrap().heard.is_empty()
    });
    assert!(arrived);
    assert_eq!(network.now(), MS);
}

#[test]
fn a_cut_takes_what_is_on_its_way_too_and_heals() {
    let mut network = two(1, Link::with_delay(10 * MS));
    say(&mut network, 1, 2, b"on its way");
    network.run_for(5 * MS);
    network.cut(address(2), address(1));
    say(&mut network, 1, 2, b"in vain");
    network.run_for(100 * MS);
    assert!(times(&network).is_empty());
    assert_eq!(network.counters(address(1), address(2)).dropped.cut, 2);
    network.heal(address(1), address(2));
    say(&mut network, 1, 2, b"again");
    network.run_for(100 * MS);
    assert_eq!(times(&network), [115 * MS]);
}

#[test]
fn a_paused_host_hears_later_what_its_socket_could_hold() {
    let mut network = two(1, Link::default());
    network.host_mut(address(2)).unwrap().alarms.push_back(3 * MS);
    network.pause(address(2));
    let datagram = vec![0; 1024];
    for _ in 0..300 {
        say(&mut network, 1, 2, &datagram);
    }
    network.run_for(10 * MS);
    assert!(times(&network).is_empty() && network.host(address(2)).unwrap().woken.is_empty());
    network.resume(address(2));
    network.run_for(10 * MS);
    let fits = SOCKET_BUFFER / 1024;
    assert_eq!(times(&network), vec![10 * MS; fits]);
    assert_eq!(network.counters(address(1), address(2)).dropped.socket_buffer as usize, 300 - fits);
    assert_eq!(network.host(address(2)).unwrap().woken, [10 * MS]);
}

#[test]
fn a_crashed_host_is_gone_and_its_successor_hears_what_is_still_on_its_way() {
    let mut network = two(1, Link::with_delay(10 * MS));
    network.host_mut(address(2)).unwrap().alarms.push_back(2 * MS);
    network.run_for(MS);
    assert!(network.crash(address(2)).is_some());
    assert!(network.crash(address(2)).is_none());
    say(&mut network, 1, 2, b"lost");
    network.run_for(50 * MS);
    assert_eq!(network.counters(address(1), address(2)).dropped.nobody, 1);
    say(&mut network, 1, 2, b"found");
    network.run_for(5 * MS);
    network.add(address(2), Talker::default());
    network.run_for(50 * MS);
    assert_eq!(network.host(address(2)).unwrap().heard, [(61 * MS, b"found".to_vec())]);
}

#[test]
fn nobody_is_told_that_nobody_listens_unless_the_network_is_of_that_kind() {
    let mut network = two(1, Link::with_delay(10 * MS));
    say(&mut network, 1, 9, b"hello?");
    network.run_for(100 * MS);
    assert!(network.host(address(1)).unwrap().unreachable.is_empty());
    network.unreachable_is_reported = true;
    say(&mut network, 1, 9, b"hello?");
    network.run_for(100 * MS);
    assert_eq!(network.host(address(1)).unwrap().unreachable, [address(9)]);
}

#[test]
fn a_tap_sees_every_packet_and_takes_the_chosen_ones_away() {
    let mut network = two(1, Link::default());
    let seen = Rc::new(Cell::new(0));
    let counter = Rc::clone(&seen);
    network.set_tap(move |_, _| {
        counter.set(counter.get() + 1);
        if counter.get() == 3 { Verdict::Drop } else { Verdict::Pass }
    });
    talk(&mut network, 5, 20, MS);
    assert_eq!(numbers(&network), [0, 1, 3, 4]);
    assert_eq!(seen.get(), 5);
    assert_eq!(network.counters(address(1), address(2)).dropped.tap, 1);
}

#[test]
fn what_is_injected_goes_past_the_links() {
    let mut network = two(1, Link::default().losing(1.0));
    network.inject(Packet::new(address(77), address(2), b"from nowhere".to_vec()));
    assert_eq!(network.host(address(2)).unwrap().heard.len(), 1);
    assert_eq!(network.total().delivered, 1);
}

#[test]
fn a_link_that_is_replaced_keeps_its_counters() {
    let mut network = two(1, Link::default());
    talk(&mut network, 10, 20, MS);
    network.set_profile(address(1), address(2), Profile::Satellite);
    talk(&mut network, 1, 20, MS);
    assert_eq!(network.counters(address(1), address(2)).sent, 11);
    assert!(*times(&network).last().unwrap() > Duration::from_millis(300));
}

#[test]
fn a_thousand_hosts_in_a_ring_pass_a_word_on() {
    let home = |number: u16| {
        let [high, low] = number.to_be_bytes();
        std::net::SocketAddr::from(([10, 0, high, low], 5000))
    };
    let mut network = Network::new(1, Link::with_delay(MS));
    for number in 0..1000 {
        network.add(home(number), Talker::default());
    }
    for lap in 0..10_000_u32 {
        let (from, to) = ((lap % 1000) as u16, ((lap + 1) % 1000) as u16);
        let packet = Packet::new(home(from), home(to), lap.to_be_bytes().to_vec());
        network.host_mut(home(from)).unwrap().to_say.push_back(packet);
        network.run_for(MS);
    }
    assert_eq!(network.total().delivered, 10_000);
    assert!(network.hosts().all(|(_, host)| host.heard.len() == 10));
}
