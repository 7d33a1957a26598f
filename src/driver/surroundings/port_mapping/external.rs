//! Which external addresses are believed.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Whether others could reach us there. A gateway behind another one tells a private or shared (RFC 6598) address of its own, which
/// is of no use to anybody; what is nobody's, everybody's or ourselves is a mistake or worse.
pub(super) fn is_believable(external: SocketAddrV4) -> bool {
    let ip = *external.ip();
    let [first, second, ..] = ip.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_reserved = first == 0 || first >= 240;
    external.port() != 0
        && !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || is_shared || is_reserved)
        && ip != Ipv4Addr::BROADCAST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_the_world_is_believed() {
        for believed in ["203.0.113.7:4000", "8.8.8.8:1", "100.63.0.1:9", "100.128.0.1:9", "172.32.0.1:9"] {
            assert!(is_believable(believed.parse().unwrap()), "{believed}");
        }
        for not in [
            "203.0.113.7:0",
            "127.0.0.1:9",
            "10.1.2.3:9",
            "172.16.0.1:9",
            "192.168.0.1:9",
            "169.254.1.1:9",
            "100.64.0.1:9",
            "100.127.255.255:9",
            "0.0.0.0:9",
            "0.1.2.3:9",
            "224.0.0.1:9",
            "240.0.0.1:9",
            "255.255.255.255:9",
        ] {
            assert!(!is_believable(not.parse().unwrap()), "{not}");
        }
    }
}
