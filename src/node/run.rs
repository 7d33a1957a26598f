//! A node on a real socket: bound, asked about by STUN, and run.

use super::api::{Command, Event};
use super::disk::{DiskReply, DiskRequest, Worker, last_room};
use super::identity::Identity;
use super::node::{Node, NodeConfig};
use super::room::RoomConfig;
use crate::driver::surroundings::{self, Surroundings, SurroundingsRequest};
use crate::driver::{Clock, Driven, Helper, Remote, Socket, bind, fresh_seed, spawn_with_helper};
use crate::stun::startup::{BUILT_IN_SERVERS, public_address};
use crate::time::Instant;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What a node needs to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who we are.
    pub identity: Arc<Identity>,
    /// What others see.
    pub name: String,
    /// Where to listen; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// All nodes are on this machine or LAN: no STUN, and joiners from a loopback address are let in.
    pub local: bool,
    /// Let in whoever asks.
    pub open: bool,
    /// STUN servers ("host:port") instead of the built-in ones.
    pub stun: Vec<String>,
    /// The folder that is shared from and downloaded to.
    pub dir: PathBuf,
    /// Where partial downloads are kept. No other node may use it.
    pub state: PathBuf,
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address or port is not to be had.
    #[error("cannot bind {0}: {1}")]
    Bind(SocketAddr, io::Error),
    /// Everything else.
    #[error("cannot start: {0}")]
    Other(#[from] io::Error),
}

/// Binds the socket, tells [`Event::Ready`] through `ready`, asks STUN (a second at most, unless `local`), and runs the node on
/// threads of its own. All other events come from the [`Remote`], [`Event::Bye`] last.
///
/// Blocks while STUN is asked, since nobody else may read the socket meanwhile.
pub fn start(setup: Setup, ready: impl FnOnce(Event)) -> Result<Remote<Command, Event>, StartError> {
    let clock = Clock::start();
    let built_in = || BUILT_IN_SERVERS.map(str::to_owned).to_vec();
    let servers = if setup.stun.is_empty() { built_in() } else { setup.stun };
    let socket = bind(setup.bind).map_err(|error| StartError::Bind(setup.bind, error))?;
    let config = NodeConfig {
        identity: setup.identity,
        name: setup.name,
        local: socket.local_addr()?,
        stun: servers.clone(),
        room: RoomConfig { open: setup.open, local: setup.local, ..RoomConfig::default() },
        unix_at_start: clock.unix_at_start(),
    };
    let mut node = Node::new(config, clock.now(), fresh_seed()?);
    if let Some(room) = last_room(&setup.state) {
        node.was_in(room);
    }
    if let Some(event) = node.poll_event() {
        ready(event);
    }
    if !setup.local {
        let public = public_address(&socket, &servers, &clock);
        node.set_public(clock.now(), public);
    }
    let disk = Disk(Worker::new(setup.dir, setup.state));
    let surroundings = surroundings::Config { map_ports: !setup.local };
    Ok(spawn_with_helper("anjer-net", Socket::from_std(socket)?, node, clock, disk, Some(surroundings))?)
}

impl Driven for Node {
    type Command = Command;
    type Event = Event;
    type Job = DiskRequest;
    type Done = DiskReply;

    fn handle_command(&mut self, now: Instant, command: Command) {
        Self::handle_command(self, now, command);
    }

    fn poll_event(&mut self) -> Option<Event> {
        Self::poll_event(self)
    }

    fn poll_job(&mut self) -> Option<DiskRequest> {
        self.poll_disk()
    }

    fn handle_done(&mut self, now: Instant, done: DiskReply) {
        self.handle_disk(now, done);
    }

    fn poll_request(&mut self) -> Option<SurroundingsRequest> {
        Self::poll_request(self)
    }

    fn handle_surroundings(&mut self, now: Instant, surroundings: Surroundings) {
        Self::handle_surroundings(self, now, surroundings);
    }

    fn is_finished(&self) -> bool {
        Self::is_finished(self)
    }
}

/// The disk's thread. What is unfinished when it ends is kept for the next time.
struct Disk(Worker);

impl Helper for Disk {
    type Job = DiskRequest;
    type Done = DiskReply;

    fn handle(&mut self, job: DiskRequest, done: &mut dyn FnMut(DiskReply)) {
        self.0.handle(job, &mut |reply| done(reply));
    }

    fn work(&mut self, done: &mut dyn FnMut(DiskReply)) -> bool {
        self.0.work(&mut |reply| done(reply))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.0.pause_all();
    }
}
