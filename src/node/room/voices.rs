//! How far each voice was heard: what tells a repeat from a line.

use super::line::{LineId, Voice};
use super::plant::{Plant, planted};
use std::collections::BTreeMap;

/// Voices that are remembered, at most. The one whose last line is oldest makes room.
pub(super) const MAX_VOICES: usize = 8192;

/// Voices of one author that are remembered, at most: nobody pushes out others by starting again and again.
const MAX_VOICES_EACH: usize = 16;

/// The highest line of every voice.
#[derive(Clone, Debug, Default)]
pub(super) struct Voices {
    /// The highest counter, and the place of that line in the order.
    heads: BTreeMap<Voice, (u64, u64)>,
}

impl Voices {
    /// The highest counter of that voice; 0 if it was never heard.
    pub(super) fn highest(&self, voice: Voice) -> u64 {
        self.heads.get(&voice).map_or(0, |(counter, _)| *counter)
    }

    /// Notes a line. `false`: it is a repeat.
    pub(super) fn note(&mut self, id: LineId, seq: u64) -> bool {
        if id.counter <= self.highest(id.voice) && !planted(Plant::Repeats) && !planted(Plant::Backwards) {
            return false;
        }
        if self.heads.insert(id.voice, (id.counter, seq)).is_none() {
            let author = id.voice.author;
            let its = Voice { author, start: 0 }..=Voice { author, start: u64::MAX };
            let its = self.heads.range(its).filter(|(voice, _)| **voice != id.voice);
            let others: Vec<(u64, Voice)> = its.map(|(voice, (_, seq))| (*seq, *voice)).collect();
            if others.len() >= MAX_VOICES_EACH {
                others.into_iter().min().map(|(_, oldest)| self.heads.remove(&oldest));
            }
        }
        if self.heads.len() > MAX_VOICES {
            let oldest = self.heads.iter().min_by_key(|(_, (_, seq))| *seq).map(|(voice, _)| *voice);
            oldest.map(|voice| self.heads.remove(&voice));
        }
        true
    }

    /// Every voice with its highest counter.
    pub(super) fn all(&self) -> Vec<(Voice, u64)> {
        self.heads.iter().map(|(voice, (counter, _))| (*voice, *counter)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::identity::NodeId;

    #[test]
    fn a_repeat_is_known_for_ever_and_memory_stays_bounded() {
        let mut voices = Voices::default();
        let voice = |start: u64| {
            let mut author = [0; 32];
            author[..8].copy_from_slice(&start.to_be_bytes());
            Voice { author: NodeId(author), start }
        };
        assert!(voices.note(LineId { voice: voice(0), counter: 2 }, 1));
        assert!(!voices.note(LineId { voice: voice(0), counter: 2 }, 2));
        assert!(!voices.note(LineId { voice: voice(0), counter: 1 }, 3));
        for start in 1..=MAX_VOICES as u64 {
            assert!(voices.note(LineId { voice: voice(start), counter: 1 }, 10 + start));
        }
        assert_eq!(voices.all().len(), MAX_VOICES);
        assert_eq!(voices.highest(voice(0)), 0, "the voice silent for longest made room");
    }

    /// Else a member could make us forget what others said, and a supernode could have it said again.
    #[test]
    fn one_author_with_many_starts_pushes_out_only_itself() {
        let mut voices = Voices::default();
        let honest = Voice { author: NodeId([1; 32]), start: 1 };
        assert!(voices.note(LineId { voice: honest, counter: 5 }, 1));
        for start in 0..2 * MAX_VOICES as u64 {
            let voice = Voice { author: NodeId([2; 32]), start };
            assert!(voices.note(LineId { voice, counter: 1 }, 2 + start));
        }
        assert_eq!(voices.all().len(), 1 + MAX_VOICES_EACH);
        assert!(!voices.note(LineId { voice: honest, counter: 5 }, 9999));
    }
}
