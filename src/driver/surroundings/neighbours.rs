//! Others on the same LAN, by multicast DNS (RFC 6762, RFC 6763).
//!
//! Announced are a name and a port, to whoever listens on the LAN, and only while the machine asks for it. Heard is whatever anybody
//! there says: it is cut to size, and nothing is believed but that a datagram could be sent there.

use super::teller::{Over, Teller};
use super::{Neighbour, Surroundings};
use mdns_sd::{ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::timeout;

/// Neighbours that are known, at most; whoever comes when there are so many is not told. A room's members on one LAN.
pub(super) const MAX_NEIGHBOURS: usize = 64;

/// Names that the library may remember, at most: it keeps whatever it hears until it expires. More than a LAN of friends has are a
/// flood, and then nothing is announced or heard until the machine asks again.
const MAX_HEARD: usize = 512;

/// Addresses of one neighbour, at most.
const MAX_ADDRESSES: usize = 8;

/// How often others are asked whether they are there is mDNS's own affair (RFC 6762 §5.2). Under this name.
const SERVICE: &str = "_anjer._udp.local.";

/// How long the farewell may take (RFC 6762 §10.1).
const FAREWELL: Duration = Duration::from_millis(300);

/// What others are to know of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    pub(super) name: String,
    pub(super) port: u16,
    /// None: all of this machine's.
    pub(super) addresses: Vec<IpAddr>,
}

/// Announces what is wanted and tells who else is there, until the sender of `wanted` is gone; then says farewell.
pub(super) async fn run(teller: Teller, mut wanted: Receiver<Option<Announcement>>) -> Result<(), Over> {
    loop {
        let Some(ours) = wanted.borrow_and_update().clone() else {
            if wanted.changed().await.is_err() {
                return Ok(());
            }
            continue;
        };
        let ended = match Presence::begin(ours) {
            Ok(mut presence) => {
                let ended = presence.listen(&teller, &mut wanted).await;
                presence.end().await;
                ended?
            }
            Err(error) => {
                tracing::debug!(%error, "no multicast DNS");
                Ended::Silent
            }
        };
        if ended == Ended::Over || ended == Ended::Silent && wanted.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Why an announcement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Something else is wanted.
    Replaced,
    /// Nothing will be wanted any more.
    Over,
    /// There is no multicast, or too much of it: until something else is wanted.
    Silent,
}

/// One announcement, and what is heard meanwhile.
struct Presence {
    ours: Announcement,
    daemon: ServiceDaemon,
    events: mdns_sd::Receiver<ServiceEvent>,
    full_name: String,
    known: Known,
    /// Names that were heard and have not expired.
    heard: usize,
}

impl Presence {
    /// Starts a thread of the library's own.
    fn begin(ours: Announcement) -> Result<Self, mdns_sd::Error> {
        if !is_plain(&ours.name) || ours.port == 0 || ours.addresses.len() > MAX_ADDRESSES {
            return Err(mdns_sd::Error::Msg("not a name and a port".into()));
        }
        let host = format!("{}.local.", ours.name);
        let texts: &[(&str, &str)] = &[];
        let info = ServiceInfo::new(SERVICE, &ours.name, &host, ours.addresses.as_slice(), ours.port, texts)?;
        let info = if ours.addresses.is_empty() { info.enable_addr_auto() } else { info };
        let full_name = info.get_fullname().to_owned();
        let daemon = ServiceDaemon::new()?;
        let begun = daemon.register(info).and_then(|()| daemon.browse(SERVICE));
        match begun {
            Ok(events) => Ok(Self { ours, daemon, events, full_name, known: Known::default(), heard: 0 }),
            Err(error) => {
                let _ = daemon.shutdown();
                Err(error)
            }
        }
    }

    /// Tells who comes and goes, until it ends.
    async fn listen(&mut self, teller: &Teller, wanted: &mut Receiver<Option<Announcement>>) -> Result<Ended, Over> {
        loop {
            let event = tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) if wanted.borrow().as_ref() == Some(&self.ours) => continue,
                    Ok(()) => return Ok(Ended::Replaced),
                    Err(_) => return Ok(Ended::Over),
                },
                event = self.events.recv_async() => event,
            };
            let fact = match event {
                Ok(ServiceEvent::ServiceResolved(service)) => neighbour(&service)
                    .filter(|found| found.name != self.ours.name)
                    .and_then(|found| self.known.add(found)),
                Ok(ServiceEvent::ServiceRemoved(_, full_name)) => {
                    self.heard = self.heard.saturating_sub(1);
                    name_of(&full_name).and_then(|name| self.known.remove(&name))
                }
                Ok(ServiceEvent::ServiceFound(..)) if self.heard < MAX_HEARD => {
                    self.heard += 1;
                    None
                }
                // Too many, or so many that we were too slow for them.
                Ok(ServiceEvent::ServiceFound(..)) | Err(_) => {
                    tracing::debug!("a flood of multicast DNS");
                    return Ok(Ended::Silent);
                }
                Ok(_) => None,
            };
            if let Some(fact) = fact {
                teller.tell(fact).await?;
            }
        }
    }

    async fn end(self) {
        if let Ok(said) = self.daemon.unregister(&self.full_name) {
            let _ = timeout(FAREWELL, said.recv_async()).await;
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = timeout(FAREWELL, ended.recv_async()).await;
        }
    }
}

