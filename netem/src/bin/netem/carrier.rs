//! The loop that carries packets between devices, through the library's links, in real time.

use crate::clock::Clock;
use crate::failure::{Context, Failure};
use crate::frame::Frame;
use core::cmp::{Ordering, Reverse};
use core::time::Duration;
use netem::{Counters, Nat, NatCounters, Packet, Pipe};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool};
use std::thread::JoinHandle;
use tun_rs::SyncDevice;

/// Packets read from one device before the others have their turn.
const BATCH: usize = 64;

/// Bytes on their way, at most: a gigabit per second for four seconds. Beyond that packets are dropped and counted.
const MAX_FLYING_BYTES: usize = 512 << 20;

/// How long the loop waits at most before it looks whether it shall stop.
const IDLE: Duration = Duration::from_millis(20);

/// A host's device and the two links between it and the core.
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) device: SyncDevice,
    /// As the core knows it.
    pub(crate) addresses: Vec<Ipv4Addr>,
    /// Between the device and the links, the innermost first.
    pub(crate) nats: Vec<Nat>,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
}

/// What was carried.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) links: Vec<LinkReport>,
    pub(crate) outside: Outside,
}

/// What a host's links did.
#[derive(Debug)]
pub(crate) struct LinkReport {
    pub(crate) host: String,
    pub(crate) up: Counters,
    pub(crate) down: Counters,
    pub(crate) nats: Vec<NatCounters>,
}

/// Packets that the links have no counter for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outside {
    /// Not IPv4.
    pub(crate) foreign: u64,
    /// Not UDP, or a fragment, at a NAT.
    pub(crate) not_udp: u64,
    /// To an address that no host has.
    pub(crate) nobody: u64,
    /// More on their way than this program holds.
    pub(crate) overload: u64,
    /// Not taken by the kernel.
    pub(crate) refused: u64,
}

/// A carrier at work on its thread.
pub(crate) struct Carrying {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Report, Failure>>,
}

impl Carrying {
    pub(crate) fn start(ports: Vec<Port>) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let carrier = Carrier::new(ports, Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("carrier".into()).spawn(|| carrier.run());
        Ok(Self { stop, thread: thread.context(|| "cannot start a thread".into())? })
    }

    /// Whether it has ended although nobody stopped it.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    pub(crate) fn stop(self) -> Result<Report, Failure> {
        self.stop.store(true, atomic::Ordering::Relaxed);
        self.thread.join().map_err(|_| Failure::new("the thread that carries packets panicked"))?
    }
}

struct Carrier {
    ports: Vec<Port>,
    /// Which port has an address.
    routes: BTreeMap<Ipv4Addr, usize>,
    flying: BinaryHeap<Reverse<Flying>>,
    flying_bytes: usize,
    next_sequence: u64,
    outside: Outside,
    clock: Clock,
    stop: Arc<AtomicBool>,
}

/// A packet on its way.
struct Flying {
    at: Duration,
    sequence: u64,
    towards: Towards,
    frame: Frame,
}

/// Where a packet arrives next.
#[derive(Clone, Copy)]
enum Towards {
    /// At the core, from this port; there it takes the link down to its destination.
    Core(usize),
    /// At the host with this port, or the first of its NATs.
    Host(usize),
    /// At the host with this port, from its own NAT.
    Inside(usize),
}

impl Carrier {
    fn new(ports: Vec<Port>, stop: Arc<AtomicBool>) -> Self {
        let routes = ports
            .iter()
            .enumerate()
            .flat_map(|(index, port)| port.addresses.iter().map(move |address| (*address, index)))
            .collect();
        Self {
            ports,
            routes,
            flying: BinaryHeap::new(),
            flying_bytes: 0,
            next_sequence: 0,
            outside: Outside::default(),
            clock: Clock::start(),
            stop,
        }
    }

    fn run(mut self) -> Result<Report, Failure> {
        let mut buffer = vec![0; 1 << 16];
        while !self.stop.load(atomic::Ordering::Relaxed) {
            let now = self.clock.now();
            self.deliver_due(now);
            let mut has_read = false;
            for index in 0..self.ports.len() {
                has_read |= self.read(index, &mut buffer)?;
            }
            if !has_read {
                self.wait()?;
            }
        }
        let link = |port: Port| LinkReport {
            host: port.name,
            up: port.up.counters,
            down: port.down.counters,
            nats: port.nats.into_iter().map(|nat| nat.counters).collect(),
        };
        Ok(Report { links: self.ports.into_iter().map(link).collect(), outside: self.outside })
    }

    /// Takes what a host sent, a batch at most.
    fn read(&mut self, index: usize, buffer: &mut [u8]) -> Result<bool, Failure> {
        let now = self.clock.now();
        for turn in 0..BATCH {
            let Some(port) = self.ports.get_mut(index) else { return Ok(false) };
            let length = match port.device.recv(buffer) {
                Ok(length) => length,
                Err(error) if is_not_now(&error) => return Ok(turn > 0),
                Err(error) => return Err(error).context(|| format!("cannot read what {} sends", port.name)),
            };
            match buffer.get(..length).and_then(Frame::parse) {
                Some(frame) => self.leave(index, now, frame),
                None => self.outside.foreign += 1,
            }
        }
        Ok(true)
    }

    /// From a host: out through its NATs, and up.
    fn leave(&mut self, index: usize, now: Duration, mut frame: Frame) {
        let Some(port) = self.ports.get_mut(index) else { return };
        if !port.nats.is_empty() {
            let Some(packet) = frame.take_datagram() else {
                self.outside.not_udp += 1;
                return;
            };
            // What a NAT refuses it counts.
            let Some((packet, has_turned)) = outwards(&mut port.nats, now, packet) else { return };
            frame.set_datagram(packet);
            if has_turned {
                return self.push(now, Towards::Inside(index), frame);
            }
        }
        let sent = through(&mut port.up, now, frame);
        self.launch(Towards::Core(index), sent);
    }

