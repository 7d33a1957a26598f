//! Direct paths for links that go through others: offers, punches, and what MRT makes of the ways that they find.

use super::kept::Kept;
use super::measured::STILL_MEASURING;
use super::message::PathMessage;
use super::pair::{Pair, State};
use super::sockets::Owner;
use crate::machine::{SocketId, SocketReport, SocketRequest};
use crate::mrt::{self, Route};
use crate::node::identity::NodeId;
use crate::node::node::Node;
use crate::stun::Packet;
use crate::stun::candidate::{Candidate, CandidateKind};
use crate::stun::fingerprint::Fingerprint;
use crate::stun::punch::{Budget, Event, Experience, Offer, Punch, Reason};
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// How often it is looked whether somebody became a member, or got its link.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Those who were met by a typed address that are remembered, at most.
const MAX_MET: usize = 256;

/// Links that were punched, with what was spent and learned.
#[derive(Debug)]
pub(in crate::node) struct Punching {
    pub(super) pairs: BTreeMap<NodeId, Pair>,
    /// What all that punches may spend.
    pub(super) budget: Budget,
    pub(super) experience: Experience,
    /// Punches so far: each has a number.
    pub(super) punches: u64,
    pub(super) kept: Kept,
    /// Since when: NATs are measured at the beginning.
    pub(super) began: Instant,
    /// Members that our NAT was opened for, and which of their records it was.
    pub(super) opened: BTreeMap<NodeId, u64>,
    /// What was spent on those who were met by a typed address.
    met: BTreeMap<NodeId, u64>,
    /// Probes that are to leave.
    outgoing: VecDeque<Packet>,
    pub(super) seed: [u8; 32],
}

impl Punching {
    /// Nothing is tried yet. The seed is secret.
    pub(in crate::node) fn new(now: Instant, seed: [u8; 32]) -> Self {
        Self {
            pairs: BTreeMap::new(),
            budget: Budget::default(),
            experience: Experience::default(),
            punches: 0,
            kept: Kept::default(),
            began: now,
            opened: BTreeMap::new(),
            met: BTreeMap::new(),
            outgoing: VecDeque::new(),
            seed,
        }
    }

    /// So many packets were spent on finding somebody whose address was typed.
    pub(super) fn note_met(&mut self, peer: NodeId, spent: u32) {
        if self.met.len() < MAX_MET || self.met.contains_key(&peer) {
            self.met.insert(peer, spent.into());
        }
    }

    /// Packets spent on a pair, and why it is not direct.
    pub(in crate::node) fn explain(&self, peer: NodeId) -> (u64, Option<String>) {
        let met = self.met.get(&peer).copied().unwrap_or(0);
        let Some(pair) = self.pairs.get(&peer) else { return (met, None) };
        let spent = match &pair.state {
            State::Punching(punch) => pair.spent + u64::from(punch.probes()),
            State::Resting(_) | State::Proving(_) | State::Direct => pair.spent,
        };
        (met + spent, pair.why.clone())
    }

    /// When [`Node::tick_punching`] is due.
    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        let pairs = self.pairs.values().flat_map(|pair| {
            let punch = if let State::Punching(punch) = &pair.state { punch.poll_timeout() } else { None };
            [pair.due(), punch]
        });
        pairs.flatten().chain(self.kept.poll_timeout()).min()
    }

    /// A probe is to leave.
    pub(super) fn send(&mut self, packet: Packet) {
        self.outgoing.push_back(packet);
    }

    /// Random bytes for a meeting.
    pub(super) fn draw(&self, number: u64) -> [u8; 32] {
        let seed = [&b"meeting"[..], &number.to_be_bytes()].concat();
        *blake3::keyed_hash(&self.seed, &seed).as_bytes()
    }

    /// The next probe.
    pub(in crate::node) fn poll_packet(&mut self) -> Option<Packet> {
        self.outgoing.pop_front()
    }
}

impl Node {
    /// A link came up, or its route is another one: whether a direct path is to be looked for.
    pub(in crate::node) fn look_for_path(&mut self, now: Instant, peer: NodeId) {
        let Some(link) = self.links.link(peer) else { return };
        if link.remote.is_some() {
            if let Some(mut pair) = self.punching.pairs.remove(&peer) {
                self.give_up_punch(now, peer, &mut pair);
                pair.move_to_direct();
                self.punching.pairs.insert(peer, pair);
            }
            // A NAT on the way may forget the link, and then neither end reaches the other: a relay stands by.
            let is_behind = |nat: &Fingerprint| nat.translated != Some(false);
            let are_behind = is_behind(self.nat.fingerprint()) && is_behind(&self.nat_of(peer));
            if link.initiator && are_behind && !self.config.room.local {
                self.stand_by(now, peer);
            }
            return;
        }
        let known = self.punching.pairs.get(&peer).is_some_and(|pair| pair.connection == link.connection);
        if !known {
            self.end_pair(now, peer);
            let pair = Pair::new(now, link.connection, link.initiator, self.nat_of(peer));
            self.punching.pairs.insert(peer, pair);
        } else if let Some(pair) = self.punching.pairs.get_mut(&peer)
            && matches!(pair.state, State::Direct)
        {
            pair.state = State::Resting(now);
        }
        self.tick_punching(now);
    }

