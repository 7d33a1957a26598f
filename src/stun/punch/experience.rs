//! What worked before between two kinds of NAT: it is tried first, and what never worked is not tried again.

use crate::stun::fingerprint::{Filtering, Fingerprint, Mapping, Ports};
use crate::stun::punch::plan::StageKind;
use std::collections::BTreeMap;

/// Pairs of kinds that are remembered; the one that was not needed for longest goes first.
pub const MAX_PAIRS: usize = 64;

/// A stage that failed so often between two kinds, and never worked, is left out.
const GIVEN_UP_AFTER: u16 = 3;

/// A NAT as far as it decides what works: mapping, filtering, and the size of the pool in powers of two (0: counting or kept).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sort(Option<Mapping>, Option<Filtering>, Option<u8>);

impl Sort {
    fn of(fingerprint: &Fingerprint) -> Self {
        let mapping =
            if fingerprint.translated == Some(false) { Some(Mapping::Independent) } else { fingerprint.mapping };
        let pool = fingerprint.ports.map(|ports| match ports {
            Ports::Kept | Ports::Sequential { .. } => 0,
            Ports::Random { .. } => ports.pool().ilog2() as u8,
        });
        Self(mapping, fingerprint.filtering, pool)
    }
}

/// One value a node.
#[derive(Clone, Debug, Default)]
pub struct Experience {
    pairs: BTreeMap<(Sort, Sort), Memory>,
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    used: u64,
    stages: BTreeMap<StageKind, Record>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    worked: u16,
    failed: u16,
}

/// What a punch is to make of its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// To be tried first, right after the simultaneous open.
    pub first: Option<StageKind>,
    /// Not to be tried.
    pub skip: Vec<StageKind>,
}

impl Experience {
    /// What is known of two such NATs.
    pub fn advice(&mut self, ours: &Fingerprint, theirs: &Fingerprint) -> Advice {
        self.clock += 1;
        let Some(memory) = self.pairs.get_mut(&(Sort::of(ours), Sort::of(theirs))) else { return Advice::default() };
        memory.used = self.clock;
        let best = memory.stages.iter().filter(|(_, record)| record.worked > record.failed);
        let first = best.max_by_key(|(_, record)| record.worked).map(|(stage, _)| *stage);
        let hopeless = |(stage, record): (&StageKind, &Record)| {
            // The cheap ones cost nothing to speak of, and addresses differ where NATs are the same.
            let is_cheap = *stage <= StageKind::Fresh;
            (!is_cheap && record.worked == 0 && record.failed >= GIVEN_UP_AFTER).then_some(*stage)
        };
        Advice { first, skip: memory.stages.iter().filter_map(hopeless).collect() }
    }

    /// Between two such NATs a stage led to a path, or did not.
    pub fn note(&mut self, ours: &Fingerprint, theirs: &Fingerprint, stage: StageKind, worked: bool) {
        self.clock += 1;
        let pair = (Sort::of(ours), Sort::of(theirs));
        if !self.pairs.contains_key(&pair) && self.pairs.len() >= MAX_PAIRS {
            let oldest = self.pairs.iter().min_by_key(|(_, memory)| memory.used).map(|(pair, _)| *pair);
            oldest.map(|oldest| self.pairs.remove(&oldest));
        }
        let memory = self.pairs.entry(pair).or_default();
        memory.used = self.clock;
        let record = memory.stages.entry(stage).or_default();
        let count = if worked { &mut record.worked } else { &mut record.failed };
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(size: u16) -> Fingerprint {
        Fingerprint {
            mapping: Some(Mapping::ByAddressAndPort),
            filtering: Some(Filtering::ByAddressAndPort),
            ports: Some(Ports::Random { lowest: 2000, highest: 2000 + size - 1 }),
            ..Fingerprint::default()
        }
    }

    #[test]
    fn what_never_worked_is_left_out_and_what_worked_comes_first() {
        let (ours, theirs) = (random(512), random(4096));
        let mut experience = Experience::default();
        for _ in 0..GIVEN_UP_AFTER {
            assert_eq!(experience.advice(&ours, &theirs).skip, []);
            experience.note(&ours, &theirs, StageKind::Product, false);
            experience.note(&ours, &theirs, StageKind::Simultaneous, false);
        }
        assert_eq!(experience.advice(&ours, &theirs), Advice { first: None, skip: vec![StageKind::Product] });
        assert_eq!(experience.advice(&theirs, &ours), Advice::default(), "another pair");
        experience.note(&ours, &theirs, StageKind::Spray, true);
        assert_eq!(experience.advice(&ours, &theirs).first, Some(StageKind::Spray));
        experience.note(&ours, &theirs, StageKind::Product, true);
        assert_eq!(experience.advice(&ours, &theirs).skip, [], "it can work");
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_what_was_not_needed() {
        let mut experience = Experience::default();
        let kinds: Vec<_> = (0..16).map(|power| random(1 << power)).collect();
        for ours in &kinds {
            for theirs in &kinds {
                experience.note(&kinds[0], &kinds[0], StageKind::Spray, true);
                experience.note(ours, theirs, StageKind::Spray, true);
            }
        }
        assert_eq!(experience.pairs.len(), MAX_PAIRS);
        assert_eq!(experience.advice(&kinds[0], &kinds[0]).first, Some(StageKind::Spray));
    }
}
