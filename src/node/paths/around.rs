//! The network around this node: where it listens, and what others on the machine, the LAN and the gateway say about it.

use crate::driver::surroundings::{Interfaces, Neighbour, SurroundingsRequest};
use crate::machine::SocketId;
use crate::mrt::Route;
use crate::node::identity::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// Neighbours that are remembered, at most. A LAN party fits; whoever makes up more is not heard.
const MAX_NEIGHBOURS: usize = 256;

/// Servers that are asked what they see of us, at most.
pub(in crate::node) const MAX_SERVERS: usize = 8;

/// Where we listen for one family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) struct Home {
    /// Which socket.
    pub(in crate::node) socket: SocketId,
    /// Its own address.
    pub(in crate::node) local: SocketAddr,
}

/// The two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(in crate::node) struct Homes {
    v4: Option<Home>,
    v6: Option<Home>,
}

impl Homes {
    /// Where we listen for addresses like this.
    pub(in crate::node) fn of(&self, ip: IpAddr) -> Option<Home> {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// We listen there.
    pub(in crate::node) fn set(&mut self, home: Home) {
        let place = if home.local.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        *place = Some(home);
    }

    /// A route to an address from where we listen for its like. `None`: we have no such address.
    pub(in crate::node) fn route(&self, remote: SocketAddr) -> Option<Route> {
        self.of(remote.ip()).map(|home| Route::Udp { socket: home.socket, remote })
    }

    /// Every place.
    pub(in crate::node) fn iter(&self) -> impl Iterator<Item = Home> {
        self.v4.into_iter().chain(self.v6)
    }
}

/// What is known of the network around us. All of it hints.
#[derive(Debug)]
pub(in crate::node) struct Around {
    /// All nodes are on this machine or LAN.
    is_local: bool,
    port: u16,
    interfaces: Interfaces,
    pub(in crate::node) homes: Homes,
    /// Where the gateway passes our port.
    pub(in crate::node) external: Option<SocketAddr>,
    neighbours: BTreeMap<String, Vec<SocketAddr>>,
    requests: VecDeque<SurroundingsRequest>,
}

impl Around {
    /// Nothing is known but where we listen. Unless all is local, the names of `servers` are looked up.
    pub(in crate::node) fn new(id: NodeId, local: SocketAddr, is_local: bool, servers: &[String]) -> Self {
        let mut homes = Homes::default();
        homes.set(Home { socket: SocketId::MAIN, local });
        let mut requests = VecDeque::new();
        if !is_local {
            requests.extend(servers.iter().take(MAX_SERVERS).cloned().map(SurroundingsRequest::Resolve));
        }
        if !local.ip().is_loopback() {
            requests.push_back(SurroundingsRequest::Announce {
                name: lan_name(id),
                port: local.port(),
                addresses: Vec::new(),
            });
        }
        Self {
            is_local,
            port: local.port(),
            interfaces: Interfaces::default(),
            homes,
            external: None,
            neighbours: BTreeMap::new(),
            requests,
        }
    }

    /// The addresses of this machine.
    pub(in crate::node) const fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// These are our addresses from here on. Returned is where to open sockets: for a family that we have none for, and where the
    /// one we have is bound to an address that is no longer ours.
    pub(in crate::node) fn on_interfaces(&mut self, interfaces: Interfaces) -> Vec<SocketAddr> {
        self.interfaces = interfaces;
        if self.is_local {
            return Vec::new();
        }
        let outward = [self.interfaces.outward_v4.map(IpAddr::from), self.interfaces.outward_v6.map(IpAddr::from)];
        let lacks = |ip: &IpAddr| self.homes.of(*ip).is_none_or(|home| !self.interfaces.has(home.local.ip()));
        outward.into_iter().flatten().filter(lacks).map(|ip| SocketAddr::new(ip, self.port)).collect()
    }

