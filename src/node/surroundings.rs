//! What the node is told about the network around it, and asks of it.

use super::api::Event;
use super::node::Node;
use super::paths::Home;
use crate::driver::surroundings::{Interfaces, Surroundings, SurroundingsRequest};
use crate::machine::{SocketId, SocketReport, SocketRequest};
use crate::mrt::Route;
use crate::time::Instant;
use std::net::SocketAddr;

impl Node {
    /// The addresses this machine has, as far as anybody told.
    pub const fn interfaces(&self) -> &Interfaces {
        self.around.interfaces()
    }

    /// Something about the network around us.
    pub fn handle_surroundings(&mut self, now: Instant, surroundings: Surroundings) {
        match surroundings {
            Surroundings::Interfaces(interfaces) => {
                for bind in self.around.on_interfaces(interfaces) {
                    self.open_home(bind);
                }
                self.publish_record(now);
            }
            Surroundings::NetworkChanged => {
                tracing::info!("the network changed: every path is checked");
                self.endpoint.check_paths(now);
                self.restart_discovery(now);
            }
            Surroundings::Woke { slept } => {
                tracing::info!(?slept, "awake again: every path is checked");
                self.endpoint.check_paths(now);
            }
            Surroundings::Resolved { name, addresses } => self.on_resolved(now, &name, &addresses),
            Surroundings::Mapped { external, by, .. } => {
                tracing::info!(%external, ?by, "the gateway passes our port");
                self.around.external = Some(external);
                self.publish_record(now);
            }
            Surroundings::MappingLost => {
                self.around.external = None;
                self.publish_record(now);
            }
            Surroundings::Neighbour(neighbour) => self.around.on_neighbour(neighbour),
            Surroundings::NeighbourGone { name } => self.around.on_neighbour_gone(&name),
        }
        self.settle(now);
    }

    /// What we want to know of it, or have done.
    pub fn poll_request(&mut self) -> Option<SurroundingsRequest> {
        self.around.poll_request()
    }

    /// One more place to listen at, for a family of addresses.
    fn open_home(&mut self, bind: SocketAddr) {
        let socket = self.sockets.one();
        self.socket_requests.push_back(SocketRequest::Open { socket, bind });
    }

    /// A socket that we listen at is there, or is not to be had.
    pub(super) fn on_home(&mut self, now: Instant, report: SocketReport) {
        match report {
            SocketReport::Opened { socket, local } => {
                let old = self.around.homes.of(local.ip());
                self.around.homes.set(Home { socket, local });
                self.links.set_homes(self.around.homes);
                self.publish_record(now);
                if let Some(old) = old {
                    self.move_home(now, old.socket, socket);
                }
            }
            SocketReport::Failed(socket) => {
                tracing::warn!(?socket, "no socket for an address of this machine");
            }
        }
    }

    /// Our address is another one: every connection goes on from the new socket, if the other side answers there.
    fn move_home(&mut self, now: Instant, old: SocketId, new: SocketId) {
        for (_, connection) in self.links.linked().collect::<Vec<_>>() {
            for path in self.endpoint.paths(now, connection) {
                if let Route::Udp { socket, remote } = path.route
                    && socket == old
                    && let Err(error) = self.endpoint.add_path(now, connection, Route::Udp { socket: new, remote })
                {
                    tracing::debug!(%error, "a path was not moved to the new address");
                }
            }
        }
        self.endpoint.check_paths(now);
        // What the world saw of the old address is nobody's business any more.
        (self.public, self.nat_told) = (None, None);
        self.told.push(Event::Address { public: None, nat: None });
        self.publish_record(now);
        self.restart_discovery(now);
    }
}
