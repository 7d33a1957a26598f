//! What became of one run.

use core::time::Duration;

/// Of a file's bytes, in per cent, what a relay may have sent meanwhile if the path was direct: its own acknowledgements, keepalives and
/// the room's talk are far less, and the whole file is more.
const RELAYED_FROM: u64 = 10;

/// See above. Times are since the run began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// A line of chat went each way and the file arrived whole.
    pub(crate) is_connected: bool,
    /// When both knew of each other.
    pub(crate) known: Option<Duration>,
    /// When both said that their path is direct.
    pub(crate) direct: Option<Duration>,
    /// What each says that it has spent on finding it.
    pub(crate) packets: [u64; 2],
    /// The file, in bytes.
    pub(crate) size: u64,
    /// What the supernode sent while it went from A to B, in bytes. `None`: it did not arrive.
    pub(crate) relayed: Option<u64>,
    /// Why it is as it is, in the words of a node or in ours.
    pub(crate) why: Option<String>,
}

impl Outcome {
    /// Said by both, and proven by the counters.
    pub(crate) fn is_direct(&self) -> bool {
        self.is_connected && self.direct.is_some() && self.goes_past_the_relay() == Some(true)
    }

    /// Whether the file did not go through the supernode.
    pub(crate) fn goes_past_the_relay(&self) -> Option<bool> {
        let relayed = self.relayed?;
        Some(relayed.saturating_mul(100) < self.size.saturating_mul(RELAYED_FROM))
    }

    /// From when both knew of each other to when both had a direct path.
    pub(crate) fn time_to_direct(&self) -> Option<Duration> {
        self.is_direct().then_some(())?;
        Some(self.direct?.saturating_sub(self.known?))
    }

    /// A few words for a table, if it is not direct.
    pub(crate) fn reason(&self) -> Option<String> {
        let said = || self.why.clone();
        match (self.is_connected, self.direct, self.goes_past_the_relay()) {
            (true, Some(_), Some(true)) => None,
            (true, Some(_), _) => Some("they say direct, the supernode's counter says relayed".into()),
            (true, None, Some(true)) => Some("they say relayed, the supernode's counter says direct".into()),
            (true, None, _) => Some(said().unwrap_or_else(|| "no reason was given".into())),
            (false, ..) => Some(format!("not connected: {}", said().unwrap_or_else(|| "no reason was given".into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn good() -> Outcome {
        Outcome {
            is_connected: true,
            known: Some(100 * MS),
            direct: Some(220 * MS),
            size: 1000,
            relayed: Some(99),
            ..Outcome::default()
        }
    }

    #[test]
    fn a_path_is_direct_if_both_say_so_and_the_relay_sent_next_to_nothing() {
        assert_eq!((good().is_direct(), good().time_to_direct(), good().reason()), (true, Some(120 * MS), None));
        for worse in [
            Outcome { relayed: Some(100), ..good() },
            Outcome { relayed: None, ..good() },
            Outcome { direct: None, ..good() },
            Outcome { is_connected: false, ..good() },
        ] {
            assert!(!worse.is_direct() && worse.time_to_direct().is_none() && worse.reason().is_some(), "{worse:?}");
        }
    }

    #[test]
    fn one_can_have_a_direct_path_before_both_know_of_each_other() {
        assert_eq!(Outcome { direct: Some(50 * MS), ..good() }.time_to_direct(), Some(Duration::ZERO));
    }
}
