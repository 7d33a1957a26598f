//! Behind what the members are.

use super::scene::Scene;
use crate::failure::Failure;
use crate::kernel;
use crate::nodes::kind::Kind;
use crate::nodes::world::Plan;
use clap::ValueEnum;
use netem::{Behaviour, Ports};

/// Whose NATs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Nats {
    /// Nobody is behind one
    None,
    /// The model's
    Model,
    /// The kernel's
    Kernel,
}

/// The names of hosts. The first opens the room.
const NAMES: [&str; 8] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"];

/// Behind one of each, so that a room of any size has some that reach each other only by punching, and some only by guessing. The first is in
/// the world: somebody must be found to begin with.
const MIX: [&str; 8] = [
    "public",
    "port-restricted",
    "full-cone",
    "symmetric",
    "restricted",
    "port-restricted-random",
    "symmetric-sequential",
    "symmetric-4096",
];

/// Of those behind symmetric NATs only the last is reached by the others. Its pool is so small that three of them can guess at it within
/// what a node may spend on that in two minutes; where both ends draw from thousands of ports nobody can.
const HARD: [&str; 5] = ["public", "symmetric-4096", "symmetric-4096", "symmetric-4096", FEW_PORTS];

/// A symmetric NAT with a block of ports, as providers give to a subscriber. The library has no name for it.
const FEW_PORTS: &str = "symmetric-64";
const FEW: u16 = 64;

/// Of these, nobody.
const APART: [&str; 4] = ["public", "symmetric", "symmetric", "symmetric"];

impl Nats {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }
}

/// Who is where in a scene.
pub(crate) fn plans(scene: Scene, nats: Nats, members: u8) -> Result<Vec<Plan>, Failure> {
    let kinds: &[&str] = match scene {
        Scene::AllHard | Scene::AllHardQuit => &HARD,
        Scene::Unreachable | Scene::Returns => &APART,
        _ => MIX.get(..usize::from(members)).unwrap_or(&MIX),
    };
    NAMES
        .into_iter()
        .zip(kinds)
        .map(|(name, kind)| {
            let kind = match nats {
                Nats::None => return Ok(Plan::public(name)),
                _ if *kind == FEW_PORTS => few_ports(nats),
                Nats::Model => Kind::model(kind)?,
                Nats::Kernel => {
                    let ours = Kind::of_the_kernel(kind)?;
                    ours.ok_or_else(|| Failure::new(format!("{kind}: the kernel has no such NAT")))?
                }
            };
            Ok(Plan::new(name, kind))
        })
        .collect()
}

fn few_ports(nats: Nats) -> Kind {
    let behaviour = Behaviour { ports: Ports::Random { pool: FEW }, ..Behaviour::symmetric() };
    let kernel = (nats == Nats::Kernel).then_some(kernel::Kind::Symmetric64);
    Kind { name: FEW_PORTS.into(), nats: vec![behaviour], kernel }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netem::direct_path_required;

    /// By number: whether a direct path between these two is expected of any room.
    fn reaches(scene: Scene, a: usize, b: usize) -> bool {
        let plans = plans(scene, Nats::Model, 4).unwrap();
        let nats = |number: usize| plans[number].kind.clone().unwrap().nats;
        direct_path_required(&nats(a), &nats(b))
    }

    #[test]
    fn every_scene_has_its_places_behind_both_sorts_of_nats() {
        for scene in Scene::value_variants() {
            for nats in [Nats::None, Nats::Model, Nats::Kernel] {
                let plans = plans(*scene, nats, 8).unwrap();
                assert!(plans.len() >= 4, "{scene:?}");
                assert!(plans.iter().all(|plan| (plan.kind.is_none()) == (nats == Nats::None)));
            }
        }
    }

    /// Otherwise `all-hard` would be lost from the start, and `unreachable` no news.
    #[test]
    fn one_of_the_hard_ones_is_reached_by_all_and_those_apart_by_nobody() {
        for member in 1..4 {
            assert!(reaches(Scene::AllHard, member, 4), "{member}");
        }
        for (a, b) in [(1, 2), (1, 3), (2, 3)] {
            assert!(!reaches(Scene::Unreachable, a, b));
            assert!(!reaches(Scene::AllHard, a, b));
        }
    }
}
