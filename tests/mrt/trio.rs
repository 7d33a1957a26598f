//! The harness for stories with a relay: Alice and Bob, who may reach each other or not, and somebody whom both reach.

use crate::pair::{MS, PATIENCE, secs, seed_of};
use crate::party::Party;
use anjer::mrt::{
    Config, ConnectTo, ConnectionHandle, Endpoint, Event, PathStats, PublicKey, RelayChannel, RelayFlow, RelayLimits,
    RelayStats, Route, StaticKey,
};
use anjer::time::{Duration, Instant};
use netem::{Link, Network};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

const fn at(host: u8) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, host), 4000))
}

pub(crate) const ALICE: SocketAddr = at(1);
pub(crate) const BOB: SocketAddr = at(2);
pub(crate) const RELAY: SocketAddr = at(3);

/// The relay channel as Alice calls it, and as Bob does: they need not be the same.
pub(crate) const ALICES: RelayChannel = RelayChannel(5);
pub(crate) const BOBS: RelayChannel = RelayChannel(900);

/// What a trio is made from.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Between Alice and Bob, both ways.
    pub(crate) direct: Link,
    /// Between the relay and each of them, both ways.
    pub(crate) relay: Link,
    pub(crate) limits: RelayLimits,
    /// Bytes a second over all flows.
    pub(crate) relay_rate: u64,
    pub(crate) tune_bob: fn(&mut Config),
}

impl Default for Plan {
    /// 10 ms each way between Alice and Bob, 20 ms to the relay, 50 Mbit/s everywhere.
    fn default() -> Self {
        let link = |delay| Link { rate: Some(50_000_000), ..Link::with_delay(delay) };
        Self {
            seed: 1,
            direct: link(10 * MS),
            relay: link(20 * MS),
            limits: RelayLimits { rate: 50_000_000, queue: 1 << 20 },
            relay_rate: 100_000_000,
            tune_bob: |_| {},
        }
    }
}

/// Alice and Bob are connected to the relay, and bound to each other there.
pub(crate) struct Trio {
    pub(crate) network: Network<Party>,
    pub(crate) flow: RelayFlow,
    pub(crate) alice_to_relay: ConnectionHandle,
    pub(crate) bob_to_relay: ConnectionHandle,
    pub(crate) relay_to_alice: ConnectionHandle,
    pub(crate) relay_to_bob: ConnectionHandle,
    seed: u64,
}

/// The two ends of the connection between Alice, who made it, and Bob.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) alice: ConnectionHandle,
    pub(crate) bob: ConnectionHandle,
}

fn key_of(number: u8) -> StaticKey {
    StaticKey::from_bytes([number; 32])
}

pub(crate) fn public(address: SocketAddr) -> PublicKey {
    let SocketAddr::V4(address) = address else { panic!("only IPv4 here") };
    key_of(address.ip().octets()[3]).public()
}

/// A party of these stories.
pub(crate) fn party(seed: u64, address: SocketAddr, tune: impl FnOnce(&mut Config)) -> Party {
    let SocketAddr::V4(v4) = address else { panic!("only IPv4 here") };
    let number = v4.ip().octets()[3];
    let mut config = Config::new(key_of(number), b"stories");
    tune(&mut config);
    Party::new(Endpoint::new(config, seed_of(seed, number.into())), address)
}

