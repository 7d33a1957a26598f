//! What a hostile member, or anybody else, can make a punching node do.

use crate::world::{Outcome, Plan, World};
use anjer::machine::SocketId;
use anjer::stun::candidate::{Candidate, CandidateKind, Interface};
use anjer::stun::fingerprint::{Filtering, Fingerprint, Mapping, Ports};
use anjer::stun::punch::experience::Advice;
use anjer::stun::punch::packet::{self, Kind, Sealer};
use anjer::stun::punch::{Budget, Config, Event, Offer, Ours, Punch};
use anjer::time::{Duration, Instant};
use netem::Behaviour;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

const BINDING: [u8; 32] = [7; 32];
const PEER: [u8; 4] = [9, 9, 9, 9];

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(millis))
}

/// A node with a public address, and a peer that it was told is at [`PEER`].
fn config(initiator: bool) -> Config {
    let local: SocketAddr = "8.8.8.8:5000".parse().unwrap();
    Config {
        initiator,
        binding: BINDING,
        seed: [1; 32],
        ours: Ours {
            fingerprint: Fingerprint {
                mapping: Some(Mapping::Independent),
                filtering: Some(Filtering::ByAddressAndPort),
                ..Fingerprint::default()
            },
            candidates: vec![Candidate::new(local, CandidateKind::Reflexive)],
            public: vec![local.ip()],
            sockets: vec![(SocketId::MAIN, local)],
            interfaces: vec![Interface { address: local.ip(), prefix: 24 }],
        },
        proven_ips: vec![PEER.into()],
        same_machine: false,
        relay_rtt: Duration::from_millis(50),
        first_socket: SocketId(1),
        advice: Advice::default(),
    }
}

fn hostile_offer(round: u16, stage: u8, candidates: Vec<Candidate>) -> Offer {
    Offer {
        round,
        stage,
        secret: [6; 16],
        fingerprint: Fingerprint {
            mapping: Some(Mapping::ByAddressAndPort),
            filtering: Some(Filtering::ByAddressAndPort),
            ports: Some(Ports::Random { lowest: 1, highest: u16::MAX }),
            ..Fingerprint::default()
        },
        candidates,
        public: vec![PEER.into(), [5, 5, 5, 5].into()],
        latest: None,
        sockets: u16::MAX,
    }
}

/// Bytes to each IP.
type Tally = BTreeMap<IpAddr, usize>;

/// Runs a punch for a while with nobody there; answers every request for a socket with a refusal.
fn run(punch: &mut Punch, budget: &mut Budget, from: u64, millis: u64, tally: &mut Tally) -> Option<Offer> {
    let mut offer = None;
    for now in (from..from + millis).map(at) {
        punch.handle_timeout(now, budget);
        while let Some(request) = punch.poll_socket(now, budget) {
            if let anjer::machine::SocketRequest::Open { socket, .. } = request {
                punch.handle_socket(now, anjer::machine::SocketReport::Failed(socket));
            }
        }
        while let Some((_, to, bytes)) = punch.poll_transmit(now, budget) {
            *tally.entry(to.ip()).or_default() += bytes.len();
        }
        while let Some(event) = punch.poll_event() {
            if let Event::Offer(ours) = event {
                offer = Some(*ours);
            }
        }
    }
    offer
}

/// A million forged candidates, in offer after offer, from peer after peer, over an hour: whoever did not ask gets a kilobyte at most.
#[test]
fn a_million_forged_candidates_bring_nobody_more_than_a_kilobyte() {
    let mut budget = Budget::default();
    let mut tally = Tally::new();
    let victims: Vec<Candidate> = (0..1_000_000_u32)
        .map(|n| {
            // Three victims, all ports; and the rest of the world.
            let ip =
                if n % 2 == 0 { [66, 6, 6, (n / 2 % 3) as u8] } else { [77, (n >> 16) as u8, (n >> 8) as u8, n as u8] };
            let kind = [CandidateKind::Host, CandidateKind::Mapped, CandidateKind::Lan][n as usize % 3];
            Candidate::new((ip, (n % 65_535 + 1) as u16).into(), kind)
        })
        .collect();
    let mut now = 0;
    for peer in 0..60 {
        let mut punch = Punch::new(at(now), config(false));
        for round in 1..=30 {
            let begin = (peer * 30 + round as usize) * 500 % 999_000;
            let some = || victims.iter().skip(begin).copied();
            let candidates = match round {
                1 if peer == 0 => victims.clone(),
                _ if round % 2 == 0 => {
                    some().filter(|some| some.address.ip() > IpAddr::from([70, 0, 0, 0])).take(250).collect()
                }
                _ => some().take(500).collect(),
            };
            punch.handle_offer(at(now), hostile_offer(round, 0, candidates));
            run(&mut punch, &mut budget, now, 1_900, &mut tally);
            now += 1_900;
        }
    }
    assert!(tally.len() > 100, "it does send: {tally:?}");
    let worst = tally.iter().filter(|(ip, _)| **ip != IpAddr::from(PEER)).max_by_key(|(_, bytes)| **bytes);
    assert!(worst.is_some_and(|(_, bytes)| *bytes <= 1000), "{worst:?}");
    assert!(
        !tally.contains_key(&IpAddr::from([5, 5, 5, 5])),
        "an address that only the peer vouches for is not sprayed"
    );
}

