//! The one place where a node is started.

use anjer::driver::Commander;
use anjer::node::api::{Command, Event};
use anjer::node::identity::Identity;
use anjer::node::profile::Profile;
use anjer::node::run::{self as node, StartError};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a node needs to be started.
#[derive(Debug)]
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

/// Commands and events that wait in either direction, at most; beyond that each side waits for the other.
const MAX_WAITING: usize = 256;

/// Binds the socket and starts the node on it. Returns as soon as the node listens; STUN is asked meanwhile.
pub(crate) fn start(setup: Setup) -> Result<Session, StartError> {
    let (command_sender, commands) = mpsc::channel(MAX_WAITING);
    let (event_sender, events) = mpsc::channel(MAX_WAITING);
    let (outcome_sender, outcome) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("anjer-events".into())
        .spawn(move || run(setup, commands, &event_sender, &outcome_sender))?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(Session { commands: command_sender, events }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Other(io::Error::other("the node ended before it began"))),
    }
}

/// Starts the node, says how that went, and passes its events on until the last.
fn run(
    setup: Setup,
    commands: mpsc::Receiver<Command>,
    events: &mpsc::Sender<Event>,
    outcome: &std::sync::mpsc::SyncSender<Result<(), StartError>>,
) {
    // The profile is locked for as long as the node may write to it.
    let Setup { bind, local, stun, name, dir, profile, open } = setup;
    let identity = Arc::new(Identity::from_seed(profile.seed()));
    let setup = node::Setup { identity, name, bind, local, open, stun, dir, state: profile.folder().to_owned() };
    let started = node::start(setup, |ready| {
        // The receiver waits for the outcome and reads this next.
        let _ = events.blocking_send(ready);
        let _ = outcome.send(Ok(()));
    });
    let remote = match started {
        Ok(remote) => remote,
        Err(error) => {
            let _ = outcome.send(Err(error));
            return;
        }
    };
    if pass_on(commands, remote.commander()).is_err() {
        return;
    }
    while let Ok(event) = remote.events().recv() {
        if event == Event::Bye {
            break;
        }
        if events.blocking_send(event).is_err() {
            return;
        }
    }
    // The disk finishes its books before anybody hears that all is over.
    if remote.join().is_err() {
        tracing::error!("a thread of the node panicked");
    }
    let _ = events.blocking_send(Event::Bye);
}

/// Carries commands to the node, on a thread of its own: the node may be behind.
fn pass_on(mut commands: mpsc::Receiver<Command>, commander: Commander<Command>) -> io::Result<()> {
    std::thread::Builder::new().name("anjer-commands".into()).spawn(move || {
        while let Some(command) = commands.blocking_recv() {
            if commander.send(command).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
