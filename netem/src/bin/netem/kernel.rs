//! NATs of the kernel: nftables in a namespace between two others. A second opinion on the library's.
//!
//! ```text
//!   home 10.1.0.2 ──veth── 10.1.0.1  nat  192.0.2.1 ──veth── 192.0.2.2, 192.0.2.3  server
//! ```

use crate::args::KernelOptions;
use crate::failure::Failure;
use crate::namespace::tool_in;
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

/// What nftables can be made to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Every port that was used inside is open to everybody
    FullCone,
    /// … to addresses that were sent to
    Restricted,
    /// `masquerade`: ports are kept, conntrack filters
    PortRestricted,
    /// `masquerade` without a drop on INPUT: whoever sends too early moves our mapping
    Clashing,
    /// `masquerade fully-random`: another port for everyone
    Symmetric,
}

impl Kind {
    /// What it is in the terms of RFC 4787.
    pub(crate) const fn is(self) -> (Mapping, Filtering) {
        match self {
            Self::FullCone => (Mapping::Independent, Filtering::Independent),
            Self::Restricted => (Mapping::Independent, Filtering::ByAddress),
            Self::PortRestricted | Self::Clashing => (Mapping::Independent, Filtering::ByAddressAndPort),
            Self::Symmetric => (Mapping::ByAddressAndPort, Filtering::ByAddressAndPort),
        }
    }

    /// Rules for `nft`.
    ///
    /// The cones remember who inside used which port (and towards whom) in a chain before the translation, where every packet passes;
    /// those of type nat see the first packet of a flow only. Ports are kept as long as nobody else has them, so that the port
    /// before the translation is the one that the world sees.
    fn rules(self) -> String {
        let masquerade = if self == Self::Symmetric { "masquerade fully-random" } else { "masquerade" };
        let (remember, admit) = match self {
            Self::FullCone => (
                "update @inside { udp sport : ip saddr . udp sport }",
                "iifname \"wan\" dnat ip to udp dport map @inside",
            ),
            Self::Restricted => (
                "update @inside { udp sport : ip saddr . udp sport } update @friends { ip daddr . udp sport }",
                "iifname \"wan\" ip saddr . udp dport @friends dnat ip to udp dport map @inside",
            ),
            Self::PortRestricted | Self::Clashing | Self::Symmetric => ("counter", "counter"),
        };
        // A packet that is dropped here leaves no entry in conntrack. One that is not takes its port away from our next mapping.
        let input = if self == Self::Clashing { "accept" } else { "drop" };
        format!(
            "table ip netem {{
                map inside {{ type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; }}
                set friends {{ type ipv4_addr . inet_service; flags dynamic,timeout; timeout 120s; }}
                chain remember {{
                    type filter hook postrouting priority srcnat - 1
                    oifname \"wan\" ip protocol udp {remember}
                }}
                chain leave {{
                    type nat hook postrouting priority srcnat
                    oifname \"wan\" {masquerade}
                }}
                chain come {{
                    type nat hook prerouting priority dstnat
                    {admit}
                }}
                chain input {{
                    type filter hook input priority filter
                    iifname \"wan\" ip protocol udp {input}
                }}
            }}
            "
        )
    }
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
        "link add lan type veth peer name eth0 netns {}
         link add wan type veth peer name eth0 netns {}
         address add {INSIDE}/24 dev lan
         address add {OUTSIDE}/24 dev wan
         link set lan up
         link set wan up
        ",
        home.name(),
        server.name()
    ))?;
    home.ip(&format!("address add {HOME}/24 dev eth0\nlink set eth0 up\nroute add default via {INSIDE}\n"))?;
    let [first, second] = SERVER;
    server.ip(&format!("address add {first}/24 dev eth0\naddress add {second}/24 dev eth0\nlink set eth0 up\n"))?;
    nat.inside(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
    tool_in(nat, "nft", &["-f", "-"], &kind.rules())?;
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
