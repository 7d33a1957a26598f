//! How many sockets and probes a guessing stage takes.
//!
//! Against a pool of P ports, k held sockets and m casts miss with (1 − k/P)^m: 256 × 1741 in 64,512 is 0.1 %. A product of
//! n₁ and n₂ fresh mappings meets n₁·n₂ / (P₁·P₂) times in the mean and misses with e to the minus that. Against a NAT that counts, the
//! product is over the window in which its next ports are: each is used for one destination only, so that the other end's pool has to be
//! drawn through alone (and no number of packets from the counting end helps).

use super::Side;
use super::stage::{Aim, End, Pool, Share, Stage};
use crate::stun::fingerprint::Mapping;

/// Probes that one end sends in one punch, at most: a home router has died at 5,000 flows.
pub const MAX_PROBES: u16 = 3_000;

/// Sockets that one end opens for one punch, at most.
pub const MAX_SOCKETS: u16 = 256;

/// Probes that are kept back from the largest stage for what comes before it and for answers.
const RESERVE: u16 = 30;

/// The chance of missing that sizes are chosen for: a product's is 1 %, e^−4.6. A spray is cheap enough for 0.1 %, e^−6.9.
const PRODUCT_MEETINGS: f64 = 4.6;
const SPRAY_MEETINGS: f64 = 6.9078;

/// A product that meets less often than this in the mean, which is 45 of 100 times, is not tried: it fails more often than not, and costs all
/// there is.
const WORTHWHILE: f64 = 0.6;

/// Ports that others may take from a counting NAT while a product is drawn from it.
pub(in crate::stun::punch) const SLACK: u16 = 64;

/// Enough sockets and probes for one of the held ports to be hit.
pub(super) fn spray(holder: End, side: &Side) -> Vec<Stage> {
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
pub(super) fn product(a: &Side, b: &Side) -> Option<Stage> {
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
pub(super) fn fit(stages: &mut [Stage]) {
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
