//! Two who typed each other's address, and share nothing else.

use crate::world::{DELAY, MS, fingerprint};
use anjer::machine::{SocketId, SocketReport, SocketRequest};
use anjer::stun::fingerprint::Fingerprint;
use anjer::stun::punch::strangers::{Config, Event};
use anjer::stun::punch::{Budget, Strangers};
use anjer::time::Instant;
use core::time::Duration;
use netem::{Behaviour, Host, Link, Network, Packet, Site};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

const MAIN_PORT: u16 = 5000;

struct Stranger {
    ip: IpAddr,
    strangers: Option<Strangers>,
    /// When the person types.
    types_at: Option<(Duration, Config)>,
    budget: Budget,
    ports: BTreeMap<SocketId, u16>,
    heard: Vec<(Duration, Event)>,
    outbox: VecDeque<Packet>,
}

impl Stranger {
    fn drain(&mut self, now: Duration) {
        let Some(strangers) = &mut self.strangers else { return };
        while let Some(request) = strangers.poll_socket(&mut self.budget) {
            match request {
                SocketRequest::Open { socket, bind } => {
                    let port = 10_000 + socket.0 as u16;
                    self.ports.insert(socket, port);
                    let local = SocketAddr::new(bind.ip(), port);
                    strangers.handle_socket(Instant::from_start(now), SocketReport::Opened { socket, local });
                }
                SocketRequest::Close(socket) => drop(self.ports.remove(&socket)),
            }
        }
        self.heard.extend(core::iter::from_fn(|| strangers.poll_event()).map(|event| (now, event)));
    }
}

impl Host for Stranger {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        let socket = self.ports.iter().find(|(_, port)| **port == to.port()).map(|(socket, _)| *socket);
        if let (Some(socket), Some(strangers)) = (socket, &mut self.strangers) {
            assert!(strangers.handle_datagram(Instant::from_start(now), socket, from, bytes));
        }
        self.drain(now);
    }

    fn handle_timeout(&mut self, now: Duration) {
        if let Some((_, config)) = self.types_at.take_if(|(at, _)| *at <= now) {
            self.strangers = Some(Strangers::new(Instant::from_start(now), config));
        }
        if let Some(strangers) = &mut self.strangers {
            strangers.handle_timeout(Instant::from_start(now));
        }
        self.drain(now);
    }

    fn poll_transmit(&mut self, now: Duration) -> Option<Packet> {
        if let Some(packet) = self.outbox.pop_front() {
            return Some(packet);
        }
        let (socket, to, bytes) = self.strangers.as_mut()?.poll_transmit(Instant::from_start(now), &mut self.budget)?;
        Some(Packet::new(SocketAddr::new(self.ip, *self.ports.get(&socket)?), to, bytes))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let own = self.strangers.as_ref().and_then(Strangers::poll_timeout).map(Instant::since_start);
        own.into_iter().chain(self.types_at.as_ref().map(|(at, _)| *at)).min()
    }
}

struct Meeting {
    network: Network<Stranger>,
    sites: [Site; 2],
}

/// Two behind such NATs; the second one types later. What they type is what a server saw once.
fn two(seed: u64, nats: [Behaviour; 2], late: Duration, known: bool) -> Meeting {
    let mut network = Network::new(seed, Link::with_delay(DELAY));
    let server: SocketAddr = "198.51.100.1:3478".parse().unwrap();
    let mut sites = Vec::new();
    let mut seen = Vec::new();
    let mut fingerprints = Vec::new();
    for (number, behaviour) in (1..).zip(nats) {
        let nat = network.add_nat(behaviour, [203, 0, 113, number]);
        let ip: IpAddr = [192, 168, number, 2].into();
        let site = nat.machine(ip);
        let outbox = [Packet::new(SocketAddr::new(ip, MAIN_PORT), server, vec![0])].into();
        let ports = [(SocketId::MAIN, MAIN_PORT)].into();
        let budget = Budget::default();
        network.add(site, Stranger { ip, strangers: None, types_at: None, budget, ports, heard: Vec::new(), outbox });
        network.set_link(site, nat, Link::default());
        network.set_link(nat, site, Link::default());
        network.run_for(100 * MS);
        let now = network.now();
        let inside = SocketAddr::new(ip, MAIN_PORT);
        seen.push(network.nat(nat).unwrap().mapped(now, inside, server).unwrap());
        fingerprints.push(fingerprint(network.nat(nat)));
        sites.push(site);
    }
    for (number, wait) in [(0, Duration::ZERO), (1, late)] {
        let now = network.now();
        let host = network.host_mut(sites[number]).unwrap();
        let config = Config {
            typed: seen[1 - number],
            fingerprint: if known { fingerprints[number] } else { Fingerprint::default() },
            sockets: vec![(SocketId::MAIN, SocketAddr::new(host.ip, MAIN_PORT))],
            first_socket: SocketId(1),
            seed: [number as u8 + seed as u8; 32],
            patience: Duration::from_secs(600),
        };
        host.types_at = Some((now + wait, config));
    }
    Meeting { network, sites: [sites[0], sites[1]] }
}

