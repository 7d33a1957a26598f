//! A member that names others' addresses, a million times: what reaches those who never asked.
//!
//! Whole nodes, real sealed links, virtual time. The hostile one is a node like any other, admitted, with keys of its own; besides what a
//! node says it says what is told here. Bytes are counted where they arrive, whoever sent them.

use super::hostile::{HONEST, HOSTILE, LEADER, OTHER, SECOND, Street, VICTIMS, address, id};
use super::message::PathMessage;
use crate::node::identity::Identity;
use crate::node::record::{MAX_ADDRESSES, MemberRecord};
use crate::stun::candidate::{Candidate, CandidateKind};
use crate::stun::fingerprint::{Filtering, Fingerprint, Mapping, Ports};
use crate::stun::punch::Offer;
use crate::stun::punch::budget::{BYTES_ON_TRUST, BYTES_TO_STRANGERS};
use crate::time::Duration;
use netem::Site;
use std::net::{IpAddr, SocketAddr};

/// Candidates of one offer.
const EACH: usize = 30;

/// What an offer may lie about.
#[derive(Clone, Copy)]
struct Lie<'a> {
    victims: &'a [IpAddr],
    /// Rounds last a second each, and go on to the next stage of the plan.
    second: u64,
    /// How many offers were made before.
    offers: usize,
}

impl Lie<'_> {
    /// Every port of every victim has its turn. The NAT is said to be of the kind that asks for a spray.
    fn offer(self) -> Offer {
        let Self { victims, second, offers } = self;
        let kinds = [CandidateKind::Host, CandidateKind::Reflexive, CandidateKind::Mapped, CandidateKind::Lan];
        let candidates = (0..EACH).map(|n| {
            let at = offers * EACH + n;
            let (victim, kind) = (victims[at % victims.len()], kinds[at / 7 % kinds.len()]);
            Candidate::new(SocketAddr::new(victim, (at % 65_535) as u16 + 1), kind)
        });
        let fingerprint = Fingerprint {
            translated: Some(true),
            mapping: Some(Mapping::ByAddressAndPort),
            filtering: Some(Filtering::ByAddressAndPort),
            ports: Some(Ports::Random { lowest: 1024, highest: u16::MAX }),
            ..Fingerprint::default()
        };
        Offer {
            round: (second % 8) as u16 + 1,
            stage: (second % 8) as u8,
            secret: [7; 16],
            fingerprint,
            candidates: candidates.collect(),
            public: victims.to_vec(),
            latest: None,
            sockets: u16::MAX,
        }
    }
}

/// Signs a record that names nothing but victims, and has it published.
fn publish_lies(street: &mut Street, victims: &[IpAddr], second: u64) {
    let at = |n: usize| SocketAddr::new(victims[n % victims.len()], (second as u16).wrapping_mul(8) + n as u16 + 1);
    let addresses: Vec<SocketAddr> = (0..MAX_ADDRESSES).map(at).collect();
    let identity = Identity::from_seed(&[HOSTILE as u8 + 1; 32]);
    let record = MemberRecord::sign(&identity, "hostile", &addresses, (1 << 50) + second);
    street.with(HOSTILE, |node, now| {
        node.links.set_record(record.clone());
        node.room.update_record(now, record);
    });
}

/// A room of four. The hostile one reaches two of them through the leader alone, so that they look for direct paths; it came before one
/// of them and after the other, so that it made one of the connections.
fn room() -> Street {
    let mut street = Street::of(&[LEADER, HONEST, HOSTILE, OTHER], true);
    for member in [HONEST, OTHER] {
        street.0.cut(Site::machine(address(member).ip()), Site::machine(address(HOSTILE).ip()));
    }
    for member in [HONEST, HOSTILE, OTHER] {
        street.join(member);
    }
    for member in [HONEST, OTHER] {
        let is_relayed =
            street.with(HOSTILE, |node, _| node.links.link(id(member)).is_some_and(|link| link.remote.is_none()));
        assert!(is_relayed, "the hostile one and {member} are linked through the leader");
    }
    street
}

/// Offers with so many candidates in all, one every five milliseconds: no link of the room takes more for long.
fn flood(street: &mut Street, victims: &[IpAddr], candidates: usize) -> usize {
    let begun = street.0.now();
    let mut told = 0;
    let mut published = u64::MAX;
    for offers in 0.. {
        if told >= candidates {
            break;
        }
        let second = (street.0.now() - begun).as_secs();
        if published != second {
            published = second;
            publish_lies(street, victims, second);
        }
        let offer = Lie { victims, second, offers }.offer();
        told += offer.candidates.len();
        let to = [HONEST, OTHER][offers % 2];
        street.say(HOSTILE, to, PathMessage::Offer(Box::new(offer)));
        if offers % 100 == 0 {
            for member in [LEADER, HONEST, OTHER] {
                street.say(HOSTILE, member, PathMessage::Changed(Fingerprint::default()));
                let incoming = PathMessage::Incoming { from: id(OTHER), channel: 4, seen: Some(victims[0]) };
                street.say(HOSTILE, member, incoming);
            }
        }
        street.0.run_for(Duration::from_millis(5));
    }
    told
}

/// How many candidates.
const FORGED: usize = 1_000_000;

fn assert_spared(street: &Street, after: &str) {
    let heard = VICTIMS.map(|victim| street.heard(victim));
    eprintln!("{after}: {heard:?} bytes reached the victims");
    assert!(heard.iter().all(|bytes| *bytes <= BYTES_TO_STRANGERS as usize), "{after}: {heard:?} bytes");
}

