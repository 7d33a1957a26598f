//! What is shown: every line once, in order, and never silently none.

use super::epoch::{Epoch, Head};
use super::message::{Beat, Held, Lines, RoomMessage, Spoken};
use super::parts::{Room, Standing};
use super::plant::{Plant, planted};
use super::voices::Voices;
use crate::node::api::Event;
use crate::node::identity::NodeId;
use crate::node::room::line::Placed;
use crate::node::room::log::Log;
use crate::node::room::message::MAX_LINES;
use crate::time::Instant;

/// Places that may be skipped at once, because nobody keeps the lines any more. Nobody can use the numbers up.
const MAX_GAP: u64 = 1 << 32;

/// How far we have shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    /// The last place that was shown (or skipped as a repeat, or missed).
    pub(super) shown: u64,
    /// Lines up to here may be shown.
    pub(super) target: u64,
    /// Lines up to here were said before we came.
    pub(super) history: u64,
    /// What was shown of each voice.
    pub(super) voices: Voices,
    /// What the room had of each voice when we came, to be noted once everything up to that place was shown.
    pub(super) inherited: Option<(u64, Vec<Spoken>)>,
    /// The last acknowledgement, and when.
    pub(super) held: Option<(Held, Instant)>,
    /// The last heartbeat of the supernode.
    pub(super) round: u64,
    /// What the supernode sent us is gone: the next acknowledgement asks for it.
    pub(super) again: bool,
    /// When we last asked so.
    pub(super) asked_again: Option<Instant>,
}

impl Room {
    /// Shows what may be shown.
    pub(super) fn deliver(&mut self) {
        while self.delivery.shown < self.delivery.target {
            let seq = self.delivery.shown.saturating_add(1);
            let Some(placed) = self.log.get(seq).cloned() else { break };
            self.delivery.shown = seq;
            let id = placed.line.id();
            if self.delivery.voices.contradicts(&placed.line) {
                // It is shown all the same, as far as it has a number of its own: it is in the order, and screens must not differ.
                let proven = self.delivery.voices.is_proven(id.voice);
                self.accuse_author(id.voice, proven);
            }
            if self.delivery.voices.note(&placed.line, seq) {
                let author = placed.line.author();
                let name = self.name_of(author);
                self.event(Event::Chat {
                    id: author,
                    name,
                    epoch: placed.epoch.counter,
                    supernode: placed.epoch.supernode,
                    seq,
                    line: id.to_string(),
                    time: placed.line.saying.time,
                    history: seq <= self.delivery.history,
                    text: placed.line.saying.text,
                });
            }
        }
        if let Some((seq, voices)) = self.delivery.inherited.take_if(|(seq, _)| self.delivery.shown >= *seq) {
            for spoken in voices {
                self.outbox.on_passed(spoken.id, seq);
                self.delivery.voices.note_spoken(spoken, seq);
            }
        }
    }

    fn name_of(&self, id: NodeId) -> String {
        let record = self.view.record(id).or_else(|| self.former.record(id));
        record.map_or_else(|| id.to_string(), |record| record.facts.name.clone())
    }

    /// Lines from the supernode, or, to a claimer, from whoever holds them.
    pub(super) fn on_lines(&mut self, now: Instant, from: NodeId, lines: Lines) {
        let expected = match &self.standing {
            Standing::Following => from == self.view.epoch.supernode && lines.epoch == self.view.epoch,
            Standing::Claiming(claiming) => claiming.fetching.is_some_and(|(holder, _)| holder == from),
            Standing::Inheriting(_) => from == self.view.epoch.supernode,
            _ => return,
        };
        if !expected {
            // Lines of an epoch that ended may still be on their way; those of this epoch come from nobody else.
            if lines.epoch == self.view.epoch && from != self.view.epoch.supernode {
                self.alert("forged", format!("{from} sent lines in the supernode's place"));
            }
            return;
        }
        if lines.lines.len() > MAX_LINES {
            return self.alert("forged", format!("{from} sent more lines than a message holds"));
        }
        if let Some(first) = lines.lines.first() {
            let before = super::Head { seq: first.head.seq.saturating_sub(1), chain: lines.before };
            let gap = before.seq.saturating_sub(self.log.head().seq);
            let sound = |room: &Self| room.is_epoch_of_room(first) && first.verify(room.view.room);
            if gap > 0 && first.head.seq > lines.oldest && !planted(Plant::Skip) {
                // The sender has what lies between: it sent that while we took nothing from it. It is not lost, only to be sent again.
                return self.ask_again(now);
            }
            if gap > 0 && gap <= MAX_GAP && first.follows(before) && sound(self) {
                self.skip_to(before);
            }
        }
        let mut parted = false;
        for placed in lines.lines {
            let (epoch, seq) = (placed.epoch, placed.head.seq);
            let (ours, given_up) = (self.log.get(seq), self.rescue.at(epoch, seq));
            parted |= ours.is_some_and(|ours| ours.head != placed.head);
            let ours = ours.or(given_up).map(Placed::seal).filter(|ours| ours.contradicts(&placed.seal()));
            if let Some(ours) = ours {
                self.accuse([ours, placed.seal()]);
            }
            if seq <= self.log.head().seq {
                continue;
            }
            if !self.is_epoch_of_room(&placed) || !placed.verify(self.view.room) {
                return self.alert("forged", format!("{from} sent a line that is not what it says"));
            }
            let id = placed.line.id();
            if !self.log.push(placed) {
                parted = true;
                break;
            }
            self.outbox.on_placed(id, seq);
            self.rescue.on_placed(id);
        }
        self.deliver();
        if parted && !planted(Plant::ByNumber) {
            self.on_parted(now, from);
        }
        match self.standing {
            Standing::Following => self.dirty.held = true,
            Standing::Claiming(_) => self.resolve_claim(now),
            Standing::Inheriting(_) => self.try_inherit(now),
            _ => {}
        }
    }

