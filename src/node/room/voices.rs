//! How far each voice was heard: what tells a repeat from a line, and a line from one that its author never said next.

use super::epoch::ChainHash;
use super::line::{Line, LineId, Voice};
use super::message::Spoken;
use super::plant::{Plant, planted};
use std::collections::BTreeMap;

/// Voices that are remembered, at most. The one whose last line is oldest makes room.
pub(super) const MAX_VOICES: usize = 8192;

/// Voices of one author that are remembered, at most: nobody pushes out others by starting again and again.
const MAX_VOICES_EACH: usize = 16;

/// The last line of every voice.
#[derive(Clone, Debug, Default)]
pub(super) struct Voices {
    heads: BTreeMap<Voice, Last>,
}

/// The last line of a voice.
#[derive(Clone, Copy, Debug)]
struct Last {
    counter: u64,
    /// Its hash, if it is known: of what was said before we came it may not be.
    hash: Option<ChainHash>,
    /// Whether we saw it with its author's signature; else that is what a supernode told us.
    proven: bool,
    /// Its place in the order.
    seq: u64,
}

impl Voices {
    /// The highest counter of that voice; 0 if it was never heard.
    pub(super) fn highest(&self, voice: Voice) -> u64 {
        self.heads.get(&voice).map_or(0, |last| last.counter)
    }

    /// Whether `line` and the last line of its voice cannot both be what their author said: two under one number, or the next one after
    /// another than that. Its author signed both, so it is no accident. After a gap nothing can be told.
    pub(super) fn contradicts(&self, line: &Line) -> bool {
        let id = line.id();
        let Some(Last { counter, hash: Some(hash), .. }) = self.heads.get(&id.voice).copied() else {
            return false;
        };
        let other = id.counter == counter && line.hash() != hash;
        let parted = id.counter == counter.saturating_add(1) && line.saying.previous != hash;
        (other || parted) && !planted(Plant::AnyPrevious)
    }

    /// Whether we saw the last line of that voice with its author's signature.
    pub(super) fn is_proven(&self, voice: Voice) -> bool {
        self.heads.get(&voice).is_some_and(|last| last.proven)
    }

    /// Notes a line. `false`: it is a repeat.
    pub(super) fn note(&mut self, line: &Line, seq: u64) -> bool {
        let last = Last { counter: line.id().counter, hash: Some(line.hash()), proven: true, seq };
        self.note_last(line.id().voice, last)
    }

    /// Notes what others say that they know of a voice. `false`: we know as much.
    pub(super) fn note_spoken(&mut self, spoken: Spoken, seq: u64) -> bool {
        let last = Last { counter: spoken.id.counter, hash: spoken.hash, proven: false, seq };
        self.note_last(spoken.id.voice, last)
    }

    fn note_last(&mut self, voice: Voice, last: Last) -> bool {
        let counter = last.counter;
        if counter <= self.highest(voice) && !planted(Plant::Repeats) && !planted(Plant::Backwards) {
            return false;
        }
        if self.heads.insert(voice, last).is_none() {
            let author = voice.author;
            let its = Voice { author, start: 0 }..=Voice { author, start: u64::MAX };
            let its = self.heads.range(its).filter(|(other, _)| **other != voice);
            let others: Vec<(u64, Voice)> = its.map(|(other, last)| (last.seq, *other)).collect();
            if others.len() >= MAX_VOICES_EACH {
                others.into_iter().min().map(|(_, oldest)| self.heads.remove(&oldest));
            }
        }
        if self.heads.len() > MAX_VOICES {
            let oldest = self.heads.iter().min_by_key(|(_, last)| last.seq).map(|(voice, _)| *voice);
            oldest.map(|voice| self.heads.remove(&voice));
        }
        true
    }

    /// Every voice with its last line.
    pub(super) fn all(&self) -> Vec<Spoken> {
        let spoken = |(voice, last): (&Voice, &Last)| {
            let id = LineId { voice: *voice, counter: last.counter };
            Spoken { id, hash: last.hash }
        };
        self.heads.iter().map(spoken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::epoch::RoomId;
    use super::super::line::Saying;
    use super::*;
    use crate::node::identity::{Identity, NodeId};

    fn heard(voices: &mut Voices, voice: Voice, counter: u64, seq: u64) -> bool {
        voices.note_spoken(Spoken { id: LineId { voice, counter }, hash: None }, seq)
    }

    #[test]
    fn a_repeat_is_known_for_ever_and_memory_stays_bounded() {
        let mut voices = Voices::default();
        let voice = |start: u64| {
            let mut author = [0; 32];
            author[..8].copy_from_slice(&start.to_be_bytes());
            Voice { author: NodeId(author), start }
        };
        assert!(heard(&mut voices, voice(0), 2, 1));
        assert!(!heard(&mut voices, voice(0), 2, 2));
        assert!(!heard(&mut voices, voice(0), 1, 3));
        for start in 1..=MAX_VOICES as u64 {
            assert!(heard(&mut voices, voice(start), 1, 10 + start));
        }
        assert_eq!(voices.all().len(), MAX_VOICES);
        assert_eq!(voices.highest(voice(0)), 0, "the voice silent for longest made room");
    }

    /// Else a member could make us forget what others said, and a supernode could have it said again.
    #[test]
    fn one_author_with_many_starts_pushes_out_only_itself() {
        let mut voices = Voices::default();
        let honest = Voice { author: NodeId([1; 32]), start: 1 };
        assert!(heard(&mut voices, honest, 5, 1));
        for start in 0..2 * MAX_VOICES as u64 {
            let voice = Voice { author: NodeId([2; 32]), start };
            assert!(heard(&mut voices, voice, 1, 2 + start));
        }
        assert_eq!(voices.all().len(), 1 + MAX_VOICES_EACH);
        assert!(!heard(&mut voices, honest, 5, 9999));
    }

    #[test]
    fn each_line_names_the_one_before_it_and_two_under_one_number_are_noticed() {
        let ann = Identity::from_seed(&[1; 32]);
        let say = |counter: u64, previous: ChainHash, text: &str| {
            let id = LineId { voice: Voice { author: ann.id(), start: 1 }, counter };
            Line::sign(&ann, Saying { room: RoomId([0; 16]), id, previous, time: 0, text: text.to_owned() })
        };
        let mut voices = Voices::default();
        let first = say(1, ChainHash::default(), "a");
        assert!(!voices.contradicts(&first));
        assert!(voices.note(&first, 1));
        assert!(!voices.contradicts(&first), "a repeat is no other line");
        assert!(voices.contradicts(&say(1, ChainHash::default(), "b")));
        assert!(voices.contradicts(&say(2, say(1, ChainHash::default(), "b").hash(), "c")));
        assert!(!voices.contradicts(&say(2, first.hash(), "c")));
        assert!(!voices.contradicts(&say(4, ChainHash([7; 32]), "d")), "what lies between is unknown");
        assert!(voices.note(&say(4, ChainHash([7; 32]), "d"), 2));
        assert!(voices.contradicts(&say(5, first.hash(), "e")), "from there on it is known again");
    }
}
