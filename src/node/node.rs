//! The node: a list of parts, and who is asked when.

use super::api::{Command, ErrorCode, Event, Member, NatKind, Path, Role};
use super::catalogue::Catalogue;
use super::disk::{DiskError, DiskReply, DiskRequest};
use super::identity::{Identity, NodeId};
use super::links::{DialNumber, Links};
use super::paths::{Around, Meetings, Nat, Owner, Passing, Punching, Sockets};
use super::record::MemberRecord;
use super::room::{self, Room, RoomConfig};
use super::ticket::Ticket;
use super::told::Told;
use super::transfer::{Downloads, Serving};
use crate::machine::{Datagram, Ecn, Machine, SocketReport, SocketRequest, Transmit};
use crate::mrt::{Config, ConnectionStats, Endpoint, Route};
use crate::stun::candidate::is_global;
use crate::stun::fingerprint::Fingerprint;
use crate::stun::punch::packet::PNCH;
use crate::stun::{Packet, is_stun};
use crate::time::{Duration, Instant};
use core::fmt;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// What is spoken above MRT. Two programs that say something else here cannot connect.
const APPLICATION: &[u8] = b"anjer room 1";

/// What a node is told at its birth.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Who we are.
    pub identity: Arc<Identity>,
    /// What others see.
    pub name: String,
    /// Where we listen.
    pub local: SocketAddr,
    /// Servers ("host:port") that are asked what they see of us. None: members alone are.
    pub stun: Vec<String>,
    /// Whom the door lets in unasked.
    pub room: RoomConfig,
    /// The time since 1970-01-01 UTC at [`Instant::ZERO`].
    pub unix_at_start: Duration,
}

/// Whom a dial is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The room asked for it.
    Room(room::DialNumber),
    /// A download wants this holder.
    Holder(NodeId),
    /// It waits for our call, since it cannot reach us.
    Callback,
}

/// How members are reached, as it was told.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// The way that was told for each, and the packets that it took. Members only, so that there are no more than a room holds.
    pub(super) told: BTreeMap<NodeId, (Route, u64)>,
    /// Something changed: look again.
    pub(super) look: bool,
}

impl Paths {
    /// What was told of a member is to be told again: there is more to say.
    pub(super) fn forget(&mut self, peer: NodeId) {
        self.told.remove(&peer);
        self.look = true;
    }
}

/// Where the node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// In a room.
    InRoom,
    /// Handing over what there is to hand over.
    Leaving,
    /// Closing links, until then at most.
    Closing(Instant),
    /// Bye was said.
    Over,
}

/// A member of a room: everything but the socket, the clock and the disk.
///
/// Besides the verbs of a [`Machine`] it has commands and events, and work for a disk ([`poll_disk`](Self::poll_disk),
/// [`handle_disk`](Self::handle_disk)).
pub struct Node {
    pub(super) config: NodeConfig,
    pub(super) endpoint: Endpoint,
    pub(super) links: Links,
    pub(super) room: Room,
    pub(super) catalogue: Catalogue,
    pub(super) downloads: Downloads,
    pub(super) serving: Serving,
    pub(super) dials: BTreeMap<DialNumber, Purpose>,
    /// Links that the room needs no longer but transfers may, and since when these do not.
    pub(super) spare: BTreeMap<NodeId, Instant>,
    /// When peers were last listened for.
    pub(super) listened: Instant,
    pub(super) stage: Stage,
    pub(super) disk: VecDeque<DiskRequest>,
    pub(super) told: Told,
    pub(super) paths: Paths,
    pub(super) passing: Passing,
    pub(super) around: Around,
    pub(super) nat: Nat,
    pub(super) punching: Punching,
    pub(super) meetings: Meetings,
    pub(super) nat_told: Option<NatKind>,
    pub(super) sockets: Sockets,
    pub(super) socket_requests: VecDeque<SocketRequest>,
    pub(super) public: Option<SocketAddr>,
    /// The room that the disk knows us to be in.
    pub(super) noted: Option<[u8; 16]>,
    /// What our record says: addresses and NAT.
    said: (Vec<SocketAddr>, Fingerprint),
    record_sequence: u64,
}

