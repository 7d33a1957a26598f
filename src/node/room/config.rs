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

/// The times of the protocol. Where no other source is named they are ours, chosen so that in a room of friends lines flow again 1.5 s after a
/// crash, in the middle, and yet nobody is deposed who got no processor for a second.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// A supernode that was silent for this long is pinged, and others are asked whether they hear it: three heartbeats.
    pub ask: Duration,
    /// After this long it may be taken for lost. More than a second, a heartbeat and a little: a supernode that gets no processor for a
    /// second is not deposed.
    pub suspect: Duration,
    /// Witnesses have so much longer to answer before their silence counts.
    pub confirm: Duration,
    /// Between two pings of the burst to a suspect.
    pub burst: Duration,
    /// A witness who heard it within this time says that it lives. So much less than `suspect` that its answer is here by then.
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
    /// A member that was silent for this long is no member any more: more than the five seconds for which a machine may well be busy.
    pub member: Duration,
    /// The same for a member whose link is down.
    pub unlinked: Duration,
    /// A quitting member waits this long at most.
    pub quit: Duration,
    /// A timer that fires this late says that our own machine stood still.
    pub freeze: Duration,
    /// A timer that fires this late says that our own machine is busy: we are slower to suspect others.
    pub late: Duration,
    /// What a member's rank is made of has to be so for this long before it moves the line; silence moves it at once.
    pub steady: Duration,
    /// How often a path that would be needed if the supernode died is tried.
    pub warm: Duration,
    /// Whoever is left alone in its room for so long says so.
    pub lonely: Duration,
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
    /// The times that the programs use in a small room.
    pub const DEFAULT: Self = Self {
        heartbeat: Duration::from_millis(200),
        ask: Duration::from_millis(600),
        suspect: Duration::from_millis(1250),
        confirm: Duration::from_millis(400),
        burst: Duration::from_millis(100),
        fresh: Duration::from_millis(950),
        collect: Duration::from_millis(500),
        promise: Duration::from_millis(1500),
        alone: Duration::from_millis(2500),
        pass_over: Duration::from_millis(300),
        gather: Duration::from_millis(50),
        member: Duration::from_secs(6),
        unlinked: Duration::from_secs(1),
        quit: Duration::from_secs(2),
        freeze: Duration::from_millis(400),
        late: Duration::from_millis(200),
        steady: Duration::from_secs(3),
        warm: Duration::from_secs(10),
        lonely: Duration::from_millis(1500),
        redial: Duration::from_secs(1),
        resend: Duration::from_secs(1),
        retry: Duration::from_millis(300),
        door: Duration::from_secs(600),
        invitation: Duration::from_secs(24 * 3600),
        former: Duration::from_secs(24 * 3600),
    };

    /// The times in a room of so many. All members know how many there are, and so expect the same of each other. What a supernode has to say
    /// grows with the room, and what a larger room is promised is less: lines flow again 5 s after a crash among a hundred, 10 s among a
    /// thousand.
    #[must_use]
    pub fn for_size(self, members: usize) -> Self {
        // How many times rarer a heartbeat is, and how many times longer, in tenths, a silence.
        let (rarer, longer) = match members {
            0..=16 => return self,
            17..=100 => (25, 14),
            _ => (50, 20),
        };
        let Self { heartbeat, burst, ask, suspect, fresh, .. } = self;
        Self {
            heartbeat: heartbeat * rarer / 10,
            burst: burst * rarer / 10,
            ask: ask * longer / 10,
            suspect: suspect * longer / 10,
            fresh: fresh * longer / 10,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_rooms_are_told_less_often_and_wait_longer() {
        let ms = |members| {
            let times = Times::DEFAULT.for_size(members);
            [times.heartbeat, times.ask, times.fresh, times.suspect].map(|time| time.as_millis())
        };
        assert_eq!(ms(1), [200, 600, 950, 1250]);
        assert_eq!(ms(16), ms(1));
        assert_eq!(ms(17), [500, 840, 1330, 1750]);
        assert_eq!(ms(100), ms(17));
        assert_eq!(ms(101), [1000, 1200, 1900, 2500]);
        assert_eq!(ms(4096), ms(101));
    }

    /// The last heartbeat may be nearly one old when the processor is taken away, and the next one has to arrive.
    #[test]
    fn a_supernode_may_stand_still_for_a_second_in_a_room_of_any_size() {
        for members in [2, 16, 17, 100, 101, 1000] {
            let times = Times::DEFAULT.for_size(members);
            let silence = Duration::from_secs(1) + times.heartbeat;
            assert!(times.suspect >= silence + Duration::from_millis(50), "{members}");
            assert!(times.ask < times.fresh && times.fresh < times.suspect, "{members}");
        }
    }
}
