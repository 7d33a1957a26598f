//! The endpoint and who waits for what, on the network thread.

use super::connection::{Ended, Fresh, Shared};
use super::line::{Line, MAX_PIECES, Reply};
use super::open::{CONNECT_TIMEOUT, CouldNotConnect};
use crate::driver::Driven;
use crate::machine::{Datagram, Machine, Transmit};
use crate::mrt::{Class, CloseReason, Config, ConnectTo, ConnectionHandle, Endpoint, Event, PublicKey};
use crate::time::{Duration, Instant};
use bytes::Bytes;
use crossbeam_channel::{Sender, bounded};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

/// How long a connection that is closed waits for the other side to take what was sent.
const LINGER: Duration = Duration::from_secs(10);

/// Everything was sent and taken.
const DONE: u32 = 0;
/// Too many wait to be accepted.
const BUSY: u32 = 1;
/// The connection was dropped.
const FORGOTTEN: u32 = 2;

/// A verb on its way to the network thread.
#[derive(Debug)]
pub(super) enum Command {
    Connect {
        addr: SocketAddr,
        to: ConnectTo,
        reply: Sender<Result<Fresh, CouldNotConnect>>,
    },
    Send {
        connection: ConnectionHandle,
        data: Bytes,
        reply: Reply,
    },
    Broadcast {
        data: Bytes,
        reply: Reply,
    },
    /// There is room in the inbox again.
    Resume(ConnectionHandle),
    /// `reply` is dropped when it is done.
    Close {
        connection: ConnectionHandle,
        reply: Sender<()>,
    },
    /// Nobody holds it any more.
    Forget(ConnectionHandle),
    /// Close everything, then end.
    Quit,
}

/// The endpoint and its connections.
pub(super) struct Hub {
    endpoint: Endpoint,
    /// The latest time we were told.
    now: Instant,
    lines: BTreeMap<ConnectionHandle, Line>,
    /// Those that are being made, and who waits for them.
    connecting: BTreeMap<ConnectionHandle, Sender<Result<Fresh, CouldNotConnect>>>,
    /// Those of `lines` that we close.
    closing: BTreeSet<ConnectionHandle>,
    accepted: Sender<Fresh>,
    quitting: bool,
}

impl Hub {
    pub(super) fn new(config: Config, seed: [u8; 32], accepted: Sender<Fresh>) -> Self {
        Self {
            endpoint: Endpoint::new(config, seed),
            now: Instant::ZERO,
            lines: BTreeMap::new(),
            connecting: BTreeMap::new(),
            closing: BTreeSet::new(),
            accepted,
            quitting: false,
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected { connection, route, key, initiator, .. } => {
                // Nobody asks for a relayed one here.
                if let Some(remote) = route.remote() {
                    self.on_connected(connection, remote, key, initiator);
                }
            }
            Event::Readable { connection, channel } => {
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.on_readable(self.now, &mut self.endpoint, channel);
                }
            }
            Event::Writable { connection, .. } => {
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.push(&mut self.endpoint);
                }
            }
            Event::Lost { connection, reason } => {
                self.closing.remove(&connection);
                if let Some(reply) = self.connecting.remove(&connection) {
                    let _ = reply.try_send(Err(reason.clone().into()));
                }
                if let Some(line) = self.lines.remove(&connection) {
                    line.end(&Ended(reason));
                }
            }
            Event::Moved { .. }
            | Event::PathUp { .. }
            | Event::PathFailed { .. }
            | Event::PathDown { .. }
            | Event::Unreachable { .. } => {}
        }
    }

    fn on_connected(&mut self, handle: ConnectionHandle, remote: SocketAddr, key: PublicKey, initiator: bool) {
        let waiting = self.connecting.remove(&handle);
        // A connection that was just made has its first channel.
        let Ok(out) = self.endpoint.open_channel(handle, Class::Bulk) else {
            return self.endpoint.close(self.now, handle, BUSY, "no channel");
        };
        let (inbox_in, inbox) = bounded(MAX_PIECES);
        let shared = Arc::new(Shared::default());
        let fresh = Fresh { handle, remote, key, inbox, shared: Arc::clone(&shared) };
        let taken = match waiting {
            Some(reply) => reply.try_send(Ok(fresh)).is_ok(),
            None => !self.quitting && self.accepted.try_send(fresh).is_ok(),
        };
        if taken {
            self.lines.insert(handle, Line::new(handle, initiator, out, inbox_in, shared));
        } else {
            self.endpoint.close(self.now, handle, BUSY, "busy");
        }
    }

    fn close(&mut self, handle: ConnectionHandle, waiting: Option<Sender<()>>) {
        if let Some(line) = self.lines.get_mut(&handle) {
            line.close(self.now, &mut self.endpoint, self.now + LINGER, waiting);
            self.closing.insert(handle);
        }
    }

    /// Ends those that can end.
    fn end_closed(&mut self) {
        let (lines, now) = (&self.lines, self.now);
        let closed: Vec<ConnectionHandle> = self
            .closing
            .iter()
            .filter(|handle| lines.get(handle).is_none_or(|line| line.is_closed(now)))
            .copied()
            .collect();
        for handle in closed {
            self.closing.remove(&handle);
            self.endpoint.close(self.now, handle, DONE, "closed");
        }
    }

    /// Deals with what the endpoint tells.
    fn pump(&mut self) {
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                self.on_event(event);
            }
            if self.closing.is_empty() {
                return;
            }
            let before = self.closing.len();
            self.end_closed();
            if self.closing.len() == before {
                return;
            }
        }
    }
}

