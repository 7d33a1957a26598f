//! The other threads' end of a running machine.

use crossbeam_channel::{Receiver, Sender};
use mio::Waker;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The machine stopped: nothing is taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network thread has ended")]
pub struct Gone;

/// Why a command was not taken at once. It is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<C> {
    /// The machine is behind: try later.
    #[error("the network thread is behind")]
    Full(C),
    /// The machine stopped.
    #[error("the network thread has ended")]
    Gone(C),
}

/// Sends commands to a running machine; may be cloned. When the last one is dropped, the [`Remote`]'s included, the loop ends.
#[derive(Debug)]
pub struct Commander<C> {
    commands: Sender<C>,
    /// Dropped after `commands`, so that the loop wakes up to a channel without senders.
    waker: WakeOnDrop,
}

#[derive(Clone, Debug)]
struct WakeOnDrop(Arc<Waker>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        let _ = self.0.wake();
    }
}

impl<C> Clone for Commander<C> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), waker: self.waker.clone() }
    }
}

impl<C> Commander<C> {
    pub(super) const fn new(commands: Sender<C>, waker: Arc<Waker>) -> Self {
        Self { commands, waker: WakeOnDrop(waker) }
    }

    /// Hands over a command and waits while the machine is behind. Whoever reads the events must not call this: the machine takes
    /// no commands while its events are not read, so both would wait for each other. Use [`try_send`](Self::try_send) there.
    pub fn send(&self, command: C) -> Result<(), Gone> {
        self.commands.send(command).map_err(|_| Gone)?;
        self.wake();
        Ok(())
    }

    /// Hands over a command if the machine has room for it.
    pub fn try_send(&self, command: C) -> Result<(), TrySendError<C>> {
        use crossbeam_channel::TrySendError as Full;
        self.commands.try_send(command).map_err(|error| match error {
            Full::Full(command) => TrySendError::Full(command),
            Full::Disconnected(command) => TrySendError::Gone(command),
        })?;
        self.wake();
        Ok(())
    }

    /// A wake-up that fails is not worse than a late one: the loop looks at the commands at every turn.
    fn wake(&self) {
        let _ = self.waker.0.wake();
    }
}

/// A running machine, as the rest of the program sees it.
#[derive(Debug)]
pub struct Remote<C, E> {
    commander: Commander<C>,
    events: Receiver<E>,
    network: JoinHandle<()>,
    /// The threads beside it, which end after it.
    beside: Vec<JoinHandle<()>>,
    local: SocketAddr,
}

impl<C, E> Remote<C, E> {
    pub(super) const fn new(
        commander: Commander<C>,
        events: Receiver<E>,
        network: JoinHandle<()>,
        beside: Vec<JoinHandle<()>>,
        local: SocketAddr,
    ) -> Self {
        Self { commander, events, network, beside, local }
    }

    /// The address that the socket is bound to.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Something to send commands with, for other threads.
    pub fn commander(&self) -> Commander<C> {
        self.commander.clone()
    }

    /// As [`Commander::send`].
    pub fn send(&self, command: C) -> Result<(), Gone> {
        self.commander.send(command)
    }

    /// As [`Commander::try_send`].
    pub fn try_send(&self, command: C) -> Result<(), TrySendError<C>> {
        self.commander.try_send(command)
    }

    /// The machine's events, in order. Says that it is disconnected when the machine has ended and every event was read.
    pub const fn events(&self) -> &Receiver<E> {
        &self.events
    }

    /// Waits until the machine has finished, by itself, and the threads beside it too. Events that were not read are gone. An error says that a
    /// thread panicked.
    pub fn join(self) -> std::thread::Result<()> {
        let Self { commander, events, network, beside, local: _ } = self;
        // Unread events must not hold up the end.
        drop(events);
        network.join()?;
        drop(commander);
        beside.into_iter().try_for_each(JoinHandle::join)
    }
}
