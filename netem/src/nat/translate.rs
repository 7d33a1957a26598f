//! One NAT at work.

use super::behaviour::{Behaviour, Filtering, Mapping, Ports, Refresh};
use super::ports::Allocator;
use super::table::{Key, Remote, Slot, Table};
use crate::packet::Packet;
use core::fmt;
use core::time::Duration;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::net::{IpAddr, SocketAddr};

/// A NAT with its table, its dice and its counters. Everything is decided by its behaviour, its seed and the packets it is given.
///
/// `now` must not go back from call to call.
#[derive(Clone, Debug)]
pub struct Nat {
    /// What it is. May be changed at any time; what is in the table stays.
    pub behaviour: Behaviour,
    /// What happened so far.
    pub counters: NatCounters,
    outside: IpAddr,
    table: Table,
    allocator: Allocator,
    dice: SmallRng,
}

/// What happened at a NAT, in packets unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NatCounters {
    /// Passed from inside to outside.
    pub outbound: u64,
    /// Of these, sent to the NAT's own outside address.
    pub hairpinned: u64,
    /// Passed from outside to inside.
    pub inbound: u64,
    /// Mappings that were made.
    pub mapped: u64,
    /// Of these, those that moved because an uninvited packet had come first.
    pub clashed: u64,
    /// Refused: nothing is mapped to the port.
    pub no_mapping: u64,
    /// Refused by the filter.
    pub filtered: u64,
    /// Refused: an uninvited packet had come first.
    pub deaf: u64,
    /// Refused: no room in the table.
    pub table_full: u64,
    /// Refused: no free port.
    pub no_port: u64,
    /// Refused: to the outside address, from inside, of a NAT that does not hairpin.
    pub no_hairpin: u64,
    /// Refused: no UDP passes.
    pub blocked: u64,
    /// Refused: not for this NAT.
    pub astray: u64,
}

/// Why a packet does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Inwards: nothing is mapped to the port.
    NoMapping,
    /// Inwards: the filter does not let this remote in.
    Filtered,
    /// Inwards: a packet of this remote came to this port before anything was sent to it, and what conntrack knows of that hides
    /// the mapping.
    Deaf,
    /// Outwards: the table has no room for a new entry.
    TableFull,
    /// Outwards: there is no free port.
    NoPort,
    /// Outwards: to the outside address of a NAT that does not hairpin.
    NoHairpin,
    /// Either way: no UDP passes.
    Blocked,
    /// Either way: of the other IP version than the outside address; inwards: to another address.
    Astray,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoMapping => "nothing is mapped to the port",
            Self::Filtered => "the filter does not let the sender in",
            Self::Deaf => "the sender's first packet came too early",
            Self::TableFull => "the table is full",
            Self::NoPort => "no port is free",
            Self::Blocked => "no UDP passes",
            Self::NoHairpin => "the NAT does not hairpin",
            Self::Astray => "the packet is not for this NAT",
        })
    }
}

impl core::error::Error for Refused {}

impl Nat {
    /// A NAT with this outside address and nothing in its table.
    pub fn new(behaviour: Behaviour, outside: IpAddr, seed: u64) -> Self {
        let mut dice = SmallRng::seed_from_u64(seed);
        let allocator = Allocator::new(&mut dice);
        Self { behaviour, counters: NatCounters::default(), outside, table: Table::default(), allocator, dice }
    }

    /// The address that the world sees.
    pub const fn outside(&self) -> IpAddr {
        self.outside
    }

    /// A packet from inside: as it leaves. If it is for [`outside`](Self::outside) itself it turns round: hand it to
    /// [`inbound`](Self::inbound).
    pub fn outbound(&mut self, now: Duration, packet: Packet) -> Result<Packet, Refused> {
        self.allocator.others(self.behaviour.ports, self.behaviour.background_flows, now, &mut self.dice);
        let translated = self.translate(now, packet);
        match translated {
            Ok(_) => self.counters.outbound += 1,
            Err(refused) => self.count(refused),
        }
        translated
    }

