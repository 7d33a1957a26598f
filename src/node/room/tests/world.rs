//! Rooms in virtual time. Links are reliable and ordered, as MRT's are; they can be cut (what was sent waits, as a transport repeats it,
//! until the link is given up), in one direction too; nodes can crash, stand still or be started anew. All that happens is shown to the
//! [`Oracle`].

use super::super::*;
use super::oracle::Oracle;
use crate::node::api::Event;
use crate::node::identity::{Identity, NodeId};
use crate::node::record::MemberRecord;
use crate::time::{Duration, Instant};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// One way, between any two.
const DELAY: Duration = Duration::from_millis(5);

/// A record begins with the time at which its program was started.
const HOUR_MS: u64 = 3_600_000;

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) peers: Vec<Peer>,
    /// From whom to whom nothing gets through.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) oracle: Oracle,
    pub(crate) weather: Weather,
    /// What each sent of what kind: messages, bytes.
    pub(crate) sent: BTreeMap<(usize, &'static str), (u64, u64)>,
    links: BTreeMap<(usize, usize), Link>,
    /// What was said last on links that broke.
    old: BTreeMap<(usize, usize), VecDeque<(usize, RoomMessage)>>,
    queue: BTreeMap<(Instant, u64), Happening>,
    count: u64,
    rng: StdRng,
    indices: BTreeMap<NodeId, usize>,
    /// When whose timer is due.
    timers: BTreeSet<(Instant, usize)>,
}

/// What the links are like: what a reliable transport makes of delay and loss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// One way, in milliseconds: each link has its own.
    pub(crate) delay: (u64, u64),
    /// How many in a hundred packets are lost: each is repeated after 100 ms, and holds up all that follow.
    pub(crate) loss: u32,
    /// A link on which nothing comes is given up after so many seconds.
    pub(crate) give_up: (u64, u64),
    /// How many in a hundred links begin with old messages, once more.
    pub(crate) replay: u32,
    /// What each can send, in bytes a second.
    pub(crate) uplink: u64,
}

impl Weather {
    pub(crate) const CALM: Self = Self { delay: (5, 5), loss: 0, give_up: (5, 5), replay: 0, uplink: u64::MAX };
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
    /// Which run of its program this is.
    pub(crate) run: u64,
    secrets: BTreeSet<crate::mrt::SecretId>,
    stash: Vec<Happening>,
    /// The links that it believes to stand.
    believes: BTreeMap<usize, u64>,
    due: Option<Instant>,
    /// When all that it sends has left.
    pub(super) idle: Instant,
}

struct Link {
    generation: u64,
    held: Vec<(usize, RoomMessage)>,
    delay: Duration,
    /// The last messages, with their senders.
    recent: VecDeque<(usize, RoomMessage)>,
    /// The latest arrival in each direction: nothing overtakes.
    last: [Instant; 2],
}

#[derive(Clone)]
enum Happening {
    Message { from: usize, to: usize, generation: u64, message: RoomMessage },
    Linked { by: usize, to: usize, dial: DialNumber, secret: Option<crate::mrt::SecretId> },
    Up { at: usize, other: usize, generation: u64, peer: LinkedPeer },
    Down { at: usize, other: usize, generation: u64, why: LinkDown },
    DialFailed { at: usize, dial: DialNumber, why: DialFailure },
    Heard { at: usize, id: NodeId },
    GiveUp { pair: (usize, usize), generation: u64 },
    Close { by: usize, to: usize, generation: u64 },
}

