//! `send`: as fast as the path allows.

use crate::Failure;
use crate::args::SendOptions;
use crate::run::{self, CONNECT_TIMEOUT, Mode};
use crate::{process, report};
use anjer::driver::Clock;
use anjer::mrt::{ChannelId, Class, ConnectTo, ConnectionHandle, ConnectionStats, Endpoint, Event};
use anjer::time::{Duration, Instant};
use bytes::Bytes;
use serde::Serialize;
use std::net::SocketAddr;

/// What is handed to the transport at once, in bytes. Every hand-over is the same memory: nothing is copied before sealing.
const CHUNK: usize = 1 << 20;

/// How often the round-trip time is looked at.
const SAMPLE: Duration = Duration::from_millis(10);

/// Samples kept, at most: some hours.
const MAX_SAMPLES: usize = 1 << 20;

/// How long the last bytes may take to be acknowledged without any progress.
const STALL: Duration = Duration::from_secs(30);

pub(crate) fn main(options: &SendOptions) -> Result<(), Failure> {
    let clock = Clock::start();
    let mode = Send {
        server: options.server.address,
        known: options.server.known(),
        streams: options.streams,
        left: options.amount.bytes.unwrap_or(u64::MAX),
        bytes: options.amount.bytes,
        seconds: options.amount.seconds.map(Duration::from_secs_f64),
        skip: Duration::from_secs_f64(options.skip),
        chunk: Bytes::from(vec![0; CHUNK]),
        phase: Phase::Connecting,
        round_trips: Vec::new(),
        report: None,
    };
    let remote = run::start_client(options.server.address, options.congestion.into(), mode, clock)?;
    let result = remote.events().recv().map_err(|_| Failure::Lost("the network thread has ended".into()))?;
    let mut numbers = result.map_err(Failure::Lost)?;
    numbers.cpu_seconds = process::cpu_seconds();
    numbers.peak_rss_kib = process::peak_rss_kib();
    report::print(&numbers, options.server.json);
    remote.join().map_err(|_| Failure::Lost("the network thread panicked".into()))
}

/// The result.
#[derive(Debug, Serialize)]
struct Numbers {
    bytes: u64,
    seconds: f64,
    goodput_mbps: f64,
    handshake_ms: f64,
    rtt_min_ms: f64,
    rtt_p50_ms: f64,
    sent_packets: u64,
    sent_bytes: u64,
    lost_packets: u64,
    cpu_seconds: f64,
    peak_rss_kib: u64,
    mtu: u16,
}

/// Fills channels.
struct Send {
    server: SocketAddr,
    known: ConnectTo,
    streams: u32,
    /// Bytes that were not handed over yet.
    left: u64,
    bytes: Option<u64>,
    seconds: Option<Duration>,
    skip: Duration,
    chunk: Bytes,
    phase: Phase,
    round_trips: Vec<f64>,
    report: Option<Result<Numbers, String>>,
}

enum Phase {
    Connecting,
    Sending(Sending),
    Over,
}

struct Sending {
    connection: ConnectionHandle,
    channels: Vec<ChannelId>,
    since: Instant,
    next_sample: Instant,
    /// When the goodput began to count, and what was acknowledged by then.
    counted: Option<(Instant, u64)>,
    /// When something was acknowledged last, and how much in all.
    progress: (Instant, u64),
}

impl Mode for Send {
    type Report = Result<Numbers, String>;