    /// A packet from outside, to [`outside`](Self::outside): as it goes on to the inside host.
    pub fn inbound(&mut self, now: Duration, mut packet: Packet) -> Result<Packet, Refused> {
        match self.admit(now, packet.from, packet.to) {
            Ok(inside) => {
                packet.to = inside;
                self.counters.inbound += 1;
                Ok(packet)
            }
            Err(refused) => {
                self.count(refused);
                let may_clash = matches!(refused, Refused::NoMapping | Refused::Filtered | Refused::Deaf);
                if self.behaviour.clash && may_clash {
                    self.note_clash(now, packet.from, packet.to.port());
                }
                Err(refused)
            }
        }
    }

    /// The outside address and port from which a packet of `inside` to `remote` would leave, if there is a mapping for it.
    pub fn mapped(&self, now: Duration, inside: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        self.find(now, inside, remote).map(|slot| SocketAddr::new(self.outside, slot.port))
    }

    /// How many mappings live.
    pub fn mappings(&self, now: Duration) -> usize {
        self.table.mappings(now)
    }

    /// Forgets its mappings, and gives none of their ports to the next ones before a lifetime has passed, so that every flow is seen to
    /// move ("NAT rebinding").
    pub fn rebind(&mut self, now: Duration) {
        self.table.retire(now.saturating_add(self.behaviour.lifetime));
    }

    /// Loses its power: forgets everything and begins like any other NAT. Where ports are kept, the old mappings come back with the
    /// next packets from inside.
    pub fn reboot(&mut self) {
        self.table = Table::default();
        self.allocator = Allocator::new(&mut self.dice);
    }

    /// Gets another outside address, and forgets everything, as a router does when its provider gives it one.
    pub fn move_to(&mut self, outside: IpAddr) {
        self.outside = outside;
        self.reboot();
    }

    fn translate(&mut self, now: Duration, mut packet: Packet) -> Result<Packet, Refused> {
        let (inside, remote) = (packet.from, packet.to);
        if self.behaviour.blocked {
            return Err(Refused::Blocked);
        }
        if inside.is_ipv4() != self.outside.is_ipv4() || remote.is_ipv4() != self.outside.is_ipv4() {
            return Err(Refused::Astray);
        }
        let turns_round = remote.ip() == self.outside;
        if turns_round && !self.behaviour.hairpin {
            return Err(Refused::NoHairpin);
        }
        let expires = now.saturating_add(self.behaviour.lifetime);
        let slot = match self.find(now, inside, remote) {
            Some(slot) => slot,
            None => self.map(now, inside, remote, expires)?,
        };
        let admitted = self.filtered_by(remote);
        let grows = admitted.is_some_and(|remote| self.table.would_grow(slot, remote));
        if grows && !self.table.has_room(now, self.behaviour.table_limit) {
            return Err(Refused::TableFull);
        }
        self.table.refresh(slot, admitted, expires);
        self.counters.hairpinned += u64::from(turns_round);
        packet.from = SocketAddr::new(self.outside, slot.port);
        Ok(packet)
    }

    /// What the mapping that a packet uses has outside. One that moved for this remote alone comes first.
    fn find(&self, now: Duration, inside: SocketAddr, remote: SocketAddr) -> Option<Slot> {
        let moved = Key { inside, remote: Remote::Endpoint(remote) };
        let usual = || self.table.slot_of(now, self.key(inside, remote));
        let slot = self.table.slot_of(now, moved).or_else(usual)?;
        (!self.table.clashes_with(now, slot.port, remote)).then_some(slot)
    }

