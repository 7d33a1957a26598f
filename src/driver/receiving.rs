//! Where arriving datagrams are put: one set of buffers, whatever the number of sockets.

use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use smallvec::SmallVec;
use std::io::{self, IoSliceMut};

/// Bytes of one buffer: what the kernel merges into one is a UDP datagram's length at most.
const BUFFER: usize = 65_536;

/// What one call of [`Socket::receive`](super::Socket::receive) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Payload of all datagrams together.
    pub bytes: usize,
    /// Whether more may wait.
    pub more: bool,
}

/// The buffers that one system call fills, allocated once: 1 MiB.
#[derive(Debug)]
pub struct Receiving {
    buffers: Vec<Box<[u8]>>,
    metas: [RecvMeta; Self::BATCH],
}

impl Default for Receiving {
    fn default() -> Self {
        Self {
            buffers: (0..Self::BATCH).map(|_| vec![0; BUFFER].into_boxed_slice()).collect(),
            metas: [RecvMeta::default(); Self::BATCH],
        }
    }
}

impl Receiving {
    /// Buffers filled by one system call. Each may hold 64 datagrams (GRO).
    pub(super) const BATCH: usize = 16;

    /// Fills the buffers from that socket. Returns how many.
    pub(super) fn fill(&mut self, state: &UdpSocketState, socket: UdpSockRef<'_>) -> io::Result<usize> {
        let mut slices: SmallVec<[IoSliceMut<'_>; Self::BATCH]> =
            self.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        state.recv(socket, &mut slices, &mut self.metas)
    }

    /// The first `count` buffers, each as far as it was filled.
    pub(super) fn filled(&mut self, count: usize) -> impl Iterator<Item = (&RecvMeta, &mut [u8])> {
        let buffers = self.metas.iter().zip(&mut self.buffers).take(count);
        buffers.filter_map(|(meta, buffer)| Some((meta, buffer.get_mut(..meta.len)?)))
    }
}