/// What a message is counted as.
fn kind_of(message: &RoomMessage) -> &'static str {
    match message {
        RoomMessage::View(_) => "View",
        RoomMessage::Patch(_) => "Patch",
        RoomMessage::Welcome(_) => "Welcome",
        RoomMessage::Lines(_) => "Lines",
        RoomMessage::Beat(_) => "Beat",
        RoomMessage::Held(_) => "Held",
        RoomMessage::Ask(_) | RoomMessage::Verdict(_) => "Ask, Verdict",
        RoomMessage::Claim(_) | RoomMessage::Report(_) => "Claim, Report",
        _ => "others",
    }
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
                run: 0,
                secrets: BTreeSet::new(),
                stash: Vec::new(),
                believes: BTreeMap::new(),
                due: None,
                idle: Instant::ZERO,
            }
        });
        let peers: Vec<Peer> = peers.collect();
        let indices = peers.iter().enumerate().map(|(index, peer)| (peer.id, index)).collect();
        let (sent, timers) = (BTreeMap::new(), BTreeSet::new());
        let (links, old, queue, cut) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let (oracle, weather) = (Oracle::new(n), Weather::CALM);
        let now = Instant::ZERO;
        let mut world =
            Self { now, peers, cut, oracle, weather, sent, links, old, queue, count: 0, rng, indices, timers };
        (0..n).for_each(|index| world.call(index, |_, _| ()));
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
        // Every second room does as large ones do.
        let at_once = if seed.is_multiple_of(2) { 3 } else { 50 };
        let config = RoomConfig { local: true, at_once, ..RoomConfig::default() };
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
        self.oracle.on_typed(&self.peers[who], text);
        let refused = self.refusals(who);
        self.call(who, |room, now| room.say(now, text, now.as_millis()));
        if self.refusals(who) > refused {
            self.oracle.on_refused(&self.peers[who]);
        }
    }

    fn refusals(&self, who: usize) -> usize {
        let refused = |event: &&Event| matches!(event, Event::Error { command: Some('T'), .. });
        self.peers[who].events.iter().filter(refused).count()
    }

    pub(crate) fn quit(&mut self, who: usize) {
        self.call(who, |room, now| room.quit(now));
    }

    /// Calls a verb and does what the room then wants.
    pub(crate) fn call<T>(&mut self, who: usize, verb: impl FnOnce(&mut Room, Instant) -> T) -> T {
        let result = verb(&mut self.peers[who].room, self.now);
        self.oracle.on_view(who, &self.peers);
        self.drain(who);
        let due = self.peers[who].room.poll_timeout();
        if let Some(before) = std::mem::replace(&mut self.peers[who].due, due) {
            self.timers.remove(&(before, who));
        }
        self.timers.extend(due.map(|due| (due, who)));
        result
    }

    /// A message out of the blue over an existing link.
    pub(crate) fn inject(&mut self, from: usize, to: usize, message: RoomMessage) {
        let id = self.peers[from].id;
        self.call(to, |room, now| room.handle_message(now, id, message));
    }

    pub(crate) fn crash(&mut self, who: usize) {
        self.peers[who].alive = false;
        let refused = self.rng.random_bool(0.5);
        let (after, why) =
            if refused { (DELAY * 4, LinkDown::Refused) } else { (self.give_up_after(), LinkDown::Lost) };
        self.unlink(who, after, why);
    }

    /// The same, and no system says that nobody listens there any more.
    pub(crate) fn vanish(&mut self, who: usize) {
        self.peers[who].alive = false;
        self.unlink(who, Duration::from_secs(30), LinkDown::Lost);
    }

    /// The links of a node that is gone end at the others a while later.
    fn unlink(&mut self, who: usize, after: Duration, why: LinkDown) {
        let partners: Vec<(usize, usize)> =
            self.links.keys().copied().filter(|(a, b)| *a == who || *b == who).collect();
        for (a, b) in partners {
            let generation = self.links.remove(&(a, b)).map_or(0, |link| link.generation);
            let at = if a == who { b } else { a };
            self.schedule(after, Happening::Down { at, other: who, generation, why });
        }
    }

    /// Starts the program of a node that crashed or quit anew: the same key, nothing else remembered.
    pub(crate) fn restart(&mut self, who: usize) {
        let (seed, now) = (self.rng.random(), self.now);
        let peer = &mut self.peers[who];
        peer.run += 1;
        let record = MemberRecord::sign(&peer.identity, &format!("n{who}"), &[peer.address], peer.run * HOUR_MS + 1);
        peer.room = Room::new(peer.identity.clone(), record, peer.room.config.clone(), now, seed);
        (peer.alive, peer.paused, peer.left) = (true, false, false);
        peer.events.clear();
        peer.said.clear();
        peer.said_in.clear();
        peer.secrets.clear();
        peer.stash.clear();
        peer.believes.clear();
        self.oracle.on_restart(who);
        self.call(who, |_, _| ());
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.cut_way(a, b);
        self.cut_way(b, a);
    }

    /// Nothing that `from` sends gets to `to`. What comes the other way is not acknowledged, so that link ends too.
    pub(crate) fn cut_way(&mut self, from: usize, to: usize) {
        let pair = pair(from, to);
        if self.cut.insert((from, to))
            && let Some(generation) = self.links.get(&pair).map(|link| link.generation)
        {
            let after = self.give_up_after();
            self.schedule(after, Happening::GiveUp { pair, generation });
        }
    }

    fn give_up_after(&mut self) -> Duration {
        let (least, most) = self.weather.give_up;
        Duration::from_secs(if least == most { least } else { self.rng.random_range(least..=most) })
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a, b)) || self.cut.contains(&(b, a))
    }

    pub(crate) fn heal(&mut self, a: usize, b: usize) {
        let pair = pair(a, b);
        let was_cut = self.cut.remove(&(a, b)) | self.cut.remove(&(b, a));
        if was_cut && let Some(link) = self.links.get_mut(&pair) {
            for (from, message) in std::mem::take(&mut link.held) {
                let to = if pair.0 == from { pair.1 } else { pair.0 };
                self.transmit(from, to, message);
            }
        }
    }

    /// All faults end: what is delayed and lost too.
    pub(crate) fn calm(&mut self) {
        self.weather = Weather::CALM;
        for link in self.links.values_mut() {
            link.delay = DELAY;
        }
        self.heal_all();
        (0..self.peers.len()).for_each(|who| self.resume(who));
    }

    pub(crate) fn isolate(&mut self, who: usize) {
        (0..self.peers.len()).filter(|other| *other != who).for_each(|other| self.cut(who, other));
    }

    pub(crate) fn heal_all(&mut self) {
        for (from, to) in self.cut.clone() {
            self.heal(from, to);
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
            let timer = self.timers.iter().copied().find(|(_, index)| self.is_running(*index));
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
        if self.cut.contains(&(from, to)) {
            link.held.push((from, message));
            return;
        }
        let mut at = self.peers[from].idle.max(self.now) + link.delay;
        while self.weather.loss > 0 && self.rng.random_ratio(self.weather.loss, 100) {
            at = at + Duration::from_millis(100);
        }
        if self.weather.replay > 0 {
            link.recent.push_back((from, message.clone()));
            if link.recent.len() > 8 {
                link.recent.pop_front();
            }
        }
        let at = at.max(link.last[usize::from(from == pair.0)]);
        link.last[usize::from(from == pair.0)] = at;
        let generation = link.generation;
        self.count += 1;
        self.queue.insert((at, self.count), Happening::Message { from, to, generation, message });
    }

    pub(super) fn index_of(&self, id: NodeId) -> usize {
        self.indices[&id]
    }

    fn drain(&mut self, who: usize) {
        while let Some(output) = self.peers[who].room.poll_output() {
            match output {
                RoomOutput::Send { to, message } => {
                    self.oracle.on_sent(who, &self.peers[who], &message);
                    // Everything crosses the wire format, so that what cannot be encoded is noticed.
                    let bytes = crate::node::wire::encode(&message);
                    let message = crate::node::wire::decode(&bytes, usize::MAX).unwrap();
                    let to = self.index_of(to);
                    let sent = self.sent.entry((who, kind_of(&message))).or_default();
                    *sent = (sent.0 + 1, sent.1 + bytes.len() as u64);
                    let micros = bytes.len() as u64 * 1_000_000 / self.weather.uplink;
                    let peer = &mut self.peers[who];
                    peer.idle = peer.idle.max(self.now) + Duration::from_micros(micros);
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
                    if self.links.contains_key(&pair) && !self.is_cut(who, to) && self.is_running(to) {
                        self.schedule(DELAY * 2, Happening::Heard { at: who, id });
                    }
                }
                RoomOutput::AddSecret { id, .. } => {
                    self.peers[who].secrets.insert(id);
                }
                RoomOutput::RemoveSecret { id } => {
                    self.peers[who].secrets.remove(&id);
                }
                RoomOutput::Event(event) => {
                    self.oracle.on_event(who, &self.peers, &event);
                    self.peers[who].events.push(event);
                }
                RoomOutput::Left => {
                    self.peers[who].left = true;
                    // What was sent arrives before the end.
                    self.unlink(who, DELAY * 2, LinkDown::Closed);
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
            Some(target) if self.is_cut(by, target) || self.peers[target].paused => {
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
                    let (by, to, generation, why) = (*by, *to, *generation, LinkDown::Closed);
                    self.happen(Happening::Down { at: by, other: to, generation, why });
                    self.schedule(DELAY, Happening::Down { at: to, other: by, generation, why });
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
                    self.oracle.on_delivered(to, &self.peers[to], id, &message);
                    self.call(to, |room, now| room.handle_message(now, id, message));
                }
            }
            Happening::Up { other, generation, peer, .. } => {
                let before = self.peers[at].believes.insert(other, generation);
                if before.is_some_and(|before| before != generation) {
                    let id = self.peers[other].id;
                    self.call(at, |room, now| room.handle_link_down(now, id, LinkDown::Lost));
                }
                self.call(at, |room, now| room.handle_link_up(now, peer));
            }
            Happening::Down { other, generation, why, .. } => {
                // Of a link that was replaced already nothing more is heard.
                if self.peers[at].believes.get(&other) == Some(&generation) {
                    self.peers[at].believes.remove(&other);
                    let id = self.peers[other].id;
                    self.call(at, |room, now| room.handle_link_down(now, id, why));
                }
            }
            Happening::DialFailed { dial, why, .. } => {
                self.call(at, |room, now| room.handle_dial_failed(now, dial, why, ""))
            }
            Happening::Heard { id, .. } => self.call(at, |room, now| room.handle_heard(now, id, Duration::ZERO)),
            Happening::Linked { .. } | Happening::GiveUp { .. } | Happening::Close { .. } => unreachable!(),
        }
    }

    pub(super) fn linked(&mut self, by: usize, to: usize, dial: DialNumber, secret: Option<crate::mrt::SecretId>) {
        if !self.is_running(to) || self.is_cut(by, to) {
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
            let (generation, (least, most)) = (self.count, self.weather.delay);
            let delay = Duration::from_millis(if least == most { least } else { self.rng.random_range(least..=most) });
            let link = Link { generation, held: Vec::new(), delay, recent: VecDeque::new(), last: [self.now; 2] };
            self.links.insert(pair(by, to), link);
            self.happen(Happening::Up { at: to, other: by, generation, peer: caller });
        }
        let generation = self.links.get(&pair(by, to)).map_or(0, |link| link.generation);
        self.happen(Happening::Up { at: by, other: to, generation, peer: callee });
        if new {
            self.replay(by, to);
        }
    }

    /// Now and then what was said last before a link broke is said again over the next.
    fn replay(&mut self, by: usize, to: usize) {
        let old = self.old.remove(&pair(by, to)).unwrap_or_default();
        if self.weather.replay == 0 || !self.rng.random_ratio(self.weather.replay, 100) {
            return;
        }
        for (from, message) in old {
            // Whoever knocks or goes means it.
            let door = matches!(
                message,
                RoomMessage::Join(_) | RoomMessage::Welcome(_) | RoomMessage::Answer(_) | RoomMessage::Leave
            );
            if !door && self.is_running(from) {
                self.oracle.count("messages said twice");
                self.transmit(from, if from == by { to } else { by }, message);
            }
        }
    }

    fn give_up(&mut self, pair: (usize, usize), generation: u64) {
        let stale = self.links.get(&pair).is_none_or(|link| link.generation != generation);
        if stale || !self.is_cut(pair.0, pair.1) {
            return;
        }
        if let Some(link) = self.links.remove(&pair) {
            self.old.insert(pair, link.recent);
        }
        let why = LinkDown::Lost;
        self.happen(Happening::Down { at: pair.0, other: pair.1, generation, why });
        self.happen(Happening::Down { at: pair.1, other: pair.0, generation, why });
    }
}
