//! Which addresses a server can have seen.
//!
//! An answer is not authenticated: whoever answers can name any address. What can be told from the address alone is whether a packet
//! from there could have reached that server: the [`Scope`] of an address says how far from its owner it means something, and what a
//! server saw means something at least as far as the server's own address does. So a server in the internet has seen no private,
//! link-local or loopback address; one in our LAN may have seen a private or a global one; one on this machine any.
//!
//! What cannot be told: that a global address is somebody else's. Who uses one has to prove it (a punch needs an answer from there).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How far from its owner an address means something, the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// On the same machine (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
    Loopback,
    /// On the same link (RFC 3927, RFC 4291 §2.5.6).
    Link,
    /// In the same private network (RFC 1918, RFC 4193), a provider's included (RFC 6598).
    Private,
    /// Everywhere.
    Global,
}

impl Scope {
    /// The scope of an address. `None`: no host has it (unspecified, multicast, broadcast, reserved).
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Option<Self> {
        let [first, second, ..] = ip.octets();
        match (first, second) {
            // RFC 1122 §3.2.1.3: 0/8 is "this network". RFC 1112 §4: 240/4 is reserved, its last address is broadcast.
            (0 | 224.., _) => None,
            (127, _) => Some(Self::Loopback),
            (169, 254) => Some(Self::Link),
            (10, _) | (192, 168) | (172, 16..=31) | (100, 64..=127) => Some(Self::Private),
            _ => Some(Self::Global),
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Option<Self> {
        match ip {
            ip if ip.is_unspecified() || ip.is_multicast() => None,
            ip if ip.is_loopback() => Some(Self::Loopback),
            ip if ip.is_unicast_link_local() => Some(Self::Link),
            ip if ip.is_unique_local() => Some(Self::Private),
            _ => Some(Self::Global),
        }
    }
}

/// Whether a server at this address can have got a packet from `seen`.
pub fn can_have_seen(server: IpAddr, seen: SocketAddr) -> bool {
    let (of_server, of_seen) = (Scope::of(server), Scope::of(seen.ip()));
    let same_family = server.to_canonical().is_ipv4() == seen.ip().to_canonical().is_ipv4();
    seen.port() != 0 && same_family && of_server.is_some() && of_seen >= of_server
}

/// An address without the clothes it wears on a socket of both families (`::ffff:192.0.2.1` is `192.0.2.1`).
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sees(server: &str, seen: &str) -> bool {
        can_have_seen(server.parse().unwrap(), seen.parse().unwrap())
    }

    #[test]
    fn a_server_sees_addresses_that_reach_as_far_as_its_own() {
        for (server, seen) in [
            ("198.51.100.1", "203.0.113.7:5000"),
            ("10.0.0.1", "10.0.0.2:5000"),
            ("10.0.0.1", "203.0.113.7:5000"),
            ("100.64.0.1", "192.168.1.1:1"),
            ("127.0.0.1", "127.0.0.1:5000"),
            ("127.0.0.1", "192.168.1.2:5000"),
            ("::1", "[::1]:9"),
            ("fd00::1", "[fd00::2]:9"),
            ("2001:db8::1", "[2001:db8::2]:9"),
            ("::ffff:10.0.0.1", "10.0.0.2:5000"),
        ] {
            assert!(sees(server, seen), "{server} {seen}");
        }
    }

    #[test]
    fn what_cannot_have_come_to_a_server_is_not_plausible() {
        for (server, seen) in [
            ("198.51.100.1", "127.0.0.1:5000"),
            ("198.51.100.1", "10.0.0.1:5000"),
            ("198.51.100.1", "172.31.255.1:5000"),
            ("198.51.100.1", "100.127.0.1:5000"),
            ("198.51.100.1", "169.254.0.1:5000"),
            ("198.51.100.1", "224.0.0.251:5353"),
            ("198.51.100.1", "255.255.255.255:5000"),
            ("198.51.100.1", "0.0.0.0:5000"),
            ("198.51.100.1", "203.0.113.7:0"),
            ("198.51.100.1", "[2001:db8::2]:9"),
            ("10.0.0.1", "127.0.0.1:5000"),
            ("192.168.0.1", "169.254.0.1:5000"),
            ("127.0.0.1", "0.0.0.0:5000"),
            ("2001:db8::1", "[fe80::1]:9"),
            ("2001:db8::1", "[fd00::1]:9"),
            ("2001:db8::1", "[ff02::fb]:5353"),
            ("2001:db8::1", "[::]:9"),
            ("2001:db8::1", "[::1]:9"),
            ("224.0.0.1", "203.0.113.7:5000"),
        ] {
            assert!(!sees(server, seen), "{server} {seen}");
        }
    }
}
