//! Which part of the node a socket belongs to. Each part is given numbers of its own, which nobody else uses, now or later.

use crate::machine::SocketId;
use core::ops::Range;
use std::collections::BTreeMap;

/// Who asks for sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::node) enum Owner {
    /// The node itself: IPv6, a new address of this machine, a second port to answer STUN from.
    Node,
    /// Finding out what our NAT is.
    Discovery,
    /// An attempt to punch a hole.
    Punch(u64),
    /// Two strangers who typed each other's addresses.
    Strangers(u64),
}

/// The numbers of all sockets besides the main one.
#[derive(Debug)]
pub(in crate::node) struct Sockets {
    /// By the first number of each range: where it ends, and whose it is.
    ranges: BTreeMap<u32, (u32, Owner)>,
    next: u32,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { ranges: BTreeMap::new(), next: SocketId::MAIN.0 + 1 }
    }
}

impl Sockets {
    /// So many numbers for a part; none once all are used up, which takes a million punches.
    pub(in crate::node) fn reserve(&mut self, owner: Owner, count: u32) -> Range<u32> {
        let first = self.next;
        self.next = first.saturating_add(count);
        if self.next > first {
            self.ranges.insert(first, (self.next, owner));
        }
        first..self.next
    }

    /// One more socket of the node itself.
    pub(in crate::node) fn one(&mut self) -> SocketId {
        SocketId(self.reserve(Owner::Node, 1).start)
    }

    /// Whose socket that is. `None`: the main one, or one whose part is no more.
    pub(in crate::node) fn owner(&self, socket: SocketId) -> Option<Owner> {
        let (_, (end, owner)) = self.ranges.range(..=socket.0).next_back()?;
        (socket.0 < *end).then_some(*owner)
    }

    /// A part is no more. What it left open is the node's to close.
    pub(in crate::node) fn forget(&mut self, owner: Owner) {
        self.ranges.retain(|_, (_, other)| *other != owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_numbers_of_its_own_and_none_comes_again() {
        let mut sockets = Sockets::default();
        let ours = sockets.reserve(Owner::Discovery, 100);
        let theirs = sockets.reserve(Owner::Punch(7), 2048);
        assert!(!ours.contains(&SocketId::MAIN.0));
        assert_eq!(sockets.owner(SocketId::MAIN), None);
        assert_eq!(sockets.owner(SocketId(ours.start)), Some(Owner::Discovery));
        assert_eq!(sockets.owner(SocketId(ours.end - 1)), Some(Owner::Discovery));
        assert_eq!(sockets.owner(SocketId(theirs.end - 1)), Some(Owner::Punch(7)));
        assert_eq!(sockets.owner(SocketId(theirs.end)), None);
        sockets.forget(Owner::Punch(7));
        assert_eq!(sockets.owner(SocketId(theirs.start)), None);
        assert_eq!(sockets.one().0, theirs.end);
    }

    #[test]
    fn when_all_numbers_are_used_up_there_are_none() {
        let mut sockets = Sockets::default();
        sockets.reserve(Owner::Discovery, u32::MAX);
        assert!(sockets.reserve(Owner::Punch(1), 2048).is_empty());
    }
}
