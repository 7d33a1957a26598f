//! Us and one member that we reach through another one, on the way to a direct path.
//!
//! ```text
//!             both begin: offers through the relay
//!   Resting ───────────────────────────────────────▶ Punching ──a way──▶ Proving ──MRT moves there──▶ Direct
//!      ▲                                                │                   │                            │
//!      └──────────── no way: for ever longer ───────────┘                   │                            │
//!      └──────────── MRT could not use it ──────────────────────────────────┘                            │
//!      └──────────── the direct path died: at once ──────────────────────────────────────────────────────┘
//! ```

use crate::mrt::ConnectionHandle;
use crate::stun::fingerprint::Fingerprint;
use crate::stun::punch::Punch;
use crate::stun::punch::plan::{Stage, StageKind};
use crate::time::{Duration, Instant};

/// The first rest after a failure. It doubles.
const FIRST_REST: Duration = Duration::from_secs(30);

/// The longest: what did not work ten times may work once the other end is in another network, and then it says so.
const LONGEST_REST: Duration = Duration::from_secs(1800);

/// A path that MRT does not use within this time is none.
const PROVING_TIME: Duration = Duration::from_secs(10);

/// Where a pair is.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing is tried before then.
    Resting(Instant),
    /// Probes are under way.
    Punching(Box<Punch>),
    /// There is a way: MRT tries it with full-size datagrams, until then at most.
    Proving(Instant),
    /// MRT uses it.
    Direct,
}

/// Us and one member.
#[derive(Debug)]
pub(super) struct Pair {
    /// Names its present punch among all.
    pub(super) number: u64,
    /// The link that is to get a direct path.
    pub(super) connection: ConnectionHandle,
    /// Whether we begin.
    pub(super) initiator: bool,
    pub(super) state: State,
    /// Packets that were spent so far.
    pub(super) spent: u64,
    /// How often in a row it came to nothing.
    failures: u32,
    /// Why it came to nothing.
    pub(super) why: Option<String>,
    /// The stage that found the way, while MRT tries it.
    pub(super) stage: Option<StageKind>,
    /// Whether more became known of a NAT since the present punch began.
    pub(super) again: bool,
    /// What the other end's NAT does, as was heard last, and as its record says.
    pub(super) theirs: Fingerprint,
    pub(super) recorded: Fingerprint,
    /// What the present or last punch tries, by what was known when it began.
    pub(super) stages: Option<Vec<Stage>>,
    /// It does not guess at ports, because too little was known.
    pub(super) held_back: bool,
}

impl Pair {
    pub(super) const fn new(
        now: Instant,
        connection: ConnectionHandle,
        initiator: bool,
        recorded: Fingerprint,
    ) -> Self {
        Self {
            number: 0,
            connection,
            initiator,
            state: State::Resting(now),
            spent: 0,
            failures: 0,
            why: None,
            stage: None,
            again: false,
            theirs: recorded,
            recorded,
            stages: None,
            held_back: false,
        }
    }

    /// Nothing came of it.
    pub(super) fn move_to_rest(&mut self, now: Instant, why: String) {
        self.why = Some(why);
        if core::mem::take(&mut self.again) {
            self.state = State::Resting(now);
            return;
        }
        let rest = FIRST_REST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(LONGEST_REST);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Resting(now + rest);
    }

    /// A way was found.
    pub(super) fn move_to_proving(&mut self, now: Instant) {
        self.state = State::Proving(now + PROVING_TIME);
    }

    /// MRT uses it.
    pub(super) fn move_to_direct(&mut self) {
        self.state = State::Direct;
        self.failures = 0;
        self.why = None;
        self.again = false;
    }

    /// Something is different from before: whatever failed may work.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.failures = 0;
        match self.state {
            State::Resting(_) => self.state = State::Resting(now),
            State::Punching(_) => self.again = true,
            State::Proving(_) | State::Direct => {}
        }
    }

    /// When something is due besides the punch's own timers.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.state {
            State::Resting(until) if self.initiator => Some(until),
            State::Proving(until) => Some(until),
            State::Resting(_) | State::Punching(_) | State::Direct => None,
        }
    }

    pub(super) fn punch(&mut self) -> Option<&mut Punch> {
        if let State::Punching(punch) = &mut self.state { Some(punch) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resting_until(pair: &Pair) -> Instant {
        match pair.state {
            State::Resting(until) => until,
            _ => panic!("not resting"),
        }
    }

    #[test]
    fn rests_grow_from_half_a_minute_to_half_an_hour_and_a_success_forgets_them() {
        let now = Instant::ZERO;
        let mut pair = Pair::new(now, ConnectionHandle(1), true, Fingerprint::default());
        let mut rests = Vec::new();
        for _ in 0..40 {
            pair.move_to_rest(now, "nothing came".to_owned());
            rests.push(resting_until(&pair).saturating_since(now).as_secs());
        }
        assert_eq!(rests[..8], [30, 60, 120, 240, 480, 960, 1800, 1800]);
        assert_eq!(rests[39], 1800);
        pair.move_to_direct();
        pair.move_to_rest(now, String::new());
        assert_eq!(resting_until(&pair), now + FIRST_REST);
    }

    #[test]
    fn what_becomes_known_in_the_meantime_is_tried_at_once() {
        let now = Instant::ZERO;
        let mut pair = Pair::new(now, ConnectionHandle(1), true, Fingerprint::default());
        pair.move_to_rest(now, String::new());
        pair.hurry(now);
        assert_eq!(pair.due(), Some(now));
        pair.again = true;
        pair.move_to_rest(now, String::new());
        assert_eq!(pair.due(), Some(now));
        assert!(!pair.again);
    }
}
