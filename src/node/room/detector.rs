//! Whether the supernode lives: heartbeats, suspicion, witnesses, and our own health (after Lifeguard, arXiv 1707.00788).
//!
//! ```text
//!   last heard      ask            fresh     suspect     suspect + confirm
//!       │            │ ping, ask     │          │               │
//!       ├────────────┼───────────────┼──────────┼───────────────┤
//!       │            │ again every `burst`      │ two witnesses │ one
//!       │            │               │          │ lost it, too: │ will do
//!       │            │  not heard since: lost   │ it is lost    │
//! ```

use super::config::Times;
use super::epoch::Epoch;
use super::joining::Joining;
use super::message::{RoomMessage, Verdict};
use super::output::RoomOutput;
use super::parts::{Room, Standing};
use crate::node::identity::NodeId;
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// The worst that we think of our own health. Each step makes us slower to suspect by half.
const WORST_HEALTH: u32 = 4;

/// A step is forgotten after so long.
const HEALS_AFTER: Duration = Duration::from_secs(60);

/// Witnesses that are asked, at most.
const MAX_WITNESSES: usize = 8;

/// A supernode that we did not hear for this long is lost for us, whatever others say: it has dropped us long ago, and a witness that says
/// it lives must not keep us waiting for ever.
const DISBELIEF: Duration = Duration::from_secs(10);

/// When whom was heard, and what we suspect.
#[derive(Clone, Debug, Default)]
pub(super) struct Detector {
    pub(super) heard: BTreeMap<NodeId, Instant>,
    health: Health,
    /// Exists while the supernode is suspected.
    pub(super) suspicion: Option<Suspicion>,
    /// The epoch whose supernode says itself that it leads it no longer: it may be heard, but not as that.
    pub(super) deserted: Option<Epoch>,
}

/// How often lately it was we who were late, or wrong about somebody.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    lapses: u32,
    since: Option<Instant>,
}

impl Health {
    /// 0 is well.
    fn lapses(self, now: Instant) -> u32 {
        let quiet = self.since.map_or(0, |since| now.saturating_since(since).as_secs() / HEALS_AFTER.as_secs());
        self.lapses.saturating_sub(u32::try_from(quiet).unwrap_or(u32::MAX))
    }

    fn on_lapse(&mut self, now: Instant) {
        *self = Self { lapses: (self.lapses(now) + 1).min(WORST_HEALTH), since: Some(now) };
    }
}

/// The supernode may be lost.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    pub(super) since: Instant,
    /// When to ping, ask the witnesses and look again.
    next: Instant,
    /// When to ask the supernode itself again.
    next_ask: Instant,
    asked: BTreeSet<NodeId>,
    /// Whether each says that it lives, and when it said so.
    verdicts: BTreeMap<NodeId, (bool, Instant)>,
    /// When enough agreed that it is lost.
    confirmed: Option<Instant>,
}

impl Suspicion {
    fn new(now: Instant) -> Self {
        let (asked, verdicts) = (BTreeSet::new(), BTreeMap::new());
        Self { since: now, next: now, next_ask: now, asked, verdicts, confirmed: None }
    }
}

impl Detector {
    /// Something authentic came from there at that time.
    pub(super) fn on_heard(&mut self, at: Instant, id: NodeId) {
        let heard = self.heard.entry(id).or_insert(at);
        *heard = (*heard).max(at);
    }

    /// Our own machine was late: whoever seems silent may have spoken.
    pub(super) fn on_late(&mut self, now: Instant) {
        self.health.on_lapse(now);
    }

    /// When it was last heard.
    pub(super) fn last_heard(&self, id: NodeId) -> Option<Instant> {
        self.heard.get(&id).copied()
    }

    /// Forgets when it was heard.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.heard.remove(&id);
    }

    /// Forgets all but these.
    pub(super) fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        self.heard.retain(|id, _| keep(*id));
    }

    /// Our own machine stood still: nobody is late.
    pub(super) fn on_freeze(&mut self, now: Instant) {
        self.heard.values_mut().for_each(|at| *at = now);
        self.suspicion = None;
    }
}

impl Room {
    /// Something authentic came from `from`, so long ago.
    pub fn handle_heard(&mut self, now: Instant, from: NodeId, ago: Duration) {
        self.on_wake(now);
        self.on_heard(now, now - ago, from);
    }

    /// Something authentic came from `from` at that time.
    pub(super) fn on_heard(&mut self, now: Instant, at: Instant, from: NodeId) {
        if !self.links.contains(from) {
            return;
        }
        let before = self.silence(now, from);
        self.detector.on_heard(at, from);
        if from != self.view.epoch.supernode || self.detector.deserted == Some(self.view.epoch) {
            return;
        }
        if self.silence(now, from) < self.times().ask {
            if self.detector.suspicion.take().is_some() && before >= self.times().suspect {
                self.detector.health.on_lapse(now);
            }
        }
    }

