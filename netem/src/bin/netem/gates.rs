//! NATs and what is behind them: where a datagram goes next.

use core::time::Duration;
use netem::{Nat, NatCounters, Packet};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Behind which NAT something is, by its number. `None`: in the world.
pub(crate) type Realm = Option<usize>;

/// What has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Nat(usize),
    /// A host, by the number of its device.
    Host(usize),
}

/// Where a datagram went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// Into the world.
    World(Packet),
    /// To the host with this device.
    Host(usize, Packet),
}

/// Every NAT of a world, and every address in each realm.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    nats: Vec<Gate>,
    routes: BTreeMap<(Realm, IpAddr), Door>,
}

#[derive(Debug)]
struct Gate {
    nat: Nat,
    outer: Realm,
}

impl Gates {
    /// A NAT whose outside address is in this realm.
    pub(crate) fn add(&mut self, nat: Nat, outer: Realm) -> usize {
        let number = self.nats.len();
        self.routes.insert((outer, nat.outside()), Door::Nat(number));
        self.nats.push(Gate { nat, outer });
        number
    }

    /// A host with this address.
    pub(crate) fn settle(&mut self, realm: Realm, ip: IpAddr, host: usize) {
        self.routes.insert((realm, ip), Door::Host(host));
    }

    /// Who has an address in the world.
    pub(crate) fn at(&self, ip: IpAddr) -> Option<Door> {
        self.routes.get(&(None, ip)).copied()
    }

    /// The other hosts of a realm: who hears a multicast.
    pub(crate) fn neighbours(&self, realm: Realm, of: usize) -> Vec<usize> {
        let hosts = self.routes.iter().filter(|((its, _), _)| *its == realm);
        hosts
            .filter_map(|(_, door)| if let Door::Host(host) = door { Some(*host) } else { None })
            .filter(|host| *host != of)
            .collect()
    }

    /// From a host in this realm, out through one NAT after another. `None`: one of them refused it, and has counted that.
    pub(crate) fn outwards(&mut self, mut realm: Realm, now: Duration, mut packet: Packet) -> Option<Passed> {
        while let Some(number) = realm {
            if let Some(door) = self.routes.get(&(realm, packet.to.ip())) {
                return self.inwards(*door, now, packet);
            }
            let gate = self.nats.get_mut(number)?;
            packet = gate.nat.outbound(now, packet).ok()?;
            if packet.to.ip() == gate.nat.outside() {
                return self.inwards(Door::Nat(number), now, packet);
            }
            realm = gate.outer;
        }
        Some(Passed::World(packet))
    }

    /// At a door, in through one NAT after another.
    pub(crate) fn inwards(&mut self, mut door: Door, now: Duration, mut packet: Packet) -> Option<Passed> {
        loop {
            let number = match door {
                Door::Host(host) => return Some(Passed::Host(host, packet)),
                Door::Nat(number) => number,
            };
            packet = self.nats.get_mut(number)?.nat.inbound(now, packet).ok()?;
            door = *self.routes.get(&(Some(number), packet.to.ip()))?;
        }
    }

    /// The NAT loses its power for a moment.
    pub(crate) fn reboot(&mut self, nat: usize) {
        if let Some(gate) = self.nats.get_mut(nat) {
            gate.nat.reboot();
        }
    }

    pub(crate) fn counters(&self, nat: usize) -> Option<NatCounters> {
        self.nats.get(nat).map(|gate| gate.nat.counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netem::Behaviour;
    use std::net::SocketAddr;

    const NOW: Duration = Duration::ZERO;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn packet(from: &str, to: &str) -> Packet {
        Packet::new(address(from), address(to), b"hi".to_vec())
    }

    /// A provider's NAT, behind which there are two homes with a NAT each; two hosts in the first.
    fn world(provider: Behaviour) -> Gates {
        let nat = |behaviour, outside: &str| Nat::new(behaviour, outside.parse().unwrap(), 7);
        let mut gates = Gates::default();
        let outer = gates.add(nat(provider, "203.0.113.1"), None);
        for (host, outside) in ["100.64.0.1", "100.64.0.2"].into_iter().enumerate() {
            let home = gates.add(nat(Behaviour::full_cone(), outside), Some(outer));
            gates.settle(Some(home), address("10.0.0.2:0").ip(), host * 2);
            gates.settle(Some(home), address("10.0.0.3:0").ip(), host * 2 + 1);
        }
        gates
    }

    #[test]
    fn a_datagram_goes_out_through_two_nats_and_its_answer_in_to_the_same_host() {
        let mut gates = world(Behaviour::symmetric());
        for (home, host) in [(1, 0), (2, 2)] {
            let sent = gates.outwards(Some(home), NOW, packet("10.0.0.2:5000", "192.0.2.9:1"));
            let Some(Passed::World(sent)) = sent else { panic!("{sent:?}") };
            assert_eq!(sent.from.ip(), address("203.0.113.1:0").ip());
            let answer = Packet::new(sent.to, sent.from, b"ho".to_vec());
            let came = gates.inwards(gates.at(sent.from.ip()).unwrap(), NOW, answer);
            assert!(
                matches!(came, Some(Passed::Host(its, packet)) if its == host && packet.to == address("10.0.0.2:5000"))
            );
        }
        gates.reboot(0);
        assert_eq!(gates.inwards(Door::Nat(0), NOW, packet("192.0.2.9:1", "203.0.113.1:5000")), None);
        assert_eq!(gates.counters(0).unwrap().no_mapping, 1);
    }

    #[test]
    fn neighbours_need_no_nat_and_homes_of_one_provider_meet_at_its_hairpin() {
        let mut gates = world(Behaviour { hairpin: true, ..Behaviour::full_cone() });
        let near = gates.outwards(Some(1), NOW, packet("10.0.0.2:5000", "10.0.0.3:7"));
        assert_eq!(near, Some(Passed::Host(1, packet("10.0.0.2:5000", "10.0.0.3:7"))));
        assert_eq!(gates.neighbours(Some(1), 0), [1]);
        gates.outwards(Some(2), NOW, packet("10.0.0.3:6000", "192.0.2.9:1"));
        let turned = gates.outwards(Some(1), NOW, packet("10.0.0.2:5000", "203.0.113.1:6000"));
        assert_eq!(turned, Some(Passed::Host(3, packet("203.0.113.1:5000", "10.0.0.3:6000"))));
    }
}
