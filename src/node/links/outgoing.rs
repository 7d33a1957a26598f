//! What waits to be sent on one link: frames in a queue a class, together bounded in bytes.

use super::frame::frame;
use crate::mrt::{ChannelId, Class, ConnectionHandle, Endpoint, SendError};
use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes that may wait for one peer. A peer that reads nothing is given up here, rather than our memory. Room for a few of the
/// largest views.
pub(super) const MAX_WAITING: usize = 8 << 20;

/// The peer does not read: [`MAX_WAITING`] bytes are waiting for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

/// The sending half of a link. Channels are opened when there is something to say.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    classes: [Queue; 3],
    waiting: usize,
}

#[derive(Debug, Default)]
struct Queue {
    channel: Option<ChannelId>,
    frames: VecDeque<Bytes>,
}

impl Outgoing {
    /// Puts a message in the queue of its class. Bulk is not for messages, and is sent as a request.
    pub(super) fn push(&mut self, class: Class, body: &[u8]) -> Result<(), TooSlow> {
        let framed = frame(body);
        let waiting = self.waiting.saturating_add(framed.len());
        if waiting > MAX_WAITING {
            return Err(TooSlow);
        }
        self.waiting = waiting;
        self.queue(class).frames.push_back(framed);
        Ok(())
    }

    /// Bytes that the connection has not taken yet.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Gives the connection what it takes, the most urgent class first.
    pub(super) fn flush(&mut self, endpoint: &mut Endpoint, connection: ConnectionHandle) -> Result<(), SendError> {
        for (queue, class) in self.classes.iter_mut().zip(Class::ALL) {
            while let Some(front) = queue.frames.front_mut() {
                let channel = match queue.channel {
                    Some(channel) => channel,
                    None => *queue.channel.insert(endpoint.open_channel(connection, class)?),
                };
                let taken = endpoint.send(connection, channel, front)?;
                self.waiting = self.waiting.saturating_sub(taken);
                if !front.is_empty() {
                    break; // `Writable` comes
                }
                queue.frames.pop_front();
            }
        }
        Ok(())
    }

    /// Nothing more will be said here. What waits is moved to `heir`, so that it is said there.
    pub(super) fn retire(&mut self, endpoint: &mut Endpoint, connection: ConnectionHandle) {
        for channel in self.channels() {
            // Errors mean that the channel or the connection ended already, which is what this is for.
            let _ = endpoint.finish(connection, channel);
        }
    }

    /// Whether a frame was begun and not given over completely: it cannot move to another connection.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Bytes on their way that the other side has not acknowledged.
    pub(super) fn unacknowledged(&self, endpoint: &Endpoint, connection: ConnectionHandle) -> usize {
        self.channels().map(|channel| endpoint.unacknowledged(connection, channel)).sum()
    }

    fn channels(&self) -> impl Iterator<Item = ChannelId> {
        self.classes.iter().filter_map(|queue| queue.channel).collect::<Vec<_>>().into_iter()
    }

    fn queue(&mut self, class: Class) -> &mut Queue {
        let [control, chat, request] = &mut self.classes;
        match class {
            Class::Control => control,
            Class::Chat => chat,
            Class::Request | Class::Bulk => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_peer_that_does_not_read_is_bounded() {
        let mut outgoing = Outgoing::default();
        let mut taken = 0;
        while outgoing.push(Class::Control, &[0; 1 << 20]).is_ok() {
            taken += 1;
        }
        assert_eq!(
            taken, 7,
            "seven frames of a mebibyte and their headers fit into eight mebibytes, the eighth does not"
        );
        assert!(outgoing.waiting() <= MAX_WAITING);
    }
}
