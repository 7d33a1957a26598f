//! All sockets of a machine: the main one, and those it asks for.
//!
//! **Fair.** A turn serves the main socket first, then the others in the order in which they became readable, each a batch, until
//! the turn's share of sockets or bytes is used up; the rest keep their places.
//!
//! **Blocked.** When the system's buffer for an extra socket is full, what was to be sent waits aside ([`MAX_HELD`]), and the others
//! go on. The main socket carries most of what a machine sends: when it is blocked the machine is asked for nothing more, so that
//! what waits stays where credit and pacing can see it.

use super::receiving::{Received, Receiving};
use super::socket::{Outcome, Socket, bind};
use crate::machine::{Datagram, SocketId, SocketReport, Transmit};
use mio::event::Event;
use mio::{Interest, Registry, Token};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Sockets beside the main one, at most: 256 for a birthday spray, and some for other pairs.
pub(super) const MAX_EXTRA: usize = 320;

/// Extra sockets that may have kernel buffers as large as the main one's, at most: those that proved to be busy. Kernel memory is
/// then bounded by these, and by the system's default (208 KiB on Linux) for each of the others.
pub(super) const MAX_LARGE: usize = 8;

/// Bytes that wait because an extra socket is blocked, at most, for all of them. What is more is lost like a packet on the way.
pub(super) const MAX_HELD: usize = 1 << 20;

/// Batches of the main socket a turn, at most: acknowledgements are not late, and sending is not kept waiting.
const MAIN_BATCHES_A_TURN: usize = 2;

/// Batches of extra sockets a turn, at most. Most hold one small datagram: 32 system calls are some 30 µs.
const EXTRA_BATCHES_A_TURN: usize = 32;

/// Bytes from extra sockets a turn after which no other batch begins: as much as a batch of the main socket may be.
const EXTRA_BYTES_A_TURN: usize = 1 << 20;

/// The main socket's token. An extra one's is its number and one more, since 1 is the waker's.
pub(super) const MAIN_TOKEN: Token = Token(0);

/// What is left of a turn's share of receiving.
#[derive(Debug)]
pub(super) struct Share {
    main: usize,
    extra: usize,
    extra_bytes: usize,
}

impl Default for Share {
    fn default() -> Self {
        Self { main: MAIN_BATCHES_A_TURN, extra: EXTRA_BATCHES_A_TURN, extra_bytes: EXTRA_BYTES_A_TURN }
    }
}

/// The sockets of one machine.
#[derive(Debug)]
pub(super) struct Sockets {
    main: Socket,
    /// The main one has not yet said that nothing is left (readiness is told once, when it changes).
    main_is_readable: bool,
    extra: BTreeMap<SocketId, Extra>,
    /// Extra sockets with something to receive, each once. Some may be closed.
    queue: VecDeque<SocketId>,
    receiving: Receiving,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Extra sockets with large kernel buffers.
    large: usize,
    /// Datagrams that were not sent, since their socket is closed or was blocked for too long.
    dropped: u64,
}

#[derive(Debug)]
struct Extra {
    socket: Socket,
    is_queued: bool,
    is_blocked: bool,
    /// The system is to tell when it can be written to.
    is_watched: bool,
    is_large: bool,
}

/// What waits for a blocked socket.
#[derive(Debug)]
struct Held {
    transmit: Transmit,
    contents: Vec<u8>,
}

impl Sockets {
    /// Registers the main one.
    pub(super) fn new(mut main: Socket, registry: &Registry) -> io::Result<Self> {
        registry.register(&mut main, MAIN_TOKEN, Interest::READABLE)?;
        Ok(Self {
            main,
            main_is_readable: true,
            extra: BTreeMap::new(),
            queue: VecDeque::new(),
            receiving: Receiving::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            large: 0,
            dropped: 0,
        })
    }

    /// Opens one more. Asking twice for the same one tells of the one that is there.
    pub(super) fn open(&mut self, registry: &Registry, socket: SocketId, wanted: SocketAddr) -> SocketReport {
        match self.try_open(registry, socket, wanted) {
            Ok(local) => SocketReport::Opened { socket, local },
            Err(error) => {
                tracing::debug!(?socket, %wanted, %error, "socket not opened");
                SocketReport::Failed(socket)
            }
        }
    }

