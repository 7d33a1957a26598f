//! One connection on the network thread: bytes on their way out, bytes on their way in, and its end.
//!
//! Each side sends on the first bulk channel that it opened. When a side has passed on the end of the other's stream it says so by
//! opening and finishing its first control channel, without a byte: the *goodbye*. Whoever closes waits for that, because an
//! acknowledgement says only that bytes arrived, not that there was still someone to take them.

use super::connection::{Ended, Shared};
use crate::mrt::{ChannelId, Class, ConnectionHandle, Endpoint, Received};
use crate::time::Instant;
use bytes::Bytes;
use crossbeam_channel::{Sender, TrySendError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Pieces that wait to be received, at most. What is more stays in the endpoint, where credit bounds it.
pub(super) const MAX_PIECES: usize = 64;

/// Told once: all of the bytes were taken, or the connection is over.
pub(super) type Reply = Sender<Result<(), Ended>>;

/// One connection.
pub(super) struct Line {
    handle: ConnectionHandle,
    /// What we send on.
    out: ChannelId,
    /// What the other side sends on.
    into: ChannelId,
    /// Where the other side's goodbye comes.
    goodbye: ChannelId,
    /// What the send buffer has no room for: one entry for each thread that waits in `send` or `broadcast`.
    outbox: VecDeque<(Bytes, Reply)>,
    inbox: Inbox,
    /// A piece that found the inbox full.
    held: Option<Bytes>,
    shared: Arc<Shared>,
    closing: Option<Closing>,
}

/// Where bytes go that come.
enum Inbox {
    /// To whoever has the connection.
    Taken(Sender<Bytes>),
    /// Nowhere: we close.
    Dropped,
    /// No more will come.
    Ended,
}

/// A connection that we close.
struct Closing {
    /// When it ends anyway.
    deadline: Instant,
    /// Whether the end of our stream is on its way.
    finished: bool,
    /// The other side has taken everything.
    taken: bool,
    /// Dropped at the end, which is what the one who waits sees.
    _waiting: Option<Sender<()>>,
}

impl Line {
    pub(super) const fn new(
        handle: ConnectionHandle,
        initiator: bool,
        out: ChannelId,
        inbox: Sender<Bytes>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            handle,
            out,
            into: ChannelId::new(!initiator, Class::Bulk, 0),
            goodbye: ChannelId::new(!initiator, Class::Control, 0),
            outbox: VecDeque::new(),
            inbox: Inbox::Taken(inbox),
            held: None,
            shared,
            closing: None,
        }
    }

    /// Queues bytes behind those that wait.
    pub(super) fn send(&mut self, endpoint: &mut Endpoint, data: Bytes, reply: Reply) {
        self.outbox.push_back((data, reply));
        self.push(endpoint);
    }

    /// Hands over as much as is taken; then the end, if we close.
    pub(super) fn push(&mut self, endpoint: &mut Endpoint) {
        while let Some((data, reply)) = self.outbox.front_mut() {
            if !data.is_empty() && endpoint.send(self.handle, self.out, data).is_err() {
                // The connection's end follows, and tells those who wait.
                return;
            }
            if !data.is_empty() {
                return;
            }
            let _ = reply.try_send(Ok(()));
            self.outbox.pop_front();
        }
        if let Some(closing) = &mut self.closing
            && !closing.finished
        {
            closing.finished = true;
            let _ = endpoint.finish(self.handle, self.out);
        }
    }

    /// Passes on what came, as far as there is room for it.
    pub(super) fn pull(&mut self, now: Instant, endpoint: &mut Endpoint) {
        loop {
            if matches!(self.inbox, Inbox::Ended) {
                return;
            }
            let piece = match self.held.take() {
                Some(piece) => piece,
                None => match endpoint.receive(now, self.handle, self.into) {
                    Ok(Received::Bytes(piece)) => piece,
                    Ok(Received::Finished) => {
                        self.shared.finished.store(true, Ordering::SeqCst);
                        self.inbox = Inbox::Ended;
                        if let Ok(goodbye) = endpoint.open_channel(self.handle, Class::Control) {
                            let _ = endpoint.finish(self.handle, goodbye);
                        }
                        return;
                    }
                    Ok(Received::Nothing) | Err(_) => return,
                },
            };
            let Inbox::Taken(inbox) = &self.inbox else { continue };
            match inbox.try_send(piece) {
                // Nobody receives any more: the end of the connection is on its way as a command.
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
                Err(TrySendError::Full(piece)) => {
                    self.held = Some(piece);
                    // Whoever takes something from the inbox looks at this afterwards. If that was just before, there is room.
                    self.shared.held_back.store(true, Ordering::SeqCst);
                    if inbox.is_full() {
                        return;
                    }
                }
            }
        }
    }

    /// Something came on a channel.
    pub(super) fn on_readable(&mut self, now: Instant, endpoint: &mut Endpoint, channel: ChannelId) {
        if channel == self.into {
            self.pull(now, endpoint);
        } else if channel == self.goodbye {
            let said = endpoint.receive(now, self.handle, channel) == Ok(Received::Finished);
            if let Some(closing) = self.closing.as_mut().filter(|_| said) {
                closing.taken = true;
            }
        }
    }

    /// From here on: send what waits, then the end; drop what comes.
    pub(super) fn close(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        deadline: Instant,
        waiting: Option<Sender<()>>,
    ) {
        if self.closing.is_none() {
            self.closing = Some(Closing { deadline, finished: false, taken: false, _waiting: waiting });
        }
        if matches!(self.inbox, Inbox::Taken(_)) {
            self.inbox = Inbox::Dropped;
        }
        self.push(endpoint);
        self.pull(now, endpoint);
    }

    /// When a connection that we close ends at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.closing.as_ref().map(|closing| closing.deadline)
    }

    /// Whether a connection that we close can end: the other side has everything, or it is late.
    pub(super) fn is_closed(&self, now: Instant) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.taken || now >= closing.deadline)
    }

    /// The connection is over: whoever waits learns it. What is in the inbox can still be received.
    pub(super) fn end(self, ended: &Ended) {
        let _ = self.shared.ended.set(ended.0.clone());
        for (_, reply) in self.outbox {
            let _ = reply.try_send(Err(ended.clone()));
        }
    }
}
