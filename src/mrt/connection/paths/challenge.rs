//! Questions that only who reads at the other end of a path can answer (RFC 9000 §8.2).

use crate::time::Instant;
use smallvec::SmallVec;

/// Unanswered challenges of one path that are remembered; the oldest go first. They are sent a second apart at last, so that an answer may
/// take seconds.
const MAX_REMEMBERED: usize = 8;

/// Challenges that are out on one path. Each has a token of its own (RFC 9000 §8.2.1), so that an answer tells the round trip whichever
/// of them it answers.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    sent: SmallVec<[([u8; 8], Instant); MAX_REMEMBERED]>,
}

impl Challenges {
    /// A challenge with this token left.
    pub(super) fn on_sent(&mut self, now: Instant, token: [u8; 8]) {
        if self.sent.len() >= MAX_REMEMBERED {
            self.sent.remove(0);
        }
        self.sent.push((token, now));
    }

    /// When the challenge with this token left, if it is one of these. All of them are answered by it.
    pub(super) fn answered_by(&mut self, token: [u8; 8]) -> Option<Instant> {
        let (_, sent_at) = self.sent.iter().find(|(sent, _)| *sent == token).copied()?;
        self.sent.clear();
        Some(sent_at)
    }

    /// Whether the challenge with this token is one of these.
    pub(super) fn has(&self, token: [u8; 8]) -> bool {
        self.sent.iter().any(|(sent, _)| *sent == token)
    }

    /// Whether any is out.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// When the last of them left.
    pub(super) fn last_sent_at(&self) -> Option<Instant> {
        self.sent.last().map(|(_, at)| *at)
    }

    /// Answers to them are not waited for any more.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn at(ms: u64) -> Instant {
        Instant::from_start(Duration::from_millis(ms))
    }

    #[test]
    fn an_answer_to_any_of_them_answers_all_and_an_old_one_is_forgotten() {
        let mut challenges = Challenges::default();
        (0..=MAX_REMEMBERED as u8).for_each(|n| challenges.on_sent(at(n.into()), [n; 8]));
        assert_eq!(challenges.sent.len(), MAX_REMEMBERED);
        assert_eq!(challenges.answered_by([0; 8]), None, "too long ago");
        assert_eq!(challenges.answered_by([2; 8]), Some(at(2)));
        assert_eq!(challenges.answered_by([3; 8]), None, "answered already");
    }
}
