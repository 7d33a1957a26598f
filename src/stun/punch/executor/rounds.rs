//! How a round is prepared, begun and ended, and what is sent in it.

use super::{ANSWER_TIME, Beacon, Event, MAX_BEACONS, Own, PREPARING_TIME, Phase, Punch, SOCKETS_PER_PUNCH};
use crate::machine::{SocketId, SocketRequest};
use crate::stun::candidate::{Candidate, CandidateKind, MAX_CANDIDATES, is_global};
use crate::stun::fingerprint::{Mapping, Ports};
use crate::stun::punch::budget::Budget;
use crate::stun::punch::guess::steps_between;
use crate::stun::punch::ledger::Way;
use crate::stun::punch::plan::{Aim, End, Reason, SLACK, Share, Stage, StageKind};
use crate::stun::punch::stages::{Guess, Running, Series};
use crate::time::{Duration, Instant};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// When a candidate is probed, in milliseconds from the beginning of a stage. Three such stages stay below what an address gets
/// that did not ask.
const BEACONS: [u64; 6] = [0, 40, 120, 280, 550, 950];

/// How many of them there are where by what is known a simultaneous open alone will not do, and from a fresh port.
const FEW_BEACONS: usize = 3;
const FRESH_BEACONS: usize = 4;

/// Which part of the round trip our offer takes to the initiator, in tenths: as much as the initiator's did, first; then, round by round
/// from fresh ports, much less and much more.
const OFFERS_PART: [u32; 4] = [5, 5, 1, 9];

/// What the last probe and its answer may take beyond a round trip.
const GRACE: Duration = Duration::from_millis(250);

/// How much longer than planned a stage may take because the budget lets fewer packets out.
const STRETCH: Duration = Duration::from_secs(10);

/// How long the responder waits for the next round after the end of one, before it takes the punch for over.
const NEXT_ROUND: Duration = Duration::from_secs(8);

/// Probes of a prediction, without and with what others take in a second.
const FEWEST_CROSSING: u32 = 32;
const MOST_CROSSING: u32 = 64;

impl Punch {
    pub(super) fn planned(&self, stage: u8) -> Option<Stage> {
        if stage == 0 {
            return Some(Stage::Simultaneous);
        }
        self.plan.as_ref()?.stages.get(usize::from(stage)).copied()
    }

    /// A round begins: whatever has to be known for its offer is found out.
    pub(super) fn prepare(&mut self, now: Instant, round: u16, stage: u8) {
        (self.round, self.stage) = (round, stage);
        self.running = None;
        self.beacons.retain(|beacon| beacon.heard);
        let heard: Vec<SocketId> = self.beacons.iter().map(|beacon| beacon.way.socket).collect();
        self.close_sockets(|socket| !heard.contains(&socket));
        self.fresh = None;
        self.blocked = None;
        let planned = self.planned(stage).unwrap_or(Stage::Simultaneous);
        self.tried.push(planned.kind());
        if planned.kind() == StageKind::Fresh || planned.counts(self.end()) {
            let socket = self.request_socket(self.family(), false);
            self.phase = Phase::Preparing { socket, until: now + PREPARING_TIME };
            if socket.is_none() {
                self.on_prepared(now);
            }
        } else {
            self.on_prepared(now);
        }
    }

    pub(super) fn on_opened(&mut self, now: Instant, socket: SocketId, local: SocketAddr) {
        let Some(own) = self.sockets.get_mut(&socket) else { return };
        own.local = Some(local);
        if own.series {
            if let Some(running) = &mut self.running {
                running.on_socket(socket);
            }
        } else if matches!(self.phase, Phase::Preparing { socket: Some(awaited), .. } if awaited == socket) {
            self.fresh = Some((socket, None));
            if self.keeps_first_port() {
                self.on_no_port(now, Some(socket));
            } else {
                self.events.push_back(Event::WantPort { socket });
            }
        }
    }

