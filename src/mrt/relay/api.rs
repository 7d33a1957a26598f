//! What those above see of relaying.

/// Names a binding of two ends, for as long as the endpoint lives. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelayFlow(pub(crate) u64);

/// What one flow may use. The endpoint's own limit on all flows together is `Config::relay_rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Bytes a second, both directions together.
    pub rate: u64,
    /// Bytes that may wait in each direction; what comes then is dropped.
    pub queue: usize,
}

impl Default for RelayLimits {
    /// 20 Mbit/s, and a tenth of a second of it waiting.
    fn default() -> Self {
        Self { rate: 2_500_000, queue: 250_000 }
    }
}

/// What became of the datagrams of one direction. Bytes are those of the inner datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RelayCount {
    /// Datagrams that were passed on.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams that were dropped, because too many waited or there was no way on.
    pub dropped_packets: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
}

/// What a flow carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RelayStats {
    /// From the first end that was named to the second.
    pub forth: RelayCount,
    /// From the second to the first.
    pub back: RelayCount,
}

/// Relayed datagrams that an endpoint dropped outside of any flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RelayDrops {
    /// They came on a channel that is neither bound nor open.
    pub unknown_channel: u64,
    /// They held a relayed datagram themselves.
    pub nested: u64,
    /// Ours, to a relay that is gone or has no direct path.
    pub no_way: u64,
}

/// Why two ends are not bound, or a channel is not open. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// No such connection, or it is not established.
    #[error("not connected")]
    NotConnected,
    /// One of the channels is bound or open already.
    #[error("that relay channel is in use")]
    InUse,
    /// Both ends are the same connection.
    #[error("both ends are the same connection")]
    SameConnection,
    /// One of the connections is relayed itself.
    #[error("a relayed connection cannot relay")]
    RelayedTwice,
    /// As many are bound or open as may be.
    #[error("too many relay channels")]
    TooMany,
}
