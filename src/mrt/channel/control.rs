//! What a connection still has to tell the other side besides channel data. Values are read when the frame is written, so that a
//! frame that was lost goes out again with what is true then.

use crate::mrt::api::{ChannelId, Class};

/// A control frame that is due, or was sent and is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Control {
    /// Any answer will do.
    Ping,
    /// More credit for the connection.
    ConnectionCredit,
    /// More channels of a class.
    Channels(Class),
    /// We gave up sending on a channel.
    Reset(ChannelId),
    /// We want no more of a channel.
    Stop(ChannelId),
    /// More credit for a channel.
    ChannelCredit(ChannelId),
}
