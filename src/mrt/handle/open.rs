//! An open socket: connect, accept, broadcast.

use super::connection::{Connection, Fresh};
use super::hub::{Command, Hub};
use crate::driver::{Clock, Remote, Socket, spawn};
use crate::mrt::{CloseReason, Config, ConnectError, ConnectTo, PublicKey};
use crate::time::Duration;
use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

/// How long [`Mrt::connect`] tries.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections that wait to be accepted, at most. Whoever comes later is told that we are busy.
pub(super) const MAX_WAITING: usize = 64;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CouldNotConnect {
    /// It was not even tried.
    #[error(transparent)]
    NotTried(#[from] ConnectError),
    /// It was tried.
    #[error(transparent)]
    Failed(#[from] CloseReason),
    /// The socket is closed.
    #[error("the socket is closed")]
    Closed,
}

/// An open socket. It stays open until this and all its connections are closed or dropped.
#[derive(Debug)]
pub struct Mrt {
    remote: Remote<Command, Infallible>,
    waiting: Receiver<Fresh>,
    key: PublicKey,
}

impl Mrt {
    /// Binds to `addr` and listens. `seed` is 32 secret random bytes, used once.
    pub fn open(addr: SocketAddr, config: Config, seed: [u8; 32]) -> io::Result<Self> {
        let socket = Socket::bind(addr)?;
        let key = config.static_key.public();
        let (accepted, waiting) = bounded(MAX_WAITING);
        let remote = spawn("anjer-net", socket, Hub::new(config, seed, accepted), Clock::start())?;
        Ok(Self { remote, waiting, key })
    }

    /// The address it is bound to.
    pub const fn local_addr(&self) -> SocketAddr {
        self.remote.local_addr()
    }

    /// The key that others know us by.
    pub const fn public_key(&self) -> PublicKey {
        self.key
    }

    /// Connects to `addr`; waits for it [`CONNECT_TIMEOUT`] at most.
    pub fn connect(&self, addr: SocketAddr, to: ConnectTo) -> Result<Connection, CouldNotConnect> {
        let (reply, answer) = bounded(1);
        self.remote.send(Command::Connect { addr, to, reply }).map_err(|_| CouldNotConnect::Closed)?;
        let fresh = answer.recv().unwrap_or(Err(CouldNotConnect::Closed))?;
        Ok(self.take(fresh))
    }

    /// Waits until someone connects to us. `None`: the network thread has ended.
    pub fn accept1(&self) -> Option<Connection> {
        self.waiting.recv().ok().map(|fresh| self.take(fresh))
    }

    /// Everyone who connected to us and was not accepted yet; does not wait.
    pub fn accept_all(&self) -> Vec<Connection> {
        self.waiting.try_iter().map(|fresh| self.take(fresh)).collect()
    }

    /// Sends `bytes` on every connection that was accepted or made, and waits until each has taken them or is over: as long as the
    /// slowest takes. Returns how many took them.
    pub fn broadcast(&self, bytes: &[u8]) -> usize {
        let (reply, answers) = crossbeam_channel::unbounded();
        let data = Bytes::copy_from_slice(bytes);
        if self.remote.send(Command::Broadcast { data, reply }).is_err() {
            return 0;
        }
        // One answer a connection at most; each line drops its sender with it.
        answers.iter().filter(Result::is_ok).count()
    }

    /// Closes every connection, each as [`Connection::close`] does, then the socket.
    pub fn close(self) {
        let Self { remote, waiting, key: _ } = self;
        drop(waiting);
        let _ = remote.send(Command::Quit);
        if remote.join().is_err() {
            tracing::error!("the network thread panicked");
        }
    }

    fn take(&self, fresh: Fresh) -> Connection {
        Connection::new(fresh, self.remote.commander())
    }
}
