//! What both ends tell each other, through the sealed channel that they share, before a round of punching.

use crate::stun::candidate::{Candidate, Context, is_global, sanitise};
use crate::stun::fingerprint::{Fingerprint, Ports};
use crate::stun::punch::plan::MAX_SOCKETS;
use crate::time::Duration;
use core::fmt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Public addresses of one end, at most.
pub const MAX_PUBLIC: usize = 4;

/// A port that was seen longer ago than this says nothing about the next one.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// One end's word for one round.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Which round this is for, from 1. The initiator begins rounds, the other end answers with the same number.
    pub round: u16,
    /// Which of the plan's stages this round is, from 0. The initiator says.
    pub stage: u8,
    /// This end's half of the secret: the same in all rounds of a punch.
    pub secret: [u8; 16],
    /// What is known of the NAT in front of it.
    pub fingerprint: Fingerprint,
    /// Where it may be reached.
    pub candidates: Vec<Candidate>,
    /// Its addresses as the world sees them.
    pub public: Vec<IpAddr>,
    /// Which port its NAT gave last, where that says which is next.
    pub latest: Option<Latest>,
    /// Sockets that it would open for this, at most.
    pub sockets: u16,
}

/// The port that a NAT which counts its ports gave last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// The port.
    pub port: u16,
    /// How long before the offer was made it was seen, in milliseconds.
    pub age_ms: u32,
    /// Ports a second that others behind this NAT take, if it was seen twice.
    pub others_per_second: Option<u16>,
}

impl Offer {
    /// What is left of another's offer when everything is taken out that it should not make us do.
    #[must_use]
    pub fn sanitised(mut self, context: &Context<'_>) -> Self {
        self.candidates = sanitise(&self.candidates, context);
        let mut seen = BTreeSet::new();
        self.public = self.public.iter().take(256).map(IpAddr::to_canonical).filter(|ip| is_global(*ip)).collect();
        self.public.retain(|ip| seen.insert(*ip));
        self.public.truncate(MAX_PUBLIC);
        self.fingerprint.ports = self.fingerprint.ports.and_then(plausible);
        let is_recent = |latest: &Latest| Duration::from_millis(latest.age_ms.into()) <= MAX_AGE && latest.port != 0;
        self.latest = self.latest.filter(is_recent);
        self.sockets = self.sockets.min(MAX_SOCKETS);
        self
    }
}

/// The secret stays out of logs.
impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { round, stage, secret: _, fingerprint, candidates, public, latest, sockets } = self;
        write!(f, "Offer {{ round {round} stage {stage}: {fingerprint}; at {candidates:?}, as {public:?}; ")?;
        write!(f, "latest {latest:?}; sockets {sockets} }}")
    }
}

/// A port policy that a NAT can have.
fn plausible(ports: Ports) -> Option<Ports> {
    match ports {
        Ports::Kept => Some(ports),
        Ports::Sequential { step } => (step != 0).then_some(ports),
        Ports::Random { lowest, highest } => (lowest != 0 && lowest <= highest).then_some(ports),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::candidate::{CandidateKind, MAX_CANDIDATES};

    fn offer() -> Offer {
        Offer {
            round: 1,
            stage: 0,
            secret: [1; 16],
            fingerprint: Fingerprint::default(),
            candidates: Vec::new(),
            public: Vec::new(),
            latest: None,
            sockets: 0,
        }
    }

    #[test]
    fn numbers_of_a_hostile_offer_are_cut_to_what_is_possible() {
        let forged = |n: u32| Candidate::new(([9, 9, (n >> 8) as u8, n as u8], 5).into(), CandidateKind::Host);
        let hostile = Offer {
            candidates: (0..100_000).map(forged).collect(),
            public: (0..100_000_u32).map(|n| IpAddr::from([9, 9, (n >> 8) as u8, n as u8])).collect(),
            latest: Some(Latest { port: 5, age_ms: u32::MAX, others_per_second: Some(u16::MAX) }),
            sockets: u16::MAX,
            fingerprint: Fingerprint { ports: Some(Ports::Random { lowest: 9, highest: 3 }), ..Fingerprint::default() },
            ..offer()
        };
        let left = hostile.sanitised(&Context::default());
        assert_eq!((left.candidates.len(), left.public.len()), (MAX_CANDIDATES, MAX_PUBLIC));
        assert_eq!((left.latest, left.fingerprint.ports, left.sockets), (None, None, MAX_SOCKETS));
    }

    #[test]
    fn a_public_address_is_one_that_hosts_in_the_world_have_and_counts_once() {
        let public = ["10.0.0.1", "9.9.9.9", "::ffff:9.9.9.9", "224.0.0.1", "2a00::1", "fd00::1"];
        let left =
            Offer { public: public.map(|ip| ip.parse().unwrap()).to_vec(), ..offer() }.sanitised(&Context::default());
        assert_eq!(left.public, ["9.9.9.9", "2a00::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn an_offer_comes_back_from_the_codec_as_it_was() {
        let full = Offer {
            candidates: vec![Candidate::new("[2a00::1]:5".parse().unwrap(), CandidateKind::Mapped)],
            latest: Some(Latest { port: 5, age_ms: 20, others_per_second: Some(3) }),
            ..offer()
        };
        let bytes = bincode::serde::encode_to_vec(&full, bincode::config::standard()).unwrap();
        let (back, _): (Offer, usize) = bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
        assert_eq!(back, full);
    }
}
