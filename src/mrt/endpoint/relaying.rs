//! Relaying: the verbs of who passes on, and of who is passed on to.

use super::endpoint::Endpoint;
use crate::mrt::api::ConnectionHandle;
use crate::mrt::relay::{RelayDrops, RelayError, RelayFlow, RelayLimits, RelayStats};
use crate::mrt::route::RelayChannel;

impl Endpoint {
    /// Passes on what comes on one of the two to the other, without opening it, until one of the connections ends or
    /// [`relay_unbind`](Self::relay_unbind).
    pub fn relay_bind(
        &mut self,
        _a: (ConnectionHandle, RelayChannel),
        _b: (ConnectionHandle, RelayChannel),
        _limits: RelayLimits,
    ) -> Result<RelayFlow, RelayError> {
        Err(RelayError::NotConnected)
    }

    /// Passes nothing more on. What waits is dropped.
    pub fn relay_unbind(&mut self, _flow: RelayFlow) {}

    /// What a flow carried and dropped; `None` when it is over.
    pub fn relay_stats(&self, _flow: RelayFlow) -> Option<RelayStats> {
        None
    }

    /// Relayed datagrams that were dropped outside of any flow.
    pub const fn relay_drops(&self) -> RelayDrops {
        RelayDrops { unknown_channel: 0, nested: 0, no_way: 0 }
    }

    /// Takes in datagrams that come to us through `by` on this channel, requests for a connection too.
    pub fn relay_open(&mut self, _by: ConnectionHandle, _channel: RelayChannel) -> Result<(), RelayError> {
        Err(RelayError::NotConnected)
    }

    /// Takes in nothing more on this channel. Paths over it hear nothing any more, and so end.
    pub fn relay_close(&mut self, _by: ConnectionHandle, _channel: RelayChannel) {}
}
