//! Who comes next: an ordering, not a vote.

use crate::node::identity::NodeId;
use core::cmp::Reverse;
use serde::{Deserialize, Serialize};

/// How the supernode reaches a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reach {
    /// Nothing comes from there at the moment.
    Silent,
    /// Packets go both ways.
    Heard,
    /// Whoever knows the address can reach it.
    Open,
}

/// Four quarters.
pub(super) const ALL_REACH_IT: u8 = 4;

/// A member's rank, all of it measured by the supernode: a member cannot choose its own. Greater leads sooner; the fields are in order of
/// weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rank {
    /// A supernode has to be reached.
    pub reach: Reach,
    /// How often supernodes of this member's build were lost lately: fewer is better.
    pub crashes: Reverse<u32>,
    /// By how many of the others it is reached without the supernode, in quarters: whoever leads must be reached when the supernode is gone.
    /// All four where nobody tried.
    pub reached: u8,
    /// How many were admitted before this member: fewer is better, since who stayed long tends to stay.
    pub tenure: Reverse<u64>,
    /// What it can carry, in KiB/s; 0 where it was not measured.
    pub capacity: u32,
    /// Two members never rank the same: the lower id leads.
    pub id: Reverse<NodeId>,
}

impl Rank {
    /// Of whoever opens a room.
    pub(super) const fn first(id: NodeId) -> Self {
        let (reach, crashes, reached) = (Reach::Heard, Reverse(0), ALL_REACH_IT);
        Self { reach, crashes, reached, tenure: Reverse(1), capacity: 0, id: Reverse(id) }
    }

    /// Every term, in order of weight, as `name=value`.
    pub fn terms(&self) -> Vec<String> {
        let reach = match self.reach {
            Reach::Silent => "silent",
            Reach::Heard => "heard",
            Reach::Open => "open",
        };
        vec![
            format!("reach={reach}"),
            format!("crashes={}", self.crashes.0),
            format!("reached={}/{ALL_REACH_IT}", self.reached),
            format!("tenure={}", self.tenure.0),
            format!("capacity={}", self.capacity),
            format!("id={}", self.id.0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(reach: Reach, crashes: u32, reached: u8, tenure: u64, capacity: u32, id: u8) -> Rank {
        let (crashes, tenure, id) = (Reverse(crashes), Reverse(tenure), Reverse(NodeId([id; 32])));
        Rank { reach, crashes, reached, tenure, capacity, id }
    }

    #[test]
    fn each_term_outweighs_all_that_follow() {
        let descending = [
            rank(Reach::Open, 9, 0, 9, 0, 9),
            rank(Reach::Heard, 0, 0, 9, 0, 9),
            rank(Reach::Heard, 1, 4, 9, 0, 9),
            rank(Reach::Heard, 1, 3, 0, 0, 9),
            rank(Reach::Heard, 1, 3, 1, 5, 9),
            rank(Reach::Heard, 1, 3, 1, 4, 1),
            rank(Reach::Heard, 1, 3, 1, 4, 2),
            rank(Reach::Silent, 0, 4, 0, 9, 0),
        ];
        assert!(descending.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn every_term_is_shown() {
        let terms = rank(Reach::Heard, 1, 3, 2, 3, 4).terms();
        assert_eq!(terms[..5], ["reach=heard", "crashes=1", "reached=3/4", "tenure=2", "capacity=3"]);
        assert!(terms[5].starts_with("id="));
    }
}