impl Node {
    /// A node in a room of its own. `seed` has to be secret and used once; a simulation takes a known one.
    pub fn new(config: NodeConfig, now: Instant, seed: [u8; 32]) -> Self {
        let identity = &config.identity;
        let start = unix_ms(&config, now);
        let record = MemberRecord::sign(identity, &config.name, &addresses(&config, None), start);
        let program = blake3::derive_key("anjer 2026 program", &seed);
        let program = program.first_chunk().map_or(start, |bytes| u64::from_be_bytes(*bytes));
        let endpoint = Endpoint::new(
            Config::new(identity.noise().clone(), APPLICATION),
            blake3::derive_key("anjer 2026 endpoint", &seed),
        );
        let room_seed = blake3::derive_key("anjer 2026 room", &seed);
        let room = Room::new(identity.clone(), record.clone(), config.room.clone(), now, room_seed);
        let ready = Event::Ready {
            id: identity.id(),
            name: record.facts.name.clone(),
            local: config.local,
            public: None,
            nat: None,
        };
        let around = Around::new(identity.id(), config.local, config.room.local, &config.stun);
        let mut links = Links::new(identity.clone(), program, record);
        links.set_homes(around.homes);
        let mut sockets = Sockets::default();
        let nat = Nat::new(config.local, &mut sockets, blake3::derive_key("anjer 2026 nat", &seed));
        let mut node = Self {
            endpoint,
            links,
            room,
            catalogue: Catalogue::new(identity.clone(), start),
            downloads: Downloads::default(),
            serving: Serving::default(),
            dials: BTreeMap::new(),
            spare: BTreeMap::new(),
            listened: now,
            stage: Stage::InRoom,
            disk: VecDeque::new(),
            told: Told::default(),
            paths: Paths::default(),
            passing: Passing::default(),
            around,
            nat,
            meetings: Meetings::default(),
            punching: Punching::new(now, blake3::derive_key("anjer 2026 punching", &seed)),
            nat_told: None,
            sockets,
            socket_requests: VecDeque::new(),
            public: None,
            noted: None,
            said: (addresses(&config, None), Fingerprint::default()),
            record_sequence: start,
            config,
        };
        node.told.push(ready);
        node.settle(now);
        node
    }

    /// Our program was in that room when it ended without leaving it. Should a member call us before we are with others, we go back there.
    pub fn was_in(&mut self, room: [u8; 16]) {
        self.room.was_in(room::RoomId(room));
        self.noted = Some(room);
    }

