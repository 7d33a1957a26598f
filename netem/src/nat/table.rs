//! What a NAT remembers: mappings, whom they let in, clashes; and when it forgets.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// What a mapping is found by from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) inside: SocketAddr,
    pub(super) remote: Remote,
}

/// The remotes for which a mapping is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remote {
    Any,
    Address(IpAddr),
    Endpoint(SocketAddr),
}

/// What a mapping has outside: a port, alone or for one remote only (port overloading, RFC 4787 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) port: u16,
    /// The only remote whose packets belong to the mapping. `None`: nobody shares the port.
    pub(super) remote: Option<SocketAddr>,
}

/// One mapping.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    expires: Duration,
    /// Whom the filter lets in, and until when. Empty where it lets everybody in.
    admitted: BTreeMap<SocketAddr, Duration>,
}

/// Entries by what they have outside and by key. What has expired is as good as gone, and is taken away when there is a reason to look.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    by_slot: BTreeMap<Slot, Entry>,
    by_key: BTreeMap<Key, Slot>,
    /// Refused packets that left an entry: outside port, remote, until when.
    clashes: BTreeMap<(u16, SocketAddr), Duration>,
    /// Ports that were taken from their mappings, and until when they are not given again.
    retired: BTreeMap<u16, Duration>,
    /// Remotes beyond the first of each mapping.
    extra: usize,
    /// Nothing expires before.
    earliest: Option<Duration>,
}

impl Table {
    /// What packets of this key leave from.
    pub(super) fn slot_of(&self, now: Duration, key: Key) -> Option<Slot> {
        let slot = *self.by_key.get(&key)?;
        self.entry(now, slot).map(|_| slot)
    }

    /// To what a packet of this remote to this port belongs: a share of the port, or the port.
    pub(super) fn slot_at(&self, now: Duration, port: u16, remote: SocketAddr) -> Option<Slot> {
        let slots = [Some(remote), None].map(|remote| Slot { port, remote });
        slots.into_iter().find(|slot| self.entry(now, *slot).is_some())
    }

    /// The inside host behind it.
    pub(super) fn inside_of(&self, now: Duration, slot: Slot) -> Option<SocketAddr> {
        self.entry(now, slot).map(|entry| entry.key.inside)
    }

    /// Whether it can be given to a mapping towards this remote.
    pub(super) fn is_free(&self, now: Duration, slot: Slot, remote: SocketAddr) -> bool {
        let port = slot.port;
        let is_retired = self.retired.get(&port).is_some_and(|until| now < *until);
        !is_retired && !self.is_taken(now, slot) && !self.clashes_with(now, port, remote)
    }

    /// Whether a mapping has it, or enough of it to be in the way.
    fn is_taken(&self, now: Duration, slot: Slot) -> bool {
        let port = slot.port;
        match slot.remote {
            Some(remote) => self.slot_at(now, port, remote).is_some(),
            None => {
                let sharers = self.by_slot.range(slot..).take_while(|(slot, _)| slot.port == port);
                sharers.map(|(_, entry)| entry).any(|entry| now < entry.expires)
            }
        }
    }

    /// Whether a packet of this remote to this port left an entry.
    pub(super) fn clashes_with(&self, now: Duration, port: u16, remote: SocketAddr) -> bool {
        self.clashes.get(&(port, remote)).is_some_and(|until| now < *until)
    }

    /// Whether this remote, as the filter names it, may come in.
    pub(super) fn admits(&self, now: Duration, slot: Slot, remote: SocketAddr) -> bool {
        let until = self.entry(now, slot).and_then(|entry| entry.admitted.get(&remote));
        until.is_some_and(|until| now < *until)
    }

    /// Whether there is room for one more entry.
    pub(super) fn has_room(&mut self, now: Duration, limit: usize) -> bool {
        if self.len() >= limit && self.earliest.is_some_and(|earliest| earliest <= now) {
            self.sweep(now);
        }
        self.len() < limit
    }

    /// A mapping whose slot [is free](Self::is_free).
    pub(super) fn map(&mut self, key: Key, slot: Slot, expires: Duration) {
        match slot.remote {
            Some(_) => [slot, Slot { remote: None, ..slot }].into_iter().for_each(|slot| self.unmap(slot)),
            // Whatever shared the port has expired.
            None => {
                let sharers = self.by_slot.range(slot..).map(|(slot, _)| *slot);
                let sharers: Vec<Slot> = sharers.take_while(|other| other.port == slot.port).collect();
                sharers.into_iter().for_each(|slot| self.unmap(slot));
            }
        }
        self.by_slot.insert(slot, Entry { key, expires, admitted: BTreeMap::new() });
        self.by_key.insert(key, slot);
        self.expires(expires);
    }

    /// A mapping was used: it lasts until then, and so does what its filter knows of this remote, if it should know it. Whoever may
    /// not become an entry was asked about before.
    pub(super) fn refresh(&mut self, slot: Slot, remote: Option<SocketAddr>, expires: Duration) {
        let Some(entry) = self.by_slot.get_mut(&slot) else { return };
        entry.expires = expires;
        if let Some(remote) = remote {
            let is_new = entry.admitted.insert(remote, expires).is_none();
            self.extra += usize::from(is_new && entry.admitted.len() > 1);
        }
        self.expires(expires);
    }