    /// Whether the supernode may be lost.
    pub fn doubts_supernode(&self) -> bool {
        self.detector.suspicion.is_some()
    }

    /// The times of a room of this size.
    pub(super) fn times(&self) -> Times {
        self.config.times.for_size(self.view.entries.len())
    }

    /// After how long a silence the supernode may be taken for lost: later if it was often us who were late.
    fn patience(&self, now: Instant) -> Duration {
        self.times().suspect * (2 + self.detector.health.lapses(now)) / 2
    }

    /// The system says that nobody listens where `id` was: a hint that anyone could have sent, so it is only pinged, and watched closely.
    pub fn handle_unreachable(&mut self, now: Instant, id: NodeId) {
        self.on_wake(now);
        if matches!(self.standing, Standing::Following) && id == self.view.epoch.supernode {
            self.suspect(now);
            self.tick_detector(now);
        } else if self.links.contains(id) {
            self.outputs.push_back(RoomOutput::Probe { id });
        }
    }

    /// Begins to suspect the supernode, unless we do already.
    pub(super) fn suspect(&mut self, now: Instant) {
        self.detector.suspicion.get_or_insert_with(|| Suspicion::new(now));
    }

    /// How long nothing was heard from there; for ever, if it said itself that it leads us no longer.
    pub(super) fn silence(&self, now: Instant, id: NodeId) -> Duration {
        if id == self.view.epoch.supernode && self.detector.deserted == Some(self.view.epoch) {
            return Duration::MAX;
        }
        self.detector.last_heard(id).map_or(Duration::MAX, |at| now.saturating_since(at))
    }

    /// Whether the supernode was silent for so long that nobody's word for it counts.
    pub(super) fn is_beyond_belief(&self, now: Instant) -> bool {
        let heard = self.detector.last_heard(self.view.epoch.supernode);
        heard.is_some_and(|at| now.saturating_since(at) >= DISBELIEF)
    }

    /// Whether the supernode was heard lately over a link that stands.
    pub(super) fn hears_supernode(&self, now: Instant) -> bool {
        let supernode = self.view.epoch.supernode;
        self.links.contains(supernode) && self.silence(now, supernode) < self.times().fresh
    }

    /// Looks after the supernode's heartbeat.
    pub(super) fn tick_detector(&mut self, now: Instant) {
        if !matches!(self.standing, Standing::Following) || self.waits_to_return() {
            return;
        }
        let supernode = self.view.epoch.supernode;
        let times = self.times();
        if self.silence(now, supernode) >= times.ask {
            self.suspect(now);
        }
        let Some(suspicion) = &mut self.detector.suspicion else { return };
        if now < suspicion.next {
            return;
        }
        suspicion.next = now + times.burst;
        let ask_itself = now >= suspicion.next_ask;
        if ask_itself {
            suspicion.next_ask = now + times.confirm;
        }
        if self.links.contains(supernode) {
            self.outputs.push_back(RoomOutput::Probe { id: supernode });
        }
        if ask_itself {
            // It may live, and be somewhere else: then it says so.
            self.send(supernode, RoomMessage::Ask(self.view.epoch));
        }
        self.ask_witnesses();
        self.keep_warm(now);
        self.judge(now);
    }

    /// Everyone ahead of us in line, since they come first, and at least two others. Those whom we reach without the supernode, if there are
    /// any: what the others say comes by the way that is in doubt.
    fn ask_witnesses(&mut self) {
        let own = self.id();
        let linked: Vec<NodeId> =
            self.view.successors().filter(|id| *id != own && self.links.contains(*id)).take(MAX_WITNESSES).collect();
        let epoch = self.view.epoch;
        if let Some(suspicion) = &mut self.detector.suspicion {
            suspicion.asked = linked.iter().copied().filter(|id| self.warm.reaches(*id)).collect();
            if suspicion.asked.is_empty() {
                suspicion.asked.extend(&linked);
            }
        }
        for id in linked {
            self.send(id, RoomMessage::Ask(epoch));
        }
    }

