//! The thread that looks after all of it, called `anjer-world`: a tokio runtime of one thread, and a task for each thing.
//!
//! It may be as slow as resolvers and gateways are: the network thread never waits for it, nor it for the network thread while that
//! has something better to do. Both ways are bounded. When the network thread is gone it says its farewells, and ends.

use super::neighbours::{self, Announcement};
use super::resolve::Resolver;
use super::teller::Teller;
use super::{Surroundings, SurroundingsRequest, port_mapping, sleep, watch};
use crate::driver::Clock;
use mio::Waker;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::sync::{Notify, watch::channel as watched};
use tokio::time::timeout;

/// Facts that wait for the network thread, at most. What is more keeps its task waiting.
const MAX_FACTS: usize = 64;

/// Requests that wait for this thread, at most. What is more stays in the machine.
const MAX_REQUESTS: usize = 64;

/// Threads that wait for the system's resolver, at most.
const RESOLVERS: usize = 4;

/// How long the end may be held up by a mapping to be released and a farewell to the LAN.
const FAREWELL: Duration = Duration::from_secs(1);

/// What of the surroundings a run may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Gateways may be asked to pass ports.
    pub map_ports: bool,
}

/// The network thread's end of it.
#[derive(Debug)]
pub(in super::super) struct World {
    requests: Sender<SurroundingsRequest>,
    /// A request that found the channel full.
    held: Option<SurroundingsRequest>,
    facts: Receiver<Surroundings>,
}

impl World {
    /// The next fact.
    pub(in super::super) fn take(&mut self) -> Option<Surroundings> {
        self.facts.try_recv().ok()
    }

    /// Hands over requests while there is room, `most` at most. Returns how many, and whether there was no room.
    pub(in super::super) fn ask(
        &mut self,
        most: usize,
        mut next: impl FnMut() -> Option<SurroundingsRequest>,
    ) -> (usize, bool) {
        let mut asked = 0;
        while asked < most
            && let Some(request) = self.held.take().or_else(&mut next)
        {
            match self.requests.try_send(request) {
                // Without anybody to ask there is no answer, as so often.
                Ok(()) | Err(TrySendError::Closed(_)) => asked += 1,
                Err(TrySendError::Full(request)) => {
                    self.held = Some(request);
                    return (asked, true);
                }
            }
        }
        (asked, false)
    }
}

/// Starts the thread. It ends when the [`World`] is gone.
pub(in super::super) fn spawn(config: Config, clock: Clock, waker: Arc<Waker>) -> io::Result<(World, JoinHandle<()>)> {
    let (requests, requests_out) = channel(MAX_REQUESTS);
    let (facts_in, facts) = channel(MAX_FACTS);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(RESOLVERS)
        .thread_name("anjer-resolve")
        .build()?;
    let teller = Teller::new(facts_in, Some(waker));
    let thread = Builder::new().name("anjer-world".into()).spawn(move || {
        runtime.block_on(run(config, clock, requests_out, teller));
        // Whoever still waits for a resolver is left behind.
        runtime.shutdown_background();
    })?;
    Ok((World { requests, held: None, facts }, thread))
}

async fn run(config: Config, clock: Clock, mut requests: Receiver<SurroundingsRequest>, teller: Teller) {
    let (port, wanted_port) = watched(None);
    let (announcement, wanted_announcement) = watched(None);
    let (network, network_changes) = watched(0_u64);
    let network = Arc::new(network);
    let recheck = Arc::new(Notify::new());
    let resolver = Resolver::default();
    let keeper =
        config.map_ports.then(|| tokio::spawn(port_mapping::run(teller.clone(), wanted_port, network_changes)));
    let neighbours = tokio::spawn(neighbours::run(teller.clone(), wanted_announcement));
    let changed = Arc::clone(&network);
    tokio::spawn(watch::run(teller.clone(), Arc::clone(&recheck), move || changed.send_modify(|times| *times += 1)));
    let woke = move || {
        network.send_modify(|times| *times += 1);
        recheck.notify_one();
    };
    tokio::spawn(sleep::run(teller.clone(), clock, woke));
    while let Some(request) = requests.recv().await {
        match request {
            SurroundingsRequest::Resolve(name) => resolver.begin(name, teller.clone()),
            SurroundingsRequest::MapPort(wanted) => drop(port.send_replace(Some(wanted))),
            SurroundingsRequest::UnmapPort => drop(port.send_replace(None)),
            SurroundingsRequest::Announce { name, port, addresses } => {
                announcement.send_replace(Some(Announcement { name: name.to_ascii_lowercase(), port, addresses }));
            }
            SurroundingsRequest::Hush => drop(announcement.send_replace(None)),
        }
    }
    drop((port, announcement));
    let farewells = async {
        if let Some(keeper) = keeper {
            let _ = keeper.await;
        }
        let _ = neighbours.await;
    };
    if timeout(FAREWELL, farewells).await.is_err() {
        tracing::debug!("left without farewell");
    }
}

#[cfg(test)]
mod tests;
