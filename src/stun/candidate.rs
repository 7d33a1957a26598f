//! Addresses at which a member may be reached, and which of them are worth a packet.
//!
//! A list of candidates is another's word. Whoever reads one [sanitises](sanitise) it before anything is sent: a member must not be
//! able to point us at ourselves, at a whole network, or at machines of our own network that are none of its business.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Candidates of one member that are kept, at most.
pub const MAX_CANDIDATES: usize = 16;

/// Entries of a received list that are looked at, at most: an honest one is far shorter, and a million forged ones are not worth the time.
const MAX_READ: usize = 256;

/// How its owner knows of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CandidateKind {
    /// Announced on the local network (mDNS).
    Lan,
    /// Of one of its interfaces.
    Host,
    /// Of a port mapping that its router agreed to (UPnP-IGD, NAT-PMP, PCP).
    Mapped,
    /// What others see of its socket (STUN).
    Reflexive,
}

/// An address at which its owner may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// Where.
    pub address: SocketAddr,
    /// How that is known.
    pub kind: CandidateKind,
}

/// One of our own addresses, and which addresses are its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Our address there.
    pub address: IpAddr,
    /// Leading bits that all neighbours share; more than the address has stands for all of them.
    pub prefix: u8,
}

/// What of ours decides whether another's private addresses mean anything here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Our own addresses.
    pub interfaces: &'a [Interface],
    /// Both of us have the same public address, so that we are likely behind the same NAT.
    pub same_public_ip: bool,
    /// The other one runs on this machine: its loopback is ours.
    pub same_machine: bool,
}

/// Which of several ways to a member is better. In order: the earlier, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preference {
    /// The same machine or network.
    Near,
    /// Global IPv6: seldom translated.
    Ipv6,
    /// Everything else.
    Far,
}

/// Where an address means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Machine,
    Link,
    /// RFC 1918, RFC 6598, RFC 4193.
    Private,
    Global,
    /// No single host's, or one that hides another address inside.
    Nowhere,
}

impl Candidate {
    /// A candidate.
    pub const fn new(address: SocketAddr, kind: CandidateKind) -> Self {
        Self { address, kind }
    }
}

impl Preference {
    /// Of the way to this address.
    pub fn of(address: SocketAddr) -> Self {
        match (scope(address.ip()), address) {
            (Scope::Machine | Scope::Link | Scope::Private, _) => Self::Near,
            (_, SocketAddr::V6(_)) => Self::Ipv6,
            (_, SocketAddr::V4(_)) => Self::Far,
        }
    }
}

/// What is worth a packet: each address once, the most promising first (near, global IPv6, an interface's, mapped, reflexive), at most
/// [`MAX_CANDIDATES`]. The order depends on nothing but the addresses and kinds.
///
/// Left out are port 0, addresses that no single host has, our loopback unless it is shared, and private addresses unless we are on that
/// network or behind the same public address.
pub fn sanitise(list: &[Candidate], context: &Context<'_>) -> Vec<Candidate> {
    let mut ranked = BTreeSet::new();
    for candidate in list.iter().take(MAX_READ) {
        let candidate = Candidate { address: unmapped(candidate.address), kind: candidate.kind };
        if is_worth_it(candidate.address, context) {
            ranked.insert((rank(candidate), candidate));
        }
    }
    let mut kept: Vec<Candidate> = Vec::new();
    for (_, candidate) in ranked {
        if kept.len() < MAX_CANDIDATES && kept.iter().all(|other| other.address != candidate.address) {
            kept.push(candidate);
        }
    }
    kept
}

/// Whether the address is one that hosts anywhere in the world may have.
pub fn is_global(ip: IpAddr) -> bool {
    scope(ip) == Scope::Global
}

/// An IPv4 address that was written as an IPv6 one (RFC 4291 §2.5.5.2) as what it is.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port()).with_scope_of(address)
}

/// Keeps the interface that a link-local address belongs to.
trait WithScope {
    fn with_scope_of(self, other: SocketAddr) -> Self;
}

impl WithScope for SocketAddr {
    fn with_scope_of(mut self, other: SocketAddr) -> Self {
        if let (Self::V6(own), Self::V6(other)) = (&mut self, other) {
            own.set_scope_id(other.scope_id());
        }
        self
    }
}

