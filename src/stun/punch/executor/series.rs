//! The series of a stage: from which sockets this end guesses at which ports.

use super::Punch;
use crate::stun::fingerprint::Mapping;
use crate::stun::punch::ledger::Way;
use crate::stun::punch::plan::{Aim, End, SLACK, Share, Stage};
use crate::stun::punch::stages::{Guess, Running, Series};
use crate::time::{Duration, Instant};
use std::net::{IpAddr, SocketAddr};

/// Probes of a prediction, without and with what others take in a second.
const FEWEST_CROSSING: u32 = 32;
const MOST_CROSSING: u32 = 64;

impl Punch {
    /// What this end does in a stage beside probing candidates.
    pub(super) fn series(&mut self, now: Instant, stage: Stage) -> Option<Running> {
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
    pub(super) fn target(&self) -> Option<IpAddr> {
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
