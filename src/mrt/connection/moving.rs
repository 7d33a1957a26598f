//! Where the other side is, and which way data goes: the verbs of `live` over its paths.
//!
//! Who made the connection decides: it moves to a path that is clearly better once that is proven. The other side follows: data that
//! comes on a proven path, newer than all before, makes that path the one that answers go. When nobody answers, either side asks
//! everywhere, and goes where an answer comes from first.

use super::live::Live;
use super::paths::{Due, Notice, Path, Purpose, base_of, choice};
use super::receive::find_lost;
use crate::mrt::api::ConnectionHandle;
use crate::mrt::route::{AddPathError, Route};
use crate::mrt::wire::RelyHeader;
use crate::time::{Duration, Instant};
use core::ops::Range;

/// What a packet that was opened says of where the other side is.
pub(super) struct Arrival {
    /// The way it came.
    pub(super) route: Route,
    /// Bytes of its datagram.
    pub(super) size: usize,
    /// Whether it was sent after all others that came.
    pub(super) newest: bool,
    /// Whether it holds nothing but questions about paths, and answers to them.
    pub(super) probing: bool,
    pub(super) ack_eliciting: bool,
    /// Whether it asks to be acknowledged, and was sent after all others that came and did: questions about paths, which take shorter
    /// ways, do not count.
    pub(super) leads: bool,
    /// A challenge in it.
    pub(super) challenge: Option<[u8; 8]>,
}

/// Why data goes another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It is the better one, or the other side went there.
    Chosen,
    /// The active one does not answer.
    Fallback,
}

impl Live {
    // What arrives.

    /// An authentic packet came.
    pub(super) fn on_arrival(&mut self, now: Instant, arrival: &Arrival) {
        let (route, bytes) = (arrival.route, arrival.size as u64);
        if route == self.paths.active.route {
            self.paths.active.on_heard(now, bytes);
            if arrival.newest && !self.paths.trials.is_empty() {
                // It is where it was: whatever came from elsewhere was late, or a copy.
                self.paths.trials.retain(|trial| trial.purpose != Purpose::Rebound(route));
            }
            if arrival.leads {
                self.paths.standby.iter_mut().for_each(|path| path.wanted = false);
            }
        } else if let Some(index) = self.paths.standby_at(route) {
            if let Some(path) = self.paths.standby.get_mut(index) {
                path.on_heard(now, bytes);
            }
            if arrival.leads {
                self.on_data_elsewhere(now, index);
            }
        } else {
            self.on_unknown(now, arrival);
        }
        if let Some(token) = arrival.challenge {
            self.on_challenge(route, token, arrival.size);
        }
    }

    /// The other side sends data on a path that stands by here.
    fn on_data_elsewhere(&mut self, now: Instant, index: usize) {
        let Some(path) = self.paths.standby.get_mut(index) else { return };
        path.wanted = true;
        if self.initiator {
            // It may have had to. If our way is still good, the answer says so, and a ping calls the other side back.
            self.doubt_active(now);
        } else if path.liveness.is_alive() && !path.liveness.is_suspect() {
            self.move_to(now, index, Why::Chosen);
        }
    }

    /// The other side went elsewhere: is our way still good?
    fn doubt_active(&mut self, now: Instant) {
        let patience = self.paths.active.probe_timeout(0).saturating_mul(3);
        self.paths.active.liveness.doubt(now, patience);
    }

    /// Something authentic came a way that is not proven (RFC 9000 §9.3).
    fn on_unknown(&mut self, now: Instant, arrival: &Arrival) {
        let Arrival { route, newest, probing, leads, challenge, .. } = *arrival;
        let data = newest && !probing;
        if self.paths.trial_mut(route).is_none() {
            let purpose = match self.rebound_from(route) {
                Some(path) if data => Purpose::Rebound(path),
                _ if data || challenge.is_some() => Purpose::Answering,
                _ => return,
            };
            if !self.paths.try_out(now, route, purpose) {
                return;
            }
        }
        if leads {
            self.paths.trials.iter_mut().for_each(|trial| trial.wanted = trial.route == route);
        }
        let Some(trial) = self.paths.trial_mut(route) else { return };
        trial.on_received(arrival.size as u64);
        if newest {
            trial.on_newest(now);
        }
    }

