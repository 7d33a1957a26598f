//! One event of each kind, for the tests of what is printed.

use anjer::node::api::*;
use anjer::node::files::FileHash;
use anjer::node::identity::{Identity, NodeId};

pub(crate) fn anna() -> NodeId {
    Identity::from_seed(&[1; 32]).id()
}

pub(crate) fn ben() -> NodeId {
    Identity::from_seed(&[2; 32]).id()
}

pub(crate) fn hash() -> FileHash {
    FileHash([0xab; 32])
}

pub(crate) fn offered(hash: Option<FileHash>) -> Offered {
    Offered { name: "a b.txt".into(), size: 5, hash, id: ben(), kind: OfferKind::File }
}

pub(crate) fn chat(name: &str, text: &str) -> Event {
    Event::Chat {
        id: ben(),
        name: name.into(),
        epoch: 3,
        supernode: ben(),
        seq: 9,
        line: "l9".into(),
        time: 1_700_000_000_000,
        history: false,
        text: text.into(),
    }
}

pub(crate) fn peers() -> Event {
    Event::Peers {
        epoch: 3,
        supernode: ben(),
        members: vec![
            Member {
                id: ben(),
                name: "ben".into(),
                addr: "127.0.0.1:5001".parse().ok(),
                role: Role::Supernode,
                rank: 0,
                path: Some(Path::Direct),
                rtt_ms: Some(0.25),
            },
            Member {
                id: anna(),
                name: "anna".into(),
                addr: None,
                role: Role::Member,
                rank: 1,
                path: None,
                rtt_ms: None,
            },
        ],
    }
}

/// In the order of the contract.
pub(crate) fn one_of_each() -> Vec<Event> {
    let here = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    vec![
        Event::Ready { id: anna(), name: "anna".into(), local: here(5000), public: None, nat: None },
        Event::Connected { supernode: ben(), epoch: 3, path: Path::Direct },
        Event::Supernode { id: ben(), epoch: 3, me: false, reason: Succession::Lost },
        peers(),
        Event::Path {
            id: ben(),
            path: Path::Relayed,
            rtt_ms: Some(12.5),
            probes: 4,
            why: Some("both NATs guess".into()),
        },
        chat("ben", "hello"),
        Event::Missed { from: 4, to: 6, count: 3 },
        Event::Address { public: "192.0.2.1:5000".parse().ok(), nat: Some(NatKind::Easy) },
        Event::Why {
            ranking: vec![RankExplained { id: ben(), rank: 0, terms: vec!["tenure=5".into()] }],
            history: vec![Election { epoch: 3, supernode: ben(), reason: Succession::First, at_ms: 5 }],
            nat: "nat=yes mapping=independent".into(),
            paths: vec![PathExplained {
                id: ben(),
                path: Path::Relayed,
                via: Some(ben()),
                standby: 1,
                probes: 7,
                nat: "nat=no".into(),
                why: Some("both NATs guess".into()),
            }],
        },
        Event::Alert { code: "equivocation", message: "two views".into() },
        Event::Offered(offered(None)),
        Event::Withdrawn(offered(Some(hash()))),
        Event::Files {
            files: vec![FileListing { name: "a b.txt".into(), size: 5, hash: hash(), holders: vec![ben()] }],
        },
        Event::Progress { name: "a b.txt".into(), hash: hash(), bytes: 1, size: 5, sources: 1 },
        Event::Saved { name: "a b.txt".into(), path: "/tmp/a b.txt".into(), bytes: 5, hash: hash(), seconds: 0.5 },
        Event::Asked { addr: here(5001), id: ben(), name: "ben".into() },
        Event::Waiting { id: ben(), name: "ben".into(), addr: here(5001) },
        Event::Admitting { addr: Some(here(5001)), id: None, seconds: 600 },
        Event::Ticket { ticket: "anjer1abc".into(), seconds: 86_400 },
        Event::Error { command: Some('R'), code: ErrorCode::NotFound, message: "no such file".into() },
        Event::Bye,
    ]
}