    pub(super) fn on_no_socket(&mut self, now: Instant, socket: SocketId) {
        let was_for_series = self.sockets.remove(&socket).is_some_and(|own| own.series);
        match self.phase {
            Phase::Preparing { socket: Some(awaited), .. } if awaited == socket => self.on_prepared(now),
            _ if was_for_series || self.running.is_some() => {
                if let Some(running) = &mut self.running {
                    running.on_no_socket();
                }
            }
            _ => {}
        }
    }

    /// What the socket of this round looks like from outside.
    pub(super) fn on_port(&mut self, now: Instant, socket: SocketId, seen: SocketAddr) {
        self.fresh = Some((socket, Some(seen)));
        if let Some(Ports::Sequential { step }) = self.config.ours.fingerprint.ports {
            if let Some((before, at, sent)) = self.counted {
                // Our own probes took ports too, and so did the question.
                let own = self.spent.saturating_sub(sent).saturating_add(1);
                let others = steps_between(before, seen.port(), step).saturating_sub(own);
                let millis = now.saturating_since(at).as_millis().max(1);
                let rate = u128::from(others) * 1000 / millis;
                self.others_per_second = Some(u16::try_from(rate).unwrap_or(u16::MAX));
            }
            self.counted = Some((seen.port(), now, self.spent));
        }
        self.on_prepared(now);
    }

    /// No server said what the socket looks like: what can be guessed is.
    pub(super) fn on_no_port(&mut self, now: Instant, socket: Option<SocketId>) {
        let local = socket.and_then(|socket| self.sockets.get(&socket)).and_then(|own| own.local);
        let fingerprint = &self.config.ours.fingerprint;
        if let (Some(socket), Some(local)) = (socket, local)
            && (fingerprint.ports == Some(Ports::Kept) || fingerprint.translated == Some(false))
        {
            let public = self.config.ours.public.iter().find(|ip| ip.is_ipv4() == local.is_ipv4());
            self.fresh = Some((socket, public.map(|ip| SocketAddr::new(*ip, local.port()))));
        }
        self.on_prepared(now);
    }

    /// A NAT that keeps a port for the first destination and for no other: a server must not be the first.
    fn keeps_first_port(&self) -> bool {
        let fingerprint = &self.config.ours.fingerprint;
        let is_unseen = matches!(fingerprint.mapping, Some(Mapping::ByAddress | Mapping::ByAddressAndPort));
        fingerprint.ports == Some(Ports::Kept) && is_unseen && fingerprint.translated != Some(false)
    }

    fn on_prepared(&mut self, now: Instant) {
        let offer = self.offer(now);
        self.events.push_back(Event::Offer(Box::new(offer)));
        self.phase = if self.config.initiator {
            Phase::Offered { until: now + ANSWER_TIME }
        } else {
            let fresh = self.tried.iter().filter(|kind| **kind == StageKind::Fresh).count();
            let part = OFFERS_PART.get(fresh).copied().unwrap_or(5);
            Phase::Waiting { until: now + self.relay_rtt() * part / 10 }
        };
    }

    /// Both ends know what they need: probes leave.
    pub(super) fn start(&mut self, now: Instant) {
        let Some(stage) = self.planned(self.stage) else { return };
        self.started = now;
        self.begin_beacons(now, stage.kind());
        self.running = self.series(now, stage);
        let length = self.length(stage);
        let responder = if self.config.initiator { Duration::ZERO } else { NEXT_ROUND };
        self.phase = Phase::Trying { until: now + length + responder, at_most: now + length + responder + STRETCH };
    }

