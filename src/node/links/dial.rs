//! One dial: several ways to one node, one after the other without waiting for the first to fail (after RFC 8305).

use super::budget::{Budget, is_host};
use crate::mrt::{CloseReason, ConnectError, ConnectTo, ConnectionHandle, Endpoint, Route};
use crate::node::identity::NodeId;
use crate::node::paths::Homes;
use crate::node::room::{DialFailure, DialTo};
use crate::time::{Duration, Instant};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

/// The next address is tried this long after the last (RFC 8305 §5: 250 ms).
const STAGGER: Duration = Duration::from_millis(250);

/// An address that does not answer for this long is given up. On a path that loses 30 % each way a handshake of two round trips
/// needs a few seconds.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Addresses of one dial. Records hold no more, tickets neither.
const MAX_ADDRESSES: usize = 8;

/// How long we wait to be called: some round trips.
const WAIT: Duration = Duration::from_millis(400);

/// Relays of one dial.
const MAX_RELAYS: usize = 3;

/// Names a dial within [`Links`](super::Links).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialNumber(pub u64);

/// Who could pass datagrams on to a node that may not be reachable, and how likely that is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relays {
    /// Members to ask, in this order.
    pub through: Vec<NodeId>,
    /// When they are asked.
    pub turn: Turn,
}

/// When relays are asked, beside calls to the node's addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// When no address answered: calls get through.
    #[default]
    Last,
    /// At the same time as the first address: calls may get through.
    Together,
    /// Before any address, and not at once: the other end calls us, if it can.
    Wait,
    /// Before any address: calls hardly get through, and the other end's NAT may even take them amiss (a packet that comes uninvited can
    /// move the mapping that it was for).
    First,
}

/// One thing to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Address(SocketAddr),
    Relay(NodeId),
}

/// What was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// A connection.
    Attempt(ConnectionHandle),
    /// That member is to be asked for a way, which is reported to [`Dial::on_route`] or [`Dial::on_no_route`].
    Ask(NodeId),
}

/// A dial that has not been answered.
#[derive(Debug)]
pub(super) struct Dial {
    to: ConnectTo,
    /// Who must answer.
    pub(super) expected: Option<NodeId>,
    ways: VecDeque<Way>,
    /// Relays that were asked and have not answered.
    asked: usize,
    /// Nothing is tried before its time: we may be called.
    waits: bool,
    /// Ways after which the next one is not kept waiting.
    at_once: usize,
    attempts: BTreeSet<ConnectionHandle>,
    next: Instant,
    failure: DialFailure,
}

impl Dial {
    pub(super) fn new(now: Instant, to: DialTo, relays: &Relays) -> Self {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in to.addresses {
            if addresses.len() < MAX_ADDRESSES && is_host(address) && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let connect_to = match (to.key, to.invitation) {
            (Some(key), Some((id, secret))) => ConnectTo::Invited { key, id, secret },
            (Some(key), None) => ConnectTo::Known(key),
            (None, _) => ConnectTo::Unknown,
        };
        let addresses = addresses.into_iter().map(Way::Address);
        let through = relays.through.iter().copied().take(MAX_RELAYS).map(Way::Relay);
        let mut ways: VecDeque<Way> = match relays.turn {
            Turn::First | Turn::Wait => through.chain(addresses).collect(),
            Turn::Last | Turn::Together => addresses.chain(through).collect(),
        };
        let relay = ways.iter().position(|way| matches!(way, Way::Relay(_)));
        let together = relays.turn == Turn::Together && relay.is_some();
        if let Some(relay) = relay.filter(|_| together).and_then(|at| ways.remove(at)) {
            ways.push_front(relay);
        }
        Self {
            to: connect_to,
            expected: to.id,
            ways,
            asked: 0,
            at_once: usize::from(together),
            attempts: BTreeSet::new(),
            waits: relays.turn == Turn::Wait,
            next: if relays.turn == Turn::Wait { now + WAIT } else { now },
            failure: DialFailure::BadAddress,
        }
    }

    /// Tries the next way, if its time has come. What the user typed is called in any case.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        budget: &mut Budget,
        homes: &Homes,
    ) -> Option<Begun> {
        while now >= self.next || (self.attempts.is_empty() && self.asked == 0 && !self.waits) {
            self.waits = false;
            match self.ways.pop_front()? {
                Way::Relay(relay) => {
                    self.asked += 1;
                    self.next = if self.at_once > 0 { now } else { now + STAGGER };
                    self.at_once = self.at_once.saturating_sub(1);
                    return Some(Begun::Ask(relay));
                }
                Way::Address(address) => {
                    if self.expected.is_some() && !budget.take(now, address) {
                        self.failure = DialFailure::NoAnswer;
                        continue;
                    }
                    // Of a family that we listen at nowhere, as far as we know: the system will say.
                    let route = homes.route(address).unwrap_or_else(|| address.into());
                    if let Some(connection) = self.attempt(now, endpoint, route) {
                        return Some(Begun::Attempt(connection));
                    }
                }
            }
        }
        None
    }

