//! Rooms in virtual time. Links are reliable and ordered, as MRT's are; they can be cut (what was sent waits, as a transport repeats it,
//! until the link is given up), nodes can crash or stand still.

use super::super::*;
use crate::node::api::Event;
use crate::node::identity::{Identity, NodeId};
use crate::node::record::MemberRecord;
use crate::time::{Duration, Instant};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// One way, between any two.
const DELAY: Duration = Duration::from_millis(5);
/// A cut link is given up after this long.
const GIVE_UP: Duration = Duration::from_secs(5);

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) peers: Vec<Peer>,
    pub(crate) cut: BTreeSet<(usize, usize)>,
    links: BTreeMap<(usize, usize), Link>,
    queue: BTreeMap<(Instant, u64), Happening>,
    count: u64,
    rng: StdRng,
}

pub(crate) struct Peer {
    pub(crate) room: Room,
    pub(crate) id: NodeId,
    pub(crate) identity: Arc<Identity>,
    pub(crate) address: SocketAddr,
    pub(crate) alive: bool,
    pub(crate) paused: bool,
    pub(crate) left: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) said: Vec<String>,
    /// The room that each was said in.
    pub(crate) said_in: Vec<RoomId>,
    secrets: BTreeSet<crate::mrt::SecretId>,
    stash: Vec<Happening>,
}

struct Link {
    generation: u64,
    held: Vec<(usize, RoomMessage)>,
    /// The latest arrival in each direction: nothing overtakes.
    last: [Instant; 2],
}

