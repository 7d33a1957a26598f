//! NATs of the kernel: nftables in a namespace between two others. A second opinion on the library's.
//!
//! ```text
//!   home 10.1.0.2 ──veth── 10.1.0.1  nat  192.0.2.1 ──veth── 192.0.2.2, 192.0.2.3  server
//! ```

use crate::args::KernelOptions;
use crate::failure::Failure;
use crate::namespace::{Namespace, tool_in};
use crate::privilege;
use crate::run;
use crate::scenario::{Task, shell};
use crate::signals::Signals;
use crate::world::{Place, World};
use clap::ValueEnum;
use netem::{Filtering, Mapping};
use std::net::Ipv4Addr;
use std::process::ExitCode;

const HOME: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3)];

/// The outer device of such a NAT, by which the rules know where outside is, and the inner one.
pub(crate) const WAN: &str = "wan";
const LAN: &str = "lan";

/// How many ports a NAT that counts has, and the first of them.
const SEQUENCE: u16 = 8192;
const FIRST_OF_SEQUENCE: u16 = 20_000;

/// What nftables can be made to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Every port that was used inside is open to everybody
    FullCone,
    /// … to addresses that were sent to
    Restricted,
    /// `masquerade`: ports are kept, conntrack filters
    PortRestricted,
    /// `masquerade` to a port that was drawn for each port inside
    PortRestrictedRandom,
    /// `masquerade` without a drop on INPUT: whoever sends too early moves our mapping
    Clashing,
    /// `masquerade fully-random`: another port for everyone
    Symmetric,
    /// … out of 4096
    #[value(name = "symmetric-4096")]
    Symmetric4096,
    /// … out of 512
    #[value(name = "symmetric-512")]
    Symmetric512,
    /// … out of 64
    #[value(name = "symmetric-64")]
    Symmetric64,
    /// `masquerade` to the next port for each flow
    SymmetricSequential,
    /// … to the next but one
    #[value(name = "symmetric-sequential-2")]
    SymmetricSequential2,
    /// No UDP passes
    Blocked,
}

impl Kind {
    /// What it is in the terms of RFC 4787.
    pub(crate) const fn is(self) -> (Mapping, Filtering) {
        match self {
            Self::FullCone => (Mapping::Independent, Filtering::Independent),
            Self::Restricted => (Mapping::Independent, Filtering::ByAddress),
            Self::PortRestricted | Self::PortRestrictedRandom | Self::Clashing | Self::Blocked => {
                (Mapping::Independent, Filtering::ByAddressAndPort)
            }
            Self::Symmetric
            | Self::Symmetric4096
            | Self::Symmetric512
            | Self::Symmetric64
            | Self::SymmetricSequential
            | Self::SymmetricSequential2 => (Mapping::ByAddressAndPort, Filtering::ByAddressAndPort),
        }
    }

    /// What it does to the source of what leaves.
    const fn translation(self) -> &'static str {
        match self {
            Self::FullCone | Self::Restricted | Self::PortRestricted | Self::Clashing | Self::Blocked => "masquerade",
            Self::PortRestrictedRandom => "ip protocol udp masquerade to :udp sport map @drawn",
            Self::Symmetric => "masquerade fully-random",
            Self::Symmetric4096 => "ip protocol udp masquerade to :20480-24575 fully-random",
            Self::Symmetric512 => "ip protocol udp masquerade to :20480-20991 fully-random",
            Self::Symmetric64 => "ip protocol udp masquerade to :20480-20543 fully-random",
            Self::SymmetricSequential | Self::SymmetricSequential2 => "ip protocol udp masquerade to :SEQUENCE",
        }
    }

    /// Rules for `nft`.
    ///
    /// The cones remember who inside used which port (and towards whom) in a chain before the translation, where every packet passes;
    /// those of type nat see the first packet of a flow only. Ports are kept as long as nobody else has them, so that the port
    /// before the translation is the one that the world sees.
    fn rules(self) -> String {
        let step = if self == Self::SymmetricSequential2 { 2 } else { 1 };
        let translation = self.translation().replace("SEQUENCE", &sequence(step));
        let (remember, admit) = match self {
            Self::FullCone => (
                "update @inside { udp sport : ip saddr . udp sport }",
                "iifname \"wan\" dnat ip to udp dport map @inside",
            ),
            Self::Restricted => (
                "update @inside { udp sport : ip saddr . udp sport } update @friends { ip daddr . udp sport }",
                "iifname \"wan\" ip saddr . udp dport @friends dnat ip to udp dport map @inside",
            ),
            // Where its bytes are swapped a random number is as good.
            Self::PortRestrictedRandom => {
                ("udp sport != @drawn add @drawn { udp sport : numgen random mod 64000 offset 1024 }", "counter")
            }
            _ => ("counter", "counter"),
        };
        // A packet that is dropped here leaves no entry in conntrack. One that is not takes its port away from our next mapping.
        let input = if self == Self::Clashing { "accept" } else { "drop" };
        let forward = if self == Self::Blocked { "drop" } else { "accept" };
        format!(
            "table ip netem {{
                map inside {{ type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; }}
                map drawn {{ type inet_service : inet_service; flags dynamic; }}
                set friends {{ type ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; }}
                chain remember {{
                    type filter hook postrouting priority srcnat - 1
                    oifname \"wan\" ip protocol udp {remember}
                }}
                chain leave {{
                    type nat hook postrouting priority srcnat
                    oifname \"wan\" {translation}
                }}
                chain come {{
                    type nat hook prerouting priority dstnat
                    {admit}
                }}
                chain input {{
                    type filter hook input priority filter
                    iifname \"wan\" ip protocol udp {input}
                }}
                chain forward {{
                    type filter hook forward priority filter
                    ip protocol udp {forward}
                }}
            }}
            "
        )
    }
}