    /// Somebody asked for something. Mistakes come back as [`Event::Error`] and change nothing.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        if self.stage != Stage::InRoom {
            return; // the last command was `Q`
        }
        let letter = command.letter();
        let done = match command {
            Command::ConnectTo(address) => self.connect_to(now, address),
            Command::ConnectWith(ticket) => self.connect_with(now, &ticket),
            Command::AdmitAddress(address) => self.admit_address(now, address),
            Command::AdmitId(id) => {
                self.room.admit_id(now, &id);
                Ok(())
            }
            Command::Talk(text) => {
                self.room.say(now, &text, unix_ms(&self.config, now));
                Ok(())
            }
            Command::Offer(path) => self.catalogue.offer(path),
            Command::Withdraw(what) => self.catalogue.withdraw(&what),
            Command::Files => {
                self.told.push(Event::Files { files: self.catalogue.files() });
                Ok(())
            }
            Command::Retrieve { what, save_as } => self.retrieve(now, &what, save_as),
            Command::Peers => {
                self.tell_peers(now);
                Ok(())
            }
            Command::Invite => {
                self.invite(now);
                Ok(())
            }
            Command::Why => {
                let (ranking, history) = self.room.why();
                let (nat, paths) = (self.explain_nat(), self.explain_paths(now));
                self.told.push(Event::Why { ranking, history, nat, paths });
                Ok(())
            }
            Command::Quit => {
                self.downloads.pause_all();
                self.stage = Stage::Leaving;
                self.room.quit(now);
                Ok(())
            }
        };
        if let Err(DiskError { code, message }) = done {
            self.told.push(Event::Error { command: Some(letter), code, message });
        }
        self.settle(now);
    }

    fn connect_to(&mut self, now: Instant, address: SocketAddr) -> Result<(), DiskError> {
        check_address(address)?;
        if address == self.config.local || Some(address) == self.public {
            return Err(mistake(ErrorCode::Usage, "that is this node's own address; give the other one's"));
        }
        self.room.join_address(now, address);
        Ok(())
    }

    fn connect_with(&mut self, now: Instant, ticket: &str) -> Result<(), DiskError> {
        let unix = self.config.unix_at_start.saturating_add(now.since_start());
        let ticket = Ticket::parse(ticket, unix).map_err(|error| mistake(ErrorCode::Usage, &error.to_string()))?;
        self.room.join_ticket(now, ticket.invited);
        Ok(())
    }

    fn admit_address(&mut self, now: Instant, address: SocketAddr) -> Result<(), DiskError> {
        check_address(address)?;
        self.room.admit_address(now, address);
        Ok(())
    }

    fn retrieve(&mut self, now: Instant, what: &str, save_as: Option<PathBuf>) -> Result<(), DiskError> {
        let listing = self.catalogue.find(what)?;
        if self.catalogue.holders(&listing.hash, listing.size).is_empty() {
            return Err(mistake(ErrorCode::Exists, "that is your own offer: it is on this disk already"));
        }
        self.downloads.begin(now, listing, save_as)
    }

    fn invite(&mut self, now: Instant) {
        let unix = self.config.unix_at_start.saturating_add(now.since_start());
        if let Some(invitation) = self.room.invite(now) {
            let ticket = Ticket::issue(&self.config.identity, &invitation, unix);
            self.told.push(Event::Ticket { ticket, seconds: invitation.lifetime.as_secs() });
        }
    }

    /// Servers were asked what the world sees of our socket, before there was anybody to check their answers: this, or none of them answered.
    /// It is a hint. What is told and published is what the live socket is told, whose answers bear the number of a question.
    pub fn set_public(&mut self, now: Instant, public: Option<SocketAddr>) {
        if self.stage != Stage::InRoom {
            return;
        }
        match public {
            Some(public) => tracing::debug!(%public, "a server's first answer"),
            None if self.public.is_none() => self.told.push(Event::Address { public, nat: None }),
            None => {}
        }
        self.settle(now);
    }

    /// Says where we can be reached and what our NAT is like, if that is something else than before.
    pub(super) fn publish_record(&mut self, now: Instant) {
        let homes = self.around.homes.iter().map(|home| home.local).filter(|local| !local.ip().is_unspecified());
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in homes.chain(self.public).chain(self.around.external) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        // A lifetime takes minutes to measure and matters to nobody else.
        let said = (addresses, Fingerprint { lifetime: None, ..*self.nat.fingerprint() });
        if self.said == said {
            return;
        }
        self.said = said;
        self.record_sequence += 1;
        let record = MemberRecord::sign_behind(
            &self.config.identity,
            &self.config.name,
            &self.said.0,
            self.said.1,
            self.record_sequence,
        );
        self.links.set_record(record.clone());
        self.room.update_record(now, record);
    }

    /// The disk did something.
    pub fn handle_disk(&mut self, now: Instant, reply: DiskReply) {
        match reply {
            DiskReply::Found { .. } | DiskReply::Hashed { .. } | DiskReply::OfferFailed { .. } => {
                self.catalogue.handle_disk(reply);
            }
            DiskReply::Slice { token, slice } => self.serving.handle_slice(now, &mut self.endpoint, token, slice),
            DiskReply::Begun { .. }
            | DiskReply::Written { .. }
            | DiskReply::Corrupt { .. }
            | DiskReply::Saved { .. }
            | DiskReply::Failed { .. } => self.downloads.handle_disk(now, reply),
        }
        self.settle(now);
    }

    /// Work for the disk, to be done in order.
    pub fn poll_disk(&mut self) -> Option<DiskRequest> {
        self.disk.pop_front()
    }

    /// What happened. [`Event::Ready`] comes first, [`Event::Bye`] last.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.told.pop()
    }

    /// Whether everything was said and sent.
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Who we are.
    pub fn id(&self) -> NodeId {
        self.config.identity.id()
    }

    /// Who is in the room, and how each is reached.
    pub(super) fn tell_peers(&mut self, now: Instant) {
        let view = self.room.view();
        let members = view.entries.iter().enumerate().map(|(rank, entry)| {
            let id = entry.record.id();
            let stats = self.links.connection(id).and_then(|connection| self.endpoint.stats(now, connection));
            let own = (id == self.config.identity.id()).then_some(self.config.local);
            Member {
                id,
                name: entry.record.facts.name.clone(),
                addr: own
                    .or(stats.and_then(|stats| stats.remote()))
                    .or_else(|| known_address(&entry.record.facts.addresses)),
                role: if id == view.epoch.supernode { Role::Supernode } else { Role::Member },
                rank,
                path: stats.as_ref().and_then(path_of),
                rtt_ms: stats.filter(|stats| stats.min_rtt.is_some()).map(|stats| stats.rtt.as_secs_f64() * 1e3),
            }
        });
        let (epoch, supernode, members) = (view.epoch.counter, view.epoch.supernode, members.collect());
        self.told.push(Event::Peers { epoch, supernode, members });
    }
}

impl Node {
    /// What is to be sent that is not MRT's.
    fn poll_small(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let packet = self.punching.poll_packet().or_else(|| self.poll_stun(now))?;
        Some(small(packet, buffer))
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({} at {}, {:?})", self.id(), self.config.local, self.stage)
    }
}

