//! The supernode's side of the order: gives each line its place, once, and knows who holds it.

use super::line::Line;
use super::message::{Beat, Held, Lines, MAX_LINES, RoomMessage, Say};
use super::parts::{Room, Standing, VIEW_COST};
use super::plant::{Plant, planted};
use super::rank::Reach;
use super::steady::Steady;
use super::telling::Has;
use super::voices::Voices;
use crate::node::identity::NodeId;
use crate::node::room::line::Placed;
use crate::time::Instant;
use std::collections::BTreeMap;

/// Successors that hold a line before it counts as safe: the next in line, or all there are.
pub(super) const STABLE_COPIES: usize = 3;

/// What the supernode keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequencer {
    /// What has a place, of each voice.
    pub(super) voices: Voices,
    /// The members but ourselves.
    pub(super) followers: BTreeMap<NodeId, Follower>,
    /// What shows of how each is reached.
    pub(super) steady: BTreeMap<NodeId, (Steady<Reach>, Steady<u8>)>,
    /// Lines up to here are shown: the first successor holds them.
    pub(super) shown: u64,
    /// Lines up to here are safe.
    pub(super) stable: u64,
    /// The last heartbeat.
    pub(super) round: u64,
    /// The last heartbeat before our machine stood still: answers up to there are stale.
    pub(super) stale: u64,
}

/// How far a member is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follower {
    /// It holds everything up to here.
    pub(super) held: u64,
    /// Lines up to here were sent over the link that stands. `None`: it has to say first what it holds.
    pub(super) sent: Option<u64>,
    /// When it last said, in this epoch, what it holds; `None`: not yet.
    pub(super) answered: Option<Instant>,
    /// Since when we listen for it: silence is counted from here.
    pub(super) patience: Instant,
    /// Since when there is something that it does not hold.
    pub(super) behind: Option<Instant>,
    /// Which view it has.
    pub(super) has: Has,
    /// What there was by then. It has to hold all of that before it is waited for again: one that takes a line at a time, each just in
    /// time, would make everybody wait.
    pub(super) owes: u64,
}

impl Follower {
    /// A member that has said nothing yet.
    pub(super) const fn new(now: Instant) -> Self {
        Self { held: 0, sent: None, answered: None, patience: now, behind: None, has: Has::Nothing, owes: 0 }
    }
}

impl Room {
    /// Gives a line its place behind the last, unless it has one, and sends it to everyone.
    pub(super) fn place(&mut self, now: Instant, line: Line) {
        let line = if planted(Plant::MadeUp) { self.made_up(line) } else { line };
        let id = line.id();
        let last = self.log.head();
        if !self.sequencer.voices.note(&line, last.seq.saturating_add(1)) {
            return;
        }
        let placed = Placed::place(&self.identity, self.view.epoch, last, line);
        let seq = placed.head.seq;
        if !self.log.push(placed.clone()) {
            return;
        }
        self.outbox.on_placed(id, seq);
        self.rescue.on_placed(id);
        let (before, oldest) = (last.chain, self.log.oldest());
        let lines = Lines { epoch: self.view.epoch, before, oldest, lines: vec![placed] };
        let mut receivers = Vec::new();
        for (member, follower) in &mut self.sequencer.followers {
            if follower.behind.is_none() {
                (follower.behind, follower.owes) = (Some(now), seq);
            }
            if follower.sent == Some(last.seq) {
                follower.sent = Some(seq);
                receivers.push(*member);
            }
        }
        for member in receivers {
            self.send(member, RoomMessage::Lines(lines.clone()));
        }
        self.update_marks(now);
    }

    fn made_up(&self, line: Line) -> Line {
        let mut saying = line.saying;
        saying.id.voice.author = self.id();
        Line::sign(&self.identity, saying)
    }

    /// A member says something.
    pub(super) fn on_say(&mut self, now: Instant, from: NodeId, say: Say) {
        if !matches!(self.standing, Standing::Leading(_)) || !self.view.contains(from) {
            return;
        }
        // Too much at once is not taken: its author says it again.
        let kibibytes = u32::try_from(say.line.saying.text.len() >> 10).unwrap_or(u32::MAX);
        if !self.may_ask(from, kibibytes.saturating_add(1)) {
            return;
        }
        if say.line.author() != from || !say.line.verify(self.view.room) {
            return self.alert("forged", format!("{from} sent a line that is not its own"));
        }
        let id = say.line.id();
        if self.sequencer.voices.contradicts(&say.line) {
            let proven = self.sequencer.voices.is_proven(id.voice);
            return self.accuse_author(id.voice, proven);
        }
        let highest = self.sequencer.voices.highest(id.voice);
        // Its own order: after a gap only if everything before it is known to be safe elsewhere.
        if planted(Plant::Backwards)
            || planted(Plant::Repeats)
            || id.counter == highest.saturating_add(1)
            || (id.counter > highest && id.counter <= say.oldest)
        {
            self.place(now, say.line);
        }
    }

