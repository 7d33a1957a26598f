//! The network: its clock, its events, and what is asked of it.

use super::fault::Fault;
use super::host::{Host, Verdict};
use super::places::Place;
use super::routing::{Flight, Origin};
use super::site::{NatId, Site};
use super::slab::Slab;
use crate::link::Link;
use crate::packet::Packet;
use crate::pipe::{Counters, Pipe};
use crate::profile::Profile;
use core::cmp::Reverse;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::DefaultHasher;
use std::net::IpAddr;

/// The step of a host's clock. A host that wants to be woken again at the instant at which it was just woken waits this long, so
/// that time passes whatever a host asks for.
const CLOCK_STEP: Duration = Duration::from_micros(1);

/// Packets a host may send in one go before others have their turn, one step of the clock later.
const MAX_BURST: usize = 4096;

type Tap = Box<dyn FnMut(Duration, &Packet) -> Verdict>;
type Restart<H> = Box<dyn FnMut(Duration, Site) -> Option<H>>;

/// Hosts and NATs by [`Site`], and the links between neighbours.
///
/// In the world, all sites are neighbours. Behind a NAT is a realm of its own, whose hosts and NATs are neighbours of each other and of
/// that NAT; addresses there mean nothing elsewhere. What is sent to an address that no one in the realm has goes to its NAT, and
/// from there on, each hop by a link of its own: [`counters`](Self::counters), links and cuts are between neighbours.
///
/// A host lives at one port, or is a [machine](Site::machine) that has all ports of its address, or [of several](Self::add_address).
///
/// Everything is decided by the seed and by the order of the calls. A link comes into being when its first packet is sent, with
/// dice of its own, so that traffic elsewhere changes nothing on it.
pub struct Network<H> {
    /// Whether hosts hear [`handle_unreachable`](Host::handle_unreachable), after a round trip. Real networks are often silent,
    /// and so is this one unless told otherwise.
    pub unreachable_is_reported: bool,
    pub(super) now: Duration,
    seed: u64,
    /// Every site that was ever used, and its number, which is what the other tables are sorted by.
    pub(super) indexes: BTreeMap<Site, u32>,
    pub(super) places: Vec<Place<H>>,
    pub(super) nats: u32,
    /// The NATs by their outside addresses, and the realms these are in.
    pub(super) outsides: BTreeMap<(Option<NatId>, IpAddr), NatId>,
    /// Addresses of which one host has all ports, and the realms these are in.
    pub(super) machines: BTreeSet<(Option<NatId>, IpAddr)>,
    /// Private addresses at which there are or were hosts.
    pub(super) inhabited: BTreeSet<(NatId, IpAddr)>,
    pub(super) default_link: Link,
    pub(super) pipes: BTreeMap<(u32, u32), Pipe>,
    pub(super) cuts: BTreeSet<(u32, u32)>,
    pub(super) faults: Vec<Fault>,
    pub(super) restart: Option<Restart<H>>,
    events: BinaryHeap<Reverse<Scheduled>>,
    next_sequence: u64,
    pub(super) flying: Slab<Flight>,
    /// Hosts that were lent to the caller and may have something to say.
    pub(super) touched: Vec<u32>,
    pub(super) tap: Option<Tap>,
    pub(super) transcript: Option<DefaultHasher>,
    /// What happened to packets that came by no link.
    pub(super) outside: Counters,
}

/// One entry of the heap. The order of the fields is the order of events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    at: Duration,
    sequence: u64,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// When a packet reaches its destination: its place in the slab.
    Arrival(u32),
    /// When a host asked to be woken.
    Wake(u32),
    /// When a sender learns that nobody listens: the sender, the destination.
    Unreachable(u32, u32),
    /// When something goes wrong: its place in the list.
    Fault(u32),
}

