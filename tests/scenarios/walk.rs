//! Random walks: two parties do whatever an application may do, on a network that does whatever networks do, and in the end
//! everything that was not given up has arrived, everything is quiet, and nothing is held.
//!
//! A walk is a list of named steps, drawn from its seed. A failure prints both; a list that failed is pasted in as a story.

use crate::pair::{CLIENT, Ends, MS, Pair, Plan, SERVER, pattern, secs};
use crate::party::Party;
use crate::scenario::{Scenario, Tally};
use anjer::machine::Machine;
use anjer::mrt::{ChannelId, Class, CloseReason, ConnectionHandle, Event, SendError};
use anjer::time::Duration;
use bytes::Bytes;
use netem::Link;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Walks in an ordinary run. More: `MRT_WALKS=1000000 cargo test --test scenarios walk`; others: `MRT_SEED=10000`.
const WALKS: u64 = 10_000;

pub(crate) const SCENARIOS: [Scenario; 2] = [
    Scenario {
        asked: "10,000 a change (noq)",
        held: "10,000, or MRT_WALKS: all arrives, both idle, allowed reasons",
        shares: 64,
        bar: |tally| match tally.runs {
            runs if runs == number("MRT_WALKS", WALKS) => Ok(()),
            runs => Err(format!("{runs} walks")),
        },
        ..Scenario::new("walk", "random operations on a pair", |share| {
            let first = number("MRT_SEED", 0);
            let (mut tally, mut compared) = (Tally::default(), 0);
            for seed in share.of(number("MRT_WALKS", WALKS)) {
                let (bytes, took) = walk(first + seed, false);
                compared += bytes as u64;
                tally.enter(Ok(took));
            }
            if compared < LEAST_COMPARED * tally.runs {
                tally.alarms.push(format!("{compared} bytes went through in {} walks: nothing was shown", tally.runs));
            }
            tally
        })
    },
    Scenario::planted("walk", "a byte of what was said is remembered wrongly", "is not what was sent", |_| {
        let mut tally = Tally::default();
        for seed in 0..10 {
            tally.enter(Ok(walk(seed, true).1));
        }
        tally
    }),
];

/// Bytes that have to be compared in a walk, on the average.
const LEAST_COMPARED: u64 = 1000;

/// A number from the environment.
fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

/// One end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Client,
    Server,
}

/// One thing that happens. Channels are named by a number, taken modulo how many there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open(Side, Class),
    Write(Side, usize, usize),
    Finish(Side, usize),
    Reset(Side, usize),
    StopReading(Side),
    ReadAgain(Side),
    Ping(Side),
    Cut(u32),
    Lose(f64),
    Rebind,
    Wait(u32),
}

/// What one side gave to one channel.
#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    finished: bool,
}

struct World {
    pair: Pair,
    ends: Ends,
    /// Where the client is.
    home: SocketAddr,
    moves: u16,
    channels: Vec<ChannelId>,
    said: BTreeMap<(Side, ChannelId), Said>,
    /// Channels that either side reset.
    given_up: Vec<ChannelId>,
    link: Link,
}

/// SplitMix64: small, and enough to draw steps.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % sides
    }

    fn side(&mut self) -> Side {
        if self.roll(2) == 0 { Side::Client } else { Side::Server }
    }

    fn step(&mut self) -> Step {
        let (side, channel) = (self.side(), self.roll(1 << 20) as usize);
        match self.roll(40) {
            0..8 => Step::Open(side, Class::ALL[self.roll(4) as usize]),
            8..18 => Step::Write(side, channel, 1 << self.roll(16)),
            18..22 => Step::Finish(side, channel),
            22..25 => Step::Reset(side, channel),
            25 => Step::StopReading(side),
            26..28 => Step::ReadAgain(side),
            28 => Step::Ping(side),
            29 => Step::Cut(self.roll(1500) as u32),
            30 => Step::Lose(self.roll(4) as f64 / 10.0),
            31 => Step::Rebind,
            _ => Step::Wait(self.roll(80) as u32),
        }
    }

    /// A network and two configurations, from ordinary to cramped.
    fn plan(&mut self, seed: u64) -> Plan {
        let link = Link {
            jitter: self.roll(10) as u32 * MS,
            duplication: self.roll(2) as f64 / 20.0,
            corruption: self.roll(2) as f64 / 50.0,
            ..Link::with_delay((1 + self.roll(40) as u32) * MS)
        };
        let mut plan = Plan { seed, link: link.losing(self.roll(3) as f64 / 20.0), ..Plan::default() };
        for config in [&mut plan.client, &mut plan.server] {
            if self.roll(2) == 0 {
                config.key_update_after = 1 + self.roll(20);
            }
            if self.roll(3) == 0 {
                config.max_channel_window = 500 + self.roll(5000);
                config.max_connection_window = config.max_channel_window + self.roll(9000);
            }
            if self.roll(3) == 0 {
                config.max_send_buffer = 1 + self.roll(30_000) as usize;
            }
            if self.roll(3) == 0 {
                config.max_channels = 1 + self.roll(4) as u32;
            }
        }
        plan
    }
}

