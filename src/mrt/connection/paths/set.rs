//! All paths of one connection, with their caps.

use super::path::Path;
use super::trial::{Purpose, Trial};
use crate::mrt::api::ConnectionHandle;
use crate::mrt::recovery::congestion::Algorithm;
use crate::mrt::route::{AddPathError, PathStats, Route};
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// Proven paths of a connection, at most, those that are down included: direct over IPv4 and IPv6, through a relay, and one to spare.
pub(super) const MAX_PATHS: usize = 4;

/// Ways on trial at once, at most.
pub(super) const MAX_TRIALS: usize = 4;

/// What is to be told of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mrt::connection) enum Notice {
    /// It is proven, or lives again.
    Up(Route, Duration),
    /// It was asked for, and came to nothing.
    Failed(Route),
    /// It answers no more.
    Down(Route),
    /// Data goes there.
    Moved(Route),
}

/// The ways of a connection.
#[derive(Debug)]
pub(in crate::mrt::connection) struct Paths {
    /// The one that data goes.
    pub(in crate::mrt::connection) active: Path,
    /// Those that could take its place.
    pub(in crate::mrt::connection) standby: Vec<Path>,
    /// Those that have to prove themselves.
    pub(in crate::mrt::connection) trials: Vec<Trial>,
    pub(in crate::mrt::connection) notices: VecDeque<Notice>,
    /// How often a path without data is asked, in the mean.
    pub(in crate::mrt::connection) interval: Duration,
    algorithm: Algorithm,
    max_datagram: u16,
}

impl Paths {
    /// One path. `max_datagram`: what both sides allow.
    pub(in crate::mrt::connection) fn new(
        now: Instant,
        route: Route,
        algorithm: Algorithm,
        max_datagram: u16,
        interval: Duration,
    ) -> Self {
        Self {
            active: Path::new(now, route, algorithm, max_datagram),
            standby: Vec::new(),
            trials: Vec::new(),
            notices: VecDeque::new(),
            interval,
            algorithm,
            max_datagram,
        }
    }

    /// A path of which nothing is known but its route.
    pub(in crate::mrt::connection) fn fresh(&self, now: Instant, route: Route) -> Path {
        Path::new(now, route, self.algorithm, self.max_datagram)
    }

    /// The proven path with this route.
    pub(in crate::mrt::connection) fn find_mut(&mut self, route: Route) -> Option<&mut Path> {
        if self.active.route == route {
            return Some(&mut self.active);
        }
        self.standby.iter_mut().find(|path| path.route == route)
    }

    /// Where in `standby` the path with this route lies.
    pub(in crate::mrt::connection) fn standby_at(&self, route: Route) -> Option<usize> {
        self.standby.iter().position(|path| path.route == route)
    }

    /// The trial of this route.
    pub(in crate::mrt::connection) fn trial_mut(&mut self, route: Route) -> Option<&mut Trial> {
        self.trials.iter_mut().find(|trial| trial.route == route)
    }

    /// Begins the trial that those above ask for.
    pub(in crate::mrt::connection) fn add(&mut self, now: Instant, route: Route) -> Result<(), AddPathError> {
        if let Some(path) = self.find_mut(route) {
            if path.liveness.is_alive() {
                return Err(AddPathError::Known);
            }
            path.liveness.ask_afresh(now);
            return Ok(());
        }
        if let Some(trial) = self.trial_mut(route) {
            if trial.purpose != Purpose::Answering {
                return Err(AddPathError::Known);
            }
            trial.adopt(now);
            return Ok(());
        }
        if !self.make_room(|purpose| purpose == Purpose::Answering) {
            return Err(AddPathError::TooMany);
        }
        self.trials.push(Trial::new(now, route, Purpose::Added));
        Ok(())
    }

    /// Begins a trial of a way that the other side showed. `false`: too many are on trial.
    pub(in crate::mrt::connection) fn try_out(&mut self, now: Instant, route: Route, purpose: Purpose) -> bool {
        if let Purpose::Rebound(_) = purpose {
            // The newest address counts: what the one before was is not to be known any more.
            self.trials.retain(|trial| trial.purpose != purpose);
        }
        let room = match purpose {
            Purpose::Rebound(_) => self.make_room(|purpose| purpose == Purpose::Answering),
            Purpose::Added | Purpose::Answering => self.trials.len() < MAX_TRIALS,
        };
        if room {
            self.trials.push(Trial::new(now, route, purpose));
        }
        room
    }

