//! Which of two paths is the better one: a pure function, so that the answer can be read in a table.

use super::path::Path;
use crate::time::Duration;

/// A path is only better if its round trip is shorter by at least this…
const SHORTER_BY: Duration = Duration::from_millis(5);

/// …and by more than this part of the other's, a fifth: two paths that are about the same do not take turns.
const SHORTER_PART: u32 = 5;

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merit {
    relayed: bool,
    rtt: Duration,
}

impl Merit {
    pub(super) const fn of(path: &Path) -> Self {
        Self { relayed: path.route.is_relayed(), rtt: path.rtt.smoothed() }
    }

    /// Whether data should leave the path of `present` for this one. Direct before relayed, whatever the round trip: a relay is
    /// somebody's, and its bytes are counted twice.
    pub(super) fn is_better_than(self, present: Self) -> bool {
        match (self.relayed, present.relayed) {
            (false, true) => true,
            (true, false) => false,
            _ => {
                let shorter = present.rtt.saturating_sub(self.rtt);
                shorter >= SHORTER_BY && shorter > present.rtt / SHORTER_PART
            }
        }
    }

    /// For an order among those that are not clearly better or worse.
    const fn key(self) -> (bool, Duration) {
        (self.relayed, self.rtt)
    }
}

/// Whether data should leave `present` for `candidate`.
pub(in crate::mrt::connection) fn is_better(candidate: &Path, present: &Path) -> bool {
    Merit::of(candidate).is_better_than(Merit::of(present))
}

/// Where the best of the paths that are alive lies.
pub(in crate::mrt::connection) fn best(paths: &[Path]) -> Option<usize> {
    let alive = paths.iter().enumerate().filter(|(_, path)| path.liveness.is_alive());
    alive.min_by_key(|(_, path)| (path.liveness.is_suspect(), Merit::of(path).key())).map(|(index, _)| index)
}

/// Where the path lies that is missed least.
pub(in crate::mrt::connection) fn worst(paths: &[Path]) -> Option<usize> {
    let paths = paths.iter().enumerate();
    paths.max_by_key(|(_, path)| (!path.liveness.is_alive(), Merit::of(path).key())).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_before_relayed_and_then_only_what_is_clearly_shorter() {
        let table = [
            // candidate (relayed, ms), present (relayed, ms), moves
            ((false, 500), (true, 10), true),
            ((true, 1), (false, 500), false),
            ((false, 79), (false, 100), true),
            ((false, 80), (false, 100), false),
            ((false, 10), (false, 14), false),
            ((false, 10), (false, 15), true),
            ((true, 20), (true, 100), true),
            ((true, 95), (true, 100), false),
        ];
        for (candidate, present, moves) in table {
            let merit = |(relayed, ms)| Merit { relayed, rtt: Duration::from_millis(ms) };
            assert_eq!(merit(candidate).is_better_than(merit(present)), moves, "{candidate:?} {present:?}");
        }
    }
}
