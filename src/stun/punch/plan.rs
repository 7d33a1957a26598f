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
//! **Sizes.** Against a pool of P ports, k held sockets and m casts miss with (1 − k/P)^m: 256 × 1741 in 64,512 is 0.1 %. A product of
//! n₁ and n₂ fresh mappings meets n₁·n₂ / (P₁·P₂) times in the mean and misses with e to the minus that. Against a NAT that counts, the
//! product is over the window in which its next ports are: each is used for one destination only, so that the other end's pool has to be
//! drawn through alone (and no number of packets from the counting end helps).

use crate::stun::fingerprint::{Filtering, Fingerprint, Mapping, Ports};
use core::fmt;

/// Probes that one end sends in one punch, at most: a home router has died at 5,000 flows.
pub const MAX_PROBES: u16 = 2_600;

/// Sockets that one end opens for one punch, at most.
pub const MAX_SOCKETS: u16 = 256;

/// Probes that are kept back from the largest stage for what comes before it and for answers.
const RESERVE: u16 = 30;

/// Every port that a NAT may choose, unless it is known to choose from fewer.
const ALL_PORTS: Pool = Pool { lowest: 1024, highest: u16::MAX };

/// The chance of missing that sizes are chosen for: a product's is 1 %, e^−4.6. A spray is cheap enough for 0.1 %, e^−6.9.
const PRODUCT_MEETINGS: f64 = 4.6;
const SPRAY_MEETINGS: f64 = 6.9078;

/// A product that meets less often than this in the mean is not tried: it is likelier to fail than to succeed, and costs all there is.
const WORTHWHILE: f64 = 0.5;

/// Rounds from fresh ports: both ends have to begin within the time that a packet takes, and how long an offer takes one way can only be
/// guessed. Each round guesses otherwise.
pub(super) const FRESH: usize = 3;

/// Rounds of prediction: with ten flows of others a second one hits nearly always.
const PREDICTIONS: usize = 4;

/// Ports that others may take from a counting NAT while a product is drawn from it.
pub(super) const SLACK: u16 = 64;

/// Which end of a punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The one that began it.
    Initiator,
    /// The other one.
    Responder,
}

impl End {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// The ports from `lowest` to `highest`, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pool {
    /// The lowest.
    pub lowest: u16,
    /// The highest, not below the lowest.
    pub highest: u16,
}

impl Pool {
    /// How many there are, from 1.
    pub const fn len(self) -> u32 {
        self.highest.saturating_sub(self.lowest) as u32 + 1
    }

    /// Never: a pool has a port.
    pub const fn is_empty(self) -> bool {
        false
    }
}

/// Where one end's next port is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aim {
    /// Anywhere in a pool.
    Pool(Pool),
    /// A few steps after the last one. It has to be asked for just before.
    After {
        /// The distance from one port to the next, not 0.
        step: i16,
    },
}

/// What one end puts into a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    /// Sockets to send from.
    pub sockets: u16,
    /// Probes to send, each from a mapping of its own.
    pub probes: u16,
}

/// One way of trying. A stage is one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Both send to each other's candidates at the same time, and answer to where they hear from.
    Simultaneous,
    /// The same from a port that nobody has sent to yet.
    Fresh,
    /// Both NATs count: two series of probes that cross.
    Predict {
        /// The step of the initiator's NAT.
        initiator: i16,
        /// The step of the other one.
        responder: i16,
    },
    /// One end holds sockets, the other one casts over the ports that they may have.
    Spray {
        /// Who opens sockets.
        holder: End,
        /// How many.
        sockets: u16,
        /// How many ports the other one casts at.
        probes: u16,
        /// Where they are.
        aim: Aim,
    },
    /// Both guess at once.
    Product {
        /// What the initiator does.
        initiator: Share,
        /// What the other one does.
        responder: Share,
        /// Where the initiator's ports are.
        initiator_aim: Aim,
        /// Where the other one's are.
        responder_aim: Aim,
    },
}

/// A stage without its numbers: what experience is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StageKind {
    /// [`Stage::Simultaneous`]
    Simultaneous,
    /// [`Stage::Fresh`]
    Fresh,
    /// [`Stage::Predict`], or a spray at a counting NAT.
    Predict,
    /// [`Stage::Spray`]
    Spray,
    /// [`Stage::Product`]
    Product,
}

impl Stage {
    /// Which kind it is of.
    pub const fn kind(&self) -> StageKind {
        match self {
            Self::Simultaneous => StageKind::Simultaneous,
            Self::Fresh => StageKind::Fresh,
            Self::Predict { .. } | Self::Spray { aim: Aim::After { .. }, .. } => StageKind::Predict,
            Self::Spray { .. } => StageKind::Spray,
            Self::Product { .. } => StageKind::Product,
        }
    }

