//! How a packet gets from one site to another: by links, through NATs.

use super::host::{Host, SOCKET_BUFFER, Verdict};
use super::run::{Network, What};
use super::site::{NatId, Site};
use crate::link::Link;
use crate::packet::Packet;
use crate::pipe::Pipe;
use core::hash::Hash;
use core::time::Duration;
use std::net::SocketAddr;

/// A packet on a link.
pub(super) struct Flight {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) packet: Packet,
}

/// Who put a packet before its destination's door.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Link,
    Outside,
}

impl<H: Host> Network<H> {
    /// A host sends.
    pub(super) fn send(&mut self, sender: u32, packet: Packet) {
        let Some(behind) = self.realm_of_sender(sender, packet.from) else { return };
        let from = self.intern(Site::Host { behind, address: packet.from });
        let to = self.way_to(behind, packet.to);
        self.forward(from, to, packet);
    }

    /// Behind what a host is with the address that it sends from: a machine may have several. With one that is not its own it is where
    /// it is with its first.
    fn realm_of_sender(&self, sender: u32, from: SocketAddr) -> Option<Option<NatId>> {
        let home = |index: u32| match self.place(index)?.site {
            Site::Host { behind, address } => Some((behind, address.ip())),
            Site::Nat(_) => None,
        };
        let (first, _) = home(sender)?;
        let others = &self.place(sender)?.aliases;
        let mut all = core::iter::once(sender).chain(others.iter().copied()).filter_map(home);
        Some(all.find(|(_, ip)| *ip == from.ip()).map_or(first, |(behind, _)| behind))
    }

    /// Puts a packet on the link between two neighbours.
    fn forward(&mut self, from: u32, to: u32, mut packet: Packet) {
        let now = self.now;
        let is_cut = self.is_cut(from, to);
        let verdict = self.tap.as_mut().map_or(Verdict::Pass, |tap| tap(now, &packet));
        let pipe = self.pipe_mut(from, to);
        if is_cut || verdict == Verdict::Drop {
            pipe.counters.sent += 1;
            pipe.counters.sent_bytes += packet.bytes.len() as u64;
            pipe.counters.dropped.cut += u64::from(is_cut);
            pipe.counters.dropped.tap += u64::from(!is_cut);
            return;
        }
        let Some(arrivals) = pipe.carry(now, &mut packet) else { return };
        if let Some(at) = arrivals.copy {
            self.fly(at, Flight { from, to, packet: packet.clone() });
        }
        self.fly(arrivals.first, Flight { from, to, packet });
    }

    /// A packet stands before a door.
    pub(super) fn arrive(&mut self, from: u32, to: u32, packet: Packet, origin: Origin) {
        let is_cut = self.is_cut(from, to);
        // A door may be one of several of the same host.
        let home = self.owner_of(to);
        let Some(place) = self.places.get_mut(home as usize) else { return };
        let counters = match (self.pipes.get_mut(&(from, to)), origin) {
            (Some(pipe), Origin::Link) => &mut pipe.counters,
            _ => &mut self.outside,
        };
        if is_cut {
            counters.dropped.cut += 1;
            return;
        }
        if place.host.is_none() && place.gateway.is_none() {
            counters.dropped.nobody += 1;
            let place_site = place.site;
            if self.unreachable_is_reported {
                let way_back = self.pipes.get(&(to, from)).map_or(self.default_link.delay, |pipe| pipe.link.delay);
                let door = match place_site {
                    Site::Host { behind, .. } => Site::Host { behind, address: packet.to },
                    nat @ Site::Nat(_) => nat,
                };
                let door = self.intern_exactly(door);
                self.schedule(self.now + way_back, What::Unreachable(self.owner_of(from), door));
            }
            return;
        }
        if place.paused {
            if place.buffered_bytes + packet.bytes.len() > SOCKET_BUFFER {
                counters.dropped.socket_buffer += 1;
            } else {
                place.buffered_bytes += packet.bytes.len();
                place.buffer.push_back((from, to, packet));
            }
            return;
        }
        counters.delivered += 1;
        counters.delivered_bytes += packet.bytes.len() as u64;
        match place.site {
            Site::Host { .. } => self.deliver(home, packet),
            Site::Nat(id) => self.translate(from, to, id, packet),
        }
    }

    fn deliver(&mut self, to: u32, mut packet: Packet) {
        let now = self.now;
        let Some(host) = self.places.get_mut(to as usize).and_then(|place| place.host.as_mut()) else { return };
        if let Some(transcript) = &mut self.transcript {
            (now, &packet).hash(transcript);
        }
        host.handle_packet(now, &mut packet);
        self.drain(to);
    }

    /// A packet came to a NAT, which counts it if it refuses it.
    fn translate(&mut self, from: u32, at: u32, id: NatId, packet: Packet) {
        let now = self.now;
        let comes_from_inside = self.realm(from) == Some(id);
        let Some(gateway) = self.place_mut(at).and_then(|place| place.gateway.as_mut()) else { return };
        let outer = gateway.outer;
        let nat = &mut gateway.nat;
        let outbound = if comes_from_inside { nat.outbound(now, packet) } else { Ok(packet) };
        let Ok(packet) = outbound else { return };
        if comes_from_inside && packet.to.ip() != nat.outside() {
            let next = self.way_to(outer, packet.to);
            return self.forward(at, next, packet);
        }
        let Ok(packet) = nat.inbound(now, packet) else { return };
        let next = self.way_in(id, packet.to);
        self.forward(at, next, packet);
    }

    /// The next site on the way to an address, for whoever is in this realm.
    pub(super) fn way_to(&mut self, realm: Option<NatId>, to: SocketAddr) -> u32 {
        let here = Site::Host { behind: realm, address: to };
        if let Some(&nat) = self.outsides.get(&(realm, to.ip())) {
            return self.intern(Site::Nat(nat));
        }
        match realm {
            // What nobody here is called is outside.
            Some(nat) if !self.inhabited.contains(&(nat, to.ip())) => self.intern(Site::Nat(nat)),
            _ => self.intern(here),
        }
    }

    /// The next site on the way inwards.
    fn way_in(&mut self, nat: NatId, to: SocketAddr) -> u32 {
        match self.outsides.get(&(Some(nat), to.ip())) {
            Some(&inner) => self.intern(Site::Nat(inner)),
            None => self.intern(Site::Host { behind: Some(nat), address: to }),
        }
    }

    /// Behind what a site is. `None`: in the world.
    fn realm(&self, index: u32) -> Option<NatId> {
        let place = self.place(index)?;
        match place.site {
            Site::Host { behind, .. } => behind,
            Site::Nat(_) => place.gateway.as_ref()?.outer,
        }
    }

    /// The link between two neighbours. In the world it is like the default link, behind a NAT it is perfect, unless told otherwise.
    pub(super) fn pipe_mut(&mut self, from: u32, to: u32) -> &mut Pipe {
        let seed = self.seed_of(&(from, to));
        let is_private = self.realm(from).is_some() || self.realm(to).is_some();
        let default_link = &self.default_link;
        self.pipes.entry((from, to)).or_insert_with(|| {
            let link = if is_private { Link::default() } else { default_link.clone() };
            Pipe::new(link, seed)
        })
    }

    fn fly(&mut self, at: Duration, flight: Flight) {
        let ticket = self.flying.put(flight);
        self.schedule(at, What::Arrival(ticket));
    }

    fn is_cut(&self, from: u32, to: u32) -> bool {
        !self.cuts.is_empty() && self.cuts.contains(&(from, to))
    }
}
