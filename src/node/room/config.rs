//! How a room behaves: what the user chose, and the times of the protocol.

use crate::time::Duration;

/// How a room behaves.
#[derive(Clone, Debug)]
pub struct RoomConfig {
    /// Admit whoever asks.
    pub open: bool,
    /// Admit whoever asks from a loopback address.
    pub local: bool,
    /// A room of fewer members hears of each change of its view at once; a larger one of several together.
    pub at_once: usize,
    /// Times.
    pub times: Times,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self { open: false, local: false, at_once: 50, times: Times::DEFAULT }
    }
}

/// The times of the protocol. Where no other source is named they are ours, chosen so that lines flow again within 3 s of a crash.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// A supernode that was silent for this long is suspected: two heartbeats.
    pub suspect: Duration,
    /// Witnesses have this long to answer before their silence counts.
    pub confirm: Duration,
    /// Between two pings of the burst to a suspect.
    pub burst: Duration,
    /// A witness who heard it within this time says that it lives. Less than `suspect`, so that one lost heartbeat saves nobody.
    pub fresh: Duration,
    /// Survivors have this long to report to a claimer.
    pub collect: Duration,
    /// A claim or hand-over that opens no view for this long has come to nothing.
    pub promise: Duration,
    /// Whoever reaches nobody of a larger room leads it for itself after this long.
    pub alone: Duration,
    /// A successor that does not acknowledge for this long is passed over.
    pub pass_over: Duration,
    /// Between two changes of a large room's view that everyone is told of.
    pub gather: Duration,
    /// A member that was silent for this long is no member any more.
    pub member: Duration,
    /// The same for a member whose link is down.
    pub unlinked: Duration,
    /// A quitting member waits this long at most.
    pub quit: Duration,
    /// A timer that fires this late says that our own machine stood still.
    pub freeze: Duration,
    /// Between two attempts to reach a member that should be linked.
    pub redial: Duration,
    /// An author repeats lines that are not in order yet after this long.
    pub resend: Duration,
    /// Between two requests to a door that is busy.
    pub retry: Duration,
    /// How long `A <ip> <port>` holds, and how long a request waits at the door.
    pub door: Duration,
    /// How long an invitation is good for.
    pub invitation: Duration,
    /// How long lost members are remembered and looked for.
    pub former: Duration,
}

impl Times {
    /// The times that the programs use.
    pub const DEFAULT: Self = Self {
        heartbeat: Duration::from_millis(500),
        suspect: Duration::from_millis(1000),
        confirm: Duration::from_millis(400),
        burst: Duration::from_millis(100),
        fresh: Duration::from_millis(800),
        collect: Duration::from_millis(500),
        promise: Duration::from_millis(1500),
        alone: Duration::from_millis(2500),
        pass_over: Duration::from_millis(300),
        gather: Duration::from_millis(50),
        member: Duration::from_secs(3),
        unlinked: Duration::from_secs(1),
        quit: Duration::from_secs(2),
        freeze: Duration::from_millis(400),
        redial: Duration::from_secs(1),
        resend: Duration::from_secs(1),
        retry: Duration::from_millis(300),
        door: Duration::from_secs(600),
        invitation: Duration::from_secs(24 * 3600),
        former: Duration::from_secs(24 * 3600),
    };
}
