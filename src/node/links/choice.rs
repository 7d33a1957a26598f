//! Two connections to one node on which both said hello: which one stays.

use crate::node::identity::NodeId;
use crate::time::Duration;

/// Two nodes that dial each other at the same time see both connections within this time: longer than a handshake and a hello
/// may take together. A second connection that comes later says that the other end lost the first one.
pub(super) const SIMULTANEOUS: Duration = Duration::from_secs(10);

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Who made the connection.
    pub(super) initiator: NodeId,
    /// The start of the other end's program.
    pub(super) program: u64,
}

/// What is to be done with a second connection that proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The first is stale: its peer started again, or lost it. Down and up again.
    Restart,
    /// Both are alive: go on with the second, without a word.
    MoveToSecond,
    /// Both are alive: the first stays.
    KeepFirst,
}

/// The rule. Both ends know the same facts but for `age` (how long the first has been there), whose limit is far from what
/// simultaneous dialling gives; so that both choose alike.
pub(super) fn choose(first: Candidate, second: Candidate, age: Duration) -> Choice {
    if first.program != second.program || first.initiator == second.initiator || age >= SIMULTANEOUS {
        // Who made a connection says no hello on it while it has another one to the same node: whoever says hello again has no use for
        // the first.
        Choice::Restart
    } else if second.initiator < first.initiator {
        Choice::MoveToSecond
    } else {
        Choice::KeepFirst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: NodeId = NodeId([1; 32]);
    const HIGH: NodeId = NodeId([2; 32]);

    fn made_by(initiator: NodeId) -> Candidate {
        Candidate { initiator, program: 7 }
    }

    #[test]
    fn both_ends_keep_what_the_lower_id_made_whatever_they_saw_first() {
        let soon = Duration::from_millis(40);
        assert_eq!(choose(made_by(LOW), made_by(HIGH), soon), Choice::KeepFirst);
        assert_eq!(choose(made_by(HIGH), made_by(LOW), soon), Choice::MoveToSecond);
    }

    /// A program that was killed and started again has the same key, and knows nothing of the old connection.
    #[test]
    fn a_peer_that_started_again_wins_over_its_own_ghost() {
        let again = Candidate { initiator: HIGH, program: 8 };
        assert_eq!(choose(made_by(LOW), again, Duration::from_millis(1)), Choice::Restart);
    }

    #[test]
    fn a_second_hello_by_the_same_end_or_much_later_means_that_the_first_is_dead_there() {
        assert_eq!(choose(made_by(HIGH), made_by(HIGH), Duration::ZERO), Choice::Restart);
        assert_eq!(choose(made_by(LOW), made_by(HIGH), SIMULTANEOUS), Choice::Restart);
    }
}
