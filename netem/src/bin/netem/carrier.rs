//! The loop that carries packets between devices, through the library's links, in real time.

use crate::clock::Clock;
use crate::failure::{Context, Failure};
use crate::frame::Frame;
use crate::gates::{Door, Gates, Passed, Realm};
use core::cmp::{Ordering, Reverse};
use core::time::Duration;
use netem::{Counters, NatCounters, Pipe};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tun_rs::SyncDevice;

/// Packets read from one device before the others have their turn.
const BATCH: usize = 64;

/// Bytes on their way, at most: a gigabit per second for four seconds. Beyond that packets are dropped and counted.
const MAX_FLYING_BYTES: usize = 512 << 20;

/// How long the loop waits at most before it looks whether it shall stop.
const IDLE: Duration = Duration::from_millis(20);

/// A host's device.
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) device: SyncDevice,
    /// Behind what it is with IPv4. Nothing translates IPv6.
    pub(crate) realm: Realm,
    /// Whose links it uses.
    pub(crate) access: usize,
}

/// The two links between the core and a host, or the outermost NAT of several.
pub(crate) struct Access {
    /// Of the first host that uses it.
    pub(crate) name: String,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// Between the hosts and the links, the innermost first.
    pub(crate) nats: Vec<usize>,
}

/// Everything that carries.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) ports: Vec<Port>,
    pub(crate) accesses: Vec<Access>,
    pub(crate) gates: Gates,
    /// Whose links lead to an address of the world.
    pub(crate) routes: BTreeMap<IpAddr, usize>,
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
    /// Not IP.
    pub(crate) foreign: u64,
    /// Not UDP, or a fragment, at a NAT.
    pub(crate) not_udp: u64,
    /// To an address that no host has.
    pub(crate) nobody: u64,
    /// Between two that were cut apart.
    pub(crate) cut: u64,
    /// More on their way than this program holds.
    pub(crate) overload: u64,
    /// Not taken by the kernel.
    pub(crate) refused: u64,
}

/// What is asked of a carrier at work.
enum Order {
    /// This NAT loses its power for a moment.
    Reboot(usize),
    /// Nothing passes between these two accesses, either way.
    Cut(usize, usize),
    /// Everything passes again.
    Heal,
}

/// A carrier at work on its thread, which ends when this is dropped.
pub(crate) struct Carrying {
    stop: Arc<AtomicBool>,
    orders: Sender<Order>,
    /// UDP payload and what stands for it, in bytes, that each access has sent up.
    sent_up: Arc<Vec<AtomicU64>>,
    thread: Option<JoinHandle<Result<Report, Failure>>>,
}

impl Carrying {
    pub(crate) fn start(parts: Parts) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let sent_up: Arc<Vec<AtomicU64>> = Arc::new(parts.accesses.iter().map(|_| AtomicU64::new(0)).collect());
        let (orders, inbox) = channel();
        let carrier = Carrier::new(parts, Arc::clone(&stop), inbox, Arc::clone(&sent_up));
        let thread = std::thread::Builder::new().name("carrier".into()).spawn(|| carrier.run());
        let thread = Some(thread.context(|| "cannot start a thread".into())?);
        Ok(Self { stop, orders, sent_up, thread })
    }

    /// Whether it has ended although nobody stopped it.
    pub(crate) fn has_failed(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Payload bytes that this access has sent up so far.
    pub(crate) fn sent_up(&self, access: usize) -> u64 {
        self.sent_up.get(access).map_or(0, |sent| sent.load(atomic::Ordering::Relaxed))
    }

    /// Lets a NAT lose its power for a moment.
    pub(crate) fn reboot(&self, nat: usize) {
        // A carrier that has ended has nothing to forget.
        let _ = self.orders.send(Order::Reboot(nat));
    }

    /// Lets nothing pass between two accesses, either way.
    pub(crate) fn cut(&self, a: usize, b: usize) {
        let _ = self.orders.send(Order::Cut(a, b));
    }

    /// Lets everything pass again that was cut.
    pub(crate) fn heal(&self) {
        let _ = self.orders.send(Order::Heal);
    }

    pub(crate) fn stop(mut self) -> Result<Report, Failure> {
        self.stop.store(true, atomic::Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(Report::default()) };
        thread.join().map_err(|_| Failure::new("the thread that carries packets panicked"))?
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        self.stop.store(true, atomic::Ordering::Relaxed);
    }
}

struct Carrier {
    parts: Parts,
    orders: Receiver<Order>,
    sent_up: Arc<Vec<AtomicU64>>,
    /// Pairs of accesses between which nothing passes, each both ways round.
    cuts: BTreeSet<(usize, usize)>,
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
    /// At the core, from this access; there it takes the link down to its destination.
    Core(usize),
    /// At whoever has its address in the world, by the link of this access.
    Door(usize),
    /// At the host with this device.
    Host(usize),
}

