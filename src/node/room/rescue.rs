//! Lines that had a place in an order that was given up: when two halves of a room meet, or a supernode takes over that did not have them.
//! Everyone who gives up an order brings what it held of it to the supernode that it follows from then on, which places what it does not
//! know. So nothing that was on a screen is lost as long as one who held it lives, whoever leads.

use super::epoch::Epoch;
use super::line::{LineId, Placed};
use super::log::{MAX_LOG_BYTES, MAX_LOG_LINES};
use super::message::{MAX_LINES, RoomMessage, Spoken};
use super::parts::{Room, Standing};
use super::plant::{Plant, planted};
use crate::node::identity::NodeId;
use crate::time::Instant;
use std::collections::VecDeque;

/// How often they are brought. What has not appeared in the order after that has its place before what we were sent of it.
const MAX_TRIES: u8 = 8;

/// What is to be brought, in the order that was given up. As much as a log holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rescue {
    lines: VecDeque<Placed>,
    bytes: usize,
    tries: u8,
}

impl Rescue {
    /// These were cut off. Those that wait already were said before.
    pub(super) fn keep(&mut self, lines: impl Iterator<Item = Placed>) {
        for placed in lines {
            self.bytes += placed.line.bytes();
            self.lines.push_back(placed);
            self.tries = 0;
        }
        while self.lines.len() > MAX_LOG_LINES || self.bytes > MAX_LOG_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.line.bytes();
        }
    }

    /// That line has its place, and so has everything of that voice before it.
    pub(super) fn on_placed(&mut self, id: LineId) {
        if !self.lines.is_empty() {
            self.retain(|line| line.voice != id.voice || line.counter > id.counter);
        }
    }

    /// The order that we follow has these.
    pub(super) fn on_known(&mut self, voices: &[Spoken]) {
        if !self.lines.is_empty() {
            let known: std::collections::BTreeMap<_, _> =
                voices.iter().map(|spoken| (spoken.id.voice, spoken.id.counter)).collect();
            self.retain(|line| known.get(&line.voice).is_none_or(|counter| line.counter > *counter));
        }
    }

    fn retain(&mut self, keep: impl Fn(LineId) -> bool) {
        self.lines.retain(|placed| keep(placed.line.id()));
        self.bytes = self.lines.iter().map(|placed| placed.line.bytes()).sum();
    }

    /// What we held in that place when we gave it up.
    pub(super) fn at(&self, epoch: Epoch, seq: u64) -> Option<&Placed> {
        self.lines.iter().find(|placed| placed.epoch == epoch && placed.head.seq == seq)
    }

    /// Whether there is nothing to bring.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }
}

impl Room {
    /// Brings them to the supernode, or, leading, places them.
    pub(super) fn bring_rescued(&mut self, now: Instant) {
        if planted(Plant::NoRescue) {
            self.rescue = Rescue::default();
        }
        match self.standing {
            Standing::Leading(_) => {
                for placed in std::mem::take(&mut self.rescue).lines {
                    self.place(now, placed.line);
                }
            }
            Standing::Following if !self.rescue.is_empty() => {
                if self.rescue.tries >= MAX_TRIES {
                    self.rescue = Rescue::default();
                    return;
                }
                self.rescue.tries += 1;
                let lines: Vec<Placed> = self.rescue.lines.iter().cloned().collect();
                for chunk in lines.chunks(MAX_LINES) {
                    self.send(self.view.epoch.supernode, RoomMessage::Rescue(chunk.to_vec()));
                }
            }
            _ => {}
        }
    }

    /// A member brings what it held. Each line carries its author's signature and that of the supernode that placed it: of these two we
    /// must know one, or a member could make up authors.
    pub(super) fn on_rescue(&mut self, now: Instant, from: NodeId, lines: Vec<Placed>) {
        if !self.is_supernode() || !self.view.contains(from) {
            return;
        }
        if lines.len() > MAX_LINES {
            return self.alert("forged", format!("{from} sent more lines than a message holds"));
        }
        for placed in lines {
            let id = placed.line.id();
            let parted = self.sequencer.voices.contradicts(&placed.line);
            if id.counter <= self.sequencer.voices.highest(id.voice) && !parted {
                continue;
            }
            if !self.knows(id.voice.author) && !self.knows(placed.epoch.supernode) {
                continue;
            }
            // Too much at once is not taken: it is brought again.
            let kibibytes = u32::try_from(placed.line.saying.text.len() >> 10).unwrap_or(u32::MAX);
            if !self.may_ask(from, kibibytes.saturating_add(1)) {
                return;
            }
            if !placed.verify(self.view.room) {
                return self.alert("forged", format!("{from} brought a line that is not what it says"));
            }
            if parted {
                let proven = self.sequencer.voices.is_proven(id.voice);
                self.accuse_author(id.voice, proven);
                continue;
            }
            self.place(now, placed.line);
        }
    }
}
