//! When to wake, and for what.

use super::live::Live;
use crate::mrt::api::{CloseReason, Config};
use crate::time::Instant;

/// Probe timeouts in a row after each of which the other side was heard and none of what was sent had been acknowledged: two minutes
/// and more. What we send does not arrive, or somebody wants us to remember it for ever.
const MAX_IGNORED: u32 = 128;

/// Everything that happens by the clock once there are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// When nothing authentic came for too long: the connection is lost.
    Idle,
    /// When the line has been quiet: a ping keeps the NATs open and shows whether the other side lives.
    KeepAlive,
    /// When a stream that was coming in has stopped: a ping shows where we are.
    Stall,
    /// When the oldest packet in flight is late enough to be called lost.
    Loss,
    /// When nothing at all was acknowledged for the probe timeout: ask what arrived.
    Probe,
    /// When an acknowledgement has waited long enough.
    Ack,
    /// When the pacer lets the next packet go.
    Pace,
    /// When a path that carries no data, or is on trial, has something to do.
    Paths,
    /// When a larger datagram is to be tried again.
    Mtu,
}

impl Live {
    /// Every timer with its time.
    fn timers(&self, config: &Config) -> [(Timer, Option<Instant>); 9] {
        let path = &self.paths.active;
        let loss = path.ledger.loss_deadline();
        let probe = path
            .ledger
            .last_ack_eliciting_sent_at()
            .filter(|_| loss.is_none() && path.ledger.has_ack_eliciting_in_flight())
            .map(|sent_at| sent_at + path.probe_timeout(self.timeouts));
        let keep_alive = config.keep_alive.map(|interval| self.last_heard.max(self.last_pinged) + interval);
        [
            (Timer::Idle, Some(self.last_heard + config.idle_timeout)),
            (Timer::KeepAlive, keep_alive),
            (Timer::Stall, self.stall.due()),
            (Timer::Loss, loss),
            (Timer::Probe, probe),
            (Timer::Ack, self.acks.due()),
            (Timer::Pace, self.paced_until),
            (Timer::Paths, self.paths.poll_timeout()),
            (Timer::Mtu, path.mtu.poll_timeout()),
        ]
    }

    /// When the next timer runs out.
    pub(super) fn poll_timeout(&self, config: &Config) -> Option<Instant> {
        self.timers(config).iter().filter_map(|(_, at)| *at).min()
    }

    /// Does what is due. `Some`: the connection is lost.
    pub(super) fn handle_timeout(&mut self, now: Instant, config: &Config) -> Option<CloseReason> {
        for (timer, at) in self.timers(config) {
            if at.is_none_or(|at| at > now) {
                continue;
            }
            match timer {
                Timer::Idle => return Some(CloseReason::TimedOut),
                Timer::KeepAlive => {
                    self.last_pinged = now;
                    self.channels.ping();
                }
                Timer::Stall => {
                    self.stall.on_asked();
                    self.channels.ping();
                }
                Timer::Loss => self.detect_lost(now),
                Timer::Probe => {
                    self.timeouts = self.timeouts.saturating_add(1);
                    let sent_at = self.paths.active.ledger.last_ack_eliciting_sent_at();
                    if sent_at.is_some_and(|sent_at| self.last_heard > sent_at) {
                        self.ignored = self.ignored.saturating_add(1);
                    }
                    if self.ignored >= MAX_IGNORED {
                        return Some(CloseReason::TimedOut);
                    }
                    // RFC 9002 §6.2.4: two, so that the loss of one is not one more timeout.
                    self.probes_due = 2;
                    if !self.paths.standby.is_empty() {
                        self.ask_standby(now);
                        self.look_after_paths(now);
                    }
                }
                Timer::Pace => self.paced_until = None,
                Timer::Paths => self.look_after_paths(now),
                // These are looked at when the next packet is built.
                Timer::Ack | Timer::Mtu => {}
            }
        }
        None
    }
}
