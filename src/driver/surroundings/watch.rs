//! Noticing that addresses, routes or gateways changed.
//!
//! The system says *that* something changed (netlink on Linux), often many times for one change, and for changes that are nobody's
//! business (a container's veth pair, a lifetime renewed). So its messages are only a reason to look; a change is a difference
//! between two looks.

use super::routes::gateways;
use super::teller::{Over, Teller};
use super::{InterfaceAddress, Interfaces, Surroundings};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

/// A look is taken once nothing more was said for this long: an address, its route and the next one come within milliseconds.
const SETTLE: Duration = Duration::from_millis(200);

/// ... or at the latest this long after the first message.
const LATEST: Duration = Duration::from_secs(1);

/// How often to look where the system says nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What was there at a look.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    interfaces: Interfaces,
    gateways: Vec<IpAddr>,
}

impl Look {
    fn take() -> io::Result<Self> {
        Ok(Self { interfaces: Interfaces::read()?, gateways: gateways() })
    }

    /// Whether paths may have changed. Link-local addresses come and go with every virtual interface, and no path of ours uses one
    /// but on the LAN, where the other address is there too.
    fn is_another_network_than(&self, before: &Self) -> bool {
        fn addresses(look: &Look) -> impl Iterator<Item = &InterfaceAddress> {
            look.interfaces.addresses.iter().filter(|address| !is_link_local(address.ip))
        }
        let outward = |look: &Self| (look.interfaces.outward_v4, look.interfaces.outward_v6);
        self.gateways != before.gateways || outward(self) != outward(before) || !addresses(self).eq(addresses(before))
    }
}

/// Tells the interfaces at once and whenever they changed, until nobody listens. `recheck` makes it look without being told;
/// `changed` is called before a change is told.
pub(super) async fn run(teller: Teller, recheck: Arc<Notify>, changed: impl Fn()) -> Result<(), Over> {
    let mut messages = Messages::open();
    // Without a first look every address is a change.
    let mut before = Look::take().unwrap_or_else(|error| {
        tracing::debug!(%error, "no interfaces");
        Look { interfaces: Interfaces::default(), gateways: Vec::new() }
    });
    teller.tell(Surroundings::Interfaces(before.interfaces.clone())).await?;
    loop {
        tokio::select! {
            () = messages.next() => {}
            () = recheck.notified() => {}
        }
        messages.settle().await;
        let look = match Look::take() {
            Ok(look) => look,
            Err(error) => {
                tracing::debug!(%error, "no interfaces");
                continue;
            }
        };
        let is_another_network = look.is_another_network_than(&before);
        if is_another_network {
            changed();
        }
        if look.interfaces != before.interfaces {
            teller.tell(Surroundings::Interfaces(look.interfaces.clone())).await?;
        }
        if is_another_network {
            teller.tell(Surroundings::NetworkChanged).await?;
        }
        before = look;
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// What the system says about its network.
struct Messages {
    #[cfg(target_os = "linux")]
    netlink: Option<tokio::net::UnixDatagram>,
}

impl Messages {
    /// Waits until there is something to look at.
    async fn next(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(netlink) = &self.netlink {
            match netlink.readable().await {
                Ok(()) => return linux::throw_away(netlink),
                Err(error) => tracing::debug!(%error, "netlink"),
            }
        }
        sleep(LOOK_AGAIN).await;
    }

    /// Waits until nothing more is said for a while.
    async fn settle(&mut self) {
        let latest = Instant::now() + LATEST;
        while Instant::now() < latest && timeout_at(latest.min(Instant::now() + SETTLE), self.next()).await.is_ok() {}
    }

    #[cfg(target_os = "linux")]
    fn open() -> Self {
        let netlink = linux::open();
        let netlink =
            netlink.inspect_err(|error| tracing::debug!(%error, "no netlink: looking every ten seconds")).ok();
        Self { netlink }
    }

    #[cfg(not(target_os = "linux"))]
    const fn open() -> Self {
        Self {}
    }
}

#[cfg(target_os = "linux")]
mod linux {
    //! A netlink socket (rtnetlink(7)) whose messages are not read, only counted as a reason to look.

    use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
    use std::io::{self, ErrorKind};
    use std::os::fd::AsRawFd;
    use tokio::net::UnixDatagram;

    /// Groups of `linux/rtnetlink.h`: links, IPv4 addresses and routes, IPv6 addresses and routes.
    const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

    /// Messages thrown away at once, at most.
    const MOST: usize = 256;

    /// As a datagram socket: all it has to do is to be waited for and received from.
    pub(super) fn open() -> io::Result<UnixDatagram> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let netlink = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(netlink.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        UnixDatagram::from_std(netlink.into())
    }

    /// Throws away what was said. What the system could not keep for us (ENOBUFS) was said all the same.
    pub(super) fn throw_away(netlink: &UnixDatagram) {
        let mut message = [0; 4096];
        for _ in 0..MOST {
            if netlink.try_recv(&mut message).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(addresses: &[(&str, u8)], gateways: &[&str]) -> Look {
        let addresses = addresses.iter().map(|(ip, prefix)| InterfaceAddress {
            ip: ip.parse().unwrap(),
            prefix: *prefix,
            index: 2,
        });
        let interfaces = Interfaces { addresses: addresses.collect(), ..Interfaces::default() };
        Look { interfaces, gateways: gateways.iter().map(|ip| ip.parse().unwrap()).collect() }
    }

    #[test]
    fn a_network_is_another_when_an_address_or_the_gateway_is() {
        let home = look(&[("192.168.1.5", 24)], &["192.168.1.1"]);
        assert!(!home.is_another_network_than(&home));
        assert!(look(&[("192.168.1.6", 24)], &["192.168.1.1"]).is_another_network_than(&home));
        assert!(look(&[], &[]).is_another_network_than(&home));
        // Another Wi-Fi may give the same address.
        assert!(look(&[("192.168.1.5", 24)], &["192.168.1.254"]).is_another_network_than(&home));
        // A container starts: a veth pair, with a link-local address of its own.
        let veth = look(&[("192.168.1.5", 24), ("fe80::42", 64)], &["192.168.1.1"]);
        assert!(!veth.is_another_network_than(&home));
    }
}