    fn deliver_due(&mut self, now: Duration) {
        while let Some(Reverse(next)) = self.flying.peek()
            && next.at <= now
            && let Some(Reverse(flying)) = self.flying.pop()
        {
            self.flying_bytes = self.flying_bytes.saturating_sub(flying.frame.size());
            match flying.towards {
                Towards::Core(from) => {
                    if let Some(port) = self.ports.get_mut(from) {
                        count_arrival(&mut port.up, &flying.frame);
                    }
                    self.route(flying.at, flying.frame);
                }
                Towards::Host(index) => self.come(index, flying.at, flying.frame),
                Towards::Inside(index) => self.deliver(index, &flying.frame),
            }
        }
    }

    /// From the core down to whoever has the address. The time is when the packet was due, not when we came to it: a link that is
    /// behind another must not add our own lateness to its own delay.
    fn route(&mut self, at: Duration, frame: Frame) {
        let index = self.routes.get(&frame.to()).copied();
        match index.and_then(|index| Some((index, self.ports.get_mut(index)?))) {
            Some((index, port)) => {
                let sent = through(&mut port.down, at, frame);
                self.launch(Towards::Host(index), sent);
            }
            None => self.outside.nobody += 1,
        }
    }

    /// From the link down: in through the NATs, to the host.
    fn come(&mut self, index: usize, at: Duration, mut frame: Frame) {
        let Some(port) = self.ports.get_mut(index) else { return };
        count_arrival(&mut port.down, &frame);
        if !port.nats.is_empty() {
            let Some(packet) = frame.take_datagram() else {
                self.outside.not_udp += 1;
                return;
            };
            let Some(packet) = inwards(&mut port.nats, at, packet) else { return };
            frame.set_datagram(packet);
        }
        self.deliver(index, &frame);
    }

    fn deliver(&mut self, index: usize, frame: &Frame) {
        let Some(port) = self.ports.get(index) else { return };
        if port.device.send_vectored(&frame.slices()).is_err() {
            self.outside.refused += 1;
        }
    }

    /// Puts a packet, and its copy if there is one, on the way.
    fn launch(&mut self, towards: Towards, sent: Option<Sent>) {
        let Some(Sent { frame, first, copy }) = sent else { return };
        if let Some(copy) = copy {
            self.push(copy, towards, frame.clone());
        }
        self.push(first, towards, frame);
    }

    fn push(&mut self, at: Duration, towards: Towards, frame: Frame) {
        if self.flying_bytes + frame.size() > MAX_FLYING_BYTES {
            self.outside.overload += 1;
            return;
        }
        self.flying_bytes += frame.size();
        self.flying.push(Reverse(Flying { at, sequence: self.next_sequence, towards, frame }));
        self.next_sequence += 1;
    }

    /// Waits until a host sends something, or the next packet is due.
    fn wait(&self) -> Result<(), Failure> {
        let due = self.flying.peek().map(|Reverse(next)| next.at.saturating_sub(self.clock.now()));
        let timeout = TimeSpec::from_duration(due.unwrap_or(IDLE).min(IDLE));
        let mut polled: Vec<PollFd<'_>> =
            self.ports.iter().map(|port| PollFd::new(port.device.as_fd(), PollFlags::POLLIN)).collect();
        match ppoll(&mut polled, Some(timeout), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context(|| "cannot wait for packets".into()),
        }
    }
}

/// A packet that a link took, and when it arrives.
struct Sent {
    frame: Frame,
    first: Duration,
    copy: Option<Duration>,
}

/// Through one link.
fn through(pipe: &mut Pipe, now: Duration, mut frame: Frame) -> Option<Sent> {
    let corrupted = pipe.counters.corrupted;
    let size = frame.size();
    let arrivals = pipe.accept(now, size, &mut frame.payload)?;
    if pipe.counters.corrupted > corrupted {
        // The damage is of the kind that no checksum noticed.
        frame.seal();
    }
    if arrivals.is_late && frame.ecn().is_capable() {
        pipe.counters.marked += 1;
        frame.mark();
    }
    Some(Sent { frame, first: arrivals.first, copy: arrivals.copy })
}

/// Through NATs from inside out. `true`: one of them turned it round, and it is for the inside again.
fn outwards(nats: &mut [Nat], now: Duration, mut packet: Packet) -> Option<(Packet, bool)> {
    for level in 0..nats.len() {
        let so_far = nats.get_mut(..=level)?;
        let nat = so_far.last_mut()?;
        packet = nat.outbound(now, packet).ok()?;
        if packet.to.ip() == nat.outside() {
            return Some((inwards(so_far, now, packet)?, true));
        }
    }
    Some((packet, false))
}

/// Through NATs from outside in.
fn inwards(nats: &mut [Nat], now: Duration, mut packet: Packet) -> Option<Packet> {
    for nat in nats.iter_mut().rev() {
        packet = nat.inbound(now, packet).ok()?;
    }
    Some(packet)
}

/// A link counts what it takes and drops; that a packet arrived is known only here.
const fn count_arrival(pipe: &mut Pipe, frame: &Frame) {
    pipe.counters.delivered += 1;
    pipe.counters.delivered_bytes += frame.payload.len() as u64;
}

fn is_not_now(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Flying {}

impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By time, then in the order in which they were sent.
impl Ord for Flying {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
