//! What a punch is begun with: what is known of both ends.

use super::pair::Pair;
use super::sockets::Owner;
use crate::machine::SocketId;
use crate::node::identity::NodeId;
use crate::node::node::Node;
use crate::stun::candidate::{Candidate, CandidateKind, Interface};
use crate::stun::fingerprint::Fingerprint;
use crate::stun::punch::executor::SOCKETS_PER_PUNCH;
use crate::stun::punch::{Config, Ours};
use crate::time::{Duration, Instant};
use std::net::{IpAddr, SocketAddr};

impl Node {
    /// For the next punch of a pair. `None`: its link is about to be another one, or is no more.
    pub(super) fn punch_config(&mut self, now: Instant, peer: NodeId, pair: &mut Pair) -> Option<Config> {
        // Of two connections to one node the other one may have become the link, without a word.
        let link = self.links.link(peer).filter(|link| link.remote.is_none())?;
        (pair.connection, pair.initiator) = (link.connection, link.initiator);
        self.sockets.forget(Owner::Punch(pair.number));
        self.punching.punches += 1;
        pair.number = self.punching.punches;
        let sockets = self.sockets.reserve(Owner::Punch(pair.number), SOCKETS_PER_PUNCH);
        pair.stages = Some(self.prospects(now, pair));
        pair.held_back = self.is_measuring(now, self.nat.fingerprint(), &pair.theirs);
        let ours = self.ours();
        let advice = self.advice(now, &ours.fingerprint, &pair.theirs);
        let rtt = self.endpoint.stats(now, pair.connection).map_or(Duration::from_millis(200), |stats| stats.rtt);
        Some(Config {
            initiator: pair.initiator,
            binding: link.binding,
            seed: *blake3::keyed_hash(&self.punching.seed, &pair.number.to_be_bytes()).as_bytes(),
            ours,
            proven_ips: self.passing.seen(peer).into_iter().chain(self.seen_by_supernode(peer)).collect(),
            same_machine: false,
            relay_rtt: rtt,
            first_socket: SocketId(sockets.start),
            advice,
        })
    }

    /// Where and how we can be reached.
    fn ours(&self) -> Ours {
        let homes: Vec<(SocketId, SocketAddr)> =
            self.around.homes.iter().map(|home| (home.socket, home.local)).collect();
        let hosts = homes.iter().map(|(_, local)| *local).filter(|local| !local.ip().is_unspecified());
        let hosts = hosts.map(|address| Candidate::new(address, CandidateKind::Host));
        let mapped = self.around.external.map(|address| Candidate::new(address, CandidateKind::Mapped));
        let reflexive = self.public.map(|address| Candidate::new(address, CandidateKind::Reflexive));
        Ours {
            fingerprint: *self.nat.fingerprint(),
            candidates: hosts.chain(mapped).chain(reflexive).collect(),
            public: self.public.map(|address| address.ip()).into_iter().collect(),
            sockets: homes,
            interfaces: self.own_interfaces().collect(),
        }
    }

    pub(super) fn own_interfaces(&self) -> impl Iterator<Item = Interface> {
        let addresses = self.interfaces().addresses.iter();
        addresses.map(|address| Interface { address: address.ip, prefix: address.prefix })
    }

    /// What a member says of its NAT.
    pub(super) fn nat_of(&self, peer: NodeId) -> Fingerprint {
        self.room.view().record(peer).map(|record| record.facts.nat).unwrap_or_default()
    }

    /// From where the supernode hears a member, as the view says.
    fn seen_by_supernode(&self, peer: NodeId) -> Option<IpAddr> {
        self.room.view().entries.iter().find(|entry| entry.record.id() == peer)?.seen
    }
}
