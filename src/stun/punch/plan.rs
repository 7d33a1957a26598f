//! How two ends behind two NATs meet: a pure function of both fingerprints, the same at both ends.
//!
//! A NAT with independent mapping shows everybody one port, which is *known*. Any other one shows the peer a port that nobody has seen:
//! *unseen*. It may *count* its ports, or draw them from a pool.
//!
//! | who is unseen | and | then |
//! |---|---|---|
//! | nobody | | simultaneous open; once more from fresh ports, which is the way out of conntrack's clash |
//! | one, U | the known end lets in whoever it has sent to, from any port | simultaneous open: the known end answers to where it is heard from |
//! | one, U | the known end filters by port, U counts | predict: the known end tries the ports that follow the last one |
//! | one, U | the known end filters by port | spray: U holds many sockets towards the known port, the other end casts over U's pool |
//! | both | one does not filter, the other at most by address, one of them maps by address | simultaneous open |
//! | both | H maps by address and filters at most by address, C anything else | spray: H holds many sockets towards C's address, C casts; H answers to where it hears from. Whichever can be H with the smaller pool is |
//! | both | H maps by port and filters at most by address, C maps by address | the same: what H hears from C shows where its sockets have to send to |
//! | both | both count | predict: two series of probes that cross |
//! | both | else | product: both draw from their pools at once, if that has a fair chance within the budget; else relay |
//!
//! "Filters" stands for the loosest that suffices: a filter that lets more in does no harm. What is not known of a NAT is assumed, the
//! kindest first: a plan for each assumption, one after the other, in one budget.
//!
//! A plan is a list of stages (`stage`), of which some guess (`sizes`: with how many sockets and probes), and a reason to be relayed
//! when all fail (`reason`).

use crate::stun::fingerprint::{Filtering, Fingerprint, Mapping, Ports};

mod reason;
mod sizes;
mod stage;

pub use reason::{Party, Reason};
pub(super) use sizes::SLACK;
pub use sizes::{MAX_PROBES, MAX_SOCKETS};
pub use stage::{Aim, End, Pool, Share, Stage, StageKind};

use sizes::{fit, product, spray};

/// Every port that a NAT may choose, unless it is known to choose from fewer.
const ALL_PORTS: Pool = Pool { lowest: 1024, highest: u16::MAX };

/// Rounds from fresh ports: both ends have to begin within the time that a packet takes, and how long an offer takes one way can only be
/// guessed. Each round guesses otherwise.
pub(super) const FRESH: usize = 3;

/// Rounds of prediction: with ten flows of others a second one hits nearly always.
const PREDICTIONS: usize = 4;

/// What to do, in order, and what to say when nothing of it worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One after the other, at least one.
    pub stages: Vec<Stage>,
    /// Why the pair is relayed then.
    pub otherwise: Reason,
}

/// What the plan depends on besides the fingerprints: the same at both ends, seen from either.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Whether we began.
    pub initiator: bool,
    /// Sockets that we would open.
    pub our_sockets: u16,
    /// Sockets that they would open.
    pub their_sockets: u16,
    /// Whether both have the same public address.
    pub same_public_ip: bool,
}

/// What to do for a pair. Both ends get the same stages.
pub fn plan(ours: &Fingerprint, theirs: &Fingerprint, circumstances: &Circumstances) -> Plan {
    let Circumstances { initiator, our_sockets, their_sockets, same_public_ip } = *circumstances;
    let blocked = if ours.blocked {
        Some(Party::Us)
    } else if theirs.blocked {
        Some(Party::Them)
    } else {
        None
    };
    if let Some(party) = blocked {
        // Those on one network may meet all the same.
        return Plan { stages: vec![Stage::Simultaneous], otherwise: Reason::Blocked(party) };
    }
    if same_public_ip {
        return Plan { stages: vec![Stage::Simultaneous, Stage::Fresh], otherwise: Reason::SameNat };
    }
    let us = (ours, our_sockets.min(MAX_SOCKETS));
    let them = (theirs, their_sockets.min(MAX_SOCKETS));
    let (first, second) = if initiator { (us, them) } else { (them, us) };
    let mut stages = vec![Stage::Simultaneous];
    let mut hopeless = false;
    for (a, b) in assumptions(first.0, second.0) {
        let pair = [Side { sockets: first.1, ..a }, Side { sockets: second.1, ..b }];
        let further = further(pair);
        hopeless |= further.is_none();
        for stage in further.unwrap_or_default() {
            // Several assumptions may ask for the same spray. What costs little is tried more than once on purpose.
            let is_dear = matches!(stage.kind(), StageKind::Spray | StageKind::Product);
            if !(is_dear && stages.contains(&stage)) {
                stages.push(stage);
            }
        }
    }
    fit(&mut stages);
    let guesses = stages.iter().any(|stage| stage.kind() > StageKind::Fresh);
    let otherwise = match (hopeless, guesses) {
        (true, false) => Reason::TooManyPorts { ours: choices(ours), theirs: choices(theirs) },
        (_, true) => Reason::NotHit,
        (false, false) => Reason::NothingCame,
    };
    Plan { stages, otherwise }
}