    /// Probes that this end sends in it, beside those to candidates.
    pub const fn probes(&self, end: End) -> u16 {
        match *self {
            Self::Simultaneous | Self::Fresh => 0,
            Self::Predict { .. } => 64,
            Self::Spray { holder, sockets, probes, .. } => match (holder, end) {
                (End::Initiator, End::Initiator) | (End::Responder, End::Responder) => sockets.saturating_mul(2),
                _ => probes,
            },
            Self::Product { initiator, responder, .. } => match end {
                End::Initiator => initiator.probes,
                End::Responder => responder.probes,
            },
        }
    }

    /// Sockets that this end opens for it.
    pub const fn sockets(&self, end: End) -> u16 {
        match *self {
            Self::Simultaneous => 0,
            Self::Fresh | Self::Predict { .. } => 1,
            Self::Spray { holder, sockets, .. } => match (holder, end) {
                (End::Initiator, End::Initiator) | (End::Responder, End::Responder) => sockets,
                _ => 1,
            },
            Self::Product { initiator, responder, .. } => match end {
                End::Initiator => initiator.sockets,
                End::Responder => responder.sockets,
            },
        }
    }

    /// Whether this end's next port has to be known when the stage begins.
    pub const fn counts(&self, end: End) -> bool {
        matches!(
            (self, end),
            (Self::Predict { .. }, _)
                | (Self::Spray { holder: End::Initiator, aim: Aim::After { .. }, .. }, End::Initiator)
                | (Self::Spray { holder: End::Responder, aim: Aim::After { .. }, .. }, End::Responder)
                | (Self::Product { initiator_aim: Aim::After { .. }, .. }, End::Initiator)
                | (Self::Product { responder_aim: Aim::After { .. }, .. }, End::Responder)
        )
    }
}

/// What to do, in order, and what to say when nothing of it worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One after the other, at least one.
    pub stages: Vec<Stage>,
    /// Why the pair is relayed then.
    pub otherwise: Reason,
}

/// Which of the two, in words of the one who reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// This end.
    Us,
    /// The other end.
    Them,
}

/// Why a pair is relayed: text for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// UDP does not get out there.
    Blocked(Party),
    /// Both NATs choose from too many ports.
    TooManyPorts {
        /// Ours.
        ours: u32,
        /// Theirs.
        theirs: u32,
    },
    /// By what is known, packets should get through.
    NothingCame,
    /// Ports were guessed at, and none was hit.
    NotHit,
    /// Both are behind one NAT, which does not let them meet.
    SameNat,
    /// Nobody has heard the other end from the address that it says it has: nothing is sprayed there.
    NotProven,
    /// Probes or sockets of all punches together are used up for the time being.
    Budget,
    /// The other end did not answer an offer.
    Silent,
    /// It was stopped here.
    Aborted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocked(Party::Us) => "UDP does not get out of our network",
            Self::Blocked(Party::Them) => "UDP does not get out of their network",
            Self::TooManyPorts { ours, theirs } => {
                return write!(
                    f,
                    "both NATs choose another port for each destination, ours of {ours}, theirs of {theirs}: too many to guess"
                );
            }
            Self::NothingCame => "no packet came through, though by what is known of the NATs it should",
            Self::NotHit => "their NAT's port was guessed at and not hit",
            Self::SameNat => "both are behind one NAT and do not reach each other inside",
            Self::NotProven => "their public address is not proven, so that no ports are tried there",
            Self::Budget => "the budget for probes is used up for now",
            Self::Silent => "the other end did not answer the offer to punch",
            Self::Aborted => "stopped",
        })
    }
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

/// Enough sockets and probes for one of the held ports to be hit.
fn spray(holder: End, side: &Side) -> Vec<Stage> {
    match side.aim {
        // Its ports are the next few. More sockets than one, so that a lost packet is no lost round.
        Aim::After { .. } => {
            vec![Stage::Spray { holder, sockets: side.sockets.clamp(1, 4), probes: SLACK, aim: side.aim }; 3]
        }
        Aim::Pool(pool) => {
            let ports = f64::from(pool.len());
            let even = (SPRAY_MEETINGS * ports).sqrt().ceil().max(8.0);
            let sockets = even.min(f64::from(side.sockets)).max(1.0);
            // A tenth more than needed, because packets get lost.
            let probes = (1.1 * SPRAY_MEETINGS * ports / sockets).ceil().min(ports).min(1750.0_f64.max(7.0 * even));
            vec![Stage::Spray {
                holder,
                sockets: sockets as u16,
                probes: (probes as u16).min(MAX_PROBES - RESERVE),
                aim: side.aim,
            }]
        }
    }
}

