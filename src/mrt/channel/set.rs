//! All channels of a connection: opening, credit, and whose turn it is to send.
//!
//! Here is what the application does and what became of what was sent; `arrivals` is what the other side says, `departures` what is to be
//! sent.

use crate::mrt::api::{ChannelId, Class, ReceiveError, Received, SendError};
use crate::mrt::channel::control::Control;
use crate::mrt::channel::credit::{ReceiveCredit, SendCredit};
use crate::mrt::channel::receiving::Receiving;
use crate::mrt::channel::sending::Sending;
use crate::time::{Duration, Instant};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod arrivals;
mod departures;

/// What a channel may have in flight before its window was tuned, in bytes: 1 MiB fills 100 Mbit/s × 80 ms.
pub(crate) const INITIAL_CHANNEL_WINDOW: u64 = 1 << 20;
/// The same for the connection, in bytes.
pub(crate) const INITIAL_CONNECTION_WINDOW: u64 = 2 << 20;

/// Of the connection's credit, files leave this many bytes to the more urgent classes, or an eighth of what the other side granted at the
/// beginning if that is less: unread files must not silence the chat.
const RESERVE: u64 = 64 << 10;

/// Limits of this side, from the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_connection_window: u64,
    pub(crate) max_channel_window: u64,
    pub(crate) max_channels: u64,
}

/// Limits that the other side told us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    pub(crate) connection_credit: u64,
    pub(crate) channel_credit: u64,
    pub(crate) channels: u64,
}

/// Something for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Readable(ChannelId),
    Writable(ChannelId),
}

/// A run of a channel's bytes in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataSent {
    pub(crate) channel: ChannelId,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) fin: bool,
}

#[derive(Debug)]
struct Channel {
    sending: Sending,
    receiving: Receiving,
}

/// What this side opened, and what the other side opened, of one class.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Channels we opened.
    opened: u64,
    /// Channels we may open.
    allowed: u64,
    /// Channels the other side opened.
    accepted: u64,
    /// Channels the other side may open.
    granted: u64,
    /// Of those it opened, how many are over.
    over: u64,
}

/// All channels of a connection.
#[derive(Debug)]
pub(crate) struct Channels {
    initiator: bool,
    limits: Limits,
    channel_credit: u64,
    channels: BTreeMap<ChannelId, Channel>,
    counts: [Counts; 4],
    send_credit: SendCredit,
    /// What files leave of it.
    reserve: u64,
    /// A channel left its queue because the connection's credit held it back.
    starved: bool,
    receive_credit: ReceiveCredit,
    /// Channels with something to send, a queue a class.
    turns: [VecDeque<ChannelId>; 4],
    due: BTreeSet<Control>,
    notices: VecDeque<Notice>,
    delivered: u64,
    #[cfg(test)]
    looked_at: usize,
}

