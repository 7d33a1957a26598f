//! Who lives where: hosts, machines and NATs at their sites.

use super::host::Host;
use super::run::Network;
use super::site::{ALL_PORTS, NatId, Site};
use crate::nat::{Behaviour, Nat};
use crate::packet::Packet;
use core::time::Duration;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// A site, and what is there.
pub(super) struct Place<H> {
    pub(super) site: Site,
    pub(super) host: Option<H>,
    /// Where the host is that has this address too.
    pub(super) owner: Option<u32>,
    /// Further addresses of the host.
    pub(super) aliases: Vec<u32>,
    pub(super) gateway: Option<Gateway>,
    pub(super) paused: bool,
    /// What arrived during the pause: from which neighbour, and at which address.
    pub(super) buffer: VecDeque<(u32, u32, Packet)>,
    pub(super) buffered_bytes: usize,
    /// The earliest wake-up in the heap. Later ones may be there too: they do nothing.
    pub(super) wake_at: Option<Duration>,
    /// When the host was last woken.
    pub(super) woken_at: Option<Duration>,
}

impl<H> Place<H> {
    const fn is_empty(&self) -> bool {
        self.host.is_none() && self.owner.is_none() && self.gateway.is_none()
    }
}

/// A NAT, and the realm its outside address is in.
pub(super) struct Gateway {
    pub(super) nat: Nat,
    pub(super) outer: Option<NatId>,
}

impl<H: Host> Network<H> {
    /// Puts a host at a site: an address and port, or [all ports of an address](Site::machine); in the world, or
    /// [behind a NAT](NatId::host). Gives back the host that was there.
    ///
    /// An address belongs to one machine, or each of its ports to a host: who had a single port is not found once a machine has the address.
    pub fn add(&mut self, at: impl Into<Site>, host: H) -> Option<H> {
        let site = at.into();
        self.settle(site);
        let index = self.home(site);
        self.touched.push(index);
        let place = self.place_mut(index)?;
        place.paused = false;
        place.buffer.clear();
        place.buffered_bytes = 0;
        place.host.replace(host)
    }

    /// Gives a machine another address, of either IP version and in any realm: all its ports are those of the host at `machine`. It sends
    /// from whichever of its addresses a packet says, and each has links of its own. `false`: there is no machine, or somebody has that
    /// address.
    pub fn add_address(&mut self, machine: impl Into<Site>, another: impl Into<Site>) -> bool {
        let (machine, another) = (machine.into(), another.into());
        let is_free = self.index_of(another).and_then(|index| self.place(index)).is_none_or(Place::is_empty);
        let are_machines = machine.is_machine() && another.is_machine();
        if !are_machines || !is_free || self.host(machine).is_none() {
            return false;
        }
        self.settle(another);
        let (owner, alias) = (self.home(machine), self.intern(another));
        if let Some(place) = self.place_mut(alias) {
            place.owner = Some(owner);
        }
        if let Some(place) = self.place_mut(owner) {
            place.aliases.push(alias);
        }
        true
    }

    /// Notes what lives at an address.
    fn settle(&mut self, site: Site) {
        let Site::Host { behind, address } = site else { return };
        if let Some(nat) = behind {
            self.inhabited.insert((nat, address.ip()));
        }
        if address.port() == ALL_PORTS {
            self.machines.insert((behind, address.ip()));
        }
    }

    /// Puts a NAT between the world and whatever will be behind it. All packets to its outside address go to it.
    pub fn add_nat(&mut self, behaviour: Behaviour, outside: impl Into<IpAddr>) -> NatId {
        self.add_gateway(None, behaviour, outside.into())
    }

    /// Puts a NAT behind another one, in whose realm its outside address is.
    pub fn add_nat_behind(&mut self, outer: NatId, behaviour: Behaviour, outside: impl Into<IpAddr>) -> NatId {
        self.add_gateway(Some(outer), behaviour, outside.into())
    }