    /// A link is down: what was tried for it is over.
    pub(in crate::node) fn end_pair(&mut self, now: Instant, peer: NodeId) {
        let Some(mut pair) = self.punching.pairs.remove(&peer) else { return };
        self.give_up_punch(now, peer, &mut pair);
        self.sockets.forget(Owner::Punch(pair.number));
    }

    /// Ends a punch that is at work, and gives its sockets back.
    pub(super) fn give_up_punch(&mut self, now: Instant, peer: NodeId, pair: &mut Pair) {
        if let Some(punch) = pair.punch() {
            punch.abort(now);
            self.settle_pair(now, peer, pair);
        }
    }

    /// Begins and repeats what is due.
    pub(in crate::node) fn tick_punching(&mut self, now: Instant) {
        // Three heartbeats did not come: the line has other worries than probes, and it may be the probes that it suffers from.
        let suffers = self.room.doubts_supernode();
        for peer in self.punching.pairs.keys().copied().collect::<Vec<_>>() {
            let Some(mut pair) = self.punching.pairs.remove(&peer) else { continue };
            if let Some(punch) = pair.punch() {
                match suffers {
                    true => punch.pause(now),
                    false => punch.resume(now),
                }
                punch.handle_timeout(now, &mut self.punching.budget);
            }
            if pair.due().is_some_and(|due| now >= due) {
                match pair.state {
                    State::Resting(_) if self.room.is_member(peer) => self.begin(now, peer, &mut pair),
                    // Somebody at the door, or at whose door we are: it is too early to make either send anything.
                    State::Resting(_) => pair.state = State::Resting(now + LOOK_AGAIN),
                    State::Proving(_) => {
                        pair.move_to_rest(now, "the path that was found did not hold".to_owned());
                        self.paths.forget(peer);
                    }
                    State::Punching(_) | State::Direct => {}
                }
            }
            self.settle_pair(now, peer, &mut pair);
            self.punching.pairs.insert(peer, pair);
        }
        self.close_unused(now);
    }

    /// Begins to punch.
    fn begin(&mut self, now: Instant, peer: NodeId, pair: &mut Pair) {
        match self.punch_config(now, peer, pair) {
            Some(config) => pair.state = State::Punching(Box::new(Punch::new(now, config))),
            // Its link is about to be another one, or is no more: whoever says so says it soon.
            None => pair.state = State::Resting(now + LOOK_AGAIN),
        }
    }

    /// A member offers to punch.
    pub(in crate::node) fn on_offer(&mut self, now: Instant, from: NodeId, mut offer: Offer) {
        let lan = self.around.on_lan(from).iter().map(|address| Candidate::new(*address, CandidateKind::Lan));
        offer.candidates.extend(lan);
        if !self.room.is_member(from) {
            return;
        }
        let Some(mut pair) = self.punching.pairs.remove(&from) else { return };
        pair.theirs = offer.fingerprint;
        // The one that begins does so anew: what was left of the last time is over here, too.
        if !pair.initiator && offer.round <= 1 && !matches!(pair.state, State::Direct) {
            self.give_up_punch(now, from, &mut pair);
            self.begin(now, from, &mut pair);
        }
        if let Some(punch) = pair.punch() {
            punch.handle_offer(now, offer);
        }
        self.on_their_nat(now, from, &mut pair);
        self.settle_pair(now, from, &mut pair);
        self.punching.pairs.insert(from, pair);
    }

    /// A punch packet came. `false`: it is nobody's.
    pub(in crate::node) fn on_pnch(&mut self, now: Instant, socket: SocketId, from: SocketAddr, bytes: &[u8]) -> bool {
        for peer in self.punching.pairs.keys().copied().collect::<Vec<_>>() {
            let Some(mut pair) = self.punching.pairs.remove(&peer) else { continue };
            let taken = pair.punch().is_some_and(|punch| punch.handle_datagram(now, socket, from, bytes));
            if taken {
                self.settle_pair(now, peer, &mut pair);
            }
            self.punching.pairs.insert(peer, pair);
            if taken {
                return true;
            }
        }
        false
    }

    /// A socket of a punch was opened, or was not.
    pub(in crate::node) fn on_punch_socket(&mut self, now: Instant, number: u64, report: SocketReport) {
        self.with_punch(now, number, |punch| punch.handle_socket(now, report));
    }

    /// What a server sees of a punching socket.
    pub(in crate::node) fn on_port(&mut self, now: Instant, number: u64, socket: SocketId, mapped: Option<SocketAddr>) {
        if let Some(mapped) = mapped {
            self.with_punch(now, number, |punch| punch.handle_mapped(now, socket, mapped));
        }
    }