    /// The path whose other end may have got this address. One that is relayed has none.
    fn rebound_from(&self, route: Route) -> Option<Route> {
        let Route::Udp { socket, remote } = route else { return None };
        let same_socket = |path: &&Path| matches!(path.route, Route::Udp { socket: its, .. } if its == socket);
        let same_host = |path: &&Path| path.route.remote().is_some_and(|its| its.ip() == remote.ip());
        let active = Some(&self.paths.active).filter(same_socket);
        active.or_else(|| self.paths.standby.iter().filter(same_socket).find(same_host)).map(|path| path.route)
    }

    /// The second or third message of the setup came another way than the one before it went: the other side's address is to be proven.
    pub(super) fn on_setup_from(&mut self, now: Instant, route: Route, bytes: usize) {
        if route != self.paths.active.route
            && self.paths.try_out(now, route, Purpose::Rebound(self.paths.active.route))
            && let Some(trial) = self.paths.trial_mut(route)
        {
            trial.on_received(bytes as u64);
        }
    }

    /// Where else a message of the setup may go: to where the one before it came from, as far as that may get more.
    pub(super) fn allowed_on_trial(&mut self, bytes: usize) -> Option<Route> {
        let trial = self.paths.trials.iter_mut().find(|trial| matches!(trial.purpose, Purpose::Rebound(_)))?;
        if !trial.allows(bytes as u64) {
            return None;
        }
        trial.on_sent(bytes as u64);
        Some(trial.route)
    }

    /// Bytes that are out, over all paths.
    pub(super) fn in_flight(&self) -> u64 {
        let standby = self.paths.standby.iter().map(|path| path.ledger.bytes_in_flight());
        standby.fold(self.paths.active.ledger.bytes_in_flight(), u64::saturating_add)
    }

    /// A RELY packet. Where in the datagram the carried one lies, if it is authentic.
    pub(super) fn handle_rely(
        &mut self,
        now: Instant,
        from: Route,
        header: RelyHeader,
        datagram: &mut [u8],
    ) -> Option<Range<usize>> {
        let size = datagram.len();
        let (inner, newest) = self.lane.unwrap(header, datagram)?;
        self.last_heard = now;
        let (probing, ack_eliciting, leads) = (false, false, false);
        let arrival = Arrival { route: from, size, newest, probing, ack_eliciting, leads, challenge: None };
        self.on_arrival(now, &arrival);
        Some(inner)
    }

    /// The other side repeated a challenge: it reads what is sent there.
    pub(super) fn on_path_response(&mut self, now: Instant, arrival: &Arrival, token: [u8; 8]) {
        if let Some(index) = self.paths.trial_asked(token) {
            self.on_trial_answered(now, index, arrival, token);
        } else if let Some(index) = self.paths.standby_asked(token) {
            self.on_standby_answered(now, index, token);
        } else if let Some(rtt) = self.paths.active.liveness.on_answer(now, token, None) {
            let active = &mut self.paths.active;
            if !active.full_size && arrival.route == active.route && arrival.size >= usize::from(base_of(active.route))
            {
                active.full_size = true;
                if active.rtt.min().is_none() {
                    active.rtt.update(now, rtt, Duration::ZERO);
                }
                self.paths.notices.push_back(Notice::Up(arrival.route, rtt));
            }
            // Our way is good both ways. If the other side left it, it is called back.
            if self.initiator && self.paths.standby.iter().any(|path| path.wanted) {
                self.channels.ping();
            }
        }
    }

