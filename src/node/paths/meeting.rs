//! Two people who typed each other's addresses: `A` at one end, `C` at the other, and nobody in between.

use super::around::Home;
use super::sockets::Owner;
use crate::machine::{SocketId, SocketReport};
use crate::mrt::Route;
use crate::node::identity::NodeId;
use crate::node::links::DialNumber;
use crate::node::node::Node;
use crate::stun::Packet;
use crate::stun::candidate::is_global;
use crate::stun::fingerprint::Fingerprint;
use crate::stun::punch::strangers::{self, Config, Event, Strangers};
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Addresses that are waited for at once, at most: as many as the door has windows.
const MAX_MEETINGS: usize = 16;

/// How long `C` looks for a way to somebody who does not answer. Both people have to type, and a NAT's port may have to be guessed.
const CALLING_TIME: Duration = Duration::from_secs(20);

/// Ways that one call tries besides the typed one, at most.
const MAX_WAYS: usize = 3;

/// Sockets on which the other end was heard that are kept until it is known which one it uses, at most.
const MAX_SOCKETS: usize = 8;

/// One typed address.
#[derive(Debug)]
struct Meeting {
    number: u64,
    strangers: Strangers,
    /// What was known of our NAT when it began.
    known: Fingerprint,
    /// When it is given up.
    until: Instant,
    /// The call that is to be told of ways. `None`: we wait to be called.
    dial: Option<DialNumber>,
    ways: usize,
    /// Where the other end was heard: one of these sockets is in use, and which one is its choice as much as ours.
    sockets: Vec<SocketId>,
}

/// All typed addresses that are waited for.
#[derive(Debug, Default)]
pub(in crate::node) struct Meetings {
    by_address: BTreeMap<SocketAddr, Meeting>,
    begun: u64,
}

impl Meetings {
    /// When [`Node::tick_meetings`] is due.
    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        self.by_address.values().filter_map(|meeting| meeting.strangers.poll_timeout()).min()
    }
}

impl Node {
    /// The user typed an address: our NAT is opened for it, and both ends look for each other's port. Not on this machine or network, where
    /// no NAT is in between.
    pub(in crate::node) fn meet(&mut self, now: Instant, typed: SocketAddr, dial: Option<DialNumber>) {
        let Some(home) = self.around.homes.of(typed.ip()) else { return };
        if self.config.room.local || !is_global(typed.ip()) || self.meetings.by_address.len() >= MAX_MEETINGS {
            return;
        }
        self.end_meeting(now, typed);
        let until = now + if dial.is_some() { CALLING_TIME } else { self.config.room.times.door };
        let (number, strangers) = self.begin_meeting(now, typed, home, until);
        let known = *self.nat.fingerprint();
        let meeting = Meeting { number, strangers, known, until, dial, ways: 0, sockets: Vec::new() };
        self.meetings.by_address.insert(typed, meeting);
        if let Some(dial) = dial {
            self.links.expect_route(dial);
        }
        self.settle_meeting(now, typed);
    }

    fn begin_meeting(&mut self, now: Instant, typed: SocketAddr, home: Home, until: Instant) -> (u64, Strangers) {
        self.meetings.begun += 1;
        let number = self.meetings.begun;
        let sockets = self.sockets.reserve(Owner::Strangers(number), strangers::SOCKETS);
        let config = Config {
            typed,
            fingerprint: *self.nat.fingerprint(),
            sockets: vec![(home.socket, home.local)],
            first_socket: SocketId(sockets.start),
            seed: self.punching.draw(number),
            patience: until.saturating_since(now),
        };
        (number, Strangers::new(now, config))
    }

    /// More is known of our NAT: where nobody was heard yet, it is looked for them as that NAT asks for.
    pub(super) fn renew_meetings(&mut self, now: Instant) {
        let known = *self.nat.fingerprint();
        let decides = |nat: &Fingerprint| (nat.mapping, nat.filtering, nat.ports);
        for typed in self.meetings.by_address.keys().copied().collect::<Vec<_>>() {
            let Some(home) = self.around.homes.of(typed.ip()) else { continue };
            let is_stale = |meeting: &&mut Meeting| {
                meeting.sockets.is_empty() && decides(&meeting.known) != decides(&known) && now < meeting.until
            };
            let Some(meeting) = self.meetings.by_address.get_mut(&typed).filter(is_stale) else { continue };
            let (number, until) = (meeting.number, meeting.until);
            meeting.strangers.stop(&[]);
            self.settle_meeting(now, typed);
            self.sockets.forget(Owner::Strangers(number));
            let (number, strangers) = self.begin_meeting(now, typed, home, until);
            if let Some(meeting) = self.meetings.by_address.get_mut(&typed) {
                (meeting.number, meeting.strangers, meeting.known) = (number, strangers, known);
            }
            self.settle_meeting(now, typed);
        }
    }