/// How many ports a NAT chooses from, as text says it.
fn choices(fingerprint: &Fingerprint) -> u32 {
    match fingerprint.ports {
        Some(Ports::Random { lowest, highest }) => Pool { lowest, highest }.len(),
        _ => ALL_PORTS.len(),
    }
}

/// One end, with everything known or assumed.
#[derive(Clone, Copy, Debug)]
struct Side {
    mapping: Mapping,
    filtering: Filtering,
    aim: Aim,
    sockets: u16,
}

impl Side {
    fn of(fingerprint: &Fingerprint, mapping: Mapping) -> Self {
        let aim = match fingerprint.ports {
            Some(Ports::Sequential { step }) if step != 0 => Aim::After { step },
            Some(Ports::Random { lowest, highest }) if lowest <= highest => Aim::Pool(Pool { lowest, highest }),
            _ => Aim::Pool(ALL_PORTS),
        };
        let filtering = fingerprint.filtering.unwrap_or(Filtering::ByAddressAndPort);
        Self { mapping, filtering, aim, sockets: 0 }
    }

    fn is_known(&self) -> bool {
        self.mapping == Mapping::Independent
    }

    /// Ports among which the next one is.
    fn pool(&self) -> u32 {
        match self.aim {
            Aim::Pool(pool) => pool.len(),
            Aim::After { .. } => SLACK.into(),
        }
    }
}

/// What the two may be, the kindest first. Two NATs of which nothing is known are not both assumed to be of the worst kind: nothing could be
/// done about it.
fn assumptions(first: &Fingerprint, second: &Fingerprint) -> Vec<(Side, Side)> {
    let (mapped, also) = (mapping(first), mapping(second));
    let sides = |fingerprint: &Fingerprint, mapping: Option<Mapping>| match mapping {
        Some(mapping) => vec![Side::of(fingerprint, mapping)],
        None => {
            [Mapping::Independent, Mapping::ByAddressAndPort].map(|mapping| Side::of(fingerprint, mapping)).to_vec()
        }
    };
    let mut pairs = Vec::new();
    for a in sides(first, mapped) {
        for b in sides(second, also) {
            let both_assumed = mapped.is_none() && also.is_none();
            if !(both_assumed && !a.is_known() && !b.is_known()) {
                pairs.push((a, b));
            }
        }
    }
    pairs
}

fn mapping(fingerprint: &Fingerprint) -> Option<Mapping> {
    if fingerprint.translated == Some(false) { Some(Mapping::Independent) } else { fingerprint.mapping }
}

/// What follows the first simultaneous open. `None`: nothing that has a fair chance.
fn further([a, b]: [Side; 2]) -> Option<Vec<Stage>> {
    let again = || Some(vec![Stage::Fresh; FRESH]);
    match (a.is_known(), b.is_known()) {
        (true, true) => again(),
        (false, true) if b.filtering < Filtering::ByAddressAndPort => again(),
        (true, false) if a.filtering < Filtering::ByAddressAndPort => again(),
        (false, true) => Some(spray(End::Initiator, &a)),
        (true, false) => Some(spray(End::Responder, &b)),
        (false, false) => both_unseen(&a, &b),
    }
}

fn both_unseen(a: &Side, b: &Side) -> Option<Vec<Stage>> {
    let by_port = Filtering::ByAddressAndPort;
    let one_maps_by_address = a.mapping == Mapping::ByAddress || b.mapping == Mapping::ByAddress;
    let (loose, strict) = (a.filtering.min(b.filtering), a.filtering.max(b.filtering));
    if loose == Filtering::Independent && strict < by_port && one_maps_by_address {
        return Some(vec![Stage::Fresh]);
    }
    // Who can hold: its sockets have to answer from where they were found, or the other end's address has to stay the same.
    let holds = |holder: &Side| holder.filtering < by_port && one_maps_by_address;
    let holders = [(a.pool(), End::Initiator, a), (b.pool(), End::Responder, b)];
    // A holder that maps by address is found at once; one that maps by port has to be found twice.
    let best =
        holders.into_iter().filter(|(_, _, side)| holds(side)).min_by_key(|(pool, _, side)| (side.mapping, *pool));
    if let Some((_, end, side)) = best {
        return Some(spray(end, side));
    }
    if let (Aim::After { step: initiator }, Aim::After { step: responder }) = (a.aim, b.aim) {
        return Some(vec![Stage::Predict { initiator, responder }; PREDICTIONS]);
    }
    product(a, b).map(|stage| vec![stage])
}

#[cfg(test)]
mod tests;
