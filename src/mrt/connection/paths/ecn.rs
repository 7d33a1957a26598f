//! Whether paths carry ECN marks (RFC 9000 §13.4.2): tried, and given up when the counts that come back do not fit.
//!
//! The other side counts marks for the whole connection, since there is one packet number space; whether to go on marking is judged for
//! each path.

use crate::machine::Ecn;

/// Packets that were acknowledged without a single count, after which the path is taken to wipe marks.
const GIVE_UP_AFTER: u64 = 10;

/// A path's verdict.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::mrt::connection) struct EcnState {
    failed: bool,
    acked: u64,
}

impl EcnState {
    /// The mark for the next packet.
    pub(in crate::mrt::connection) const fn mark(&self) -> Ecn {
        if self.failed { Ecn::NotCapable } else { Ecn::Capable0 }
    }
}

/// What was marked, and what the other side counted, over all paths.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::mrt::connection) struct Marks {
    marked: u64,
    counts: [u64; 3],
}

impl Marks {
    /// A packet left on that path.
    pub(in crate::mrt::connection) const fn on_sent(&mut self, path: &EcnState) {
        if !path.failed {
            self.marked += 1;
        }
    }

    /// Packets that took that path were acknowledged, with the other side's counts. Returns whether a router newly said that it is
    /// congested.
    pub(in crate::mrt::connection) fn on_acked(
        &mut self,
        path: &mut EcnState,
        packets: usize,
        counts: Option<[u64; 3]>,
    ) -> bool {
        if path.failed || packets == 0 {
            return false;
        }
        path.acked = path.acked.saturating_add(packets as u64);
        let Some([ect0, ect1, ce]) = counts else {
            path.failed = path.acked >= GIVE_UP_AFTER;
            return false;
        };
        let [old_ect0, old_ect1, old_ce] = self.counts;
        // Acknowledgements arrive in any order: an older one has smaller counts and is skipped. More marks than were sent are lies.
        if ect0 < old_ect0 || ect1 < old_ect1 || ce < old_ce {
            return false;
        }
        self.counts = [ect0, ect1, ce];
        path.failed = ect0.saturating_add(ect1).saturating_add(ce) > self.marked || ect1 > 0;
        !path.failed && ce > old_ce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(packets: u64) -> (Marks, EcnState) {
        let (mut marks, path) = (Marks::default(), EcnState::default());
        (0..packets).for_each(|_| marks.on_sent(&path));
        (marks, path)
    }

    #[test]
    fn a_path_that_wipes_marks_is_not_marked_any_more() {
        let (mut marks, mut path) = marked(20);
        assert!(!marks.on_acked(&mut path, 9, None));
        assert_eq!(path.mark(), Ecn::Capable0);
        assert!(!marks.on_acked(&mut path, 1, None));
        assert_eq!(path.mark(), Ecn::NotCapable);
    }

    #[test]
    fn marks_are_counted_on_when_the_connection_moves() {
        let (mut marks, mut path) = marked(20);
        marks.on_acked(&mut path, 20, Some([20, 0, 0]));
        let mut other = EcnState::default();
        marks.on_sent(&other);
        marks.on_acked(&mut other, 1, Some([21, 0, 0]));
        assert_eq!(other.mark(), Ecn::Capable0);
    }

    #[test]
    fn a_new_congestion_mark_is_told_once_and_impossible_counts_end_it() {
        let (mut marks, mut path) = marked(20);
        assert!(marks.on_acked(&mut path, 4, Some([3, 0, 1])));
        assert!(!marks.on_acked(&mut path, 2, Some([5, 0, 1])));
        assert!(!marks.on_acked(&mut path, 2, Some([50, 0, 9])), "more marks than packets");
        assert_eq!(path.mark(), Ecn::NotCapable);
    }
}