    fn with_punch(&mut self, now: Instant, number: u64, then: impl FnOnce(&mut Punch)) {
        let found = self.punching.pairs.iter().find(|(_, pair)| pair.number == number).map(|(peer, _)| *peer);
        let Some((peer, mut pair)) = found.and_then(|peer| Some((peer, self.punching.pairs.remove(&peer)?))) else {
            return;
        };
        if let Some(punch) = pair.punch() {
            then(punch);
        }
        self.settle_pair(now, peer, &mut pair);
        self.punching.pairs.insert(peer, pair);
    }

    /// Takes what a punch has to say, and does what it wants.
    fn settle_pair(&mut self, now: Instant, peer: NodeId, pair: &mut Pair) {
        loop {
            let Some(punch) = pair.punch() else { return };
            let budget = &mut self.punching.budget;
            while let Some(request) = punch.poll_socket(now, budget) {
                if let SocketRequest::Close(socket) = request {
                    self.nat.forget_port(socket);
                }
                self.socket_requests.push_back(request);
            }
            while let Some((socket, to, bytes)) = punch.poll_transmit(now, budget) {
                self.punching.outgoing.push_back(Packet { socket, to, bytes });
            }
            let Some(event) = punch.poll_event() else { break };
            match event {
                Event::Offer(offer) => {
                    self.say_path(now, peer, PathMessage::Offer(offer));
                }
                Event::WantPort { socket } => self.want_port(now, pair.number, socket),
                Event::Open { socket, remote, rtt, probes, stage } => {
                    tracing::info!(%peer, %remote, ?rtt, probes, ?stage, "a hole is punched");
                    pair.spent += u64::from(probes);
                    pair.stage = Some(stage);
                    let is_home = self.around.homes.iter().any(|home| home.socket == socket);
                    if !is_home {
                        self.punching.kept.keep(now, socket);
                    }
                    let route = Route::Udp { socket, remote };
                    // Whoever made the connection decides where its data goes.
                    if pair.initiator
                        && let Err(error) = self.endpoint.add_path(now, pair.connection, route)
                    {
                        tracing::debug!(%error, "the path was not taken");
                    }
                    self.learn(now, peer, pair, None);
                }
                Event::Failed { reason: Reason::Aborted, probes } => pair.spent += u64::from(probes),
                Event::Failed { reason, probes } => {
                    tracing::info!(%peer, %reason, probes, "no direct path");
                    pair.spent += u64::from(probes);
                    self.learn(now, peer, pair, Some(reason.to_string()));
                }
            }
        }
        if pair.punch().is_some_and(|punch| punch.is_over()) && pair.stage.is_some() {
            pair.move_to_proving(now);
        }
    }

    /// Notes which stages failed and which one worked, and moves on. The end that did not begin goes on answering for a while.
    fn learn(&mut self, now: Instant, peer: NodeId, pair: &mut Pair, why: Option<String>) {
        let (ours, theirs) = (*self.nat.fingerprint(), pair.theirs);
        let tried = pair.punch().map(|punch| punch.tried().to_vec()).unwrap_or_default();
        for stage in tried {
            self.punching.experience.note(&ours, &theirs, stage, pair.stage == Some(stage));
        }
        match why {
            Some(why) => {
                let is_early = self.is_measuring(now, &ours, &theirs);
                let why = if is_early { STILL_MEASURING.to_owned() } else { why };
                pair.stage = None;
                pair.move_to_rest(now, why);
                self.paths.forget(peer);
                if pair.initiator {
                    self.back_up(now, peer);
                }
            }
            None if pair.initiator => pair.move_to_proving(now),
            None => {}
        }
    }

    /// MRT has news of a connection's paths.
    pub(in crate::node) fn on_path_event(&mut self, now: Instant, event: &mrt::Event) {
        let (connection, route) = match *event {
            mrt::Event::PathUp { connection, route, .. }
            | mrt::Event::PathFailed { connection, route }
            | mrt::Event::PathDown { connection, route }
            | mrt::Event::Moved { connection, route } => (connection, route),
            _ => return,
        };
        self.paths.look = true;
        let Some(peer) = self.links.peer_of(connection) else { return };
        if let (mrt::Event::PathUp { .. }, Route::Udp { remote, .. }) = (event, route) {
            self.links.on_answered(now, remote.ip());
            self.add_member_vantage(now, remote);
        }
        match event {
            mrt::Event::Moved { .. } => {
                self.passing.standing_by.look_again(now);
                self.look_for_path(now, peer);
            }
            mrt::Event::PathFailed { .. } if !route.is_relayed() => {
                if let Some(pair) = self.punching.pairs.get_mut(&peer)
                    && matches!(pair.state, State::Proving(_))
                {
                    pair.move_to_rest(now, "the path that was found does not carry full-size packets".to_owned());
                    self.paths.forget(peer);
                }
            }
            _ => {}
        }
    }
}
