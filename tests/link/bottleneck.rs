//! The measuring stick: senders on one machine, their receiver on another, one link between them, and a ping beside them that feels the
//! queue. In virtual time; everything follows from the seed.

use crate::party::Party;
use anjer::mrt::recovery::congestion::Algorithm;
use anjer::mrt::{ChannelId, Class, Config, ConnectTo, ConnectionHandle, Endpoint, StaticKey};
use anjer::time::{Duration, Instant};
use bytes::Bytes;
use netem::{Host, Link, Network, Packet, Queue, Site};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const SENDERS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const RECEIVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// Of both ends of the ping.
const PING_PORT: u16 = 7;
const RECEIVER_PORT: u16 = 4000;
const FIRST_SENDER_PORT: u16 = 5000;

/// Bytes of a full datagram with its headers, and of the channel data in it, up to the first gibibyte of a channel.
const WIRE: f64 = 1500.0;
const PAYLOAD: f64 = 1435.0;

/// What is handed to a channel at once. Always the same memory.
const CHUNK: usize = 16 << 20;
/// How often is looked, and pinged.
const STEP: Duration = Duration::from_millis(10);

/// One that sends without end from `start` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) congestion: Algorithm,
    pub(crate) start: Duration,
}

/// What a run is made from.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Towards the receiver, and back.
    pub(crate) link: Link,
    pub(crate) back: Link,
    /// What the link becomes, and when, the earliest first. The queue is empty then.
    pub(crate) changes: Vec<(Duration, Link)>,
    pub(crate) senders: Vec<Sender>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Bytes of channel data that each sender's receiver read, in each step.
    received: Vec<Vec<u64>>,
    /// Datagrams' bytes that were sent, over all senders.
    sent: u64,
    /// What the queue and jitter added to each ping, and when it arrived.
    delays: Vec<(Duration, Duration)>,
}

impl Plan {
    /// One sender over this link, with as much loss, jitter and reordering on the way back and no limit to its rate.
    pub(crate) fn alone(congestion: Algorithm, link: Link) -> Self {
        let back = Link { rate: None, queue: Queue::Unlimited, blackouts: Vec::new(), ..link.clone() };
        Self { seed: 1, link, back, changes: Vec::new(), senders: vec![Sender { congestion, start: Duration::ZERO }] }
    }

    /// Two senders, the second three seconds later.
    pub(crate) fn beside(first: Algorithm, second: Algorithm, link: Link) -> Self {
        let mut plan = Self::alone(first, link);
        plan.senders.push(Sender { congestion: second, start: Duration::from_secs(3) });
        plan
    }

    /// Runs it.
    pub(crate) fn run(&self, length: Duration) -> Figures {
        let mut network = Network::new(self.seed, Link::default());
        let receiver = SocketAddr::new(RECEIVER, RECEIVER_PORT);
        let key = StaticKey::from_bytes([2; 32]);
        let server_key = key.public();
        let server = Party::new(Endpoint::new(Config::new(key, b"link"), [2; 32]), receiver);
        let senders = self.senders.iter().enumerate().map(|(number, sender)| {
            let own = u8::try_from(number + 10).unwrap();
            let config =
                Config { congestion: sender.congestion, ..Config::new(StaticKey::from_bytes([own; 32]), b"link") };
            let address = SocketAddr::new(SENDERS, FIRST_SENDER_PORT + u16::from(own));
            Party::new(Endpoint::new(config, [own; 32]), address)
        });
        let senders = Machine { parties: senders.collect(), ..Machine::default() };
        let receivers = Machine { parties: vec![server], ..Machine::default() };
        let (home, away) = (Site::machine(SENDERS), Site::machine(RECEIVER));
        network.add(home, senders);
        network.add(away, receivers);
        network.set_link(home, away, self.link.clone());
        network.set_link(away, home, self.back.clone());

        let chunk = Bytes::from(vec![0; CHUNK]);
        let mut channels: Vec<Option<(ConnectionHandle, ChannelId)>> = vec![None; self.senders.len()];
        let mut figures = Figures { received: vec![Vec::new(); self.senders.len()], ..Figures::default() };
        let mut changes = self.changes.iter();
        let mut change = changes.next();
        while network.now() < length {
            let now = network.now();
            if let Some((_, link)) = change.filter(|(at, _)| *at <= now) {
                network.set_link(home, away, link.clone());
                change = changes.next();
            }
            let machine = network.host_mut(home).unwrap();
            machine.pings.push(ping(now));
            for ((party, sender), channel) in machine.parties.iter_mut().zip(&self.senders).zip(&mut channels) {
                if now >= sender.start && now < sender.start + STEP {
                    let patience = Duration::from_secs(20);
                    let at = Instant::from_start(now);
                    party.endpoint.connect(at, receiver, ConnectTo::Known(server_key), patience).unwrap();
                }
                if let (None, Some(connection)) = (&channel, party.connection()) {
                    *channel = Some((connection, party.endpoint.open_channel(connection, Class::Bulk).unwrap()));
                }
                if let Some((connection, channel)) = *channel {
                    let left = party.outbox.get(&(connection, channel)).map_or(0, |outbox| outbox.bytes.len());
                    if left < CHUNK / 2 {
                        party.write(connection, channel, chunk.clone(), false);
                    }
                }
                party.events.retain(|event| matches!(event, anjer::mrt::Event::Connected { .. }));
            }
            network.run_for(STEP);
            let machine = network.host_mut(away).unwrap();
            let [server] = machine.parties.as_mut_slice() else { unreachable!("there is one receiver") };
            let connections = server.connections();
            server.events.retain(|event| matches!(event, anjer::mrt::Event::Connected { .. }));
            for (number, received) in figures.received.iter_mut().enumerate() {
                // Connections are made in the order of the senders.
                let inboxes = server.inbox.iter_mut().filter(|((at, _), _)| connections.get(number) == Some(at));
                received.push(inboxes.map(|(_, inbox)| core::mem::take(&mut inbox.bytes).len() as u64).sum());
            }
        }
        let pings = core::mem::take(&mut network.host_mut(away).unwrap().felt);
        figures.delays = pings.into_iter().map(|(at, took)| (at, took.saturating_sub(self.link.delay))).collect();
        figures.sent = network.counters(home, away).sent_bytes;
        figures
    }
}