impl Meeting {
    fn host(&self, number: usize) -> &Stranger {
        self.network.host(self.sites[number]).unwrap()
    }

    /// Until somebody was answered: that one dials. How long that took since both had typed.
    fn meet(&mut self, late: Duration) -> Option<Duration> {
        let sites = self.sites;
        let began = self.network.now() + late;
        let answered = |event: &(Duration, Event)| matches!(event.1, Event::Heard { answered: true, .. });
        let met = self.network.run_until(began + Duration::from_secs(120), |network| {
            sites.iter().any(|site| network.host(*site).unwrap().heard.iter().any(answered))
        });
        met.then(|| self.network.now().saturating_sub(began))
    }
}

/// Who shows one port, and who is not strict, meet at once, however late the other person types.
#[test]
fn easy_strangers_meet_within_moments() {
    for (a, b) in [
        (Behaviour::port_restricted(), Behaviour::port_restricted()),
        (Behaviour::full_cone(), Behaviour::symmetric()),
        (Behaviour::restricted(), Behaviour::symmetric()),
        (Behaviour::port_restricted_random(), Behaviour::restricted()),
    ] {
        for late in [0, 1, 40].map(Duration::from_secs) {
            let mut meeting = two(3, [a.clone(), b.clone()], late, true);
            let took = meeting.meet(late);
            assert!(took.is_some_and(|took| took <= Duration::from_secs(3)), "{a:?} {b:?} {late:?}: {took:?}");
        }
    }
}

/// A home router and a mobile network: one casts ports, the other holds sockets, and neither knows of the other's NAT.
#[test]
fn a_strict_and_a_hard_stranger_meet_by_escalating_blindly() {
    let mut met = 0;
    for seed in 0..20 {
        let late = Duration::from_secs(seed % 3 * 7);
        let mut meeting = two(seed, [Behaviour::symmetric(), Behaviour::port_restricted()], late, true);
        met += u32::from(meeting.meet(late).is_some());
        for number in [0, 1] {
            let probes = meeting.host(number).strangers.as_ref().unwrap().probes();
            assert!(probes <= 4_096, "bounded: {probes}");
        }
    }
    assert!(met >= 19, "{met} of 20");
}

#[test]
fn strangers_who_know_nothing_of_their_own_nats_mostly_meet_too() {
    let met = (0..20).filter(|seed| {
        two(*seed, [Behaviour::symmetric(), Behaviour::port_restricted()], Duration::ZERO, false)
            .meet(Duration::ZERO)
            .is_some()
    });
    let met = met.count();
    assert!(met >= 15, "{met} of 20");
}

/// Whoever is not at the typed address gets no packet, whatever he sends; one who forges that address gets it no more than it is said to send.
#[test]
fn nobody_else_is_answered() {
    let mut meeting = two(1, [Behaviour::full_cone(), Behaviour::full_cone()], Duration::from_secs(500), true);
    let (victim, typed) = ("9.9.9.9:9".parse().unwrap(), SocketAddr::from(([203, 0, 113, 2], 777)));
    let target = SocketAddr::from(([203, 0, 113, 1], MAIN_PORT));
    let sealer = anjer::stun::punch::packet::Sealer::open();
    meeting.network.run_for(10 * MS);
    for nonce in 0..10_000_u64 {
        let probe = anjer::stun::punch::packet::Packet {
            kind: anjer::stun::punch::packet::Kind::Probe,
            from_initiator: false,
            round: 0,
            nonce,
            echo: 0,
        };
        for from in [victim, typed] {
            meeting.network.inject(Packet::new(from, target, sealer.seal(&probe).to_vec()));
        }
        meeting.network.run_for(MS / 10);
    }
    let nat = Site::nat(0);
    assert_eq!(meeting.network.counters(nat, victim).sent, 0);
    // In one second: twenty answers, and its own probes of the typed address.
    assert!(
        meeting.host(0).strangers.as_ref().unwrap().probes() <= 2 * 20 + 12,
        "{}",
        meeting.host(0).strangers.as_ref().unwrap().probes()
    );
    assert!(meeting.host(0).heard.len() <= 1, "one way, one report");
}

#[test]
fn after_ten_minutes_it_is_over_and_all_sockets_are_closed() {
    let mut meeting = two(1, [Behaviour::symmetric(), Behaviour::symmetric()], Duration::ZERO, true);
    let most = meeting
        .network
        .run_until(Duration::from_secs(100), |network| network.sites().any(|(_, host)| host.ports.len() > 200));
    assert!(most, "both hold sockets");
    meeting.network.run_for(Duration::from_secs(600));
    for number in [0, 1] {
        let host = meeting.host(number);
        assert!(matches!(host.heard[..], [(_, Event::Ended { .. })]), "{:?}", host.heard);
        assert_eq!((host.ports.len(), host.budget.sockets()), (1, 0));
    }
}