    fn on_trial_answered(&mut self, now: Instant, index: usize, arrival: &Arrival, token: [u8; 8]) {
        let Some(trial) = self.paths.trials.get(index) else { return };
        let (route, purpose, wanted) = (trial.route, trial.purpose, trial.wanted);
        let full = arrival.route == route && arrival.size >= usize::from(trial.size());
        match purpose {
            Purpose::Rebound(from) => {
                self.paths.trials.remove(index);
                self.on_rebound(now, from, route);
            }
            Purpose::Added | Purpose::Answering if full => {
                let rtt = self.paths.trial_answered(now, index, token);
                self.paths.trials.remove(index);
                if let Some(rtt) = rtt {
                    self.on_proven(now, route, purpose, wanted, rtt);
                }
            }
            // Cut short on the way, or answered from elsewhere: it proves less than was asked.
            Purpose::Added | Purpose::Answering => {}
        }
    }

    /// One more path.
    fn on_proven(&mut self, now: Instant, route: Route, purpose: Purpose, wanted: bool, rtt: Duration) {
        let mut path = self.paths.fresh(now, route);
        path.rtt.update(now, rtt, Duration::ZERO);
        path.wanted = wanted;
        path.full_size = true;
        path.liveness.stand_by(now);
        if !self.paths.has_room() {
            let worst = choice::worst(&self.paths.standby);
            let gives_way = worst
                .and_then(|index| self.paths.standby.get(index))
                .is_some_and(|worst| !worst.liveness.is_alive() || choice::is_better(&path, worst));
            match worst.filter(|_| gives_way) {
                Some(index) => self.remove_standby(now, index, true),
                None => {
                    if purpose == Purpose::Added {
                        self.paths.notices.push_back(Notice::Failed(route));
                    }
                    return;
                }
            }
        }
        self.paths.notices.push_back(Notice::Up(route, rtt));
        self.paths.standby.push(path);
        self.consider(now, self.paths.standby.len() - 1);
    }

    fn on_standby_answered(&mut self, now: Instant, index: usize, token: [u8; 8]) {
        let interval = self.next_interval();
        let Some(path) = self.paths.standby.get_mut(index) else { return };
        let was_down = !path.liveness.is_alive();
        let Some(rtt) = path.liveness.on_answer(now, token, Some(interval)) else { return };
        path.rtt.update(now, rtt, Duration::ZERO);
        if was_down {
            let up = Notice::Up(path.route, rtt);
            self.paths.notices.push_back(up);
        }
        self.consider(now, index);
    }

    /// A path that stands by has answered: data may go there.
    fn consider(&mut self, now: Instant, index: usize) {
        let active = &self.paths.active;
        let Some(path) = self.paths.standby.get(index) else { return };
        if self.timeouts > 0 || active.liveness.is_late() {
            self.move_to(now, index, Why::Fallback);
        } else if self.initiator {
            if choice::is_better(path, active) && path.liveness.has_earned_return() {
                self.move_to(now, index, Why::Chosen);
            } else if path.wanted {
                self.doubt_active(now);
            }
        } else if path.wanted {
            self.move_to(now, index, Why::Chosen);
        }
    }

