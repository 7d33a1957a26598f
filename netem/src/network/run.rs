//! Hosts, the links between them, the clock, and what can go wrong.

use crate::link::Link;
use crate::packet::Packet;
use crate::pipe::{Counters, Pipe};
use crate::profile::Profile;
use core::cmp::Reverse;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::hash::DefaultHasher;
use std::net::SocketAddr;

/// Whatever sends and receives datagrams. The network keeps one sentence: after any call it drains
/// [`poll_transmit`](Self::poll_transmit), then waits for a datagram or for [`poll_timeout`](Self::poll_timeout).
pub trait Host {
    /// A datagram arrived. It may be opened in place.
    fn handle_datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]);

    /// The time last returned by [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Duration);

    /// What to send next.
    fn poll_transmit(&mut self, now: Duration) -> Option<Packet>;

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    fn poll_timeout(&self) -> Option<Duration>;

    /// Nobody listens at `to`, says the system there. Called only if
    /// [`unreachable_is_reported`](Network::unreachable_is_reported).
    fn handle_unreachable(&mut self, now: Duration, to: SocketAddr) {
        let _ = (now, to);
    }
}

/// What a tap does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Lets the link decide.
    Pass,
    /// Takes it away.
    Drop,
}

/// UDP payload, in bytes, that is kept for a paused host: what Linux gives a socket by default (`net.core.rmem_default`).
pub const SOCKET_BUFFER: usize = 212_992;

/// The step of a host's clock. A host that wants to be woken again at the instant at which it was just woken waits this long, so
/// that time passes whatever a host asks for.
const CLOCK_STEP: Duration = Duration::from_micros(1);

/// Packets a host may send in one go before others have their turn, one step of the clock later.
const MAX_BURST: usize = 4096;

type Tap = Box<dyn FnMut(Duration, &Packet) -> Verdict>;

/// Hosts by address, and the links between them.
///
/// Everything is decided by the seed and by the order of the calls. A link comes into being when its first packet is sent, with
/// dice of its own, so that traffic elsewhere changes nothing on it.
pub struct Network<H> {
    /// Whether hosts hear [`handle_unreachable`](Host::handle_unreachable), after a round trip. Real networks are often silent,
    /// and so is this one unless told otherwise.
    pub unreachable_is_reported: bool,
    now: Duration,
    seed: u64,
    /// Every address that was ever used, and its number, which is what the other tables are sorted by.
    addresses: BTreeMap<SocketAddr, u32>,
    places: Vec<Place<H>>,
    default_link: Link,
    pipes: BTreeMap<(u32, u32), Pipe>,
    cuts: BTreeSet<(u32, u32)>,
    events: BinaryHeap<Reverse<Scheduled>>,
    next_sequence: u64,
    flying: Slab,
    /// Hosts that were lent to the caller and may have something to say.
    touched: Vec<u32>,
    tap: Option<Tap>,
    transcript: Option<DefaultHasher>,
    outside: Counters,
}

/// An address, and who lives there.
struct Place<H> {
    address: SocketAddr,
    host: Option<H>,
    paused: bool,
    /// What arrived during the pause.
    buffer: VecDeque<Packet>,
    buffered_bytes: usize,
    /// The earliest wake-up in the heap. Later ones may be there too: they do nothing.
    wake_at: Option<Duration>,
    /// When the host was last woken.
    woken_at: Option<Duration>,
}

/// One entry of the heap. The order of the fields is the order of events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    at: Duration,
    sequence: u64,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// When a packet reaches its destination: its place in the slab.
    Arrival(u32),
    /// When a host asked to be woken.
    Wake(u32),
    /// When a sender learns that nobody listens: the sender, the destination.
    Unreachable(u32, u32),
}

/// Who put a packet before its destination's door.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Link,
    Outside,
}

impl<H: Host> Network<H> {
    /// An empty network. Links are like `default_link` unless [`set_link`](Self::set_link) says otherwise.
    pub fn new(seed: u64, default_link: Link) -> Self {
        Self {
            unreachable_is_reported: false,
            now: Duration::ZERO,
            seed,
            addresses: BTreeMap::new(),
            places: Vec::new(),
            default_link,
            pipes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            events: BinaryHeap::new(),
            next_sequence: 0,
            flying: Slab::default(),
            touched: Vec::new(),
            tap: None,
            transcript: None,
            outside: Counters::default(),
        }
    }

