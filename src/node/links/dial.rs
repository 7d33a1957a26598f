//! One dial: several addresses of one node, one after the other without waiting for the first to fail (after RFC 8305).

use super::budget::{Budget, is_host};
use crate::mrt::{CloseReason, ConnectError, ConnectTo, ConnectionHandle, Endpoint};
use crate::node::identity::NodeId;
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

/// Names a dial within [`Links`](super::Links).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialNumber(pub u64);

/// A dial that has not been answered.
#[derive(Debug)]
pub(super) struct Dial {
    to: ConnectTo,
    /// Who must answer.
    pub(super) expected: Option<NodeId>,
    addresses: VecDeque<SocketAddr>,
    attempts: BTreeSet<ConnectionHandle>,
    next: Instant,
    failure: DialFailure,
}

impl Dial {
    pub(super) fn new(now: Instant, to: DialTo) -> Self {
        let mut addresses = VecDeque::new();
        for address in to.addresses {
            if addresses.len() < MAX_ADDRESSES && is_host(address) && !addresses.contains(&address) {
                addresses.push_back(address);
            }
        }
        let connect_to = match (to.key, to.invitation) {
            (Some(key), Some((id, secret))) => ConnectTo::Invited { key, id, secret },
            (Some(key), None) => ConnectTo::Known(key),
            (None, _) => ConnectTo::Unknown,
        };
        Self {
            to: connect_to,
            expected: to.id,
            addresses,
            attempts: BTreeSet::new(),
            next: now,
            failure: DialFailure::BadAddress,
        }
    }

    /// Tries the next address, if its time has come. The attempt that began. What the user typed is called in any case.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        budget: &mut Budget,
    ) -> Option<ConnectionHandle> {
        while now >= self.next || self.attempts.is_empty() {
            let address = self.addresses.pop_front()?;
            if self.expected.is_some() && !budget.take(now, address) {
                self.failure = DialFailure::NoAnswer;
                continue;
            }
            match endpoint.connect(now, address, self.to.clone(), TIMEOUT) {
                Ok(connection) => {
                    self.attempts.insert(connection);
                    self.next = now + STAGGER;
                    return Some(connection);
                }
                Err(ConnectError::BadAddress | ConnectError::Ourselves) => {}
                Err(ConnectError::TooMany | ConnectError::NoSuchRelay | ConnectError::RelayedTwice) => {
                    self.failure = DialFailure::NoAnswer;
                }
            }
        }
        None
    }

    /// An attempt failed.
    pub(super) fn on_lost(&mut self, connection: ConnectionHandle, reason: &CloseReason) {
        self.attempts.remove(&connection);
        self.failure = match (reason, self.failure) {
            (CloseReason::Refused, _) => DialFailure::Refused,
            (_, DialFailure::Refused) => DialFailure::Refused,
            _ => DialFailure::NoAnswer,
        };
    }

    /// An attempt succeeded: the others are given up.
    pub(super) fn on_connected(&mut self, now: Instant, endpoint: &mut Endpoint, winner: ConnectionHandle) {
        self.addresses.clear();
        for loser in std::mem::take(&mut self.attempts) {
            if loser != winner {
                endpoint.close(now, loser, 0, "");
            }
        }
        self.attempts.insert(winner);
    }

    /// Why it failed, once nothing is left to try.
    pub(super) fn failed(&self) -> Option<DialFailure> {
        (self.attempts.is_empty() && self.addresses.is_empty()).then_some(self.failure)
    }

    /// Its connections.
    pub(super) fn attempts(&self) -> impl Iterator<Item = ConnectionHandle> {
        self.attempts.iter().copied()
    }

    /// When [`advance`](Self::advance) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.addresses.is_empty()).then_some(self.next)
    }
}