impl Trio {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut network = Network::new(plan.seed, Link::default());
        for address in [ALICE, BOB, RELAY] {
            let tune = |config: &mut Config| {
                config.relay_rate = plan.relay_rate;
                if address == BOB {
                    (plan.tune_bob)(config);
                }
            };
            network.add(address, party(plan.seed, address, tune));
        }
        for (a, b) in [(ALICE, BOB), (ALICE, RELAY), (BOB, RELAY)] {
            let link = if b == RELAY { &plan.relay } else { &plan.direct };
            network.set_link(a, b, link.clone());
            network.set_link(b, a, link.clone());
        }
        let mut outer = |who: SocketAddr| {
            let now = Instant::from_start(network.now());
            let endpoint = &mut network.host_mut(who).unwrap().endpoint;
            let there = endpoint.connect(now, RELAY, ConnectTo::Known(public(RELAY)), PATIENCE).unwrap();
            let deadline = network.now() + PATIENCE;
            assert!(network.run_until(deadline, |network| find(network, RELAY, who).is_some()), "{who} has a relay");
            (there, find(&network, RELAY, who).unwrap())
        };
        let (alice_to_relay, relay_to_alice) = outer(ALICE);
        let (bob_to_relay, relay_to_bob) = outer(BOB);
        let relay = &mut network.host_mut(RELAY).unwrap().endpoint;
        let flow = relay.relay_bind((relay_to_alice, ALICES), (relay_to_bob, BOBS), plan.limits).unwrap();
        network.host_mut(BOB).unwrap().endpoint.relay_open(bob_to_relay, BOBS).unwrap();
        Self { network, flow, alice_to_relay, bob_to_relay, relay_to_alice, relay_to_bob, seed: plan.seed }
    }

    pub(crate) fn party(&mut self, address: SocketAddr) -> &mut Party {
        self.network.host_mut(address).unwrap()
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_start(self.network.now())
    }

    /// The way from Alice to Bob through the relay.
    pub(crate) fn relayed(&self) -> Route {
        Route::Relayed { by: self.alice_to_relay, channel: ALICES }
    }

    /// Alice calls Bob through the relay.
    #[track_caller]
    pub(crate) fn connected(&mut self) -> Ends {
        let (now, route) = (self.now(), self.relayed());
        let to = ConnectTo::Known(public(BOB));
        self.party(ALICE).endpoint.connect(now, route, to, PATIENCE).unwrap();
        self.must("Alice and Bob are connected", PATIENCE, |network| {
            find(network, ALICE, BOB).is_some() && find(network, BOB, ALICE).is_some()
        });
        Ends { alice: find(&self.network, ALICE, BOB).unwrap(), bob: find(&self.network, BOB, ALICE).unwrap() }
    }

    /// Alice adds the direct way. It is proven a little later.
    pub(crate) fn go_direct(&mut self, ends: Ends) {
        let now = self.now();
        self.party(ALICE).endpoint.add_path(now, ends.alice, BOB.into()).unwrap();
    }

    /// Alice and Bob are connected, directly, and the relay stands by.
    #[track_caller]
    pub(crate) fn direct(&mut self) -> Ends {
        let ends = self.connected();
        self.go_direct(ends);
        self.network.run_for(secs(1));
        assert_eq!(self.active(ALICE, ends.alice), BOB.into(), "{self:?}");
        assert_eq!(self.active(BOB, ends.bob), ALICE.into(), "{self:?}");
        ends
    }

    /// The way that data goes.
    pub(crate) fn active(&mut self, who: SocketAddr, connection: ConnectionHandle) -> Route {
        let now = self.now();
        self.party(who).endpoint.stats(now, connection).unwrap().route
    }

    pub(crate) fn paths(&mut self, who: SocketAddr, connection: ConnectionHandle) -> Vec<PathStats> {
        let now = self.now();
        self.party(who).endpoint.paths(now, connection)
    }

    /// What the relay carried.
    pub(crate) fn carried(&mut self) -> RelayStats {
        let flow = self.flow;
        self.party(RELAY).endpoint.relay_stats(flow).unwrap()
    }

    #[track_caller]
    pub(crate) fn must(&mut self, what: &str, within: Duration, mut condition: impl FnMut(&Network<Party>) -> bool) {
        let deadline = self.network.now() + within;
        let came = self.network.run_until(deadline, |network| condition(network));
        assert!(came, "within {within:?}: {what}; {self:?}");
    }

    /// Runs in steps of a millisecond until `who` has received so many bytes. Returns the longest time without any, once the first came.
    #[track_caller]
    pub(crate) fn longest_gap(
        &mut self,
        who: SocketAddr,
        until: usize,
        mut each: impl FnMut(&mut Self, usize),
    ) -> Duration {
        let (mut last, mut since, mut longest) = (0, self.network.now(), Duration::ZERO);
        let deadline = self.network.now() + secs(120);
        loop {
            self.network.run_for(MS);
            let (got, now) = (self.party(who).received(), self.network.now());
            if got > last {
                if last > 0 {
                    longest = longest.max(now - since);
                }
                (last, since) = (got, now);
            }
            if got >= until {
                return longest;
            }
            assert!(now < deadline, "{got} of {until} bytes; {self:?}");
            each(self, got);
        }
    }

    /// Every event of a connection that is about paths, in order.
    pub(crate) fn path_events(&mut self, who: SocketAddr, of: ConnectionHandle) -> Vec<Event> {
        let about = |event: &&Event| match event {
            Event::PathUp { connection, .. }
            | Event::PathFailed { connection, .. }
            | Event::PathDown { connection, .. }
            | Event::Moved { connection, .. } => *connection == of,
            _ => false,
        };
        self.party(who).events.iter().filter(about).cloned().collect()
    }
}

/// The connection of `who` to whoever has that address's key.
fn find(network: &Network<Party>, who: SocketAddr, peer: SocketAddr) -> Option<ConnectionHandle> {
    network.host(who)?.events.iter().find_map(|event| match event {
        Event::Connected { connection, key, .. } if *key == public(peer) => Some(*connection),
        _ => None,
    })
}

impl fmt::Debug for Trio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:?} after the start", self.seed, self.network.now())?;
        for (address, party) in self.network.hosts() {
            let lasting =
                party.events.iter().filter(|event| !matches!(event, Event::Readable { .. } | Event::Writable { .. }));
            writeln!(
                f,
                "  {address}: {:?}, {} bytes received",
                lasting.map(brief).collect::<Vec<_>>(),
                party.received()
            )?;
        }
        writeln!(f, "  Alice to Bob: {:?}", self.network.counters(ALICE, BOB))?;
        write!(f, "  Bob to Alice: {:?}", self.network.counters(BOB, ALICE))
    }
}

/// An event without its keys.
fn brief(event: &Event) -> String {
    match event {
        Event::Connected { connection, route, .. } => format!("{connection:?} connected by {route}"),
        Event::Moved { connection, route } => format!("{connection:?} moved to {route}"),
        Event::PathUp { connection, route, .. } => format!("{connection:?} up: {route}"),
        Event::PathDown { connection, route } => format!("{connection:?} down: {route}"),
        Event::PathFailed { connection, route } => format!("{connection:?} failed: {route}"),
        other => format!("{other:?}"),
    }
}