    fn try_open(&mut self, registry: &Registry, name: SocketId, wanted: SocketAddr) -> io::Result<SocketAddr> {
        let main = self.main.local_addr();
        if name == SocketId::MAIN {
            return Ok(main);
        }
        if let Some(extra) = self.extra.get(&name) {
            return Ok(extra.socket.local_addr());
        }
        if self.extra.len() >= MAX_EXTRA {
            return Err(io::Error::other("as many as there may be"));
        }
        let token = token_of(name).ok_or(ErrorKind::InvalidInput)?;
        let mut socket = Socket::with_default_buffers(bind(meant(wanted, main))?)?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        let local = socket.local_addr();
        // Something may have arrived before it was registered.
        self.queue.push_back(name);
        self.extra
            .insert(name, Extra { socket, is_queued: true, is_blocked: false, is_watched: false, is_large: false });
        Ok(local)
    }

    /// Closes an extra one. What waited for it is dropped.
    pub(super) fn close(&mut self, registry: &Registry, name: SocketId) {
        let Some(mut extra) = self.extra.remove(&name) else { return };
        // Closing it does the same, unless somebody holds a copy.
        let _ = registry.deregister(&mut extra.socket);
        self.large -= usize::from(extra.is_large);
        self.queue.retain(|queued| *queued != name);
        let mut dropped = 0;
        self.held.retain(|held| {
            let stays = held.transmit.socket != name;
            dropped += if stays { 0 } else { held.contents.len() };
            stays
        });
        self.held_bytes -= dropped;
    }

    /// The next one to receive from, as far as this turn's share goes.
    pub(super) fn next_readable(&mut self, share: &mut Share) -> Option<SocketId> {
        if self.main_is_readable
            && let Some(left) = share.main.checked_sub(1)
        {
            share.main = left;
            return Some(SocketId::MAIN);
        }
        if share.extra_bytes == 0 {
            return None;
        }
        let left = share.extra.checked_sub(1)?;
        let name = self.queue.pop_front()?;
        share.extra = left;
        Some(name)
    }

    /// Whether [`next_readable`](Self::next_readable) would go on with another turn's share.
    pub(super) fn has_readable(&self) -> bool {
        self.main_is_readable || !self.queue.is_empty()
    }

