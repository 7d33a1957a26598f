//! Whom we are linked to, whom we dial, and whom we should be linked to.

use super::output::{DialNumber, DialTo, LinkedPeer, RoomOutput};
use super::parts::{Room, Standing};
use crate::node::identity::NodeId;
use crate::node::record::MemberRecord;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Successors that every member keeps a link to.
pub(super) const WARM_SUCCESSORS: usize = 3;

/// Links and dials.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    peers: BTreeMap<NodeId, LinkedPeer>,
    /// Dials on their way to members.
    pub(super) dials: BTreeMap<DialNumber, NodeId>,
    /// Members that are not to be dialled before then.
    pub(super) not_before: BTreeMap<NodeId, Instant>,
    /// Who was linked from this very machine.
    here: BTreeSet<NodeId>,
    pub(super) last_dial: u64,
}

impl Links {
    /// A link stands.
    pub(super) fn insert(&mut self, peer: LinkedPeer) {
        if let Some(dial) = peer.dial {
            self.dials.remove(&dial);
        }
        let id = peer.record.id();
        if peer.remote.is_some_and(|remote| remote.ip().to_canonical().is_loopback()) {
            self.here.insert(id);
        } else {
            self.here.remove(&id);
        }
        self.peers.insert(id, peer);
    }

    /// Forgets where those were that are not kept.
    pub(super) fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        let peers = &self.peers;
        self.here.retain(|id| peers.contains_key(id) || keep(*id));
    }

    /// A link is down.
    pub(super) fn remove(&mut self, id: NodeId) -> Option<LinkedPeer> {
        self.peers.remove(&id)
    }

    /// Who is linked.
    pub(super) fn get(&self, id: NodeId) -> Option<&LinkedPeer> {
        self.peers.get(&id)
    }

    /// Whether it is linked.
    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.peers.contains_key(&id)
    }

    /// A number for a dial.
    pub(super) fn next_dial(&mut self) -> DialNumber {
        self.last_dial += 1;
        DialNumber(self.last_dial)
    }

    /// A dial came to nothing.
    pub(super) fn on_dial_failed(&mut self, dial: DialNumber) {
        self.dials.remove(&dial);
    }

    fn is_dialling(&self, id: NodeId) -> bool {
        self.dials.values().any(|other| *other == id)
    }

    /// When the next member may be dialled again.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        self.not_before.values().copied().min()
    }
}

impl Room {
    /// Where a member may be called. Loopback addresses only if it, or whoever told us of it, was seen on this machine, or if we listen
    /// there ourselves: nobody far away makes us call our own machine.
    pub fn addresses_of(&self, record: &MemberRecord) -> Vec<SocketAddr> {
        self.addresses_told_by(self.view.epoch.supernode, record)
    }

    pub(super) fn addresses_told_by(&self, teller: NodeId, record: &MemberRecord) -> Vec<SocketAddr> {
        let loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        let here = |id| self.links.here.contains(&id);
        let allowed = here(record.id()) || here(teller) || self.record.facts.addresses.iter().any(loopback);
        let addresses = record.facts.addresses.iter().copied();
        addresses.filter(|address| allowed || !loopback(address)).collect()
    }

    /// Whether this node passes packets on for `asker`, to reach `to`: both are members, or were lost, perhaps because they cannot reach each
    /// other any more and we reach both; or `asker` was just sent on to a member.
    pub fn passes_on(&self, now: Instant, asker: NodeId, to: NodeId) -> bool {
        self.knows(to) && asker != to && (self.knows(asker) || self.door.has_pass(now, asker))
    }

    /// Dials a member or former member, unless a dial to it is on its way.
    pub(super) fn dial_record(&mut self, record: &MemberRecord) {
        if record.id() == self.id() || self.links.is_dialling(record.id()) {
            return;
        }
        let dial = self.links.next_dial();
        self.links.dials.insert(dial, record.id());
        let to = DialTo {
            addresses: self.addresses_of(record),
            id: Some(record.id()),
            key: Some(record.noise()),
            invitation: None,
        };
        self.outputs.push_back(RoomOutput::Dial { dial, to });
    }

    /// Keeps links to the supernode and to the next in line. Whoever is later in line dials, so that there are no two.
    pub(super) fn keep_warm(&mut self, now: Instant) {
        let wanted: Vec<MemberRecord> = match &self.standing {
            Standing::Following | Standing::Promised(_) | Standing::Inheriting(_) => {
                let ahead = self.view.entries.iter().map(|entry| &entry.record);
                ahead.take_while(|record| record.id() != self.id()).take(WARM_SUCCESSORS + 1).cloned().collect()
            }
            Standing::Claiming(claiming) => {
                let expected = |record: &&MemberRecord| claiming.expected.contains(&record.id());
                self.view.entries.iter().map(|entry| &entry.record).filter(expected).cloned().collect()
            }
            Standing::Leading(_) | Standing::Leaving(_) | Standing::Gone => Vec::new(),
        };
        let names: BTreeSet<NodeId> = wanted.iter().map(MemberRecord::id).collect();
        self.links.not_before.retain(|id, _| names.contains(id));
        for record in wanted {
            let id = record.id();
            let early = self.links.not_before.get(&id).is_some_and(|at| *at > now);
            if !self.links.contains(id) && !early {
                self.links.not_before.insert(id, now + self.config.times.redial);
                self.dial_record(&record);
            }
        }
        let linked: Vec<NodeId> = self.links.not_before.keys().copied().filter(|id| self.links.contains(*id)).collect();
        for id in linked {
            self.links.not_before.remove(&id);
        }
    }
}