#[derive(Clone)]
enum Happening {
    Message { from: usize, to: usize, generation: u64, message: RoomMessage },
    Linked { by: usize, to: usize, dial: DialNumber, secret: Option<crate::mrt::SecretId> },
    Up { at: usize, peer: LinkedPeer },
    Down { at: usize, id: NodeId, why: LinkDown },
    DialFailed { at: usize, dial: DialNumber, why: DialFailure },
    Heard { at: usize, id: NodeId },
    GiveUp { pair: (usize, usize), generation: u64 },
    Close { by: usize, to: usize, generation: u64 },
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    /// `n` nodes, each in a room of its own, in ascending order of their ids.
    pub(crate) fn new(seed: u64, n: usize, config: &RoomConfig) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut identities: Vec<Arc<Identity>> = (0..n).map(|_| Arc::new(Identity::from_seed(&rng.random()))).collect();
        identities.sort_by_key(|identity| identity.id());
        let peers = identities.into_iter().enumerate().map(|(index, identity)| {
            let address = SocketAddr::from(([127, 0, 0, 1], 7000 + index as u16));
            let record = MemberRecord::sign(&identity, &format!("n{index}"), &[address], 1);
            Peer {
                room: Room::new(identity.clone(), record, config.clone(), Instant::ZERO, rng.random()),
                id: identity.id(),
                identity,
                address,
                alive: true,
                paused: false,
                left: false,
                events: Vec::new(),
                said: Vec::new(),
                said_in: Vec::new(),
                secrets: BTreeSet::new(),
                stash: Vec::new(),
            }
        });
        let peers = peers.collect();
        let (links, queue, cut) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut world = Self { now: Instant::ZERO, peers, cut, links, queue, count: 0, rng };
        (0..n).for_each(|index| world.drain(index));
        world
    }

    /// `n` nodes in one room, led by node 0, joined in order.
    pub(crate) fn room_of(seed: u64, n: usize) -> Self {
        let config = RoomConfig { local: true, ..RoomConfig::default() };
        let mut world = Self::new(seed, n, &config);
        for index in 1..n {
            world.join(index, 0);
            world.run(200);
            assert_eq!(world.peers[index].room.view().entries.len(), index + 1, "node {index} is in");
        }
        world.run(2000);
        world
    }

    /// `n` nodes, of which the first `members` are in one room.
    pub(crate) fn room_of_some(seed: u64, n: usize, members: usize) -> Self {
        let config = RoomConfig { local: true, ..RoomConfig::default() };
        let mut world = Self::new(seed, n, &config);
        for index in 1..members {
            world.join(index, 0);
            world.run(100);
        }
        world.run(500);
        world
    }

    pub(crate) fn join(&mut self, who: usize, to: usize) {
        let address = self.peers[to].address;
        self.call(who, |room, now| room.join_address(now, address));
    }

    pub(crate) fn say(&mut self, who: usize, text: &str) {
        let room = self.peers[who].room.view().room;
        self.peers[who].said.push(text.to_owned());
        self.peers[who].said_in.push(room);
        self.call(who, |room, now| room.say(now, text, now.as_millis()));
    }

    pub(crate) fn quit(&mut self, who: usize) {
        self.call(who, |room, now| room.quit(now));
    }

    /// Calls a verb and does what the room then wants.
    pub(crate) fn call<T>(&mut self, who: usize, verb: impl FnOnce(&mut Room, Instant) -> T) -> T {
        let result = verb(&mut self.peers[who].room, self.now);
        self.drain(who);
        result
    }

    /// A message out of the blue over an existing link.
    pub(crate) fn inject(&mut self, from: usize, to: usize, message: RoomMessage) {
        let id = self.peers[from].id;
        self.call(to, |room, now| room.handle_message(now, id, message));
    }

    pub(crate) fn crash(&mut self, who: usize) {
        self.peers[who].alive = false;
        let id = self.peers[who].id;
        let refused = self.rng.random_bool(0.5);
        let (after, why) = if refused { (DELAY * 4, LinkDown::Refused) } else { (GIVE_UP, LinkDown::Lost) };
        let partners: Vec<(usize, usize)> =
            self.links.keys().copied().filter(|(a, b)| *a == who || *b == who).collect();
        for (a, b) in partners {
            self.links.remove(&(a, b));
            let at = if a == who { b } else { a };
            self.schedule(after, Happening::Down { at, id, why });
        }
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        let pair = pair(a, b);
        if self.cut.insert(pair)
            && let Some(link) = self.links.get(&pair)
        {
            let generation = link.generation;
            self.schedule(GIVE_UP, Happening::GiveUp { pair, generation });
        }
    }

    pub(crate) fn heal(&mut self, a: usize, b: usize) {
        let pair = pair(a, b);
        if self.cut.remove(&pair)
            && let Some(link) = self.links.get_mut(&pair)
        {
            for (from, message) in std::mem::take(&mut link.held) {
                let to = if pair.0 == from { pair.1 } else { pair.0 };
                self.transmit(from, to, message);
            }
        }
    }

    pub(crate) fn isolate(&mut self, who: usize) {
        (0..self.peers.len()).filter(|other| *other != who).for_each(|other| self.cut(who, other));
    }

    pub(crate) fn heal_all(&mut self) {
        for (a, b) in self.cut.clone() {
            self.heal(a, b);
        }
    }

    pub(crate) fn pause(&mut self, who: usize) {
        self.peers[who].paused = true;
    }

    pub(crate) fn resume(&mut self, who: usize) {
        if !std::mem::take(&mut self.peers[who].paused) {
            return;
        }
        // A real driver may find the timer or the socket first.
        if self.rng.random_bool(0.5) {
            self.call(who, Room::handle_timeout);
        }
        for happening in std::mem::take(&mut self.peers[who].stash) {
            self.happen(happening);
        }
    }

    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            let timers = (0..self.peers.len()).filter(|index| self.is_running(*index));
            let timer = timers.filter_map(|index| Some((self.peers[index].room.poll_timeout()?, index))).min();
            let first = self.queue.keys().next().copied();
            let timer_first = timer.filter(|(at, _)| first.is_none_or(|(queued, _)| *at < queued));
            if let Some((at, index)) = timer_first {
                if at > end {
                    break;
                }
                self.now = self.now.max(at);
                self.call(index, Room::handle_timeout);
                let next = self.peers[index].room.poll_timeout();
                assert!(
                    next.is_none_or(|next| next > self.now),
                    "node {index} spins at {:?}: {}",
                    self.now,
                    self.picture()
                );
            } else if let Some(key) = first.filter(|(at, _)| *at <= end) {
                self.now = self.now.max(key.0);
                let happening = self.queue.remove(&key).unwrap();
                self.happen(happening);
            } else {
                break;
            }
        }
        self.now = end;
    }

    pub(crate) fn is_running(&self, index: usize) -> bool {
        self.peers[index].alive && !self.peers[index].paused && !self.peers[index].left
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.count += 1;
        self.queue.insert((self.now + after, self.count), happening);
    }

    fn transmit(&mut self, from: usize, to: usize, message: RoomMessage) {
        let pair = pair(from, to);
        let Some(link) = self.links.get_mut(&pair) else { return };
        if self.cut.contains(&pair) {
            link.held.push((from, message));
            return;
        }
        let at = (self.now + DELAY).max(link.last[usize::from(from == pair.0)]);
        link.last[usize::from(from == pair.0)] = at;
        let generation = link.generation;
        self.count += 1;
        self.queue.insert((at, self.count), Happening::Message { from, to, generation, message });
    }

    pub(super) fn index_of(&self, id: NodeId) -> usize {
        self.peers.iter().position(|peer| peer.id == id).unwrap()
    }

    fn drain(&mut self, who: usize) {
        while let Some(output) = self.peers[who].room.poll_output() {
            match output {
                RoomOutput::Send { to, message } => {
                    // Everything crosses the wire format, so that what cannot be encoded is noticed.
                    let bytes = crate::node::wire::encode(&message);
                    let message = crate::node::wire::decode(&bytes, usize::MAX).unwrap();
                    let to = self.index_of(to);
                    self.transmit(who, to, message);
                }
                RoomOutput::Dial { dial, to } => self.dial(who, dial, &to),
                RoomOutput::Drop { id } => {
                    let to = self.index_of(id);
                    if let Some(link) = self.links.get(&pair(who, to)) {
                        let generation = link.generation;
                        self.schedule(DELAY * 2, Happening::Close { by: who, to, generation });
                    }
                }
                RoomOutput::Probe { id } => {
                    let to = self.index_of(id);
                    let pair = pair(who, to);
                    if self.links.contains_key(&pair) && !self.cut.contains(&pair) && self.is_running(to) {
                        self.schedule(DELAY * 2, Happening::Heard { at: who, id });
                    }
                }
                RoomOutput::AddSecret { id, .. } => {
                    self.peers[who].secrets.insert(id);
                }
                RoomOutput::RemoveSecret { id } => {
                    self.peers[who].secrets.remove(&id);
                }
                RoomOutput::Event(event) => self.peers[who].events.push(event),
                RoomOutput::Left => {
                    self.peers[who].left = true;
                    let id = self.peers[who].id;
                    let partners: Vec<(usize, usize)> =
                        self.links.keys().copied().filter(|(a, b)| *a == who || *b == who).collect();
                    for (a, b) in partners {
                        let at = if a == who { b } else { a };
                        // What was sent arrives before the end.
                        self.schedule(DELAY * 2, Happening::Down { at, id, why: LinkDown::Closed });
                    }
                }
                // Here it is always too late to give up a dial.
                RoomOutput::Punch { .. } | RoomOutput::Publish | RoomOutput::GiveUp { .. } => {}
            }
        }
    }

    fn dial(&mut self, by: usize, dial: DialNumber, to: &DialTo) {
        let target = self.peers.iter().position(|peer| to.addresses.contains(&peer.address));
        let secret = to.invitation.as_ref().map(|(id, _)| *id);
        let answer = match target {
            None => Err((DELAY * 2, DialFailure::Refused)),
            Some(target) if target == by => Err((DELAY, DialFailure::BadAddress)),
            Some(target) if self.cut.contains(&pair(by, target)) || self.peers[target].paused => {
                Err((Duration::from_secs(1), DialFailure::NoAnswer))
            }
            Some(target) if !self.is_running(target) => Err((DELAY * 2, DialFailure::Refused)),
            Some(target) if to.id.is_some_and(|id| id != self.peers[target].id) => {
                Err((DELAY * 2, DialFailure::WrongPeer))
            }
            Some(target) if secret.is_some_and(|id| !self.peers[target].secrets.contains(&id)) => {
                Err((DELAY * 2, DialFailure::NoAnswer))
            }
            Some(target) => Ok(target),
        };
        match answer {
            Ok(to) => self.schedule(DELAY * 2, Happening::Linked { by, to, dial, secret }),
            Err((after, why)) => self.schedule(after, Happening::DialFailed { at: by, dial, why }),
        }
    }

    fn happen(&mut self, happening: Happening) {
        let at = match &happening {
            Happening::Message { to, .. } => *to,
            Happening::Up { at, .. }
            | Happening::Down { at, .. }
            | Happening::DialFailed { at, .. }
            | Happening::Heard { at, .. } => *at,
            Happening::Linked { by, to, dial, secret } => return self.linked(*by, *to, *dial, *secret),
            Happening::GiveUp { pair, generation } => return self.give_up(*pair, *generation),
            Happening::Close { by, to, generation } => {
                if self.links.get(&pair(*by, *to)).is_some_and(|link| link.generation == *generation) {
                    self.links.remove(&pair(*by, *to));
                    let (a, b) = (self.peers[*by].id, self.peers[*to].id);
                    self.happen(Happening::Down { at: *by, id: b, why: LinkDown::Closed });
                    self.schedule(DELAY, Happening::Down { at: *to, id: a, why: LinkDown::Closed });
                }
                return;
            }
        };
        if self.peers[at].paused {
            return self.peers[at].stash.push(happening);
        }
        if !self.is_running(at) {
            return;
        }
        match happening {
            Happening::Message { from, to, generation, message } => {
                if self.links.get(&pair(from, to)).is_none_or(|link| link.generation == generation) {
                    let id = self.peers[from].id;
                    self.call(to, |room, now| room.handle_message(now, id, message));
                }
            }
            Happening::Up { peer, .. } => self.call(at, |room, now| room.handle_link_up(now, peer)),
            Happening::Down { id, why, .. } => self.call(at, |room, now| room.handle_link_down(now, id, why)),
            Happening::DialFailed { dial, why, .. } => {
                self.call(at, |room, now| room.handle_dial_failed(now, dial, why, ""))
            }
            Happening::Heard { id, .. } => self.call(at, |room, now| room.handle_heard(now, id)),
            Happening::Linked { .. } | Happening::GiveUp { .. } | Happening::Close { .. } => unreachable!(),
        }
    }

    fn linked(&mut self, by: usize, to: usize, dial: DialNumber, secret: Option<crate::mrt::SecretId>) {
        if !self.is_running(to) || self.cut.contains(&pair(by, to)) {
            return self.happen(Happening::DialFailed { at: by, dial, why: DialFailure::NoAnswer });
        }
        let record = |peer: &Peer| peer.room.record.clone();
        let (ours, theirs) = (&self.peers[by], &self.peers[to]);
        let callee =
            LinkedPeer { record: record(theirs), remote: Some(theirs.address), secret: None, dial: Some(dial) };
        let caller = LinkedPeer { record: record(ours), remote: Some(ours.address), secret, dial: None };
        let new = !self.links.contains_key(&pair(by, to));
        if new {
            self.count += 1;
            let link = Link { generation: self.count, held: Vec::new(), last: [self.now; 2] };
            self.links.insert(pair(by, to), link);
            self.happen(Happening::Up { at: to, peer: caller });
        }
        self.happen(Happening::Up { at: by, peer: callee });
    }

    fn give_up(&mut self, pair: (usize, usize), generation: u64) {
        let stale = self.links.get(&pair).is_none_or(|link| link.generation != generation);
        if stale || !self.cut.contains(&pair) {
            return;
        }
        self.links.remove(&pair);
        let (a, b) = (self.peers[pair.0].id, self.peers[pair.1].id);
        self.happen(Happening::Down { at: pair.0, id: b, why: LinkDown::Lost });
        self.happen(Happening::Down { at: pair.1, id: a, why: LinkDown::Lost });
    }
}
