//! The node as a relay, and as one who needs a relay.

use super::asking::{Asking, Errand, Way};
use super::message::{PathMessage, Refusal};
use super::relaying::{End, Ended, Linked, Relaying};
use super::standing_by::StandingBy;
use crate::mrt::{ConnectionHandle, RelayChannel, RelayFlow, RelayLimits, Route};
use crate::node::identity::NodeId;
use crate::node::links::{DialNumber, LinkMessage, Relays, Turn};
use crate::node::node::Node;
use crate::stun::fingerprint::{Filtering, Fingerprint, Mapping};
use crate::stun::punch::Offer;
use crate::time::Instant;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Relays that a link which found no direct path has in all.
const BACKUPS: usize = 2;

/// Members whose addresses relays told, at most: as many as a room holds.
const MAX_SEEN: usize = 4096;

/// Members that are asked for a way to another one.
const MAX_RELAYS: usize = 3;

/// Ways through others, and flows that are passed on.
#[derive(Debug, Default)]
pub(in crate::node) struct Passing {
    relaying: Relaying,
    asking: Asking,
    /// MRT's names of the flows, by the asker's end.
    flows: BTreeMap<End, RelayFlow>,
    /// From where relays, the supernode or we hear members, or heard them last. Ports are tried only there.
    seen: BTreeMap<NodeId, IpAddr>,
    /// Ways for links that would not outlive the supernode.
    pub(super) standing_by: StandingBy,
}

impl Passing {
    /// When [`Node::tick_passing`] is due.
    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        let look = self.standing_by.poll_timeout();
        Some(self.asking.poll_timeout().map_or(look, |due| due.min(look)))
    }

    /// From where a relay hears a member.
    pub(super) fn seen(&self, peer: NodeId) -> Option<IpAddr> {
        self.seen.get(&peer).copied()
    }

    /// How many flows are passed on.
    #[cfg(test)]
    pub(super) fn flow_count(&self) -> usize {
        self.flows.len()
    }

    /// A relay hears a member from there.
    pub(super) fn note_seen(&mut self, peer: NodeId, ip: IpAddr) {
        if self.seen.len() < MAX_SEEN || self.seen.contains_key(&peer) {
            self.seen.insert(peer, ip);
        }
    }
}

/// Whether a NAT shows everybody one port, as far as is known.
pub(super) fn is_easy(nat: &Fingerprint) -> bool {
    nat.mapping.is_none_or(|mapping| mapping == Mapping::Independent)
}

/// Whether a host behind that NAT can be called from a port that nobody has foreseen: its own is known, and its filter asks for the
/// caller's address at most.
pub(super) fn is_welcoming(nat: &Fingerprint) -> bool {
    nat.mapping == Some(Mapping::Independent) && nat.filtering.is_some_and(|filter| filter <= Filtering::ByAddress)
}

/// The same, taking a filter that is not known yet for a loose one: a call that does not get through costs little.
pub(super) fn may_be_welcoming(nat: &Fingerprint) -> bool {
    nat.mapping == Some(Mapping::Independent) && nat.filtering != Some(Filtering::ByAddressAndPort)
}

impl Node {
    /// Who could pass on to a member: the supernode first, which is linked to everyone, then others that we reach directly.
    pub(in crate::node) fn relays_to(&self, to: Option<NodeId>) -> Relays {
        let Some(to) = to else { return Relays::default() };
        let view = self.room.view();
        let supernode = view.epoch.supernode;
        let direct = |id: &NodeId| *id != to && self.links.link(*id).is_some_and(|link| link.remote.is_some());
        let others = view.ids().filter(|id| *id != supernode);
        // A joiner is not in the view of the room whose door it stands at: whoever it is linked to may know the way.
        let strangers = self.links.linked().map(|(id, _)| id).filter(|id| !view.contains(*id));
        let through = std::iter::once(supernode).chain(strangers).chain(others).filter(direct).take(MAX_RELAYS + 1);
        let theirs = view.record(to).map(|record| record.facts.nat).unwrap_or_default();
        let ours = self.nat.fingerprint();
        let turn = match theirs.filtering {
            Some(Filtering::Independent) => Turn::Last,
            // It opens its NAT for us as soon as it hears that we are there.
            _ if is_easy(ours) && is_easy(&theirs) || may_be_welcoming(&theirs) => Turn::Together,
            // We open ours, and it calls.
            _ if is_welcoming(ours) => Turn::Wait,
            _ => Turn::First,
        };
        // All that could, then the first few: the supernode is one of few that surely reach it, unless it is the one that is lost.
        let mut relays = self.in_doubt_last(Relays { through: through.collect(), turn });
        relays.through.truncate(MAX_RELAYS);
        relays
    }

    /// A dial needs a way through another member.
    pub(in crate::node) fn ask_relay(&mut self, now: Instant, dial: DialNumber, relay: NodeId, to: NodeId) {
        if !self.ask_way(now, relay, to, Errand::Dial(dial)) {
            self.links.on_no_route(now, &mut self.endpoint, dial);
        }
    }