    /// They met, or it is given up.
    fn end_meeting(&mut self, now: Instant, typed: SocketAddr) {
        if let Some(meeting) = self.meetings.by_address.get_mut(&typed) {
            meeting.strangers.stop(&meeting.sockets);
            self.settle_meeting(now, typed);
        }
        let Some(meeting) = self.meetings.by_address.remove(&typed) else { return };
        for socket in meeting.sockets {
            if self.around.homes.iter().all(|home| home.socket != socket) {
                self.punching.kept.keep(now, socket);
            }
        }
        self.sockets.forget(Owner::Strangers(meeting.number));
        if let Some(dial) = meeting.dial {
            self.links.on_no_route(now, &mut self.endpoint, dial);
        }
    }

    /// A link came up: whoever was looked for at its address is found.
    pub(in crate::node) fn on_met(&mut self, now: Instant, peer: NodeId, remote: SocketAddr) {
        let met = |typed: &&SocketAddr| typed.ip() == remote.ip();
        if let Some(typed) = self.meetings.by_address.keys().find(met).copied() {
            let spent = self.meetings.by_address.get(&typed).map_or(0, |meeting| meeting.strangers.probes());
            self.punching.note_met(peer, spent);
            self.end_meeting(now, typed);
        }
    }

    /// A call is over, one way or the other.
    pub(in crate::node) fn on_call_end(&mut self, now: Instant, dial: DialNumber) {
        let is_its = |(_, meeting): &(&SocketAddr, &Meeting)| meeting.dial == Some(dial);
        if let Some(typed) = self.meetings.by_address.iter().find(is_its).map(|(typed, _)| *typed) {
            self.end_meeting(now, typed);
        }
    }

    /// Repeats what is due.
    pub(in crate::node) fn tick_meetings(&mut self, now: Instant) {
        for typed in self.meetings.by_address.keys().copied().collect::<Vec<_>>() {
            if let Some(meeting) = self.meetings.by_address.get_mut(&typed) {
                meeting.strangers.handle_timeout(now);
            }
            self.settle_meeting(now, typed);
        }
    }

    /// A punch packet between strangers came. `false`: it is for nobody.
    pub(in crate::node) fn on_stranger(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        let typed: Vec<SocketAddr> = self.meetings.by_address.keys().copied().collect();
        let Some(typed) = typed.into_iter().find(|typed| typed.ip() == from.ip().to_canonical()) else { return false };
        let Some(meeting) = self.meetings.by_address.get_mut(&typed) else { return false };
        let taken = meeting.strangers.handle_datagram(now, socket, from, bytes);
        self.settle_meeting(now, typed);
        taken
    }

    /// A socket of a meeting was opened, or was not.
    pub(in crate::node) fn on_meeting_socket(&mut self, now: Instant, number: u64, report: SocketReport) {
        let is_its = |(_, meeting): &(&SocketAddr, &Meeting)| meeting.number == number;
        let Some(typed) = self.meetings.by_address.iter().find(is_its).map(|(typed, _)| *typed) else { return };
        if let Some(meeting) = self.meetings.by_address.get_mut(&typed) {
            meeting.strangers.handle_socket(now, report);
        }
        self.settle_meeting(now, typed);
    }

    /// Does what a meeting wants, and calls where somebody was heard.
    fn settle_meeting(&mut self, now: Instant, typed: SocketAddr) {
        let Some(meeting) = self.meetings.by_address.get_mut(&typed) else { return };
        let budget = &mut self.punching.budget;
        let mut packets = Vec::new();
        while let Some(request) = meeting.strangers.poll_socket(budget) {
            self.socket_requests.push_back(request);
        }
        while let Some((socket, to, bytes)) = meeting.strangers.poll_transmit(now, budget) {
            packets.push(Packet { socket, to, bytes });
        }
        let mut ended = false;
        let mut ways = Vec::new();
        while let Some(event) = meeting.strangers.poll_event() {
            match event {
                Event::Heard { socket, from, answered: true } => {
                    if meeting.sockets.len() < MAX_SOCKETS && !meeting.sockets.contains(&socket) {
                        meeting.sockets.push(socket);
                    }
                    if meeting.ways < MAX_WAYS {
                        meeting.ways += 1;
                        ways.extend(meeting.dial.map(|dial| (dial, Route::Udp { socket, remote: from })));
                    }
                }
                Event::Heard { answered: false, .. } => {}
                Event::Ended { .. } => ended = true,
            }
        }
        packets.into_iter().for_each(|packet| self.punching.send(packet));
        for (dial, route) in ways {
            tracing::info!(%route, "heard whom we look for");
            self.links.on_route(now, &mut self.endpoint, dial, route);
        }
        if ended {
            self.end_meeting(now, typed);
        }
    }
}