impl Carrier {
    fn new(parts: Parts, stop: Arc<AtomicBool>, orders: Receiver<Order>, sent_up: Arc<Vec<AtomicU64>>) -> Self {
        Self {
            parts,
            orders,
            sent_up,
            cuts: BTreeSet::new(),
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
            self.obey();
            let now = self.clock.now();
            self.deliver_due(now);
            let mut has_read = false;
            for index in 0..self.parts.ports.len() {
                has_read |= self.read(index, &mut buffer)?;
            }
            for (access, sent_up) in self.parts.accesses.iter().zip(&*self.sent_up) {
                sent_up.store(access.up.counters.sent_bytes, atomic::Ordering::Relaxed);
            }
            if !has_read {
                self.wait()?;
            }
        }
        let Parts { accesses, gates, .. } = self.parts;
        let link = |access: Access| LinkReport {
            host: access.name,
            up: access.up.counters,
            down: access.down.counters,
            nats: access.nats.iter().filter_map(|nat| gates.counters(*nat)).collect(),
        };
        Ok(Report { links: accesses.into_iter().map(link).collect(), outside: self.outside })
    }

    /// Does what was asked for since the last time.
    fn obey(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Reboot(nat) => self.parts.gates.reboot(nat),
                Order::Cut(a, b) => self.cuts.extend([(a, b), (b, a)]),
                Order::Heal => self.cuts.clear(),
            }
        }
    }

    /// Takes what a host sent, a batch at most.
    fn read(&mut self, index: usize, buffer: &mut [u8]) -> Result<bool, Failure> {
        let now = self.clock.now();
        for turn in 0..BATCH {
            let Some(port) = self.parts.ports.get_mut(index) else { return Ok(false) };
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
        let Some(Port { realm, access, .. }) = self.parts.ports.get(index) else { return };
        let (realm, access) = (*realm, *access);
        if frame.to().is_multicast() {
            // Heard at home; a host of the world has no neighbours.
            let neighbours = if realm.is_some() { self.parts.gates.neighbours(realm, index) } else { Vec::new() };
            neighbours.into_iter().for_each(|host| self.deliver(host, &frame));
            return;
        }
        if realm.is_some() && frame.to().is_ipv4() {
            let Some(packet) = frame.take_datagram() else {
                self.outside.not_udp += 1;
                return;
            };
            // What a NAT refuses it counts.
            match self.parts.gates.outwards(realm, now, packet) {
                None => return,
                Some(Passed::World(packet)) => frame.set_datagram(packet),
                Some(Passed::Host(host, packet)) => {
                    frame.set_datagram(packet);
                    return self.push(now, Towards::Host(host), frame);
                }
            };
        }
        let Some(up) = self.parts.accesses.get_mut(access).map(|access| &mut access.up) else { return };
        let sent = through(up, now, frame);
        self.launch(Towards::Core(access), sent);
    }

    fn deliver_due(&mut self, now: Duration) {
        while let Some(Reverse(next)) = self.flying.peek()
            && next.at <= now
            && let Some(Reverse(flying)) = self.flying.pop()
        {
            self.flying_bytes = self.flying_bytes.saturating_sub(flying.frame.size());
            match flying.towards {
                Towards::Core(from) => {
                    if let Some(access) = self.parts.accesses.get_mut(from) {
                        count_arrival(&mut access.up, &flying.frame);
                    }
                    self.route(from, flying.at, flying.frame);
                }
                Towards::Door(access) => self.come(access, flying.at, flying.frame),
                Towards::Host(host) => self.deliver(host, &flying.frame),
            }
        }
    }

    /// From the core down to whoever has the address. The time is when the packet was due, not when we came to it: a link that is
    /// behind another must not add our own lateness to its own delay.
    fn route(&mut self, from: usize, at: Duration, frame: Frame) {
        let index = self.parts.routes.get(&frame.to()).copied();
        if index.is_some_and(|to| self.cuts.contains(&(from, to))) {
            self.outside.cut += 1;
            return;
        }
        match index.and_then(|index| Some((index, self.parts.accesses.get_mut(index)?))) {
            Some((index, access)) => {
                let sent = through(&mut access.down, at, frame);
                self.launch(Towards::Door(index), sent);
            }
            None => self.outside.nobody += 1,
        }
    }

    /// From the link down: in through the NATs, to the host.
    fn come(&mut self, access: usize, at: Duration, mut frame: Frame) {
        if let Some(access) = self.parts.accesses.get_mut(access) {
            count_arrival(&mut access.down, &frame);
        }
        match self.parts.gates.at(frame.to()) {
            Some(Door::Host(host)) => self.deliver(host, &frame),
            Some(door) => {
                let Some(packet) = frame.take_datagram() else {
                    self.outside.not_udp += 1;
                    return;
                };
                let Some(Passed::Host(host, packet)) = self.parts.gates.inwards(door, at, packet) else { return };
                frame.set_datagram(packet);
                self.deliver(host, &frame);
            }
            None => self.outside.nobody += 1,
        }
    }

    fn deliver(&mut self, index: usize, frame: &Frame) {
        let Some(port) = self.parts.ports.get(index) else { return };
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
            self.parts.ports.iter().map(|port| PollFd::new(port.device.as_fd(), PollFlags::POLLIN)).collect();
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
