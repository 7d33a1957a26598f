//! One download: how far it is, and from whom it comes.

use super::plan::Plan;
use super::window::Window;
use crate::node::api::Event;
use crate::node::disk::DownloadNumber;
use crate::node::files::FileHash;
use crate::node::identity::NodeId;
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// At most five reports a second, besides the first and the last (the client's contract).
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// How often all holders are tried, with growing pauses, without a byte from any of them, before the download is given up.
const MAX_ROUNDS: u32 = 4;

/// The pause after the first round in vain; each later one is twice as long. In all 15 s: a room that lost its supernode has a
/// new one by then, and its members their links.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A holder that sends fewer bytes than this in [`FLOOR_TIME`] is given up: somebody who drips bytes would hold us up for ever.
const FLOOR_BYTES: u64 = 64 << 10;

/// As long as a holder may take for its first bytes: it may serve many others first.
pub(super) const FLOOR_TIME: Duration = Duration::from_secs(30);

/// How often in a row a holder may have no time for us (four times a second) before it counts as one that cannot go on.
const MAX_BUSY: u32 = 120;

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The disk's place for it.
    Begun,
    /// Slices.
    Slices,
    /// The disk's final name for it.
    Saved,
}

/// Where the next range comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// This holder.
    From(NodeId),
    /// This holder, once there is a link to it.
    NeedsLink(NodeId),
    /// A link, a pause or a step of the download has to come first.
    Wait,
    /// Nobody is left.
    Nobody,
}

/// One download.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) number: DownloadNumber,
    pub(super) hash: FileHash,
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) stage: Stage,
    pub(super) plan: Plan,
    pub(super) window: Window,
    /// Bytes asked for that are not on the disk yet.
    pub(super) under_way: u64,
    /// Slices that the disk has, by their first byte, and who sent them.
    pub(super) writing: BTreeMap<u64, NodeId>,
    /// When the holder sent something last.
    pub(super) heard: Instant,
    /// Since when bytes are counted against the floor, and how many came.
    floor: (Instant, u64),
    began: Instant,
    reported: Option<Instant>,
    source: Option<NodeId>,
    linking: Option<NodeId>,
    /// Holders that failed in this round.
    tried: BTreeSet<NodeId>,
    /// Holders that sent what does not verify.
    liars: BTreeSet<NodeId>,
    rounds: u32,
    /// How often in a row the holder had no time.
    busy: u32,
    pause: Option<Instant>,
}

impl Download {
    pub(super) fn new(now: Instant, number: DownloadNumber, hash: FileHash, name: String, size: u64) -> Self {
        Self {
            number,
            hash,
            name,
            size,
            stage: Stage::Begun,
            plan: Plan::new(size, &[]),
            window: Window::default(),
            under_way: 0,
            writing: BTreeMap::new(),
            heard: now,
            floor: (now, 0),
            began: now,
            reported: None,
            source: None,
            linking: None,
            tried: BTreeSet::new(),
            liars: BTreeSet::new(),
            rounds: 0,
            busy: 0,
            pause: None,
        }
    }

    /// Chooses whom to ask. `holders` offer the file; those in `linked` need no dialling and come first.
    pub(super) fn choose(&mut self, now: Instant, holders: &[NodeId], linked: impl Fn(NodeId) -> bool) -> Source {
        self.end_pause(now);
        if self.stage != Stage::Slices || self.pause.is_some() {
            return Source::Wait;
        }
        if let Some(source) = self.source {
            if holders.contains(&source) && linked(source) {
                return Source::From(source);
            }
            self.source = None;
        }
        if let Some(peer) = self.linking {
            if !linked(peer) {
                return Source::Wait;
            }
            self.linking = None;
        }
        let fit = |peer: &&NodeId| !self.liars.contains(peer) && !self.tried.contains(peer);
        if let Some(&peer) = holders.iter().filter(fit).find(|&&peer| linked(peer)) {
            self.source = Some(peer);
            return Source::From(peer);
        }
        if let Some(&peer) = holders.iter().find(fit) {
            self.linking = Some(peer);
            return Source::NeedsLink(peer);
        }
        self.next_round(now)
    }

    /// Everybody was tried: again after a pause, a few times. A holder that left may come back, and lists it again.
    fn next_round(&mut self, now: Instant) -> Source {
        if self.rounds >= MAX_ROUNDS {
            return Source::Nobody;
        }
        self.pause = Some(now + FIRST_PAUSE * (1 << self.rounds));
        self.rounds += 1;
        self.tried.clear();
        Source::Wait
    }

    /// This holder cannot go on. Whether it was the one that sends.
    pub(super) fn on_holder_failed(&mut self, peer: NodeId) -> bool {
        self.tried.insert(peer);
        if self.linking == Some(peer) {
            self.linking = None;
        }
        self.source.take_if(|source| *source == peer).is_some()
    }

    /// This holder sent what does not verify: it is not asked again. Whether that is news.
    pub(super) fn on_lie(&mut self, peer: NodeId) -> bool {
        self.on_holder_failed(peer);
        self.liars.insert(peer)
    }

    /// The holder has no time for us. One that never has is no holder.
    pub(super) fn on_busy(&mut self, now: Instant, peer: NodeId) {
        self.busy = self.busy.saturating_add(1);
        if self.busy > MAX_BUSY {
            self.busy = 0;
            self.on_holder_failed(peer);
        }
        self.pause = Some(now + Duration::from_millis(250));
    }

