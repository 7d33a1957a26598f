//! Which part of the node each socket belongs to. Parts number their own sockets; here is which socket of the machine each one is.

use crate::machine::SocketId;
use std::collections::BTreeMap;

/// Who asked for a socket. A number is never used for a second attempt or errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::node) enum Owner {
    /// The node itself: IPv6, a new address of this machine, a second port to answer STUN from.
    Node,
    /// Finding out what our NAT is.
    Discovery,
    /// An attempt to punch a hole.
    Punch(u64),
}

/// Every socket besides the main one.
#[derive(Debug, Default)]
pub(in crate::node) struct Sockets {
    owners: BTreeMap<SocketId, (Owner, SocketId)>,
    ids: BTreeMap<(Owner, SocketId), SocketId>,
    last: u32,
}

impl Sockets {
    /// A part opens a socket under a number of its own: this is the machine's.
    pub(in crate::node) fn open(&mut self, owner: Owner, its: SocketId) -> SocketId {
        self.last += 1;
        let id = SocketId(self.last);
        if let Some(before) = self.ids.insert((owner, its), id) {
            self.owners.remove(&before);
        }
        self.owners.insert(id, (owner, its));
        id
    }

    /// The machine's number for a part's socket. `None`: it has no such socket.
    pub(in crate::node) fn id(&self, owner: Owner, its: SocketId) -> Option<SocketId> {
        if its == SocketId::MAIN { Some(its) } else { self.ids.get(&(owner, its)).copied() }
    }

    /// Whose socket that is, and its number there.
    pub(in crate::node) fn owner(&self, id: SocketId) -> Option<(Owner, SocketId)> {
        self.owners.get(&id).copied()
    }

    /// A part needs its socket no longer, or it failed. The machine's number for it.
    pub(in crate::node) fn close(&mut self, owner: Owner, its: SocketId) -> Option<SocketId> {
        let id = self.ids.remove(&(owner, its))?;
        self.owners.remove(&id);
        Some(id)
    }

    /// A part is no more: its sockets, by the machine's numbers.
    pub(in crate::node) fn end(&mut self, owner: Owner) -> Vec<SocketId> {
        let range = (owner, SocketId(0))..=(owner, SocketId(u32::MAX));
        let its: Vec<SocketId> = self.ids.range(range).map(|((_, its), _)| *its).collect();
        its.into_iter().filter_map(|its| self.close(owner, its)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_may_use_the_same_numbers_and_get_different_sockets() {
        let mut sockets = Sockets::default();
        let ours = sockets.open(Owner::Discovery, SocketId(1));
        let theirs = sockets.open(Owner::Punch(7), SocketId(1));
        assert_ne!(ours, theirs);
        assert_eq!(sockets.owner(theirs), Some((Owner::Punch(7), SocketId(1))));
        assert_eq!(sockets.id(Owner::Discovery, SocketId(1)), Some(ours));
        assert_eq!(sockets.id(Owner::Discovery, SocketId::MAIN), Some(SocketId::MAIN), "the main one is everybody's");
        assert_eq!(sockets.id(Owner::Discovery, SocketId(2)), None);
    }

    #[test]
    fn a_part_that_ends_gives_all_its_sockets_back_and_a_number_is_not_used_again() {
        let mut sockets = Sockets::default();
        let mut opened: Vec<SocketId> = (1..=3).map(|its| sockets.open(Owner::Punch(1), SocketId(its))).collect();
        let other = sockets.open(Owner::Punch(2), SocketId(1));
        let mut ended = sockets.end(Owner::Punch(1));
        ended.sort();
        opened.sort();
        assert_eq!(ended, opened);
        assert_eq!(sockets.owner(other), Some((Owner::Punch(2), SocketId(1))));
        assert!(!opened.contains(&sockets.open(Owner::Punch(1), SocketId(1))));
    }
}