/// Who is there, as far as it was told.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, Vec<SocketAddr>>);

impl Known {
    fn add(&mut self, found: Neighbour) -> Option<Surroundings> {
        let is_new = !self.0.contains_key(&found.name);
        if is_new && self.0.len() >= MAX_NEIGHBOURS || self.0.get(&found.name) == Some(&found.addresses) {
            return None;
        }
        self.0.insert(found.name.clone(), found.addresses.clone());
        Some(Surroundings::Neighbour(found))
    }

    fn remove(&mut self, name: &str) -> Option<Surroundings> {
        self.0.remove(name).map(|_| Surroundings::NeighbourGone { name: name.to_owned() })
    }
}

fn neighbour(service: &ResolvedService) -> Option<Neighbour> {
    let addresses = service.addresses.iter().filter_map(|ip| address(ip, service.port));
    sanitised(name_of(&service.fullname)?, addresses)
}

fn address(ip: &ScopedIp, port: u16) -> Option<SocketAddr> {
    match ip {
        ScopedIp::V4(v4) => Some(SocketAddr::new(IpAddr::V4(*v4.addr()), port)),
        ScopedIp::V6(v6) => {
            let scope = if v6.addr().is_unicast_link_local() { v6.scope_id().index } else { 0 };
            Some(SocketAddrV6::new(*v6.addr(), port, 0, scope).into())
        }
        _ => None,
    }
}

/// A neighbour whose name and addresses are fit to be told.
fn sanitised(name: String, addresses: impl Iterator<Item = SocketAddr>) -> Option<Neighbour> {
    let mut addresses: Vec<SocketAddr> =
        addresses.filter(|address| address.port() != 0 && is_on_a_lan(address.ip())).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    (is_plain(&name) && !addresses.is_empty()).then_some(Neighbour { name, addresses })
}

/// The name in front of the service's.
fn name_of(full_name: &str) -> Option<String> {
    let (name, service) = full_name.split_once('.')?;
    (service.eq_ignore_ascii_case(SERVICE) && is_plain(name)).then(|| name.to_ascii_lowercase())
}

fn is_plain(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// An address of ours that a neighbour names would have us talk to ourselves, and one that many have is nobody's. A public one is
/// possible: a campus, IPv6.
fn is_on_a_lan(ip: IpAddr) -> bool {
    let is_everybodys = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.octets()[0] == 0 || ip.octets()[0] >= 240,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_everybodys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, addresses: &[&str]) -> Option<Neighbour> {
        sanitised(name.to_owned(), addresses.iter().map(|address| address.parse().unwrap()))
    }

    #[test]
    fn what_neighbours_say_is_cut_to_size() {
        let bob =
            found("bob-7", &["192.168.1.7:4000", "192.168.1.7:4000", "127.0.0.1:4000", "[::1]:4000", "[fe80::7]:4000"]);
        let addresses = ["192.168.1.7:4000", "[fe80::7]:4000"].map(|address| address.parse().unwrap());
        assert_eq!(bob, Some(Neighbour { name: "bob-7".into(), addresses: addresses.into() }));
        for useless in
            ["127.0.0.1:4", "0.0.0.0:4", "224.0.0.251:4", "255.255.255.255:4", "192.168.1.7:0", "[::ffff:127.0.0.1]:4"]
        {
            assert_eq!(found("bob", &[useless]), None, "{useless}");
        }
        for name in ["", "b\u{1b}[2Jb", "a b", "a.b", &"x".repeat(64)] {
            assert_eq!(found(name, &["192.168.1.7:4000"]), None, "{name}");
        }
        let many: Vec<String> = (1..=99).map(|last| format!("10.0.0.{last}:4000")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(found("bob", &many).unwrap().addresses.len(), MAX_ADDRESSES);
    }

    #[test]
    fn names_are_those_of_our_service() {
        assert_eq!(name_of("Bob-7._anjer._udp.local."), Some("bob-7".into()));
        assert_eq!(name_of("bob._http._tcp.local."), None);
        assert_eq!(name_of("bob"), None);
        assert_eq!(name_of("b.o.b._anjer._udp.local."), None);
    }

    /// The cap: the last one that fits is told, the next is not, and one that goes makes room. Whoever says the same again is no news.
    #[test]
    fn so_many_neighbours_are_known() {
        let mut known = Known::default();
        let named = |number: usize| found(&format!("n{number}"), &["192.168.1.7:4000"]).unwrap();
        for number in 0..MAX_NEIGHBOURS {
            assert!(known.add(named(number)).is_some());
            assert!(known.add(named(number)).is_none());
        }
        assert!(known.add(named(MAX_NEIGHBOURS)).is_none());
        assert!(known.add(found("n0", &["192.168.1.8:4000"]).unwrap()).is_some(), "it moved");
        assert!(known.remove("n1").is_some() && known.remove("n1").is_none());
        assert!(known.add(named(MAX_NEIGHBOURS)).is_some());
    }
}