    /// Receives a batch from `name`, and gives every datagram to `each`. An error says that it is to be tried again later: the
    /// socket keeps a place in the queue.
    pub(super) fn receive(
        &mut self,
        name: SocketId,
        share: &mut Share,
        each: impl FnMut(Datagram<'_>),
    ) -> io::Result<()> {
        if name == SocketId::MAIN {
            let (received, result) = judge(self.main.receive(name, &mut self.receiving, each));
            self.main_is_readable = received.is_none_or(|received| received.more);
            return result;
        }
        let Some(extra) = self.extra.get_mut(&name) else { return Ok(()) };
        let (received, result) = judge(extra.socket.receive(name, &mut self.receiving, each));
        extra.is_queued = received.is_none_or(|received| received.more);
        if extra.is_queued {
            self.queue.push_back(name);
        }
        if let Some(received) = received {
            share.extra_bytes = share.extra_bytes.saturating_sub(received.bytes);
            if received.more && !extra.is_large && self.large < MAX_LARGE {
                extra.socket.enlarge_buffers();
                extra.is_large = true;
                self.large += 1;
            }
        }
        result
    }

    /// The next address that the system reports as unreachable, and from which socket.
    pub(super) fn take_unreachable(&mut self) -> Option<(SocketId, SocketAddr)> {
        let main = self.main.take_unreachable().map(|to| (SocketId::MAIN, to));
        main.or_else(|| self.extra.iter_mut().find_map(|(name, extra)| Some((*name, extra.socket.take_unreachable()?))))
    }

    /// Sends from the socket that `transmit` names. Only the main one is ever blocked to the caller.
    pub(super) fn send(&mut self, registry: &Registry, transmit: &Transmit, contents: &[u8]) -> Outcome {
        if transmit.socket == SocketId::MAIN {
            return self.main.send(transmit, contents);
        }
        let Some(extra) = self.extra.get_mut(&transmit.socket) else {
            self.drop_datagrams(transmit, contents);
            return Outcome::Sent;
        };
        let sent = if extra.is_blocked {
            0
        } else {
            match extra.socket.send(transmit, contents) {
                Outcome::Sent => return Outcome::Sent,
                Outcome::Blocked { sent } => sent,
            }
        };
        extra.is_blocked = true;
        extra.watch(registry, transmit.socket);
        let rest = contents.get(sent..).unwrap_or_default();
        if self.held_bytes + rest.len() > MAX_HELD {
            self.drop_datagrams(transmit, rest);
        } else {
            self.held_bytes += rest.len();
            self.held.push_back(Held { transmit: *transmit, contents: rest.to_vec() });
        }
        Outcome::Sent
    }

    fn drop_datagrams(&mut self, transmit: &Transmit, contents: &[u8]) {
        let count = contents.len().div_ceil(transmit.segment_size.max(1));
        self.dropped += u64::try_from(count).unwrap_or(u64::MAX);
        tracing::trace!(socket = ?transmit.socket, count, dropped = self.dropped, "dropped");
    }

    /// Tries again to send what waits. Returns whether something still does.
    pub(super) fn send_held(&mut self, registry: &Registry) -> bool {
        // Each socket is tried once, with its oldest first; whoever is blocked again keeps the order of what it has.
        for extra in self.extra.values_mut() {
            extra.is_blocked = false;
        }
        let mut still = VecDeque::new();
        for mut held in std::mem::take(&mut self.held) {
            let Some(extra) = self.extra.get_mut(&held.transmit.socket) else { continue };
            if !extra.is_blocked {
                match extra.socket.send(&held.transmit, &held.contents) {
                    Outcome::Sent => {
                        self.held_bytes -= held.contents.len();
                        continue;
                    }
                    Outcome::Blocked { sent } => {
                        self.held_bytes -= sent;
                        held.contents.drain(..sent);
                        extra.is_blocked = true;
                    }
                }
            }
            still.push_back(held);
        }
        self.held = still;
        for (name, extra) in &mut self.extra {
            extra.watch(registry, *name);
        }
        !self.held.is_empty()
    }

    /// Whether something waits for an extra socket.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Something happened to one of them.
    pub(super) fn handle_event(&mut self, event: &Event) {
        let is_readable = event.is_readable() || event.is_error();
        if event.token() == MAIN_TOKEN {
            self.main_is_readable |= is_readable;
            if event.is_error() {
                self.main.collect_unreachable();
            }
            return;
        }
        let Some(name) = name_of(event.token()) else { return };
        let Some(extra) = self.extra.get_mut(&name) else { return };
        if is_readable && !extra.is_queued {
            extra.is_queued = true;
            self.queue.push_back(name);
        }
        if event.is_error() {
            extra.socket.collect_unreachable();
        }
    }

    /// Whether the main one tells when it can be written to. Watched only while something cannot be sent: the system tells it for
    /// every datagram that leaves.
    pub(super) fn watch_main(&mut self, registry: &Registry, writable: bool) {
        watch(registry, &mut self.main, MAIN_TOKEN, writable);
    }
}

impl Extra {
    /// Whoever is blocked is watched for room.
    fn watch(&mut self, registry: &Registry, name: SocketId) {
        if self.is_watched != self.is_blocked
            && let Some(token) = token_of(name)
        {
            self.is_watched = self.is_blocked;
            watch(registry, &mut self.socket, token, self.is_blocked);
        }
    }
}

fn watch(registry: &Registry, socket: &mut Socket, token: Token, writable: bool) {
    let interests = if writable { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
    if let Err(error) = registry.reregister(socket, token, interests) {
        tracing::error!(%error, "watching a socket");
    }
}

/// `None`: try again.
fn judge(received: io::Result<Received>) -> (Option<Received>, io::Result<()>) {
    match received {
        Ok(received) => (Some(received), Ok(())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => (Some(Received { bytes: 0, more: false }), Ok(())),
        Err(error) => (None, Err(error)),
    }
}

/// The address that a request means: an unspecified one stands for the main socket's, where that is of the same family.
fn meant(wanted: SocketAddr, main: SocketAddr) -> SocketAddr {
    let is_open = wanted.ip().is_unspecified();
    match (wanted, main) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) if is_open => SocketAddr::new(main.ip(), wanted.port()),
        // With its scope: the main one's may be a link-local address.
        (SocketAddr::V6(_), SocketAddr::V6(mut main)) if is_open => {
            main.set_port(wanted.port());
            main.into()
        }
        (SocketAddr::V4(_), _) if is_open => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), wanted.port()),
        (SocketAddr::V6(_), _) if is_open => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), wanted.port()),
        _ => wanted,
    }
}

/// A token for each socket, apart from the main one's and the waker's.
fn token_of(name: SocketId) -> Option<Token> {
    usize::try_from(name.0).ok()?.checked_add(1).map(Token)
}

fn name_of(token: Token) -> Option<SocketId> {
    u32::try_from(token.0.checked_sub(1)?).ok().map(SocketId)
}

#[cfg(test)]
mod tests;
