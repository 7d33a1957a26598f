//! Sockets that a punch or a meeting opened: the node's for as long as a path uses them.

use crate::machine::{SocketId, SocketRequest};
use crate::mrt::{ConnectionHandle, Route};
use crate::node::node::Node;
use crate::time::{Duration, Instant};

/// A socket that a punch found a way with is kept so long for the other end to use it.
const KEPT_FOR: Duration = Duration::from_secs(15);

/// Those sockets, each kept till its time even if no path uses it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    sockets: Vec<(SocketId, Instant)>,
}

impl Kept {
    /// A socket is in use, or will be soon.
    pub(super) fn keep(&mut self, now: Instant, socket: SocketId) {
        self.sockets.push((socket, now + KEPT_FOR));
    }

    /// When [`Node::close_unused`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.sockets.iter().map(|(_, until)| *until).min()
    }

    /// Whose time is over and which nobody uses. Those in use get more time.
    fn take_unused(&mut self, now: Instant, used: &[SocketId]) -> Vec<SocketId> {
        let mut unused = Vec::new();
        for (socket, until) in &mut self.sockets {
            if now < *until {
                continue;
            }
            if used.contains(socket) {
                *until = now + KEPT_FOR;
            } else {
                unused.push(*socket);
            }
        }
        self.sockets.retain(|(_, until)| now < *until);
        unused
    }
}

impl Node {
    /// Closes the sockets of punches that no path uses.
    pub(super) fn close_unused(&mut self, now: Instant) {
        if self.punching.kept.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        let connections: Vec<ConnectionHandle> = self.links.linked().map(|(_, connection)| connection).collect();
        let routes = connections.into_iter().flat_map(|connection| self.endpoint.paths(now, connection));
        let used: Vec<SocketId> = routes
            .filter_map(|path| match path.route {
                Route::Udp { socket, .. } => Some(socket),
                Route::Relayed { .. } => None,
            })
            .collect();
        let unused = self.punching.kept.take_unused(now, &used);
        self.socket_requests.extend(unused.into_iter().map(SocketRequest::Close));
    }
}