impl Figures {
    /// Megabits of channel data a second that a sender got through, from one second to another.
    pub(crate) fn goodput(&self, sender: usize, from: f64, to: f64) -> f64 {
        let steps = |seconds: f64| (seconds / STEP.as_secs_f64()).round() as usize;
        let bytes: u64 = self.received[sender].iter().take(steps(to)).skip(steps(from)).sum();
        bytes as f64 * 8e-6 / (to - from)
    }

    /// Bytes sent for each byte of channel data that was read, without what headers take.
    pub(crate) fn overhead(&self) -> f64 {
        let received: u64 = self.received.iter().flatten().sum();
        // What is in the queue and on its way at the end counts as sent: less than a hundredth of any run here.
        self.sent as f64 * PAYLOAD / 1472.0 / received as f64
    }

    /// What the queue added to that part of the pings, in milliseconds.
    pub(crate) fn delay(&self, part: f64, from: f64) -> f64 {
        let mut delays: Vec<f64> = self
            .delays
            .iter()
            .filter(|(at, _)| at.as_secs_f64() >= from)
            .map(|(_, delay)| delay.as_secs_f64() * 1e3)
            .collect();
        delays.sort_unstable_by(f64::total_cmp);
        let last = delays.len().saturating_sub(1);
        delays.get((last as f64 * part) as usize).copied().unwrap_or(f64::INFINITY)
    }

    /// Jain's index of the first two senders from one second to another: 1 is equal, a half is all or nothing.
    pub(crate) fn jain(&self, from: f64, to: f64) -> f64 {
        let [a, b] = [0, 1].map(|sender| self.goodput(sender, from, to));
        (a + b).powi(2) / (2.0 * (a * a + b * b))
    }
}

/// Megabits of channel data a second that a link of this rate carries.
pub(crate) fn payload_limit(link: &Link) -> f64 {
    let lost = match link.loss {
        netem::Loss::Independent(probability) => probability,
        _ => 0.0,
    };
    link.rate.unwrap_or(0) as f64 / 1e6 * PAYLOAD / WIRE * (1.0 - lost)
}

/// So many megabits a second, this round trip and so much queue at most, both in milliseconds.
pub(crate) fn link(megabits: f64, round_trip: f64, queue: f64) -> Link {
    Link {
        rate: Some((megabits * 1e6) as u64),
        delay: Duration::from_secs_f64(round_trip / 2e3),
        queue: Queue::Bytes((megabits * 125.0 * queue) as usize),
        ..Link::default()
    }
}

/// Some parties at ports of their own, and a ping.
#[derive(Default)]
struct Machine {
    parties: Vec<Party>,
    /// Pings that are to leave.
    pings: Vec<Packet>,
    /// When each ping arrived here, and how long it took.
    felt: Vec<(Duration, Duration)>,
}

/// A packet that says when it left.
fn ping(now: Duration) -> Packet {
    let mut bytes = u64::try_from(now.as_nanos()).unwrap().to_be_bytes().to_vec();
    bytes.resize(36, 0);
    Packet::new(SocketAddr::new(SENDERS, PING_PORT), SocketAddr::new(RECEIVER, PING_PORT), bytes)
}

impl Host for Machine {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        if to.port() == PING_PORT {
            let left = bytes.first_chunk().map_or(0, |left| u64::from_be_bytes(*left));
            self.felt.push((now, now.saturating_sub(Duration::from_nanos(left))));
        } else if let Some(party) = self.parties.iter_mut().find(|party| party.address == to) {
            party.handle_datagram(now, from, to, bytes);
        }
    }

    fn handle_timeout(&mut self, now: Duration) {
        for party in &mut self.parties {
            if party.poll_timeout().is_some_and(|timeout| timeout <= now) {
                party.handle_timeout(now);
            }
        }
    }

    fn poll_transmit(&mut self, now: Duration) -> Option<Packet> {
        self.pings.pop().or_else(|| self.parties.iter_mut().find_map(|party| party.poll_transmit(now)))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.parties.iter().filter_map(Party::poll_timeout).min()
    }
}
