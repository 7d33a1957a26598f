//! Measures what a room costs its supernode: whole nodes over a simulated network, in virtual time.
//!
//! ```text
//! cargo run --release --example crowd -- 10 100 1000
//! ```
//!
//! A row a size: what the supernode of a room that nothing happens in sends and takes in a minute, the CPU time that it needs for that, and
//! the heap that it lives in. Everything but the CPU time follows from seeds.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a measurement that fails is no table")]
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(clippy::disallowed_methods, reason = "CPU time is what is measured")]

#[expect(dead_code, reason = "shared with tests/nat, which uses all of it")]
#[path = "../tests/nat/house.rs"]
mod house;

use anjer::node::disk::Worker;
use anjer::node::identity::Identity;
use anjer::node::room::RoomConfig;
use anjer::node::{Command, Event, Node, NodeConfig};
use anjer::time::{Duration, Instant};
use house::House;
use netem::{Host, Link, Network, Packet};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What an IPv4 packet carries besides UDP's payload.
const HEADERS: u64 = 28;

/// Newcomers in a tenth of a second.
const CROWD: usize = 20;

/// A node that is measured, or one that is not.
struct Measured {
    house: House,
    counts: Option<Counts>,
}

/// What a node needed.
#[derive(Clone, Copy, Default)]
struct Counts {
    cpu: std::time::Duration,
    /// Bytes that it allocated and did not free, nor hand out in packets.
    heap: i64,
    sent: (u64, u64),
    taken: (u64, u64),
}

impl Measured {
    /// Does something with the node, and notes what that took.
    fn with<T>(&mut self, verb: impl FnOnce(&mut House) -> T) -> T {
        let Some(counts) = &mut self.counts else {
            let result = verb(&mut self.house);
            self.house.told.retain(|(_, event)| matches!(event, Event::Error { .. }));
            return result;
        };
        let live = || {
            let stats = ALLOCATOR.stats();
            i64::try_from(stats.bytes_allocated).unwrap() - i64::try_from(stats.bytes_deallocated).unwrap()
        };
        let (heap, begin) = (live(), std::time::Instant::now());
        let result = verb(&mut self.house);
        counts.cpu += begin.elapsed();
        self.house.told = Vec::new();
        counts.heap += live() - heap;
        result
    }
}

impl Host for Measured {
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
        if let Some(counts) = &mut self.counts {
            counts.taken = (counts.taken.0 + 1, counts.taken.1 + bytes.len() as u64 + HEADERS);
        }
        self.with(|house| house.handle_datagram(now, from, to, bytes));
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.with(|house| house.handle_timeout(now));
    }

    fn handle_unreachable(&mut self, now: Duration, to: SocketAddr) {
        self.with(|house| house.handle_unreachable(now, to));
    }

    fn poll_transmit(&mut self, now: Duration) -> Option<Packet> {
        let packet = self.with(|house| house.poll_transmit(now));
        if let (Some(counts), Some(packet)) = (&mut self.counts, &packet) {
            let bytes = packet.bytes.len() as u64;
            counts.sent = (counts.sent.0 + 1, counts.sent.1 + bytes + HEADERS);
            counts.heap -= i64::try_from(packet.bytes.capacity()).unwrap();
        }
        packet
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.house.poll_timeout()
    }
}

fn address(index: usize) -> SocketAddr {
    let [.., high, low] = u32::try_from(index + 1).unwrap().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 7000))
}

fn open(network: &mut Network<Measured>, index: usize, folders: &tempfile::TempDir) {
    let seed = blake3::hash(&index.to_be_bytes());
    let config = NodeConfig {
        identity: Arc::new(Identity::from_seed(seed.as_bytes())),
        name: format!("node {index}"),
        local: address(index),
        stun: Vec::new(),
        room: RoomConfig { open: true, ..RoomConfig::default() },
        unix_at_start: Duration::from_secs(1_800_000_000),
    };
    let place = |what: &str| {
        let folder = folders.path().join(format!("{index}-{what}"));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let worker = Worker::new(place("shared"), place("state"));
    let ips: [IpAddr; 1] = [address(index).ip()];
    let now = Instant::from_start(network.now());
    let live = || {
        let stats = ALLOCATOR.stats();
        i64::try_from(stats.bytes_allocated).unwrap() - i64::try_from(stats.bytes_deallocated).unwrap()
    };
    let before = live();
    let mut house = House::new(Node::new(config, now, *seed.as_bytes()), worker, address(index), &ips);
    house.turn(network.now());
    let counts = (index == 0).then(|| Counts { heap: live() - before, ..Counts::default() });
    network.add(address(index), Measured { house, counts });
}

/// A room of `count`, when all have come in and half a minute has passed: the supernode's heap then, and what it needs for a minute.
fn room_of(count: usize) -> (i64, Counts) {
    let folders = tempfile::tempdir().unwrap();
    let mut network = Network::new(1, Link::with_delay(Duration::from_millis(20)));
    (0..count).for_each(|index| open(&mut network, index, &folders));
    for joiner in 1..count {
        let now = network.now();
        let guest = network.host_mut(address(joiner)).unwrap();
        guest.house.node.handle_command(Instant::from_start(now), Command::ConnectTo(address(0)));
        guest.with(|house| house.turn(now));
        if joiner % CROWD == 0 {
            network.run_for(Duration::from_millis(100));
        }
    }
    network.run_for(Duration::from_secs(30));
    let supernode = network.host_mut(address(0)).unwrap();
    supernode.house.node.handle_command(Instant::from_start(Duration::ZERO), Command::Peers);
    supernode.house.turn(Duration::ZERO);
    let members = supernode.house.told.iter().rev().find_map(|(_, event)| match event {
        Event::Peers { members, .. } => Some(members.len()),
        _ => None,
    });
    assert_eq!(members, Some(count), "the room is whole");
    supernode.house.told.clear();
    let heap = supernode.counts.unwrap().heap;
    supernode.counts = Some(Counts::default());
    network.run_for(Duration::from_secs(60));
    (heap, network.host(address(0)).unwrap().counts.unwrap())
}

fn main() {
    let mut sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![10, 100, 1000];
    }
    println!(
        "| members | sent a minute | taken a minute | CPU a minute | heap | sent a member | CPU a member | heap a member |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for count in sizes {
        let (heap, counts) = room_of(count);
        let others = (count - 1).max(1) as u64;
        let kib = |bytes: u64| format!("{:.1} KiB", bytes as f64 / 1024.0);
        let heap = u64::try_from(heap).unwrap_or(0);
        let cpu = counts.cpu.as_secs_f64() * 1e3;
        println!(
            "| {count} | {} in {} packets | {} in {} packets | {cpu:.1} ms | {} | {} | {:.2} ms | {} |",
            kib(counts.sent.1),
            counts.sent.0,
            kib(counts.taken.1),
            counts.taken.0,
            kib(heap),
            kib(counts.sent.1 / others),
            cpu / others as f64,
            kib(heap / others),
        );
    }
}
