//! The table of all pairs, and what holds for every pair.

use super::*;
use proptest::prelude::*;

fn nat(mapping: Mapping, filtering: Filtering, ports: Ports) -> Fingerprint {
    Fingerprint {
        translated: Some(true),
        mapping: Some(mapping),
        filtering: Some(filtering),
        ports: Some(ports),
        ..Fingerprint::default()
    }
}

const fn random(size: u16) -> Ports {
    Ports::Random { lowest: u16::MAX - size + 1, highest: u16::MAX }
}

/// The kinds of the matrix. A busy NAT that counts has the same fingerprint as a quiet one.
fn kinds() -> Vec<(&'static str, Fingerprint)> {
    use Filtering as F;
    use Mapping as M;
    let symmetric = |ports| nat(M::ByAddressAndPort, F::ByAddressAndPort, ports);
    let public = Fingerprint { translated: Some(false), ..nat(M::Independent, F::Independent, Ports::Kept) };
    vec![
        ("public", public),
        ("full cone", nat(M::Independent, F::Independent, Ports::Kept)),
        ("restricted", nat(M::Independent, F::ByAddress, Ports::Kept)),
        ("port-restricted", nat(M::Independent, F::ByAddressAndPort, Ports::Kept)),
        ("unpreserved", nat(M::Independent, F::ByAddressAndPort, random(64_512))),
        ("sequential 1", symmetric(Ports::Sequential { step: 1 })),
        ("sequential 2", symmetric(Ports::Sequential { step: 2 })),
        ("random", symmetric(random(64_512))),
        ("random 4096", symmetric(random(4096))),
        ("random 512", symmetric(random(512))),
        ("by address", nat(M::ByAddress, F::ByAddress, random(64_512))),
    ]
}

fn both(a: &Fingerprint, b: &Fingerprint) -> Plan {
    let circumstances =
        |initiator| Circumstances { initiator, our_sockets: 256, their_sockets: 256, same_public_ip: false };
    let (ours, theirs) = (plan(a, b, &circumstances(true)), plan(b, a, &circumstances(false)));
    assert_eq!(ours.stages, theirs.stages, "both ends do the same");
    ours
}

#[test]
fn the_table_of_all_pairs() {
    let kinds = kinds();
    let mut table = String::new();
    for (at, (name, a)) in kinds.iter().enumerate() {
        for (other, b) in &kinds[at..] {
            let Plan { stages, otherwise } = both(a, b);
            let mut line: Vec<(String, usize)> = Vec::new();
            for stage in stages.iter().map(Stage::to_string) {
                match line.last_mut() {
                    Some((last, times)) if *last == stage => *times += 1,
                    _ => line.push((stage, 1)),
                }
            }
            let line: Vec<_> = line
                .iter()
                .map(|(stage, times)| if *times > 1 { format!("{times} {stage}") } else { stage.clone() })
                .collect();
            let line = line.join(", ");
            table += &format!("{name:<16}{other:<16}{line}");
            if let Reason::TooManyPorts { .. } = otherwise {
                table += ", relay";
            }
            table.push('\n');
        }
    }
    println!("{table}");
    let expected = include_str!("table.txt");
    assert_eq!(table, expected);
}

/// The promise of the matrix: a path must be found where one end's port is known, or one end filters by address only, or the product of both
/// pools is at most 2^21. A NAT that counts has all ports in its pool.
#[test]
fn whoever_must_meet_has_a_way_to() {
    let pool = |fingerprint: &Fingerprint| match fingerprint.ports {
        Some(Ports::Random { lowest, highest }) => u64::from(highest - lowest) + 1,
        _ => 64_512,
    };
    let easy = |fingerprint: &Fingerprint| {
        fingerprint.mapping == Some(Mapping::Independent) || fingerprint.filtering < Some(Filtering::ByAddressAndPort)
    };
    for (name, a) in kinds() {
        for (other, b) in kinds() {
            let must = easy(&a) || easy(&b) || pool(&a) * pool(&b) <= 1 << 21;
            let relays = matches!(both(&a, &b).otherwise, Reason::TooManyPorts { .. });
            assert!(!(must && relays), "{name} {other}");
        }
    }
}