    /// Whether the question left.
    fn ask_way(&mut self, now: Instant, relay: NodeId, to: NodeId, errand: Errand) -> bool {
        let Some(linked) = self.linked_directly(relay) else { return false };
        let Some(end) = self.passing.asking.ask(now, linked, to, errand) else { return false };
        let question = PathMessage::Ask { to, channel: end.channel.0 };
        let sent = self.endpoint.relay_open(end.connection, end.channel).is_ok() && self.say_path(now, relay, question);
        if !sent {
            self.passing.asking.on_end(end);
            self.endpoint.relay_close(end.connection, end.channel);
        }
        sent
    }

    /// A member is asked to pass on should the active path be lost.
    pub(super) fn ask_standby(&mut self, now: Instant, relay: NodeId, to: NodeId, connection: ConnectionHandle) {
        self.ask_way(now, relay, to, Errand::Standby(connection));
    }

    /// No direct path was found: a second member is asked to pass on, too, so that the link outlives the first.
    pub(in crate::node) fn back_up(&mut self, now: Instant, peer: NodeId) {
        self.have_relays(now, peer, BACKUPS);
    }

    /// The path is direct: one member is asked to pass on should that be lost.
    pub(in crate::node) fn stand_by(&mut self, now: Instant, peer: NodeId) {
        self.have_relays(now, peer, 1);
    }

    fn have_relays(&mut self, now: Instant, peer: NodeId, wanted: usize) {
        let Some(connection) = self.links.connection(peer) else { return };
        let relays = self.endpoint.paths(now, connection).into_iter().filter_map(|path| match path.route {
            Route::Relayed { by, .. } => self.links.peer_of(by),
            Route::Udp { .. } => None,
        });
        let present: Vec<NodeId> = relays.collect();
        if present.len() >= wanted {
            return;
        }
        let other = self.relays_to(Some(peer)).through.into_iter().find(|relay| !present.contains(relay));
        if let Some(other) = other {
            self.ask_way(now, other, peer, Errand::Standby(connection));
        }
    }

    /// Somebody says something about relaying.
    pub(in crate::node) fn on_passing(&mut self, now: Instant, from: NodeId, message: &PathMessage) {
        let Some(link) = self.links.link(from) else { return };
        let end = |channel: u32| End { connection: link.connection, channel: RelayChannel(channel) };
        match *message {
            PathMessage::Ask { to, channel } => self.pass_on(now, from, end(channel), to),
            PathMessage::Bound { channel, seen } => {
                if let Some(way) = self.passing.asking.on_bound(end(channel)) {
                    self.note_seen(from, way.to, seen);
                    self.on_way(now, end(channel), way);
                }
            }
            PathMessage::Refused { channel, why } => {
                tracing::debug!(relay = %from, ?why, "a relay refused");
                self.on_way_end(now, end(channel));
            }
            PathMessage::Incoming { from: other, channel, seen } => {
                // Whoever is let in that way has to prove itself as on any other.
                if self.links_matter(from) && self.passing.asking.on_incoming(end(channel), other) {
                    self.note_seen(from, other, seen);
                    let _ = self.endpoint.relay_open(link.connection, RelayChannel(channel));
                }
            }
            PathMessage::End { channel } => {
                self.on_way_end(now, end(channel));
                if let Some(ended) = self.passing.relaying.end(end(channel)) {
                    self.unbind(now, ended);
                }
            }
            PathMessage::Probe { to, token, by } => self.on_probe(now, from, to, token, by),
            PathMessage::Probed { token, sent } => self.on_probed(now, token, sent),
            PathMessage::Offer(ref offer) => self.on_offer(now, from, Offer::clone(offer)),
            PathMessage::Changed(nat) => self.on_changed(now, from, nat),
        }
    }

    /// The other end's address as somebody heard it who is linked to both.
    ///
    /// Only the supernode's word counts, and anybody's about the supernode: two members together could point us at a third party.
    pub(in crate::node) fn note_seen(&mut self, by: NodeId, peer: NodeId, seen: Option<IpAddr>) {
        let view = self.room.view();
        let supernode = view.epoch.supernode;
        let is_trusted = by == supernode || (peer == supernode && view.contains(by));
        if let Some(ip) = seen.filter(|_| is_trusted && view.contains(peer)) {
            self.passing.note_seen(peer, ip);
        }
    }