    /// The other end of a path has another address, and proved it.
    fn on_rebound(&mut self, now: Instant, from: Route, to: Route) {
        let same_host = match (from.remote(), to.remote()) {
            (Some(from), Some(to)) => from.ip() == to.ip(),
            _ => false,
        };
        // RFC 9000 §9.4: another port alone is a NAT's doing and the same path; another host is a path nothing is known of.
        let fresh = (!same_host).then(|| self.paths.fresh(now, to));
        let is_active = self.paths.active.route == from;
        let Some(path) = self.paths.find_mut(from) else { return };
        match fresh {
            None => path.route = to,
            Some(fresh) => {
                // What is in flight went to where nobody is any more. An acknowledgement of it that comes yet counts for nothing.
                let mut former = core::mem::replace(path, fresh);
                self.counters.lost_packets += find_lost(now, &mut former, &mut self.channels, true);
            }
        }
        if is_active {
            if !same_host {
                self.paths.active.liveness.ask(now);
            }
            if self.acks_to == from {
                self.acks_to = to;
            }
            // The last acknowledgement went to where the last packet before this one came from, or was thought to.
            self.acks.repeat(now);
            // What is in flight went to where nobody may have been any more: that is found out at once, not by the clock of the old
            // path.
            if self.paths.active.ledger.has_ack_eliciting_in_flight() {
                self.timeouts = 0;
                self.probes_due = 2;
            }
            self.paths.notices.push_back(Notice::Moved(to));
        } else if let Some(path) = self.paths.find_mut(to) {
            path.liveness.stand_by(now);
        }
    }

    // What the clock says.

    /// What is due of paths that carry no data, and of trials.
    pub(super) fn look_after_paths(&mut self, now: Instant) {
        let notices = &mut self.paths.notices;
        self.paths.trials.retain(|trial| {
            let over = trial.is_over(now);
            if over && trial.purpose == Purpose::Added {
                notices.push_back(Notice::Failed(trial.route));
            }
            !over
        });
        match self.paths.active.liveness.tick(now) {
            Due::Nothing | Due::Ask => {}
            Due::AskAgain => self.on_active_late(now),
            // The idle timeout decides. But if the other side went elsewhere, the question stays.
            Due::Down | Due::Forget => {
                self.paths.active.liveness.carry();
                if self.initiator && self.paths.standby.iter().any(|path| path.wanted) {
                    self.paths.active.liveness.ask(now + self.paths.interval);
                }
            }
        }
        let mut index = 0;
        while let Some(path) = self.paths.standby.get_mut(index) {
            let due = path.liveness.tick(now);
            let drained = path.drained_at().is_some_and(|at| at <= now);
            let losses = path.ledger.loss_deadline().is_some_and(|at| at <= now);
            if drained || losses {
                self.detect_lost_on(now, index, drained);
            }
            match due {
                Due::Forget => {
                    self.remove_standby(now, index, false);
                    continue;
                }
                Due::Down => {
                    self.paths.notices.extend(self.paths.standby.get(index).map(|path| Notice::Down(path.route)))
                }
                Due::Nothing | Due::Ask | Due::AskAgain => {}
            }
            index += 1;
        }
    }

    /// The active path was asked and did not answer in time.
    fn on_active_late(&mut self, now: Instant) {
        let asked_at = self.paths.active.liveness.asked_at();
        let heard = |path: &Path| path.liveness.is_alive() && path.wanted && Some(path.last_heard) >= asked_at;
        match self.paths.standby.iter().position(heard) {
            Some(index) => self.move_to(now, index, Why::Fallback),
            None => self.ask_standby(now),
        }
    }

    /// Who else could take the active path's place is asked at once.
    pub(super) fn ask_standby(&mut self, now: Instant) {
        for path in self.paths.standby.iter_mut().filter(|path| path.liveness.is_alive()) {
            path.liveness.ask(now);
        }
    }

    /// When to ask a path that stands by again: in the mean the configured interval, and not all at once.
    pub(super) fn next_interval(&mut self) -> Duration {
        if self.paths.standby.is_empty() {
            return self.paths.interval;
        }
        let [random, ..] = self.entropy.next();
        self.paths.interval / 8 * 7 + self.paths.interval / 4 * u32::from(random) / 256
    }

    // What those above do.

    pub(super) fn add_path(&mut self, now: Instant, route: Route) -> Result<(), AddPathError> {
        self.paths.add(now, route)
    }

    pub(super) fn drop_path(&mut self, now: Instant, route: Route) {
        self.paths.trials.retain(|trial| trial.route != route);
        if self.paths.active.route == route {
            self.leave_active(now);
        }
        if let Some(index) = self.paths.standby_at(route) {
            self.remove_standby(now, index, false);
        }
    }