/// The ports of a NAT that counts, as an expression of `nft`. By a table, because `numgen` counts in the byte order of the machine.
fn sequence(step: u16) -> String {
    let ports = (0..SEQUENCE).map(|number| format!("{number} : {}", FIRST_OF_SEQUENCE + number * step));
    format!("numgen inc mod {SEQUENCE} map {{ {} }}", ports.collect::<Vec<_>>().join(", "))
}

/// Makes the NAT that a host is behind: a namespace that waits for its outer device. The host is connected to it.
pub(crate) fn gate(label: &str, host: &Place, kind: Kind) -> Result<Namespace, Failure> {
    let gate = Namespace::create(&format!("{label}{}-nat", host.name))?;
    let home = host.addresses.first().copied().unwrap_or(HOME);
    let [a, b, c, _] = home.octets();
    let inside = Ipv4Addr::new(a, b, c, 1);
    gate.ip(&format!(
        "link add {LAN} type veth peer name eth0 netns {}\naddress add {inside}/24 dev {LAN}\nlink set {LAN} up\n",
        host.namespace.name()
    ))?;
    host.namespace
        .ip(&format!("address add {home}/24 dev eth0\nlink set eth0 up\nroute add default via {inside}\n"))?;
    open(&gate, kind)?;
    Ok(gate)
}

/// Lets a namespace be such a NAT.
fn open(namespace: &Namespace, kind: Kind) -> Result<(), Failure> {
    namespace.inside(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
    tool_in(namespace, "nft", &["-f", "-"], &kind.rules())
}

/// Makes the three hosts. Names of namespaces begin with `label`.
pub(crate) fn build(kind: Kind, label: &str, signals: &Signals) -> Result<World, Failure> {
    let mut world = World::empty();
    for (name, addresses) in [("home", vec![HOME]), ("nat", vec![OUTSIDE]), ("server", SERVER.to_vec())] {
        if signals.ending().is_some() {
            return Err(Failure::new("interrupted"));
        }
        world.hosts.push(Place::create(label, name, addresses)?);
    }
    let [home, nat, server] = ["home", "nat", "server"].map(|name| world.place(name).map(|place| &place.namespace));
    let (home, nat, server) = (home?, nat?, server?);
    nat.ip(&format!(
        "link add {LAN} type veth peer name eth0 netns {}
         link add {WAN} type veth peer name eth0 netns {}
         address add {INSIDE}/24 dev {LAN}
         address add {OUTSIDE}/24 dev {WAN}
         link set {LAN} up
         link set {WAN} up
        ",
        home.name(),
        server.name()
    ))?;
    home.ip(&format!("address add {HOME}/24 dev eth0\nlink set eth0 up\nroute add default via {INSIDE}\n"))?;
    let [first, second] = SERVER;
    server.ip(&format!("address add {first}/24 dev eth0\naddress add {second}/24 dev eth0\nlink set eth0 up\n"))?;
    open(nat, kind)?;
    Ok(world)
}

/// `netem kernel-nat`: commands on both sides of such a NAT.
pub(crate) fn main(options: &KernelOptions) -> Result<ExitCode, Failure> {
    privilege::ensure()?;
    let signals = Signals::take()?;
    let world = build(options.kind, "", &signals)?;
    let far = options.far.as_deref().map(|far| ("server".into(), Task { command: shell(far), serves: true }));
    let home = ("home".into(), Task { command: options.command.clone(), serves: false });
    let tasks: Vec<(String, Task)> = far.into_iter().chain([home]).collect();
    run::tasks(world, &tasks, &signals)
}
