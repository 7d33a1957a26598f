//! Our own lines, kept until they are safe.

use super::epoch::{ChainHash, RoomId};
use super::line::{Line, LineId, Saying, Voice};
use super::message::{RoomMessage, Say};
use super::parts::{Room, Standing};
use super::plant::{Plant, planted};
use crate::node::api::ErrorCode;
use crate::node::identity::{Identity, NodeId};
use crate::node::room::line::MAX_TEXT_BYTES;
use crate::time::Instant;
use std::collections::VecDeque;

/// Own lines that are not safe yet, at most; more are refused with an error.
pub(super) const MAX_PENDING: usize = 256;

/// What we said, until it is safe.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    voice: Voice,
    counter: u64,
    last: ChainHash,
    kept: VecDeque<Kept>,
    /// When they were last sent.
    pub(super) sent: Instant,
}

#[derive(Clone, Debug)]
struct Kept {
    line: Line,
    /// Its place, once it has one in the epoch that lasts.
    seq: Option<u64>,
}

impl Outbox {
    /// Nothing was said. `start` is random.
    pub(super) const fn new(author: NodeId, start: u64, now: Instant) -> Self {
        let voice = Voice { author, start };
        Self { voice, counter: 0, last: ChainHash([0; 32]), kept: VecDeque::new(), sent: now }
    }

    /// Whose lines they are.
    #[cfg(test)]
    pub(super) const fn voice(&self) -> Voice {
        self.voice
    }

    /// Makes room for a line. What has its place and waits only for somebody to come back is let go; what has none never is.
    pub(super) fn make_room(&mut self, alone: bool) {
        if self.kept.len() >= MAX_PENDING && alone && self.kept.front().is_some_and(|kept| kept.seq.is_some()) {
            self.kept.pop_front();
        }
    }

    /// Signs and keeps a line; `None` if too many are kept.
    pub(super) fn write(&mut self, identity: &Identity, room: RoomId, text: &str, time: u64) -> Option<Line> {
        if self.kept.len() >= MAX_PENDING && !planted(Plant::NoCap) {
            return None;
        }
        self.counter += 1;
        let id = LineId { voice: self.voice, counter: self.counter };
        let previous = if planted(Plant::AnyPrevious) { ChainHash::default() } else { self.last };
        let line = Line::sign(identity, Saying { room, id, previous, time, text: text.to_owned() });
        self.last = line.hash();
        self.kept.push_back(Kept { line: line.clone(), seq: None });
        Some(line)
    }

    /// A line has its place.
    pub(super) fn on_placed(&mut self, id: LineId, seq: u64) {
        if id.voice == self.voice {
            self.kept.iter_mut().filter(|kept| kept.line.id() == id).for_each(|kept| kept.seq = Some(seq));
        }
    }

    /// Everything up to that line has its place, by `seq` at the latest, seen by us or not: an author's lines are placed in order.
    pub(super) fn on_passed(&mut self, id: LineId, seq: u64) {
        let passed = |kept: &&mut Kept| kept.seq.is_none() && kept.line.id().counter <= id.counter;
        if id.voice == self.voice {
            self.kept.iter_mut().filter(passed).for_each(|kept| kept.seq = Some(seq));
        }
    }

    /// The order was cut off after `seq`: what came later has no place any more.
    pub(super) fn on_truncated(&mut self, seq: u64) {
        self.kept.iter_mut().filter(|kept| kept.seq > Some(seq)).for_each(|kept| kept.seq = None);
    }

    /// Everything up to `seq` is safe.
    pub(super) fn on_stable(&mut self, seq: u64) {
        while self.kept.front().is_some_and(|kept| kept.seq.is_some_and(|place| place <= seq)) {
            self.kept.pop_front();
        }
    }

    /// Lines of a room that was left are nobody's concern.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    /// The lines without a place, in order.
    pub(super) fn unplaced(&self) -> impl Iterator<Item = &Line> + '_ {
        self.kept.iter().filter(|kept| kept.seq.is_none()).map(|kept| &kept.line)
    }

    /// The counter of the oldest line that is kept.
    pub(super) fn oldest(&self) -> u64 {
        self.kept.front().map_or(self.counter, |kept| kept.line.id().counter)
    }

    /// Whether everything is safe.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl Room {
    /// `T <message>`. `unix_ms` is the time that others will see.
    pub fn say(&mut self, now: Instant, text: &str, unix_ms: u64) {
        self.on_wake(now);
        if text.is_empty() {
            return self.error(Some('T'), ErrorCode::Usage, "nothing to say: type T <message>");
        }
        if text.len() > MAX_TEXT_BYTES {
            return self.error(Some('T'), ErrorCode::TooLarge, "a message has at most 16 KiB: send a file (B) instead");
        }
        let alone = self.is_provisional();
        self.outbox.make_room(alone);
        let Some(line) = self.outbox.write(&self.identity, self.view.room, text, unix_ms) else {
            let words = "256 lines wait for the room to take them: not said, try again in a moment";
            return self.error(Some('T'), ErrorCode::Network, words);
        };
        match self.standing {
            Standing::Leading(_) => self.place(now, line),
            Standing::Following => {
                self.outbox.sent = now;
                let oldest = self.outbox.oldest();
                self.send(self.view.epoch.supernode, RoomMessage::Say(Say { line, oldest }));
            }
            // Kept; sent when somebody leads.
            _ => {}
        }
    }

    /// Sends (or, leading, places) every line that has no place, in order; what was rescued first, since it was said before.
    pub(super) fn resend(&mut self, now: Instant) {
        self.outbox.sent = now;
        self.bring_rescued(now);
        let oldest = self.outbox.oldest();
        let mut lines: Vec<Line> = self.outbox.unplaced().cloned().collect();
        if planted(Plant::Backwards) {
            lines.reverse();
        }
        for line in lines {
            match self.standing {
                Standing::Leading(_) => self.place(now, line),
                Standing::Following => self.send(self.view.epoch.supernode, RoomMessage::Say(Say { line, oldest })),
                _ => {}
            }
        }
    }
}
