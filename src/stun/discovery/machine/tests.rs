//! Stories without a network: what is asked, and when it stops.

use super::*;
use crate::stun::client::Patience;
use crate::stun::discovery::{MAX_PACKETS, MAX_SOCKETS};
use crate::stun::message::{Request, Success};

fn discovery() -> Discovery {
    Discovery::new(Config::new(SocketId::MAIN, "192.168.1.2:5000".parse().unwrap(), 100..10_000), [1; 32])
}

fn server(host: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host], 3478))
}

/// Lets time pass, and answers what is asked by `answer`. Gives back the packets.
fn run(discovery: &mut Discovery, mut answer: impl FnMut(&Packet) -> Option<SocketAddr>) -> Vec<(Instant, Packet)> {
    let (mut now, mut packets) = (Instant::ZERO, Vec::new());
    loop {
        while let Some(request) = discovery.poll_socket() {
            if let SocketRequest::Open { socket, .. } = request {
                let local = SocketAddr::from(([192, 168, 1, 2], 20_000 + socket.0 as u16));
                discovery.handle_socket(now, SocketReport::Opened { socket, local });
            }
        }
        while let Some(packet) = discovery.poll_transmit(now) {
            packets.push((now, packet.clone()));
            let view = View::check(&packet.bytes).unwrap();
            if let (Some(mapped), Ok(request)) = (answer(&packet), Request::parse(&view)) {
                let bytes = Success { id: request.id, mapped, origin: None, other: None }.emit();
                discovery.handle_datagram(now, packet.socket, packet.to, &bytes);
            }
        }
        match discovery.poll_timeout() {
            Some(next) => {
                assert!(next < Instant::from_start(Duration::from_secs(3600)), "it ends");
                now = next.max(now);
                discovery.handle_timeout(now);
            }
            None => return packets,
        }
    }
}

fn events(discovery: &mut Discovery) -> Vec<Event> {
    core::iter::from_fn(|| discovery.poll_event()).collect()
}

/// Two servers, seven packets each, and the full patience of the RFC.
#[test]
fn where_nobody_answers_udp_is_blocked_but_only_if_two_were_asked() {
    let mut one = discovery();
    one.add_vantage(Instant::ZERO, Vantage::Server(server(1)));
    assert_eq!(run(&mut one, |_| None).len(), 7);
    assert_eq!((*one.fingerprint(), events(&mut one)), (Fingerprint::default(), vec![]));

    let mut two = discovery();
    (1..=2).for_each(|host| two.add_vantage(Instant::ZERO, Vantage::Server(server(host))));
    let packets = run(&mut two, |_| None);
    assert_eq!((packets.len(), packets.last().unwrap().0.as_millis()), (14, 31_500));
    let blocked = Fingerprint { blocked: true, ..Fingerprint::default() };
    assert_eq!(events(&mut two), [Event::Learned(blocked), Event::Settled]);
    // Somebody who answers turns up after all.
    two.add_vantage(Instant::from_start(Duration::from_secs(60)), Vantage::Server(server(3)));
    run(&mut two, |packet| (packet.to == server(3)).then(|| "203.0.113.1:5000".parse().unwrap()));
    assert!(!two.fingerprint().blocked && two.public().is_some());
}

#[test]
fn without_vantage_points_nothing_happens() {
    let mut discovery = discovery();
    discovery.add_vantage(Instant::ZERO, Vantage::Server("[2001:db8::1]:3478".parse().unwrap()));
    discovery.add_vantage(Instant::ZERO, Vantage::Server(SocketAddr::new(server(1).ip(), 0)));
    assert_eq!(run(&mut discovery, |_| None), []);
    assert_eq!(discovery.keepalive(), DEFAULT_KEEPALIVE);
}