impl Machine for Node {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        // RFC 7983 §7: the first byte tells.
        if datagram.contents.first().is_some_and(|first| is_stun(*first)) {
            self.on_stun(now, &datagram);
            return self.settle(now);
        }
        if datagram.contents.first() == Some(&PNCH) {
            let Datagram { socket, from, ref contents, .. } = datagram;
            if !self.on_pnch(now, socket, from, contents) {
                self.on_stranger(now, socket, from, contents);
            }
            return self.settle(now);
        }
        self.endpoint.handle_datagram(now, datagram);
        self.settle(now);
    }

    fn handle_unreachable(&mut self, now: Instant, to: SocketAddr) {
        self.endpoint.handle_unreachable(now, to);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.links.handle_timeout(now, &mut self.endpoint);
        self.tick_passing(now);
        self.tick_nat(now);
        self.tick_punching(now);
        self.tick_meetings(now);
        self.listen(now);
        self.room.handle_timeout(now);
        self.downloads.handle_timeout(now, &mut self.endpoint);
        self.serving.handle_timeout(now, &mut self.endpoint, &self.catalogue);
        self.settle(now);
    }

    fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        self.poll_small(now, buffer).or_else(|| self.endpoint.poll_transmit(now, buffer))
    }

    fn poll_socket(&mut self) -> Option<SocketRequest> {
        self.socket_requests.pop_front()
    }

    fn handle_socket(&mut self, now: Instant, report: SocketReport) {
        let (SocketReport::Opened { socket, .. } | SocketReport::Failed(socket)) = report;
        match self.sockets.owner(socket) {
            Some(Owner::Node) if self.on_second_socket(report) => {}
            Some(Owner::Node) => self.on_home(now, report),
            Some(Owner::Discovery) => self.on_discovery_socket(now, report),
            Some(Owner::Punch(number)) => self.on_punch_socket(now, number, report),
            Some(Owner::Strangers(number)) => self.on_meeting_socket(now, number, report),
            // Whoever wanted it is no more.
            None => {
                if let SocketReport::Opened { socket, .. } = report {
                    self.socket_requests.push_back(SocketRequest::Close(socket));
                }
            }
        }
        self.settle(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let parts = [
            self.endpoint.poll_timeout(),
            self.links.poll_timeout(),
            self.passing.poll_timeout(),
            self.nat.poll_timeout(),
            self.punching.poll_timeout(),
            self.meetings.poll_timeout(),
            self.listen_at(),
            self.room.poll_timeout(),
            self.downloads.poll_timeout(),
            self.serving.poll_timeout(),
            self.close_at(),
        ];
        if self.stage == Stage::Over { self.endpoint.poll_timeout() } else { parts.into_iter().flatten().min() }
    }
}

/// Of what somebody publishes, the address that means most to people: the one that is theirs alone in the world.
fn known_address(published: &[SocketAddr]) -> Option<SocketAddr> {
    published.iter().find(|address| is_global(address.ip())).or(published.first()).copied()
}

/// Where others may try to reach us.
fn addresses(config: &NodeConfig, public: Option<SocketAddr>) -> Vec<SocketAddr> {
    let local = Some(config.local).filter(|local| !local.ip().is_unspecified());
    let public = public.filter(|public| Some(*public) != local);
    local.into_iter().chain(public).collect()
}

fn small(packet: Packet, buffer: &mut Vec<u8>) -> Transmit {
    buffer.extend_from_slice(&packet.bytes);
    let segment_size = packet.bytes.len().max(1);
    Transmit { socket: packet.socket, to: packet.to, ecn: Ecn::NotCapable, segment_size }
}

/// A way in the user's words. A direct one is none before datagrams of full size went both ways.
pub(super) fn path_of(stats: &ConnectionStats) -> Option<Path> {
    match stats.route {
        Route::Relayed { .. } => Some(Path::Relayed),
        Route::Udp { .. } => stats.full_size.then_some(Path::Direct),
    }
}

fn unix_ms(config: &NodeConfig, now: Instant) -> u64 {
    u64::try_from(config.unix_at_start.saturating_add(now.since_start()).as_millis()).unwrap_or(u64::MAX)
}

fn check_address(address: SocketAddr) -> Result<(), DiskError> {
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
        return Err(mistake(ErrorCode::Usage, "that is not the address of a host; give its IP and its UDP port"));
    }
    Ok(())
}

fn mistake(code: ErrorCode, message: &str) -> DiskError {
    DiskError { code, message: message.to_owned() }
}
