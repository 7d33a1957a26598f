//! What the other side says of its channels and of ours.

use super::{Channels, Notice};
use crate::mrt::api::{ChannelId, Class};
use crate::mrt::channel::control::Control;
use crate::mrt::channel::receiving::{Arrived, Receiving, Refused};
use crate::time::{Duration, Instant};

impl Channels {
    pub(crate) fn on_data(
        &mut self,
        now: Instant,
        rtt: Duration,
        id: ChannelId,
        offset: u64,
        data: &[u8],
        fin: bool,
    ) -> Result<(), Refused> {
        if !self.heard_of(id)? {
            return Ok(());
        }
        let end = offset.saturating_add(data.len() as u64);
        self.arrived(now, rtt, id, end, |receiving| receiving.on_data(offset, data, fin))
    }

    pub(crate) fn on_reset(
        &mut self,
        now: Instant,
        rtt: Duration,
        id: ChannelId,
        code: u32,
        length: u64,
    ) -> Result<(), Refused> {
        if !self.heard_of(id)? {
            return Ok(());
        }
        self.arrived(now, rtt, id, length, |receiving| receiving.on_reset(code, length))
    }

    pub(crate) fn on_stop(&mut self, id: ChannelId, code: u32) -> Result<(), Refused> {
        if self.heard_of(id)?
            && let Some(channel) = self.channels.get_mut(&id)
        {
            if channel.sending.on_stop(code) {
                self.due.insert(Control::Reset(id));
            }
            if channel.sending.take_writable(usize::MAX) {
                self.notices.push_back(Notice::Writable(id));
            }
        }
        Ok(())
    }

    pub(crate) fn on_connection_credit(&mut self, limit: u64) {
        // A packet holds hundreds of these frames, a connection thousands of channels: they are looked at only if any of them waits.
        if self.send_credit.on_limit(limit) && core::mem::take(&mut self.starved) {
            let waiting: Vec<ChannelId> = self.channels.keys().copied().collect();
            #[cfg(test)]
            {
                self.looked_at += waiting.len();
            }
            waiting.into_iter().for_each(|id| self.queue(id));
        }
    }

    pub(crate) fn on_channel_credit(&mut self, id: ChannelId, limit: u64) -> Result<(), Refused> {
        if self.heard_of(id)?
            && let Some(channel) = self.channels.get_mut(&id)
        {
            channel.sending.credit.on_limit(limit);
            self.queue(id);
        }
        Ok(())
    }

    pub(crate) fn on_channels(&mut self, class: Class, limit: u64) {
        let counts = self.counts_mut(class);
        counts.allowed = counts.allowed.max(limit);
    }

    /// Makes sure that a channel which the other side may talk of exists. `false`: it is over, the frame says nothing new.
    fn heard_of(&mut self, id: ChannelId) -> Result<bool, Refused> {
        if self.channels.contains_key(&id) {
            return Ok(true);
        }
        let initiator = self.initiator;
        let counts = self.counts_mut(id.class());
        if id.opened_by_initiator() == initiator {
            return if id.index() < counts.opened {
                Ok(false)
            } else {
                Err(Refused::Violation("a channel that was never opened"))
            };
        }
        if id.index() < counts.accepted {
            return Ok(false);
        }
        if id.index() >= counts.granted {
            return Err(Refused::Violation("more channels than allowed"));
        }
        // Opening one opens all before it (RFC 9000 §3.2): their frames may be behind.
        let fresh = counts.accepted..=id.index();
        counts.accepted = id.index() + 1;
        for index in fresh {
            self.insert(ChannelId::new(!initiator, id.class(), index));
        }
        Ok(true)
    }

    fn arrived(
        &mut self,
        now: Instant,
        rtt: Duration,
        id: ChannelId,
        end: u64,
        take: impl FnOnce(&mut Receiving) -> Result<Arrived, Refused>,
    ) -> Result<(), Refused> {
        let Some(channel) = self.channels.get_mut(&id) else { return Ok(()) };
        let newly = end.saturating_sub(channel.receiving.highest());
        if self.receive_credit.highest().saturating_add(newly) > self.receive_credit.limit() {
            return Err(Refused::Violation("more than the connection's credit"));
        }
        let arrived = take(&mut channel.receiving)?;
        self.receive_credit
            .on_received_more(arrived.newly)
            .map_err(|_| Refused::Violation("more than the connection's credit"))?;
        if arrived.news {
            self.notices.push_back(Notice::Readable(id));
        }
        self.give_back(now, rtt, arrived.discarded);
        self.forget_if_done(id);
        Ok(())
    }
}