/// The first answer says it all but who may come in.
#[test]
fn an_address_that_is_our_own_is_not_translated() {
    for local in ["198.51.100.200:5000", "0.0.0.0:5000"] {
        let mut config = Config::new(SocketId::MAIN, local.parse().unwrap(), 100..10_000);
        config.interfaces = vec!["10.0.0.9".parse().unwrap(), "198.51.100.200".parse().unwrap()];
        config.silences.clear();
        let mut discovery = Discovery::new(config, [1; 32]);
        discovery.add_vantage(Instant::ZERO, Vantage::Server(server(1)));
        let own: SocketAddr = "198.51.100.200:5000".parse().unwrap();
        let packets = run(&mut discovery, |_| Some(own));
        assert_eq!(packets.len(), 1);
        let known = Fingerprint {
            translated: Some(false),
            mapping: Some(Mapping::Independent),
            ports: Some(Ports::Kept),
            ..Fingerprint::default()
        };
        assert_eq!(events(&mut discovery), [Event::Public(own), Event::Learned(known), Event::Settled]);
    }
}

/// Sixteen sockets, not one more than sixteen; all are closed; and little is spent.
#[test]
fn what_is_opened_is_closed_and_what_is_spent_is_little() {
    let mut discovery = discovery();
    (1..=3).for_each(|host| discovery.add_vantage(Instant::ZERO, Vantage::Server(server(host))));
    let mut next = 10_000;
    // A mapping for each packet: ports are random for all that is known.
    let packets = run(&mut discovery, |_| {
        next = (next * 7919 + 13) % 40_000;
        Some(SocketAddr::from(([203, 0, 113, 1], 2000 + next as u16)))
    });
    assert_eq!(packets.len() as u64, discovery.spent());
    assert!(discovery.spent() < 120, "{}", discovery.spent());
    assert!(matches!(discovery.fingerprint().ports, Some(Ports::Random { .. })));
    assert!(events(&mut discovery).contains(&Event::Settled));
}

/// An owner that reports no sockets, and servers that answer and then fall silent: every step ends.
#[test]
fn a_step_that_gets_no_sockets_ends() {
    let mut discovery = discovery();
    (1..=2).for_each(|host| discovery.add_vantage(Instant::ZERO, Vantage::Server(server(host))));
    let mut now = Instant::ZERO;
    let mut asked = 0;
    while let Some(next) = {
        while let Some(packet) = discovery.poll_transmit(now) {
            asked += 1;
            let id = View::check(&packet.bytes).unwrap().id;
            let mapped = SocketAddr::from(([203, 0, 113, 1], 2000 + asked));
            let bytes = Success { id, mapped, origin: None, other: None }.emit();
            discovery.handle_datagram(now, packet.socket, packet.to, &bytes);
        }
        discovery.poll_timeout()
    } {
        now = next.max(now);
        assert!(now < Instant::from_start(Duration::from_secs(1000)), "it ends");
        discovery.handle_timeout(now);
    }
    assert_eq!(asked, 2);
    let requests: Vec<SocketRequest> = core::iter::from_fn(|| discovery.poll_socket()).collect();
    let opened = requests.iter().filter(|request| matches!(request, SocketRequest::Open { .. })).count();
    assert!(opened * 2 == requests.len() && opened <= MAX_SOCKETS as usize, "{opened} {}", requests.len());
}

#[test]
fn sockets_that_fail_end_a_step_too() {
    let mut discovery = discovery();
    (1..=2).for_each(|host| discovery.add_vantage(Instant::ZERO, Vantage::Server(server(host))));
    let (mut now, mut asked) = (Instant::ZERO, 0);
    loop {
        while let Some(request) = discovery.poll_socket() {
            if let SocketRequest::Open { socket, .. } = request {
                discovery.handle_socket(now, SocketReport::Failed(socket));
            }
        }
        while let Some(packet) = discovery.poll_transmit(now) {
            asked += 1;
            let id = View::check(&packet.bytes).unwrap().id;
            let mapped = SocketAddr::from(([203, 0, 113, 1], 2000 + asked));
            let bytes = Success { id, mapped, origin: None, other: None }.emit();
            discovery.handle_datagram(now, packet.socket, packet.to, &bytes);
        }
        let Some(next) = discovery.poll_timeout() else { break };
        now = next.max(now);
        assert!(now < Instant::from_start(Duration::from_secs(1000)), "it ends");
        discovery.handle_timeout(now);
    }
    assert_eq!((asked, discovery.fingerprint().ports), (2, None));
    assert!(!discovery.handle_socket(now, SocketReport::Failed(SocketId(7))));
}