    /// A member holds what it says. That is the only truth about it: what was sent to it may have been thrown away since, if for a while it
    /// believed somebody else to lead.
    pub(super) fn on_held(&mut self, now: Instant, from: NodeId, held: Held) {
        if !matches!(self.standing, Standing::Leading(_)) {
            return;
        }
        if held.epoch != self.view.epoch {
            if self.knows(from) {
                self.say_hello(from);
            }
            return;
        }
        let head = self.log.head().seq;
        let lacks = u32::try_from(head.saturating_sub(held.seq)).unwrap_or(u32::MAX);
        let told = self.published.number(&self.view);
        let cost = if held.number < told { VIEW_COST } else { lacks.min(VIEW_COST) };
        let again = held.again && cost > 0 && self.may_ask(from, cost);
        let fits = self.holds_ours(&held);
        if !fits && self.may_ask(from, cost.saturating_add(1)) {
            self.show_seal(from, held.seq.min(head));
        }
        let Some(follower) = self.sequencer.followers.get_mut(&from) else {
            // It was silent for so long that it was taken for lost, and did not notice.
            return self.readmit(now, from);
        };
        if held.number == told && follower.has == Has::Unsaid {
            follower.has = Has::View(self.published.name(&self.view));
        }
        let seq = if fits { held.seq } else { 0 };
        if seq >= follower.owes || seq == head {
            (follower.behind, follower.owes) = ((seq < head).then_some(now), head);
        }
        follower.held = follower.held.max(seq);
        if held.round > self.sequencer.stale || self.sequencer.stale == 0 {
            follower.answered = Some(now);
        }
        follower.patience = now;
        let stalled = follower.behind.is_some_and(|since| now.saturating_since(since) > self.config.times.resend);
        let fresh = follower.sent.is_none();
        if fresh || stalled || again {
            follower.sent = Some(head);
            follower.held = seq;
            (follower.behind, follower.owes) = ((seq < head).then_some(now), head);
            if held.number < told {
                self.tell_whole(from);
            }
            self.send_lines(from, seq.saturating_add(1), head);
            // To it alone: after a change of supernode everybody says what it holds, and not everybody has to hear of each.
            self.send(from, RoomMessage::Beat(self.beat()));
        }
        self.update_marks(now);
    }

    /// Whether what a member holds is our order: as many lines in another order count for nothing.
    fn holds_ours(&self, held: &Held) -> bool {
        let ours = self.log.chain_at(held.seq).map_or(held.seq < self.log.oldest(), |ours| ours == held.chain);
        ours || planted(Plant::ByNumber)
    }

    /// Lines `from..=to`, as far as they are kept, in messages of bounded size.
    pub(super) fn send_lines(&mut self, member: NodeId, from: u64, to: u64) {
        let lines: Vec<Placed> = self.log.since(from).take_while(|placed| placed.head.seq <= to).cloned().collect();
        for chunk in lines.chunks(MAX_LINES) {
            let Some(before) = chunk.first().and_then(|first| self.log.chain_at(first.head.seq.saturating_sub(1)))
            else {
                continue;
            };
            let oldest = self.log.oldest();
            let lines = Lines { epoch: self.view.epoch, before, oldest, lines: chunk.to_vec() };
            self.send(member, RoomMessage::Lines(lines));
        }
    }

    /// Works out what may be shown and what is safe.
    pub(super) fn update_marks(&mut self, now: Instant) {
        let head = self.log.head().seq;
        if self.sequencer.shown >= head && self.sequencer.stable >= head {
            return;
        }
        let (shown, stable) = match self.view.entries.len() {
            0 | 1 => (head, if self.is_provisional() { self.sequencer.stable } else { head }),
            _ if planted(Plant::SafeAlone) => (head, head),
            _ => {
                // A frozen member blocks nobody: it is passed over, until it holds everything again.
                let passed = |since| now.saturating_since(since) >= self.config.times.pass_over;
                let followers = self.view.successors().filter_map(|id| self.sequencer.followers.get(&id));
                let next = followers.filter(|follower| !follower.behind.is_some_and(passed));
                let held: Vec<u64> = next.take(STABLE_COPIES).map(|follower| follower.held).collect();
                (held.first().copied().unwrap_or(0), held.iter().copied().min().unwrap_or(0))
            }
        };
        let stable = stable.min(shown.max(self.sequencer.shown));
        if shown > self.sequencer.shown || stable > self.sequencer.stable {
            self.sequencer.shown = self.sequencer.shown.max(shown);
            self.sequencer.stable = self.sequencer.stable.max(stable);
            self.dirty.beat = true;
            self.delivery.target = self.delivery.target.max(self.sequencer.shown);
            self.deliver();
            self.outbox.on_stable(self.sequencer.stable);
        }
    }

    /// Whether we are alone because others were lost: then nothing is safe until somebody else has it.
    pub(super) fn is_provisional(&self) -> bool {
        matches!(self.standing, Standing::Leading(_)) && self.view.entries.len() == 1 && !self.former.is_empty()
    }

    /// When the next successor is to be passed over.
    pub(super) fn next_pass_over(&self) -> Option<Instant> {
        if self.sequencer.shown >= self.log.head().seq {
            return None;
        }
        let times = self.config.times;
        let due = self.sequencer.followers.values().filter_map(|follower| follower.behind);
        due.map(|since| since + times.pass_over).filter(|due| *due > self.now).min()
    }

    /// How far we are.
    fn beat(&self) -> Beat {
        Beat {
            epoch: self.view.epoch,
            number: self.published.number(&self.view),
            head: self.log.head(),
            shown: self.sequencer.shown,
            stable: self.sequencer.stable,
            round: self.sequencer.round,
        }
    }

    /// Tells everyone how far we are.
    pub(super) fn flush_beat(&mut self) {
        if std::mem::take(&mut self.dirty.beat) && matches!(self.standing, Standing::Leading(_)) {
            let beat = self.beat();
            for member in self.view.successors().collect::<Vec<_>>() {
                self.send(member, RoomMessage::Beat(beat));
            }
        }
    }
}
