//! The one shape of whatever moves packets.
//!
//! [`mrt::Endpoint`](crate::mrt::Endpoint) and [`node::Node`](crate::node::Node) are values: no socket, clock, thread, file or
//! global randomness. Whoever runs one, the [`driver`](crate::driver) on a real socket or a simulator in virtual time, keeps one
//! sentence: **after any call, drain the polls, then wait for a datagram or for `poll_timeout`, whichever is first.**
//!
//! ```
//! use anjer::machine::Machine;
//! use anjer::time::Instant;
//!
//! fn drain(machine: &mut impl Machine, now: Instant, mut send: impl FnMut(&[u8])) -> Option<Instant> {
//!     let mut buffer = Vec::new();
//!     while let Some(transmit) = machine.poll_transmit(now, &mut buffer) {
//!         for datagram in buffer.chunks(transmit.segment_size) {
//!             send(datagram);
//!         }
//!         buffer.clear();
//!     }
//!     machine.poll_timeout()
//! }
//! ```

use crate::time::Instant;
use std::net::SocketAddr;

/// The largest number of datagrams one [`Transmit`] holds (the kernel's limit for UDP segmentation offload).
pub const MAX_SEGMENTS: usize = 64;

/// The largest number of bytes one [`Transmit`] holds: what fits an IPv4 datagram's length field with its headers.
pub const MAX_TRANSMIT_BYTES: usize = 65_507;

/// The two ECN bits of the IP header (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ecn {
    /// The sender does not take part, or the system did not say.
    #[default]
    NotCapable,
    /// ECT(1)
    Capable1,
    /// ECT(0)
    Capable0,
    /// A router on the way was congested.
    CongestionExperienced,
}

/// Names one of a machine's own UDP sockets. A number is never used for a second socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SocketId(pub u32);

impl SocketId {
    /// The one that is there from the start.
    pub const MAIN: Self = Self(0);
}

/// What a machine wants done with its sockets. The main one is never closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketRequest {
    /// One more, answered by [`SocketReport::Opened`] or [`SocketReport::Failed`].
    Open {
        /// Its name from here on.
        socket: SocketId,
        /// Where to bind. An unspecified address stands for that of the main socket, or for all of its family if the main one is
        /// of the other family; port 0 lets the system choose.
        bind: SocketAddr,
    },
    /// It is needed no longer. What is still to be sent from it is dropped.
    Close(SocketId),
}

/// What became of a [`SocketRequest::Open`], or of an open socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketReport {
    /// It is there.
    Opened {
        /// Which.
        socket: SocketId,
        /// Its own address.
        local: SocketAddr,
    },
    /// It could not be opened, or is gone: the system has none left, or not of that family.
    Failed(SocketId),
}

/// One datagram that arrived. Its contents are opened in place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// On which of our sockets.
    pub socket: SocketId,
    /// Where it came from.
    pub from: SocketAddr,
    /// Its ECN bits.
    pub ecn: Ecn,
    /// The UDP payload.
    pub contents: &'a mut [u8],
}

/// Datagrams to send, all to one address: the bytes that `poll_transmit` appended to the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From which of our sockets. If it is closed, nothing is sent.
    pub socket: SocketId,
    /// Where to.
    pub to: SocketAddr,
    /// The ECN bits to set.
    pub ecn: Ecn,
    /// Bytes of every datagram but the last, which may be shorter. Never 0.
    pub segment_size: usize,
}

/// A protocol machine: told what arrived and what time it is, asked what to send and when to wake.
pub trait Machine {
    /// A datagram arrived.
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>);

    /// The system says that nobody listens at `to` (ICMP). A hint only: anyone could have sent it.
    fn handle_unreachable(&mut self, now: Instant, to: SocketAddr);

    /// The same, about a datagram that left from `socket`. Unless a machine says otherwise it hears only of its main socket: a
    /// guess sent from another one that hit a closed port says nothing about a path that works.
    fn handle_socket_unreachable(&mut self, now: Instant, socket: SocketId, to: SocketAddr) {
        if socket == SocketId::MAIN {
            self.handle_unreachable(now, to);
        }
    }

    /// The time last returned by [`poll_timeout`](Self::poll_timeout) has come. Harmless when called early.
    fn handle_timeout(&mut self, now: Instant);

    /// Appends what is to be sent next to `buffer`, which is empty: at most [`MAX_SEGMENTS`] datagrams and
    /// [`MAX_TRANSMIT_BYTES`] bytes.
    fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Transmit>;

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    fn poll_timeout(&self) -> Option<Instant>;

    /// What to do with sockets next. To be drained like the other polls.
    fn poll_socket(&mut self) -> Option<SocketRequest> {
        None
    }

    /// What became of a request.
    fn handle_socket(&mut self, _now: Instant, _report: SocketReport) {}
}