    /// A question was put while none was open: the holder's time runs from here.
    pub(super) const fn on_first_question(&mut self, now: Instant) {
        self.heard = now;
        self.floor = (now, 0);
    }

    /// Bytes came. Whether they are worth anything is known when they verify.
    pub(super) fn on_heard(&mut self, now: Instant, bytes: u64) {
        self.heard = now;
        self.busy = 0;
        self.floor.1 = self.floor.1.saturating_add(bytes);
        if self.floor.1 >= FLOOR_BYTES {
            self.floor = (now, 0);
        }
    }

    /// Bytes verified: holders that failed before deserve another chance.
    pub(super) const fn on_verified(&mut self) {
        self.rounds = 0;
    }

    /// Whether the holder sends too little to wait for.
    pub(super) fn is_too_slow(&self, now: Instant) -> bool {
        now.saturating_since(self.floor.0) >= FLOOR_TIME
    }

    /// Whether this peer sends, or is to.
    pub(super) fn uses(&self, peer: NodeId) -> bool {
        self.source == Some(peer) || self.linking == Some(peer)
    }

    /// Ends a pause whose time has come.
    pub(super) fn end_pause(&mut self, now: Instant) {
        self.pause.take_if(|until| now >= *until);
    }

    /// When a pause ends.
    pub(super) const fn pause(&self) -> Option<Instant> {
        self.pause
    }

    /// Whether somebody sent lies, which explains why nobody is left.
    pub(super) fn was_lied_to(&self) -> bool {
        !self.liars.is_empty()
    }

    /// Seconds since the command.
    pub(super) fn seconds(&self, now: Instant) -> f64 {
        now.saturating_since(self.began).as_secs_f64()
    }

    /// How far it is, if that is due to be said.
    pub(super) fn report(&mut self, now: Instant) -> Option<Event> {
        let due =
            self.reported.is_none_or(|last| now.saturating_since(last) >= REPORT_EVERY) || self.plan.is_complete();
        due.then(|| {
            self.reported = Some(now);
            Event::Progress {
                name: self.name.clone(),
                hash: self.hash,
                bytes: self.plan.done(),
                size: self.size,
                sources: usize::from(self.source.is_some()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::disk::ByteRange;

    const NEAR: NodeId = NodeId([2; 32]);
    const FAR: NodeId = NodeId([1; 32]);

    fn download() -> Download {
        let mut download = Download::new(Instant::ZERO, DownloadNumber(0), FileHash([9; 32]), "film".into(), 10 << 20);
        download.stage = Stage::Slices;
        download
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_holder_we_are_linked_to_comes_first_and_the_next_one_takes_over() {
        let mut download = download();
        let near_only = |peer| peer == NEAR;
        assert_eq!(download.choose(at(0), &[FAR, NEAR], near_only), Source::From(NEAR));
        assert!(download.on_holder_failed(NEAR));
        assert_eq!(download.choose(at(0), &[FAR, NEAR], near_only), Source::NeedsLink(FAR));
        assert_eq!(download.choose(at(0), &[FAR, NEAR], near_only), Source::Wait, "the link is being made");
        assert_eq!(download.choose(at(1), &[FAR, NEAR], |_| true), Source::From(FAR));
    }

    #[test]
    fn a_holder_that_withdraws_or_goes_is_not_asked_any_more() {
        let mut download = download();
        assert_eq!(download.choose(at(0), &[NEAR], |_| true), Source::From(NEAR));
        assert_eq!(download.choose(at(0), &[FAR], |_| true), Source::From(FAR));
    }

    /// Pauses of 1, 2, 4 and 8 seconds, then the end: somebody who waits for a dead file is told.
    #[test]
    fn nobody_is_left_after_four_rounds_in_vain() {
        let (mut download, mut now) = (download(), at(0));
        for pause in [1, 2, 4, 8] {
            assert_eq!(download.choose(now, &[], |_| true), Source::Wait);
            assert_eq!(download.pause(), Some(now + Duration::from_secs(pause)));
            now = now + Duration::from_secs(pause);
        }
        assert_eq!(download.choose(now, &[], |_| true), Source::Nobody);
    }

    #[test]
    fn a_liar_is_never_asked_again() {
        let (mut download, mut now) = (download(), at(0));
        download.on_lie(NEAR);
        while download.choose(now, &[NEAR], |_| true) == Source::Wait {
            now = now + Duration::from_secs(10);
        }
        assert_eq!(download.choose(now, &[NEAR], |_| true), Source::Nobody);
    }

    #[test]
    fn reports_are_rare_but_the_first_and_the_last_always_come() {
        let mut download = download();
        let mut reports = 0;
        for ms in 0..1000 {
            reports += usize::from(download.report(Instant::from_start(Duration::from_millis(ms))).is_some());
        }
        assert_eq!(reports, 5);
        download.plan.on_written(ByteRange { start: 0, end: 10 << 20 });
        assert!(download.report(Instant::from_start(Duration::from_millis(1000))).is_some());
        assert!(download.report(Instant::from_start(Duration::from_millis(1001))).is_some(), "complete");
    }
}
