//! A UDP socket: batches, segmentation offload, ECN, and errors that end nothing.

use super::receiving::{Received, Receiving};
use super::unreachable::Unreachable;
use crate::machine::{Datagram, Ecn, MAX_SEGMENTS, SocketId, Transmit};
use mio::event::Source;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{EcnCodepoint, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

/// Kernel buffer asked for in each direction, in bytes: 13 ms of a 2.5 Gbit/s link, which is longer than a turn of the loop or a
/// moment without a core takes. The system may give less.
const KERNEL_BUFFER: usize = 4 << 20;

/// What became of a [`Transmit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It left, or is lost like a packet on the way: the protocol above repairs both alike.
    Sent,
    /// The system's buffer is full. The bytes before `sent` left; try the rest when the socket is writable.
    Blocked {
        /// A multiple of the segment size.
        sent: usize,
    },
}

/// What the system gave of the kernel buffers we asked for, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// For arriving datagrams.
    pub receive: usize,
    /// For leaving ones.
    pub send: usize,
}

/// A UDP socket. Non-blocking; nothing else may read it.
#[derive(Debug)]
pub struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    buffers: Buffers,
    /// Datagrams that one system call may send; 1 once segmentation offload proved not to work.
    segments: usize,
    unreachable: Unreachable,
    /// Datagrams that the system refused to send.
    refused: u64,
}

