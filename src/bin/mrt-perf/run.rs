//! A subcommand's endpoint, as the driver sees it.

use crate::Failure;
use anjer::driver::{Clock, Driven, Remote, Socket, spawn};
use anjer::machine::{Datagram, Machine, Transmit};
use anjer::mrt::recovery::congestion::Algorithm;
use anjer::mrt::{Config, Endpoint, Event, StaticKey};
use anjer::time::{Duration, Instant};
use rand::TryRng;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bound into every handshake: only `mrt-perf` talks to `mrt-perf`.
const APPLICATION: &[u8] = b"mrt-perf 1";

/// How long a connection may take to come about.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a subcommand does with its endpoint.
pub(crate) trait Mode: Send {
    /// What it tells the main thread.
    type Report: Send;

    /// The endpoint is there.
    fn on_start(&mut self, _now: Instant, _endpoint: &mut Endpoint) {}

    /// Something happened to a connection.
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event);

    /// Time passed; datagrams may have come.
    fn on_turn(&mut self, _now: Instant, _endpoint: &mut Endpoint) {}

    /// When `on_turn` is to be called at the latest.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The main thread has had enough.
    fn on_stop(&mut self, _now: Instant, _endpoint: &mut Endpoint) {}

    /// The next report.
    fn poll_report(&mut self) -> Option<Self::Report> {
        None
    }

    /// Whether the mode wants nothing more.
    fn is_finished(&self) -> bool {
        false
    }
}

/// From the main thread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    /// Enough.
    Stop,
}

/// An endpoint and what a subcommand does with it.
struct Run<M> {
    endpoint: Endpoint,
    mode: M,
    started: bool,
    now: Instant,
}

/// Binds, and runs `mode` on the network thread.
pub(crate) fn start<M: Mode + 'static>(
    bind: SocketAddr,
    congestion: Algorithm,
    key: StaticKey,
    mode: M,
    clock: Clock,
) -> Result<Remote<Command, M::Report>, Failure> {
    let socket = Socket::bind(bind).map_err(|error| Failure::Bind(bind, error))?;
    let config = Config { congestion, ..Config::new(key, APPLICATION) };
    let endpoint = Endpoint::new(config, random()?);
    let run = Run { endpoint, mode, started: false, now: Instant::ZERO };
    Ok(spawn("anjer-net", socket, run, clock)?)
}

/// As [`start`], to talk to `server` under a key of the moment.
pub(crate) fn start_client<M: Mode + 'static>(
    server: SocketAddr,
    congestion: Algorithm,
    mode: M,
    clock: Clock,
) -> Result<Remote<Command, M::Report>, Failure> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    start(any, congestion, StaticKey::from_bytes(random()?), mode, clock)
}

/// Secret random bytes from the system.
pub(crate) fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

impl<M: Mode> Machine for Run<M> {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.now = now;
        self.endpoint.handle_datagram(now, datagram);
    }

    fn handle_unreachable(&mut self, now: Instant, to: SocketAddr) {
        self.now = now;
        self.endpoint.handle_unreachable(now, to);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.endpoint.handle_timeout(now);
        if !self.started {
            self.started = true;
            self.mode.on_start(now, &mut self.endpoint);
        }
        self.mode.on_turn(now, &mut self.endpoint);
    }

    fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        self.endpoint.poll_transmit(now, buffer)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if !self.started {
            return Some(Instant::ZERO);
        }
        [self.endpoint.poll_timeout(), self.mode.poll_timeout()].into_iter().flatten().min()
    }
}

impl<M: Mode> Driven for Run<M> {
    type Command = Command;
    type Event = M::Report;
    type Job = Infallible;
    type Done = Infallible;

    fn handle_command(&mut self, now: Instant, Command::Stop: Command) {
        self.now = now;
        self.mode.on_stop(now, &mut self.endpoint);
    }

    /// Once a turn the endpoint's events are dealt with, all datagrams of the turn together.
    fn poll_event(&mut self) -> Option<M::Report> {
        let mut happened = false;
        while let Some(event) = self.endpoint.poll_event() {
            happened = true;
            self.mode.on_event(self.now, &mut self.endpoint, event);
        }
        if happened {
            self.mode.on_turn(self.now, &mut self.endpoint);
        }
        self.mode.poll_report()
    }

    fn is_finished(&self) -> bool {
        self.mode.is_finished() && self.endpoint.is_quiet()
    }
}
