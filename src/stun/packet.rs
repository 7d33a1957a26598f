//! A datagram that is to be sent.

use crate::machine::SocketId;
use std::net::SocketAddr;

/// One datagram, from which of our sockets and where to. Small: [`MAX_LEN`](super::message::MAX_LEN) bytes at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// From which of our sockets.
    pub socket: SocketId,
    /// Where to.
    pub to: SocketAddr,
    /// The UDP payload.
    pub bytes: Vec<u8>,
}