impl World {
    fn new(plan: Plan) -> Self {
        let link = plan.link.clone();
        let mut pair = Pair::new(plan);
        let ends = pair.connected();
        Self {
            pair,
            ends,
            home: CLIENT,
            moves: 0,
            channels: Vec::new(),
            said: BTreeMap::new(),
            given_up: Vec::new(),
            link,
        }
    }

    fn party(&mut self, side: Side) -> (&mut Party, ConnectionHandle) {
        let (address, handle) = match side {
            Side::Client => (self.home, self.ends.client),
            Side::Server => (SERVER, self.ends.server),
        };
        (self.pair.network.host_mut(address).unwrap(), handle)
    }

    fn take(&mut self, step: Step) {
        let now = self.pair.now();
        match step {
            Step::Open(side, class) => {
                let (party, connection) = self.party(side);
                match party.endpoint.open_channel(connection, class) {
                    Ok(channel) => self.channels.push(channel),
                    Err(error) => assert_eq!(error, SendError::TooManyChannels),
                }
            }
            Step::Write(side, number, length) => {
                if let Some(channel) = self.known(side, number) {
                    self.write(side, channel, length);
                }
            }
            Step::Finish(side, number) => {
                if let Some(channel) = self.known(side, number) {
                    self.finish(side, channel);
                }
            }
            Step::Reset(side, number) => {
                if let Some(channel) = self.known(side, number) {
                    self.given_up.push(channel);
                    let (party, connection) = self.party(side);
                    // Over already at this side: fine.
                    let _ = party.endpoint.reset(now, connection, channel, 7);
                }
            }
            Step::StopReading(side) => self.party(side).0.reads = false,
            Step::ReadAgain(side) => self.party(side).0.read_again(now),
            Step::Ping(side) => {
                let (party, connection) = self.party(side);
                party.endpoint.ping(now, connection);
            }
            Step::Cut(millis) => {
                self.pair.network.cut(self.home, SERVER);
                self.pair.network.run_for(millis * MS);
                self.pair.network.heal(self.home, SERVER);
            }
            Step::Lose(probability) => {
                self.link = self.link.clone().losing(probability);
                self.relink();
            }
            Step::Rebind => {
                let mut client = self.pair.network.crash(self.home).unwrap();
                self.moves += 1;
                // Now another port, now another host.
                let host = if self.moves.is_multiple_of(2) { [192, 0, 2, 1] } else { [203, 0, 113, 5] };
                self.home = SocketAddr::from((host, 5000 + self.moves));
                client.address = self.home;
                self.pair.network.add(self.home, client);
                self.relink();
            }
            Step::Wait(millis) => self.pair.network.run_for(millis * MS),
        }
    }

    fn relink(&mut self) {
        self.pair.network.set_link(self.home, SERVER, self.link.clone());
        self.pair.network.set_link(SERVER, self.home, self.link.clone());
    }

    /// A channel that this side opened or has heard of.
    fn known(&mut self, side: Side, number: usize) -> Option<ChannelId> {
        let channel = *self.channels.get(number.checked_rem(self.channels.len())?)?;
        let (party, connection) = self.party(side);
        let own = channel.opened_by_initiator() == (side == Side::Client);
        (own || party.inbox.contains_key(&(connection, channel))).then_some(channel)
    }

    fn write(&mut self, side: Side, channel: ChannelId, length: usize) {
        let said = self.said.entry((side, channel)).or_default();
        if said.finished || self.given_up.contains(&channel) {
            return;
        }
        let bytes = pattern(said.bytes.len() as u64 + channel.index(), length);
        said.bytes.extend_from_slice(&bytes);
        let (party, connection) = self.party(side);
        let mut all = party.outbox.get(&(connection, channel)).map_or_else(Vec::new, |outbox| outbox.bytes.to_vec());
        all.extend_from_slice(&bytes);
        party.write(connection, channel, Bytes::from(all), false);
    }

    fn finish(&mut self, side: Side, channel: ChannelId) {
        let given_up = self.given_up.contains(&channel);
        let said = self.said.entry((side, channel)).or_default();
        if core::mem::replace(&mut said.finished, true) || given_up {
            return;
        }
        let (party, connection) = self.party(side);
        let rest = party.outbox.get(&(connection, channel)).map_or_else(Bytes::new, |outbox| outbox.bytes.clone());
        party.write(connection, channel, rest, true);
    }

