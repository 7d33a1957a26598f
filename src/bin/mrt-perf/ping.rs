//! `ping`: how long a message takes, one at a time.

use crate::Failure;
use crate::args::PingOptions;
use crate::report::{self, percentile};
use crate::run::{self, CONNECT_TIMEOUT, Mode};
use crate::serve::ONE_WAY_HEADER;
use anjer::driver::Clock;
use anjer::mrt::recovery::congestion::Algorithm;
use anjer::mrt::{ChannelId, Class, ConnectTo, ConnectionHandle, Endpoint, Event, Received, SendError};
use anjer::time::Instant;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use std::net::SocketAddr;

/// Bytes of bulk data that are handed over at once under load.
const CHUNK: usize = 1 << 20;

/// Bytes of the answer to a one-way message.
const DELAY: usize = 8;

pub(crate) fn main(options: &PingOptions) -> Result<(), Failure> {
    let clock = Clock::start();
    let mode = Ping {
        clock,
        server: options.server.address,
        known: options.server.known(),
        size: usize::try_from(options.size).unwrap_or(usize::MAX),
        one_way: options.one_way,
        load: options.under_load.then(|| Bytes::from(vec![0; CHUNK])),
        left: options.count,
        channel: None,
        unsent: Bytes::new(),
        sent_at: Instant::ZERO,
        answer: Vec::new(),
        answered: 0,
        micros: Vec::with_capacity(options.count.min(1 << 20) as usize),
        over: false,
        report: None,
    };
    let remote = run::start_client(options.server.address, Algorithm::default(), mode, clock)?;
    let result = remote.events().recv().map_err(|_| Failure::Lost("the network thread has ended".into()))?;
    let mut micros = result.map_err(Failure::Lost)?;
    micros.sort_by(f64::total_cmp);
    let numbers = Numbers {
        p50_us: percentile(&micros, 50.0),
        p90_us: percentile(&micros, 90.0),
        p98_us: percentile(&micros, 98.0),
        p99_us: percentile(&micros, 99.0),
        p995_us: percentile(&micros, 99.5),
        max_us: percentile(&micros, 100.0),
        count: micros.len(),
    };
    report::print(&numbers, options.server.json);
    remote.join().map_err(|_| Failure::Lost("the network thread panicked".into()))
}

/// The result.
#[derive(Debug, Serialize)]
struct Numbers {
    p50_us: f64,
    p90_us: f64,
    p98_us: f64,
    p99_us: f64,
    p995_us: f64,
    max_us: f64,
    count: usize,
}

/// Sends a message when the one before is answered.
struct Ping {
    clock: Clock,
    server: SocketAddr,
    known: ConnectTo,
    size: usize,
    one_way: bool,
    /// What to send besides.
    load: Option<Bytes>,
    /// Messages that were not sent yet.
    left: u32,
    channel: Option<(ConnectionHandle, ChannelId)>,
    /// The rest of a message that found the send buffer full.
    unsent: Bytes,
    sent_at: Instant,
    /// The answer to a one-way message, as far as it came.
    answer: Vec<u8>,
    /// Bytes of the echo that came.
    answered: usize,
    micros: Vec<f64>,
    over: bool,
    report: Option<Result<Vec<f64>, String>>,
}

impl Mode for Ping {
    type Report = Result<Vec<f64>, String>;

    fn on_start(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Err(error) = endpoint.connect(now, self.server, self.known.clone(), CONNECT_TIMEOUT) {
            self.fail(&error);
        }
    }

    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        let result = match event {
            Event::Connected { connection, .. } => self.begin(now, endpoint, connection),
            Event::Readable { .. } => self.receive(now, endpoint),
            Event::Writable { connection, channel } if self.channel == Some((connection, channel)) => {
                self.send(endpoint)
            }
            Event::Writable { connection, channel } => self.fill(endpoint, connection, channel),
            Event::Lost { reason, .. } => return self.fail(&reason),
            Event::Moved { .. }
            | Event::PathUp { .. }
            | Event::PathFailed { .. }
            | Event::PathDown { .. }
            | Event::Unreachable { .. } => Ok(()),
        };
        if let Err(error) = result {
            self.fail(&error);
        }
    }

    fn poll_report(&mut self) -> Option<Self::Report> {
        self.report.take()
    }

    fn is_finished(&self) -> bool {
        self.over && self.report.is_none()
    }
}

