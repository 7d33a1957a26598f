//! Which pairs of kinds there are.

use super::options::{Options, Pairs};
use crate::failure::Failure;
pub(crate) use crate::nodes::kind::Kind;
use core::time::Duration;
use netem::{MATRIX, Possible, direct_path_possible, direct_path_required};

/// Two of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair(pub(crate) Kind, pub(crate) Kind);

/// One for each way to meet.
const REPRESENTATIVE: [[&str; 2]; 8] = [
    ["public", "symmetric"],
    ["port-restricted", "port-restricted"],
    ["port-restricted", "symmetric"],
    ["port-restricted-random", "symmetric-sequential"],
    ["address-dependent", "symmetric-sequential-2-busy"],
    ["symmetric-sequential", "symmetric-sequential"],
    ["symmetric-512", "symmetric-4096"],
    ["symmetric", "symmetric"],
];

impl Pair {
    /// Whether a direct path must be found.
    pub(crate) fn is_required(&self) -> bool {
        direct_path_required(&self.0.nats, &self.1.nats)
    }

    /// How long it may take in the median: three round trips, or, where ports have to be guessed at, five seconds.
    pub(crate) fn bar(&self, rtt: Duration) -> Duration {
        if self.is_guess() { Duration::from_secs(5) } else { rtt * 3 }
    }

    /// Whether ports have to be guessed at.
    pub(crate) fn is_guess(&self) -> bool {
        direct_path_possible(&self.0.nats, &self.1.nats) != Possible::Yes
    }

    pub(crate) fn name(&self) -> String {
        format!("{} × {}", self.0.name, self.1.name)
    }
}

/// The pairs that are asked for, and the names of kinds that the kernel does not have.
pub(crate) fn pairs(options: &Options) -> Result<(Vec<Pair>, Vec<String>), Failure> {
    let names: Vec<[String; 2]> = if !options.kinds.is_empty() {
        every_pair(&options.kinds)
    } else if options.pairs == Pairs::All {
        every_pair(&MATRIX.map(|(name, _)| name.to_owned()))
    } else {
        REPRESENTATIVE.map(|pair| pair.map(String::from)).to_vec()
    };
    let (mut pairs, mut missing) = (Vec::new(), Vec::new());
    for [a, b] in names {
        let made =
            [&a, &b].map(|name| if options.kernel { Kind::of_the_kernel(name) } else { Kind::model(name).map(Some) });
        match made {
            [Ok(Some(a)), Ok(Some(b))] => pairs.push(Pair(a, b)),
            [Err(failure), _] | [_, Err(failure)] => return Err(failure),
            [first, second] => {
                let absent = [(a, first), (b, second)].into_iter().filter(|(_, made)| matches!(made, Ok(None)));
                missing.extend(absent.map(|(name, _)| name));
            }
        }
    }
    missing.sort_unstable();
    missing.dedup();
    Ok((pairs, missing))
}

fn every_pair(names: &[String]) -> Vec<[String; 2]> {
    let from = |at: usize| names.iter().skip(at).cloned();
    names.iter().enumerate().flat_map(|(at, a)| from(at).map(move |b| [a.clone(), b])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Subcommand};
    use clap::Parser;

    fn options(arguments: &[&str]) -> Options {
        let all = ["netem", "matrix"].iter().chain(arguments);
        match Arguments::parse_from(all).subcommand {
            Subcommand::Matrix(options) => options,
            _ => panic!(),
        }
    }

    #[test]
    fn thirteen_kinds_are_ninety_one_pairs_and_the_others_are_among_them() {
        let (all, missing) = pairs(&options(&["--pairs", "all"])).unwrap();
        assert_eq!((all.len(), missing.len()), (91, 0));
        let (eight, _) = pairs(&options(&[])).unwrap();
        assert!(eight.len() == 8 && eight.iter().all(|pair| all.iter().any(|other| other.name() == pair.name())));
        let (three, _) = pairs(&options(&["--kinds", "public,symmetric"])).unwrap();
        let three: Vec<String> = three.iter().map(Pair::name).collect();
        assert_eq!(three, ["public × public", "public × symmetric", "symmetric × symmetric"]);
        assert!(pairs(&options(&["--kinds", "cone"])).is_err());
    }

    #[test]
    fn what_the_kernel_cannot_be_is_named() {
        let (some, missing) = pairs(&options(&["--pairs", "all", "--kernel"])).unwrap();
        assert_eq!(missing, ["address-dependent", "symmetric-sequential-2-busy", "symmetric-sequential-busy"]);
        assert_eq!(some.len(), 55);
        assert!(some.iter().all(|pair| pair.1.name == "public" || pair.1.kernel.is_some()));
    }
}
