//! Waiting for the socket, a command or a point in time, whichever is first.

use crate::time::Duration;
use mio::{Events, Poll};
use std::io;

/// Waits until something is ready or `timeout` has passed. Returning early is harmless.
///
/// `mio` waits in whole milliseconds and rounds up. For a keepalive that does not matter; a pacer asks for tens of microseconds,
/// and a millisecond's delay would empty the path. Where the system has it, such waits are made with `ppoll`, in nanoseconds.
pub(super) fn wait(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(short) = timeout
        && !short.is_zero()
        && short < COARSE_ENOUGH
    {
        use nix::poll::{PollFd, PollFlags, ppoll};
        use std::os::fd::AsFd;
        let mut queue = [PollFd::new(poll.registry().as_fd(), PollFlags::POLLIN)];
        let ready = ppoll(&mut queue, Some(short.into()), None).map_err(io::Error::from)?;
        if ready == 0 {
            events.clear();
            return Ok(());
        }
        return poll.poll(events, Some(Duration::ZERO));
    }
    poll.poll(events, timeout)
}

/// Waits longer than this may be a millisecond late.
#[cfg(target_os = "linux")]
const COARSE_ENOUGH: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Clock;

    #[test]
    fn a_short_wait_is_not_rounded_up_to_milliseconds() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let clock = Clock::start();
        // The quickest of many: a busy machine may delay some.
        let quickest = (0..50)
            .map(|_| {
                let before = clock.now();
                wait(&mut poll, &mut events, Some(Duration::from_micros(100))).unwrap();
                clock.now().saturating_since(before)
            })
            .min()
            .unwrap();
        assert!(quickest >= Duration::from_micros(100), "{quickest:?}");
        if cfg!(target_os = "linux") {
            assert!(quickest < Duration::from_micros(900), "{quickest:?}");
        }
    }
}