    /// Somebody wants datagrams to be passed on.
    fn pass_on(&mut self, now: Instant, from: NodeId, near: End, to: NodeId) {
        let begun = match (self.linked_directly(from), self.linked_directly(to)) {
            _ if !self.room.passes_on(now, from, to) => Err(Refusal::NotMember),
            (Some(asker), Some(other)) => self.passing.relaying.ask(asker, near.channel, other),
            _ => Err(Refusal::NotLinked),
        };
        let channel = near.channel.0;
        let begun = match begun {
            Ok(begun) if self.passing.flows.contains_key(&begun.asker) => Ok(begun),
            Ok(begun) => {
                let end = |end: End| (end.connection, end.channel);
                let flow = self.endpoint.relay_bind(end(begun.asker), end(begun.other), RelayLimits::default());
                flow.map(|flow| {
                    self.passing.flows.insert(begun.asker, flow);
                    begun
                })
                .map_err(|error| {
                    tracing::debug!(%error, "not passed on");
                    self.passing.relaying.end(begun.asker);
                    Refusal::Full
                })
            }
            Err(why) => Err(why),
        };
        match begun {
            Ok(begun) => {
                tracing::info!(%from, %to, "packets are passed on");
                let seen = |of| self.links.link(of).and_then(|link| link.remote).map(|remote| remote.ip());
                let (asker, other) = (seen(from), seen(to));
                let incoming = PathMessage::Incoming { from, channel: begun.other.channel.0, seen: asker };
                self.say_path(now, to, incoming);
                self.say_path(now, from, PathMessage::Bound { channel, seen: other });
            }
            Err(why) => {
                self.say_path(now, from, PathMessage::Refused { channel, why });
            }
        }
    }

    /// Whether somebody may have us hold something for it: a member, or whom we want to join.
    fn links_matter(&self, peer: NodeId) -> bool {
        self.room.is_member(peer) || self.links.link(peer).is_some_and(|link| link.initiator)
    }

    /// A way is open.
    fn on_way(&mut self, now: Instant, end: End, way: Way) {
        let route = Route::Relayed { by: end.connection, channel: end.channel };
        let wanted = match way.errand {
            Errand::Dial(dial) if self.links.is_dialling(dial) => {
                self.links.on_route(now, &mut self.endpoint, dial, route);
                true
            }
            Errand::Dial(_) => false,
            Errand::Standby(connection) => self.endpoint.add_path(now, connection, route).is_ok(),
        };
        if !wanted {
            self.end_way(now, end);
        }
    }

    /// A way is refused, or over.
    fn on_way_end(&mut self, now: Instant, end: End) {
        self.endpoint.relay_close(end.connection, end.channel);
        if let Some(Way { errand: Errand::Dial(dial), .. }) = self.passing.asking.on_end(end) {
            self.links.on_no_route(now, &mut self.endpoint, dial);
        }
    }

    /// We need a way no longer.
    fn end_way(&mut self, now: Instant, end: End) {
        self.passing.asking.on_end(end);
        self.endpoint.relay_close(end.connection, end.channel);
        if let Some(relay) = self.links.peer_of(end.connection) {
            self.say_path(now, relay, PathMessage::End { channel: end.channel.0 });
        }
    }

    /// A flow is over: whoever is there is told.
    fn unbind(&mut self, now: Instant, ended: Ended) {
        let flow = self.passing.flows.remove(&ended.one).or_else(|| self.passing.flows.remove(&ended.other));
        if let Some(flow) = flow {
            self.endpoint.relay_unbind(flow);
        }
        for (end, peer) in [(ended.one, ended.one_peer), (ended.other, ended.other_peer)] {
            if self.links.connection(peer) == Some(end.connection) {
                self.say_path(now, peer, PathMessage::End { channel: end.channel.0 });
            }
        }
    }

    /// A connection is gone, and whatever went over it.
    pub(in crate::node) fn on_passing_gone(&mut self, now: Instant, connection: ConnectionHandle) {
        for way in self.passing.asking.on_gone(connection) {
            if let Errand::Dial(dial) = way.errand {
                self.links.on_no_route(now, &mut self.endpoint, dial);
            }
        }
        for ended in self.passing.relaying.on_gone(connection) {
            self.unbind(now, ended);
        }
    }

    /// A peer's link is down: ways to it serve nobody.
    pub(in crate::node) fn on_passing_down(&mut self, now: Instant, peer: NodeId) {
        for end in self.passing.asking.forget(peer) {
            self.end_way(now, end);
        }
    }

    /// Relays that did not answer.
    pub(in crate::node) fn tick_passing(&mut self, now: Instant) {
        self.tick_standing_by(now);
        for (end, way) in self.passing.asking.expire(now) {
            self.end_way(now, end);
            if let Errand::Dial(dial) = way.errand {
                self.links.on_no_route(now, &mut self.endpoint, dial);
            }
        }
    }

    /// A peer whose packets nobody passes on: what relays are made of.
    fn linked_directly(&self, peer: NodeId) -> Option<Linked> {
        let link = self.links.link(peer).filter(|link| link.remote.is_some())?;
        Some(Linked { peer, connection: link.connection, initiator: link.initiator })
    }

    /// Whether it was said.
    pub(in crate::node) fn say_path(&mut self, now: Instant, to: NodeId, message: PathMessage) -> bool {
        let message = LinkMessage::Path(Box::new(message));
        self.links.send(now, &mut self.endpoint, to, &message).is_ok()
    }
}