    fn attempt(&mut self, now: Instant, endpoint: &mut Endpoint, route: Route) -> Option<ConnectionHandle> {
        match endpoint.connect(now, route, self.to.clone(), TIMEOUT) {
            Ok(connection) => {
                self.attempts.insert(connection);
                self.next = now + STAGGER;
                Some(connection)
            }
            Err(ConnectError::TooMany) => {
                self.failure = DialFailure::NoAnswer;
                None
            }
            Err(
                ConnectError::BadAddress
                | ConnectError::Ourselves
                | ConnectError::NoSuchRelay
                | ConnectError::RelayedTwice,
            ) => None,
        }
    }

    /// A relay that was asked, or whoever heard of the node, knows this way.
    pub(super) fn on_route(&mut self, now: Instant, endpoint: &mut Endpoint, route: Route) -> Option<ConnectionHandle> {
        self.asked = self.asked.saturating_sub(usize::from(matches!(route, Route::Relayed { .. })));
        self.attempt(now, endpoint, route)
    }

    /// Somebody looks for a way, and will say when there is none.
    pub(super) const fn expect_route(&mut self) {
        self.asked += 1;
    }

    /// A relay that was asked is of no help.
    pub(super) fn on_no_route(&mut self) {
        self.asked = self.asked.saturating_sub(1);
        self.failure = DialFailure::NoAnswer;
    }

    /// An attempt failed.
    pub(super) fn on_lost(&mut self, connection: ConnectionHandle, reason: &CloseReason) {
        self.attempts.remove(&connection);
        if *reason == CloseReason::Refused && self.expected.is_none() {
            self.asked = 0;
        }
        self.failure = match (reason, self.failure) {
            (CloseReason::Refused, _) => DialFailure::Refused,
            (_, DialFailure::Refused) => DialFailure::Refused,
            _ => DialFailure::NoAnswer,
        };
    }

    /// An attempt succeeded: the others are given up.
    pub(super) fn on_connected(&mut self, now: Instant, endpoint: &mut Endpoint, winner: ConnectionHandle) {
        self.ways.clear();
        self.asked = 0;
        for loser in std::mem::take(&mut self.attempts) {
            if loser != winner {
                endpoint.close(now, loser, 0, "");
            }
        }
        self.attempts.insert(winner);
    }

    /// Why it failed, once nothing is left to try.
    pub(super) fn failed(&self) -> Option<DialFailure> {
        (self.attempts.is_empty() && self.ways.is_empty() && self.asked == 0).then_some(self.failure)
    }

    /// Whether nothing was tried yet.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// Its connections.
    pub(super) fn attempts(&self) -> impl Iterator<Item = ConnectionHandle> {
        self.attempts.iter().copied()
    }

    /// When [`advance`](Self::advance) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.ways.is_empty()).then_some(self.next)
    }
}
