//! What is sent in a stage: probes, one after the other, each when its time has come.

use crate::machine::SocketId;
use crate::stun::punch::guess::{Shuffled, after, crossing};
use crate::stun::punch::ledger::Way;
use crate::stun::punch::plan::Aim;
use crate::time::{Duration, Instant};
use std::net::{IpAddr, SocketAddr};

/// Between two probes of a series: 500 a second.
const APART: Duration = Duration::from_millis(2);

/// Between two probes of two series that cross: slower, so that what one end's NAT counts is in the order in which it was sent.
const CROSSING_APART: Duration = Duration::from_millis(5);

/// When held sockets send for the second time, after they all sent once: what was lost is made good.
const HOLD_AGAIN: Duration = Duration::from_millis(400);

/// When a bracket is cast over for the second time.
const CAST_AGAIN: Duration = Duration::from_millis(250);

/// Where ports are looked for, with all that is needed to name them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guess {
    Pool(Shuffled),
    After { last: u16, step: i16 },
}

impl Guess {
    /// `last` is the port that the other end's NAT gave last: without it nothing can be counted on from.
    pub(super) fn new(aim: Aim, last: Option<u16>, seed: u64) -> Option<Self> {
        match aim {
            Aim::Pool(pool) => Some(Self::Pool(Shuffled::new(pool, seed))),
            Aim::After { step } => last.map(|last| Self::After { last, step }),
        }
    }

    /// The port in this place, from 0.
    fn port(&self, place: u32) -> u16 {
        match *self {
            Self::Pool(order) => order.port(place),
            Self::After { last, step } => after(last, step, place.saturating_add(1)),
        }
    }
}

/// A series of probes.
#[derive(Clone, Debug)]
pub(super) enum Series {
    /// From each socket to one address.
    Hold { target: SocketAddr, probes: u32 },
    /// From one socket to many ports.
    Cast { socket: SocketId, ip: IpAddr, guess: Guess, probes: u32, passes: u32 },
    /// From one socket to a few ports, where the other end's series crosses ours.
    Cross { socket: SocketId, ip: IpAddr, last: u16, step: i16, stretched: bool, probes: u32 },
    /// From many sockets to many ports, each pair of them once.
    Draw { ip: IpAddr, guess: Guess, ports: u32, probes: u32 },
}

/// A series on its way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    series: Series,
    /// Sockets that were opened for it.
    sockets: Vec<SocketId>,
    /// Sockets that are still to be opened.
    awaited: u32,
    sent: u32,
    next: Instant,
}

impl Running {
    /// Begins at this time, and when all sockets that it awaits are there (a series that holds does not wait for all).
    pub(super) const fn new(series: Series, awaited: u32, begins: Instant) -> Self {
        Self { series, sockets: Vec::new(), awaited, sent: 0, next: begins }
    }

    /// A socket for it is open.
    pub(super) fn on_socket(&mut self, socket: SocketId) {
        self.sockets.push(socket);
        self.awaited = self.awaited.saturating_sub(1);
    }

    /// One socket fewer than hoped for.
    pub(super) const fn on_no_socket(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
    }

    /// Held sockets are to send to another address from here on, because the other end was heard from there.
    pub(super) fn retarget(&mut self, to: SocketAddr) -> bool {
        let Series::Hold { target, .. } = &mut self.series else { return false };
        if *target == to {
            return false;
        }
        *target = to;
        self.sent = 0;
        true
    }

