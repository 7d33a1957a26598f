//! What is sent next.

use super::closing::Closing;
use super::content::{Content, Item};
use super::live::Live;
use crate::machine::{Ecn, MAX_SEGMENTS, MAX_TRANSMIT_BYTES, SocketId, Transmit};
use crate::mrt::recovery::congestion::Controller;
use crate::mrt::recovery::ledger::SentPacket;
use crate::mrt::recovery::mtu::FLOOR;
use crate::mrt::wire::packet::{DATA_HEADER_LEN, TAG_LEN};
use crate::mrt::wire::{DataHeader, Frame, PacketNumber};
use crate::time::Instant;
use std::net::SocketAddr;

/// Probe timeouts in a row after which probes are as small as every path's datagrams may have to be. The path may have begun to swallow
/// large ones without a word: then no full-size probe ever comes back, and nothing that is smaller shows the difference to a path that
/// is gone (RFC 8899 §4.4 leaves the black hole's detection to whoever sends). Two in a row are ordinary losses.
const LARGE_PROBES: u32 = 2;

/// What the network allows now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permit {
    /// Acknowledgements only: they are not part of what is in flight.
    Acks,
    /// Anything.
    All,
    /// One packet that asks for an answer, whatever the window says.
    Probe,
}

impl Live {
    /// Appends the datagrams that may leave now, all for one address.
    pub(super) fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        self.transmit_response(now, buffer)
            .or_else(|| self.transmit_challenge(now, buffer))
            .or_else(|| self.transmit_mtu_probe(now, buffer))
            .or_else(|| self.transmit_batch(now, buffer))
    }

    /// The close, alone in its packet.
    pub(super) fn transmit_close(
        &mut self,
        now: Instant,
        closing: &mut Closing,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if !core::mem::take(&mut closing.due) {
            return None;
        }
        let to = self.path.remote;
        self.transmit_alone(now, to, buffer, &Frame::Close { code: closing.code, reason: &closing.reason })
    }

    fn transmit_response(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let (to, token) = self.responses.pop_front()?;
        let transmit = self.transmit_alone(now, to, buffer, &Frame::PathResponse(token))?;
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.remote == to) {
            probe.on_sent(transmit.segment_size as u64);
        }
        Some(transmit)
    }

    fn transmit_challenge(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        /// Bytes of a challenge's datagram.
        const CHALLENGE_LEN: u64 = (DATA_HEADER_LEN + 9 + TAG_LEN) as u64;
        let again = now + self.path.probe_timeout(0);
        let probe = self.probe.as_mut()?;
        if probe.next.is_none_or(|next| next > now) {
            return None;
        }
        if !probe.allows(CHALLENGE_LEN) {
            probe.next = None;
            return None;
        }
        probe.on_challenged(CHALLENGE_LEN, again);
        let (to, token) = (probe.remote, probe.token);
        self.transmit_alone(now, to, buffer, &Frame::PathChallenge(token))
    }

    /// RFC 8899: a packet of nothing but padding, to see whether one of its size gets through.
    fn transmit_mtu_probe(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        if !self.path.rtt.has_sample() {
            return None;
        }
        let size = self.path.mtu.poll_probe(now)?;
        let number = self.begin_packet(buffer);
        Frame::Ping.emit(buffer);
        let padding = usize::from(size).saturating_sub(buffer.len() + TAG_LEN);
        Frame::Padding(padding).emit(buffer);
        self.end_packet(now, number, buffer, 0, Sent { ack_eliciting: true, mtu_probe: true, content: Content::new() });
        Some(Transmit {
            socket: SocketId::MAIN,
            to: self.path.remote,
            ecn: Ecn::NotCapable,
            segment_size: usize::from(size),
        })
    }

    /// As many full packets as one system call takes, and the window and the pacer allow.
    fn transmit_batch(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let small_probes = self.probes_due > 0 && self.timeouts > LARGE_PROBES;
        let mtu = usize::from(if small_probes { self.path.mtu.current().min(FLOOR) } else { self.path.mtu.current() });
        self.paced_until = None;
        let mut budget = None;
        let mut segment_size = 0;
        for _ in 0..MAX_SEGMENTS {
            let start = buffer.len();
            if start + mtu > MAX_TRANSMIT_BYTES || (small_probes && self.probes_due == 0) {
                break;
            }
            let permit = self.permit(now, mtu as u64, &mut budget);
            if !self.build_packet(now, permit, mtu, buffer) {
                // More could have left and there was nothing, or no credit for it: the window says nothing about the path.
                let window = self.path.congestion.window();
                let room = self.ledger.bytes_in_flight().saturating_add(mtu as u64) <= window;
                if room && (permit == Permit::All || !self.channels.has_pending()) {
                    self.ledger.on_app_limited();
                }
                break;
            }
            let length = buffer.len() - start;
            if start == 0 {
                segment_size = length;
            }
            if permit == Permit::All {
                budget = budget.map(|left: u64| left.saturating_sub(length as u64));
            }
            // All segments of a batch but the last have one size.
            if length < mtu {
                break;
            }
        }
        (segment_size > 0).then(|| Transmit {
            socket: SocketId::MAIN,
            to: self.path.remote,
            ecn: self.path.ecn.mark(),
            segment_size,
        })
    }

    /// What may leave now. The pacer is asked once a batch: `budget` is what it allowed and is left.
    fn permit(&mut self, now: Instant, size: u64, budget: &mut Option<u64>) -> Permit {
        if self.probes_due > 0 {
            return Permit::Probe;
        }
        if !self.channels.has_pending() {
            return Permit::Acks;
        }
        if self.ledger.bytes_in_flight().saturating_add(size) > self.path.congestion.window() {
            return Permit::Acks;
        }
        let left = match *budget {
            Some(left) => left,
            None => {
                let (rate, window) = (self.path.pacing_rate(), self.path.congestion.window());
                match self.path.pacer.can_send(now, rate, window, self.path.mtu.current()) {
                    Ok(allowed) => *budget.insert(allowed),
                    Err(when) => {
                        self.paced_until = Some(when);
                        return Permit::Acks;
                    }
                }
            }
        };
        if left == 0 { Permit::Acks } else { Permit::All }
    }

    /// Appends one packet, if there is reason to. Acknowledgements first, then control frames, then data by urgency.
    fn build_packet(&mut self, now: Instant, permit: Permit, mtu: usize, buffer: &mut Vec<u8>) -> bool {
        let ack_due = self.acks.due().is_some_and(|due| due <= now);
        if permit == Permit::Acks && !ack_due {
            return false;
        }
        if permit == Permit::Probe {
            self.prepare_probe();
        }
        let start = buffer.len();
        let number = self.begin_packet(buffer);
        let body = buffer.len();
        let limit = start + mtu - TAG_LEN;
        let mut content = Content::new();
        if self.acks.has_news()
            && let Some(largest) = self.acks.emit(now, buffer, limit - body)
        {
            content.push(Item::Ack(largest));
        }
        let before_data = buffer.len();
        if permit != Permit::Acks {
            self.channels.emit_control(buffer, limit, |control| content.push(Item::Control(control)));
            self.channels.emit_data(buffer, limit, |sent| content.push(Item::Data(sent)));
        }
        let mut ack_eliciting = buffer.len() > before_data;
        if permit == Permit::Probe && !ack_eliciting {
            Frame::Ping.emit(buffer);
            ack_eliciting = true;
        }
        let ack_alone = ack_due && before_data > body;
        if !ack_eliciting && !ack_alone {
            buffer.truncate(start);
            return false;
        }
        if before_data > body {
            self.acks.on_emitted();
        }
        if permit == Permit::Probe {
            self.probes_due -= 1;
        }
        self.end_packet(now, number, buffer, start, Sent { ack_eliciting, mtu_probe: false, content });
        true
    }

    /// RFC 9002 §6.2.4: a probe carries new data if there is any, else the oldest that was not acknowledged.
    fn prepare_probe(&mut self) {
        if self.channels.has_pending() {
            return;
        }
        let channels = &mut self.channels;
        for (_, content) in self.ledger.oldest_unacked(1) {
            for item in content {
                match *item {
                    Item::Ack(_) => {}
                    Item::Control(control) => channels.on_control_lost(control),
                    Item::Data(sent) => channels.on_data_lost(sent),
                }
            }
        }
    }

    fn transmit_alone(
        &mut self,
        now: Instant,
        to: SocketAddr,
        buffer: &mut Vec<u8>,
        frame: &Frame<'_>,
    ) -> Option<Transmit> {
        let number = self.begin_packet(buffer);
        frame.emit(buffer);
        // Not part of what is in flight: lost ones are repeated by their own clocks.
        self.end_packet(
            now,
            number,
            buffer,
            0,
            Sent { ack_eliciting: false, mtu_probe: false, content: Content::new() },
        );
        Some(Transmit { socket: SocketId::MAIN, to, ecn: Ecn::NotCapable, segment_size: buffer.len() })
    }

    fn begin_packet(&mut self, buffer: &mut Vec<u8>) -> PacketNumber {
        if self.next_number == self.next_skip {
            self.ledger.skip(self.next_number);
            self.next_number += 1;
            self.choose_next_skip();
        }
        let number = PacketNumber(self.next_number);
        let key_phase = self.keys.phase_for(number);
        DataHeader { key_phase, to: self.remote_cid, number: number.truncate() }.emit(buffer);
        number
    }

    /// Seals the packet that began at `start` of `buffer`, and remembers it.
    fn end_packet(&mut self, now: Instant, number: PacketNumber, buffer: &mut Vec<u8>, start: usize, sent: Sent) {
        let (head, body) = buffer.split_at_mut(start).1.split_at_mut(DATA_HEADER_LEN);
        let tag = self.keys.seal(number, head, body);
        buffer.extend_from_slice(&tag);
        let bytes = buffer.len() - start;
        self.next_number = number.0 + 1;
        self.counters.sent_packets += 1;
        self.counters.sent_bytes += bytes as u64;
        self.path.ecn.on_sent();
        if sent.ack_eliciting {
            self.path.congestion.on_sent(now, bytes as u64, self.ledger.bytes_in_flight());
            self.path.pacer.on_sent(bytes as u64);
        }
        self.ledger.on_sent(
            number.0,
            SentPacket {
                sent_at: now,
                bytes: u16::try_from(bytes).unwrap_or(u16::MAX),
                ack_eliciting: sent.ack_eliciting,
                in_flight: sent.ack_eliciting,
                mtu_probe: sent.mtu_probe,
                content: sent.content,
            },
        );
    }
}

/// What is to be remembered of a packet.
struct Sent {
    ack_eliciting: bool,
    mtu_probe: bool,
    content: Content,
}