    fn on_start(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Err(error) = endpoint.connect(now, self.server, self.known.clone(), CONNECT_TIMEOUT) {
            self.fail(&error);
        }
    }

    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::Connected { connection, .. } => self.begin(now, endpoint, connection),
            Event::Writable { channel, .. } => self.fill(endpoint, channel),
            Event::Lost { reason, .. } => self.fail(&reason),
            Event::Readable { .. }
            | Event::Moved { .. }
            | Event::PathUp { .. }
            | Event::PathFailed { .. }
            | Event::PathDown { .. }
            | Event::Unreachable { .. } => {}
        }
    }

    fn on_turn(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Phase::Sending(sending) = &mut self.phase else { return };
        let Some(stats) = endpoint.stats(now, sending.connection) else { return };
        if now >= sending.next_sample {
            sending.next_sample = now + SAMPLE;
            if stats.min_rtt.is_some() && self.round_trips.len() < MAX_SAMPLES {
                self.round_trips.push(report::milliseconds(stats.rtt));
            }
        }
        if stats.delivered_bytes > sending.progress.1 {
            sending.progress = (now, stats.delivered_bytes);
        }
        let elapsed = now.saturating_since(sending.since);
        if sending.counted.is_none() && elapsed >= self.skip {
            sending.counted = Some((now, stats.delivered_bytes));
        }
        let delivered_all = self.bytes.is_some_and(|bytes| stats.delivered_bytes >= bytes);
        if delivered_all || self.seconds.is_some_and(|seconds| elapsed >= seconds) {
            self.report = Some(Ok(numbers(now, sending, &stats, &mut self.round_trips)));
            endpoint.close(now, sending.connection, 0, "done");
            self.phase = Phase::Over;
        } else if now.saturating_since(sending.progress.0) > STALL {
            endpoint.close(now, sending.connection, 1, "stalled");
            self.fail(&"nothing was acknowledged for 30 seconds");
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Sending(sending) => Some(sending.next_sample),
            Phase::Connecting | Phase::Over => None,
        }
    }

    fn poll_report(&mut self) -> Option<Self::Report> {
        self.report.take()
    }

    fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.report.is_none()
    }
}

impl Send {
    fn begin(&mut self, now: Instant, endpoint: &mut Endpoint, connection: ConnectionHandle) {
        let mut channels = Vec::new();
        for _ in 0..self.streams {
            match endpoint.open_channel(connection, Class::Bulk) {
                Ok(channel) => channels.push(channel),
                Err(error) => return self.fail(&error),
            }
        }
        let opened = channels.clone();
        self.phase = Phase::Sending(Sending {
            connection,
            channels,
            since: now,
            next_sample: now,
            counted: None,
            progress: (now, 0),
        });
        for channel in opened {
            self.fill(endpoint, channel);
        }
        self.on_turn(now, endpoint);
    }

    /// Hands over as much as is taken.
    fn fill(&mut self, endpoint: &mut Endpoint, channel: ChannelId) {
        let Phase::Sending(sending) = &self.phase else { return };
        let connection = sending.connection;
        while self.left > 0 {
            let length = self.chunk.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let mut data = self.chunk.slice(..length);
            match endpoint.send(connection, channel, &mut data) {
                Ok(taken) => self.left -= taken as u64,
                Err(error) => return self.fail(&error),
            }
            if !data.is_empty() {
                return;
            }
        }
        for channel in &sending.channels {
            // The second time a channel is finished it says so; that is fine.
            let _ = endpoint.finish(connection, *channel);
        }
    }

    fn fail(&mut self, why: &impl std::fmt::Display) {
        if !matches!(self.phase, Phase::Over) {
            self.phase = Phase::Over;
            self.report = Some(Err(why.to_string()));
        }
    }
}

fn numbers(now: Instant, sending: &Sending, stats: &ConnectionStats, round_trips: &mut [f64]) -> Numbers {
    round_trips.sort_by(f64::total_cmp);
    // A run that ended before the skipped time counts as a whole.
    let counted = sending.counted.filter(|(since, _)| now > *since);
    let (since, before) = counted.unwrap_or((sending.since, 0));
    let seconds = now.saturating_since(since).as_secs_f64().max(1e-9);
    Numbers {
        bytes: stats.delivered_bytes,
        seconds: now.saturating_since(sending.since).as_secs_f64(),
        goodput_mbps: stats.delivered_bytes.saturating_sub(before) as f64 * 8.0 / 1e6 / seconds,
        handshake_ms: stats.handshake.map_or(0.0, report::milliseconds),
        rtt_min_ms: stats.min_rtt.map_or(0.0, report::milliseconds),
        rtt_p50_ms: report::percentile(round_trips, 50.0),
        sent_packets: stats.sent_packets,
        sent_bytes: stats.sent_bytes,
        lost_packets: stats.lost_packets,
        cpu_seconds: 0.0,
        peak_rss_kib: 0,
        mtu: stats.mtu,
    }
}
