//! What a NAT is: the terms of RFC 4787, and the kinds that are found in the field.

use core::time::Duration;

/// How a NAT behaves. [`Behaviour::default`] is the kindest one that still is a NAT: a full cone.
///
/// | kind | mapping | filtering | ports | lifetime, refreshed | besides |
/// |---|---|---|---|---|---|
/// | [`full_cone`](Self::full_cone) | independent | independent | kept | 120 s, outbound | |
/// | [`restricted`](Self::restricted) | independent | address | kept | 120 s, outbound | |
/// | [`port_restricted`](Self::port_restricted) | independent | address and port | kept | 120 s, outbound | |
/// | [`port_restricted_random`](Self::port_restricted_random) | independent | address and port | random, any | 120 s, outbound | |
/// | [`symmetric`](Self::symmetric) | address and port | address and port | random, any, shared | 120 s, outbound | |
/// | [`symmetric_4096`](Self::symmetric_4096) | address and port | address and port | random, 4096, shared | 120 s, outbound | |
/// | [`symmetric_512`](Self::symmetric_512) | address and port | address and port | random, 512, shared | 120 s, outbound | |
/// | [`symmetric_sequential`](Self::symmetric_sequential) | address and port | address and port | the next, shared | 120 s, outbound | |
/// | [`symmetric_sequential_2`](Self::symmetric_sequential_2) | address and port | address and port | the next but one, shared | 120 s, outbound | |
/// | [`symmetric_sequential_busy`](Self::symmetric_sequential_busy), [`…_2_busy`](Self::symmetric_sequential_2_busy) | | | | | the same with ten flows of others a second |
/// | [`address_dependent`](Self::address_dependent) | address | address | random, any | 120 s, outbound | |
/// | [`linux`](Self::linux) | independent | address and port | kept | 120 s, both ways | clash |
/// | [`cgnat`](Self::cgnat) | independent | address and port | random, 2048 | 120 s, outbound | hairpin, 2048 entries |
/// | [`mobile`](Self::mobile) | address and port | address and port | random, any, shared | 30 s, outbound | |
/// | [`port_restricted_hairpin`](Self::port_restricted_hairpin), [`symmetric_hairpin`](Self::symmetric_hairpin) | | | | | the same with hairpin |
/// | [`short_lived`](Self::short_lived) | independent | address and port | kept | 20 s, outbound | |
/// | [`blocked`](Self::blocked) | | | | | no UDP passes |
///
/// Where the last column is silent: no hairpin, no clash, 65,536 entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// When two packets from one inside address and port leave from the same outside port (RFC 4787 §4.1).
    pub mapping: Mapping,
    /// Who may answer through a mapping (RFC 4787 §5).
    pub filtering: Filtering,
    /// Which outside port a mapping gets (RFC 4787 §4.2).
    pub ports: Ports,
    /// Whether mappings towards different remotes may have the same port ("port overloading", RFC 4787 §4.2.2), so that a pool carries
    /// more flows than it has ports: Linux does so, and so do providers, whose subscribers have few ports each. It takes the
    /// remote to tell the mappings of a port apart, so that this does nothing unless mapping and filtering are both by address and port.
    pub overloading: bool,
    /// Mappings of other users a second, on average, at times of their own. Each takes the next port of a
    /// [sequential](Ports::Sequential) NAT; they do nothing to other NATs and fill no table.
    pub background_flows: f64,
    /// Whether inside hosts reach each other by the outside address (RFC 4787 §6), the source translated too ("external source IP
    /// address and port"). The filter applies to them as to anybody.
    pub hairpin: bool,
    /// How long a mapping, and what the filter knows of a remote, lasts when nothing refreshes it (RFC 4787 §4.3; REQ-5 asks for
    /// two minutes at least, and half a minute is common).
    pub lifetime: Duration,
    /// What refreshes it (RFC 4787 §4.3, REQ-6).
    pub refresh: Refresh,
    /// Entries that fit: each mapping is one, and so is each remote beyond the first that a mapping's filter lets in, and each
    /// clash entry. When it is full, packets that need an entry are dropped.
    pub table_limit: usize,
    /// Whether a refused packet from outside leaves an entry, as in Linux's conntrack when no firewall rule drops it before it is
    /// confirmed. A mapping towards that remote then cannot have the port it was sent to: it moves to another port, for this remote
    /// only, and without a word to anybody.
    pub clash: bool,
    /// Whether it drops all UDP, as some firewalls of companies do. Nothing else matters then.
    pub blocked: bool,
}

/// When the mapping of one inside address and port is used again (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mapping {
    /// "Endpoint-Independent": for every remote.
    #[default]
    Independent,
    /// "Address-Dependent": for the same remote address, whatever its port.
    ByAddress,
    /// "Address and Port-Dependent": for the same remote address and port.
    ByAddressAndPort,
}

