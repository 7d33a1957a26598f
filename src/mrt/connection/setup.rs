//! Before data may flow: who still has to say what.
//!
//! ```text
//!  caller   ExpectAccept ──ACON──► Done                    IK, IKpsk2
//!           ExpectAccept ──ACON──► ExpectSealed ──DATA──► Done     XX: its third message is repeated until the other side seals
//!  callee   ExpectProof ──DATA──► Done                     IK, IKpsk2: a first message can be a replay, sealed data cannot
//!           ExpectThird ──ACON──► Done                     XX
//! ```
//!
//! The caller repeats itself by the clock; the callee only answers, one small datagram for each of 1200 bytes, so that nobody can
//! use it to send more to a third party than they sent themselves.

use crate::mrt::api::SecretId;
use crate::mrt::crypto::noise::Handshake;
use crate::mrt::wire::packet::Pattern;
use crate::time::{Duration, Instant};

/// When the caller repeats itself first: more than most round trips, less than a person notices.
const FIRST_REPEAT: Duration = Duration::from_millis(250);

/// The longest time between repeats. Doubling without a cap fails one setup in five at 50 % loss.
const LAST_REPEAT: Duration = Duration::from_secs(1);

/// How long a caller goes on after the system said that nobody listens there. Anyone could have sent that, and NATs do while a hole
/// is being punched: an answer within this time counts for more.
const REFUSED_PATIENCE: Duration = Duration::from_secs(1);

/// How long a callee waits for a caller after it last asked.
pub(super) const CALLEE_PATIENCE: Duration = Duration::from_secs(20);

/// Where a connection's setup is. Named by what is awaited.
pub(super) enum Setup {
    /// Caller: the first message is out.
    ExpectAccept {
        handshake: Box<Handshake>,
        pattern: Pattern,
        /// Which shared secret it is to prove.
        secret: Option<SecretId>,
        /// The first Noise message.
        noise: Vec<u8>,
        /// What the other side asked us to show, if it did.
        cookie: Vec<u8>,
        repeat: Repeat,
    },
    /// Caller of XX: the third message is out, as a datagram.
    ExpectSealed {
        third: Vec<u8>,
        repeat: Repeat,
        /// It is to leave to where the second message came from, too.
        also: bool,
    },
    /// Callee of XX: the second message is out, as a datagram.
    ExpectThird { handshake: Box<Handshake>, accept: Vec<u8>, until: Instant },
    /// Callee of IK: the second message is out, as a datagram, and there are keys.
    ExpectProof { accept: Vec<u8>, until: Instant },
    /// Both sides are proven.
    Done,
}

impl Setup {
    /// When the clock has something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::ExpectAccept { repeat, .. } | Self::ExpectSealed { repeat, .. } => {
                Some(repeat.next.min(repeat.until))
            }
            Self::ExpectThird { until, .. } | Self::ExpectProof { until, .. } => Some(*until),
            Self::Done => None,
        }
    }

    /// When it is given up.
    pub(super) const fn until(&self) -> Option<Instant> {
        match self {
            Self::ExpectAccept { repeat, .. } | Self::ExpectSealed { repeat, .. } => Some(repeat.until),
            Self::ExpectThird { until, .. } | Self::ExpectProof { until, .. } => Some(*until),
            Self::Done => None,
        }
    }
}

/// A datagram that is repeated until it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat {
    /// When it leaves (again).
    pub(super) next: Instant,
    interval: Duration,
    /// When it left, if it left once only: then its answer measures the round trip.
    pub(super) left_once: Option<Instant>,
    /// When nobody waits for the answer any more.
    pub(super) until: Instant,
    /// The system said that nobody listens there.
    pub(super) refused: bool,
}

impl Repeat {
    /// Leaves at once.
    pub(super) const fn new(now: Instant, until: Instant) -> Self {
        Self { next: now, interval: FIRST_REPEAT, left_once: None, until, refused: false }
    }

    /// The system says that nobody listens there: a hint that shortens the waiting, once.
    pub(super) fn on_unreachable(&mut self, now: Instant) {
        if !self.refused {
            self.refused = true;
            self.until = self.until.min(now + REFUSED_PATIENCE);
        }
    }

    /// It left.
    pub(super) fn on_sent(&mut self, now: Instant) {
        self.left_once = (self.interval == FIRST_REPEAT).then_some(now);
        self.next = now + self.interval;
        self.interval = self.interval.saturating_mul(2).min(LAST_REPEAT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_seconds_hold_twenty_tries() {
        // At 30 % loss each way one try in two gets through: twenty of them fail once in a million.
        let mut repeat = Repeat::new(Instant::ZERO, Instant::FAR_FUTURE);
        let mut tries = 0;
        while repeat.next < Instant::from_start(Duration::from_secs(20)) {
            let now = repeat.next;
            repeat.on_sent(now);
            tries += 1;
        }
        assert!(tries >= 20, "{tries}");
    }
}
