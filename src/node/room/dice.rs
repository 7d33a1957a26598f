//! Numbers that nobody outside can guess, from a seed given at construction.

use core::fmt;

/// Draws numbers. A value like any other: a copy draws the same ones.
#[derive(Clone)]
pub(super) struct Dice {
    seed: [u8; 32],
    drawn: u64,
}

impl Dice {
    /// Nothing was drawn.
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Fills `bytes`.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        self.drawn += 1;
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(&self.drawn.to_be_bytes());
        hasher.finalize_xof().fill(bytes);
    }

    /// A number.
    pub(super) fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// As if nothing had been drawn: for whoever compares rooms.
    #[cfg(test)]
    pub(super) const fn rewind(&mut self) {
        self.drawn = 0;
    }
}

impl fmt::Debug for Dice {
    /// The seed is a secret: invitations are drawn from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dice").field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_draws_the_same_and_no_two_draws_are_alike() {
        let mut dice = Dice::new([1; 32]);
        let mut copy = dice.clone();
        let drawn: std::collections::BTreeSet<u64> = (0..1000).map(|_| dice.number()).collect();
        assert_eq!(drawn.len(), 1000);
        assert!((0..1000).all(|_| drawn.contains(&copy.number())));
        assert!(!drawn.contains(&Dice::new([2; 32]).number()));
        assert!(!format!("{dice:?}").contains("seed"));
    }
}