    fn add_gateway(&mut self, outer: Option<NatId>, behaviour: Behaviour, outside: IpAddr) -> NatId {
        let id = NatId(self.nats);
        self.nats += 1;
        let seed = self.seed_of(&("NAT", id));
        let index = self.intern(Site::Nat(id));
        if let Some(place) = self.place_mut(index) {
            place.gateway = Some(Gateway { nat: Nat::new(behaviour, outside, seed), outer });
        }
        self.outsides.insert((outer, outside), id);
        id
    }

    /// A NAT of this network.
    pub fn nat(&self, id: NatId) -> Option<&Nat> {
        Some(&self.place(*self.indexes.get(&Site::Nat(id))?)?.gateway.as_ref()?.nat)
    }

    /// A NAT of this network, to be changed.
    pub fn nat_mut(&mut self, id: NatId) -> Option<&mut Nat> {
        self.nat_at(Site::Nat(id))
    }

    pub(super) fn nat_at(&mut self, site: Site) -> Option<&mut Nat> {
        let index = *self.indexes.get(&site)?;
        Some(&mut self.place_mut(index)?.gateway.as_mut()?.nat)
    }

    /// The realm of a NAT's outside address.
    pub(super) fn outer_of(&self, id: NatId) -> Option<Option<NatId>> {
        Some(self.place(*self.indexes.get(&Site::Nat(id))?)?.gateway.as_ref()?.outer)
    }

    /// Where there are hosts, in the order in which the sites were first used.
    pub fn sites(&self) -> impl Iterator<Item = (Site, &H)> {
        self.places.iter().filter_map(|place| Some((place.site, place.host.as_ref()?)))
    }

    /// The hosts and their own addresses, which may repeat behind NATs, in the order of [`sites`](Self::sites).
    pub fn hosts(&self) -> impl Iterator<Item = (SocketAddr, &H)> {
        self.sites().filter_map(|(site, host)| match site {
            Site::Host { address, .. } => Some((address, host)),
            Site::Nat(_) => None,
        })
    }

    /// The host at a site.
    pub fn host(&self, at: impl Into<Site>) -> Option<&H> {
        let index = self.index_of(at.into())?;
        self.place(self.owner_of(index))?.host.as_ref()
    }

    /// The host at a site, to be given orders: what it wants to send leaves as soon as the network runs on.
    pub fn host_mut(&mut self, at: impl Into<Site>) -> Option<&mut H> {
        let index = self.index_of(at.into())?;
        let index = self.owner_of(index);
        self.touched.push(index);
        self.place_mut(index)?.host.as_mut()
    }

    /// The number of a site. A port of a machine is the machine.
    pub(super) fn intern(&mut self, site: Site) -> u32 {
        let door = self.door(site);
        self.intern_exactly(door)
    }

    /// The number of where the host is whose address this is.
    pub(super) fn home(&mut self, site: Site) -> u32 {
        let index = self.intern(site);
        self.owner_of(index)
    }

    /// The number of a site, if it was ever used.
    pub(super) fn index_of(&self, site: Site) -> Option<u32> {
        self.indexes.get(&self.door(site)).copied()
    }

    /// Where the host is that has this address.
    pub(super) fn owner_of(&self, index: u32) -> u32 {
        self.place(index).and_then(|place| place.owner).unwrap_or(index)
    }

    fn door(&self, site: Site) -> Site {
        match site {
            Site::Host { behind, address } if self.machines.contains(&(behind, address.ip())) => {
                Site::Host { behind, address: SocketAddr::new(address.ip(), ALL_PORTS) }
            }
            site => site,
        }
    }

    /// The number of a site, be it a port of a machine.
    pub(super) fn intern_exactly(&mut self, site: Site) -> u32 {
        if let Some(&index) = self.indexes.get(&site) {
            return index;
        }
        let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.indexes.insert(site, index);
        self.places.push(Place {
            site,
            host: None,
            owner: None,
            aliases: Vec::new(),
            gateway: None,
            paused: false,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            wake_at: None,
            woken_at: None,
        });
        index
    }

    pub(super) fn place(&self, index: u32) -> Option<&Place<H>> {
        self.places.get(index as usize)
    }

    pub(super) fn place_mut(&mut self, index: u32) -> Option<&mut Place<H>> {
        self.places.get_mut(index as usize)
    }
}
