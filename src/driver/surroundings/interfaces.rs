//! The addresses of this machine.

use if_addrs::IfAddr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses that are told, at most. A machine with more (containers) tells the first ones in order.
pub(super) const MAX_ADDRESSES: usize = 64;

/// An address, and the network that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// Ours.
    pub ip: IpAddr,
    /// Bits that everybody on that network shares.
    pub prefix: u8,
    /// The system's number of the interface: the scope id of a link-local IPv6 address.
    pub index: u32,
}

impl InterfaceAddress {
    /// Whether `other` is an address on the same network.
    pub fn shares_network_with(&self, other: IpAddr) -> bool {
        match (self.ip, other) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                let differ = ours.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix).min(32)
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                let differ = ours.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix).min(128)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// What addresses this machine has.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Interfaces {
    /// Of interfaces that are up or that the system would send from, sorted, 64 at most; loopback and multicast are left out.
    pub addresses: Vec<InterfaceAddress>,
    /// The IPv4 address that the system would send from to the world.
    pub outward_v4: Option<Ipv4Addr>,
    /// Likewise for IPv6.
    pub outward_v6: Option<Ipv6Addr>,
}

impl Interfaces {
    /// Whether a socket bound to `ip` can send: it is ours, or stands for all of ours.
    pub fn has(&self, ip: IpAddr) -> bool {
        ip.is_unspecified() || ip.is_loopback() || self.addresses.iter().any(|address| address.ip == ip)
    }

    /// Whether `ip` is on a network that we are on.
    pub fn share_network_with(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.shares_network_with(ip))
    }
}

/// Far addresses that are asked for by no packet (RFC 5737 TEST-NET-3; for IPv6 a documentation address might be unroutable, so the
/// first of the global unicast range).
const FAR_V4: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 1), 9);
const FAR_V6: (Ipv6Addr, u16) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1), 9);

impl Interfaces {
    /// What the system says. Not quick enough for the network thread.
    pub(super) fn read() -> io::Result<Self> {
        let v4 = outward(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), FAR_V4.into());
        let v6 = outward(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), FAR_V6.into());
        let addresses = if_addrs::get_if_addrs()?
            .into_iter()
            .filter(|interface| !interface.is_loopback() && !interface.ip().is_unspecified())
            // An address stays when its cable is pulled; but a device that is only coming up carries packets before it says so.
            .filter(|interface| interface.is_oper_up() || [v4, v6].contains(&Some(interface.ip())))
            .map(|interface| InterfaceAddress {
                ip: interface.ip(),
                prefix: match &interface.addr {
                    IfAddr::V4(v4) => v4.prefixlen,
                    IfAddr::V6(v6) => v6.prefixlen,
                },
                index: interface.index.unwrap_or(0),
            });
        let addresses = tidy(addresses.collect());
        Ok(Self {
            addresses,
            outward_v4: v4.and_then(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }),
            outward_v6: v6.and_then(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }),
        })
    }
}

fn tidy(mut addresses: Vec<InterfaceAddress>) -> Vec<InterfaceAddress> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

/// The address the system would send from to `far`. Connecting a UDP socket only asks the routing table: no packet is sent.
fn outward(any: SocketAddr, far: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_asked() {
        let here = Interfaces::read().unwrap();
        assert!(here.addresses.iter().all(|address| !address.ip.is_loopback()));
        assert!(here.addresses.is_sorted());
        // What it would send from is one of its own.
        let outward = [here.outward_v4.map(IpAddr::V4), here.outward_v6.map(IpAddr::V6)];
        assert!(outward.into_iter().flatten().all(|ip| here.has(ip)), "{here:?}");
    }

    fn address(ip: &str, prefix: u8) -> InterfaceAddress {
        InterfaceAddress { ip: ip.parse().unwrap(), prefix, index: 2 }
    }

    #[test]
    fn so_many_addresses_are_told_and_each_once() {
        let many = (0..=255).flat_map(|last| [address(&format!("10.0.0.{last}"), 24); 2]);
        let told = tidy(many.collect());
        assert_eq!(told.len(), MAX_ADDRESSES);
        assert_eq!((told[0].ip.to_string(), told[63].ip.to_string()), ("10.0.0.0".into(), "10.0.0.63".into()));
    }

    #[test]
    fn a_network_is_shared_up_to_its_prefix() {
        let home = address("192.168.1.5", 24);
        assert!(home.shares_network_with("192.168.1.200".parse().unwrap()));
        assert!(!home.shares_network_with("192.168.2.200".parse().unwrap()));
        assert!(!home.shares_network_with("fe80::1".parse().unwrap()));
        let link = address("fe80::5", 64);
        assert!(link.shares_network_with("fe80::1:2:3:4".parse().unwrap()));
        assert!(!link.shares_network_with("fe81::1".parse().unwrap()));
        // A prefix is the system's word; none of its values may be trouble.
        assert!(address("10.0.0.1", 0).shares_network_with("9.9.9.9".parse().unwrap()));
        assert!(address("10.0.0.1", 255).shares_network_with("10.0.0.1".parse().unwrap()));
        assert!(!address("10.0.0.1", 255).shares_network_with("10.0.0.2".parse().unwrap()));
    }

    #[test]
    fn a_socket_for_all_addresses_outlives_each_of_them() {
        let home = Interfaces { addresses: vec![address("192.168.1.5", 24)], ..Interfaces::default() };
        assert!(home.has("192.168.1.5".parse().unwrap()) && home.has("0.0.0.0".parse().unwrap()));
        assert!(home.has("127.0.0.1".parse().unwrap()));
        assert!(!home.has("192.168.1.6".parse().unwrap()));
    }
}