#[test]
fn what_is_not_known_is_assumed_the_kindest_first() {
    let nothing = Fingerprint::default();
    let plan = both(&nothing, &nothing);
    let kinds: Vec<_> = plan.stages.iter().map(Stage::kind).collect();
    use StageKind::{Fresh, Simultaneous, Spray};
    assert_eq!(kinds, [Simultaneous, Fresh, Fresh, Fresh, Spray, Spray]);
    let home = nat(Mapping::Independent, Filtering::ByAddressAndPort, Ports::Kept);
    let kinds: Vec<_> = both(&home, &nothing).stages.iter().map(Stage::kind).collect();
    assert_eq!(kinds, [Simultaneous, Fresh, Fresh, Fresh, Spray]);
}

#[test]
fn where_nothing_can_help_it_is_said_why() {
    let open = Fingerprint { translated: Some(false), mapping: Some(Mapping::Independent), ..Fingerprint::default() };
    let blocked = Fingerprint { blocked: true, ..Fingerprint::default() };
    assert_eq!(both(&open, &blocked).otherwise.to_string(), "UDP does not get out of their network");
    let symmetric = nat(Mapping::ByAddressAndPort, Filtering::ByAddressAndPort, random(64_512));
    let said = both(&symmetric, &symmetric).otherwise.to_string();
    assert!(said.contains("ours of 64512, theirs of 64512"), "{said}");
}

/// A firewall that does not translate is a known port behind a filter.
#[test]
fn a_firewall_is_a_known_port() {
    let firewall = Fingerprint {
        translated: Some(false),
        mapping: None,
        ..nat(Mapping::Independent, Filtering::ByAddressAndPort, Ports::Kept)
    };
    let symmetric = nat(Mapping::ByAddressAndPort, Filtering::ByAddressAndPort, random(64_512));
    let holder = |stage: &Stage| matches!(stage, Stage::Spray { holder: End::Responder, .. });
    assert!(both(&firewall, &symmetric).stages.iter().any(holder));
}

fn fingerprints() -> impl Strategy<Value = Fingerprint> {
    let mapping = prop::option::of(prop::sample::select(vec![
        Mapping::Independent,
        Mapping::ByAddress,
        Mapping::ByAddressAndPort,
    ]));
    let filtering = prop::option::of(prop::sample::select(vec![
        Filtering::Independent,
        Filtering::ByAddress,
        Filtering::ByAddressAndPort,
    ]));
    let ports = prop_oneof![
        Just(None),
        Just(Some(Ports::Kept)),
        any::<i16>().prop_map(|step| Some(Ports::Sequential { step })),
        any::<(u16, u16)>().prop_map(|(lowest, highest)| Some(Ports::Random { lowest, highest })),
    ];
    (mapping, filtering, ports, any::<Option<bool>>(), any::<bool>()).prop_map(
        |(mapping, filtering, ports, translated, blocked)| Fingerprint {
            mapping,
            filtering,
            ports,
            translated,
            blocked,
            ..Fingerprint::default()
        },
    )
}

proptest! {
    /// Fingerprints are a peer's word: whatever it says, both ends do the same, and nobody spends more than the budget.
    #[test]
    fn no_fingerprint_costs_more_than_the_budget(a in fingerprints(), b in fingerprints(), sockets in any::<(u16, u16)>(), same in any::<bool>()) {
        let ours = plan(&a, &b, &Circumstances { initiator: true, our_sockets: sockets.0, their_sockets: sockets.1, same_public_ip: same });
        let theirs = plan(&b, &a, &Circumstances { initiator: false, our_sockets: sockets.1, their_sockets: sockets.0, same_public_ip: same });
        prop_assert_eq!(&ours.stages, &theirs.stages);
        prop_assert_eq!(ours.stages[0], Stage::Simultaneous);
        prop_assert!(ours.stages.len() <= 16);
        for end in [End::Initiator, End::Responder] {
            let total: u32 = ours.stages.iter().map(|stage| u32::from(stage.probes(end))).sum();
            prop_assert!(total <= u32::from(MAX_PROBES), "{:?}", ours.stages);
            prop_assert!(ours.stages.iter().all(|stage| stage.sockets(end) <= MAX_SOCKETS));
        }
    }
}