impl Socket {
    /// Binds to `addr`. Port 0 lets the system choose. An IPv6 socket carries IPv6 only.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::from_std(bind(addr)?)
    }

    /// Takes over a bound socket, and asks for kernel buffers that suit a fast path.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        let mut socket = Self::with_default_buffers(socket)?;
        socket.enlarge_buffers();
        tracing::debug!(
            local = %socket.local, buffers = ?socket.buffers, segments = socket.segments, gro = socket.state.gro_segments(),
            "socket bound"
        );
        Ok(socket)
    }

    /// Takes over a bound socket with the kernel buffers that it has.
    pub(super) fn with_default_buffers(socket: std::net::UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let state = new_state(&socket)?;
        if let Err(error) = state.enable_transport_errors(UdpSockRef::from(&socket)) {
            tracing::debug!(%error, "no ICMP reports on this socket");
        }
        let segments = state.max_gso_segments();
        let buffers = buffers_of(&socket2::SockRef::from(&socket));
        let io = UdpSocket::from_std(socket);
        Ok(Self { io, state, local, buffers, segments, unreachable: Unreachable::default(), refused: 0 })
    }

    /// As much as we are given: too little costs packets on bursts, never the connection.
    pub(super) fn enlarge_buffers(&mut self) {
        let plain = socket2::SockRef::from(&self.io);
        let _ = plain.set_recv_buffer_size(KERNEL_BUFFER);
        let _ = plain.set_send_buffer_size(KERNEL_BUFFER);
        self.buffers = buffers_of(&plain);
    }

    /// The address it is bound to.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The kernel buffers it has.
    pub const fn buffers(&self) -> Buffers {
        self.buffers
    }

    /// Datagrams that the system refused to send, since the start.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Receives one batch and gives every datagram to `each`, as one that came to `name`. An error of kind
    /// [`WouldBlock`](ErrorKind::WouldBlock) says that nothing was there.
    pub fn receive(
        &mut self,
        name: SocketId,
        receiving: &mut Receiving,
        mut each: impl FnMut(Datagram<'_>),
    ) -> io::Result<Received> {
        let result = receiving.fill(&self.state, UdpSockRef::from(&self.io));
        if let Err(error) = &result
            && error.kind() != ErrorKind::WouldBlock
        {
            // Most likely a report about something we sent.
            self.unreachable.collect(&self.io);
        }
        let count = result?;
        let mut bytes = 0;
        for (meta, filled) in receiving.filled(count) {
            // Nobody can be answered at port 0.
            if meta.addr.port() == 0 {
                continue;
            }
            bytes += filled.len();
            let ecn = from_codepoint(meta.ecn);
            for contents in filled.chunks_mut(meta.stride.max(1)) {
                each(Datagram { socket: name, from: meta.addr, ecn, contents });
            }
        }
        Ok(Received { bytes, more: count == Receiving::BATCH })
    }

    /// Sends `contents` as `transmit` says.
    pub fn send(&mut self, transmit: &Transmit, contents: &[u8]) -> Outcome {
        if transmit.segment_size == 0 || !is_sendable(self.local, transmit.to) {
            self.refused += 1;
            return Outcome::Sent;
        }
        let mut sent = 0;
        // Set when a batch was refused and its datagrams are tried one by one.
        let mut doubted = None;
        let mut retried = false;
        while let Some(rest) = contents.get(sent..).filter(|rest| !rest.is_empty()) {
            let most = transmit.segment_size.saturating_mul(self.segments.min(MAX_SEGMENTS));
            let (batch, _) = rest.split_at(most.min(rest.len()));
            let result = self.state.try_send(
                UdpSockRef::from(&self.io),
                &quinn_udp::Transmit {
                    destination: transmit.to,
                    ecn: to_codepoint(transmit.ecn),
                    contents: batch,
                    segment_size: Some(transmit.segment_size),
                    src_ip: None,
                },
            );
            match result {
                Ok(()) => {
                    doubted = None;
                    sent += batch.len();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Blocked { sent },
                Err(error) => {
                    self.unreachable.collect(&self.io);
                    let offload_failed = self.restore_state(&error);
                    if batch.len() > transmit.segment_size && offload_failed {
                        doubted = Some(self.segments);
                        self.segments = 1;
                    } else if let (ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable, false) =
                        (error.kind(), retried)
                    {
                        // A report about an earlier datagram, perhaps to someone else: this one was not tried.
                        retried = true;
                    } else {
                        // What fails alone too is not offload's fault.
                        if let Some(segments) = doubted.take() {
                            self.segments = segments;
                            // Nor is it this datagram's: the rest has the same address, and ours may be gone.
                            if error.kind() == ErrorKind::InvalidInput {
                                let count = rest.len().div_ceil(transmit.segment_size);
                                self.refused += u64::try_from(count).unwrap_or(u64::MAX);
                                return Outcome::Sent;
                            }
                        }
                        tracing::trace!(to = %transmit.to, bytes = batch.len(), %error, "not sent");
                        self.refused += 1;
                        sent += batch.len();
                    }
                }
            }
        }
        Outcome::Sent
    }

    /// The next address that the system reports as unreachable.
    pub fn take_unreachable(&mut self) -> Option<SocketAddr> {
        self.unreachable.take()
    }

    /// Reads what the system has to report; to be called when it says that there is something.
    pub fn collect_unreachable(&mut self) {
        self.unreachable.collect(&self.io);
    }

    /// After a refusal that looks like "no offload here", `quinn-udp` stops using offload and ECN on that socket, for good. But an
    /// address that somebody made up can cause the same refusal, so its state is made anew, and [`send`](Self::send) decides
    /// itself. Returns whether the refusal was of that kind.
    fn restore_state(&mut self, error: &io::Error) -> bool {
        let gave_up = self.state.max_gso_segments() < self.segments || error.kind() == ErrorKind::InvalidInput;
        if gave_up && let Ok(state) = new_state(&self.io) {
            self.state = state;
        }
        gave_up
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.io.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.io.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.io.deregister(registry)
    }
}

/// Binds to `addr`. An IPv6 socket is for IPv6 only, whatever the system's default is: the same port is then free for IPv4, and
/// no IPv4 address arrives dressed up as an IPv6 one.
pub fn bind(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn buffers_of(socket: &socket2::SockRef<'_>) -> Buffers {
    Buffers { receive: socket.recv_buffer_size().unwrap_or(0), send: socket.send_buffer_size().unwrap_or(0) }
}

/// Sets the socket's options as `quinn-udp` needs them, but for one: 0.6.3 also asks for receive timestamps, whose control message
/// leaves no room in its buffer for the ECN bits of merged datagrams. Nothing here reads timestamps.
fn new_state<S>(socket: &S) -> io::Result<UdpSocketState>
where
    S: AsFd,
{
    let state = UdpSocketState::new(UdpSockRef::from(socket))?;
    #[cfg(target_os = "linux")]
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::ReceiveTimestampns, &false)?;
    Ok(state)
}

/// Whether a datagram from `local` can have that destination. What cannot is refused here: the system would say "invalid
/// argument", which reads like "no offload".
fn is_sendable(local: SocketAddr, to: SocketAddr) -> bool {
    let ip_fits = match (local.ip(), to.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => true,
        (IpAddr::V6(_), IpAddr::V6(ip)) => {
            !ip.is_unicast_link_local() || matches!(to, SocketAddr::V6(to) if to.scope_id() != 0)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    };
    ip_fits && to.port() != 0 && !to.ip().is_unspecified()
}

fn from_codepoint(ecn: Option<EcnCodepoint>) -> Ecn {
    match ecn {
        None => Ecn::NotCapable,
        Some(EcnCodepoint::Ect0) => Ecn::Capable0,
        Some(EcnCodepoint::Ect1) => Ecn::Capable1,
        Some(EcnCodepoint::Ce) => Ecn::CongestionExperienced,
    }
}

fn to_codepoint(ecn: Ecn) -> Option<EcnCodepoint> {
    match ecn {
        Ecn::NotCapable => None,
        Ecn::Capable0 => Some(EcnCodepoint::Ect0),
        Ecn::Capable1 => Some(EcnCodepoint::Ect1),
        Ecn::CongestionExperienced => Some(EcnCodepoint::Ce),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> Socket {
        Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    /// Waits for the system, not for a time: loopback delivers before `send` returns.
    fn receive_all(socket: &mut Socket) -> Vec<(SocketAddr, Ecn, Vec<u8>)> {
        let mut all = Vec::new();
        let mut receiving = Receiving::default();
        loop {
            let each = |datagram: Datagram<'_>| all.push((datagram.from, datagram.ecn, datagram.contents.to_vec()));
            match socket.receive(SocketId::MAIN, &mut receiving, each) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn numbered(count: u8, size: usize, last: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count).flat_map(|number| vec![number; size]).collect();
        bytes.truncate(bytes.len() - size + last);
        bytes
    }

    #[test]
    fn a_batch_arrives_as_the_datagrams_it_was_made_of() {
        let (mut alice, mut bob) = (loopback(), loopback());
        let contents = numbered(20, 1200, 7);
        let transmit =
            Transmit { socket: SocketId::MAIN, to: bob.local_addr(), ecn: Ecn::Capable0, segment_size: 1200 };
        assert_eq!(alice.send(&transmit, &contents), Outcome::Sent);
        let arrived = receive_all(&mut bob);
        assert_eq!(arrived.len(), 20);
        for (number, (from, ecn, datagram)) in arrived.iter().enumerate() {
            assert_eq!((*from, *ecn), (alice.local_addr(), Ecn::Capable0));
            assert_eq!(datagram.len(), if number == 19 { 7 } else { 1200 });
            assert!(datagram.iter().all(|byte| usize::from(*byte) == number));
        }
    }

    #[test]
    fn without_offload_the_same_datagrams_arrive() {
        let (mut alice, mut bob) = (loopback(), loopback());
        alice.segments = 1;
        let transmit =
            Transmit { socket: SocketId::MAIN, to: bob.local_addr(), ecn: Ecn::NotCapable, segment_size: 100 };
        assert_eq!(alice.send(&transmit, &numbered(5, 100, 1)), Outcome::Sent);
        let lengths: Vec<usize> = receive_all(&mut bob).iter().map(|(_, _, datagram)| datagram.len()).collect();
        assert_eq!(lengths, [100, 100, 100, 100, 1]);
    }

    /// Addresses come from others. One that the system refuses must not cost everybody else segmentation offload or ECN, which is
    /// what quinn-udp concludes from "invalid argument".
    #[test]
    fn an_address_nobody_can_send_to_costs_nothing_but_its_own_datagram() {
        let (mut alice, mut bob) = (loopback(), loopback());
        let offload = alice.segments;
        for to in ["127.0.0.1:0", "0.0.0.0:9", "[::1]:9", "[fe80::1]:9", "255.255.255.255:9", "240.0.0.1:9"] {
            let transmit =
                Transmit { socket: SocketId::MAIN, to: to.parse().unwrap(), ecn: Ecn::Capable0, segment_size: 100 };
            assert_eq!(alice.send(&transmit, &numbered(3, 100, 100)), Outcome::Sent, "{to}");
        }
        assert!(alice.refused() > 0);
        assert_eq!(alice.segments, offload);
        let transmit = Transmit { socket: SocketId::MAIN, to: bob.local_addr(), ecn: Ecn::Capable0, segment_size: 100 };
        assert_eq!(alice.send(&transmit, &numbered(3, 100, 100)), Outcome::Sent);
        let arrived = receive_all(&mut bob);
        assert_eq!(arrived.len(), 3);
        assert!(arrived.iter().all(|(_, ecn, _)| *ecn == Ecn::Capable0));
    }

    /// A probe for a larger MTU than the path's is expected to fail: it is a lost packet, and says nothing about offload.
    #[test]
    fn a_datagram_that_is_too_large_is_dropped_like_a_lost_one() {
        let (mut alice, mut bob) = (loopback(), loopback());
        let offload = alice.segments;
        let too_large = vec![1; 65_535];
        let transmit = Transmit {
            socket: SocketId::MAIN,
            to: bob.local_addr(),
            ecn: Ecn::NotCapable,
            segment_size: too_large.len(),
        };
        assert_eq!(alice.send(&transmit, &too_large), Outcome::Sent);
        assert_eq!(receive_all(&mut bob), []);
        assert_eq!((alice.segments, alice.take_unreachable()), (offload, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nobody_listening_is_reported_with_address_and_port_and_disturbs_nobody_else() {
        let (mut alice, mut bob) = (loopback(), loopback());
        let gone = loopback().local_addr();
        let datagram = Transmit { socket: SocketId::MAIN, to: gone, ecn: Ecn::NotCapable, segment_size: 1 };
        assert_eq!(alice.send(&datagram, b"?"), Outcome::Sent);
        // The report is pending on the socket: the next datagram, to someone else, leaves all the same.
        let datagram = Transmit { socket: SocketId::MAIN, to: bob.local_addr(), ecn: Ecn::NotCapable, segment_size: 5 };
        assert_eq!(alice.send(&datagram, b"hello"), Outcome::Sent);
        assert_eq!(receive_all(&mut bob).len(), 1);
        alice.collect_unreachable();
        assert_eq!(alice.take_unreachable(), Some(gone));
        assert_eq!(alice.take_unreachable(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_same_is_reported_of_ipv6() {
        let Ok(mut alice) = Socket::bind("[::1]:0".parse().unwrap()) else {
            eprintln!("SKIPPED: no IPv6 here");
            return;
        };
        let gone = Socket::bind("[::1]:0".parse().unwrap()).unwrap().local_addr();
        let datagram = Transmit { socket: SocketId::MAIN, to: gone, ecn: Ecn::NotCapable, segment_size: 1 };
        assert_eq!(alice.send(&datagram, b"?"), Outcome::Sent);
        alice.collect_unreachable();
        assert_eq!(alice.take_unreachable(), Some(gone));
    }

    #[test]
    fn the_system_is_asked_for_larger_buffers() {
        let buffers = loopback().buffers();
        assert!(buffers.receive > 0 && buffers.send > 0, "{buffers:?}");
    }
}