    /// Makes a mapping.
    fn map(
        &mut self,
        now: Duration,
        inside: SocketAddr,
        remote: SocketAddr,
        expires: Duration,
    ) -> Result<Slot, Refused> {
        if !self.table.has_room(now, self.behaviour.table_limit) {
            return Err(Refused::TableFull);
        }
        let usual = self.key(inside, remote);
        // The port it would have had: that of the mapping for other remotes, or the inside port where ports are kept.
        let kept = (self.behaviour.ports == Ports::Kept).then(|| inside.port());
        let wanted = self.table.slot_of(now, usual).map(|slot| slot.port).or(kept);
        let clashes = wanted.is_some_and(|port| self.table.clashes_with(now, port, remote));
        let key = if clashes { Key { inside, remote: Remote::Endpoint(remote) } } else { usual };
        let slot = self.choose(now, inside, remote).or_else(|| {
            self.table.pardon();
            self.choose(now, inside, remote)
        });
        let slot = slot.ok_or(Refused::NoPort)?;
        self.table.map(key, slot, expires);
        self.counters.mapped += 1;
        self.counters.clashed += u64::from(clashes);
        Ok(slot)
    }

    fn choose(&mut self, now: Duration, inside: SocketAddr, remote: SocketAddr) -> Option<Slot> {
        let table = &self.table;
        let shares = self.behaviour.shares_ports();
        let slot = |port| Slot { port, remote: shares.then_some(remote) };
        let is_free = |port| table.is_free(now, slot(port), remote);
        self.allocator.choose(self.behaviour.ports, inside.port(), &mut self.dice, is_free).map(slot)
    }

    fn admit(&mut self, now: Duration, remote: SocketAddr, to: SocketAddr) -> Result<SocketAddr, Refused> {
        if to.ip() != self.outside || remote.is_ipv4() != self.outside.is_ipv4() {
            return Err(Refused::Astray);
        }
        if self.behaviour.blocked {
            return Err(Refused::Blocked);
        }
        let port = to.port();
        if self.table.clashes_with(now, port, remote) {
            return Err(Refused::Deaf);
        }
        let slot = self.table.slot_at(now, port, remote).ok_or(Refused::NoMapping)?;
        let inside = self.table.inside_of(now, slot).ok_or(Refused::NoMapping)?;
        let admitted = self.filtered_by(remote);
        if admitted.is_some_and(|remote| !self.table.admits(now, slot, remote)) {
            return Err(Refused::Filtered);
        }
        if self.behaviour.refresh == Refresh::Both {
            self.table.refresh(slot, admitted, now.saturating_add(self.behaviour.lifetime));
        }
        Ok(inside)
    }

    fn note_clash(&mut self, now: Duration, remote: SocketAddr, port: u16) {
        if self.table.clashes_with(now, port, remote) || self.table.has_room(now, self.behaviour.table_limit) {
            self.table.clash(port, remote, now.saturating_add(self.behaviour.lifetime));
        }
    }

    fn key(&self, inside: SocketAddr, remote: SocketAddr) -> Key {
        let remote = match self.behaviour.mapping {
            Mapping::Independent => Remote::Any,
            Mapping::ByAddress => Remote::Address(remote.ip()),
            Mapping::ByAddressAndPort => Remote::Endpoint(remote),
        };
        Key { inside, remote }
    }

    /// What the filter knows a remote by. `None`: it lets everybody in.
    fn filtered_by(&self, remote: SocketAddr) -> Option<SocketAddr> {
        match self.behaviour.filtering {
            Filtering::Independent => None,
            Filtering::ByAddress => Some(SocketAddr::new(remote.ip(), 0)),
            Filtering::ByAddressAndPort => Some(remote),
        }
    }

    fn count(&mut self, refused: Refused) {
        let counter = match refused {
            Refused::NoMapping => &mut self.counters.no_mapping,
            Refused::Filtered => &mut self.counters.filtered,
            Refused::Deaf => &mut self.counters.deaf,
            Refused::TableFull => &mut self.counters.table_full,
            Refused::NoPort => &mut self.counters.no_port,
            Refused::Blocked => &mut self.counters.blocked,
            Refused::NoHairpin => &mut self.counters.no_hairpin,
            Refused::Astray => &mut self.counters.astray,
        };
        *counter += 1;
    }
}