    /// A member asks whether we hear the supernode.
    pub(super) fn on_ask(&mut self, now: Instant, from: NodeId, epoch: Epoch) {
        if epoch != self.view.epoch {
            // It missed a change, or we did.
            if epoch.supernode == self.id()
                && matches!(self.standing, Standing::Following)
                && self.former.contains(from)
            {
                let view = self.view.clone();
                self.send_on(from, epoch, &view);
            }
            return self.say_hello(from);
        }
        let supernode = epoch.supernode;
        let own = supernode == self.id();
        let silence = if own { Duration::ZERO } else { self.silence(now, supernode) };
        let linked = own || self.links.contains(supernode);
        let heard_ms = linked.then(|| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX));
        self.send(from, RoomMessage::Verdict(Verdict { epoch, heard_ms }));
    }

    /// A witness answers.
    pub(super) fn on_verdict(&mut self, now: Instant, from: NodeId, verdict: Verdict) {
        let fresh = u64::try_from(self.times().fresh.as_millis()).unwrap_or(u64::MAX);
        if verdict.epoch != self.view.epoch || !matches!(self.standing, Standing::Following) {
            return;
        }
        if let Some(suspicion) = &mut self.detector.suspicion
            && suspicion.asked.contains(&from)
        {
            suspicion.verdicts.insert(from, (verdict.heard_ms.is_some_and(|ms| ms < fresh), now));
            self.judge(now);
        }
    }

    /// Whether enough agree. A majority of those who answer, ourselves included, must have lost the supernode: one bad link deposes nobody.
    /// Two who lost it are believed at once, and so is everybody; one alone, if others do not answer, a little later. Whoever gets no answer
    /// at all suspects itself first, and leads only after a while, only those who report to it: nobody, then.
    fn judge(&mut self, now: Instant) {
        let times = self.times();
        let supernode = self.view.epoch.supernode;
        let gone = !self.links.contains(supernode);
        let (silence, patience) = (self.silence(now, supernode), self.patience(now));
        let beyond_belief = self.is_beyond_belief(now);
        let witnesses = self.view.entries.len().saturating_sub(2);
        let Some(suspicion) = &mut self.detector.suspicion else { return };
        let age = now.saturating_since(suspicion.since);
        if suspicion.confirmed.is_none() && (silence >= patience || gone) {
            let lately = |at: Instant| now.saturating_since(at) <= times.confirm;
            let said = suspicion.verdicts.iter().filter(|(id, (_, at))| suspicion.asked.contains(id) && lately(*at));
            let (alive, lost): (Vec<bool>, Vec<bool>) = said.map(|(_, (alive, _))| *alive).partition(|alive| *alive);
            let everybody = !suspicion.asked.is_empty() && lost.len() + alive.len() == suspicion.asked.len();
            let waited = age >= times.confirm && (gone || silence >= patience.saturating_add(times.confirm));
            let agreed = if beyond_belief {
                true
            } else if witnesses == 0 {
                waited
            } else if lost.is_empty() && alive.is_empty() {
                age >= times.alone
            } else {
                (everybody || lost.len() >= 2 || waited) && !lost.is_empty() && lost.len() + 1 > alive.len()
            };
            if agreed {
                suspicion.confirmed = Some(now);
            }
        }
        if let Some(confirmed) = suspicion.confirmed {
            let since = suspicion.since;
            self.succeed(now, since, confirmed);
        }
    }

    /// The supernode is lost. Whoever is alive and ahead of us in line takes over; if it does not, or nobody is, we do.
    fn succeed(&mut self, now: Instant, since: Instant, confirmed: Instant) {
        let ahead: Vec<NodeId> = self.view.successors().take_while(|id| *id != self.id()).collect();
        let alive = ahead
            .iter()
            .any(|id| self.links.contains(*id) && self.detector.last_heard(*id).is_some_and(|at| at >= since));
        if !alive || now.saturating_since(confirmed) >= self.config.times.promise {
            self.claim(now);
        }
    }

    /// Whether we know already where to go instead, and only wait for our moment.
    fn waits_to_return(&self) -> bool {
        self.joining.as_ref().is_some_and(Joining::is_later)
    }

    /// When to look again.
    pub(super) fn next_detection(&self) -> Option<Instant> {
        if !matches!(self.standing, Standing::Following) || self.waits_to_return() {
            return None;
        }
        if let Some(suspicion) = &self.detector.suspicion {
            return Some(suspicion.next);
        }
        let heard = self.detector.last_heard(self.view.epoch.supernode).unwrap_or(self.now);
        Some((heard + self.times().ask).max(self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_has_a_worst_and_heals_step_by_step() {
        let (mut health, second) = (Health::default(), Duration::from_secs(1));
        assert_eq!(health.lapses(Instant::ZERO), 0);
        (0..9).for_each(|_| health.on_lapse(Instant::ZERO));
        assert_eq!(health.lapses(Instant::ZERO), WORST_HEALTH);
        assert_eq!(health.lapses(Instant::ZERO + second * 59), 4);
        assert_eq!(health.lapses(Instant::ZERO + second * 60), 3);
        health.on_lapse(Instant::ZERO + second * 130);
        assert_eq!(health.lapses(Instant::ZERO + second * 130), 3);
        assert_eq!(health.lapses(Instant::ZERO + second * 400), 0);
    }
}