    /// The time since the run began.
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// Puts a host at an address. Gives back the host that was there.
    pub fn add(&mut self, address: SocketAddr, host: H) -> Option<H> {
        let index = self.intern(address);
        self.touched.push(index);
        let place = self.place_mut(index)?;
        place.paused = false;
        place.buffer.clear();
        place.buffered_bytes = 0;
        place.host.replace(host)
    }

    /// Where there are hosts, in the order in which the addresses were first used.
    pub fn hosts(&self) -> impl Iterator<Item = (SocketAddr, &H)> {
        self.places.iter().filter_map(|place| Some((place.address, place.host.as_ref()?)))
    }

    /// The host at an address.
    pub fn host(&self, address: SocketAddr) -> Option<&H> {
        self.place(*self.addresses.get(&address)?)?.host.as_ref()
    }

    /// The host at an address, to be given orders: what it wants to send leaves as soon as the network runs on.
    pub fn host_mut(&mut self, address: SocketAddr) -> Option<&mut H> {
        let index = *self.addresses.get(&address)?;
        self.touched.push(index);
        self.place_mut(index)?.host.as_mut()
    }

    /// Replaces the link in one direction. What is on its way arrives; the queue starts empty, the counters go on.
    pub fn set_link(&mut self, from: SocketAddr, to: SocketAddr, link: Link) {
        let key = (self.intern(from), self.intern(to));
        let seed = self.seed_of(key);
        match self.pipes.get_mut(&key) {
            Some(pipe) => pipe.relink(link),
            None => {
                self.pipes.insert(key, Pipe::new(link, seed));
            }
        }
    }

    /// Replaces the links in both directions by what a home with this access has towards the world.
    pub fn set_profile(&mut self, home: SocketAddr, world: SocketAddr, profile: Profile) {
        self.set_link(home, world, profile.up());
        self.set_link(world, home, profile.down());
    }

    /// Nothing passes between two addresses in either direction, what is on its way included, until [`heal`](Self::heal).
    pub fn cut(&mut self, a: SocketAddr, b: SocketAddr) {
        let (a, b) = (self.intern(a), self.intern(b));
        self.cuts.insert((a.min(b), a.max(b)));
    }

    /// Undoes [`cut`](Self::cut).
    pub fn heal(&mut self, a: SocketAddr, b: SocketAddr) {
        let (a, b) = (self.intern(a), self.intern(b));
        self.cuts.remove(&(a.min(b), a.max(b)));
    }

    /// Freezes a host, as a stopped process is frozen: it is not called, and what arrives waits in its socket buffer of
    /// [`SOCKET_BUFFER`] bytes, or is lost.
    pub fn pause(&mut self, address: SocketAddr) {
        let index = self.intern(address);
        if let Some(place) = self.place_mut(index) {
            place.paused = true;
        }
    }

    /// Lets a paused host go on: first it hears what waited, then what it slept through.
    pub fn resume(&mut self, address: SocketAddr) {
        let index = self.intern(address);
        let Some(place) = self.place_mut(index) else { return };
        place.paused = false;
        place.buffered_bytes = 0;
        for packet in core::mem::take(&mut place.buffer) {
            self.deliver(packet, Origin::Link);
        }
        self.drain(index);
    }

    /// Takes a host away, without a word to anybody. What is on its way to it is lost, unless another host is put there.
    pub fn crash(&mut self, address: SocketAddr) -> Option<H> {
        let index = *self.addresses.get(&address)?;
        let place = self.place_mut(index)?;
        place.paused = false;
        place.buffer.clear();
        place.buffered_bytes = 0;
        place.host.take()
    }

    /// Delivers a packet at once, past all links and the tap: what an attacker or a test puts on the wire, with whatever sender's address.
    pub fn inject(&mut self, packet: Packet) {
        self.drain_touched();
        self.deliver(packet, Origin::Outside);
    }

