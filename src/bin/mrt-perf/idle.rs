//! `idle`: what connections cost that do nothing.

use crate::Failure;
use crate::args::IdleOptions;
use crate::run::{self, CONNECT_TIMEOUT, Command, Mode};
use crate::{process, report};
use anjer::driver::Clock;
use anjer::mrt::recovery::congestion::Algorithm;
use anjer::mrt::{ConnectTo, ConnectionHandle, Endpoint, Event};
use anjer::time::{Duration, Instant};
use crossbeam_channel::RecvTimeoutError;
use serde::Serialize;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

/// Handshakes under way at once: fewer than a server takes in before it asks for cookies.
const AT_ONCE: usize = 32;

pub(crate) fn main(options: &IdleOptions) -> Result<(), Failure> {
    let clock = Clock::start();
    let mode = Idle {
        server: options.server.address,
        known: options.server.known(),
        wanted: options.connections as usize,
        connecting: BTreeSet::new(),
        connected: BTreeSet::new(),
        reports: VecDeque::new(),
        over: false,
    };
    let remote = run::start_client(options.server.address, Algorithm::default(), mode, clock)?;
    match remote.events().recv() {
        Ok(Report::Holding) => {}
        Ok(Report::Failed(why)) => return Err(Failure::Lost(why)),
        Ok(Report::Left(_)) | Err(_) => return Err(Failure::Lost("the network thread has ended".into())),
    }
    let (began, cpu) = (clock.now(), process::cpu_seconds());
    match remote.events().recv_timeout(Duration::from_secs_f64(options.seconds)) {
        Err(RecvTimeoutError::Timeout) => {}
        Ok(Report::Failed(why)) => return Err(Failure::Lost(why)),
        Ok(_) | Err(RecvTimeoutError::Disconnected) => {
            return Err(Failure::Lost("the network thread has ended".into()));
        }
    }
    let cpu = process::cpu_seconds() - cpu;
    let seconds = clock.now().saturating_since(began).as_secs_f64().max(1e-9);
    let rss_kib = process::rss_kib();
    let _ = remote.send(Command::Stop);
    let Ok(Report::Left(connections)) = remote.events().recv() else {
        return Err(Failure::Lost("the connections could not be counted".into()));
    };
    report::print(&Numbers { connections, rss_kib, cpu_percent: cpu / seconds * 100.0 }, options.server.json);
    remote.join().map_err(|_| Failure::Lost("the network thread panicked".into()))
}

/// The result.
#[derive(Debug, Serialize)]
struct Numbers {
    connections: usize,
    rss_kib: u64,
    cpu_percent: f64,
}

/// To the main thread.
enum Report {
    /// All connections are there.
    Holding,
    /// They are not.
    Failed(String),
    /// How many were there to the end.
    Left(usize),
}

/// Opens connections and holds them.
struct Idle {
    server: SocketAddr,
    known: ConnectTo,
    wanted: usize,
    connecting: BTreeSet<ConnectionHandle>,
    connected: BTreeSet<ConnectionHandle>,
    reports: VecDeque<Report>,
    over: bool,
}

impl Mode for Idle {
    type Report = Report;

    fn on_start(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.connect(now, endpoint);
    }

    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::Connected { connection, .. } => {
                self.connecting.remove(&connection);
                self.connected.insert(connection);
                self.connect(now, endpoint);
                if self.connected.len() == self.wanted {
                    self.reports.push_back(Report::Holding);
                }
            }
            Event::Lost { connection, reason } => {
                let early = self.connecting.remove(&connection) || self.connected.remove(&connection);
                if early && !self.over {
                    self.fail(&reason);
                }
            }
            Event::Readable { .. }
            | Event::Writable { .. }
            | Event::Moved { .. }
            | Event::PathUp { .. }
            | Event::PathFailed { .. }
            | Event::PathDown { .. }
            | Event::Unreachable { .. } => {}
        }
    }

    fn on_stop(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.over = true;
        self.reports.push_back(Report::Left(self.connected.len()));
        for connection in &self.connected {
            endpoint.close(now, *connection, 0, "done");
        }
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    fn is_finished(&self) -> bool {
        self.over && self.reports.is_empty()
    }
}

impl Idle {
    fn connect(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while self.connecting.len() < AT_ONCE && self.connecting.len() + self.connected.len() < self.wanted {
            match endpoint.connect(now, self.server, self.known.clone(), CONNECT_TIMEOUT) {
                Ok(connection) => self.connecting.insert(connection),
                Err(error) => return self.fail(&error),
            };
        }
    }

    fn fail(&mut self, why: &impl std::fmt::Display) {
        self.over = true;
        self.reports.push_back(Report::Failed(why.to_string()));
    }
}