impl Ping {
    fn begin(&mut self, now: Instant, endpoint: &mut Endpoint, connection: ConnectionHandle) -> Result<(), SendError> {
        let class = if self.one_way { Class::Chat } else { Class::Request };
        self.channel = Some((connection, endpoint.open_channel(connection, class)?));
        if self.load.is_some() {
            let bulk = endpoint.open_channel(connection, Class::Bulk)?;
            self.fill(endpoint, connection, bulk)?;
        }
        self.ask(now, endpoint)
    }

    /// The next message, or the end.
    fn ask(&mut self, now: Instant, endpoint: &mut Endpoint) -> Result<(), SendError> {
        let Some((connection, _)) = self.channel else { return Ok(()) };
        if self.left == 0 {
            endpoint.close(now, connection, 0, "done");
            self.over = true;
            self.report = Some(Ok(std::mem::take(&mut self.micros)));
            return Ok(());
        }
        self.left -= 1;
        self.sent_at = now;
        self.answered = 0;
        self.answer.clear();
        let mut message = BytesMut::with_capacity(self.size);
        if self.one_way {
            message.put_u32(u32::try_from(self.size.saturating_sub(ONE_WAY_HEADER)).unwrap_or(u32::MAX));
            message.put_u64(u64::try_from(self.clock.unix_at(now).as_nanos()).unwrap_or(u64::MAX));
        }
        message.resize(self.size, 0);
        self.unsent = message.freeze();
        self.send(endpoint)
    }

    fn send(&mut self, endpoint: &mut Endpoint) -> Result<(), SendError> {
        if let Some((connection, channel)) = self.channel
            && !self.unsent.is_empty()
        {
            endpoint.send(connection, channel, &mut self.unsent)?;
        }
        Ok(())
    }

    fn fill(&self, endpoint: &mut Endpoint, connection: ConnectionHandle, bulk: ChannelId) -> Result<(), SendError> {
        let Some(load) = &self.load else { return Ok(()) };
        loop {
            let mut data = load.clone();
            endpoint.send(connection, bulk, &mut data)?;
            if !data.is_empty() {
                return Ok(());
            }
        }
    }

    fn receive(&mut self, now: Instant, endpoint: &mut Endpoint) -> Result<(), SendError> {
        while let Some((connection, channel)) = self.channel
            && !self.over
        {
            match endpoint.receive(now, connection, channel) {
                Ok(Received::Bytes(bytes)) if self.one_way => {
                    self.answer.extend_from_slice(&bytes);
                    if let Some(nanos) = self.answer.first_chunk::<DELAY>() {
                        self.micros.push(u64::from_be_bytes(*nanos) as f64 / 1e3);
                        self.ask(now, endpoint)?;
                    }
                }
                Ok(Received::Bytes(bytes)) => {
                    self.answered += bytes.len();
                    if self.answered >= self.size {
                        self.micros.push(now.saturating_since(self.sent_at).as_nanos() as f64 / 1e3);
                        self.ask(now, endpoint)?;
                    }
                }
                Ok(Received::Nothing) => break,
                Ok(Received::Finished) | Err(_) => return Err(SendError::ChannelClosed),
            }
        }
        Ok(())
    }

    fn fail(&mut self, why: &impl std::fmt::Display) {
        if !self.over {
            self.over = true;
            self.report = Some(Err(why.to_string()));
        }
    }
}
