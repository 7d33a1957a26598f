//! What peers say, frame by frame.

use super::super::connection::{Connection, MAX_EARLY_CHANNELS, Phase};
use super::super::event::LinkEvent;
use super::super::frame::{MAX_FRAME, MAX_HELLO};
use super::super::hello::Hello;
use super::{Links, MAX_STRANGER_FRAME, MAX_UNTAKEN, MESSAGE_COST, close};
use crate::mrt::{ChannelId, Class, ConnectionHandle, Endpoint, Received};
use crate::node::wire;
use crate::time::Instant;

impl Links {
    pub(super) fn on_readable(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        channel: ChannelId,
    ) {
        let Some(connection) = self.connections.get(&handle) else { return };
        let early = matches!(connection.phase, Phase::ExpectHello { .. });
        if channel.class() == Class::Bulk {
            if !connection.is_theirs(channel) {
                // The answer to a question that was given up. An error means that the channel is gone, as it should be.
                let _ = endpoint.reset(now, handle, channel, close::NOT_ASKED);
                return;
            }
            match connection.peer() {
                Some(peer) => self.events.push_back(LinkEvent::Bulk { peer, connection: handle, channel }),
                None if early => self.keep_for_later(now, endpoint, handle, channel),
                None => {}
            }
        } else if connection.is_theirs(channel) {
            if channel.index() > 0 {
                // One channel a class is what a link has; each may hold a frame that is not whole.
                self.fail(now, endpoint, handle, close::MALFORMED, "too many channels");
                return;
            }
            let proof = channel.class() == Class::Control;
            let early = early && !(proof && self.may_judge(now, endpoint, connection));
            if connection.behind.is_some() || early {
                self.keep_for_later(now, endpoint, handle, channel);
            } else {
                self.read(now, endpoint, handle, channel);
            }
        }
    }

    pub(super) fn keep_for_later(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        channel: ChannelId,
    ) {
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        connection.unread.insert(channel);
        if connection.unread.len() > MAX_EARLY_CHANNELS {
            self.fail(now, endpoint, handle, close::NOT_PROVEN, "too many channels before a hello");
        }
    }

    /// Takes everything that a channel has, frame by frame.
    pub(super) fn read(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, channel: ChannelId) {
        let begun = self.connections.get(&handle).is_some_and(|connection| connection.incoming.contains_key(&channel));
        if begun && !self.read_frames(now, endpoint, handle, channel) {
            return;
        }
        loop {
            let Some(connection) = self.connections.get_mut(&handle) else { return };
            match endpoint.receive(now, handle, channel) {
                Ok(Received::Bytes(bytes)) => connection.incoming.entry(channel).or_default().push(&bytes),
                Ok(Received::Nothing) => return,
                Ok(Received::Finished) | Err(_) => {
                    connection.incoming.remove(&channel);
                    return self.on_channel_end(now, endpoint, handle);
                }
            }
            if !self.read_frames(now, endpoint, handle, channel) {
                return;
            }
        }
    }

    /// Whether reading may go on.
    pub(super) fn read_frames(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: ConnectionHandle,
        channel: ChannelId,
    ) -> bool {
        loop {
            let Some(connection) = self.connections.get_mut(&handle) else { return false };
            if self.untaken >= MAX_UNTAKEN {
                connection.unread.insert(channel);
                return false;
            }
            let initiator = connection.initiator;
            let Some(reader) = connection.incoming.get_mut(&channel) else { return false };
            let (peer, limit) = match connection.phase {
                Phase::ExpectHello { .. } => (None, MAX_HELLO),
                Phase::Linked { peer } | Phase::Retiring { peer, .. } => {
                    let known = initiator || self.members.contains(&peer);
                    (Some(peer), if known { MAX_FRAME } else { MAX_STRANGER_FRAME })
                }
                Phase::Closing { .. } => return false,
            };
            match (reader.next(limit), peer) {
                (Ok(None), _) => return true,
                (Ok(Some(body)), Some(from)) => match wire::decode(&body, MAX_FRAME) {
                    Ok(message) => {
                        self.untaken = self.untaken.saturating_add(body.len() + MESSAGE_COST);
                        self.events.push_back(LinkEvent::Message { from, message });
                    }
                    Err(_) => return self.fail(now, endpoint, handle, close::MALFORMED, "malformed message"),
                },
                (Ok(Some(body)), None) => {
                    let theirs = connection.theirs(self.hello.record.noise());
                    match Hello::check(&body, theirs) {
                        Ok(hello) => self.on_hello(now, endpoint, handle, hello),
                        Err(error) => return self.refuse_hello(now, endpoint, handle, error),
                    }
                    if self.connections.get(&handle).is_none_or(|connection| connection.behind.is_some()) {
                        if let Some(connection) = self.connections.get_mut(&handle) {
                            connection.unread.insert(channel);
                        }
                        return false;
                    }
                }
                (Err(_), _) => return self.fail(now, endpoint, handle, close::MALFORMED, "frame too long"),
            }
        }
    }

    /// Goes on reading where too much had been read. To be called once every event was taken; whether there are more.
    pub fn resume(&mut self, now: Instant, endpoint: &mut Endpoint) -> bool {
        let left = |connection: &&Connection| connection.peer().is_some() && !connection.unread.is_empty();
        let left: Vec<_> = self.connections.values().filter(left).map(|connection| connection.handle).collect();
        for handle in left {
            self.read_unread(now, endpoint, handle);
        }
        !self.events.is_empty()
    }

    /// Reads what had to wait.
    pub(super) fn read_unread(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle) {
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        if connection.behind.is_some() {
            return;
        }
        for channel in std::mem::take(&mut connection.unread) {
            self.on_readable(now, endpoint, handle, channel);
        }
    }
}