    /// Whether noting this remote would make the table larger.
    pub(super) fn would_grow(&self, slot: Slot, remote: SocketAddr) -> bool {
        let admitted = self.by_slot.get(&slot).map(|entry| &entry.admitted);
        admitted.is_some_and(|admitted| !admitted.is_empty() && !admitted.contains_key(&remote))
    }

    /// A refused packet leaves an entry, or makes it last.
    pub(super) fn clash(&mut self, port: u16, remote: SocketAddr, expires: Duration) {
        self.clashes.insert((port, remote), expires);
        self.expires(expires);
    }

    /// Forgets all mappings; their ports are not given again until then.
    pub(super) fn retire(&mut self, until: Duration) {
        let ports = core::mem::take(&mut self.by_slot).into_keys().map(|slot| slot.port);
        let retired = core::mem::take(&mut self.retired).into_iter().chain(ports.map(|port| (port, until))).collect();
        *self = Self { retired, earliest: Some(Duration::ZERO), ..Self::default() };
    }

    /// Lets retired ports be given again.
    pub(super) fn pardon(&mut self) {
        self.retired.clear();
    }

    /// Mappings that live.
    pub(super) fn mappings(&self, now: Duration) -> usize {
        self.by_slot.values().filter(|entry| now < entry.expires).count()
    }

    /// Entries, those that expired and were not taken away yet included.
    pub(super) fn len(&self) -> usize {
        self.by_slot.len() + self.extra + self.clashes.len()
    }

    fn entry(&self, now: Duration, slot: Slot) -> Option<&Entry> {
        self.by_slot.get(&slot).filter(|entry| now < entry.expires)
    }

    fn unmap(&mut self, slot: Slot) {
        let Some(entry) = self.by_slot.remove(&slot) else { return };
        self.extra -= entry.admitted.len().saturating_sub(1);
        // A mapping that moved left its key to its successor.
        if self.by_key.get(&entry.key) == Some(&slot) {
            self.by_key.remove(&entry.key);
        }
    }

    fn expires(&mut self, at: Duration) {
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
    }

    /// Takes away what has expired.
    fn sweep(&mut self, now: Duration) {
        let dead: Vec<Slot> =
            self.by_slot.iter().filter(|(_, entry)| entry.expires <= now).map(|(slot, _)| *slot).collect();
        dead.into_iter().for_each(|slot| self.unmap(slot));
        self.clashes.retain(|_, until| now < *until);
        self.retired.retain(|_, until| now < *until);
        self.extra = 0;
        let mut earliest = self.clashes.values().min().copied();
        for entry in self.by_slot.values_mut() {
            entry.admitted.retain(|_, until| now < *until);
            self.extra += entry.admitted.len().saturating_sub(1);
            let first = entry.admitted.values().chain([&entry.expires]).min().copied();
            earliest = [earliest, first].into_iter().flatten().min();
        }
        self.earliest = earliest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn endpoint(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 5000))
    }

    proptest! {
        /// Whatever happens to a table, it counts its entries right, and both of its indexes agree.
        #[test]
        fn a_table_counts_right(steps in prop::collection::vec((0_u8..7, 0_u16..4, 0_u8..4, 1_u32..9), 1..200)) {
            let mut table = Table::default();
            let mut now = Duration::ZERO;
            for (what, port, who, seconds) in steps {
                let expires = now + seconds * SECOND;
                let remote = endpoint(seconds as u8 % 3);
                let key = Key { inside: endpoint(who), remote: Remote::Endpoint(remote) };
                let slot = Slot { port, remote: (who % 2 == 0).then_some(remote) };
                match what {
                    0 | 6 if table.is_free(now, slot, remote) => table.map(key, slot, expires),
                    1 | 2 => table.refresh(slot, Some(endpoint(who)), expires),
                    3 => table.clash(port, endpoint(who), expires),
                    4 => now += seconds * SECOND / 2,
                    _ => { table.has_room(now, 0); }
                }
                let extra: usize = table.by_slot.values().map(|entry| entry.admitted.len().saturating_sub(1)).sum();
                prop_assert_eq!(table.extra, extra);
                prop_assert!(table.by_key.iter().all(|(key, slot)| table.by_slot[slot].key == *key));
                prop_assert!(table.by_key.len() <= table.by_slot.len());
                // Who has a port for itself shares it with nobody who lives.
                let alive = table.by_slot.iter().filter(|(_, entry)| now < entry.expires).map(|(slot, _)| *slot);
                let alive: Vec<Slot> = alive.collect();
                for whole in alive.iter().filter(|slot| slot.remote.is_none()) {
                    prop_assert_eq!(alive.iter().filter(|slot| slot.port == whole.port).count(), 1);
                }
                let first = table.by_slot.values().map(|entry| entry.expires).chain(table.clashes.values().copied()).min();
                prop_assert!(first.is_none_or(|first| table.earliest.unwrap() <= first));
            }
        }
    }
}
