//! Nodes in their houses, which are those of `tests/nat`, and the streets between them.

use crate::house::House;
use anjer::node::api::ErrorCode;
use anjer::node::disk::Worker;
use anjer::node::identity::{Identity, NodeId};
use anjer::node::room::RoomConfig;
use anjer::node::{Command, Event, Node, NodeConfig};
use anjer::time::{Duration, Instant};
use netem::{Link, Network};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Midnight of some day, in Unix time, when every run begins.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// A line as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) seq: u64,
    pub(crate) line: String,
    pub(crate) text: String,
}

/// Everybody.
pub(crate) struct Village {
    pub(crate) network: Network<House>,
    /// The folder that each shares, and the one for its own state. They outlive a crash.
    folders: Vec<(TempDir, TempDir)>,
    starts: u32,
}

impl Village {
    /// Nobody yet; every street is like `link`.
    pub(crate) fn new(seed: u64, link: Link) -> Self {
        let mut network = Network::new(seed, link);
        network.unreachable_is_reported = true;
        Self { network, folders: Vec::new(), starts: 0 }
    }

    /// A room in which the first leads and `count` are members.
    pub(crate) fn with_room(seed: u64, link: Link, count: usize) -> Self {
        let mut village = Self::new(seed, link);
        for _ in 0..count {
            village.open(true);
        }
        for joiner in 1..count {
            village.command(joiner, Command::ConnectTo(address(0)));
        }
        let everybody = village.run_until(20, |village| (0..count).all(|one| village.members(one).len() == count));
        assert!(everybody, "{:?}", (0..count).map(|one| village.told(one)).collect::<Vec<_>>());
        village
    }

    /// One more node. `door`: whether it lets in whoever asks.
    pub(crate) fn open(&mut self, door: bool) -> usize {
        self.folders.push((tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()));
        let index = self.folders.len() - 1;
        self.start(index, door);
        index
    }

    /// Starts a node, or starts it again.
    pub(crate) fn start(&mut self, index: usize, door: bool) {
        self.starts += 1;
        let config = NodeConfig {
            identity: Arc::new(Identity::from_seed(&seed(index))),
            name: format!("node {index}"),
            local: address(index),
            stun: Vec::new(),
            room: RoomConfig { open: door, ..RoomConfig::default() },
            unix_at_start: EPOCH,
        };
        let now = Instant::from_start(self.network.now());
        let node = Node::new(config, now, seed(self.starts as usize - 1));
        let worker = Worker::new(self.dir(index).to_owned(), self.folders[index].1.path().to_owned());
        let house = House::new(node, worker, address(index), &[address(index).ip()]);
        self.network.add(address(index), house);
        self.touch(index);
    }

    /// Takes a node away without a word.
    pub(crate) fn kill(&mut self, index: usize) {
        self.network.crash(address(index));
    }

    fn touch(&mut self, index: usize) {
        let now = self.network.now();
        if let Some(house) = self.network.host_mut(address(index)) {
            house.turn(now);
        }
    }

    pub(crate) fn command(&mut self, index: usize, command: Command) {
        let now = Instant::from_start(self.network.now());
        self.network.host_mut(address(index)).unwrap().node.handle_command(now, command);
        self.touch(index);
    }

    pub(crate) fn say(&mut self, index: usize, text: &str) {
        self.command(index, Command::Talk(text.into()));
    }

    /// Runs until `condition` holds, for that many seconds at most.
    pub(crate) fn run_until(&mut self, seconds: u64, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let end = self.network.now() + Duration::from_secs(seconds);
        while self.network.now() < end {
            if condition(self) {
                return true;
            }
            self.network.run_for(Duration::from_millis(20));
        }
        condition(self)
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.network.run_for(time);
    }

    pub(crate) fn dir(&self, index: usize) -> &Path {
        self.folders[index].0.path()
    }

    /// Puts a file into a node's folder.
    pub(crate) fn write(&self, index: usize, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.dir(index).join(name), bytes).unwrap();
        PathBuf::from(name)
    }

    pub(crate) fn read(&self, index: usize, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.dir(index).join(name)).ok()
    }

    /// What a node told, in order.
    pub(crate) fn told(&self, index: usize) -> Vec<Event> {
        let house = self.network.host(address(index));
        house.into_iter().flat_map(|house| &house.told).map(|(_, event)| event.clone()).collect()
    }

    /// When a node first told something.
    pub(crate) fn told_at(&self, index: usize, what: impl Fn(&Event) -> bool) -> Option<Duration> {
        self.network.host(address(index))?.told.iter().find(|(_, event)| what(event)).map(|(at, _)| *at)
    }

    pub(crate) fn id(&self, index: usize) -> NodeId {
        Identity::from_seed(&seed(index)).id()
    }

    /// Who is in the room, as a node told last.
    pub(crate) fn members(&self, index: usize) -> Vec<NodeId> {
        let peers = self.told(index).into_iter().rev().find_map(|event| match event {
            Event::Peers { members, .. } => Some(members),
            _ => None,
        });
        peers.into_iter().flatten().map(|member| member.id).collect()
    }

    /// What a node shows of the chat.
    pub(crate) fn heard(&self, index: usize) -> Vec<Heard> {
        let line = |event| match event {
            Event::Chat { seq, line, text, .. } => Some(Heard { seq, line, text }),
            _ => None,
        };
        self.told(index).into_iter().filter_map(line).collect()
    }

    pub(crate) fn has_heard(&self, index: usize, text: &str) -> bool {
        self.heard(index).iter().any(|heard| heard.text == text)
    }

    pub(crate) fn errors(&self, index: usize) -> Vec<(Option<char>, ErrorCode, String)> {
        let error = |event| match event {
            Event::Error { command, code, message } => Some((command, code, message)),
            _ => None,
        };
        self.told(index).into_iter().filter_map(error).collect()
    }

    pub(crate) fn has_saved(&self, index: usize, wanted: &str) -> bool {
        self.told(index).iter().any(|event| matches!(event, Event::Saved { name, .. } if name == wanted))
    }

    /// Whether a node lists a file with so many holders.
    pub(crate) fn lists(&self, index: usize, name: &str, holders: usize) -> bool {
        let offers = self.told(index).into_iter().fold(0usize, |count, event| match event {
            Event::Offered(offered) if offered.name == name && offered.hash.is_some() => count + 1,
            Event::Withdrawn(offered) if offered.name == name => count.saturating_sub(1),
            _ => count,
        });
        offers == holders
    }
}

pub(crate) fn address(index: usize) -> SocketAddr {
    let [.., high, low] = (index as u32 + 1).to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 7000))
}

/// Another one for each.
fn seed(index: usize) -> [u8; 32] {
    let mut seed = [(index + 1) as u8; 32];
    if index >= 255 {
        seed[..4].copy_from_slice(&(index as u32).to_be_bytes());
    }
    seed
}

/// Bytes without a pattern, the same every time.
pub(crate) fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// A street of ten milliseconds.
pub(crate) fn street() -> Link {
    Link::with_delay(Duration::from_millis(10))
}