    /// The network heals, both read, both finish what they know of: now all has to end. Returns how many bytes were compared.
    fn converge(&mut self) -> usize {
        let mut compared = 0;
        self.link = Link::with_delay(10 * MS);
        self.relink();
        let now = self.pair.now();
        let channels = self.channels.clone();
        for side in [Side::Client, Side::Server] {
            let (party, connection) = self.party(side);
            party.read_again(now);
            // Who moved and said nothing since is looked for where it was.
            party.endpoint.ping(now, connection);
        }
        // First who opened a channel finishes it, so that the other side hears of it and can.
        for theirs in [false, true] {
            for side in [Side::Client, Side::Server] {
                for channel in &channels {
                    let own = channel.opened_by_initiator() == (side == Side::Client);
                    if own != theirs {
                        self.finish(side, *channel);
                    }
                }
            }
            self.quiet();
        }
        for side in [Side::Client, Side::Server] {
            let other = if side == Side::Client { Side::Server } else { Side::Client };
            for channel in &channels {
                if self.given_up.contains(channel) {
                    continue;
                }
                let said = core::mem::take(&mut self.said.get_mut(&(side, *channel)).unwrap().bytes);
                let (party, connection) = self.party(other);
                let inbox = party.inbox.get(&(connection, *channel));
                let inbox = inbox.unwrap_or_else(|| panic!("{channel:?} of {side:?} was never heard of"));
                assert!(inbox.finished, "{channel:?} of {side:?}: {} of {} bytes", inbox.bytes.len(), said.len());
                assert!(inbox.bytes == said, "{channel:?} of {side:?} is not what was sent");
                compared += said.len();
            }
            let (party, connection) = self.party(side);
            for channel in &channels {
                assert_eq!(party.endpoint.unacknowledged(connection, *channel), 0);
            }
            assert_eq!(party.losses(), [], "nobody closed it");
        }
        self.all_channels_are_free_again();
        compared
    }

    /// Nothing under way, for a second.
    fn quiet(&mut self) {
        let ends = self.ends;
        let deadline = self.pair.network.now() + secs(120);
        loop {
            let before = self.pair.network.total().sent;
            self.pair.network.run_for(secs(1));
            let now = self.pair.now();
            let mut in_flight = 0;
            for (side, connection) in [(Side::Client, ends.client), (Side::Server, ends.server)] {
                let (party, _) = self.party(side);
                let stats = party.endpoint.stats(now, connection);
                in_flight += stats.unwrap_or_else(|| panic!("{side:?} lost it: {:?}", party.losses())).in_flight;
            }
            if in_flight == 0 && self.pair.network.total().sent == before {
                return;
            }
            assert!(
                self.pair.network.now() < deadline,
                "{in_flight} bytes in flight, and no end; {:#?}; {:?}",
                [(Side::Client, ends.client), (Side::Server, ends.server)].map(|(side, connection)| {
                    let (party, _) = self.party(side);
                    (party.endpoint.stats(now, connection), party.endpoint.paths(now, connection))
                }),
                self.pair
            );
        }
    }

    /// The allowance of channels is what it was at the start: none of those that are over is still counted.
    fn all_channels_are_free_again(&mut self) {
        let (party, connection) = self.party(Side::Client);
        let opened = party.endpoint.open_channel(connection, Class::Request);
        assert!(opened.is_ok(), "{opened:?}");
    }

    /// One side closes: the other hears it, and both forget.
    fn end(&mut self, side: Side) {
        let now = self.pair.now();
        let (party, connection) = self.party(side);
        party.endpoint.close(now, connection, 9, "bye");
        self.pair.network.run_for(secs(20));
        let other = if side == Side::Client { Side::Server } else { Side::Client };
        assert_eq!(self.party(side).0.losses(), [CloseReason::Local]);
        assert_eq!(self.party(other).0.losses(), [CloseReason::Remote { code: 9, reason: "bye".into() }]);
        for side in [Side::Client, Side::Server] {
            let (party, _) = self.party(side);
            assert_eq!(party.endpoint.poll_timeout(), None, "nothing is left to wait for");
            assert!(party.endpoint.is_quiet());
            assert!(matches!(party.events.last(), Some(Event::Lost { .. })), "nothing comes after the end");
        }
    }
}

/// Returns how many bytes were compared, and how long it took. `forget`: what was said is remembered wrongly, a planted fault.
fn walk(seed: u64, forget: bool) -> (usize, Duration) {
    let mut dice = Dice(seed);
    let plan = dice.plan(seed);
    let count = 5 + dice.roll(40);
    let steps: Vec<Step> = (0..count).map(|_| dice.step()).collect();
    let printed = (plan.link.clone(), plan.client.clone(), plan.server.clone());
    let side = dice.side();
    let run = AssertUnwindSafe(|| {
        let mut world = World::new(plan);
        for step in &steps {
            world.take(*step);
        }
        if forget {
            for said in world.said.values_mut() {
                said.bytes.iter_mut().for_each(|byte| *byte ^= 1);
            }
        }
        let compared = world.converge();
        world.end(side);
        (compared, world.pair.network.now())
    });
    match catch_unwind(run) {
        Ok(outcome) => outcome,
        Err(_) => panic!("{}\nseed {seed}: {printed:#?}\n{steps:?}", crate::runner::last_panic()),
    }
}
