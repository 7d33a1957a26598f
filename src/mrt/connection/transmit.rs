//! What is sent next.

use super::closing::Closing;
use super::content::{Content, Item};
use super::live::{Live, Response};
use super::paths::{Path, base_of};
use crate::machine::{Ecn, MAX_SEGMENTS, MAX_TRANSMIT_BYTES};
use crate::mrt::recovery::congestion::Controller;
use crate::mrt::recovery::ledger::SentPacket;
use crate::mrt::route::Route;
use crate::mrt::wire::header::{DATA_HEADER_LEN, TAG_LEN};
use crate::mrt::wire::{DataHeader, Frame, PacketNumber};
use crate::time::Instant;

/// Probe timeouts in a row after which probes are as small as every path's datagrams may have to be. The path may have begun to swallow
/// large ones without a word: then no full-size probe ever comes back, and nothing that is smaller shows the difference to a path that
/// is gone (RFC 8899 §4.4 leaves the black hole's detection to whoever sends). Two in a row are ordinary losses.
const LARGE_PROBES: u32 = 2;

/// Datagrams that leave one way: the bytes that were appended to the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) route: Route,
    pub(crate) ecn: Ecn,
    /// Bytes of every datagram but the last, which may be shorter.
    pub(crate) segment_size: usize,
}

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
    /// Appends the datagrams that may leave now, all one way.
    pub(super) fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Departure> {
        self.transmit_response(buffer)
            .or_else(|| self.transmit_trial(now, buffer))
            .or_else(|| self.transmit_question(now, buffer))
            .or_else(|| self.transmit_ack_elsewhere(now, buffer))
            .or_else(|| self.transmit_mtu_probe(now, buffer))
            .or_else(|| self.transmit_batch(now, buffer))
    }

    /// The close, alone in its packet.
    pub(super) fn transmit_close(&mut self, closing: &mut Closing, buffer: &mut Vec<u8>) -> Option<Departure> {
        if !core::mem::take(&mut closing.due) {
            return None;
        }
        let route = self.paths.active.route;
        Some(self.transmit_alone(route, buffer, &Frame::Close { code: closing.code, reason: &closing.reason }, 0))
    }

    /// RFC 9000 §8.2.2: as large as the challenge's datagram, so that the size is proven both ways, and never larger.
    fn transmit_response(&mut self, buffer: &mut Vec<u8>) -> Option<Departure> {
        let Response { route, token, asked_with } = self.responses.pop_front()?;
        let full = usize::from(base_of(route));
        let mut size = if asked_with >= full { full } else { 0 };
        if let Some(trial) = self.paths.trial_mut(route) {
            if !trial.allows(full as u64) {
                size = 0;
            }
            trial.on_sent(size.max(QUESTION_LEN) as u64);
        }
        Some(self.transmit_alone(route, buffer, &Frame::PathResponse(token), size))
    }

    /// A challenge to a way that has to prove itself.
    fn transmit_trial(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Departure> {
        if self.paths.trials.is_empty() {
            return None;
        }
        let known = self.paths.active.rtt;
        for trial in &mut self.paths.trials {
            if trial.next.is_none_or(|next| next > now) || trial.is_over(now) {
                continue;
            }
            let size = usize::from(trial.size()).max(QUESTION_LEN);
            if !trial.allows(size as u64) {
                trial.on_not_allowed(now);
                continue;
            }
            let token = self.entropy.next();
            trial.on_challenged(now, token, size as u64, &known);
            let route = trial.route;
            return Some(self.transmit_alone(route, buffer, &Frame::PathChallenge(token), size));
        }
        None
    }

    /// A challenge to a proven path: is it still there?
    fn transmit_question(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Departure> {
        let paths = &mut self.paths;
        let mut all = core::iter::once(&mut paths.active).chain(&mut paths.standby);
        let route = all.find_map(|path| path.liveness.take_due().then_some(path.route))?;
        let interval = self.next_interval();
        let path = self.paths.find_mut(route)?;
        let token = self.entropy.next();
        let timeout = path.probe_timeout(path.liveness.missed());
        path.liveness.on_asked(now, token, timeout, interval);
        let mtu = usize::from(path.mtu.current().min(base_of(route)));
        // The other side may not have proven the way that we use: this gives it room to.
        let size = if route == self.paths.active.route { mtu } else { 0 };
        Some(self.transmit_alone(route, buffer, &Frame::PathChallenge(token), size))
    }

    /// The other side sends on a path that stands by: there, an acknowledgement measures the right way and arrives if the active path
    /// does not carry it.
    fn transmit_ack_elsewhere(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Departure> {
        if self.acks.due().is_none_or(|due| due > now) {
            return None;
        }
        let index = self.acks_elsewhere()?;
        let number = self.begin_packet(buffer);
        let room = usize::from(base_of(self.acks_to)) - TAG_LEN - buffer.len();
        let largest = self.acks.emit(now, buffer, room);
        self.acks.on_emitted();
        let Some(largest) = largest else {
            buffer.clear();
            return None;
        };
        let mut content = Content::new();
        content.push(Item::Ack(largest));
        self.seal_packet(number, buffer, 0);
        let path = self.paths.standby.get_mut(index)?;
        self.marks.on_sent(&path.ecn);
        record(now, number, buffer.len(), path, Sent { ack_eliciting: false, mtu_probe: false, content });
        Some(Departure { route: path.route, ecn: path.ecn.mark(), segment_size: buffer.len() })
    }

    /// Where in the paths that stand by the one lies that acknowledgements are wanted on; `None`: the active one.
    fn acks_elsewhere(&self) -> Option<usize> {
        if self.acks_to == self.paths.active.route || self.paths.standby.is_empty() {
            return None;
        }
        let index = self.paths.standby_at(self.acks_to)?;
        self.paths.standby.get(index).filter(|path| path.liveness.is_alive() && !path.liveness.is_suspect())?;
        Some(index)
    }

    /// RFC 8899: a packet of nothing but padding, to see whether one of its size gets through.
    fn transmit_mtu_probe(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Departure> {
        if !self.paths.active.rtt.has_sample() {
            return None;
        }
        let size = self.paths.active.mtu.poll_probe(now)?;
        let number = self.begin_packet(buffer);
        Frame::Ping.emit(buffer);
        let padding = usize::from(size).saturating_sub(buffer.len() + TAG_LEN);
        Frame::Padding(padding).emit(buffer);
        self.end_packet(now, number, buffer, 0, Sent { ack_eliciting: true, mtu_probe: true, content: Content::new() });
        Some(Departure { route: self.paths.active.route, ecn: Ecn::NotCapable, segment_size: usize::from(size) })
    }

    /// As many full packets as one system call takes, and the window and the pacer allow.
    fn transmit_batch(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Departure> {
        let small_probes = self.probes_due > 0 && self.timeouts > LARGE_PROBES;
        let (mtu, floor) = (self.paths.active.mtu.current(), self.paths.active.mtu.floor());
        let mtu = usize::from(if small_probes { mtu.min(floor) } else { mtu });
        let wrapping = self.paths.active.wrapping();
        self.paced_until = None;
        let mut budget = None;
        let mut segment_size = 0;
        for segment in 0..MAX_SEGMENTS {
            let start = buffer.len();
            if start + mtu + (segment + 1) * wrapping > MAX_TRANSMIT_BYTES || (small_probes && self.probes_due == 0) {
                break;
            }
            let permit = self.permit(now, mtu as u64, &mut budget);
            if !self.build_packet(now, permit, mtu, buffer) {
                // More could have left and there was nothing, or no credit for it: the window says nothing about the path.
                let path = &mut self.paths.active;
                let room = path.ledger.bytes_in_flight().saturating_add(mtu as u64) <= path.congestion.window();
                if room && (permit == Permit::All || !self.channels.has_pending()) {
                    path.ledger.on_app_limited();
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
        (segment_size > 0).then(|| Departure {
            route: self.paths.active.route,
            ecn: self.paths.active.ecn.mark(),
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
        let path = &mut self.paths.active;
        if path.ledger.bytes_in_flight().saturating_add(size) > path.congestion.window() {
            return Permit::Acks;
        }
        let left = match *budget {
            Some(left) => left,
            None => {
                let (rate, window) = (path.pacing_rate(), path.congestion.window());
                match path.pacer.can_send(now, rate, window, path.mtu.current()) {
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
        let acks_here = self.acks_elsewhere().is_none();
        let ack_due = acks_here && self.acks.due().is_some_and(|due| due <= now);
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
        if acks_here
            && self.acks.has_news()
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
        for (_, content) in self.paths.active.ledger.oldest_unacked(1) {
            for item in content {
                match *item {
                    Item::Ack(_) => {}
                    Item::Control(control) => channels.on_control_lost(control),
                    Item::Data(sent) => channels.on_data_lost(sent),
                }
            }
        }
    }

    /// A packet of one frame, padded to `size` bytes if it is shorter. It is not remembered: lost ones are repeated by their own clocks.
    fn transmit_alone(&mut self, route: Route, buffer: &mut Vec<u8>, frame: &Frame<'_>, size: usize) -> Departure {
        let number = self.begin_packet(buffer);
        frame.emit(buffer);
        match size.saturating_sub(buffer.len() + TAG_LEN) {
            0 => {}
            padding => Frame::Padding(padding).emit(buffer),
        }
        self.seal_packet(number, buffer, 0);
        if let Some(path) = self.paths.find_mut(route) {
            path.count_sent(buffer.len() as u64);
        }
        Departure { route, ecn: Ecn::NotCapable, segment_size: buffer.len() }
    }

    fn begin_packet(&mut self, buffer: &mut Vec<u8>) -> PacketNumber {
        if self.numbers.next() == self.next_skip {
            self.numbers.skip();
            self.choose_next_skip();
        }
        let number = PacketNumber(self.numbers.next());
        let key_phase = self.keys.phase_for(number);
        DataHeader { key_phase, to: self.remote_cid, number: number.truncate() }.emit(buffer);
        number
    }

    /// Seals the packet that began at `start` of `buffer`.
    fn seal_packet(&mut self, number: PacketNumber, buffer: &mut Vec<u8>, start: usize) {
        let (head, body) = buffer.split_at_mut(start).1.split_at_mut(DATA_HEADER_LEN);
        let tag = self.keys.seal(number, head, body);
        buffer.extend_from_slice(&tag);
        self.numbers.on_sent();
        self.counters.sent_packets += 1;
        self.counters.sent_bytes += (buffer.len() - start) as u64;
    }

    /// Seals the packet that began at `start` of `buffer`, for the active path, and remembers it.
    fn end_packet(&mut self, now: Instant, number: PacketNumber, buffer: &mut Vec<u8>, start: usize, sent: Sent) {
        self.seal_packet(number, buffer, start);
        self.marks.on_sent(&self.paths.active.ecn);
        record(now, number, buffer.len() - start, &mut self.paths.active, sent);
    }
}

/// Bytes of a challenge or a response alone.
const QUESTION_LEN: usize = DATA_HEADER_LEN + 9 + TAG_LEN;

/// A packet left on that path.
fn record(now: Instant, number: PacketNumber, bytes: usize, path: &mut Path, sent: Sent) {
    path.count_sent(bytes as u64);
    if sent.ack_eliciting {
        path.congestion.on_sent(now, bytes as u64, path.ledger.bytes_in_flight());
        path.pacer.on_sent(bytes as u64);
    }
    path.ledger.on_sent(
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

/// What is to be remembered of a packet.
struct Sent {
    ack_eliciting: bool,
    mtu_probe: bool,
    content: Content,
}
