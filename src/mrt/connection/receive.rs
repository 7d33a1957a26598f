//! One packet arrived.

use super::content::{Content, Item};
use super::live::Live;
use super::moving::Arrival;
use super::paths::Path;
use crate::machine::Ecn;
use crate::mrt::channel::receiving::Refused;
use crate::mrt::channel::set::Channels;
use crate::mrt::recovery::congestion::{AckSample, CongestionEvent, Controller};
use crate::mrt::route::Route;
use crate::mrt::wire::header::DATA_HEADER_LEN;
use crate::mrt::wire::{Ack, DataHeader, Frame, Frames, PacketNumber};
use crate::time::{Duration, Instant};
use core::ops::ControlFlow;

/// The largest acknowledgement delay that is believed.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// What a packet did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not authentic, or seen before. Nothing changed.
    Ignored,
    /// Taken.
    Taken,
    /// The other side closed the connection.
    Closed { code: u32, reason: String },
    /// The other side broke the protocol.
    Violation(&'static str),
}

impl Live {
    /// A datagram whose header names this connection.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        from: Route,
        ecn: Ecn,
        header: DataHeader,
        datagram: &mut [u8],
    ) -> Verdict {
        let number = PacketNumber::expand(header.number, self.acks.largest().map(PacketNumber));
        if !self.replay.is_fresh(number) {
            return Verdict::Ignored;
        }
        let size = datagram.len();
        let Some((head, body)) = datagram.split_at_mut_checked(DATA_HEADER_LEN) else { return Verdict::Ignored };
        let timeout = self.paths.active.probe_timeout(0);
        let Some(payload) = self.keys.open(now, timeout.saturating_mul(3), number, header.key_phase, head, body) else {
            return Verdict::Ignored;
        };
        // Authentic from here on; before this line nothing of the connection changed.
        self.replay.record(number);
        self.last_heard = now;
        let newest = self.acks.largest().is_none_or(|largest| number.0 > largest);
        let (probing, ack_eliciting, leads) = (true, false, false);
        let mut arrival = Arrival { route: from, size, newest, probing, ack_eliciting, leads, challenge: None };
        for frame in Frames::new(payload) {
            let frame = match frame {
                Ok(frame) => frame,
                Err(malformed) => return Verdict::Violation(malformed.0),
            };
            arrival.ack_eliciting |= frame.is_ack_eliciting();
            arrival.probing &= frame.is_probing();
            match self.handle_frame(now, &mut arrival, frame) {
                ControlFlow::Continue(Ok(())) => {}
                // No room for it: as if the packet had been lost on the way. It will come again.
                ControlFlow::Continue(Err(Refused::NoRoom)) => {
                    self.on_arrival(now, &arrival);
                    return Verdict::Taken;
                }
                ControlFlow::Continue(Err(Refused::Violation(what))) => return Verdict::Violation(what),
                ControlFlow::Break((code, reason)) => return Verdict::Closed { code, reason },
            }
        }
        arrival.leads = arrival.ack_eliciting && self.leader.is_none_or(|leader| number > leader);
        if arrival.leads {
            self.leader = Some(number);
            self.acks_to = from;
        }
        self.on_arrival(now, &arrival);
        self.acks.on_received(now, number.0, arrival.ack_eliciting, ecn);
        if arrival.ack_eliciting {
            self.stall.on_received(now, timeout.saturating_mul(2));
        }
        Verdict::Taken
    }

    fn handle_frame(
        &mut self,
        now: Instant,
        arrival: &mut Arrival,
        frame: Frame<'_>,
    ) -> ControlFlow<(u32, String), Result<(), Refused>> {
        let rtt = self.rtt();
        ControlFlow::Continue(match frame {
            Frame::Padding(_) | Frame::Ping => Ok(()),
            Frame::Ack(ack) => self.on_ack(now, &ack),
            Frame::Chan { channel, offset, fin, data } => self.channels.on_data(now, rtt, channel, offset, data, fin),
            Frame::Reset { channel, code, final_offset } => {
                self.channels.on_reset(now, rtt, channel, code, final_offset)
            }
            Frame::Stop { channel, code } => self.channels.on_stop(channel, code),
            Frame::MaxData { limit } => {
                self.channels.on_connection_credit(limit);
                Ok(())
            }
            Frame::MaxChan { channel, limit } => self.channels.on_channel_credit(channel, limit),
            Frame::MaxChans { class, limit } => {
                self.channels.on_channels(class, limit);
                Ok(())
            }
            Frame::PathChallenge(token) => {
                // One of a datagram is answered, so that the answer is not larger.
                arrival.challenge = Some(token);
                Ok(())
            }
            Frame::PathResponse(token) => {
                self.on_path_response(now, arrival, token);
                Ok(())
            }
            Frame::Close { code, reason } => return ControlFlow::Break((code, reason.to_owned())),
        })
    }

    fn on_ack(&mut self, now: Instant, ack: &Ack<'_>) -> Result<(), Refused> {
        let sent = self.numbers.check(ack.ranges());
        sent.map_err(|_| Refused::Violation("acknowledged what was never sent"))?;
        self.keys.on_acknowledged(ack.largest());
        if self.on_ack_of_path(now, ack, None) {
            self.timeouts = 0;
            self.ignored = 0;
            self.probes_due = 0;
        }
        self.detect_lost(now);
        for index in 0..self.paths.standby.len() {
            let waits = self.paths.standby.get(index).is_some_and(|path| !path.ledger.is_empty());
            if waits && self.on_ack_of_path(now, ack, Some(index)) {
                self.ignored = 0;
            }
            if waits {
                self.detect_lost_on(now, index, false);
            }
        }
        Ok(())
    }

    /// What an acknowledgement means for what was sent on one path: the active one, or one that stands by. Says whether it covers anything
    /// that had asked for it.
    fn on_ack_of_path(&mut self, now: Instant, ack: &Ack<'_>, standby: Option<usize>) -> bool {
        let capacity = self.send_capacity();
        let delay = Duration::from_micros(ack.delay_us).min(MAX_DELAY);
        let (channels, acks) = (&mut self.channels, &mut self.acks);
        let path = match standby {
            None => &mut self.paths.active,
            Some(index) => match self.paths.standby.get_mut(index) {
                Some(path) => path,
                None => return false,
            },
        };
        let report = path.ledger.on_ack(now, ack.ranges(), delay, &mut path.rtt, |_, content| {
            for item in content {
                match item {
                    Item::Ack(largest) => acks.on_ack_acked(largest),
                    Item::Control(control) => channels.on_control_acked(control),
                    Item::Data(sent) => channels.on_data_acked(sent, capacity),
                }
            }
        });
        let congested = self.marks.on_acked(&mut path.ecn, report.newly_acked, ack.ecn);
        if let Some(size) = report.mtu_probe_acked {
            path.mtu.on_probe_acked(size);
            path.congestion.on_mtu(path.mtu.current());
        } else if let Some(size) = report.largest_size_acked {
            path.mtu.on_acked(size);
        }
        if report.losses_all_spurious {
            path.congestion.on_spurious_loss(now);
        }
        if congested && let Some((_, sent_at)) = report.largest_newly_acked {
            let event = CongestionEvent { now, sent_at, lost_bytes: 0, persistent: false, ecn: true };
            path.congestion.on_congestion(&event);
        }
        if let Some(sample) = AckSample::new(now, &report, &path.rtt, path.ledger.bytes_in_flight()) {
            path.congestion.on_ack(&sample);
        }
        report.ack_eliciting_acked
    }

    /// RFC 9002 §6.1, on the active path.
    pub(super) fn detect_lost(&mut self, now: Instant) {
        self.counters.lost_packets += find_lost(now, &mut self.paths.active, &mut self.channels, false);
    }

    /// The same on a path that stands by; or `all` that is left there counts as lost.
    pub(super) fn detect_lost_on(&mut self, now: Instant, standby: usize, all: bool) {
        if let Some(path) = self.paths.standby.get_mut(standby) {
            self.counters.lost_packets += find_lost(now, path, &mut self.channels, all);
        }
    }
}

/// Looks for lost packets of one path. What was lost goes back to where it came from, to be sent again. Returns how many there were.
pub(super) fn find_lost(now: Instant, path: &mut Path, channels: &mut Channels, all: bool) -> u64 {
    let each = |_: u64, content: &Content| {
        for item in content {
            match *item {
                Item::Ack(_) => {}
                Item::Control(control) => channels.on_control_lost(control),
                Item::Data(sent) => channels.on_data_lost(sent),
            }
        }
    };
    let report = match all {
        false => path.ledger.detect_lost(now, &path.rtt, each),
        true => path.ledger.declare_all_lost(now, &path.rtt, each),
    };
    if let Some(size) = report.mtu_probe_lost {
        path.mtu.on_probe_lost(size);
    }
    if let Some(size) = report.largest_size_lost {
        path.mtu.on_lost(size, now);
        path.congestion.on_mtu(path.mtu.current());
    }
    if let Some(sent_at) = report.newest_lost_sent_at {
        path.congestion.on_congestion(&CongestionEvent {
            now,
            sent_at,
            lost_bytes: report.lost_bytes,
            persistent: report.persistent_congestion,
            ecn: false,
        });
    }
    report.lost_packets as u64
}
