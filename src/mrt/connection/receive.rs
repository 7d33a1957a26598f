//! One packet arrived.

use super::content::Item;
use super::live::Live;
use super::probe::PathProbe;
use crate::machine::Ecn;
use crate::mrt::channel::receiving::Refused;
use crate::mrt::recovery::congestion::{AckSample, CongestionEvent, Controller};
use crate::mrt::wire::packet::DATA_HEADER_LEN;
use crate::mrt::wire::{Ack, DataHeader, Frame, Frames, PacketNumber};
use crate::time::{Duration, Instant};
use core::ops::ControlFlow;
use std::net::SocketAddr;

/// The largest acknowledgement delay that is believed.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// What a packet did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not authentic, or seen before. Nothing changed.
    Ignored,
    /// Taken. The address it came from became the connection's, if `moved`.
    Taken { moved: bool },
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
        from: SocketAddr,
        ecn: Ecn,
        header: DataHeader,
        datagram: &mut [u8],
    ) -> Verdict {
        let number = PacketNumber::expand(header.number, self.acks.largest().map(PacketNumber));
        if !self.replay.is_fresh(number) {
            return Verdict::Ignored;
        }
        let bytes = datagram.len() as u64;
        let Some((head, body)) = datagram.split_at_mut_checked(DATA_HEADER_LEN) else { return Verdict::Ignored };
        let timeout = self.path.probe_timeout(0);
        let Some(payload) = self.keys.open(now, timeout.saturating_mul(3), number, header.key_phase, head, body) else {
            return Verdict::Ignored;
        };
        // Authentic from here on; before this line nothing of the connection changed.
        self.replay.record(number);
        self.last_heard = now;
        let newest = self.acks.largest().is_none_or(|largest| number.0 > largest);
        self.on_address(now, from, bytes, newest);
        let mut ack_eliciting = false;
        let mut moved = false;
        for frame in Frames::new(payload) {
            let frame = match frame {
                Ok(frame) => frame,
                Err(malformed) => return Verdict::Violation(malformed.0),
            };
            ack_eliciting |= frame.is_ack_eliciting();
            match self.handle_frame(now, from, frame, &mut moved) {
                ControlFlow::Continue(Ok(())) => {}
                // No room for it: as if the packet had been lost on the way. It will come again.
                ControlFlow::Continue(Err(Refused::NoRoom)) => return Verdict::Taken { moved },
                ControlFlow::Continue(Err(Refused::Violation(what))) => return Verdict::Violation(what),
                ControlFlow::Break((code, reason)) => return Verdict::Closed { code, reason },
            }
        }
        self.acks.on_received(now, number.0, ack_eliciting, ecn);
        if ack_eliciting {
            self.stall.on_received(now, timeout.saturating_mul(2));
        }
        Verdict::Taken { moved }
    }

    fn handle_frame(
        &mut self,
        now: Instant,
        from: SocketAddr,
        frame: Frame<'_>,
        moved: &mut bool,
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
                self.on_challenge(from, token);
                Ok(())
            }
            Frame::PathResponse(token) => {
                *moved |= self.on_path_response(now, token);
                Ok(())
            }
            Frame::Close { code, reason } => return ControlFlow::Break((code, reason.to_owned())),
        })
    }

    fn on_ack(&mut self, now: Instant, ack: &Ack<'_>) -> Result<(), Refused> {
        let capacity = self.send_capacity();
        let delay = Duration::from_micros(ack.delay_us).min(MAX_DELAY);
        let (channels, acks) = (&mut self.channels, &mut self.acks);
        let report = self
            .ledger
            .on_ack(now, ack.ranges(), delay, &mut self.path.rtt, |_, content| {
                for item in content {
                    match item {
                        Item::Ack(largest) => acks.on_ack_acked(largest),
                        Item::Control(control) => channels.on_control_acked(control),
                        Item::Data(sent) => channels.on_data_acked(sent, capacity),
                    }
                }
            })
            .map_err(|_| Refused::Violation("acknowledged what was never sent"))?;
        self.keys.on_acknowledged(ack.largest());
        if report.ack_eliciting_acked {
            self.timeouts = 0;
            self.ignored = 0;
            self.probes_due = 0;
        }
        let congested = self.path.ecn.on_acked(report.newly_acked, ack.ecn);
        if let Some(size) = report.mtu_probe_acked {
            self.path.mtu.on_probe_acked(size);
            self.path.congestion.on_mtu(self.path.mtu.current());
        } else if let Some(size) = report.largest_size_acked {
            self.path.mtu.on_acked(size);
        }
        if report.losses_all_spurious {
            self.path.congestion.on_spurious_loss(now);
        }
        if congested && let Some((_, sent_at)) = report.largest_newly_acked {
            let event = CongestionEvent { now, sent_at, lost_bytes: 0, persistent: false, ecn: true };
            self.path.congestion.on_congestion(&event);
        }
        if let Some(sample) = AckSample::new(now, &report, &self.path.rtt, self.ledger.bytes_in_flight()) {
            self.path.congestion.on_ack(&sample);
        }
        self.detect_lost(now);
        Ok(())
    }

    /// RFC 9002 §6.1. What was lost goes back to where it came from, to be sent again.
    pub(super) fn detect_lost(&mut self, now: Instant) {
        let channels = &mut self.channels;
        let report = self.ledger.detect_lost(now, &self.path.rtt, |_, content| {
            for item in content {
                match *item {
                    Item::Ack(_) => {}
                    Item::Control(control) => channels.on_control_lost(control),
                    Item::Data(sent) => channels.on_data_lost(sent),
                }
            }
        });
        self.counters.lost_packets += report.lost_packets as u64;
        if let Some(size) = report.mtu_probe_lost {
            self.path.mtu.on_probe_lost(size);
        }
        if let Some(size) = report.largest_size_lost {
            self.path.mtu.on_lost(size, now);
            self.path.congestion.on_mtu(self.path.mtu.current());
        }
        if let Some(sent_at) = report.newest_lost_sent_at {
            self.path.congestion.on_congestion(&CongestionEvent {
                now,
                sent_at,
                lost_bytes: report.lost_bytes,
                persistent: report.persistent_congestion,
                ecn: false,
            });
        }
    }

    /// RFC 9000 §9.3: the newest packet came from elsewhere, so the other side's address seems to have changed. It has to prove it.
    fn on_address(&mut self, now: Instant, from: SocketAddr, bytes: u64, newest: bool) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.remote == from) {
            probe.on_received(bytes);
            if newest && probe.next.is_none() {
                probe.next = Some(now);
            }
        } else if newest && from == self.path.remote {
            // It is where it was: whatever came from elsewhere was late, or a copy.
            self.probe = None;
        } else if newest {
            let mut probe = PathProbe::new(now, from, self.entropy.next());
            probe.on_received(bytes);
            self.probe = Some(probe);
        }
    }

    /// The other side repeated a challenge: it reads what is sent to its new address.
    fn on_path_response(&mut self, now: Instant, token: [u8; 8]) -> bool {
        if self.probe.as_ref().is_none_or(|probe| probe.token != token) {
            return false;
        }
        let Some(probe) = self.probe.take() else { return false };
        let same_host = probe.remote.ip() == self.path.remote.ip();
        // RFC 9000 §9.4: another port alone is a NAT's doing and the same path; another host is a path nothing is known of.
        if same_host {
            self.path.remote = probe.remote;
        } else {
            self.path.move_to(now, probe.remote);
        }
        // What is in flight went to where nobody may have been any more: that is found out at once, not by the clock of the old path.
        if self.ledger.has_ack_eliciting_in_flight() {
            self.timeouts = 0;
            self.probes_due = 2;
        }
        true
    }
}
