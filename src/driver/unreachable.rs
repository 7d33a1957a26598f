//! What ICMP says about addresses we sent to: Linux's error queue (ip(7), `IP_RECVERR`).

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Reports that wait to be taken, at most; more of them are forgotten. They are hints, and anyone on the way can forge them.
pub(super) const MAX_REPORTS: usize = 64;

/// Reads the system's error queue and keeps the destinations it names.
///
/// The queue must be emptied, or the pending error is given to the next unrelated `send` or `receive`.
#[derive(Debug, Default)]
pub(super) struct Unreachable {
    reports: VecDeque<SocketAddr>,
}

impl Unreachable {
    /// The next address that was reported.
    pub(super) fn take(&mut self) -> Option<SocketAddr> {
        self.reports.pop_front()
    }

    /// Empties the system's queue, as far as one turn may. `not` is an address that a local error (datagram too large) was just
    /// queued for, which is no report about the other side.
    ///
    /// `quinn-udp` reads the same queue but tells only who sent the ICMP message (a router, or the host without the port). The
    /// address that the lost datagram was for is the name that `recvfrom` gives.
    #[cfg(target_os = "linux")]
    pub(super) fn collect(&mut self, socket: &mio::net::UdpSocket, not: Option<SocketAddr>) {
        /// `MSG_ERRQUEUE` of `linux/socket.h`, the same on every architecture.
        const ERROR_QUEUE: i32 = 0x2000;
        let socket = socket2::SockRef::from(socket);
        for _ in 0..MAX_REPORTS {
            // The payload is the beginning of the datagram that was lost: not needed.
            let Ok((_, name)) = socket.recv_from_with_flags(&mut [], ERROR_QUEUE) else { break };
            // Local errors on an unconnected IPv4 socket have port 0.
            if let Some(to) = name.as_socket()
                && to.port() != 0
                && Some(to) != not
                && self.reports.len() < MAX_REPORTS
                && !self.reports.contains(&to)
            {
                self.reports.push_back(to);
            }
        }
    }

    /// Other systems tell nothing about unconnected sockets.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn collect(&mut self, _socket: &mio::net::UdpSocket, _not: Option<SocketAddr>) {}
}
