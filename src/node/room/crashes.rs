//! Programs that are lost while they lead: a build that has been crashing leads last.

use super::parts::Room;
use super::view::MAX_REIGNS;
use crate::node::identity::NodeId;
use crate::node::record::MemberRecord;
use crate::time::{Duration, Instant};

/// A build that was lost so often is told of.
const ALARMING: u32 = 3;

/// Half of it is forgotten after so long.
const HALVES_AFTER: Duration = Duration::from_secs(3600);

/// A record's sequence begins with the time in milliseconds at which the program was started and rises by one with each change: within so
/// many it is the same run of the program.
const SAME_RUN: u64 = 1000;

/// What is not in the view.
#[derive(Clone, Debug, Default)]
pub(super) struct Crashes {
    /// When they were last halved.
    halved: Option<Instant>,
    /// The supernode that was lost last, its build and the sequence of its record.
    last: Option<(NodeId, u32, u64)>,
}

impl Room {
    /// The build of the lost supernode gets a mark.
    pub(super) fn note_crash(&mut self, now: Instant) {
        let Some(facts) = self.view.record(self.view.epoch.supernode).map(|record| &record.facts) else { return };
        let (id, build, sequence) = (facts.id, facts.build, facts.sequence);
        self.crashes.last = Some((id, build, sequence));
        self.crashes.halved.get_or_insert(now);
        if let Some((_, count)) = self.view.crashes.iter_mut().find(|(other, _)| *other == build) {
            *count = count.saturating_add(1);
            if *count == ALARMING {
                let words = format!("supernodes of build {build} were lost {ALARMING} times: that build leads last");
                self.alert("version", words);
            }
        } else if self.view.crashes.len() < MAX_REIGNS {
            self.view.crashes.push((build, 1));
        }
    }

    /// Supernode: somebody is let in. If it is the one that was lost, and its program the one that ran then, it was cut off and did not
    /// crash: the mark is taken back.
    pub(super) fn note_survival(&mut self, record: &MemberRecord) {
        let same = |last: &(NodeId, u32, u64)| {
            last.0 == record.id() && record.facts.sequence.saturating_sub(last.2) < SAME_RUN
        };
        if let Some((_, build, _)) = self.crashes.last.take_if(|last| same(last)) {
            self.lower(build, |count| count.saturating_sub(1));
        }
    }

    /// Supernode, every heartbeat: marks fade.
    pub(super) fn forget_crashes(&mut self, now: Instant) {
        let since = *self.crashes.halved.get_or_insert(now);
        if now.saturating_since(since) >= HALVES_AFTER {
            self.crashes.halved = Some(now);
            for build in self.view.crashes.iter().map(|(build, _)| *build).collect::<Vec<_>>() {
                self.lower(build, |count| count / 2);
            }
        }
    }

    fn lower(&mut self, build: u32, to: impl Fn(u32) -> u32) {
        for (_, count) in self.view.crashes.iter_mut().filter(|(other, _)| *other == build) {
            *count = to(*count);
        }
        self.view.crashes.retain(|(_, count)| *count > 0);
    }
}
