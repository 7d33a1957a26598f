//! Two hosts open a path through their NATs where one is possible, and only there.

use core::time::Duration;
use netem::{
    Behaviour, FIRST_PORT, Filtering, Host, Link, Mapping, Nat, NatId, Network, Packet, Ports, Possible,
    direct_path_possible,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::VecDeque;
use std::net::SocketAddr;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How often a puncher tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Targets that a puncher has at a time.
const MAX_TARGETS: usize = 8;

/// The first byte of what is said.
const WHERE_AM_I: u8 = 0;
const PUNCH: u8 = 1;
/// A punch of someone who has heard the other.
const HEARD_YOU: u8 = 2;

/// Either the server, which tells others what they look like, or one who punches: to where the other is said to be, and to
/// wherever punches came from.
#[derive(Default)]
struct Puncher {
    address: Option<SocketAddr>,
    outbox: VecDeque<Packet>,
    /// What the server saw.
    seen: Option<SocketAddr>,
    targets: Vec<SocketAddr>,
    next: Option<Duration>,
    heard: bool,
    /// Both ways.
    connected: bool,
}

impl Puncher {
    fn at(address: SocketAddr) -> Self {
        Self { address: Some(address), ..Self::default() }
    }

    fn say(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.outbox.extend(self.address.map(|from| Packet::new(from, to, bytes)));
    }

    fn target(&mut self, to: SocketAddr) {
        if !self.targets.contains(&to) && self.targets.len() < MAX_TARGETS {
            self.targets.push(to);
        }
    }
}

impl Host for Puncher {
    fn handle_datagram(&mut self, _: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        match (bytes[0], &bytes[1..]) {
            (WHERE_AM_I, []) => {
                let answer = [&[WHERE_AM_I], from.to_string().as_bytes()].concat();
                self.outbox.push_back(Packet::new(to, from, answer));
            }
            (WHERE_AM_I, answer) => self.seen = str::from_utf8(answer).unwrap().parse().ok(),
            (said, _) => {
                self.heard = true;
                self.connected |= said == HEARD_YOU;
                self.target(from);
            }
        }
    }

    fn handle_timeout(&mut self, now: Duration) {
        let said = if self.heard { HEARD_YOU } else { PUNCH };
        for to in self.targets.clone() {
            self.say(to, vec![said]);
        }
        self.next = Some(now + PAUSE);
    }

    fn poll_transmit(&mut self, _: Duration) -> Option<Packet> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.next
    }
}

/// Puts a host behind such NATs (its own first), or into the world.
fn settle(network: &mut Network<Puncher>, number: u8, nats: &[Behaviour]) -> netem::Site {
    let mut inner: Option<NatId> = None;
    for (depth, behaviour) in nats.iter().rev().enumerate() {
        let outside = [if inner.is_some() { 100 } else { 203 }, 64, depth as u8, number];
        inner = Some(match inner {
            None => network.add_nat(behaviour.clone(), outside),
            Some(outer) => network.add_nat_behind(outer, behaviour.clone(), outside),
        });
    }
    let address = SocketAddr::from((if inner.is_some() { [192, 168, 1, 2] } else { [9, 9, 9, number] }, 5000));
    let site = inner.map_or(address.into(), |nat| nat.host(address));
    network.add(site, Puncher::at(address));
    site
}

/// Whether two hosts behind such NATs find a path when they learn of each other by a server; the second begins `late`.
fn punch(a: &[Behaviour], b: &[Behaviour], late: Duration) -> bool {
    let mut network = Network::new(11, Link::with_delay(20 * MS));
    let server = SocketAddr::from(([198, 51, 100, 1], 3478));
    network.add(server, Puncher::at(server));
    let sites = [settle(&mut network, 1, a), settle(&mut network, 2, b)];
    for site in sites {
        network.host_mut(site).unwrap().say(server, vec![WHERE_AM_I]);
    }
    network.run_for(SECOND);
    let seen = sites.map(|site| network.host(site).unwrap().seen.unwrap());
    for ((site, other), wait) in sites.iter().zip([seen[1], seen[0]]).zip([Duration::ZERO, late]) {
        network.run_for(wait);
        let now = network.now();
        let host = network.host_mut(*site).unwrap();
        host.target(other);
        host.next = Some(now);
    }
    network.run_until(network.now() + 5 * SECOND, |network| {
        sites.iter().all(|site| network.host(*site).unwrap().connected)
    })
}

