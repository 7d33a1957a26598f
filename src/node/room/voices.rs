//! How far each voice was heard: what tells a repeat from a line.

use super::line::{LineId, Voice};
use std::collections::BTreeMap;

/// Voices that are remembered, at most. The one whose last line is oldest makes room.
pub const MAX_VOICES: usize = 8192;

/// The highest line of every voice.
#[derive(Clone, Debug, Default)]
pub struct Voices {
    /// The highest counter, and the place of that line in the order.
    heads: BTreeMap<Voice, (u64, u64)>,
}

impl Voices {
    /// The highest counter of that voice; 0 if it was never heard.
    pub fn highest(&self, voice: Voice) -> u64 {
        self.heads.get(&voice).map_or(0, |(counter, _)| *counter)
    }

    /// Notes a line. `false`: it is a repeat.
    pub fn note(&mut self, id: LineId, seq: u64) -> bool {
        if id.counter <= self.highest(id.voice) {
            return false;
        }
        self.heads.insert(id.voice, (id.counter, seq));
        if self.heads.len() > MAX_VOICES {
            let oldest = self.heads.iter().min_by_key(|(_, (_, seq))| *seq).map(|(voice, _)| *voice);
            oldest.map(|voice| self.heads.remove(&voice));
        }
        true
    }

    /// Every voice with its highest counter.
    pub fn all(&self) -> Vec<(Voice, u64)> {
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
        let voice = |start| Voice { author: NodeId([1; 32]), start };
        assert!(voices.note(LineId { voice: voice(0), counter: 2 }, 1));
        assert!(!voices.note(LineId { voice: voice(0), counter: 2 }, 2));
        assert!(!voices.note(LineId { voice: voice(0), counter: 1 }, 3));
        for start in 1..=MAX_VOICES as u64 {
            assert!(voices.note(LineId { voice: voice(start), counter: 1 }, 10 + start));
        }
        assert_eq!(voices.all().len(), MAX_VOICES);
        assert_eq!(voices.highest(voice(0)), 0, "the voice silent for longest made room");
    }
}