    /// What `from` sent does not follow what we hold: one supernode, this one or one before it, told two stories. Ours is given up from where
    /// both agreed last, and brought; unless we claim: then it is ours that counts, and the other has to come over.
    pub(super) fn on_parted(&mut self, now: Instant, from: NodeId) {
        match &mut self.standing {
            Standing::Following => {
                let head = self.log.head();
                let bases = self.view.reigns.iter().rev().map(|reign| reign.base);
                let mut agreed = bases.filter(|base| base.seq < head.seq);
                let agreed = agreed.find(|base| self.log.chain_at(base.seq) == Some(base.chain));
                self.cut_off(agreed.unwrap_or_default());
                self.ask_again(now);
            }
            Standing::Claiming(claiming) => {
                claiming.failed.insert(from);
                claiming.fetching = None;
                self.show_seal(from, self.log.head().seq);
            }
            _ => {}
        }
    }

    /// A line may be from any epoch of this room: those that are remembered, or before them.
    fn is_epoch_of_room(&self, placed: &Placed) -> bool {
        let reigns = &self.view.reigns;
        let (oldest, first) = reigns.first().map_or((0, 0), |reign| (reign.epoch.counter, reign.base.seq));
        let seq = placed.head.seq;
        // Whoever led once cannot put lines where others led later.
        let end = |index: usize| reigns.get(index + 1).map_or(u64::MAX, |next| next.base.seq);
        let mut known = reigns.iter().enumerate();
        (placed.epoch.counter < oldest && seq <= first)
            || known.any(|(index, reign)| reign.epoch == placed.epoch && seq > reign.base.seq && seq <= end(index))
    }

    /// Asks the supernode to send again from where our order ends. Once in a while: the answer may be on its way.
    pub(super) fn ask_again(&mut self, now: Instant) {
        let lately = |at| now.saturating_since(at) < self.config.times.resend;
        if matches!(self.standing, Standing::Following) && !self.delivery.asked_again.is_some_and(lately) {
            self.delivery.asked_again = Some(now);
            self.delivery.again = true;
            self.dirty.held = true;
        }
    }

    /// What came before `head` and we do not hold cannot be had any more.
    fn skip_to(&mut self, head: super::Head) {
        self.delivery.target = self.delivery.target.max(self.log.head().seq);
        self.deliver();
        let from = self.delivery.shown.saturating_add(1);
        if from > self.delivery.history && from <= head.seq {
            self.event(Event::Missed { from, to: head.seq, count: head.seq - from + 1 });
        }
        self.delivery.shown = self.delivery.shown.max(head.seq);
        self.log = Log::starting_at(head);
    }

    /// The supernode's heartbeat.
    pub(super) fn on_beat(&mut self, now: Instant, from: NodeId, beat: Beat) {
        if beat.epoch != self.view.epoch {
            return self.on_stale_beat(now, from, beat.epoch);
        }
        if matches!(self.standing, Standing::Claiming(_)) && from == self.view.epoch.supernode {
            // It leads while we ask who follows: nobody has to.
            self.abandon(now);
        }
        if !matches!(self.standing, Standing::Following) {
            return;
        }
        if from != self.view.epoch.supernode {
            return self.alert("forged", format!("{from} sent a heartbeat in the supernode's place"));
        }
        if beat.number > self.view.number && !self.awaits_whole(now, beat.epoch) {
            // The view came while we took nothing from it.
            self.ask_again(now);
        }
        self.delivery.target = self.delivery.target.max(beat.shown);
        self.delivery.round = beat.round;
        self.deliver();
        self.outbox.on_stable(beat.stable.min(self.log.head().seq));
        self.compare(now);
        let recent = self
            .delivery
            .held
            .is_some_and(|(held, at)| held == self.held() && now.saturating_since(at) < self.times().heartbeat / 2);
        self.dirty.held |= !recent;
        self.now = now;
    }

    /// Somebody believes that it leads us, and it does not. Were nothing said to that, it would go on so.
    fn on_stale_beat(&mut self, now: Instant, from: NodeId, epoch: Epoch) {
        if from != epoch.supernode {
            return;
        }
        let ours = from == self.view.epoch.supernode && matches!(self.standing, Standing::Following);
        if ours && epoch.counter > self.view.epoch.counter {
            // It numbered its reign anew while we took nothing from it.
            if let Some(record) = self.view.record(from).cloned() {
                self.go_back(now, &record, None);
            }
        } else {
            self.say_hello_at_times(now, from);
        }
    }

    /// What we hold.
    pub(super) fn held(&self) -> Held {
        let (epoch, number, Head { seq, chain }) = (self.view.epoch, self.view.number, self.log.head());
        Held { epoch, number, seq, chain, round: self.delivery.round, again: false }
    }

    /// Acknowledges, if there is something to acknowledge and somebody to tell.
    pub(super) fn flush_held(&mut self) {
        if std::mem::take(&mut self.dirty.held) && matches!(self.standing, Standing::Following) {
            let held = self.held();
            self.delivery.held = Some((held, self.now));
            let again = std::mem::take(&mut self.delivery.again);
            self.send(self.view.epoch.supernode, RoomMessage::Held(Held { again, ..held }));
        }
    }
}