impl Channels {
    pub(crate) fn new(initiator: bool, limits: Limits, granted: Granted) -> Self {
        let counts = Counts { allowed: granted.channels, granted: limits.max_channels, ..Counts::default() };
        Self {
            initiator,
            limits,
            channel_credit: granted.channel_credit,
            channels: BTreeMap::new(),
            counts: [counts; 4],
            send_credit: SendCredit::new(granted.connection_credit),
            // The other side gives more at half a window, so that what is left to others never holds files back for good.
            reserve: RESERVE.min(granted.connection_credit / 8),
            starved: false,
            receive_credit: ReceiveCredit::new(
                INITIAL_CONNECTION_WINDOW.min(limits.max_connection_window),
                limits.max_connection_window,
            ),
            turns: Default::default(),
            due: BTreeSet::new(),
            notices: VecDeque::new(),
            delivered: 0,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    // What the application does.

    pub(crate) fn open(&mut self, class: Class) -> Result<ChannelId, SendError> {
        let initiator = self.initiator;
        let counts = self.counts_mut(class);
        if counts.opened >= counts.allowed {
            return Err(SendError::TooManyChannels);
        }
        let id = ChannelId::new(initiator, class, counts.opened);
        counts.opened += 1;
        self.insert(id);
        Ok(id)
    }

    pub(crate) fn send(&mut self, id: ChannelId, data: &mut Bytes, capacity: usize) -> Result<usize, SendError> {
        let channel = self.channels.get_mut(&id).ok_or(SendError::ChannelClosed)?;
        let taken = channel.sending.push(data, capacity)?;
        self.queue(id);
        Ok(taken)
    }

    pub(crate) fn finish(&mut self, id: ChannelId) -> Result<(), SendError> {
        self.channels.get_mut(&id).ok_or(SendError::ChannelClosed)?.sending.finish()?;
        self.queue(id);
        Ok(())
    }

    pub(crate) fn reset(&mut self, now: Instant, rtt: Duration, id: ChannelId, code: u32) -> Result<(), SendError> {
        let channel = self.channels.get_mut(&id).ok_or(SendError::ChannelClosed)?;
        if channel.sending.reset(code) {
            self.due.insert(Control::Reset(id));
        }
        let (ask, returned) = channel.receiving.give_up(code);
        if ask {
            self.due.insert(Control::Stop(id));
        }
        self.give_back(now, rtt, returned);
        self.forget_if_done(id);
        Ok(())
    }

    pub(crate) fn receive(&mut self, now: Instant, rtt: Duration, id: ChannelId) -> Result<Received, ReceiveError> {
        let channel = self.channels.get_mut(&id).ok_or(ReceiveError::ChannelClosed)?;
        let received = channel.receiving.receive();
        match &received {
            Ok(Received::Bytes(bytes)) => {
                let read = bytes.len() as u64;
                let more = channel.receiving.credit.on_consumed(read, now, rtt).is_some();
                if more && channel.receiving.wants_credit() {
                    self.due.insert(Control::ChannelCredit(id));
                }
                self.give_back(now, rtt, read);
            }
            Ok(Received::Nothing) => {}
            Ok(Received::Finished) | Err(_) => self.forget_if_done(id),
        }
        received
    }

    /// Bytes handed to `send` that are not acknowledged.
    pub(crate) fn unacknowledged(&self, id: ChannelId) -> usize {
        self.channels
            .get(&id)
            .filter(|channel| channel.sending.is_live())
            .map_or(0, |channel| channel.sending.buffer.len())
    }

    /// Bytes of channel data that the other side acknowledged.
    pub(crate) const fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(crate) fn ping(&mut self) {
        self.due.insert(Control::Ping);
    }

    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    // What tests look at.

    /// Channels that live.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// Bytes of the connection's credit that the other side used and did not get back.
    #[cfg(test)]
    pub(crate) const fn held_back(&self) -> u64 {
        self.receive_credit.outstanding()
    }

    /// How often a channel was looked at because the connection's credit grew.
    #[cfg(test)]
    pub(crate) const fn looked_at(&self) -> usize {
        self.looked_at
    }

    // What became of what was sent.

    pub(crate) fn on_data_acked(&mut self, sent: DataSent, capacity: usize) {
        let Some(channel) = self.channels.get_mut(&sent.channel) else { return };
        self.delivered += channel.sending.on_acked(sent.start..sent.end, sent.fin);
        if channel.sending.take_writable(capacity) {
            self.notices.push_back(Notice::Writable(sent.channel));
        }
        self.forget_if_done(sent.channel);
    }

    pub(crate) fn on_data_lost(&mut self, sent: DataSent) {
        if let Some(channel) = self.channels.get_mut(&sent.channel) {
            channel.sending.on_lost(sent.start..sent.end, sent.fin);
            self.queue(sent.channel);
        }
    }

    pub(crate) fn on_control_acked(&mut self, control: Control) {
        if let Control::Reset(id) = control
            && let Some(channel) = self.channels.get_mut(&id)
        {
            channel.sending.on_reset_acked();
            self.forget_if_done(id);
        }
    }

    pub(crate) fn on_control_lost(&mut self, control: Control) {
        if control != Control::Ping {
            self.due.insert(control);
        }
    }

    // Helpers.

    /// The connection's credit for bytes that were read, or that nobody will read.
    fn give_back(&mut self, now: Instant, rtt: Duration, bytes: u64) {
        if bytes > 0 && self.receive_credit.on_consumed(bytes, now, rtt).is_some() {
            self.due.insert(Control::ConnectionCredit);
        }
    }

    fn insert(&mut self, id: ChannelId) {
        let receiving =
            Receiving::new(INITIAL_CHANNEL_WINDOW.min(self.limits.max_channel_window), self.limits.max_channel_window);
        self.channels.insert(id, Channel { sending: Sending::new(self.channel_credit), receiving });
    }

    fn queue(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        if !channel.sending.queued {
            channel.sending.queued = true;
            let [control, chat, request, bulk] = &mut self.turns;
            match id.class() {
                Class::Control => control,
                Class::Chat => chat,
                Class::Request => request,
                Class::Bulk => bulk,
            }
            .push_back(id);
        }
    }

    fn forget_if_done(&mut self, id: ChannelId) {
        if !self.channels.get(&id).is_some_and(|channel| channel.sending.is_done() && channel.receiving.is_done()) {
            return;
        }
        self.channels.remove(&id);
        if id.opened_by_initiator() != self.initiator {
            let step = (self.limits.max_channels / 4).max(1);
            let max_channels = self.limits.max_channels;
            let counts = self.counts_mut(id.class());
            counts.over += 1;
            // A quarter of the allowance at a time: one frame for many channels.
            if counts.over.saturating_add(max_channels) >= counts.granted.saturating_add(step) {
                counts.granted = counts.over + max_channels;
                self.due.insert(Control::Channels(id.class()));
            }
        }
    }

    const fn counts_mut(&mut self, class: Class) -> &mut Counts {
        let [control, chat, request, bulk] = &mut self.counts;
        match class {
            Class::Control => control,
            Class::Chat => chat,
            Class::Request => request,
            Class::Bulk => bulk,
        }
    }
}