/// All 81 pairs of mapping and filtering, with ports that nobody guesses. It runs both ways round: the function says for
/// a pair what the network does with it.
#[test]
fn a_path_is_found_exactly_where_the_function_says_yes() {
    let mut nats = Vec::new();
    for mapping in [Mapping::Independent, Mapping::ByAddress, Mapping::ByAddressAndPort] {
        for filtering in [Filtering::Independent, Filtering::ByAddress, Filtering::ByAddressAndPort] {
            let ports = Ports::Random { pool: u16::MAX };
            nats.push(Behaviour { mapping, filtering, ports, ..Behaviour::default() });
        }
    }
    let (mut yes, mut no) = (0, 0);
    for a in &nats {
        for b in &nats {
            let (a, b) = (std::slice::from_ref(a), std::slice::from_ref(b));
            let possible = direct_path_possible(a, b);
            assert_eq!(punch(a, b, Duration::ZERO), possible == Possible::Yes, "{possible:?}: {a:?} {b:?}");
            yes += u32::from(possible == Possible::Yes);
            no += u32::from(possible == Possible::No);
        }
    }
    assert!(yes > 40 && no >= 5, "{yes} {no}: both happened");
}

#[test]
fn a_chain_of_nats_is_what_the_function_takes_it_for() {
    let chains = [
        vec![],
        vec![Behaviour::port_restricted()],
        vec![Behaviour::restricted(), Behaviour::cgnat()],
        vec![Behaviour::symmetric(), Behaviour::full_cone()],
        vec![Behaviour::full_cone(), Behaviour::symmetric()],
        vec![Behaviour::restricted(), Behaviour::full_cone(), Behaviour::restricted()],
    ];
    for a in &chains {
        for b in &chains {
            let possible = direct_path_possible(a, b);
            assert_eq!(punch(a, b, Duration::ZERO), possible == Possible::Yes, "{possible:?}: {a:?} {b:?}");
        }
    }
}

/// The trap of Linux NATs: who begins too early makes the other's mapping move, and neither hears the other. Without the clash,
/// and with it when both begin at once, the same two meet.
#[test]
fn with_the_clash_a_path_is_found_only_by_those_who_begin_together() {
    let linux = [Behaviour::linux()];
    let tame = [Behaviour { clash: false, ..Behaviour::linux() }];
    assert!(punch(&linux, &linux, Duration::ZERO));
    assert!(!punch(&linux, &linux, SECOND));
    assert!(punch(&tame, &tame, SECOND));
}

/// One end opens socket after socket behind a NAT with random ports, the other tries port after port: two square roots of the number of
/// ports are enough in the mean, which is what the function promises.
#[test]
fn guessing_at_random_ports_takes_as_many_packets_as_the_function_says() {
    let (symmetric, restricted) = (Behaviour::symmetric(), Behaviour::port_restricted());
    let possible = direct_path_possible(std::slice::from_ref(&symmetric), std::slice::from_ref(&restricted));
    let Possible::ByGuessing { packets: promised } = possible else { panic!("{possible:?}") };
    let inside = |port| SocketAddr::from(([192, 168, 1, 2], port));
    let mut spent = 0;
    for seed in 0..100 {
        let [mut a, mut b] = [(&symmetric, 1_u8), (&restricted, 2)]
            .map(|(behaviour, last)| Nat::new(behaviour.clone(), [203, 0, 113, last].into(), seed));
        // Not the seed of the NAT: it would guess what that draws.
        let mut dice = SmallRng::seed_from_u64(1000 + seed);
        let known = SocketAddr::new(b.outside(), 5000);
        for socket in 2000.. {
            let punch = a.outbound(SECOND, Packet::new(inside(socket), known, vec![])).unwrap();
            let guess = SocketAddr::new(a.outside(), dice.random_range(FIRST_PORT..=u16::MAX));
            let came = b.inbound(SECOND, punch).is_ok();
            let probe = b.outbound(SECOND, Packet::new(inside(5000), guess, vec![])).unwrap();
            spent += 2;
            if came || a.inbound(SECOND, probe).is_ok() {
                break;
            }
        }
    }
    // The number of tries is Rayleigh distributed: 0.89 of the promise in the mean, and half of that is its deviation.
    let mean = spent / 100;
    assert!((promised * 7 / 10..promised * 11 / 10).contains(&mean), "{mean} instead of {promised}");
}