    /// When the next probe is due. `None`: there is none, or a socket is awaited first.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.is_over() && self.peek().is_some()).then_some(self.next)
    }

    /// Everything was sent.
    pub(super) fn is_over(&self) -> bool {
        let all = match &self.series {
            Series::Hold { probes, .. } | Series::Cross { probes, .. } | Series::Draw { probes, .. } => *probes,
            Series::Cast { probes, passes, .. } => probes.saturating_mul(*passes),
        };
        self.sent >= all || (self.awaited == 0 && self.peek().is_none())
    }

    /// The probe that is next.
    pub(super) fn peek(&self) -> Option<Way> {
        let held = self.sockets.len() as u32;
        match &self.series {
            Series::Hold { target, .. } => {
                let at = if self.awaited == 0 { self.sent.checked_rem(held)? } else { self.sent };
                Some(Way { socket: *self.sockets.get(at as usize)?, remote: *target })
            }
            Series::Cast { socket, ip, guess, probes, .. } => {
                let place = self.sent.checked_rem(*probes)?;
                Some(Way { socket: *socket, remote: SocketAddr::new(*ip, guess.port(place)) })
            }
            Series::Cross { socket, ip, last, step, stretched, .. } => {
                let port = after(*last, *step, crossing(self.sent.saturating_add(1), *stretched));
                Some(Way { socket: *socket, remote: SocketAddr::new(*ip, port) })
            }
            Series::Draw { ip, guess, ports, .. } => {
                if self.awaited > 0 {
                    return None;
                }
                // Sockets take turns; each begins elsewhere in the order of ports, so that all of them are tried evenly.
                let (turn, at) = (self.sent.checked_div(held)?, self.sent.checked_rem(held)?);
                let place = turn.saturating_add(at.saturating_mul(ports / held)).checked_rem(*ports)?;
                Some(Way { socket: *self.sockets.get(at as usize)?, remote: SocketAddr::new(*ip, guess.port(place)) })
            }
        }
    }

    /// The probe that was next is sent, or cannot be.
    pub(super) fn advance(&mut self, now: Instant) {
        self.sent = self.sent.saturating_add(1);
        let ended_pass = match &self.series {
            Series::Hold { .. } => self.awaited == 0 && self.sent as usize == self.sockets.len(),
            Series::Cast { probes, .. } => self.sent.checked_rem(*probes) == Some(0),
            _ => false,
        };
        let apart = match &self.series {
            Series::Hold { .. } if ended_pass => HOLD_AGAIN,
            Series::Cast { .. } if ended_pass => CAST_AGAIN,
            Series::Cross { .. } => CROSSING_APART,
            _ => APART,
        };
        // A little that was missed is made up for, so that a coarse clock keeps the rate.
        self.next = (self.next + apart).max(now - Duration::from_millis(20) + apart);
    }

    /// Everything happens later by so much.
    pub(super) fn delay(&mut self, by: Duration) {
        self.next = self.next + by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::punch::plan::Pool;
    use std::collections::BTreeSet;

    fn all(mut running: Running) -> Vec<Way> {
        let mut ways = Vec::new();
        while let Some(now) = running.due() {
            ways.extend(running.peek());
            running.advance(now);
        }
        assert!(running.is_over());
        ways
    }

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(9, 9, 9, 9));

    #[test]
    fn a_draw_uses_each_pair_of_socket_and_port_once_and_all_ports_evenly() {
        let pool = Pool { lowest: 5000, highest: 5511 };
        let guess = Guess::new(Aim::Pool(pool), None, 77).unwrap();
        let mut running = Running::new(Series::Draw { ip: IP, guess, ports: 512, probes: 2560 }, 6, Instant::ZERO);
        assert_eq!(running.due(), None, "its sockets are not open");
        (1..7).for_each(|id| running.on_socket(SocketId(id)));
        let ways = all(running);
        let distinct: BTreeSet<_> = ways.iter().collect();
        assert_eq!((ways.len(), distinct.len()), (2560, 2560));
        for port in pool.lowest..=pool.highest {
            let times = ways.iter().filter(|way| way.remote.port() == port).count();
            assert!((3..=6).contains(&times), "{port}: {times}");
        }
    }

    #[test]
    fn held_sockets_send_as_they_open_and_all_once_more() {
        let target = SocketAddr::new(IP, 5);
        let mut running = Running::new(Series::Hold { target, probes: 4 }, 3, Instant::ZERO);
        assert_eq!(running.due(), None);
        running.on_socket(SocketId(1));
        assert_eq!(running.due(), Some(Instant::ZERO));
        running.advance(Instant::ZERO);
        assert_eq!(running.due(), None, "the next one is not open yet");
        running.on_no_socket();
        running.on_socket(SocketId(3));
        let rest: Vec<_> = all(running).iter().map(|way| way.socket.0).collect();
        assert_eq!(rest, [3, 1, 3]);
    }
}