    /// The gateway passes our port no longer, or is to be asked for it.
    pub(in crate::node) fn want_mapping(&mut self) {
        if !self.is_local {
            self.requests.push_back(SurroundingsRequest::MapPort(self.port));
        }
    }

    /// Somebody is on the LAN.
    pub(in crate::node) fn on_neighbour(&mut self, neighbour: Neighbour) {
        if self.neighbours.len() < MAX_NEIGHBOURS || self.neighbours.contains_key(&neighbour.name) {
            self.neighbours.insert(neighbour.name, neighbour.addresses);
        }
    }

    /// Somebody is there no longer.
    pub(in crate::node) fn on_neighbour_gone(&mut self, name: &str) {
        self.neighbours.remove(name);
    }

    /// Where a node says on the LAN that it listens.
    pub(in crate::node) fn on_lan(&self, id: NodeId) -> &[SocketAddr] {
        self.neighbours.get(&lan_name(id)).map_or(&[], Vec::as_slice)
    }

    /// What to find out, or have done.
    pub(in crate::node) fn poll_request(&mut self) -> Option<SurroundingsRequest> {
        self.requests.pop_front()
    }
}

/// The name that a node has on the LAN: whoever knows its id can tell that it is there, and nobody else learns who it is.
fn lan_name(id: NodeId) -> String {
    let hash = blake3::derive_key("anjer 2026 LAN name", &id.0);
    data_encoding::HEXLOWER.encode(hash.split_at(16).0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::surroundings::InterfaceAddress;

    const ID: NodeId = NodeId([7; 32]);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn interfaces(ips: &[&str]) -> Interfaces {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let v4 = ips.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
        let v6 = ips.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
        let addresses = ips.iter().map(|ip| InterfaceAddress { ip: *ip, prefix: 24, index: 2 }).collect();
        Interfaces { addresses, outward_v4: v4, outward_v6: v6 }
    }

    #[test]
    fn a_second_family_gets_a_socket_on_the_same_port_and_a_lost_address_a_new_one() {
        let mut around = Around::new(ID, at("192.168.1.5:7000"), false, &[]);
        assert_eq!(around.on_interfaces(interfaces(&["192.168.1.5", "2001:db8::5"])), [at("[2001:db8::5]:7000")]);
        around.homes.set(Home { socket: SocketId(1), local: at("[2001:db8::5]:7000") });
        assert_eq!(around.on_interfaces(interfaces(&["192.168.1.5", "2001:db8::5"])), []);
        assert_eq!(around.on_interfaces(interfaces(&["10.0.0.9", "2001:db8::5"])), [at("10.0.0.9:7000")]);
        let route = around.homes.route(at("[2001:db8::9]:1"));
        assert_eq!(route, Some(Route::Udp { socket: SocketId(1), remote: at("[2001:db8::9]:1") }));
    }

    #[test]
    fn a_local_node_asks_nobody_outside() {
        let mut around = Around::new(ID, at("127.0.0.1:7000"), true, &["stun.example.org:3478".to_owned()]);
        around.want_mapping();
        assert_eq!(around.on_interfaces(interfaces(&["10.0.0.9"])), []);
        assert_eq!(around.poll_request(), None);
    }

    #[test]
    fn neighbours_are_found_by_who_they_are_and_capped() {
        let mut around = Around::new(ID, at("192.168.1.5:7000"), false, &[]);
        let there = vec![at("192.168.1.9:7000")];
        let other = NodeId([9; 32]);
        around.on_neighbour(Neighbour { name: lan_name(other), addresses: there.clone() });
        assert_eq!(around.on_lan(other), there);
        for n in 0..1000 {
            around.on_neighbour(Neighbour { name: n.to_string(), addresses: Vec::new() });
        }
        assert_eq!(around.neighbours.len(), MAX_NEIGHBOURS);
        around.on_neighbour_gone(&lan_name(other));
        assert!(around.on_lan(other).is_empty());
    }
}
