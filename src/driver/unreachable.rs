//! What ICMP says about addresses we sent to: Linux's error queue (ip(7), `IP_RECVERR`).

use std::collections::VecDeque;
use std::net::SocketAddr;

/// Reports that wait to be taken, at most; more of them are forgotten. They are hints, and anyone on the way can forge them.
pub(super) const MAX_REPORTS: usize = 64;

/// Reads the system's error queue and keeps the destinations of which it says that nobody is there. Too large a datagram, a time to
/// live that ran out, and whatever else ICMP can say are not about that.
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

    /// Empties the system's queue, as far as one turn may.
    ///
    /// `quinn-udp` reads the same queue but tells only who sent the ICMP message (a router, or the host without the port). The
    /// address that the lost datagram was for is the name that `recvmsg` gives.
    #[cfg(target_os = "linux")]
    pub(super) fn collect(&mut self, socket: &mio::net::UdpSocket) {
        use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
        use std::os::fd::AsRawFd;
        /// Room for the report, who sent it, and what else the socket asked to be told: 120 bytes.
        const CONTROL: usize = 256;
        for _ in 0..MAX_REPORTS {
            let mut control = [0; CONTROL];
            // The payload is the beginning of the datagram that was lost: not needed.
            let read = recvmsg::<SockaddrStorage>(
                socket.as_raw_fd(),
                &mut [],
                Some(&mut control),
                MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
            );
            let Ok(message) = read else { break };
            let says_so = message.cmsgs().is_ok_and(|mut parts| {
                parts.any(|part| match part {
                    ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                        nobody_is_there(error.ee_origin, error.ee_type, error.ee_code)
                    }
                    _ => false,
                })
            });
            if says_so
                && let Some(to) = message.address.as_ref().and_then(address)
                && to.port() != 0
                && self.reports.len() < MAX_REPORTS
                && !self.reports.contains(&to)
            {
                self.reports.push_back(to);
            }
        }
    }

    /// Other systems tell nothing about unconnected sockets.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn collect(&mut self, _socket: &mio::net::UdpSocket) {}
}

#[cfg(target_os = "linux")]
fn address(name: &nix::sys::socket::SockaddrStorage) -> Option<SocketAddr> {
    let v4 = name.as_sockaddr_in().map(|name| SocketAddr::V4((*name).into()));
    v4.or_else(|| name.as_sockaddr_in6().map(|name| SocketAddr::V6((*name).into())))
}

/// Whether a report of that origin (`linux/errqueue.h`), type and code is about a port, a host or a network that is not there, or
/// that somebody closed. Not: protocol unreachable, fragmentation needed, source route failed, and the other types.
#[cfg(target_os = "linux")]
const fn nobody_is_there(origin: u8, kind: u8, code: u8) -> bool {
    const ICMP: u8 = 2;
    const ICMPV6: u8 = 3;
    match (origin, kind) {
        // RFC 792 and RFC 1812 §5.2.7.1: net, host, port; unknown; prohibited.
        (ICMP, 3) => matches!(code, 0 | 1 | 3 | 6 | 7 | 9 | 10 | 13),
        // RFC 4443 §3.1: no route, prohibited, address, port, policy, rejected.
        (ICMPV6, 1) => matches!(code, 0 | 1 | 3..=6),
        _ => false,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_a_destination_that_is_not_there_is_unreachable() {
        let (local, icmp, icmpv6) = (1, 2, 3);
        for (code, expected) in [(0, true), (1, true), (2, false), (3, true), (4, false), (5, false), (13, true)] {
            assert_eq!(nobody_is_there(icmp, 3, code), expected, "ICMP 3/{code}");
        }
        for (code, expected) in [(0, true), (2, false), (3, true), (4, true)] {
            assert_eq!(nobody_is_there(icmpv6, 1, code), expected, "ICMPv6 1/{code}");
        }
        // Time exceeded, parameter problem, source quench, packet too big, and the system's own "message too long".
        for (origin, kind) in [(icmp, 11), (icmp, 12), (icmp, 4), (icmpv6, 2), (icmpv6, 3), (local, 0), (local, 3)] {
            assert!((0..=255).all(|code| !nobody_is_there(origin, kind, code)), "{origin} {kind}");
        }
    }
}
