//! What both ends tell each other before a round: our offer, and what follows from theirs.

use super::Punch;
use crate::stun::candidate::{Candidate, CandidateKind, Context, MAX_CANDIDATES};
use crate::stun::punch::experience::Advice;
use crate::stun::punch::offer::{Latest, Offer};
use crate::stun::punch::packet::Sealer;
use crate::stun::punch::plan::{Circumstances, MAX_SOCKETS, Stage, plan};
use crate::time::Instant;
use std::net::SocketAddr;

impl Punch {
    /// What of an offer we act upon.
    pub(super) fn sanitised(&self, offer: Offer) -> Offer {
        let ours = &self.config.ours;
        let same_public_ip =
            offer.public.iter().take(64).any(|ip| self.proven.contains(ip) && ours.public.contains(ip));
        let context = Context { interfaces: &ours.interfaces, same_public_ip, same_machine: self.config.same_machine };
        offer.sanitised(&context)
    }

    /// Both halves of the secret are there, and both fingerprints.
    pub(super) fn meet(&mut self, offer: &Offer) {
        let (first, second) =
            if self.config.initiator { (self.secret, offer.secret) } else { (offer.secret, self.secret) };
        self.sealer = Some(Sealer::new(&self.config.binding, &first, &second));
        let ours = &self.config.ours;
        let circumstances = Circumstances {
            initiator: self.config.initiator,
            our_sockets: MAX_SOCKETS,
            their_sockets: offer.sockets,
            same_public_ip: offer.public.iter().any(|ip| ip.is_ipv4() && ours.public.contains(ip)),
        };
        let plan = plan(&ours.fingerprint, &offer.fingerprint, &circumstances);
        let Advice { first, skip } = &self.config.advice;
        let indexed = || (1_u8..).zip(plan.stages.iter().skip(1).map(Stage::kind));
        let preferred = indexed().filter(|(_, kind)| Some(*kind) == *first);
        let others = indexed().filter(|(_, kind)| Some(*kind) != *first && !skip.contains(kind));
        self.order = preferred.chain(others).map(|(at, _)| at).collect();
        self.plan = Some(plan);
    }

    /// Ours for this round.
    pub(super) fn offer(&self, now: Instant) -> Offer {
        let ours = &self.config.ours;
        let latest = self.counted.map(|(port, seen, _)| Latest {
            port,
            age_ms: u32::try_from(now.saturating_since(seen).as_millis()).unwrap_or(u32::MAX),
            others_per_second: self.others_per_second,
        });
        Offer {
            round: self.round,
            stage: self.stage,
            secret: self.secret,
            fingerprint: ours.fingerprint,
            candidates: self.candidates(),
            public: ours.public.clone(),
            latest,
            sockets: MAX_SOCKETS,
        }
    }

    /// The candidates of this round: with a fresh port, that one instead of the old.
    fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = self.config.ours.candidates.clone();
        if let Some((socket, seen)) = self.fresh
            && let Some(local) = self.sockets.get(&socket).and_then(|own| own.local)
        {
            let is_family = |address: SocketAddr| address.is_ipv4() == local.is_ipv4();
            candidates.retain(|candidate| {
                !(is_family(candidate.address)
                    && matches!(candidate.kind, CandidateKind::Reflexive | CandidateKind::Lan))
            });
            for candidate in &mut candidates {
                if is_family(candidate.address) && candidate.kind == CandidateKind::Host {
                    candidate.address.set_port(local.port());
                }
            }
            candidates.extend(seen.map(|seen| Candidate::new(seen, CandidateKind::Reflexive)));
        }
        candidates.truncate(MAX_CANDIDATES);
        candidates
    }
}
