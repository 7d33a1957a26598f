//! What a sent packet held, remembered until it is acknowledged or lost.

use crate::mrt::channel::control::Control;
use crate::mrt::channel::set::DataSent;
use smallvec::SmallVec;

/// One thing in a packet that matters afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// An acknowledgement up to this number.
    Ack(u64),
    /// A control frame.
    Control(Control),
    /// A run of a channel's bytes.
    Data(DataSent),
}

/// A packet's items; two is what a full packet of a file holds at most, so that it needs no allocation.
pub(super) type Content = SmallVec<[Item; 2]>;