/// Whose packets pass a mapping inwards (RFC 4787 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Filtering {
    /// "Endpoint-Independent": everybody's.
    #[default]
    Independent,
    /// "Address-Dependent": those of addresses to which the mapping was used, whatever their port.
    ByAddress,
    /// "Address and Port-Dependent": those of addresses and ports to which the mapping was used.
    ByAddressAndPort,
}

/// Which outside port a mapping gets (RFC 4787 §4.2). Never one that is in use, unless the NAT is [overloading](Behaviour::overloading)
/// its ports. Port parity (§4.2.3) is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Ports {
    /// "Port preservation": the inside port if it is free, else any.
    #[default]
    Kept,
    /// So many above the last one that was given, or the next such that is free. 0 means 1.
    Sequential {
        /// The distance.
        step: u16,
    },
    /// Any in a pool of so many adjacent ports, which lies anywhere. 0 means 1; more than [`PORTS`](crate::PORTS) means all.
    Random {
        /// How many ports.
        pool: u16,
    },
}

/// Which packets make a mapping last (RFC 4787 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Refresh {
    /// Those that leave, as REQ-6 demands.
    #[default]
    Outbound,
    /// Those that come in too, as REQ-6 allows.
    Both,
}

/// A name, and what makes a behaviour of that kind.
type Kind = (&'static str, fn() -> Behaviour);

/// A name, and what makes the NATs that a host of that kind is behind.
type Chain = (&'static str, fn() -> Vec<Behaviour>);

/// What hosts are behind in the matrix of pairs: nothing, or one NAT.
pub const MATRIX: [Chain; 13] = [
    ("public", Vec::new),
    ("full-cone", || vec![Behaviour::full_cone()]),
    ("restricted", || vec![Behaviour::restricted()]),
    ("port-restricted", || vec![Behaviour::port_restricted()]),
    ("port-restricted-random", || vec![Behaviour::port_restricted_random()]),
    ("address-dependent", || vec![Behaviour::address_dependent()]),
    ("symmetric-sequential", || vec![Behaviour::symmetric_sequential()]),
    ("symmetric-sequential-busy", || vec![Behaviour::symmetric_sequential_busy()]),
    ("symmetric-sequential-2", || vec![Behaviour::symmetric_sequential_2()]),
    ("symmetric-sequential-2-busy", || vec![Behaviour::symmetric_sequential_2_busy()]),
    ("symmetric-512", || vec![Behaviour::symmetric_512()]),
    ("symmetric-4096", || vec![Behaviour::symmetric_4096()]),
    ("symmetric", || vec![Behaviour::symmetric()]),
];

/// Flows of others a second at a NAT that is [busy](Behaviour::symmetric_sequential_busy).
const BUSY: f64 = 10.0;

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            mapping: Mapping::Independent,
            filtering: Filtering::Independent,
            ports: Ports::Kept,
            overloading: false,
            background_flows: 0.0,
            hairpin: false,
            lifetime: Duration::from_secs(120),
            refresh: Refresh::Outbound,
            table_limit: 65_536,
            clash: false,
            blocked: false,
        }
    }
}

impl Behaviour {
    /// The kinds below by name, for programs that are told one.
    pub const KINDS: [Kind; 19] = [
        ("full-cone", Self::full_cone),
        ("restricted", Self::restricted),
        ("port-restricted", Self::port_restricted),
        ("port-restricted-random", Self::port_restricted_random),
        ("port-restricted-hairpin", Self::port_restricted_hairpin),
        ("address-dependent", Self::address_dependent),
        ("symmetric", Self::symmetric),
        ("symmetric-4096", Self::symmetric_4096),
        ("symmetric-512", Self::symmetric_512),
        ("symmetric-hairpin", Self::symmetric_hairpin),
        ("symmetric-sequential", Self::symmetric_sequential),
        ("symmetric-sequential-busy", Self::symmetric_sequential_busy),
        ("symmetric-sequential-2", Self::symmetric_sequential_2),
        ("symmetric-sequential-2-busy", Self::symmetric_sequential_2_busy),
        ("linux", Self::linux),
        ("cgnat", Self::cgnat),
        ("mobile", Self::mobile),
        ("short-lived", Self::short_lived),
        ("blocked", Self::blocked),
    ];

    /// The kind of this name in [`KINDS`](Self::KINDS).
    pub fn named(name: &str) -> Option<Self> {
        Self::KINDS.iter().find(|(kind, _)| *kind == name).map(|(_, make)| make())
    }

    /// Independent mapping, whoever knows the port may come in ("full cone", RFC 3489 §5).
    pub fn full_cone() -> Self {
        Self::default()
    }

    /// Independent mapping, filter by address ("restricted cone", RFC 3489 §5).
    pub fn restricted() -> Self {
        Self { filtering: Filtering::ByAddress, ..Self::default() }
    }

    /// Independent mapping, filter by address and port ("port restricted cone", RFC 3489 §5): most routers at home.
    pub fn port_restricted() -> Self {
        Self { filtering: Filtering::ByAddressAndPort, ..Self::default() }
    }

