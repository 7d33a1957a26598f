//! How a round is prepared, begun and ended.

use super::beacons::{BEACONS, FEW_BEACONS, FRESH_BEACONS, last_beacon};
use super::{Event, Phase, Punch};
use crate::machine::SocketId;
use crate::stun::fingerprint::{Mapping, Ports};
use crate::stun::punch::budget::Budget;
use crate::stun::punch::guess::steps_between;
use crate::stun::punch::plan::{Aim, End, Reason, Stage, StageKind};
use crate::time::{Duration, Instant};
use std::net::SocketAddr;

/// How long the initiator waits for an answer to its offer: the other end may have to ask a slow server first.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long a socket and its outside port are waited for before a round begins without.
const PREPARING_TIME: Duration = Duration::from_secs(1);

/// Which part of the round trip our offer takes to the initiator, in tenths: as much as the initiator's did, first; then, round by round
/// from fresh ports, much less and much more.
const OFFERS_PART: [u32; 4] = [5, 5, 1, 9];

/// What the last probe and its answer may take beyond a round trip.
const GRACE: Duration = Duration::from_millis(250);

/// How much longer than planned a stage may take because the budget lets fewer packets out.
const STRETCH: Duration = Duration::from_secs(10);

/// How long the responder waits for the next round after the end of one, before it takes the punch for over.
const NEXT_ROUND: Duration = Duration::from_secs(8);

impl Punch {
    /// A stage of the plan: the first one before there is a plan.
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
    pub(super) fn keeps_first_port(&self) -> bool {
        let fingerprint = &self.config.ours.fingerprint;
        let is_unseen = matches!(fingerprint.mapping, Some(Mapping::ByAddress | Mapping::ByAddressAndPort));
        fingerprint.ports == Some(Ports::Kept) && is_unseen && fingerprint.translated != Some(false)
    }

    pub(super) fn on_prepared(&mut self, now: Instant) {
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
    pub(super) fn is_all_there_is(&self) -> bool {
        let stages = self.plan.as_ref().map_or(&[][..], |plan| &plan.stages);
        stages.iter().all(|stage| stage.kind() <= StageKind::Fresh)
    }

    /// Whether the other end named an address that one of our sockets can send to.
    fn shares_family(&self) -> bool {
        let theirs = self.theirs.iter().flat_map(|offer| &offer.candidates).map(|candidate| candidate.address);
        let ours = |address: SocketAddr| {
            self.config.ours.sockets.iter().any(|(_, local)| local.is_ipv4() == address.is_ipv4())
        };
        theirs.into_iter().any(ours)
    }

    /// The initiator goes on to what is next in its plan, or gives up.
    pub(super) fn next_stage(&mut self, now: Instant, budget: &mut Budget) {
        let otherwise = match self.plan.as_ref().map_or(Reason::Silent, |plan| plan.otherwise) {
            Reason::NothingCame if !self.shares_family() => Reason::NoCommonFamily,
            otherwise => otherwise,
        };
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
}
