//! The harness: a client, a server, and the network between them, repeatable from a seed.

use crate::party::Party;
use anjer::mrt::{Config, ConnectTo, ConnectionHandle, Endpoint, PublicKey, SecretId, SharedSecret, StaticKey};
use anjer::time::{Duration, Instant};
use netem::{Link, Network, Packet, Verdict};
use std::cell::RefCell;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const CLIENT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 4001));
pub(crate) const SERVER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 4002));
/// Where nobody ever is, but packets may claim to come from.
pub(crate) const STRANGER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 9), 4003));

/// How long a caller tries, and how long the stories give it.
pub(crate) const PATIENCE: Duration = secs(20);

/// The secret that the server knows.
pub(crate) const SECRET_ID: SecretId = SecretId([3; 16]);
const SECRET: [u8; 32] = [4; 32];

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a pair is made from.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Both directions.
    pub(crate) link: Link,
    pub(crate) client: Config,
    pub(crate) server: Config,
}

impl Default for Plan {
    /// Ten milliseconds each way and nothing else, both ends as they come.
    fn default() -> Self {
        Self {
            seed: 1,
            link: Link::with_delay(10 * MS),
            client: Config::new(StaticKey::from_bytes([1; 32]), b"stories"),
            server: Config::new(StaticKey::from_bytes([2; 32]), b"stories"),
        }
    }
}

/// A client at [`CLIENT`] and a server at [`SERVER`]; who is which is decided by who calls.
pub(crate) struct Pair {
    pub(crate) network: Network<Party>,
    pub(crate) seed: u64,
    pub(crate) client_key: PublicKey,
    pub(crate) server_key: PublicKey,
}

/// The two ends of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// As the client calls it.
    pub(crate) client: ConnectionHandle,
    /// As the server calls it.
    pub(crate) server: ConnectionHandle,
}

impl Pair {
    pub(crate) fn new(plan: Plan) -> Self {
        let (client_key, server_key) = (plan.client.static_key.public(), plan.server.static_key.public());
        let mut network = Network::new(plan.seed, plan.link);
        network.add(CLIENT, Party::new(Endpoint::new(plan.client, seed_of(plan.seed, 1)), CLIENT));
        let mut server = Party::new(Endpoint::new(plan.server, seed_of(plan.seed, 2)), SERVER);
        server.endpoint.add_secret(SECRET_ID, SharedSecret(SECRET));
        network.add(SERVER, server);
        Self { network, seed: plan.seed, client_key, server_key }
    }

    pub(crate) fn client(&mut self) -> &mut Party {
        self.network.host_mut(CLIENT).unwrap()
    }

    pub(crate) fn server(&mut self) -> &mut Party {
        self.network.host_mut(SERVER).unwrap()
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_start(self.network.now())
    }

    /// All that a caller can know of the server: the three patterns.
    pub(crate) fn patterns(&self) -> [ConnectTo; 3] {
        let invited = ConnectTo::Invited { key: self.server_key, id: SECRET_ID, secret: SharedSecret(SECRET) };
        [ConnectTo::Unknown, ConnectTo::Known(self.server_key), invited]
    }

    /// The client calls the server.
    pub(crate) fn call(&mut self, to: ConnectTo) -> ConnectionHandle {
        let now = self.now();
        self.client().endpoint.connect(now, SERVER, to, PATIENCE).unwrap()
    }

    /// The client calls the server, knowing its key, and both are connected.
    #[track_caller]
    pub(crate) fn connected(&mut self) -> Ends {
        let to = ConnectTo::Known(self.server_key);
        self.call(to);
        self.must("both sides are connected", PATIENCE, |client, server| {
            client.connection().is_some() && server.connection().is_some()
        });
        Ends { client: self.client().connection().unwrap(), server: self.server().connection().unwrap() }
    }

    /// Runs until the condition holds, at most for `within`. Says whether it holds.
    pub(crate) fn run_until(&mut self, within: Duration, mut condition: impl FnMut(&Party, &Party) -> bool) -> bool {
        let deadline = self.network.now() + within;
        self.network.run_until(deadline, |network| {
            network.host(CLIENT).zip(network.host(SERVER)).is_some_and(|(client, server)| condition(client, server))
        })
    }

    /// The condition comes true in time, or the story fails and says what did not happen.
    #[track_caller]
    pub(crate) fn must(&mut self, what: &str, within: Duration, condition: impl FnMut(&Party, &Party) -> bool) {
        assert!(self.run_until(within, condition), "within {within:?}: {what}; {self:?}");
    }

    /// Keeps a copy of every datagram that anyone sends.
    pub(crate) fn record(&mut self) -> Rc<RefCell<Vec<Packet>>> {
        let record = Rc::new(RefCell::new(Vec::new()));
        let writer = Rc::clone(&record);
        self.network.set_tap(move |_, packet| {
            writer.borrow_mut().push(packet.clone());
            Verdict::Pass
        });
        record
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:?} after the start", self.seed, self.network.now())?;
        for (address, party) in self.network.hosts() {
            let name = if address == CLIENT { "client" } else { "server" };
            let lasting = party.events.iter().filter(|event| {
                !matches!(event, anjer::mrt::Event::Readable { .. } | anjer::mrt::Event::Writable { .. })
            });
            writeln!(f, "  {name}: {:?}, {} bytes received", lasting.collect::<Vec<_>>(), party.received())?;
        }
        writeln!(f, "  to the server: {:?}", self.network.counters(CLIENT, SERVER))?;
        write!(f, "  to the client: {:?}", self.network.counters(SERVER, CLIENT))
    }
}

/// Bytes that differ everywhere, so that nothing can be missing, doubled or moved unseen. The same for the same `salt`.
pub(crate) fn pattern(salt: u64, length: usize) -> Vec<u8> {
    let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// 32 bytes for an endpoint, from a story's seed and the endpoint's number in it.
pub(crate) fn seed_of(seed: u64, number: u64) -> [u8; 32] {
    pattern(seed.wrapping_mul(1000).wrapping_add(number), 32).try_into().unwrap()
}