/// Even at the address that was proven, one punch sends no more than its budget, however often the peer asks for the dearest stage.
#[test]
fn a_peer_cannot_have_ports_sprayed_again_and_again() {
    let (mut budget, mut tally) = (Budget::default(), Tally::new());
    let mut punch = Punch::new(at(0), config(false));
    let mut now = 0;
    for round in 1..=200 {
        punch.handle_offer(at(now), hostile_offer(round, u8::from(round > 1), vec![]));
        run(&mut punch, &mut budget, now, 8_000, &mut tally);
        now += 8_000;
    }
    assert!(punch.probes() > 1_000, "it was sprayed once: {}", punch.probes());
    assert!(punch.probes() <= 3_200, "{}", punch.probes());
}

/// What an eavesdropper repeats and a stranger makes up changes nothing, and draws no more than an answer of its size each.
#[test]
fn forged_and_replayed_packets_are_counted_and_lead_to_nothing() {
    let (mut budget, mut tally) = (Budget::default(), Tally::new());
    let mut punch = Punch::new(at(0), config(false));
    assert!(
        !punch.handle_datagram(at(0), SocketId::MAIN, (PEER, 5).into(), &[0xA3; packet::LEN]),
        "before there is a key"
    );
    punch.handle_offer(at(0), hostile_offer(1, 0, vec![]));
    let ours = run(&mut punch, &mut budget, 0, 200, &mut tally).unwrap();
    let sealer = Sealer::new(&BINDING, &[6; 16], &ours.secret);
    assert_eq!(punch.pair(), Some(sealer.pair()));
    let victim = SocketAddr::from(([66, 6, 6, 6], 6));

    // A stranger knows the pair's number from the wire, and not the key.
    let probe = packet::Packet { kind: Kind::Probe, from_initiator: true, round: 1, nonce: 5, echo: 0 };
    let mut forged = sealer.seal(&probe);
    forged[28] ^= 1;
    let crc = crc32fast::hash(&forged[..44]).to_be_bytes();
    forged[44..].copy_from_slice(&crc);
    for _ in 0..1000 {
        assert!(punch.handle_datagram(at(200), SocketId::MAIN, victim, &forged));
    }
    assert_eq!(punch.counters().forged, 1000);

    // A replayed probe is answered three times; then a way is looked for there, a few packets; then silence.
    let replayed = sealer.seal(&probe);
    for now in 200..2_200 {
        punch.handle_datagram(at(now), SocketId::MAIN, victim, &replayed);
        run(&mut punch, &mut budget, now, 1, &mut tally);
    }
    assert_eq!(punch.counters().repeated, 2000 - 3);
    assert!(tally[&victim.ip()] <= 10 * packet::LEN, "{tally:?}");

    // The peer itself, from forged addresses, with a new nonce each time: a kilobyte.
    for nonce in 100..10_000 {
        let bytes = sealer.seal(&packet::Packet { nonce, ..probe });
        punch.handle_datagram(at(3_000), SocketId::MAIN, victim, &bytes);
        run(&mut punch, &mut budget, 3_000, 1, &mut tally);
    }
    assert!(tally[&victim.ip()] <= 1000, "{tally:?}");

    // Answers to what was never asked prove nothing.
    for kind in [Kind::Reply, Kind::Confirm, Kind::Choose, Kind::Chosen] {
        let bytes = sealer.seal(&packet::Packet { kind, nonce: 20_000, echo: 12_345, ..probe });
        assert!(punch.handle_datagram(at(3_100), SocketId::MAIN, victim, &bytes));
    }
    assert_eq!(punch.counters().unasked, 4);
    assert!(!punch.is_over());
}

/// In the middle of a real punch, everything that goes over the wire is repeated to both ends from somewhere else.
#[test]
fn replaying_a_whole_punch_does_not_move_it() {
    for seed in 0..10 {
        let mut world = World::new(&Plan::new(seed, &[Behaviour::full_cone()], &[Behaviour::full_cone()]));
        let captured = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let tape = std::rc::Rc::clone(&captured);
        world.network.set_tap(move |_, packet| {
            if packet.bytes.first() == Some(&0xA3) && packet.to.ip().to_string().starts_with("203.") {
                tape.borrow_mut().push((packet.to, packet.bytes.clone()));
            }
            netem::Verdict::Pass
        });
        let attacker = SocketAddr::from(([66, 6, 6, 6], 6));
        let mut outcomes = [None, None];
        for _ in 0..100 {
            let now = world.network.now();
            outcomes = world.run(now + Duration::from_millis(10));
            for (to, bytes) in captured.take() {
                world.network.inject(netem::Packet::new(attacker, to, bytes));
            }
        }
        for outcome in &outcomes {
            let Some(Outcome::Open { remote, .. }) = outcome else { panic!("{outcomes:?}") };
            assert_ne!(*remote, attacker);
        }
    }
}
