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

/// One mapping.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    expires: Duration,
    /// Whom the filter lets in, and until when. Empty where it lets everybody in.
    admitted: BTreeMap<SocketAddr, Duration>,
}

/// Entries by outside port and by key. What has expired is as good as gone, and is taken away when there is a reason to look.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    by_port: BTreeMap<u16, Entry>,
    by_key: BTreeMap<Key, u16>,
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
    /// The port that packets of this key leave from.
    pub(super) fn port_of(&self, now: Duration, key: Key) -> Option<u16> {
        let port = *self.by_key.get(&key)?;
        self.entry(now, port).map(|_| port)
    }

    /// The inside host behind a port.
    pub(super) fn inside_of(&self, now: Duration, port: u16) -> Option<SocketAddr> {
        self.entry(now, port).map(|entry| entry.key.inside)
    }

    /// Whether a port can be given to a mapping towards this remote.
    pub(super) fn is_free(&self, now: Duration, port: u16, remote: SocketAddr) -> bool {
        let is_retired = self.retired.get(&port).is_some_and(|until| now < *until);
        !is_retired && self.entry(now, port).is_none() && !self.clashes_with(now, port, remote)
    }

    /// Whether a packet of this remote to this port left an entry.
    pub(super) fn clashes_with(&self, now: Duration, port: u16, remote: SocketAddr) -> bool {
        self.clashes.get(&(port, remote)).is_some_and(|until| now < *until)
    }

    /// Whether this remote, as the filter names it, may come in.
    pub(super) fn admits(&self, now: Duration, port: u16, remote: SocketAddr) -> bool {
        let until = self.entry(now, port).and_then(|entry| entry.admitted.get(&remote));
        until.is_some_and(|until| now < *until)
    }

    /// Whether there is room for one more entry.
    pub(super) fn has_room(&mut self, now: Duration, limit: usize) -> bool {
        if self.len() >= limit && self.earliest.is_some_and(|earliest| earliest <= now) {
            self.sweep(now);
        }
        self.len() < limit
    }

    /// A mapping whose port [is free](Self::is_free).
    pub(super) fn map(&mut self, key: Key, port: u16, expires: Duration) {
        self.unmap(port);
        self.by_port.insert(port, Entry { key, expires, admitted: BTreeMap::new() });
        self.by_key.insert(key, port);
        self.expires(expires);
    }

    /// A mapping was used: it lasts until then, and so does what its filter knows of this remote, if it should know it. Whoever may
    /// not become an entry was asked about before.
    pub(super) fn refresh(&mut self, port: u16, remote: Option<SocketAddr>, expires: Duration) {
        let Some(entry) = self.by_port.get_mut(&port) else { return };
        entry.expires = expires;
        if let Some(remote) = remote {
            let is_new = entry.admitted.insert(remote, expires).is_none();
            self.extra += usize::from(is_new && entry.admitted.len() > 1);
        }
        self.expires(expires);
    }

    /// Whether noting this remote would make the table larger.
    pub(super) fn would_grow(&self, port: u16, remote: SocketAddr) -> bool {
        let admitted = self.by_port.get(&port).map(|entry| &entry.admitted);
        admitted.is_some_and(|admitted| !admitted.is_empty() && !admitted.contains_key(&remote))
    }

    /// A refused packet leaves an entry, or makes it last.
    pub(super) fn clash(&mut self, port: u16, remote: SocketAddr, expires: Duration) {
        self.clashes.insert((port, remote), expires);
        self.expires(expires);
    }

    /// Forgets all mappings; their ports are not given again until then.
    pub(super) fn retire(&mut self, until: Duration) {
        let ports = core::mem::take(&mut self.by_port).into_keys();
        let retired = core::mem::take(&mut self.retired).into_iter().chain(ports.map(|port| (port, until))).collect();
        *self = Self { retired, earliest: Some(Duration::ZERO), ..Self::default() };
    }

    /// Lets retired ports be given again.
    pub(super) fn pardon(&mut self) {
        self.retired.clear();
    }

    /// Mappings that live.
    pub(super) fn mappings(&self, now: Duration) -> usize {
        self.by_port.values().filter(|entry| now < entry.expires).count()
    }

    /// Entries, those that expired and were not taken away yet included.
    pub(super) fn len(&self) -> usize {
        self.by_port.len() + self.extra + self.clashes.len()
    }

    fn entry(&self, now: Duration, port: u16) -> Option<&Entry> {
        self.by_port.get(&port).filter(|entry| now < entry.expires)
    }

    fn unmap(&mut self, port: u16) {
        let Some(entry) = self.by_port.remove(&port) else { return };
        self.extra -= entry.admitted.len().saturating_sub(1);
        // A mapping that moved left its key to its successor.
        if self.by_key.get(&entry.key) == Some(&port) {
            self.by_key.remove(&entry.key);
        }
    }

    fn expires(&mut self, at: Duration) {
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
    }

    /// Takes away what has expired.
    fn sweep(&mut self, now: Duration) {
        let dead: Vec<u16> =
            self.by_port.iter().filter(|(_, entry)| entry.expires <= now).map(|(port, _)| *port).collect();
        dead.into_iter().for_each(|port| self.unmap(port));
        self.clashes.retain(|_, until| now < *until);
        self.retired.retain(|_, until| now < *until);
        self.extra = 0;
        let mut earliest = self.clashes.values().min().copied();
        for entry in self.by_port.values_mut() {
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
        fn a_table_counts_right(steps in prop::collection::vec((0_u8..6, 0_u16..4, 0_u8..4, 1_u32..9), 1..200)) {
            let mut table = Table::default();
            let mut now = Duration::ZERO;
            for (what, port, who, seconds) in steps {
                let expires = now + seconds * SECOND;
                let key = Key { inside: endpoint(who), remote: Remote::Endpoint(endpoint(port as u8)) };
                match what {
                    0 if table.is_free(now, port, endpoint(who)) => table.map(key, port, expires),
                    1 | 2 => table.refresh(port, Some(endpoint(who)), expires),
                    3 => table.clash(port, endpoint(who), expires),
                    4 => now += seconds * SECOND / 2,
                    _ => { table.has_room(now, 0); }
                }
                let extra: usize = table.by_port.values().map(|entry| entry.admitted.len().saturating_sub(1)).sum();
                prop_assert_eq!(table.extra, extra);
                prop_assert!(table.by_key.iter().all(|(key, port)| table.by_port[port].key == *key));
                prop_assert!(table.by_key.len() <= table.by_port.len());
                let first = table.by_port.values().map(|entry| entry.expires).chain(table.clashes.values().copied()).min();
                prop_assert!(first.is_none_or(|first| table.earliest.unwrap() <= first));
            }
        }
    }
}
