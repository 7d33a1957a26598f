//! What the system says where the user says nothing: our address, our name.

use crate::harmless::is_harmful;
use crate::options::MAX_NAME_BYTES;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses that are nobody's (RFC 5737's TEST-NET-1, RFC 3849): routed like any far one, never reached.
const FAR_AWAY: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
];

/// The address the system would route from, IPv4 before IPv6, or the loopback address where nothing leaves this machine.
///
/// Connecting a UDP socket only asks the routing table: no packet is sent.
pub(crate) fn address(local: bool) -> IpAddr {
    if local {
        return Ipv4Addr::LOCALHOST.into();
    }
    let routed = |(any, far)| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((far, 9))?;
        socket.local_addr()
    };
    let addresses = FAR_AWAY.into_iter().filter_map(|family| routed(family).ok()).map(|address| address.ip());
    addresses.into_iter().find(|ip| !ip.is_unspecified()).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// Whether a socket of ours can have that address: this machine has it, and nobody else uses the port.
pub(crate) fn can_bind(address: SocketAddr) -> bool {
    UdpSocket::bind(address).is_ok()
}

/// The user's name on this system, as far as others may see it.
pub(crate) fn name() -> String {
    presentable(&whoami::username().unwrap_or_default())
}

/// `name` without what a screen must not see, in at most [`MAX_NAME_BYTES`] bytes; never empty.
fn presentable(name: &str) -> String {
    let mut kept = String::new();
    for character in name.trim().chars().filter(|character| !is_harmful(*character)) {
        if kept.len() + character.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        kept.push(character);
    }
    let kept = kept.trim();
    if kept.is_empty() { "someone".to_owned() } else { kept.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_becomes_something_that_others_can_be_shown() {
        assert_eq!(presentable("anna"), "anna");
        assert_eq!(presentable(" \u{202e}\n "), "someone");
        assert_eq!(presentable(&"é".repeat(40)), "é".repeat(32));
    }

    #[test]
    fn a_local_room_is_on_the_loopback_address() {
        assert!(address(true).is_loopback());
        assert!(!address(false).is_unspecified());
    }
}
