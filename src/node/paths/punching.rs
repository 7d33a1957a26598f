//! Direct paths for links that go through others: offers, punches, and what MRT makes of the ways that they find.

use super::message::PathMessage;
use super::pair::{Kept, Pair, State};
use super::passing::{is_easy, is_welcoming};
use super::sockets::Owner;
use crate::machine::{SocketId, SocketReport, SocketRequest};
use crate::mrt::{self, ConnectionHandle, Route};
use crate::node::identity::NodeId;
use crate::node::links::Relays;
use crate::node::node::{Node, Purpose};
use crate::node::record::MemberRecord;
use crate::node::room::DialTo;
use crate::stun::Packet;
use crate::stun::candidate::{Candidate, CandidateKind, Context, Interface, is_global, sanitise};
use crate::stun::fingerprint::{Filtering, Fingerprint, Kind};
use crate::stun::punch::budget::{Verdict, Word};
use crate::stun::punch::executor::SOCKETS_PER_PUNCH;
use crate::stun::punch::experience::Advice;
use crate::stun::punch::packet::{self, Sealer};
use crate::stun::punch::plan::StageKind;
use crate::stun::punch::{Budget, Config, Event, Experience, Offer, Ours, Punch, Reason};
use crate::time::{Duration, Instant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// The last place in line to which everybody keeps a link.
const WARM: usize = 3;

/// A socket that a punch found a way with is kept so long for the other end to use it.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(15);

/// How often it is looked whether somebody became a member, or got its link.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// While it is not known what a NAT does, no ports are guessed at; so long after the start at most.
const MEASURING: Duration = Duration::from_secs(10);

/// Our link to the supernode is silent for so long: the line has other worries than probes. More than a heartbeat and a round trip, and
/// less than the time after which the room suspects the supernode, which would be our doing.
const SUFFERING: Duration = Duration::from_millis(800);

/// Links that were punched, with what was spent and learned.
#[derive(Debug)]
pub(in crate::node) struct Punching {
    pairs: BTreeMap<NodeId, Pair>,
    budget: Budget,
    experience: Experience,
    punches: u64,
    kept: Vec<Kept>,
    /// Members that our NAT was opened for, and which of their records it was.
    opened: BTreeMap<NodeId, u64>,
    outgoing: VecDeque<Packet>,
    seed: [u8; 32],
    /// Whose NATs are known well enough to guess at their ports, ours among them.
    measured: BTreeSet<NodeId>,
    began: Instant,
}

/// Whether it is known of a NAT what there is to guess: nothing, or from which ports it chooses. What it filters takes seconds more, and
/// decides little.
fn is_measured(nat: &Fingerprint) -> bool {
    nat.kind().is_some_and(|kind| kind != Kind::Hard || nat.ports.is_some())
}

impl Punching {
    /// Nothing is tried yet. The seed is secret.
    pub(in crate::node) fn new(now: Instant, seed: [u8; 32]) -> Self {
        Self {
            pairs: BTreeMap::new(),
            budget: Budget::default(),
            experience: Experience::default(),
            punches: 0,
            kept: Vec::new(),
            opened: BTreeMap::new(),
            outgoing: VecDeque::new(),
            seed,
            measured: BTreeSet::new(),
            began: now,
        }
    }

    /// Packets spent on a pair, and why it is not direct.
    pub(in crate::node) fn explain(&self, peer: NodeId) -> (u64, Option<String>) {
        let Some(pair) = self.pairs.get(&peer) else { return (0, None) };
        let spent = match &pair.state {
            State::Punching(punch) => pair.spent + u64::from(punch.probes()),
            State::Resting(_) | State::Proving(_) | State::Direct => pair.spent,
        };
        (spent, pair.why.clone())
    }

    /// When [`Node::tick_punching`] is due.
    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        let pairs = self.pairs.values().flat_map(|pair| {
            let punch = if let State::Punching(punch) = &pair.state { punch.poll_timeout() } else { None };
            [pair.due(), punch]
        });
        pairs.flatten().chain(self.kept.iter().map(|kept| kept.until)).min()
    }

    /// What all that punches may spend.
    pub(super) const fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    /// A probe is to leave.
    pub(super) fn send(&mut self, packet: Packet) {
        self.outgoing.push_back(packet);
    }

    /// A socket is in use, or will be soon.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.kept.push(kept);
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
            self.punching.pairs.insert(peer, Pair::new(now, link.connection, link.initiator));
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
    fn give_up_punch(&mut self, now: Instant, peer: NodeId, pair: &mut Pair) {
        if let Some(punch) = pair.punch() {
            punch.abort(now);
            self.settle_pair(now, peer, pair);
        }
    }

    /// Begins and repeats what is due.
    pub(in crate::node) fn tick_punching(&mut self, now: Instant) {
        let suffers = self.supernode_is_silent(now);
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
                    State::Proving(_) => pair.move_to_rest(now, "the path that was found did not hold".to_owned()),
                    State::Punching(_) | State::Direct => {}
                }
            }
            self.settle_pair(now, peer, &mut pair);
            self.punching.pairs.insert(peer, pair);
        }
        self.close_unused(now);
    }

    /// Whether our link to the supernode suffers, perhaps from our probes.
    fn supernode_is_silent(&self, now: Instant) -> bool {
        let supernode = self.links.connection(self.room.view().epoch.supernode);
        let stats = supernode.and_then(|connection| self.endpoint.stats(now, connection));
        stats.is_some_and(|stats| stats.silent_for >= SUFFERING)
    }

    /// Begins to punch.
    fn begin(&mut self, now: Instant, peer: NodeId, pair: &mut Pair) {
        match self.punch_config(now, peer, pair) {
            Some(config) => pair.state = State::Punching(Box::new(Punch::new(now, config))),
            // Its link is about to be another one, or is no more: whoever says so says it soon.
            None => pair.state = State::Resting(now + LOOK_AGAIN),
        }
    }

    fn punch_config(&mut self, now: Instant, peer: NodeId, pair: &mut Pair) -> Option<Config> {
        // Of two connections to one node the other one may have become the link, without a word.
        let link = self.links.link(peer).filter(|link| link.remote.is_none())?;
        (pair.connection, pair.initiator) = (link.connection, link.initiator);
        self.sockets.forget(Owner::Punch(pair.number));
        self.punching.punches += 1;
        pair.number = self.punching.punches;
        let sockets = self.sockets.reserve(Owner::Punch(pair.number), SOCKETS_PER_PUNCH);
        let theirs = self.nat_of(peer);
        let ours = self.ours();
        let advice = self.advice(now, &ours.fingerprint, &theirs);
        let rtt = self.endpoint.stats(now, pair.connection).map_or(Duration::from_millis(200), |stats| stats.rtt);
        Some(Config {
            initiator: pair.initiator,
            binding: link.binding,
            seed: *blake3::keyed_hash(&self.punching.seed, &pair.number.to_be_bytes()).as_bytes(),
            ours,
            proven_ips: self.passing.seen(peer).into_iter().chain(self.seen_by_supernode(peer)).collect(),
            same_machine: false,
            relay_rtt: rtt,
            first_socket: SocketId(sockets.start),
            advice,
        })
    }

    /// From where the supernode hears a member, as the view says.
    fn seen_by_supernode(&self, peer: NodeId) -> Option<IpAddr> {
        self.room.view().entries.iter().find(|entry| entry.record.id() == peer)?.seen
    }

    /// What earlier punches say; and no guessing while it is being measured what there is to guess.
    fn advice(&mut self, now: Instant, ours: &Fingerprint, theirs: &Fingerprint) -> Advice {
        let mut advice = self.punching.experience.advice(ours, theirs);
        let early = now.saturating_since(self.punching.began) < MEASURING;
        if early && !(is_measured(ours) && is_measured(theirs)) {
            advice.skip.extend([StageKind::Predict, StageKind::Spray, StageKind::Product]);
        }
        advice
    }

    /// What a member says of its NAT.
    fn nat_of(&self, peer: NodeId) -> Fingerprint {
        self.room.view().record(peer).map(|record| record.facts.nat).unwrap_or_default()
    }

    /// Where and how we can be reached.
    fn ours(&self) -> Ours {
        let homes: Vec<(SocketId, SocketAddr)> =
            self.around.homes.iter().map(|home| (home.socket, home.local)).collect();
        let hosts = homes.iter().map(|(_, local)| *local).filter(|local| !local.ip().is_unspecified());
        let hosts = hosts.map(|address| Candidate::new(address, CandidateKind::Host));
        let mapped = self.around.external.map(|address| Candidate::new(address, CandidateKind::Mapped));
        let reflexive = self.public.map(|address| Candidate::new(address, CandidateKind::Reflexive));
        Ours {
            fingerprint: *self.nat.fingerprint(),
            candidates: hosts.chain(mapped).chain(reflexive).collect(),
            public: self.public.map(|address| address.ip()).into_iter().collect(),
            sockets: homes,
            interfaces: self.own_interfaces().collect(),
        }
    }

    /// What of somebody's addresses is worth a call, the most promising first. What the user typed is called as it is.
    pub(in crate::node) fn worth_calling(&self, mut to: DialTo) -> DialTo {
        let interfaces: Vec<Interface> = self.own_interfaces().collect();
        let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        if to.id.is_none() {
            return to;
        }
        to.addresses.retain(|address| !is_global(address.ip()) || self.is_proven(to.id, address.ip()));
        // Without knowing our own networks nothing can be said about theirs.
        if interfaces.is_empty() {
            return to;
        }
        let public = self.public.map(|address| address.ip());
        let context = Context {
            interfaces: &interfaces,
            same_public_ip: to.addresses.iter().any(|address| Some(address.ip()) == public),
            // Whether loopback addresses mean anything was decided by whoever put them into the list.
            same_machine: to.addresses.iter().any(is_loopback),
        };
        let list: Vec<Candidate> =
            to.addresses.iter().map(|address| Candidate::new(*address, CandidateKind::Host)).collect();
        to.addresses = sanitise(&list, &context).into_iter().map(|candidate| candidate.address).collect();
        to
    }

    /// Whether a member is where its record says: the supernode hears it there, or it or we heard it there before it was lost. The supernode
    /// itself, and whoever was never in our room, is where we were told by those who let us in.
    fn is_proven(&self, id: Option<NodeId>, ip: IpAddr) -> bool {
        let (view, ip) = (self.room.view(), Some(ip.to_canonical()));
        let lost = || view.former.iter().map(MemberRecord::id).find(|lost| Some(*lost) == id);
        match view.entries.iter().find(|entry| Some(entry.record.id()) == id) {
            Some(entry) => entry.record.id() == view.epoch.supernode || entry.seen == ip,
            None => lost().is_none_or(|lost| self.passing.seen(lost) == ip),
        }
    }

    /// A view tells us of others, and others of us, at about the same time. Of two that are to be linked the one whose port is unseen calls
    /// the one whose port is known, or else the later one in line the earlier; who is to be called opens its NAT for the call by a small
    /// packet. Once for each record, and paid for like every probe.
    pub(in crate::node) fn open_for_callers(&mut self, now: Instant) {
        let view = self.room.view();
        let own = self.id();
        let rank = view.ids().position(|id| id == own).unwrap_or(usize::MAX);
        let is_linked = |id| self.links.connection(id).is_some();
        let is_new = |record: &MemberRecord| self.punching.opened.get(&record.id()) != Some(&record.facts.sequence);
        let others = view.entries.iter().enumerate().map(|(at, entry)| (at, &entry.record));
        // Everybody keeps links to the first ones in line.
        let pairs = others.filter(|(at, _)| *at != rank && rank.min(*at) <= WARM);
        let new = pairs.filter(|(_, record)| !is_linked(record.id()) && is_new(record));
        let new: Vec<(bool, MemberRecord)> = new.map(|(at, record)| (at > rank, record.clone())).collect();
        self.punching.opened.retain(|id, _| view.contains(*id));
        if self.config.room.local {
            return;
        }
        let ours = *self.nat.fingerprint();
        for (calls_us, record) in new {
            let theirs = record.facts.nat;
            self.punching.opened.insert(record.id(), record.facts.sequence);
            if calls_us && !is_easy(&ours) && is_welcoming(&theirs) {
                self.call_back(now, &record);
            } else if is_easy(&ours)
                && (calls_us || is_welcoming(&ours))
                && ours.filtering != Some(Filtering::Independent)
            {
                self.open_for(now, &record);
            }
        }
    }

    /// It cannot reach us, and we can reach it.
    fn call_back(&mut self, now: Instant, record: &MemberRecord) {
        let (addresses, id, key) = (self.room.addresses_of(record), Some(record.id()), Some(record.noise()));
        let to = self.worth_calling(DialTo { addresses, id, key, invitation: None });
        let number = self.links.dial(now, &mut self.endpoint, to, &Relays::default());
        self.dials.insert(number, Purpose::Callback);
    }

    /// It is about to call us.
    fn open_for(&mut self, now: Instant, record: &MemberRecord) {
        for to in record.facts.addresses.iter().filter(|to| is_global(to.ip()) && to.port() != 0) {
            let Some(home) = self.around.homes.of(to.ip()) else { continue };
            let verdict = self.punching.budget.probe(now, to.ip(), packet::LEN, Word::Namer);
            if verdict == Verdict::Go {
                let nonce = self.punching.opened.len() as u64;
                let probe =
                    packet::Packet { kind: packet::Kind::Probe, from_initiator: false, round: 0, nonce, echo: 0 };
                let bytes = Sealer::open().seal(&probe).to_vec();
                self.punching.outgoing.push_back(Packet { socket: home.socket, to: *to, bytes });
            }
        }
    }

    fn own_interfaces(&self) -> impl Iterator<Item = Interface> {
        let addresses = self.interfaces().addresses.iter();
        addresses.map(|address| Interface { address: address.ip, prefix: address.prefix })
    }

    /// A member offers to punch.
    pub(in crate::node) fn on_offer(&mut self, now: Instant, from: NodeId, mut offer: Offer) {
        let lan = self.around.on_lan(from).iter().map(|address| Candidate::new(*address, CandidateKind::Lan));
        offer.candidates.extend(lan);
        if !self.room.is_member(from) {
            return;
        }
        let Some(mut pair) = self.punching.pairs.remove(&from) else { return };
        // The one that begins does so anew: what was left of the last time is over here, too.
        if !pair.initiator && offer.round <= 1 && !matches!(pair.state, State::Direct) {
            self.give_up_punch(now, from, &mut pair);
            self.begin(now, from, &mut pair);
        }
        if let Some(punch) = pair.punch() {
            punch.handle_offer(now, offer);
        }
        self.settle_pair(now, from, &mut pair);
        self.punching.pairs.insert(from, pair);
    }

    /// More is known of our NAT: what failed may work. Whoever begins is told, if it is not us.
    pub(in crate::node) fn on_fingerprint(&mut self, now: Instant, settled: bool) {
        let measured = is_measured(self.nat.fingerprint()) && self.punching.measured.insert(self.id());
        if !settled && !measured {
            return;
        }
        for peer in self.punching.pairs.keys().copied().collect::<Vec<_>>() {
            let Some(pair) = self.punching.pairs.get_mut(&peer) else { continue };
            let tells = !pair.initiator && !matches!(pair.state, State::Direct);
            pair.hurry(now);
            if tells {
                self.say_path(now, peer, PathMessage::Changed);
            }
        }
        self.tick_punching(now);
    }

    /// Records changed: whose NAT is known by now may have a port to guess at.
    pub(in crate::node) fn on_records(&mut self, now: Instant) {
        let view = self.room.view();
        let measured = view.entries.iter().map(|entry| &entry.record).filter(|record| is_measured(&record.facts.nat));
        let new: Vec<NodeId> =
            measured.map(MemberRecord::id).filter(|id| !self.punching.measured.contains(id)).collect();
        let own = self.id();
        // Of those who hear the same offers one made them.
        self.punching.budget.share(view.entries.len().saturating_sub(2));
        for entry in &view.entries {
            let id = entry.record.id();
            let heard = self.links.link(id).and_then(|link| link.remote).map(|remote| remote.ip().to_canonical());
            if let Some(ip) = heard.or(entry.seen) {
                self.passing.note_seen(id, ip);
            }
        }
        self.punching.measured.retain(|id| *id == own || view.contains(*id));
        for peer in new.into_iter().filter(|id| *id != own) {
            self.punching.measured.insert(peer);
            self.on_changed(now, peer);
        }
    }

    /// More is known of a member's NAT.
    pub(in crate::node) fn on_changed(&mut self, now: Instant, from: NodeId) {
        if let Some(pair) = self.punching.pairs.get_mut(&from).filter(|pair| pair.initiator) {
            pair.hurry(now);
            self.tick_punching(now);
        }
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
                        self.punching.kept.push(Kept { socket, until: now + KEPT_FOR });
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
        let (ours, theirs) = (*self.nat.fingerprint(), self.nat_of(peer));
        let tried = pair.punch().map(|punch| punch.tried().to_vec()).unwrap_or_default();
        for stage in tried {
            self.punching.experience.note(&ours, &theirs, stage, pair.stage == Some(stage));
        }
        match why {
            Some(why) => {
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
            mrt::Event::Moved { .. } => self.look_for_path(now, peer),
            mrt::Event::PathFailed { .. } if !route.is_relayed() => {
                if let Some(pair) = self.punching.pairs.get_mut(&peer)
                    && matches!(pair.state, State::Proving(_))
                {
                    pair.move_to_rest(now, "the path that was found does not carry full-size packets".to_owned());
                }
            }
            _ => {}
        }
    }

    /// Closes the sockets of punches that no path uses.
    fn close_unused(&mut self, now: Instant) {
        if self.punching.kept.iter().all(|kept| now < kept.until) {
            return;
        }
        let connections: Vec<ConnectionHandle> = self.links.linked().map(|(_, connection)| connection).collect();
        let routes = connections.into_iter().flat_map(|connection| self.endpoint.paths(now, connection));
        let used: Vec<SocketId> = routes
            .filter_map(|path| match path.route {
                Route::Udp { socket, .. } => Some(socket),
                Route::Relayed { .. } => None,
            })
            .collect();
        for kept in &mut self.punching.kept {
            if now < kept.until {
                continue;
            }
            if used.contains(&kept.socket) {
                kept.until = now + KEPT_FOR;
            } else {
                self.socket_requests.push_back(SocketRequest::Close(kept.socket));
            }
        }
        self.punching.kept.retain(|kept| now < kept.until);
    }

    /// The other end's address as somebody heard it who is linked to both.
    ///
    /// Only the supernode's word counts, and anybody's about the supernode: two members together could point us at a third party.
    pub(in crate::node) fn note_seen(&mut self, by: NodeId, peer: NodeId, seen: Option<IpAddr>) {
        let view = self.room.view();
        let supernode = view.epoch.supernode;
        let is_trusted = by == supernode || (peer == supernode && view.contains(by));
        if let Some(ip) = seen.filter(|_| is_trusted && view.contains(peer)) {
            self.passing.note_seen(peer, ip);
        }
    }
}