    /// How long a stage takes: the longer series of the two, and time for the last answer.
    fn length(&self, stage: Stage) -> Duration {
        let of = |end: End| u32::from(stage.probes(end)) * Duration::from_micros(2_500);
        let series = match stage {
            Stage::Simultaneous if self.is_all_there_is() => last_beacon(BEACONS.len()) + Duration::from_millis(300),
            // Just the time for the last of the few to be answered.
            Stage::Simultaneous => return last_beacon(FEW_BEACONS) + Duration::from_millis(40) + self.relay_rtt(),
            Stage::Fresh => last_beacon(FRESH_BEACONS) + Duration::from_millis(300),
            Stage::Predict { .. } => of(End::Initiator) * 2,
            Stage::Spray { aim: Aim::After { .. }, .. } => of(End::Initiator).max(of(End::Responder)) * 2 + GRACE,
            Stage::Spray { .. } | Stage::Product { .. } => of(End::Initiator).max(of(End::Responder)) + GRACE,
        };
        series + self.relay_rtt() + GRACE
    }

    /// The round trip through the relay, within reason: a direct one is seldom longer.
    fn relay_rtt(&self) -> Duration {
        self.config.relay_rtt.clamp(Duration::from_millis(20), Duration::from_secs(2))
    }

    /// Whether the plan hopes for no more than a simultaneous open.
    fn is_all_there_is(&self) -> bool {
        let stages = self.plan.as_ref().map_or(&[][..], |plan| &plan.stages);
        stages.iter().all(|stage| stage.kind() <= StageKind::Fresh)
    }

    /// The initiator goes on to what is next in its plan, or gives up.
    pub(super) fn next_stage(&mut self, now: Instant, budget: &mut Budget) {
        let otherwise = self.plan.as_ref().map_or(Reason::Silent, |plan| plan.otherwise);
        if !self.config.initiator {
            return self.fail(now, otherwise);
        }
        while let Some(at) = self.order.pop_front() {
            let Some(stage) = self.planned(at) else { continue };
            let is_guess = stage.kind() > StageKind::Fresh;
            if is_guess && self.target().is_none() {
                self.left_out = Some(Reason::NotProven);
            } else if !budget.affords(now, stage.probes(self.end()).into(), stage.sockets(self.end()).into()) {
                self.left_out = Some(Reason::Budget);
            } else {
                return self.prepare(now, self.round.saturating_add(1), at);
            }
        }
        self.fail(now, self.left_out.unwrap_or(otherwise));
    }

    fn begin_beacons(&mut self, now: Instant, kind: StageKind) {
        if kind > StageKind::Fresh {
            return;
        }
        let times = BEACONS.iter().take(match kind {
            StageKind::Fresh => FRESH_BEACONS,
            _ if self.is_all_there_is() => BEACONS.len(),
            _ => FEW_BEACONS,
        });
        let no_hairpin = self.config.ours.fingerprint.hairpin == Some(false);
        let candidates = self.theirs.iter().flat_map(|theirs| theirs.candidates.clone());
        let reached =
            candidates.filter(|candidate| !(no_hairpin && self.config.ours.public.contains(&candidate.address.ip())));
        let ways: Vec<Way> = reached
            .filter_map(|candidate| {
                let socket = self.base(candidate.address.is_ipv4())?;
                // Two homes often have the same private addresses: theirs may be our own.
                let is_us =
                    self.is_own_ip(candidate.address.ip()) && self.local_port(socket) == Some(candidate.address.port());
                (!is_us).then_some(Way { socket, remote: candidate.address })
            })
            .collect();
        // Time by time over all candidates, so that the first ones do not wait for the last of others.
        for after in times {
            for way in &ways {
                if self.beacons.len() < MAX_BEACONS {
                    self.beacons.push(Beacon { due: now + Duration::from_millis(*after), way: *way, heard: false });
                }
            }
        }
    }

