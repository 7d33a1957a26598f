//! What there is to see, and what it must come to.

use super::places::Nats;
use clap::ValueEnum;
use core::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A way to lose a supernode, or one's way to it. The time that is measured is the first of the two where two are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scene {
    /// The supernode stands still for a minute: from then to the next line at everyone else; afterwards it is a member
    // First, because it takes longest.
    Stop,
    /// `Q` at the supernode: the longest that a line of that moment waits until it is at everyone
    Quit,
    /// SIGTERM to the supernode: the same
    Term,
    /// SIGKILL to the supernode: from then to the next line at everyone
    Kill,
    /// The supernode and the first in line are killed together: the same
    KillTwo,
    /// Halves are cut apart for 20 s: from the mending to one room at everyone
    Split,
    /// All members are behind symmetric NATs, and only the one with few ports is reached by the others; the supernode, which is behind none,
    /// is killed: as `kill`
    AllHard,
    /// … quits: as `quit`
    AllHardQuit,
    /// Behind symmetric NATs nobody reaches anybody but the supernode, which is behind none. It is cut off for a while; all say that
    /// they reach nobody; from the mending to one room at everyone
    Unreachable,
    /// The same, but it is killed, and started again: from then
    Returns,
    /// A member is killed, misses 20 lines and is started again: from then until it has shown them
    Restart,
    /// The supernode is killed while a file goes from member to member: the longest pause of what the holder sends
    Download,
}

/// What the times of all runs of a scene must not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) p50: Option<Duration>,
    pub(crate) p95: Option<Duration>,
}

impl Scene {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }

    /// Whether it makes sense behind these.
    pub(crate) const fn is_for(self, nats: Nats) -> bool {
        match self {
            Self::AllHard | Self::AllHardQuit | Self::Unreachable | Self::Returns => !matches!(nats, Nats::None),
            _ => true,
        }
    }

    /// What is good enough.
    pub(crate) fn bar(self, rtt: Duration) -> Bar {
        let unnoticed = |rtt: Duration| rtt * 3 + Duration::from_millis(100);
        match self {
            Self::Quit | Self::Term => Bar { p50: None, p95: Some(unnoticed(rtt)) },
            // By way of a relay a round trip is two.
            Self::AllHardQuit => Bar { p50: None, p95: Some(unnoticed(rtt * 2)) },
            Self::Kill | Self::AllHard => Bar { p50: Some(SECOND * 3 / 2), p95: Some(SECOND * 3) },
            Self::Stop => Bar { p50: None, p95: Some(SECOND * 3) },
            Self::KillTwo => Bar { p50: None, p95: Some(SECOND * 5) },
            Self::Split | Self::Restart => Bar { p50: None, p95: Some(SECOND * 10) },
            Self::Unreachable | Self::Returns => Bar { p50: None, p95: Some(SECOND * 30) },
            Self::Download => Bar::default(),
        }
    }

    /// What accesses carry where it matters, in bits per second: so little that a file is on its way for some seconds.
    pub(crate) const fn rate(self) -> Option<u64> {
        match self {
            Self::Download => Some(20_000_000),
            _ => None,
        }
    }

    /// Whether all screens show the same order from the first line to the last. Halves of a room each show their own lines first.
    pub(crate) const fn has_one_order(self) -> bool {
        !matches!(self, Self::Split | Self::Unreachable | Self::Returns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_are_called_as_they_are_typed() {
        let names: Vec<String> = Scene::value_variants().iter().map(|scene| scene.name()).collect();
        let all = "stop quit term kill kill-two split all-hard all-hard-quit unreachable returns restart download";
        assert_eq!(names.join(" "), all);
    }

    #[test]
    fn a_line_may_wait_three_round_trips_and_a_tenth_of_a_second_when_a_supernode_quits() {
        let bar = Scene::Quit.bar(Duration::from_millis(50));
        assert_eq!(bar.p95, Some(Duration::from_millis(250)));
    }
}