/// A server that names others as its other address can make us send them a few small packets, not more.
#[test]
fn whoever_is_named_by_a_server_gets_less_than_a_kilobyte() {
    let mut discovery = discovery();
    (1..=4).for_each(|host| discovery.add_vantage(Instant::ZERO, Vantage::Server(server(host))));
    let victim: SocketAddr = "192.0.2.66:53".parse().unwrap();
    let (mut now, mut bytes_to_victim) = (Instant::ZERO, 0);
    loop {
        while let Some(request) = discovery.poll_socket() {
            if let SocketRequest::Open { socket, .. } = request {
                let local = SocketAddr::from(([192, 168, 1, 2], 20_000 + socket.0 as u16));
                discovery.handle_socket(now, SocketReport::Opened { socket, local });
            }
        }
        while let Some(packet) = discovery.poll_transmit(now) {
            if packet.to.ip() == victim.ip() {
                bytes_to_victim += packet.bytes.len();
                continue;
            }
            let id = View::check(&packet.bytes).unwrap().id;
            let success = Success { id, mapped: "203.0.113.1:7".parse().unwrap(), origin: None, other: Some(victim) };
            discovery.handle_datagram(now, packet.socket, packet.to, &success.emit());
        }
        let Some(next) = discovery.poll_timeout() else { break };
        now = next.max(now);
        discovery.handle_timeout(now);
    }
    assert!((1..1000).contains(&bytes_to_victim), "{bytes_to_victim}");
}

#[test]
fn after_a_restart_everything_is_measured_again() {
    let mut discovery = discovery();
    (1..=2).for_each(|host| discovery.add_vantage(Instant::ZERO, Vantage::Server(server(host))));
    let first: SocketAddr = "203.0.113.1:5000".parse().unwrap();
    run(&mut discovery, |_| Some(first));
    assert_eq!(discovery.fingerprint().mapping, Some(Mapping::Independent));
    let later = Instant::from_start(Duration::from_secs(1000));
    discovery.restart(later, "10.0.0.2:5000".parse().unwrap(), vec![]);
    assert_eq!((discovery.fingerprint(), discovery.public()), (&Fingerprint::default(), None));
    assert_eq!(discovery.spent(), 0);
    let second: SocketAddr = "203.0.113.77:5000".parse().unwrap();
    run(&mut discovery, |_| Some(second));
    assert_eq!(discovery.public(), Some(second));
    // An answer to a question of before the restart is to nothing.
    assert!(discovery.spent() < MAX_PACKETS);
}

/// Ten minutes later there is a second server. What the first one said then may no longer hold: it is asked again.
#[test]
fn old_answers_are_not_compared_with_new_ones() {
    let mut config = Config::new(SocketId::MAIN, "192.168.1.2:5000".parse().unwrap(), 100..10_000);
    config.patience = Patience::SHORT;
    config.silences.clear();
    let mut discovery = Discovery::new(config, [1; 32]);
    discovery.add_vantage(Instant::ZERO, Vantage::Server(server(1)));
    run(&mut discovery, |_| Some("203.0.113.1:7777".parse().unwrap()));
    assert_eq!(discovery.fingerprint().mapping, None);
    let later = Instant::from_start(Duration::from_secs(600));
    discovery.add_vantage(later, Vantage::Server(server(2)));
    let mut asked = Vec::new();
    while let Some(packet) = discovery.poll_transmit(later) {
        let id = View::check(&packet.bytes).unwrap().id;
        let success = Success { id, mapped: "203.0.113.1:8888".parse().unwrap(), origin: None, other: None };
        discovery.handle_datagram(later, packet.socket, packet.to, &success.emit());
        asked.push(packet.to);
    }
    assert_eq!(asked, [server(2), server(1)]);
    assert_eq!(discovery.fingerprint().mapping, Some(Mapping::Independent));
}

#[test]
fn the_keepalive_is_a_safe_part_of_what_a_mapping_outlasted() {
    let seconds = |held, is_over| keepalive_for(Duration::from_secs(held), is_over).as_millis();
    assert_eq!((seconds(0, true), seconds(10, true), seconds(20, true)), (5000, 7500, 15_000));
    assert_eq!((seconds(80, true), seconds(160, true)), (60_000, 120_000));
    assert_eq!((seconds(10, false), seconds(80, false)), (15_000, 60_000));
}
