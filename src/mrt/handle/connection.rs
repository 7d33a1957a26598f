//! One connection: send, receive1, close.

use super::hub::Command;
use crate::driver::Commander;
use crate::mrt::{CloseReason, ConnectionHandle, PublicKey};
use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// The connection is over; nothing more can be sent, or will come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection has ended: {0}")]
pub struct Ended(pub CloseReason);

/// What the network thread and a [`Connection`] share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Bytes wait in the endpoint because the inbox was full: whoever takes some from it has to say so.
    pub(super) held_back: AtomicBool,
    /// The other side's stream ended, and all of it is in the inbox.
    pub(super) finished: AtomicBool,
    /// Why the connection ended.
    pub(super) ended: OnceLock<CloseReason>,
}

/// A connection that nobody has taken yet.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) handle: ConnectionHandle,
    pub(super) remote: SocketAddr,
    pub(super) key: PublicKey,
    pub(super) inbox: Receiver<Bytes>,
    pub(super) shared: Arc<Shared>,
}

/// A byte stream in each direction. Dropping it ends the connection at once; what was sent may then be lost.
#[derive(Debug)]
pub struct Connection {
    fresh: Fresh,
    commander: Commander<Command>,
}

impl Connection {
    pub(super) const fn new(fresh: Fresh, commander: Commander<Command>) -> Self {
        Self { fresh, commander }
    }

    /// Where the other side was when the connection was made.
    pub const fn remote_addr(&self) -> SocketAddr {
        self.fresh.remote
    }

    /// Who is at the other end.
    pub const fn public_key(&self) -> PublicKey {
        self.fresh.key
    }

    /// Sends a copy of `bytes`. As [`send_bytes`](Self::send_bytes).
    pub fn send(&self, bytes: &[u8]) -> Result<(), Ended> {
        self.send_bytes(Bytes::copy_from_slice(bytes))
    }

    /// Sends `bytes` without copying them. Waits until the send buffer has taken all of them: it holds some megabytes that the other
    /// side has not acknowledged.
    pub fn send_bytes(&self, bytes: Bytes) -> Result<(), Ended> {
        let (reply, answer) = bounded(1);
        let command = Command::Send { connection: self.fresh.handle, data: bytes, reply };
        self.commander.send(command).map_err(|_| self.why())?;
        answer.recv().unwrap_or_else(|_| Err(self.why()))
    }

    /// Waits for bytes and returns those that came first: at least one. `None`: the other side closed, and everything it sent was
    /// received.
    pub fn receive1(&mut self) -> Result<Option<Bytes>, Ended> {
        let shared = &self.fresh.shared;
        let received = self.fresh.inbox.recv();
        if shared.held_back.swap(false, Ordering::SeqCst) {
            // If the network thread is gone the next call says so.
            let _ = self.commander.send(Command::Resume(self.fresh.handle));
        }
        match received {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) if shared.finished.load(Ordering::SeqCst) => Ok(None),
            Err(_) => Err(self.why()),
        }
    }

    /// Ends the connection when the other side has received everything that was sent, or some seconds later if it does not; waits for
    /// that. What the other side still sends is dropped.
    pub fn close(self) {
        let (reply, closed) = bounded(1);
        if self.commander.send(Command::Close { connection: self.fresh.handle, reply }).is_ok() {
            // Nothing is ever said but the end.
            let _ = closed.recv();
        }
    }

    fn why(&self) -> Ended {
        // Without a reason the network thread has ended.
        Ended(self.fresh.shared.ended.get().cloned().unwrap_or(CloseReason::Local))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // After a close this says nothing new.
        let _ = self.commander.send(Command::Forget(self.fresh.handle));
    }
}
