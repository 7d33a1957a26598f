//! What the scenarios share: the base link, a stream that is checked as it arrives, and a transfer with faults on the way.

use crate::pair::{CLIENT, Ends, MS, Pair, Plan, SERVER, pattern};
use crate::party::{Inbox, Party};
use anjer::mrt::{Class, ConnectTo, ConnectionHandle};
use anjer::time::Duration;
use bytes::Bytes;
use netem::{Link, Queue};
use std::net::SocketAddr;

/// How often a transfer is looked at, in virtual time.
const STEP: Duration = Duration::from_millis(10);

/// The link of the QUIC interop runner: 15 ms each way, 10 Mbit/s, 25 packets of queue.
pub(crate) fn base_link() -> Link {
    Link { rate: Some(10_000_000), queue: Queue::Packets(25), delay: 15 * MS, ..Link::default() }
}

/// Bytes that differ everywhere, to be sent and to be expected without a copy.
pub(crate) fn bytes(salt: u64, length: usize) -> Bytes {
    Bytes::from(pattern(salt, length))
}

/// The oracle for a stream: what arrived is what was sent, byte for byte and in order. It keeps nothing of what it has seen.
pub(crate) struct Stream {
    expected: Bytes,
    pub(crate) got: usize,
}

impl Stream {
    pub(crate) const fn new(expected: Bytes) -> Self {
        Self { expected, got: 0 }
    }

    /// Takes what came since.
    pub(crate) fn take(&mut self, inbox: &mut Inbox) -> Result<(), String> {
        if let Some(error) = inbox.error {
            return Err(format!("after {} bytes: {error}", self.got));
        }
        let came = core::mem::take(&mut inbox.bytes);
        let expected = self.expected.get(self.got..self.got + came.len());
        let expected = expected.ok_or_else(|| format!("more than the {} bytes that were sent", self.expected.len()))?;
        if expected != came {
            let at = expected.iter().zip(&came).position(|(expected, came)| expected != came).unwrap_or_default();
            return Err(format!("the byte at {} differs", self.got + at));
        }
        self.got += came.len();
        if inbox.finished && self.got < self.expected.len() {
            return Err(format!("it ended after {} of {} bytes", self.got, self.expected.len()));
        }
        Ok(())
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The client, to the server.
    Up,
    /// The server, to the client.
    Down,
}

/// A connected pair, whose client may move.
pub(crate) struct Course {
    pub(crate) pair: Pair,
    pub(crate) ends: Ends,
    /// Where the client is.
    pub(crate) home: SocketAddr,
}

impl Course {
    pub(crate) fn new(plan: Plan) -> Self {
        Self::over(Pair::new(plan))
    }

    pub(crate) fn over(mut pair: Pair) -> Self {
        let ends = pair.connected();
        Self { pair, ends, home: CLIENT }
    }

    /// Connects with this patience, where the links are too long for the usual one.
    pub(crate) fn patiently(plan: Plan, patience: Duration) -> Result<Self, String> {
        let mut pair = Pair::new(plan);
        let (now, to) = (pair.now(), ConnectTo::Known(pair.server_key));
        pair.client().endpoint.connect(now, SERVER, to, patience).unwrap();
        let connected =
            pair.run_until(patience, |client, server| client.connection().is_some() && server.connection().is_some());
        if !connected {
            return Err(format!("not connected: {pair:?}"));
        }
        let ends = Ends { client: pair.client().connection().unwrap(), server: pair.server().connection().unwrap() };
        Ok(Self { pair, ends, home: CLIENT })
    }

    pub(crate) fn now(&self) -> Duration {
        self.pair.network.now()
    }

    pub(crate) fn party(&mut self, server: bool) -> (&mut Party, ConnectionHandle) {
        let (address, connection) = if server { (SERVER, self.ends.server) } else { (self.home, self.ends.client) };
        (self.pair.network.host_mut(address).unwrap(), connection)
    }

    /// The client's packets come from here on from another address, and nothing reaches it at the old one: a NAT forgot it.
    pub(crate) fn rebind(&mut self, address: SocketAddr) {
        let mut client = self.pair.network.crash(self.home).unwrap();
        client.address = address;
        self.pair.network.add(address, client);
        self.home = address;
    }

    /// Replaces the link both ways.
    pub(crate) fn relink(&mut self, link: &Link) {
        self.pair.network.set_link(self.home, SERVER, link.clone());
        self.pair.network.set_link(SERVER, self.home, link.clone());
    }

    /// Sends `sent` and compares what arrives with `expected`, at most for `within`. `each` is told, every ten milliseconds, how much
    /// has arrived, and does to the network what the scenario wants. Returns how long it took.
    pub(crate) fn carry(
        &mut self,
        way: Way,
        sent: Bytes,
        expected: Bytes,
        within: Duration,
        mut each: impl FnMut(&mut Self, usize) -> Result<(), String>,
    ) -> Result<Duration, String> {
        let (began, total) = (self.now(), expected.len());
        let mut stream = Stream::new(expected);
        let (sender, connection) = self.party(way == Way::Down);
        let channel = sender.say(connection, Class::Bulk, sent);
        loop {
            self.pair.network.run_for(STEP);
            let now = self.now();
            let (receiver, connection) = self.party(way == Way::Up);
            let inbox = receiver.inbox.entry((connection, channel)).or_default();
            stream.take(inbox)?;
            if inbox.finished {
                return Ok(inbox.at.since_start() - began);
            }
            // What the parties remember of every wake-up would be the largest part of a long run.
            for server in [false, true] {
                let (party, _) = self.party(server);
                party.events.retain(|event| {
                    !matches!(event, anjer::mrt::Event::Readable { .. } | anjer::mrt::Event::Writable { .. })
                });
                if let [reason, ..] = party.losses().as_slice() {
                    return Err(format!("lost after {} bytes, {now:?}: {reason}", stream.got));
                }
            }
            if now - began > within {
                return Err(format!("{} of {total} bytes after {within:?}; {:?}", stream.got, self.pair));
            }
            each(self, stream.got)?;
        }
    }
}

/// Megabits of payload a second.
pub(crate) fn goodput(bytes: usize, took: Duration) -> f64 {
    bytes as f64 * 8.0 / 1e6 / took.as_secs_f64().max(1e-9)
}