    /// Gives up the oldest trial that may go, if all places are taken. Says whether there is one free.
    fn make_room(&mut self, may_go: impl Fn(Purpose) -> bool) -> bool {
        if self.trials.len() < MAX_TRIALS {
            return true;
        }
        let oldest = self.trials.iter().position(|trial| may_go(trial.purpose));
        oldest.map(|index| self.trials.remove(index)).is_some()
    }

    /// Whether one more path fits.
    pub(in crate::mrt::connection) const fn has_room(&self) -> bool {
        self.standby.len() + 1 < MAX_PATHS
    }

    /// Where in `standby` the path lies that was asked with this token.
    pub(in crate::mrt::connection) fn standby_asked(&self, token: [u8; 8]) -> Option<usize> {
        self.standby.iter().position(|path| path.liveness.has(token))
    }

    /// Where in `trials` the one lies that was challenged with this token.
    pub(in crate::mrt::connection) fn trial_asked(&self, token: [u8; 8]) -> Option<usize> {
        self.trials.iter().position(|trial| trial.challenges.has(token))
    }

    /// How long the trial at `index` took to answer this token.
    pub(in crate::mrt::connection) fn trial_answered(
        &mut self,
        now: Instant,
        index: usize,
        token: [u8; 8],
    ) -> Option<Duration> {
        let sent_at = self.trials.get_mut(index)?.challenges.answered_by(token)?;
        Some(now.saturating_since(sent_at))
    }

    /// When a path or a trial has something to do by the clock.
    pub(in crate::mrt::connection) fn poll_timeout(&self) -> Option<Instant> {
        let trials = self.trials.iter().filter_map(|trial| trial.next);
        let standby = self.standby.iter().flat_map(|path| {
            [path.liveness.next(), path.ledger.loss_deadline(), path.drained_at()].into_iter().flatten()
        });
        trials.chain(standby).chain(self.active.liveness.next()).min()
    }

    /// All of them, the active one first.
    pub(in crate::mrt::connection) fn stats(&self) -> Vec<PathStats> {
        let standby = self.standby.iter().map(|path| path.stats(false));
        let trials = self.trials.iter().map(Trial::stats);
        core::iter::once(self.active.stats(true)).chain(standby).chain(trials).collect()
    }

    /// Whether one of them goes through that connection.
    pub(in crate::mrt::connection) fn lead_through(&self, relay: ConnectionHandle) -> bool {
        let through = |route: Route| matches!(route, Route::Relayed { by, .. } if by == relay);
        through(self.active.route)
            || self.standby.iter().any(|path| through(path.route))
            || self.trials.iter().any(|trial| through(trial.route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn route(port: u16) -> Route {
        SocketAddr::from(([192, 0, 2, 1], port)).into()
    }

    fn paths() -> Paths {
        Paths::new(Instant::ZERO, route(1), Algorithm::default(), 1472, Duration::from_secs(5))
    }

    #[test]
    fn four_ways_are_on_trial_at_most_and_those_that_were_asked_for_stay() {
        let mut paths = paths();
        for port in 2..100 {
            paths.try_out(Instant::ZERO, route(port), Purpose::Answering);
        }
        assert_eq!(paths.trials.len(), MAX_TRIALS);
        for port in 100..104 {
            assert_eq!(paths.add(Instant::ZERO, route(port)), Ok(()));
        }
        assert_eq!(paths.trials.len(), MAX_TRIALS);
        assert_eq!(paths.add(Instant::ZERO, route(104)), Err(AddPathError::TooMany));
        assert!(!paths.try_out(Instant::ZERO, route(105), Purpose::Answering));
        assert!(paths.trials.iter().all(|trial| trial.purpose == Purpose::Added));
    }

    #[test]
    fn what_is_known_is_not_tried_twice() {
        let mut paths = paths();
        assert_eq!(paths.add(Instant::ZERO, route(1)), Err(AddPathError::Known));
        assert_eq!(paths.add(Instant::ZERO, route(2)), Ok(()));
        assert_eq!(paths.add(Instant::ZERO, route(2)), Err(AddPathError::Known));
        // The other side was faster: it is one trial, and ours.
        paths.try_out(Instant::ZERO, route(3), Purpose::Answering);
        assert_eq!(paths.add(Instant::ZERO, route(3)), Ok(()));
        assert_eq!(paths.trials.len(), 2);
    }

    #[test]
    fn of_the_addresses_that_a_path_may_have_now_only_the_newest_is_tried() {
        let mut paths = paths();
        for port in 2..100 {
            assert!(paths.try_out(Instant::ZERO, route(port), Purpose::Rebound(route(1))));
        }
        assert_eq!(paths.trials.iter().map(|trial| trial.route).collect::<Vec<_>>(), [route(99)]);
    }
}
