//! Asking a path whether it is still there: at intervals while data goes elsewhere, at once when there is doubt.
//!
//! ```text
//!          asked, answered                asked, silent for a few timeouts            a minute
//!  alive ◄────────────────► asked ──────────────────────────────────────► down ──────────────► forgotten
//!                                                                           └─ answers: alive
//! ```

use super::challenge::Challenges;
use crate::time::{Duration, Instant};

/// Challenges in a row without an answer, after which a path is down. At 20 % loss each way that happens by bad luck once in 500 times.
const MAX_MISSED: u32 = 6;

/// When a path that carries no data from here on is asked first, each after the one before. A mapping that saw traffic for less than
/// about two seconds keeps the short timeout that NATs give to questions and their answers (Linux: 30 s instead of 120 s).
const EARLY: [Duration; 3] = [Duration::from_millis(700), Duration::from_millis(700), Duration::from_millis(900)];

/// For how long a path that is down is tried.
const DOWN_FOR: Duration = Duration::from_secs(60);

/// Falls of a path are forgotten after it carried data for this long without one.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// However often a path fell, no more answers in a row are wanted before data goes there again.
const MAX_PENANCE: u32 = 5;

/// What the clock says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mrt::connection) enum Due {
    /// Nothing.
    Nothing,
    /// It is to be asked, for the first time since it answered.
    Ask,
    /// It did not answer, and is to be asked again.
    AskAgain,
    /// It did not answer for too long: it is down from here on.
    Down,
    /// It was down for too long.
    Forget,
}

/// What is known of a path's being there.
#[derive(Debug, Default)]
pub(in crate::mrt::connection) struct Liveness {
    challenges: Challenges,
    /// When to ask (again).
    next: Option<Instant>,
    /// The clock has said that it is to be asked.
    due: bool,
    /// Challenges in a row that nobody answered in time.
    missed: u32,
    /// How many of the early ones are over.
    early: usize,
    /// Since when it is down.
    down_since: Option<Instant>,
    /// Data was sent here and not answered, and the path has not answered anything since.
    suspect: bool,
    /// How often that happened of late, and when last.
    falls: u32,
    fell_at: Option<Instant>,
    /// Answers in a row since then.
    answers: u32,
    answered_at: Option<Instant>,
}

impl Liveness {
    /// Whether it is proven and not known to be gone.
    pub(in crate::mrt::connection) const fn is_alive(&self) -> bool {
        self.down_since.is_none()
    }

    /// Whether there is doubt: it was asked, and the answer is late.
    pub(in crate::mrt::connection) const fn is_late(&self) -> bool {
        self.missed > 0
    }

    /// Whether data that was sent here was not answered, nor anything since.
    pub(in crate::mrt::connection) const fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Whether it has answered often enough after it fell: a path that comes and goes has to wait longer each time.
    pub(in crate::mrt::connection) fn has_earned_return(&self) -> bool {
        self.answers >= self.falls.min(MAX_PENANCE)
    }

    /// When it was asked last, if the answer is still awaited.
    pub(in crate::mrt::connection) fn asked_at(&self) -> Option<Instant> {
        self.challenges.last_sent_at()
    }

    /// Data goes elsewhere from here on.
    pub(in crate::mrt::connection) fn stand_by(&mut self, now: Instant) {
        self.early = 0;
        self.missed = 0;
        self.challenges.forget();
        self.next = EARLY.first().map(|wait| now + *wait);
    }

    /// Data goes here from here on, and is acknowledged: nothing has to be asked.
    pub(in crate::mrt::connection) fn carry(&mut self) {
        self.missed = 0;
        self.suspect = false;
        self.challenges.forget();
        (self.next, self.due, self.down_since) = (None, false, None);
    }

    /// Data that was sent here was not answered, and goes elsewhere from here on.
    pub(in crate::mrt::connection) fn fall(&mut self, now: Instant) {
        let steady = self.fell_at.is_some_and(|at| now.saturating_since(at) >= STEADY_AFTER);
        self.falls = if steady { 1 } else { self.falls.saturating_add(1) };
        self.fell_at = Some(now);
        self.answers = 0;
        self.suspect = true;
        self.stand_by(now);
        self.next = Some(now);
    }

    /// To be asked now, unless an answer is awaited.
    pub(in crate::mrt::connection) fn ask(&mut self, now: Instant) {
        if self.challenges.is_empty() {
            self.next = Some(now);
        }
    }

    /// The same, but not so soon after its last answer.
    pub(in crate::mrt::connection) fn doubt(&mut self, now: Instant, patience: Duration) {
        if self.challenges.is_empty() {
            self.next = Some(self.answered_at.map_or(now, |at| now.max(at + patience)));
        }
    }

    /// To be asked now, whatever was asked before: what was sent may have gone to a network that is no longer there.
    pub(in crate::mrt::connection) fn ask_afresh(&mut self, now: Instant) {
        self.challenges.forget();
        self.missed = 0;
        self.next = Some(now);
    }

    /// When the clock has something to say.
    pub(in crate::mrt::connection) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// What the clock says. Challenges that are to leave wait until [`take_due`](Self::take_due).
    pub(in crate::mrt::connection) fn tick(&mut self, now: Instant) -> Due {
        if self.next.is_none_or(|next| next > now) {
            return Due::Nothing;
        }
        self.next = None;
        if self.down_since.is_some_and(|since| now.saturating_since(since) >= DOWN_FOR) {
            return Due::Forget;
        }
        let again = !self.challenges.is_empty();
        if again {
            self.missed = self.missed.saturating_add(1);
        }
        self.due = true;
        match (again, self.missed >= MAX_MISSED && self.is_alive()) {
            (_, true) => {
                self.down_since = Some(now);
                Due::Down
            }
            (true, false) => Due::AskAgain,
            (false, false) => Due::Ask,
        }
    }