/// Both guess: as many probes as make a miss unlikely, or all there are if that is a fair chance.
fn product(a: &Side, b: &Side) -> Option<Stage> {
    let most = f64::from(MAX_PROBES - RESERVE);
    // Against a NAT that counts, nearly every probe of its own end is in the window; only the other end's luck counts.
    let (probes_a, probes_b, meetings) = match (a.aim, b.aim) {
        (Aim::Pool(p), Aim::Pool(q)) => {
            let pairs = f64::from(p.len()) * f64::from(q.len());
            let each = (PRODUCT_MEETINGS * pairs).sqrt().ceil().min(most);
            (each, each, each * each / pairs)
        }
        (Aim::After { .. }, Aim::Pool(pool)) => {
            let (own, other, meetings) = counted(pool, most);
            (own, other, meetings)
        }
        (Aim::Pool(pool), Aim::After { .. }) => {
            let (own, other, meetings) = counted(pool, most);
            (other, own, meetings)
        }
        (Aim::After { .. }, Aim::After { .. }) => return None,
    };
    if meetings < WORTHWHILE {
        return None;
    }
    let share = |end: &Side, probes: f64, target: &Side, other_probes: f64| {
        let ports = match target.aim {
            Aim::Pool(pool) => f64::from(pool.len()),
            Aim::After { .. } => other_probes,
        };
        // Each probe needs a mapping that no other one had: another socket or another port. One that maps by address has one a socket.
        let needed = (probes / ports).ceil() + 1.0;
        let sockets = if end.mapping == Mapping::ByAddress { 64.0_f64.max(needed) } else { needed.max(4.0) };
        Share { sockets: sockets.min(f64::from(end.sockets)).max(1.0) as u16, probes: probes as u16 }
    };
    Some(Stage::Product {
        initiator: share(a, probes_a, b, probes_b),
        responder: share(b, probes_b, a, probes_a),
        initiator_aim: a.aim,
        responder_aim: b.aim,
    })
}

/// Probes of an end that counts, probes of the end that draws from this pool, and how often they meet.
fn counted(pool: Pool, most: f64) -> (f64, f64, f64) {
    let ports = f64::from(pool.len());
    let own = most.min(1000.0);
    let in_window = own / (own + f64::from(SLACK));
    let other = (PRODUCT_MEETINGS * ports / in_window).ceil().min(most);
    (own, other, other * in_window / ports)
}

/// Makes the guessing stages of all assumptions together fit the budget of each end.
fn fit(stages: &mut [Stage]) {
    for end in [End::Initiator, End::Responder] {
        let total: u32 = stages.iter().map(|stage| u32::from(stage.probes(end))).sum();
        let most = u32::from(MAX_PROBES - RESERVE);
        if total <= most {
            continue;
        }
        let shrink = |count: u16| (u32::from(count) * most / total) as u16;
        for stage in stages.iter_mut() {
            match stage {
                Stage::Spray { holder, sockets, probes, .. } => {
                    let shrunk = if *holder == end { sockets } else { probes };
                    *shrunk = shrink(*shrunk).max(1);
                }
                Stage::Product { initiator, responder, .. } => {
                    let share = if end == End::Initiator { initiator } else { responder };
                    share.probes = shrink(share.probes).max(1);
                }
                Stage::Simultaneous | Stage::Fresh | Stage::Predict { .. } => {}
            }
        }
    }
}

/// One line for a log: `spray(initiator holds 256, 1741 casts)`.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |end: End| if end == End::Initiator { "initiator" } else { "responder" };
        match *self {
            Self::Simultaneous => f.write_str("simultaneous"),
            Self::Fresh => f.write_str("fresh"),
            Self::Predict { initiator, responder } => write!(f, "predict({initiator:+}, {responder:+})"),
            Self::Spray { holder, sockets, probes, aim: Aim::Pool(pool) } => {
                write!(f, "spray({} holds {sockets}, {probes} casts at {})", who(holder), pool.len())
            }
            Self::Spray { holder, sockets, probes, aim: Aim::After { step } } => {
                write!(f, "predict({} holds {sockets}, {probes} casts after, step {step:+})", who(holder))
            }
            Self::Product { initiator, responder, .. } => {
                let (a, b) = (initiator, responder);
                write!(f, "product({}×{}, {}×{})", a.sockets, a.probes, b.sockets, b.probes)
            }
        }
    }
}

#[cfg(test)]
mod tests;