impl Machine for Hub {
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
    }

    fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        self.endpoint.poll_transmit(now, buffer)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let closing = self.closing.iter().filter_map(|handle| self.lines.get(handle)?.deadline());
        closing.chain(self.endpoint.poll_timeout()).min()
    }
}

impl Driven for Hub {
    type Command = Command;
    type Event = Infallible;
    type Job = Infallible;
    type Done = Infallible;

    fn handle_command(&mut self, now: Instant, command: Command) {
        self.now = now;
        match command {
            Command::Connect { addr, to, reply } => match self.endpoint.connect(now, addr, to, CONNECT_TIMEOUT) {
                Ok(handle) => {
                    self.connecting.insert(handle, reply);
                }
                Err(error) => {
                    let _ = reply.try_send(Err(error.into()));
                }
            },
            Command::Send { connection, data, reply } => match self.lines.get_mut(&connection) {
                Some(line) => line.send(&mut self.endpoint, data, reply),
                // It ended: dropping the reply says so.
                None => drop(reply),
            },
            Command::Broadcast { data, reply } => {
                for line in self.lines.values_mut() {
                    line.send(&mut self.endpoint, data.clone(), reply.clone());
                }
            }
            Command::Resume(connection) => {
                if let Some(line) = self.lines.get_mut(&connection) {
                    line.pull(now, &mut self.endpoint);
                }
            }
            Command::Close { connection, reply } => self.close(connection, Some(reply)),
            Command::Forget(connection) => {
                // One that is closing has been let go of already, and ends by itself.
                if !self.closing.contains(&connection) && self.lines.contains_key(&connection) {
                    self.endpoint.close(now, connection, FORGOTTEN, "dropped");
                }
            }
            Command::Quit => {
                self.quitting = true;
                for (handle, reply) in std::mem::take(&mut self.connecting) {
                    let _ = reply.try_send(Err(CloseReason::Local.into()));
                    self.endpoint.close(now, handle, DONE, "closed");
                }
                let all: Vec<ConnectionHandle> = self.lines.keys().copied().collect();
                all.into_iter().for_each(|handle| self.close(handle, None));
            }
        }
    }

    /// Tells nothing: what happens goes to whoever waits for it.
    fn poll_event(&mut self) -> Option<Infallible> {
        self.pump();
        None
    }

    fn is_finished(&self) -> bool {
        self.quitting && self.lines.is_empty() && self.endpoint.is_quiet()
    }
}

#[cfg(test)]
mod tests {
    use crate::mrt::handle::{CouldNotConnect, Ended, Mrt, open::MAX_WAITING};
    use crate::mrt::{CloseReason, Config, ConnectError, ConnectTo, StaticKey};
    use std::net::SocketAddr;
    use std::thread::spawn;

    fn open(seed: u8) -> Mrt {
        let config = Config::new(StaticKey::from_bytes([seed; 32]), b"test");
        Mrt::open("127.0.0.1:0".parse().unwrap(), config, [seed; 32]).unwrap()
    }

    /// Bytes that differ everywhere.
    fn stream(length: usize) -> Vec<u8> {
        (0_u32..).flat_map(|word| word.wrapping_mul(2_654_435_761).to_be_bytes()).take(length).collect()
    }

