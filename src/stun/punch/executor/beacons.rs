//! Probes to single addresses, each at its time: the candidates, and ways that were heard from.

use super::Punch;
use crate::stun::punch::ledger::Way;
use crate::stun::punch::plan::StageKind;
use crate::time::{Duration, Instant};

/// Probes to single addresses that wait for their time: all candidates, and ways that were heard from.
pub(super) const MAX_BEACONS: usize = 256;

/// When a candidate is probed, in milliseconds from the beginning of a stage. Three such stages stay below what an address gets
/// that did not ask.
pub(super) const BEACONS: [u64; 6] = [0, 40, 120, 280, 550, 950];

/// How many of them there are where by what is known a simultaneous open alone will not do, and from a fresh port.
pub(super) const FEW_BEACONS: usize = 3;
pub(super) const FRESH_BEACONS: usize = 4;

/// When a way that was heard from is probed, after that: its answer may get lost, and ours.
const CHECKS: [u64; 5] = [50, 120, 260, 500, 900];

/// A probe to one address, at its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beacon {
    pub(super) due: Instant,
    pub(super) way: Way,
    /// Something was heard from there, so that it goes out even during a pause.
    pub(super) heard: bool,
}

impl Punch {
    /// The candidates are probed from here on.
    pub(super) fn begin_beacons(&mut self, now: Instant, kind: StageKind) {
        if kind > StageKind::Fresh {
            return;
        }
        let times = BEACONS.iter().take(match kind {
            StageKind::Fresh => FRESH_BEACONS,
            _ if self.is_all_there_is() => BEACONS.len(),
            _ => FEW_BEACONS,
        });
        let no_hairpin = self.config.ours.fingerprint.hairpin == Some(false);
        let candidates = self.theirs.iter().flat_map(|theirs| theirs.candidates.clone());
        let reached =
            candidates.filter(|candidate| !(no_hairpin && self.config.ours.public.contains(&candidate.address.ip())));
        let ways: Vec<Way> = reached
            .filter_map(|candidate| {
                let socket = self.base(candidate.address.is_ipv4())?;
                // Two homes often have the same private addresses: theirs may be our own.
                let is_us =
                    self.is_own_ip(candidate.address.ip()) && self.local_port(socket) == Some(candidate.address.port());
                (!is_us).then_some(Way { socket, remote: candidate.address })
            })
            .collect();
        // Time by time over all candidates, so that the first ones do not wait for the last of others.
        for after in times {
            for way in &ways {
                if self.beacons.len() < MAX_BEACONS {
                    self.beacons.push(Beacon { due: now + Duration::from_millis(*after), way: *way, heard: false });
                }
            }
        }
    }

    /// A way that was heard from is probed until it is proven.
    pub(super) fn begin_checks(&mut self, now: Instant, way: Way) {
        for after in CHECKS {
            if self.beacons.len() < MAX_BEACONS {
                self.beacons.push(Beacon { due: now + Duration::from_millis(after), way, heard: true });
            }
        }
    }

    /// The beacon that is due: those that were heard from first.
    pub(super) fn next_beacon(&self, now: Instant) -> Option<Way> {
        self.due_beacon(now).and_then(|at| self.beacons.get(at)).map(|beacon| beacon.way)
    }

    pub(super) fn take_beacon(&mut self, now: Instant) {
        if let Some(at) = self.due_beacon(now) {
            self.beacons.remove(at);
        }
    }

    fn due_beacon(&self, now: Instant) -> Option<usize> {
        let may = |beacon: &Beacon| beacon.due <= now && (self.paused.is_none() || beacon.heard);
        let due = self.beacons.iter().enumerate().filter(|(_, beacon)| may(beacon));
        due.min_by_key(|(_, beacon)| (!beacon.heard, beacon.due)).map(|(at, _)| at)
    }
}

/// When the last of so many beacons leaves, from the beginning of a stage.
pub(super) fn last_beacon(count: usize) -> Duration {
    Duration::from_millis(BEACONS.iter().take(count).max().copied().unwrap_or(0))
}