    /// Shows every packet to `tap` before its link sees it: to count, to keep copies, or to take chosen ones away.
    pub fn set_tap(&mut self, tap: impl FnMut(Duration, &Packet) -> Verdict + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// What happened on the link from one address to another.
    pub fn counters(&self, from: SocketAddr, to: SocketAddr) -> Counters {
        let key = self.addresses.get(&from).zip(self.addresses.get(&to));
        key.and_then(|(&from, &to)| self.pipes.get(&(from, to))).map_or_else(Counters::default, |pipe| pipe.counters)
    }

    /// What happened on all links, and to what was injected.
    pub fn total(&self) -> Counters {
        let mut total = self.outside;
        for pipe in self.pipes.values() {
            total.add(&pipe.counters);
        }
        total
    }

    /// Starts to hash every delivery: time, addresses, bytes. Costs about a nanosecond a byte.
    pub fn keep_transcript(&mut self) {
        self.transcript = Some(DefaultHasher::new());
    }

    /// The hash of all deliveries since [`keep_transcript`](Self::keep_transcript). Two runs with the same seed and the same
    /// calls have the same. Comparable within one build only.
    pub fn transcript(&self) -> Option<u64> {
        self.transcript.as_ref().map(Hasher::finish)
    }

    /// Runs until `condition` holds, or until `deadline` (a time since the beginning of the run). Says whether it holds. It is asked
    /// before the first event and after each; it may give orders to hosts.
    pub fn run_until(&mut self, deadline: Duration, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            self.drain_touched();
            let holds = condition(self);
            self.drain_touched();
            if holds {
                return true;
            }
            if self.events.peek().is_none_or(|Reverse(event)| event.at > deadline) {
                self.now = self.now.max(deadline);
                return false;
            }
            self.step();
        }
    }

