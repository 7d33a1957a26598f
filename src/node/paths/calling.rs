//! Calls to where a member says it is: which of its addresses are worth one, and NATs that are opened for one.

use super::passing::{is_easy, may_be_welcoming};
use crate::node::identity::NodeId;
use crate::node::links::Relays;
use crate::node::node::{Node, Purpose};
use crate::node::record::MemberRecord;
use crate::node::room::DialTo;
use crate::stun::Packet;
use crate::stun::candidate::{Candidate, CandidateKind, Context, Interface, is_global, sanitise};
use crate::stun::fingerprint::Filtering;
use crate::stun::punch::budget::{Verdict, Word};
use crate::stun::punch::packet::{self, Sealer};
use crate::time::Instant;
use std::net::{IpAddr, SocketAddr};

/// The last place in line to which everybody keeps a link.
const WARM: usize = 3;

impl Node {
    /// What of somebody's addresses is worth a call, the most promising first. What the user typed is called as it is.
    pub(in crate::node) fn worth_calling(&self, mut to: DialTo) -> DialTo {
        let interfaces: Vec<Interface> = self.own_interfaces().collect();
        let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        if to.id.is_none() {
            return to;
        }
        to.addresses.retain(|address| !is_global(address.ip()) || self.is_proven(to.id, address.ip()));
        // Without knowing our own networks nothing can be said about theirs: what everybody reaches is called first.
        if interfaces.is_empty() {
            to.addresses.sort_by_key(|address| !is_global(address.ip()));
            return to;
        }
        let public = self.public.map(|address| address.ip());
        let context = Context {
            interfaces: &interfaces,
            same_public_ip: to.addresses.iter().any(|address| Some(address.ip()) == public),
            // Whether loopback addresses mean anything was decided by whoever put them into the list.
            same_machine: to.addresses.iter().any(is_loopback),
        };
        let list: Vec<Candidate> =
            to.addresses.iter().map(|address| Candidate::new(*address, CandidateKind::Host)).collect();
        to.addresses = sanitise(&list, &context).into_iter().map(|candidate| candidate.address).collect();
        to
    }

    /// Whether a member is where its record says: the supernode hears it there, or it or we heard it there before it was lost. The supernode
    /// itself, and whoever was never in our room, is where we were told by those who let us in.
    fn is_proven(&self, id: Option<NodeId>, ip: IpAddr) -> bool {
        let (view, ip) = (self.room.view(), Some(ip.to_canonical()));
        let lost = || view.former.iter().map(MemberRecord::id).find(|lost| Some(*lost) == id);
        match view.entries.iter().find(|entry| Some(entry.record.id()) == id) {
            Some(entry) => entry.record.id() == view.epoch.supernode || entry.seen == ip,
            None => lost().is_none_or(|lost| self.passing.seen(lost) == ip),
        }
    }

    /// A view tells us of others, and others of us, at about the same time. Of two that are to be linked the one whose port is unseen calls
    /// the one whose port is known, or else the later one in line the earlier; who is to be called opens its NAT for the call by a small
    /// packet. Once for each record, and paid for like every probe.
    pub(in crate::node) fn open_for_callers(&mut self, now: Instant) {
        let view = self.room.view();
        let own = self.id();
        let rank = view.ids().position(|id| id == own).unwrap_or(usize::MAX);
        let is_linked = |id| self.links.connection(id).is_some();
        let is_new = |record: &MemberRecord| self.punching.opened.get(&record.id()) != Some(&record.facts.sequence);
        let others = view.entries.iter().enumerate().map(|(at, entry)| (at, &entry.record));
        // Everybody keeps links to the first ones in line.
        let pairs = others.filter(|(at, _)| *at != rank && rank.min(*at) <= WARM);
        let new = pairs.filter(|(_, record)| !is_linked(record.id()) && is_new(record));
        let new: Vec<(bool, MemberRecord)> = new.map(|(at, record)| (at > rank, record.clone())).collect();
        self.punching.opened.retain(|id, _| view.contains(*id));
        if self.config.room.local {
            return;
        }
        let ours = *self.nat.fingerprint();
        for (calls_us, record) in new {
            let theirs = record.facts.nat;
            self.punching.opened.insert(record.id(), record.facts.sequence);
            if calls_us && !is_easy(&ours) && may_be_welcoming(&theirs) {
                self.call_back(now, &record);
            } else if is_easy(&ours)
                && (calls_us || may_be_welcoming(&ours))
                && ours.filtering != Some(Filtering::Independent)
            {
                self.open_for(now, &record);
            }
        }
    }

    /// It cannot reach us, and we can reach it.
    fn call_back(&mut self, now: Instant, record: &MemberRecord) {
        let (addresses, id, key) = (self.room.addresses_of(record), Some(record.id()), Some(record.noise()));
        let to = self.worth_calling(DialTo { addresses, id, key, invitation: None });
        let number = self.links.dial(now, &mut self.endpoint, to, &Relays::default());
        self.dials.insert(number, Purpose::Callback);
    }

    /// It is about to call us.
    fn open_for(&mut self, now: Instant, record: &MemberRecord) {
        for to in record.facts.addresses.iter().filter(|to| is_global(to.ip()) && to.port() != 0) {
            // It calls from where the supernode hears it.
            if !self.is_proven(Some(record.id()), to.ip()) {
                continue;
            }
            let Some(home) = self.around.homes.of(to.ip()) else { continue };
            let verdict = self.punching.budget.probe(now, to.ip(), packet::LEN, Word::Supernode);
            if verdict == Verdict::Go {
                let nonce = self.punching.opened.len() as u64;
                let probe =
                    packet::Packet { kind: packet::Kind::Probe, from_initiator: false, round: 0, nonce, echo: 0 };
                let bytes = Sealer::open().seal(&probe).to_vec();
                self.punching.send(Packet { socket: home.socket, to: *to, bytes });
            }
        }
    }
}