    /// What this end does in a stage beside probing candidates.
    fn series(&mut self, now: Instant, stage: Stage) -> Option<Running> {
        let us = self.end();
        let ip = self.target()?;
        let last = self.theirs.as_ref().and_then(|theirs| theirs.latest).map(|latest| latest.port);
        let socket = self.base(true);
        let seed = self.draw();
        match stage {
            Stage::Simultaneous | Stage::Fresh => None,
            Stage::Predict { initiator, responder } => {
                let step = if us == End::Initiator { responder } else { initiator };
                let theirs =
                    self.theirs.as_ref().and_then(|theirs| theirs.latest).and_then(|latest| latest.others_per_second);
                let others = [theirs, self.others_per_second].into_iter().flatten().map(u32::from).sum::<u32>();
                let probes = FEWEST_CROSSING.saturating_add(others).min(MOST_CROSSING);
                let stretched = us == End::Responder;
                let series = Series::Cross { socket: socket?, ip, last: last?, step, stretched, probes };
                Some(Running::new(series, 0, now))
            }
            Stage::Spray { holder, sockets, .. } if holder == us => {
                let target = self.address_of_theirs(ip);
                // Few sockets are cheap to send from more often.
                let passes = if sockets < 16 { 4 } else { 2 };
                let series = Series::Hold { target, probes: u32::from(sockets) * passes };
                let opened = self.request_sockets(sockets);
                Some(Running::new(series, opened, now))
            }
            Stage::Spray { sockets, probes, aim, .. } => {
                let guess = Guess::new(aim, last, seed)?;
                let passes = if matches!(aim, Aim::After { .. }) { 2 } else { 1 };
                // An unseen end is not expected by anyone: it casts when the held sockets have opened their NAT.
                let fingerprint = &self.config.ours.fingerprint;
                let is_seen =
                    fingerprint.mapping == Some(Mapping::Independent) || fingerprint.translated == Some(false);
                let head_start = Duration::from_micros(2_500) * u32::from(sockets) + Duration::from_millis(100);
                let begins = if is_seen { now } else { now + head_start };
                let series = Series::Cast { socket: socket?, ip, guess, probes: probes.max(1).into(), passes };
                Some(Running::new(series, 0, begins))
            }
            Stage::Product { initiator, responder, initiator_aim, responder_aim } => {
                let (Share { sockets, probes }, theirs, aim) = match us {
                    End::Initiator => (initiator, responder, responder_aim),
                    End::Responder => (responder, initiator, initiator_aim),
                };
                let ports = match aim {
                    Aim::Pool(pool) => pool.len(),
                    Aim::After { .. } => u32::from(theirs.probes) + u32::from(SLACK),
                };
                let series = Series::Draw { ip, guess: Guess::new(aim, last, seed)?, ports, probes: probes.into() };
                let opened = self.request_sockets(sockets);
                Some(Running::new(series, opened, now))
            }
        }
    }

    /// Where ports may be tried: an address of theirs from which they were heard.
    fn target(&self) -> Option<IpAddr> {
        let theirs = self.theirs.as_ref()?;
        theirs.public.iter().copied().find(|ip| ip.is_ipv4() && self.proven.contains(ip))
    }

    /// What is known of their port there. Where none is, any will do: held sockets open their filter to an address.
    fn address_of_theirs(&self, ip: IpAddr) -> SocketAddr {
        const ANY: u16 = 40_000;
        let candidates = self.theirs.iter().flat_map(|theirs| &theirs.candidates);
        let there = candidates.filter(|candidate| candidate.address.ip() == ip);
        let seen = there.max_by_key(|candidate| candidate.kind).map(|candidate| candidate.address);
        seen.unwrap_or(SocketAddr::new(ip, ANY))
    }

    /// The socket from which others of a family are probed.
    fn base(&self, v4: bool) -> Option<SocketId> {
        let fresh = self.fresh.map(|(socket, _)| socket).filter(|socket| {
            self.sockets.get(socket).and_then(|own| own.local).is_some_and(|local| local.is_ipv4() == v4)
        });
        let first =
            || self.config.ours.sockets.iter().find(|(_, local)| local.is_ipv4() == v4).map(|(socket, _)| *socket);
        fresh.or_else(first)
    }

