//! What stands above an endpoint in these stories: it writes what it was given, reads what comes, and remembers what happened.

use anjer::machine::{Datagram, Ecn, Machine, SocketId};
use anjer::mrt::{ChannelId, Class, CloseReason, ConnectionHandle, Endpoint, Event, ReceiveError, Received, SendError};
use anjer::time::{Duration, Instant};
use bytes::Bytes;
use netem::{Host, Packet};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// An endpoint at an address, and its user.
pub(crate) struct Party {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: SocketAddr,
    /// Everything that the endpoint reported, in order.
    pub(crate) events: Vec<Event>,
    /// What was received, by connection and channel.
    pub(crate) inbox: BTreeMap<(ConnectionHandle, ChannelId), Inbox>,
    /// Bytes that `send` has not taken yet.
    pub(crate) outbox: BTreeMap<(ConnectionHandle, ChannelId), Outbox>,
    /// Whether it reads what comes. Otherwise it remembers where something waits.
    pub(crate) reads: bool,
    /// Sends every datagram this many times more: a fault planted to see an oracle catch it.
    pub(crate) stutter: usize,
    waiting: Vec<(ConnectionHandle, ChannelId)>,
    /// When it was last woken, until a datagram comes; and how often in a row that settled nothing.
    woken: Option<(Instant, u32)>,
    buffer: Vec<u8>,
    leaving: VecDeque<Packet>,
}

/// What came on a channel.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) bytes: Vec<u8>,
    /// When the last of them came.
    pub(crate) at: Instant,
    pub(crate) finished: bool,
    pub(crate) error: Option<ReceiveError>,
}

/// What is still to be written to a channel.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) bytes: Bytes,
    pub(crate) then_finish: bool,
    /// Bytes that `send` took.
    pub(crate) taken: usize,
    pub(crate) error: Option<SendError>,
}

impl Party {
    pub(crate) fn new(endpoint: Endpoint, address: SocketAddr) -> Self {
        Self {
            endpoint,
            address,
            events: Vec::new(),
            inbox: BTreeMap::new(),
            outbox: BTreeMap::new(),
            reads: true,
            stutter: 0,
            waiting: Vec::new(),
            woken: None,
            buffer: Vec::new(),
            leaving: VecDeque::new(),
        }
    }

    /// Opens a channel, writes all of this to it and finishes it.
    pub(crate) fn say(&mut self, connection: ConnectionHandle, class: Class, bytes: impl Into<Bytes>) -> ChannelId {
        let channel = self.endpoint.open_channel(connection, class).unwrap();
        self.write(connection, channel, bytes, true);
        channel
    }

    /// Writes all of this to an open channel, as fast as the endpoint takes it.
    pub(crate) fn write(
        &mut self,
        connection: ConnectionHandle,
        channel: ChannelId,
        bytes: impl Into<Bytes>,
        then_finish: bool,
    ) {
        let outbox = Outbox { bytes: bytes.into(), then_finish, taken: 0, error: None };
        self.outbox.insert((connection, channel), outbox);
        self.push(connection, channel);
    }

    /// Reads again, beginning with what waits.
    pub(crate) fn read_again(&mut self, now: Instant) {
        self.reads = true;
        for (connection, channel) in core::mem::take(&mut self.waiting) {
            self.pull(now, connection, channel);
        }
    }

    /// The connection that was made, if there is exactly one.
    pub(crate) fn connection(&self) -> Option<ConnectionHandle> {
        match self.connections().as_slice() {
            [connection] => Some(*connection),
            _ => None,
        }
    }

    /// All connections that were ever made.
    pub(crate) fn connections(&self) -> Vec<ConnectionHandle> {
        let made = |event: &Event| match event {
            Event::Connected { connection, .. } => Some(*connection),
            _ => None,
        };
        self.events.iter().filter_map(made).collect()
    }

