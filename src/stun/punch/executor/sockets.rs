//! The sockets of a punch: those of the node, and those that it opens for itself.

use super::{Event, Phase, Punch};
use crate::machine::{SocketId, SocketRequest};
use crate::stun::candidate::is_global;
use crate::stun::punch::budget::Budget;
use crate::time::Instant;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Socket ids that each punch needs for itself.
pub const SOCKETS_PER_PUNCH: u32 = 2048;

/// A socket of our own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) local: Option<SocketAddr>,
    /// It is for the series of this round.
    pub(super) series: bool,
}

impl Punch {
    /// What to do with sockets next.
    pub fn poll_socket(&mut self, now: Instant, budget: &mut Budget) -> Option<SocketRequest> {
        if core::mem::take(&mut self.handed_over) {
            budget.close_socket();
        }
        while let Some(request) = self.requests.pop_front() {
            match request {
                SocketRequest::Open { socket, .. } if !budget.open_socket() => {
                    self.on_no_socket(now, socket);
                }
                SocketRequest::Open { .. } => return Some(request),
                SocketRequest::Close(_) => {
                    budget.close_socket();
                    return Some(request);
                }
            }
        }
        None
    }

    /// Asks for sockets for a series; says how many were asked for.
    pub(super) fn request_sockets(&mut self, count: u16) -> u32 {
        let bind = (Ipv4Addr::UNSPECIFIED, 0).into();
        (0..count).filter_map(|_| self.request_socket(bind, true)).count() as u32
    }

    /// Asks for one. `None`: this punch had all that it gets.
    pub(super) fn request_socket(&mut self, bind: SocketAddr, series: bool) -> Option<SocketId> {
        let used = self.next_socket.checked_sub(self.config.first_socket.0)?;
        if used >= SOCKETS_PER_PUNCH {
            return None;
        }
        let socket = SocketId(self.next_socket);
        self.next_socket = self.next_socket.checked_add(1)?;
        self.sockets.insert(socket, Own { local: None, series });
        self.requests.push_back(SocketRequest::Open { socket, bind });
        Some(socket)
    }

    /// Of which family a fresh port is worth having: IPv4, unless we have none.
    pub(super) fn family(&self) -> SocketAddr {
        let ours = &self.config.ours;
        let has_v4 = ours.public.iter().any(IpAddr::is_ipv4) || ours.sockets.iter().any(|(_, local)| local.is_ipv4());
        let has_v6 = ours.public.iter().any(|ip| ip.is_ipv6() && is_global(*ip));
        if has_v4 || !has_v6 { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() }
    }

    pub(super) fn on_opened(&mut self, now: Instant, socket: SocketId, local: SocketAddr) {
        let Some(own) = self.sockets.get_mut(&socket) else { return };
        own.local = Some(local);
        if own.series {
            if let Some(running) = &mut self.running {
                running.on_socket(socket);
            }
        } else if matches!(self.phase, Phase::Preparing { socket: Some(awaited), .. } if awaited == socket) {
            self.fresh = Some((socket, None));
            if self.keeps_first_port() {
                self.on_no_port(now, Some(socket));
            } else {
                self.events.push_back(Event::WantPort { socket });
            }
        }
    }

    pub(super) fn on_no_socket(&mut self, now: Instant, socket: SocketId) {
        let was_for_series = self.sockets.remove(&socket).is_some_and(|own| own.series);
        match self.phase {
            Phase::Preparing { socket: Some(awaited), .. } if awaited == socket => self.on_prepared(now),
            _ if was_for_series || self.running.is_some() => {
                if let Some(running) = &mut self.running {
                    running.on_no_socket();
                }
            }
            _ => {}
        }
    }

    /// The socket from which others of a family are probed.
    pub(super) fn base(&self, v4: bool) -> Option<SocketId> {
        let fresh = self.fresh.map(|(socket, _)| socket).filter(|socket| {
            self.sockets.get(socket).and_then(|own| own.local).is_some_and(|local| local.is_ipv4() == v4)
        });
        let first =
            || self.config.ours.sockets.iter().find(|(_, local)| local.is_ipv4() == v4).map(|(socket, _)| *socket);
        fresh.or_else(first)
    }

    pub(super) fn local_port(&self, socket: SocketId) -> Option<u16> {
        let given = self.config.ours.sockets.iter().find(|(own, _)| *own == socket).map(|(_, local)| *local);
        given.or_else(|| self.sockets.get(&socket)?.local).map(|local| local.port())
    }

    pub(super) fn is_own_ip(&self, ip: IpAddr) -> bool {
        self.config.ours.interfaces.iter().any(|interface| interface.address == ip)
    }

    pub(super) fn is_ours(&self, socket: SocketId) -> bool {
        self.sockets.contains_key(&socket) || self.config.ours.sockets.iter().any(|(own, _)| *own == socket)
    }

    /// Closes those of the punch's own sockets that `which` names.
    pub(super) fn close_sockets(&mut self, which: impl Fn(SocketId) -> bool) {
        let closing: Vec<SocketId> = self.sockets.keys().copied().filter(|socket| which(*socket)).collect();
        for socket in closing {
            self.sockets.remove(&socket);
            // What was not asked for yet need not be.
            let before = self.requests.len();
            self.requests
                .retain(|request| !matches!(request, SocketRequest::Open { socket: asked, .. } if *asked == socket));
            if self.requests.len() == before {
                self.requests.push_back(SocketRequest::Close(socket));
            }
        }
    }
}