    fn is_own_ip(&self, ip: IpAddr) -> bool {
        self.config.ours.interfaces.iter().any(|interface| interface.address == ip)
    }

    fn local_port(&self, socket: SocketId) -> Option<u16> {
        let given = self.config.ours.sockets.iter().find(|(own, _)| *own == socket).map(|(_, local)| *local);
        given.or_else(|| self.sockets.get(&socket)?.local).map(|local| local.port())
    }

    /// The candidates of this round: with a fresh port, that one instead of the old.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = self.config.ours.candidates.clone();
        if let Some((socket, seen)) = self.fresh
            && let Some(local) = self.sockets.get(&socket).and_then(|own| own.local)
        {
            let is_family = |address: SocketAddr| address.is_ipv4() == local.is_ipv4();
            candidates.retain(|candidate| {
                !(is_family(candidate.address)
                    && matches!(candidate.kind, CandidateKind::Reflexive | CandidateKind::Lan))
            });
            for candidate in &mut candidates {
                if is_family(candidate.address) && candidate.kind == CandidateKind::Host {
                    candidate.address.set_port(local.port());
                }
            }
            candidates.extend(seen.map(|seen| Candidate::new(seen, CandidateKind::Reflexive)));
        }
        candidates.truncate(MAX_CANDIDATES);
        candidates
    }

    /// Of which family a fresh port is worth having: IPv4, unless we have none.
    fn family(&self) -> SocketAddr {
        let ours = &self.config.ours;
        let has_v4 = ours.public.iter().any(IpAddr::is_ipv4) || ours.sockets.iter().any(|(_, local)| local.is_ipv4());
        let has_v6 = ours.public.iter().any(|ip| ip.is_ipv6() && is_global(*ip));
        if has_v4 || !has_v6 { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() }
    }

    /// Asks for sockets for a series; says how many were asked for.
    fn request_sockets(&mut self, count: u16) -> u32 {
        let bind = (Ipv4Addr::UNSPECIFIED, 0).into();
        (0..count).filter_map(|_| self.request_socket(bind, true)).count() as u32
    }

    fn request_socket(&mut self, bind: SocketAddr, series: bool) -> Option<SocketId> {
        let used = self.next_socket.checked_sub(self.config.first_socket.0)?;
        if used >= SOCKETS_PER_PUNCH {
            return None;
        }
        let socket = SocketId(self.next_socket);
        self.next_socket = self.next_socket.checked_add(1)?;
        self.sockets.insert(socket, Own { local: None, series });
        self.requests.push_back(SocketRequest::Open { socket, bind });
        Some(socket)
    }

    /// The beacon that is due: those that were heard from first.
    pub(super) fn next_beacon(&self, now: Instant) -> Option<Way> {
        self.due_beacon(now).and_then(|at| self.beacons.get(at)).map(|beacon| beacon.way)
    }

    pub(super) fn take_beacon(&mut self, now: Instant) {
        if let Some(at) = self.due_beacon(now) {
            self.beacons.remove(at);
        }
    }

    fn due_beacon(&self, now: Instant) -> Option<usize> {
        let may = |beacon: &Beacon| beacon.due <= now && (self.paused.is_none() || beacon.heard);
        let due = self.beacons.iter().enumerate().filter(|(_, beacon)| may(beacon));
        due.min_by_key(|(_, beacon)| (!beacon.heard, beacon.due)).map(|(at, _)| at)
    }

    pub(super) fn next_guess(&self, now: Instant) -> Option<Way> {
        let running = self.running.as_ref().filter(|_| self.paused.is_none())?;
        running.due().filter(|due| *due <= now)?;
        running.peek()
    }

    pub(super) fn take_guess(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.advance(now);
        }
    }
}

/// When the last of so many beacons leaves, from the beginning of a stage.
fn last_beacon(count: usize) -> Duration {
    Duration::from_millis(BEACONS.iter().take(count).max().copied().unwrap_or(0))
}
