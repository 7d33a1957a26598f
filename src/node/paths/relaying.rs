//! Passing on for others: which two ends each flow joins, and how many there may be.
//!
//! A flow joins two of our links. It is known by the number that its ends write on their datagrams: whoever asked chose one, we chose
//! the other. MRT moves the datagrams; here is only who may have a flow, and when one ends.

use super::message::Refusal;
use crate::mrt::{ConnectionHandle, RelayChannel};
use crate::node::identity::NodeId;
use std::collections::BTreeMap;

/// Flows at once. Each costs MRT a queue of bounded size.
pub(super) const MAX_FLOWS: usize = 256;

/// Flows that one member may have asked for: more than it keeps links.
pub(super) const MAX_FLOWS_EACH: usize = 64;

/// One end of a flow, on one of our links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    /// The link's connection.
    pub(super) connection: ConnectionHandle,
    /// The number on its datagrams.
    pub(super) channel: RelayChannel,
}

/// A member and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Linked {
    /// Who.
    pub(super) peer: NodeId,
    /// The link's connection.
    pub(super) connection: ConnectionHandle,
    /// Whether we made that connection.
    pub(super) initiator: bool,
}

/// A flow that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// Whose number is the asker's.
    pub(super) asker: End,
    /// Whose number is ours.
    pub(super) other: End,
}

/// A flow that ended: whoever is still there is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// One end.
    pub(super) one: End,
    /// Its peer.
    pub(super) one_peer: NodeId,
    /// The other end.
    pub(super) other: End,
    /// Its peer.
    pub(super) other_peer: NodeId,
}

#[derive(Clone, Copy, Debug)]
struct Far {
    peer: NodeId,
    end: End,
    /// Whether this side asked for the flow.
    asked: bool,
}

/// The flows that this node passes on.
#[derive(Debug, Default)]
pub(super) struct Relaying {
    /// From each end to the other. Every flow is here twice.
    ends: BTreeMap<End, Far>,
    /// Flows so far.
    flows: u32,
}

impl Relaying {
    /// A member asks for a flow to another one. Asked again with the same number, the answer is the same.
    pub(super) fn ask(&mut self, asker: Linked, channel: RelayChannel, to: Linked) -> Result<Begun, Refusal> {
        let near = End { connection: asker.connection, channel };
        if let Some(far) = self.ends.get(&near) {
            let same = far.peer == to.peer && !far.asked;
            return if same { Ok(Begun { asker: near, other: far.end }) } else { Err(Refusal::Full) };
        }
        let asked = |far: &&Far| far.asked && far.peer == asker.peer;
        if self.ends.len() >= 2 * MAX_FLOWS || self.ends.values().filter(asked).count() >= MAX_FLOWS_EACH {
            return Err(Refusal::Full);
        }
        self.flows = self.flows.wrapping_add(1);
        let channel = number(self.flows, Role::Relay, to.initiator);
        let other = End { connection: to.connection, channel };
        self.ends.insert(near, Far { peer: to.peer, end: other, asked: false });
        self.ends.insert(other, Far { peer: asker.peer, end: near, asked: true });
        Ok(Begun { asker: near, other })
    }

    /// One end needs it no longer.
    pub(super) fn end(&mut self, near: End) -> Option<Ended> {
        let far = self.ends.remove(&near)?;
        let back = self.ends.remove(&far.end)?;
        Some(Ended { one: near, one_peer: back.peer, other: far.end, other_peer: far.peer })
    }

    /// A connection is gone, and every flow over it.
    pub(super) fn on_gone(&mut self, connection: ConnectionHandle) -> Vec<Ended> {
        let lost: Vec<End> = self.ends.keys().copied().filter(|end| end.connection == connection).collect();
        lost.into_iter().filter_map(|end| self.end(end)).collect()
    }

    /// How many flows there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.ends.len() / 2
    }
}

/// Who chose a channel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Whoever wants to be passed on.
    Asker,
    /// Whoever passes on.
    Relay,
}

/// The `count`-th number that this end of a connection chooses in that role. Two members may be relays for each other over one
/// connection: the two low bits keep the four kinds of numbers apart.
pub(super) const fn number(count: u32, role: Role, initiator: bool) -> RelayChannel {
    RelayChannel(count << 2 | (role as u32) << 1 | initiator as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(n: u8) -> Linked {
        Linked { peer: NodeId([n; 32]), connection: ConnectionHandle(u64::from(n)), initiator: true }
    }

    fn channel(n: u32) -> RelayChannel {
        number(n, Role::Asker, false)
    }

    #[test]
    fn a_flow_joins_two_links_and_asking_again_changes_nothing() {
        let mut relaying = Relaying::default();
        let begun = relaying.ask(linked(1), channel(7), linked(2)).unwrap();
        assert_eq!(begun.asker, End { connection: linked(1).connection, channel: channel(7) });
        assert_eq!(begun.other.connection, linked(2).connection);
        assert_eq!(relaying.ask(linked(1), channel(7), linked(2)), Ok(begun));
        assert_eq!(relaying.len(), 1);
        assert_eq!(relaying.ask(linked(1), channel(7), linked(3)), Err(Refusal::Full), "the number is in use");
    }

    #[test]
    fn a_flow_ends_with_either_link_and_the_other_end_is_named() {
        for gone in [1, 2] {
            let mut relaying = Relaying::default();
            let begun = relaying.ask(linked(1), channel(7), linked(2)).unwrap();
            relaying.ask(linked(3), channel(7), linked(4)).unwrap();
            let ended = relaying.on_gone(linked(gone).connection);
            let [flow] = ended.as_slice() else { panic!("one flow: {ended:?}") };
            let mut ends = [(flow.one, flow.one_peer), (flow.other, flow.other_peer)];
            ends.sort();
            assert_eq!(ends, [(begun.asker, linked(1).peer), (begun.other, linked(2).peer)]);
            assert_eq!(relaying.len(), 1);
            assert_eq!(relaying.end(begun.asker), None);
        }
    }

    #[test]
    fn flows_are_capped_for_each_member_and_in_all() {
        let mut relaying = Relaying::default();
        let mut asked = 0;
        for member in 10..20 {
            let granted = (0..1000).filter(|n| relaying.ask(linked(member), channel(*n), linked(2)).is_ok()).count();
            assert!(granted <= MAX_FLOWS_EACH);
            asked += granted;
        }
        assert_eq!((asked, relaying.len()), (MAX_FLOWS, MAX_FLOWS));
        relaying.on_gone(linked(10).connection);
        assert!(relaying.ask(linked(9), channel(1), linked(2)).is_ok());
    }

    /// The same connection carries flows that each side asked for, and flows that each side passes on.
    #[test]
    fn the_numbers_of_both_ends_in_both_roles_differ() {
        let all = [Role::Asker, Role::Relay].map(|role| [true, false].map(|initiator| number(5, role, initiator)));
        let distinct: std::collections::BTreeSet<_> = all.as_flattened().iter().collect();
        assert_eq!(distinct.len(), 4);
    }
}