/// The promise that an offer cannot be turned on a third party, end to end: offers, records, news, claims about others; while the member
/// is there, and when it is looked for because it was lost.
#[test]
fn forged_candidates_bring_no_victim_more_than_a_thousand_bytes_from_all_members_together() {
    let mut street = room();
    let victims = VICTIMS.map(IpAddr::from);
    let received = |street: &Street, member: usize| {
        street.0.counters(Site::machine(address(LEADER).ip()), Site::machine(address(member).ip())).delivered_bytes
    };
    let before = [HONEST, OTHER].map(|member| received(&street, member));
    let connections = [HONEST, OTHER].map(|member| street.with(HOSTILE, |node, _| node.links.connection(id(member))));
    let told = flood(&mut street, &victims, FORGED);
    street.0.run_for(30 * SECOND);
    assert!(told >= FORGED);
    // An address is eight bytes on the wire at least. All of them arrived, over the links that were there from the beginning.
    for (at, member) in [HONEST, OTHER].into_iter().enumerate() {
        let arrived = received(&street, member) - before[at];
        assert!(arrived as usize >= told / 2 * 8, "{arrived} bytes of {told} candidates reached {member}");
        assert_eq!(street.with(HOSTILE, |node, _| node.links.connection(id(member))), connections[at]);
    }
    eprintln!("{told} forged candidates in {} s", street.0.now().as_secs());
    assert_spared(&street, "in the room");
    let believed = street.with(LEADER, |node, _| node.room.view().record(id(HOSTILE)).cloned()).expect("a member");
    assert!(believed.facts.addresses.iter().all(|address| victims.contains(&address.ip())), "its record is believed");
    assert!(VICTIMS.iter().any(|victim| street.heard(*victim) > 0), "a few probes do go there, or nothing was tried");

    // It is gone without a word, and looked for, where its record says.
    for member in [LEADER, HONEST, OTHER] {
        street.0.cut(Site::machine(address(member).ip()), Site::machine(address(HOSTILE).ip()));
    }
    street.0.run_for(300 * SECOND);
    assert!(street.with(LEADER, |node, _| node.room.view().former.len() == 1), "it counts as lost");
    assert_spared(&street, "lost and looked for");
}

/// The same offers, about an address where the supernode does hear that member: ports are tried there, by the hundred. What is counted in
/// the test above could be more than nothing.
#[test]
fn the_same_offers_about_its_own_address_are_probed_by_the_hundred() {
    let mut street = room();
    let before = [HONEST, OTHER].map(|member| street.packets(member, HOSTILE));
    flood(&mut street, &[address(HOSTILE).ip()], 20_000);
    street.0.run_for(30 * SECOND);
    let probes = [HONEST, OTHER].map(|member| street.packets(member, HOSTILE));
    let probes: u64 = probes.iter().zip(before).map(|(after, before)| after - before).sum();
    eprintln!("{probes} probes");
    assert!(probes > 200, "{probes} probes");
}

/// Two together, one of them the supernode, which says that it hears the other one at the victim's. Nothing that a victim does tells a
/// member who never heard from there; so a supernode's word is believed, up to so many bytes, and each call counts, too.
#[test]
fn a_supernode_that_lies_together_with_a_member_has_no_more_sent_than_its_word_is_good_for() {
    /// Calls to an address that never answered: those at once, and one a minute. Each is nine datagrams at most.
    const CALLS: usize = (12 + 30) * 9 * 1200;
    let mut street = Street::of(&[LEADER, HONEST, HOSTILE, OTHER], true);
    for member in [HONEST, OTHER] {
        street.0.cut(Site::machine(address(member).ip()), Site::machine(address(HOSTILE).ip()));
    }
    let victims = [IpAddr::from(VICTIMS[0])];
    street.join(HOSTILE);
    publish_lies(&mut street, &victims, 0);
    street.0.run_for(SECOND);
    street.with(LEADER, |node, now| node.room.claim_to_hear(now, id(HOSTILE), victims[0]));
    for member in [HONEST, OTHER] {
        street.join(member);
        let seen = street.with(member, |node, _| {
            let entries = &node.room.view().entries;
            entries.iter().find(|entry| entry.record.id() == id(HOSTILE)).and_then(|entry| entry.seen)
        });
        assert_eq!(seen, Some(victims[0]));
    }
    flood(&mut street, &victims, 20_000);
    // With patience: every stage of the plan gets the time it needs.
    for second in 0..160 {
        for member in [HONEST, OTHER] {
            let offer = Lie { victims: &victims, second, offers: 0 }.offer();
            street.say(HOSTILE, member, PathMessage::Offer(Box::new(offer)));
        }
        street.0.run_for(8 * SECOND);
    }
    let probed = street.heard(VICTIMS[0]);
    // It goes away and comes back, so that it has to be called.
    for _ in 0..20 {
        for member in [HONEST, OTHER] {
            street.with(HOSTILE, |node, now| node.links.drop_link(now, id(member)));
        }
        street.0.run_for(20 * SECOND);
    }
    let heard = street.heard(VICTIMS[0]);
    eprintln!("{heard} bytes reached the victim, {probed} of them before the calls");
    assert!(heard > BYTES_TO_STRANGERS as usize, "a word is worth something, or the lie was not believed");
    assert!(heard <= 2 * (BYTES_ON_TRUST as usize + CALLS), "{heard} bytes");
    assert!(VICTIMS[1..].iter().all(|victim| street.heard(*victim) == 0));
}