    /// Whether a challenge is to leave. Asking says that it does.
    pub(in crate::mrt::connection) const fn take_due(&mut self) -> bool {
        core::mem::replace(&mut self.due, false)
    }

    /// A challenge left. `timeout`: the path's probe timeout after so many without an answer; `interval`: how often a silent path is
    /// asked.
    pub(in crate::mrt::connection) fn on_asked(
        &mut self,
        now: Instant,
        token: [u8; 8],
        timeout: Duration,
        interval: Duration,
    ) {
        self.challenges.on_sent(now, token);
        self.next = Some(now + if self.is_alive() { timeout } else { interval });
    }

    /// Challenges in a row that nobody answered in time.
    pub(in crate::mrt::connection) const fn missed(&self) -> u32 {
        self.missed
    }

    /// Whether this answers a challenge, and then how long that took. `interval`: when to ask again, `None` for a path that carries data.
    pub(in crate::mrt::connection) fn on_answer(
        &mut self,
        now: Instant,
        token: [u8; 8],
        interval: Option<Duration>,
    ) -> Option<Duration> {
        let sent_at = self.challenges.answered_by(token)?;
        self.missed = 0;
        self.suspect = false;
        self.down_since = None;
        self.answers = self.answers.saturating_add(1);
        self.answered_at = Some(now);
        let early = EARLY.get(self.early.saturating_add(1)).copied();
        self.early = self.early.saturating_add(1).min(EARLY.len());
        self.next = interval.map(|interval| now + early.unwrap_or(interval).min(interval));
        Some(now.saturating_since(sent_at))
    }

    /// Whether this is one of the challenges that are out.
    pub(super) fn has(&self, token: [u8; 8]) -> bool {
        self.challenges.has(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(200);
    const INTERVAL: Duration = Duration::from_secs(5);

    /// Lets the clock speak, and asks what it says. Returns what it said, in order, with times in milliseconds.
    fn run(liveness: &mut Liveness, until_ms: u64, answers: bool) -> Vec<(u64, Due)> {
        let mut said = Vec::new();
        let mut token = 0_u64;
        while let Some(at) = liveness.next().filter(|at| at.as_millis() < until_ms) {
            let due = liveness.tick(at);
            said.push((at.as_millis(), due));
            if due == Due::Forget {
                break;
            }
            if liveness.take_due() {
                token += 1;
                liveness.on_asked(at, token.to_be_bytes(), TIMEOUT, INTERVAL);
                if answers {
                    liveness.on_answer(at, token.to_be_bytes(), Some(INTERVAL));
                }
            }
        }
        said
    }

    #[test]
    fn the_first_questions_are_spread_over_more_than_two_seconds() {
        let mut liveness = Liveness::default();
        liveness.stand_by(Instant::ZERO);
        let said = run(&mut liveness, 13_000, true);
        assert_eq!(said, [700, 1400, 2300, 7300, 12_300].map(|at| (at, Due::Ask)));
    }

    #[test]
    fn a_silent_path_is_down_after_six_questions_and_forgotten_after_a_minute_more() {
        let mut liveness = Liveness::default();
        liveness.ask(Instant::ZERO);
        let said = run(&mut liveness, 1_000_000, false);
        let down = said.iter().find(|(_, due)| *due == Due::Down).unwrap().0;
        assert_eq!(down, 1200, "six timeouts");
        let (forgotten, last) = *said.last().unwrap();
        assert_eq!(last, Due::Forget);
        assert!((60_000..=66_200).contains(&(forgotten - down)), "{forgotten}");
        assert!(said.len() < 25, "and it is not asked often: {}", said.len());
    }

    #[test]
    fn a_path_that_is_down_lives_again_when_it_answers() {
        let mut liveness = Liveness::default();
        liveness.ask(Instant::ZERO);
        run(&mut liveness, 10_000, false);
        assert!(!liveness.is_alive());
        run(&mut liveness, 20_000, true);
        assert!(liveness.is_alive() && !liveness.is_late());
    }

    #[test]
    fn a_path_that_falls_again_and_again_waits_longer_each_time() {
        let mut liveness = Liveness::default();
        assert!(liveness.has_earned_return(), "it never fell");
        for falls in 1..10_u32 {
            let now = Instant::from_start(Duration::from_secs(falls.into()));
            liveness.fall(now);
            let mut answers = 0;
            while !liveness.has_earned_return() {
                liveness.on_asked(now, [1; 8], TIMEOUT, INTERVAL);
                liveness.on_answer(now, [1; 8], Some(INTERVAL));
                answers += 1;
            }
            assert_eq!(answers, falls.min(MAX_PENANCE));
        }
        liveness.fall(Instant::from_start(Duration::from_secs(100)));
        liveness.on_asked(Instant::ZERO, [1; 8], TIMEOUT, INTERVAL);
        liveness.on_answer(Instant::ZERO, [1; 8], Some(INTERVAL));
        assert!(liveness.has_earned_return(), "it was steady for a minute");
    }
}
