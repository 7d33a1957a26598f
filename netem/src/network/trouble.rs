//! What can go wrong: how the network does it.

use super::fault::{Fault, Script};
use super::host::Host;
use super::routing::Origin;
use super::run::{Network, What};
use super::site::{ALL_PORTS, Site};
use core::time::Duration;
use std::net::{IpAddr, SocketAddr};

impl<H: Host> Network<H> {
    /// Nothing passes between two sites in either direction, what is on its way included, until [`heal`](Self::heal). Packets go from
    /// neighbour to neighbour: to cut a host off that is behind a NAT, cut the NAT or the host from the NAT.
    pub fn cut(&mut self, a: impl Into<Site>, b: impl Into<Site>) {
        let (a, b) = (self.intern(a.into()), self.intern(b.into()));
        self.cuts.extend([(a, b), (b, a)]);
    }

    /// Nothing passes from one site to another, what is on its way included, until [`heal`](Self::heal).
    pub fn cut_one_way(&mut self, from: impl Into<Site>, to: impl Into<Site>) {
        let key = (self.intern(from.into()), self.intern(to.into()));
        self.cuts.insert(key);
    }

    /// Undoes [`cut`](Self::cut) and [`cut_one_way`](Self::cut_one_way) in both directions.
    pub fn heal(&mut self, a: impl Into<Site>, b: impl Into<Site>) {
        let (a, b) = (self.intern(a.into()), self.intern(b.into()));
        self.cuts.remove(&(a, b));
        self.cuts.remove(&(b, a));
    }

    /// Freezes a host, as a stopped process is frozen: it is not called, and what arrives waits in its socket buffer of
    /// [`SOCKET_BUFFER`](crate::SOCKET_BUFFER) bytes, or is lost.
    pub fn pause(&mut self, at: impl Into<Site>) {
        let index = self.home(at.into());
        if let Some(place) = self.place_mut(index) {
            place.paused = true;
        }
    }

    /// Lets a paused host go on: first it hears what waited, then what it slept through.
    pub fn resume(&mut self, at: impl Into<Site>) {
        let index = self.home(at.into());
        let Some(place) = self.place_mut(index) else { return };
        place.paused = false;
        place.buffered_bytes = 0;
        for (from, to, packet) in core::mem::take(&mut place.buffer) {
            self.arrive(from, to, packet, Origin::Link);
        }
        self.drain(index);
    }

    /// Takes a host away, without a word to anybody. What is on its way to it is lost, unless another host is put there.
    pub fn crash(&mut self, at: impl Into<Site>) -> Option<H> {
        let index = self.index_of(at.into())?;
        let place = self.place_mut(self.owner_of(index))?;
        place.paused = false;
        place.buffer.clear();
        place.buffered_bytes = 0;
        place.host.take()
    }

    /// Says how [`Fault::Restart`] makes a host: by a function of the time and the site.
    pub fn set_restart(&mut self, restart: impl FnMut(Duration, Site) -> Option<H> + 'static) {
        self.restart = Some(Box::new(restart));
    }

    /// Lets something go wrong. Says whether there was something for it to happen to; if not, nothing happened.
    pub fn apply(&mut self, fault: &Fault) -> bool {
        match *fault {
            Fault::Crash(site) => self.crash(site).is_some(),
            Fault::Restart(site) => self.restart(site),
            Fault::Pause(site) => {
                self.has_host(site) && {
                    self.pause(site);
                    true
                }
            }
            Fault::Resume(site) => {
                self.has_host(site) && {
                    self.resume(site);
                    true
                }
            }
            Fault::Cut(a, b) => {
                self.cut(a, b);
                true
            }
            Fault::CutOneWay(from, to) => {
                self.cut_one_way(from, to);
                true
            }
            Fault::Heal(a, b) => {
                self.heal(a, b);
                true
            }
            Fault::Rebind(site) => {
                let now = self.now;
                self.nat_at(site).map(|nat| nat.rebind(now)).is_some()
            }
            Fault::Reboot(site) => self.nat_at(site).map(crate::Nat::reboot).is_some(),
            Fault::ChangeAddress(Site::Nat(id), ip) => self.move_nat(id, ip),
            Fault::ChangeAddress(Site::Host { behind, address }, ip) => {
                // A machine has all ports of the other address too, whichever of them names it here.
                let is_machine = self.machines.contains(&(behind, address.ip()));
                let address = if is_machine { SocketAddr::new(address.ip(), ALL_PORTS) } else { address };
                let to = SocketAddr::new(ip, address.port());
                self.move_host(Site::Host { behind, address }, Site::Host { behind, address: to }, address, to)
            }
        }
    }

    /// Lets things go wrong when their time has come; what is late happens with the next event.
    pub fn play(&mut self, script: &Script) {
        for (at, fault) in &script.0 {
            let number = u32::try_from(self.faults.len()).unwrap_or(u32::MAX);
            self.faults.push(*fault);
            self.schedule(*at, What::Fault(number));
        }
    }

    fn has_host(&self, site: Site) -> bool {
        self.host(site).is_some()
    }

    fn restart(&mut self, site: Site) -> bool {
        let now = self.now;
        let host = self.restart.as_mut().and_then(|restart| restart(now, site));
        let Some(host) = host else { return false };
        self.add(site, host);
        true
    }

    fn move_host(&mut self, old: Site, new: Site, from: SocketAddr, to: SocketAddr) -> bool {
        if old == new || self.has_host(new) {
            return false;
        }
        let was_paused =
            self.index_of(old).and_then(|index| self.place(self.owner_of(index))).is_some_and(|place| place.paused);
        // A machine moves with all its ports, and keeps its other addresses. One of those cannot be moved by itself.
        let old_index = self.index_of(old);
        if old_index.is_some_and(|index| self.owner_of(index) != index) {
            return false;
        }
        let Some(mut host) = self.crash(old) else { return false };
        host.handle_move(self.now, from, to);
        self.add(new, host);
        let aliases =
            old_index.and_then(|index| self.place_mut(index)).map(|place| core::mem::take(&mut place.aliases));
        let index = self.home(new);
        for alias in aliases.iter().flatten() {
            if let Some(place) = self.place_mut(*alias) {
                place.owner = Some(index);
            }
        }
        if let Some(place) = self.place_mut(index) {
            place.aliases.extend(aliases.into_iter().flatten());
        }
        if was_paused {
            self.pause(new);
        }
        true
    }

    fn move_nat(&mut self, id: super::NatId, ip: IpAddr) -> bool {
        let Some(outer) = self.outer_of(id) else { return false };
        if self.outsides.contains_key(&(outer, ip)) {
            return false;
        }
        let Some(nat) = self.nat_at(Site::Nat(id)) else { return false };
        let old = nat.outside();
        nat.move_to(ip);
        self.outsides.remove(&(outer, old));
        self.outsides.insert((outer, ip), id);
        true
    }
}