fn is_worth_it(address: SocketAddr, context: &Context<'_>) -> bool {
    let ip = address.ip();
    if address.port() == 0 || context.interfaces.iter().any(|interface| interface.is_everybody(ip)) {
        return false;
    }
    let on_our_network = || context.interfaces.iter().any(|interface| interface.is_neighbour(ip));
    match scope(ip) {
        Scope::Machine => context.same_machine,
        Scope::Link => match address {
            // Without the interface nobody knows which link is meant, and only its own host knows the number of an interface.
            SocketAddr::V6(v6) => v6.scope_id() != 0 && on_our_network(),
            SocketAddr::V4(_) => on_our_network(),
        },
        Scope::Private => context.same_public_ip || on_our_network(),
        Scope::Global => true,
        Scope::Nowhere => false,
    }
}

/// The order in which candidates are tried.
fn rank(candidate: Candidate) -> (Preference, CandidateKind) {
    (Preference::of(candidate.address), candidate.kind)
}

fn scope(ip: IpAddr) -> Scope {
    match ip.to_canonical() {
        IpAddr::V4(ip) => scope_v4(ip),
        IpAddr::V6(ip) => scope_v6(ip),
    }
}

/// RFC 6890's registry. Documentation's networks count as global: nothing listens there, and worlds made for tests use them.
fn scope_v4(ip: Ipv4Addr) -> Scope {
    match ip.octets() {
        [127, ..] => Scope::Machine,
        [169, 254, ..] => Scope::Link,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Scope::Private,
        // This network; protocol assignments; the 6to4 relay's anycast; multicast, reserved, broadcast.
        [0, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [224..=255, ..] => Scope::Nowhere,
        _ => Scope::Global,
    }
}

/// Global is what the world has given out so far (2000::/3) less Teredo and 6to4, which carry an IPv4 address of anybody's choice.
fn scope_v6(ip: Ipv6Addr) -> Scope {
    if ip.is_loopback() {
        return Scope::Machine;
    }
    match ip.segments() {
        [0x2001, 0, ..] | [0x2002, ..] => Scope::Nowhere,
        [0xFE80..=0xFEBF, ..] => Scope::Link,
        [0xFC00..=0xFDFF, ..] => Scope::Private,
        [0x2000..=0x3FFF, ..] => Scope::Global,
        _ => Scope::Nowhere,
    }
}

impl Interface {
    fn is_neighbour(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix.into())).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix.into())).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }

    /// Whether a packet to that address is one to all of this network: the broadcast address, and what older systems took for it.
    fn is_everybody(&self, ip: IpAddr) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        // RFC 3021: networks of two have no broadcast.
        if self.prefix >= 31 || !self.is_neighbour(ip.into()) {
            return false;
        }
        let hosts = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        let host = ip.to_bits() & hosts;
        host == 0 || host == hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(address: &str) -> Candidate {
        Candidate::new(address.parse().unwrap(), CandidateKind::Host)
    }

    fn kept(list: &[&str], context: &Context<'_>) -> Vec<String> {
        let list: Vec<_> = list.iter().map(|address| host(address)).collect();
        sanitise(&list, context).iter().map(|candidate| candidate.address.to_string()).collect()
    }

    const HOME: [Interface; 2] = [
        Interface { address: IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2)), prefix: 24 },
        Interface { address: IpAddr::V6(Ipv6Addr::new(0xFD00, 1, 0, 0, 0, 0, 0, 2)), prefix: 64 },
    ];

    #[test]
    fn what_no_single_host_has_gets_no_packet() {
        let everything = Context { interfaces: &HOME, same_public_ip: true, same_machine: true };
        let never = [
            "0.0.0.0:5",
            "0.1.2.3:5",
            "224.0.0.1:5",
            "239.255.255.250:1900",
            "240.0.0.1:5",
            "255.255.255.255:5",
            "192.0.0.8:5",
            "192.88.99.1:5",
            "8.8.8.8:0",
            "192.168.1.255:5",
            "192.168.1.0:5",
            "[::]:5",
            "[ff02::1]:5",
            "[::ffff:224.0.0.1]:5",
            "[::1.2.3.4]:5",
            "[64:ff9b::a00:1]:5",
            "[2002:a00:1::1]:5",
            "[2001:0:1::1]:5",
            "[fe80::1]:5",
            "[fec0::1]:5",
            "[4000::1]:5",
        ];
        assert_eq!(kept(&never, &everything), Vec::<String>::new());
    }

    #[test]
    fn private_addresses_count_where_they_are_shared_and_nowhere_else() {
        let private = ["192.168.1.9:5", "10.0.0.9:5", "100.64.0.9:5", "[fd00:1::9]:5", "169.254.1.1:5", "127.0.0.1:5"];
        assert_eq!(kept(&private, &Context::default()), Vec::<String>::new());
        let at_home = Context { interfaces: &HOME, ..Context::default() };
        assert_eq!(kept(&private, &at_home), ["192.168.1.9:5", "[fd00:1::9]:5"]);
        let behind_one_nat = Context { same_public_ip: true, ..at_home };
        assert_eq!(kept(&private, &behind_one_nat), ["10.0.0.9:5", "100.64.0.9:5", "192.168.1.9:5", "[fd00:1::9]:5"]);
        let one_machine = Context { same_machine: true, ..Context::default() };
        assert_eq!(kept(&private, &one_machine), ["127.0.0.1:5"]);
    }

    #[test]
    fn near_comes_first_then_ipv6_then_mapped_then_reflexive_and_each_address_once() {
        let candidate = |address: &str, kind| Candidate::new(address.parse().unwrap(), kind);
        let list = [
            candidate("9.9.9.9:1", CandidateKind::Reflexive),
            candidate("9.9.9.9:2", CandidateKind::Mapped),
            candidate("[2a00::1]:3", CandidateKind::Host),
            candidate("192.168.1.9:4", CandidateKind::Host),
            candidate("192.168.1.8:4", CandidateKind::Lan),
            candidate("[::ffff:9.9.9.9]:1", CandidateKind::Mapped),
        ];
        let context = Context { interfaces: &HOME, ..Context::default() };
        let order: Vec<_> = sanitise(&list, &context).iter().map(|candidate| candidate.address.port()).collect();
        assert_eq!(order, [4, 4, 3, 1, 2], "the better of two kinds of one address counts");
        assert_eq!(sanitise(&list, &context)[0].kind, CandidateKind::Lan);
    }

    #[test]
    fn a_million_forged_candidates_are_sixteen() {
        let list: Vec<_> =
            (0..1_000_000_u32).map(|n| host(&format!("9.9.{}.{}:{}", n >> 8 & 255, n & 255, n % 65_535 + 1))).collect();
        assert_eq!(sanitise(&list, &Context::default()).len(), MAX_CANDIDATES);
    }

    #[test]
    fn a_prefix_that_no_address_has_is_no_panic() {
        for prefix in [0, 31, 32, 33, 128, 129, 255] {
            for address in ["1.2.3.4", "2a00::1"] {
                let interfaces = [Interface { address: address.parse().unwrap(), prefix }];
                let context = Context { interfaces: &interfaces, ..Context::default() };
                assert!(kept(&["1.2.3.4:5", "[2a00::1]:5"], &context).len() <= 2);
            }
        }
    }

    proptest! {
        /// Whatever is on the list, what is left is within the rules, sorted, and the same when it is sanitised again.
        #[test]
        fn what_is_left_stays(addresses in prop::collection::vec((any::<[u8; 16]>(), any::<bool>(), any::<u16>()), 0..40)) {
            let list: Vec<_> = addresses.iter().map(|(bytes, v4, port)| {
                let ip: IpAddr = if *v4 { [bytes[0], bytes[1], bytes[2], bytes[3]].into() } else { (*bytes).into() };
                Candidate::new(SocketAddr::new(ip, *port), CandidateKind::Host)
            }).collect();
            let context = Context { interfaces: &HOME, same_public_ip: true, same_machine: false };
            let once = sanitise(&list, &context);
            prop_assert!(once.iter().all(|candidate| candidate.address.port() != 0 && !candidate.address.ip().is_multicast()));
            prop_assert_eq!(sanitise(&once, &context), once);
        }
    }
}