    #[test]
    fn what_is_sent_is_received_and_closing_loses_none_of_it() {
        let (alice, bob) = (open(1), open(2));
        let address = bob.local_addr();
        let known = ConnectTo::Known(bob.public_key());
        let sender = spawn(move || {
            let connection = alice.connect(address, known).unwrap();
            for piece in stream(20_000_000).chunks(70_001) {
                connection.send(piece).unwrap();
            }
            connection.close();
            alice.close();
        });
        let mut connection = bob.accept1().unwrap();
        let mut received = Vec::new();
        while let Some(bytes) = connection.receive1().unwrap() {
            assert!(!bytes.is_empty());
            received.extend_from_slice(&bytes);
        }
        assert!(received == stream(20_000_000));
        sender.join().unwrap();
        bob.close();
    }

    /// Both directions at once, and the one that accepted speaks first.
    #[test]
    fn whoever_accepts_may_speak_first() {
        let (alice, bob) = (open(3), open(4));
        let mut to_bob = alice.connect(bob.local_addr(), ConnectTo::Unknown).unwrap();
        let mut to_alice = bob.accept1().unwrap();
        assert_eq!((to_bob.public_key(), to_alice.public_key()), (bob.public_key(), alice.public_key()));
        assert_eq!(to_bob.remote_addr(), bob.local_addr());
        to_alice.send(b"welcome").unwrap();
        assert_eq!(to_bob.receive1().unwrap().as_deref(), Some(&b"welcome"[..]));
        to_bob.send(b"thanks").unwrap();
        assert_eq!(to_alice.receive1().unwrap().as_deref(), Some(&b"thanks"[..]));
        // Both close at the same time: neither waits for the other's reader, who is gone.
        let closing = spawn(move || to_bob.close());
        to_alice.close();
        closing.join().unwrap();
        alice.close();
        bob.close();
    }

    #[test]
    fn a_broadcast_reaches_everyone_and_accept_all_waits_for_nobody() {
        let host = open(5);
        assert!(host.accept_all().is_empty());
        let guests: Vec<Mrt> = (6..9).map(open).collect();
        let mut ends: Vec<_> =
            guests.iter().map(|guest| guest.connect(host.local_addr(), ConnectTo::Unknown).unwrap()).collect();
        let mut accepted = vec![host.accept1().unwrap()];
        while accepted.len() < guests.len() {
            accepted.extend(host.accept_all());
        }
        assert_eq!(host.broadcast(b"all"), guests.len());
        for end in &mut ends {
            assert_eq!(end.receive1().unwrap().as_deref(), Some(&b"all"[..]));
        }
        // Closing the host closes them all, and they see an end rather than a mishap.
        let closing = spawn(move || host.close());
        for end in &mut ends {
            assert_eq!(end.receive1(), Ok(None));
        }
        closing.join().unwrap();
        drop(accepted);
    }

    #[test]
    fn a_dropped_connection_is_an_end_without_everything() {
        let (alice, bob) = (open(10), open(11));
        let mut to_bob = alice.connect(bob.local_addr(), ConnectTo::Unknown).unwrap();
        drop(bob.accept1().unwrap());
        let Err(Ended(CloseReason::Remote { code, .. })) = to_bob.receive1() else { panic!("still there") };
        assert_eq!(code, super::FORGOTTEN);
        assert!(to_bob.send(b"?").is_err());
    }

    #[test]
    fn connecting_to_nobody_or_oneself_fails_with_the_reason() {
        let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let alice = open(12);
        let nobody = alice.connect(gone, ConnectTo::Unknown).unwrap_err();
        assert!(matches!(nobody, CouldNotConnect::Failed(CloseReason::Refused | CloseReason::NoAnswer)), "{nobody}");
        let no_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let bad = CouldNotConnect::NotTried(ConnectError::BadAddress);
        assert_eq!(alice.connect(no_port, ConnectTo::Unknown).unwrap_err(), bad);
    }

    /// Nobody accepts: those who wait are bounded, and whoever comes later is told.
    #[test]
    fn more_than_may_wait_are_turned_away() {
        let (host, guest) = (open(14), open(15));
        let mut connections: Vec<_> = (0..=MAX_WAITING)
            .map(|_| guest.connect(host.local_addr(), ConnectTo::Known(host.public_key())).unwrap())
            .collect();
        let Err(Ended(CloseReason::Remote { code, .. })) = connections.pop().unwrap().receive1() else {
            panic!("not turned away")
        };
        assert_eq!(code, super::BUSY);
        assert_eq!(host.accept_all().len(), MAX_WAITING);
    }
}
