//! The one place where a node is started.

use anjer::node::api::{Command, Event};
use anjer::node::profile::Profile;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// What a node needs to be started.
#[derive(Debug)]
#[expect(dead_code, reason = "read by the node, which is connected to this door by its own change")]
pub(crate) struct Setup {
    /// Where to listen.
    pub(crate) bind: SocketAddr,
    /// No STUN, no port mapping; loopback joiners are admitted.
    pub(crate) local: bool,
    /// STUN servers instead of the built-in list.
    pub(crate) stun: Vec<String>,
    /// What others see.
    pub(crate) name: String,
    /// The folder that is shared.
    pub(crate) dir: PathBuf,
    /// Who we are and where state is kept; locked as long as the node lives.
    pub(crate) profile: Profile,
    /// Admit whoever asks.
    pub(crate) open: bool,
}

/// A running node, from outside: [`Event::Ready`] comes first, [`Event::Bye`] last.
#[derive(Debug)]
pub(crate) struct Session {
    /// What is asked of it.
    pub(crate) commands: mpsc::Sender<Command>,
    /// What happened.
    pub(crate) events: mpsc::Receiver<Event>,
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The address or port is not to be had.
    #[error("cannot bind {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// Everything else.
    #[error("cannot start: {0}")]
    Other(#[from] io::Error),
}

/// Binds the socket and starts the node on it.
pub(crate) fn start(setup: Setup) -> Result<Session, StartError> {
    let socket = UdpSocket::bind(setup.bind).map_err(|error| StartError::Bind(setup.bind, error))?;
    drop(socket);
    Err(StartError::Other(io::Error::new(io::ErrorKind::Unsupported, "the room is not connected to this program yet")))
}