    /// Every path is asked at once; what was asked before may have been said to another network.
    pub(super) fn check_paths(&mut self, now: Instant) {
        self.paths.active.liveness.ask_afresh(now);
        self.paths.standby.iter_mut().for_each(|path| path.liveness.ask_afresh(now));
        // The other side learns where we are now.
        self.last_pinged = now;
        self.channels.ping();
    }

    /// The active path is to be shown to carry datagrams of full size both ways, unless it was.
    pub(super) fn prove_size(&mut self, now: Instant) {
        if !self.paths.active.full_size {
            self.paths.active.liveness.ask(now);
        }
    }

    /// Whoever relayed for some of our paths is gone.
    pub(super) fn on_relay_gone(&mut self, now: Instant, relay: ConnectionHandle) {
        let through = |route: Route| matches!(route, Route::Relayed { by, .. } if by == relay);
        let notices = &mut self.paths.notices;
        self.paths.trials.retain(|trial| {
            if through(trial.route) && trial.purpose == Purpose::Added {
                notices.push_back(Notice::Failed(trial.route));
            }
            !through(trial.route)
        });
        if through(self.paths.active.route) {
            self.leave_active(now);
        }
        while let Some(index) = self.paths.standby.iter().position(|path| through(path.route)) {
            self.remove_standby(now, index, true);
        }
    }

    // Transitions.

    /// Data goes the best other way, if there is one.
    fn leave_active(&mut self, now: Instant) {
        if let Some(index) = choice::best(&self.paths.standby) {
            self.move_to(now, index, Why::Fallback);
        }
    }

    /// Data goes the way that stands by at `index` from here on. It begins there with a window of its own. What is in flight stays
    /// accounted to the path it took, and is acknowledged or lost there.
    fn move_to(&mut self, now: Instant, index: usize, why: Why) {
        let Some(path) = self.paths.standby.get_mut(index) else { return };
        core::mem::swap(&mut self.paths.active, path);
        match why {
            Why::Chosen => path.liveness.stand_by(now),
            Why::Fallback => {
                path.liveness.fall(now);
                self.counters.lost_packets += find_lost(now, path, &mut self.channels, true);
                if self.acks_to == path.route {
                    self.acks_to = self.paths.active.route;
                }
                self.acks.repeat(now);
            }
        }
        self.paths.standby.iter_mut().for_each(|path| path.wanted = false);
        self.paths.active.wanted = false;
        self.paths.active.liveness.carry();
        self.timeouts = 0;
        self.probes_due = 0;
        self.paced_until = None;
        if self.initiator || why == Why::Fallback {
            // The other side follows what it gets, and there may be nothing else to say.
            self.last_pinged = now;
            self.channels.ping();
        }
        if self.initiator {
            // It may have given this path up. A question of full size gives it room to prove the path anew.
            self.paths.active.liveness.ask(now);
        }
        self.paths.notices.push_back(Notice::Moved(self.paths.active.route));
    }

    /// A path is no more. What was in flight there goes back to where it came from.
    fn remove_standby(&mut self, now: Instant, index: usize, tell: bool) {
        if index >= self.paths.standby.len() {
            return;
        }
        let mut path = self.paths.standby.remove(index);
        self.counters.lost_packets += find_lost(now, &mut path, &mut self.channels, true);
        if tell && path.liveness.is_alive() {
            self.paths.notices.push_back(Notice::Down(path.route));
        }
    }

    /// The way on which this connection can relay: not through somebody else.
    pub(super) fn direct_path(&mut self) -> Option<&mut Path> {
        if !self.paths.active.route.is_relayed() {
            return Some(&mut self.paths.active);
        }
        self.paths.standby.iter_mut().find(|path| path.liveness.is_alive() && !path.route.is_relayed())
    }
}
