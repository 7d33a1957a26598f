//! Asking a member to send something, and what its silence means.

use super::api::Whom;
use super::bench::{Bench, Occasion};
use crate::machine::SocketId;
use crate::stun::message::TransactionId;
use crate::time::{Duration, Instant};
use std::net::SocketAddr;

/// How long the room may take to say that a member sent.
const ERRAND: Duration = Duration::from_secs(5);

/// How long after that a probe may still come: a slow round trip.
const GRACE: Duration = Duration::from_secs(1);

/// Probes that have to be lost before silence means something.
const ENOUGH: u32 = 2;

/// Probes that are asked for, at most.
const MAX_ASKS: u32 = 3;

/// One probe that is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probing {
    to: SocketAddr,
    token: TransactionId,
    whom: Whom,
    asked: u32,
    carried: u32,
    until: Instant,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    /// It is still awaited.
    Awaited,
    /// It came, to this socket.
    Came {
        /// Where it came from.
        from: SocketAddr,
        /// Where it came to.
        on: SocketId,
    },
    /// It was sent, more than once, and did not come.
    Swallowed,
    /// Nobody sent it.
    Unknown,
}

impl Probing {
    pub(super) fn start(bench: &mut Bench, now: Instant, to: SocketAddr, whom: Whom) -> Self {
        let token = bench.token();
        bench.ask_member(to, token, whom);
        Self { to, token, whom, asked: 1, carried: 0, until: now + ERRAND }
    }

    /// Whether it is about this probe.
    pub(super) fn concerns(&self, occasion: &Occasion<'_>) -> bool {
        matches!(occasion, Occasion::Probe { token, .. } | Occasion::Carried { token, .. } if *token == self.token)
    }

    pub(super) fn handle(&mut self, bench: &mut Bench, now: Instant, occasion: &Occasion<'_>) -> Probed {
        match *occasion {
            Occasion::Probe { from, socket, .. } => Probed::Came { from, on: socket },
            Occasion::Carried { carried: true, .. } => {
                self.carried = self.carried.saturating_add(1);
                self.until = now + GRACE;
                self.handle_timeout(bench, now)
            }
            Occasion::Carried { carried: false, .. } if self.carried == 0 => Probed::Unknown,
            _ => Probed::Awaited,
        }
    }

    pub(super) fn handle_timeout(&mut self, bench: &mut Bench, now: Instant) -> Probed {
        if now < self.until {
            return Probed::Awaited;
        }
        if self.carried >= ENOUGH {
            return Probed::Swallowed;
        }
        if self.asked >= MAX_ASKS {
            return Probed::Unknown;
        }
        self.asked = self.asked.saturating_add(1);
        self.until = now + ERRAND;
        bench.ask_member(self.to, self.token, self.whom);
        Probed::Awaited
    }

    pub(super) const fn poll_timeout(&self) -> Instant {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_start(Duration::from_millis(ms))
    }

    fn start() -> (Bench, Probing) {
        let mut bench = Bench::new([3; 32], true, 1..9);
        let whom = Whom::Same("192.0.2.1:9".parse().unwrap());
        let probing = Probing::start(&mut bench, at(0), "203.0.113.1:5".parse().unwrap(), whom);
        assert!(bench.poll_ask().is_some_and(|ask| ask.token == probing.token && ask.whom == whom));
        (bench, probing)
    }

    #[test]
    fn silence_means_something_only_after_two_probes_that_were_sent() {
        let (mut bench, mut probing) = start();
        let carried = Occasion::Carried { token: probing.token, carried: true };
        assert!(probing.concerns(&carried));
        assert_eq!(probing.handle(&mut bench, at(100), &carried), Probed::Awaited);
        assert_eq!(probing.poll_timeout(), at(1100));
        assert_eq!(probing.handle_timeout(&mut bench, at(1100)), Probed::Awaited);
        assert!(bench.poll_ask().is_some());
        assert_eq!(probing.handle(&mut bench, at(1200), &carried), Probed::Awaited);
        assert_eq!(probing.handle_timeout(&mut bench, at(2200)), Probed::Swallowed);
    }

    #[test]
    fn what_nobody_sent_says_nothing() {
        let (mut bench, mut probing) = start();
        let refused = Occasion::Carried { token: probing.token, carried: false };
        assert_eq!(probing.handle(&mut bench, at(100), &refused), Probed::Unknown);
        let (mut bench, mut probing) = start();
        for _ in 1..MAX_ASKS {
            let until = probing.poll_timeout();
            assert_eq!(probing.handle_timeout(&mut bench, until), Probed::Awaited);
        }
        let until = probing.poll_timeout();
        assert_eq!(probing.handle_timeout(&mut bench, until), Probed::Unknown);
        assert_eq!(core::iter::from_fn(|| bench.poll_ask()).count() as u32, MAX_ASKS - 1);
    }

    #[test]
    fn a_probe_that_comes_is_recognised_by_its_token() {
        let (mut bench, mut probing) = start();
        let (from, socket) = ("192.0.2.1:9".parse().unwrap(), SocketId(4));
        let probe = Occasion::Probe { token: probing.token, socket, from };
        assert_eq!(probing.handle(&mut bench, at(1), &probe), Probed::Came { from, on: socket });
        assert!(!probing.concerns(&Occasion::Probe { token: TransactionId([0; 12]), socket, from }));
    }
}
