//! `serve`: the other end of everything.

use crate::Failure;
use crate::args::ServeOptions;
use crate::report;
use crate::run::{self, Mode};
use anjer::driver::Clock;
use anjer::driver::fresh_seed;
use anjer::mrt::recovery::congestion::Algorithm;
use anjer::mrt::{ChannelId, Class, ConnectionHandle, Endpoint, Event, Received, StaticKey};
use anjer::time::Instant;
use bytes::{BufMut, Bytes, BytesMut};
use data_encoding::HEXLOWER;
use std::collections::BTreeMap;

/// Bytes before each one-way message: its length without them, and when it left (Unix time in nanoseconds), both big-endian.
pub(crate) const ONE_WAY_HEADER: usize = 12;

pub(crate) fn main(options: &ServeOptions) -> Result<(), Failure> {
    let key = StaticKey::from_bytes(fresh_seed()?);
    let public = key.public();
    let clock = Clock::start();
    let server = Serve { clock, answering: BTreeMap::new() };
    let remote = run::start(options.listen, Algorithm::default(), key, server, clock)?;
    report::line(&HEXLOWER.encode(&public.0));
    report::line(&format!("listening on {}", remote.local_addr()));
    remote.join().map_err(|_| Failure::Lost("the network thread panicked".into()))
}

/// Discards, echoes, measures.
struct Serve {
    clock: Clock,
    /// Channels that get answers. A connection's are forgotten with it; their number is the endpoint's limit.
    answering: BTreeMap<(ConnectionHandle, ChannelId), Answering>,
}

/// An answer on its way.
#[derive(Default)]
struct Answering {
    /// What the send buffer had no room for. Nothing is received while there is any.
    rest: Bytes,
    one_way: OneWay,
}

/// Where we are in a one-way channel.
#[derive(Default)]
struct OneWay {
    header: Vec<u8>,
    /// Bytes of the message that are still to come.
    left: usize,
}

impl Mode for Serve {
    type Report = ();

    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::Readable { connection, channel } | Event::Writable { connection, channel } => {
                match channel.class() {
                    Class::Bulk => discard(now, endpoint, connection, channel),
                    Class::Request | Class::Chat => self.answer(now, endpoint, connection, channel),
                    Class::Control => {}
                }
            }
            Event::Lost { connection, .. } => self.answering.retain(|(other, _), _| *other != connection),
            Event::Connected { .. }
            | Event::Moved { .. }
            | Event::PathUp { .. }
            | Event::PathFailed { .. }
            | Event::PathDown { .. }
            | Event::Unreachable { .. } => {}
        }
    }
}

/// Reads until there is nothing.
fn discard(now: Instant, endpoint: &mut Endpoint, connection: ConnectionHandle, channel: ChannelId) {
    loop {
        match endpoint.receive(now, connection, channel) {
            Ok(Received::Bytes(_)) => {}
            Ok(Received::Finished) => {
                let _ = endpoint.finish(connection, channel);
                break;
            }
            Ok(Received::Nothing) | Err(_) => break,
        }
    }
}

impl Serve {
    /// Answers as long as the answers are taken.
    fn answer(&mut self, now: Instant, endpoint: &mut Endpoint, connection: ConnectionHandle, channel: ChannelId) {
        let answering = self.answering.entry((connection, channel)).or_default();
        loop {
            if !answering.rest.is_empty() && endpoint.send(connection, channel, &mut answering.rest).is_err() {
                self.answering.remove(&(connection, channel));
                return;
            }
            if !answering.rest.is_empty() {
                return;
            }
            match endpoint.receive(now, connection, channel) {
                Ok(Received::Bytes(bytes)) if channel.class() == Class::Request => answering.rest = bytes,
                Ok(Received::Bytes(bytes)) => {
                    let arrived = u64::try_from(self.clock.unix_at(now).as_nanos()).unwrap_or(u64::MAX);
                    answering.rest = answering.one_way.delays(arrived, &bytes);
                }
                Ok(Received::Nothing) => return,
                Ok(Received::Finished) | Err(_) => {
                    let _ = endpoint.finish(connection, channel);
                    self.answering.remove(&(connection, channel));
                    return;
                }
            }
        }
    }
}

impl OneWay {
    /// For each message that `bytes` complete: how long it was on its way, in nanoseconds, 8 bytes big-endian.
    fn delays(&mut self, arrived: u64, mut bytes: &[u8]) -> Bytes {
        let mut delays = BytesMut::new();
        loop {
            let missing = ONE_WAY_HEADER - self.header.len();
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.header.extend_from_slice(taken);
            let Some((length, sent)) = self.header.split_first_chunk::<4>() else { break };
            let Ok(sent) = <[u8; 8]>::try_from(sent) else { break };
            if !taken.is_empty() {
                self.left = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            }
            let skipped = self.left.min(rest.len());
            self.left -= skipped;
            bytes = rest.get(skipped..).unwrap_or_default();
            if self.left > 0 {
                break;
            }
            delays.put_u64(arrived.saturating_sub(u64::from_be_bytes(sent)));
            self.header.clear();
        }
        delays.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sent: u64, length: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(&sent.to_be_bytes());
        bytes.resize(ONE_WAY_HEADER + length, 7);
        bytes
    }

    /// However the stream is cut into pieces, each message is measured once, when its last byte comes.
    #[test]
    fn every_message_is_measured_once_however_it_is_cut() {
        let stream = [message(10, 0), message(20, 5), message(2000, 1)].concat();
        for size in 1..=stream.len() {
            let mut one_way = OneWay::default();
            let delays: Vec<u8> = stream.chunks(size).flat_map(|piece| one_way.delays(1000, piece).to_vec()).collect();
            // The third seems to come before it left: the clocks differ.
            assert_eq!(delays, [990_u64, 980, 0].map(u64::to_be_bytes).concat(), "pieces of {size}");
        }
    }
}