impl<H: Host> Network<H> {
    /// An empty network. Links are like `default_link` unless [`set_link`](Self::set_link) says otherwise.
    pub fn new(seed: u64, default_link: Link) -> Self {
        Self {
            unreachable_is_reported: false,
            now: Duration::ZERO,
            seed,
            indexes: BTreeMap::new(),
            places: Vec::new(),
            nats: 0,
            outsides: BTreeMap::new(),
            machines: BTreeSet::new(),
            inhabited: BTreeSet::new(),
            default_link,
            pipes: BTreeMap::new(),
            cuts: BTreeSet::new(),
            faults: Vec::new(),
            restart: None,
            events: BinaryHeap::new(),
            next_sequence: 0,
            flying: Slab::new(),
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

    /// Replaces the link from one neighbour to another. What is on its way arrives; the queue starts empty, the counters go on.
    pub fn set_link(&mut self, from: impl Into<Site>, to: impl Into<Site>, link: Link) {
        let (from, to) = (self.intern(from.into()), self.intern(to.into()));
        self.pipe_mut(from, to).relink(link);
    }

    /// Replaces the links in both directions by what a home with this access has towards the world.
    pub fn set_profile(&mut self, home: impl Into<Site>, world: impl Into<Site>, profile: Profile) {
        let (home, world) = (home.into(), world.into());
        self.set_link(home, world, profile.up());
        self.set_link(world, home, profile.down());
    }

    /// Delivers a packet of the world at once, past its link and the tap: what an attacker or a test puts on the wire, with whatever
    /// sender's address. If it is for a NAT, it goes on from there as others do.
    pub fn inject(&mut self, packet: Packet) {
        self.drain_touched();
        let from = self.intern(packet.from.into());
        let to = self.way_to(None, packet.to);
        self.arrive(from, to, packet, Origin::Outside);
    }

    /// Shows every packet to `tap` before its link sees it, on each hop of its way: to count, to keep copies, or to take chosen ones away.
    pub fn set_tap(&mut self, tap: impl FnMut(Duration, &Packet) -> Verdict + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// What happened on the link from one neighbour to another.
    pub fn counters(&self, from: impl Into<Site>, to: impl Into<Site>) -> Counters {
        let key = self.index_of(from.into()).zip(self.index_of(to.into()));
        key.and_then(|key| self.pipes.get(&key)).map_or_else(Counters::default, |pipe| pipe.counters)
    }

    /// What happened on all links, and to what was injected. A packet that passes a NAT is counted on each of its links; what a NAT
    /// refuses was delivered to it, and is in [its counters](crate::Nat::counters).
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
                if let Some(Flight { from, to, packet }) = self.flying.take(ticket) {
                    self.arrive(from, to, packet, Origin::Link);
                }
            }
            What::Wake(index) => self.wake(index, event.at),
            What::Fault(number) => {
                if let Some(fault) = self.faults.get(number as usize).copied() {
                    self.apply(&fault);
                }
            }
            What::Unreachable(sender, to) => {
                let now = self.now;
                if let Some(Site::Host { address: to, .. }) = self.place(to).map(|place| place.site)
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

    fn drain_touched(&mut self) {
        while let Some(index) = self.touched.pop() {
            self.drain(index);
        }
    }

    /// Takes what a host wants to send, and notes when it wants to be woken.
    pub(super) fn drain(&mut self, index: u32) {
        let now = self.now;
        let mut burst = 0;
        while burst < MAX_BURST {
            let Some(place) = self.place_mut(index).filter(|place| !place.paused) else { return };
            let Some(packet) = place.host.as_mut().and_then(|host| host.poll_transmit(now)) else { break };
            self.send(index, packet);
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

    pub(super) fn schedule(&mut self, at: Duration, what: What) {
        self.events.push(Reverse(Scheduled { at, sequence: self.next_sequence, what }));
        self.next_sequence += 1;
    }

    /// Different for each link and NAT, and the same in each run.
    pub(super) fn seed_of(&self, what: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        what.hash(&mut hasher);
        hasher.finish()
    }
}

impl<H> fmt::Debug for Network<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network at {:?}, seed {}, {} events ahead", self.now, self.seed, self.events.len())
    }
}