    /// Runs for a while.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration, |_| false);
    }

    /// Lets the next event happen.
    fn step(&mut self) {
        let Some(Reverse(event)) = self.events.pop() else { return };
        self.now = self.now.max(event.at);
        match event.what {
            What::Arrival(ticket) => {
                if let Some(packet) = self.flying.take(ticket) {
                    self.deliver(packet, Origin::Link);
                }
            }
            What::Wake(index) => self.wake(index, event.at),
            What::Unreachable(sender, to) => {
                let now = self.now;
                if let Some(to) = self.place(to).map(|place| place.address)
                    && let Some(host) = self.place_mut(sender).and_then(|place| place.host.as_mut())
                {
                    host.handle_unreachable(now, to);
                    self.drain(sender);
                }
            }
        }
    }

    fn wake(&mut self, index: u32, at: Duration) {
        let now = self.now;
        let Some(place) = self.place_mut(index) else { return };
        if place.wake_at != Some(at) {
            return;
        }
        place.wake_at = None;
        if place.paused {
            return;
        }
        if let Some(host) = &mut place.host
            && host.poll_timeout().is_some_and(|timeout| timeout <= now)
        {
            host.handle_timeout(now);
            place.woken_at = Some(now);
        }
        self.drain(index);
    }

    fn deliver(&mut self, mut packet: Packet, origin: Origin) {
        let now = self.now;
        let key = (self.intern(packet.from), self.intern(packet.to));
        let is_cut = self.is_cut(key);
        let Some(place) = self.places.get_mut(key.1 as usize) else { return };
        let counters = match (self.pipes.get_mut(&key), origin) {
            (Some(pipe), Origin::Link) => &mut pipe.counters,
            _ => &mut self.outside,
        };
        if is_cut {
            counters.dropped.cut += 1;
            return;
        }
        let Some(host) = &mut place.host else {
            counters.dropped.nobody += 1;
            if self.unreachable_is_reported {
                let way_back = self.pipes.get(&(key.1, key.0)).map_or(self.default_link.delay, |pipe| pipe.link.delay);
                self.schedule(now + way_back, What::Unreachable(key.0, key.1));
            }
            return;
        };
        if place.paused {
            if place.buffered_bytes + packet.bytes.len() > SOCKET_BUFFER {
                counters.dropped.socket_buffer += 1;
            } else {
                place.buffered_bytes += packet.bytes.len();
                place.buffer.push_back(packet);
            }
            return;
        }
        counters.delivered += 1;
        counters.delivered_bytes += packet.bytes.len() as u64;
        if let Some(transcript) = &mut self.transcript {
            (now, &packet).hash(transcript);
        }
        host.handle_datagram(now, packet.from, packet.to, &mut packet.bytes);
        self.drain(key.1);
    }

    fn drain_touched(&mut self) {
        while let Some(index) = self.touched.pop() {
            self.drain(index);
        }
    }

    /// Takes what a host wants to send, and notes when it wants to be woken.
    fn drain(&mut self, index: u32) {
        let now = self.now;
        let mut burst = 0;
        while burst < MAX_BURST {
            let Some(place) = self.place_mut(index).filter(|place| !place.paused) else { return };
            let Some(packet) = place.host.as_mut().and_then(|host| host.poll_transmit(now)) else { break };
            self.send(packet);
            burst += 1;
        }
        let Some(place) = self.place_mut(index) else { return };
        let wanted = if burst == MAX_BURST { Some(now) } else { place.host.as_ref().and_then(Host::poll_timeout) };
        let Some(wanted) = wanted else { return };
        let earliest = if place.woken_at == Some(now) || burst == MAX_BURST { now + CLOCK_STEP } else { now };
        let at = wanted.max(earliest);
        if place.wake_at.is_none_or(|scheduled| at < scheduled) {
            place.wake_at = Some(at);
            self.schedule(at, What::Wake(index));
        }
    }

    fn send(&mut self, mut packet: Packet) {
        let now = self.now;
        let key = (self.intern(packet.from), self.intern(packet.to));
        let is_cut = self.is_cut(key);
        let verdict = self.tap.as_mut().map_or(Verdict::Pass, |tap| tap(now, &packet));
        let seed = self.seed_of(key);
        let pipe = self.pipes.entry(key).or_insert_with(|| Pipe::new(self.default_link.clone(), seed));
        if is_cut || verdict == Verdict::Drop {
            pipe.counters.sent += 1;
            pipe.counters.sent_bytes += packet.bytes.len() as u64;
            pipe.counters.dropped.cut += u64::from(is_cut);
            pipe.counters.dropped.tap += u64::from(!is_cut);
            return;
        }
        let wire_size = packet.headers() + packet.bytes.len();
        let Some(arrivals) = pipe.accept(now, wire_size, &mut packet.bytes) else { return };
        if let Some(at) = arrivals.copy {
            self.fly(at, packet.clone());
        }
        self.fly(arrivals.first, packet);
    }

    fn fly(&mut self, at: Duration, packet: Packet) {
        let ticket = self.flying.put(packet);
        self.schedule(at, What::Arrival(ticket));
    }

    fn schedule(&mut self, at: Duration, what: What) {
        self.events.push(Reverse(Scheduled { at, sequence: self.next_sequence, what }));
        self.next_sequence += 1;
    }

    fn is_cut(&self, (from, to): (u32, u32)) -> bool {
        !self.cuts.is_empty() && self.cuts.contains(&(from.min(to), from.max(to)))
    }

    fn intern(&mut self, address: SocketAddr) -> u32 {
        if let Some(&index) = self.addresses.get(&address) {
            return index;
        }
        let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.addresses.insert(address, index);
        self.places.push(Place {
            address,
            host: None,
            paused: false,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            wake_at: None,
            woken_at: None,
        });
        index
    }

    fn place(&self, index: u32) -> Option<&Place<H>> {
        self.places.get(index as usize)
    }

    fn place_mut(&mut self, index: u32) -> Option<&mut Place<H>> {
        self.places.get_mut(index as usize)
    }

    /// Different for each link, and the same in each run.
    fn seed_of(&self, (from, to): (u32, u32)) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, from, to).hash(&mut hasher);
        hasher.finish()
    }
}

impl<H> fmt::Debug for Network<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network at {:?}, seed {}, {} events ahead", self.now, self.seed, self.events.len())
    }
}

/// Packets on their way, so that the heap moves small entries only.
#[derive(Default)]
struct Slab {
    packets: Vec<Option<Packet>>,
    free: Vec<u32>,
}

impl Slab {
    fn put(&mut self, packet: Packet) -> u32 {
        if let Some(ticket) = self.free.pop()
            && let Some(slot) = self.packets.get_mut(ticket as usize)
        {
            *slot = Some(packet);
            return ticket;
        }
        self.packets.push(Some(packet));
        u32::try_from(self.packets.len() - 1).unwrap_or(u32::MAX)
    }

    fn take(&mut self, ticket: u32) -> Option<Packet> {
        let packet = self.packets.get_mut(ticket as usize)?.take()?;
        self.free.push(ticket);
        Some(packet)
    }
}