    /// Port-restricted, on random ports.
    pub fn port_restricted_random() -> Self {
        Self { ports: Ports::Random { pool: u16::MAX }, ..Self::port_restricted() }
    }

    /// Port-restricted, and hosts behind it reach each other by its outside address.
    pub fn port_restricted_hairpin() -> Self {
        Self { hairpin: true, ..Self::port_restricted() }
    }

    /// A mapping for each remote address, a filter by address, on random ports.
    pub fn address_dependent() -> Self {
        let ports = Ports::Random { pool: u16::MAX };
        Self { mapping: Mapping::ByAddress, filtering: Filtering::ByAddress, ports, ..Self::default() }
    }

    /// A mapping for each remote address and port, on random ports ("symmetric", RFC 3489 §5): some firewalls and mobile networks.
    pub fn symmetric() -> Self {
        Self {
            mapping: Mapping::ByAddressAndPort,
            filtering: Filtering::ByAddressAndPort,
            ports: Ports::Random { pool: u16::MAX },
            overloading: true,
            ..Self::default()
        }
    }

    /// Symmetric, out of 4096 ports: what a provider may give a subscriber.
    pub fn symmetric_4096() -> Self {
        Self { ports: Ports::Random { pool: 4096 }, ..Self::symmetric() }
    }

    /// Symmetric, out of 512 ports.
    pub fn symmetric_512() -> Self {
        Self { ports: Ports::Random { pool: 512 }, ..Self::symmetric() }
    }

    /// Symmetric, and hosts behind it reach each other by its outside address.
    pub fn symmetric_hairpin() -> Self {
        Self { hairpin: true, ..Self::symmetric() }
    }

    /// A symmetric NAT that counts its ports up, and that nobody else uses: what prediction was invented for.
    pub fn symmetric_sequential() -> Self {
        Self { ports: Ports::Sequential { step: 1 }, ..Self::symmetric() }
    }

    /// A symmetric NAT that counts its ports up, while others use it.
    pub fn symmetric_sequential_busy() -> Self {
        Self { background_flows: BUSY, ..Self::symmetric_sequential() }
    }

    /// A symmetric NAT that counts its ports up by two, as those do that keep parity (RFC 4787 §4.2.3).
    pub fn symmetric_sequential_2() -> Self {
        Self { ports: Ports::Sequential { step: 2 }, ..Self::symmetric() }
    }

    /// A symmetric NAT that counts its ports up by two, while others use it.
    pub fn symmetric_sequential_2_busy() -> Self {
        Self { background_flows: BUSY, ..Self::symmetric_sequential_2() }
    }

    /// Linux with nftables' `masquerade` and nothing that drops on INPUT. Ports are kept, so that mapping looks independent; conntrack
    /// filters by address and port, refreshes both ways (120 s, `nf_conntrack_udp_timeout_stream`), and clashes.
    pub fn linux() -> Self {
        Self { refresh: Refresh::Both, clash: true, ..Self::port_restricted() }
    }

    /// A provider's NAT for many homes, kept to RFC 6888: independent mapping (REQ-1 by way of RFC 4787), hairpinning, random ports out
    /// of a block of 2048 that the subscriber has, and as many entries; but it filters by address and port.
    pub fn cgnat() -> Self {
        Self { ports: Ports::Random { pool: 2048 }, hairpin: true, table_limit: 2048, ..Self::port_restricted() }
    }

    /// A mobile network at its worst: symmetric, any port, forgotten after 30 s without a packet from inside.
    pub fn mobile() -> Self {
        Self { lifetime: Duration::from_secs(30), ..Self::symmetric() }
    }

    /// Port-restricted, and forgets after 20 s without a packet from inside.
    pub fn short_lived() -> Self {
        Self { lifetime: Duration::from_secs(20), ..Self::port_restricted() }
    }

    /// No UDP passes.
    pub fn blocked() -> Self {
        Self { blocked: true, ..Self::port_restricted() }
    }

    /// Whether mappings share ports: [`overloading`](Self::overloading), where it does something.
    pub fn shares_ports(&self) -> bool {
        let by_port = (Mapping::ByAddressAndPort, Filtering::ByAddressAndPort);
        self.overloading && (self.mapping, self.filtering) == by_port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_no_two_are_the_same() {
        let kinds = Behaviour::KINDS.map(|(name, make)| (Behaviour::named(name).unwrap(), make()));
        assert!(kinds.iter().all(|(found, made)| found == made));
        let differ = |at: usize| kinds[at + 1..].iter().all(|(other, _)| *other != kinds[at].0);
        assert!((0..kinds.len()).all(differ));
        assert_eq!(Behaviour::named("cone"), None);
    }

    #[test]
    fn every_kind_of_the_matrix_has_its_name_among_the_kinds() {
        for (name, make) in MATRIX {
            assert_eq!(make().first().cloned(), Behaviour::named(name), "{name}");
            assert_eq!(make().is_empty(), name == "public");
        }
    }
}