    /// Why connections were lost, in order.
    pub(crate) fn losses(&self) -> Vec<CloseReason> {
        let lost = |event: &Event| match event {
            Event::Lost { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        self.events.iter().filter_map(lost).collect()
    }

    /// What came on a channel, whichever connection: for stories with one.
    pub(crate) fn heard(&self, channel: ChannelId) -> Option<&Inbox> {
        self.inbox.iter().find_map(|(key, inbox)| (key.1 == channel).then_some(inbox))
    }

    /// Whether everything came on that channel, and what.
    pub(crate) fn whole(&self, channel: ChannelId) -> Option<&[u8]> {
        self.heard(channel).filter(|inbox| inbox.finished).map(|inbox| inbox.bytes.as_slice())
    }

    /// Bytes received on all channels.
    pub(crate) fn received(&self) -> usize {
        self.inbox.values().map(|inbox| inbox.bytes.len()).sum()
    }

    /// Woken, and everything that it had to say has left: whoever runs it waits for a time that is yet to come, or turns in circles.
    fn must_not_spin(&mut self, now: Instant) {
        /// Times in a row that it may want to be woken at once.
        const PATIENCE: u32 = 3;
        let Some((at, idle)) = &mut self.woken else { return };
        let past = *at == now && self.endpoint.poll_timeout().is_some_and(|next| next <= now);
        *idle = if past { *idle + 1 } else { 0 };
        assert!(*idle < PATIENCE, "woken at {now:?}, and wants to be woken at {:?}", self.endpoint.poll_timeout());
    }

    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Readable { connection, channel } if self.reads => self.pull(now, connection, channel),
                Event::Readable { connection, channel } => self.waiting.push((connection, channel)),
                Event::Writable { connection, channel } => self.push(connection, channel),
                _ => {}
            }
            self.events.push(event);
        }
    }

    fn pull(&mut self, now: Instant, connection: ConnectionHandle, channel: ChannelId) {
        let inbox = self.inbox.entry((connection, channel)).or_default();
        loop {
            match self.endpoint.receive(now, connection, channel) {
                Ok(Received::Bytes(bytes)) => {
                    assert!(!bytes.is_empty() && !inbox.finished && inbox.error.is_none());
                    inbox.bytes.extend_from_slice(&bytes);
                    inbox.at = now;
                }
                Ok(Received::Finished) => {
                    inbox.finished = true;
                    inbox.at = now;
                    return;
                }
                Ok(Received::Nothing) => return,
                Err(error) => {
                    inbox.error = Some(error);
                    return;
                }
            }
        }
    }

    fn push(&mut self, connection: ConnectionHandle, channel: ChannelId) {
        let Some(outbox) = self.outbox.get_mut(&(connection, channel)) else { return };
        match self.endpoint.send(connection, channel, &mut outbox.bytes) {
            Ok(taken) => outbox.taken += taken,
            Err(error) => outbox.error = Some(error),
        }
        if outbox.bytes.is_empty() && core::mem::take(&mut outbox.then_finish) {
            outbox.error = outbox.error.or(self.endpoint.finish(connection, channel).err());
        }
    }
}

impl Host for Party {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, _: SocketAddr, bytes: &mut [u8]) {
        let now = Instant::from_start(now);
        self.woken = None;
        self.endpoint
            .handle_datagram(now, Datagram { socket: SocketId::MAIN, from, ecn: Ecn::NotCapable, contents: bytes });
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Duration) {
        let now = Instant::from_start(now);
        self.woken = Some((now, self.woken.map_or(0, |(_, idle)| idle)));
        self.endpoint.handle_timeout(now);
        self.settle(now);
    }

    fn handle_unreachable(&mut self, now: Duration, to: SocketAddr) {
        let now = Instant::from_start(now);
        self.endpoint.handle_unreachable(now, to);
        self.settle(now);
    }

    fn poll_transmit(&mut self, now: Duration) -> Option<Packet> {
        let now = Instant::from_start(now);
        self.settle(now);
        if let Some(packet) = self.leaving.pop_front() {
            return Some(packet);
        }
        self.buffer.clear();
        let transmit = self.endpoint.poll_transmit(now, &mut self.buffer);
        self.settle(now);
        if transmit.is_none() {
            self.must_not_spin(now);
        }
        let transmit = transmit?;
        assert!(transmit.segment_size > 0 && !self.buffer.is_empty());
        assert!(self.buffer.len() <= anjer::machine::MAX_TRANSMIT_BYTES);
        assert!(self.buffer.len().div_ceil(transmit.segment_size) <= anjer::machine::MAX_SEGMENTS);
        for segment in self.buffer.chunks(transmit.segment_size) {
            let packet = Packet::new(self.address, transmit.to, segment.to_vec());
            self.leaving.extend(core::iter::repeat_n(packet, 1 + self.stutter));
        }
        self.leaving.pop_front()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.endpoint.poll_timeout().map(Instant::since_start)
    }
}
