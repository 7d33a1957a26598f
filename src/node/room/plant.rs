//! Faults that tests plant, one at a time, to see that the oracle notices each. Outside tests nothing is ever planted.

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plant {
    /// A word is given to two under one counter.
    WordTwice,
    /// Whoever comes over finds the epoch as it is.
    EpochStays,
    /// One member is told of one member less.
    HalfAView,
    /// Nobody knows a repeat from a line.
    Repeats,
    /// The supernode says something else in its own name.
    MadeUp,
    /// What waits is said last line first, and taken so.
    Backwards,
    /// An order that is given up is forgotten.
    NoRescue,
    /// Whoever calls is a member.
    OpenDoor,
    /// As much as one likes may wait to be placed.
    NoCap,
    /// What was thrown away is taken for lost.
    Skip,
    /// Nobody ever goes over to the other half.
    Stay,
    /// Whoever says that many follow it is believed.
    BelieveSizes,
    /// Whoever holds as many lines holds the same.
    ByNumber,
    /// What nobody else holds is called safe.
    SafeAlone,
    /// Authors do not say what they said before, and nobody minds.
    AnyPrevious,
    /// A supernode is accused for nothing.
    Slander,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Plant>> = const { std::cell::Cell::new(None) };
}

/// Whether it is.
#[cfg(test)]
pub(super) fn planted(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// Whether it is.
#[cfg(not(test))]
pub(super) const fn planted(_: Plant) -> bool {
    false
}

/// Plants one, or none, in this thread.
#[cfg(test)]
pub(super) fn plant(plant: Option<Plant>) {
    PLANTED.set(plant);
}
