//! Namespaces, devices and the carrier between them: built from a scenario, gone when dropped.

use crate::carrier::{Access, Carrying, Parts, Port, Report};
use crate::failure::{Context, Failure};
use crate::gates::Realm;
use crate::kernel;
use crate::namespace::Namespace;
use crate::scenario::{Host, Scenario, Task};
use crate::signals::Signals;
use core::time::Duration;
use netem::{Nat, Pipe};
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Command};
use tun_rs::{DeviceBuilder, SyncDevice};

/// The device in each namespace.
const DEVICE: &str = "tun0";

/// Bytes of a packet that a host may send, unless its link takes larger ones: Ethernet's.
const MTU: usize = 1500;

/// What waits in the device for us, in packets. Ten times what would fit a millisecond at a gigabit: what is lost here was lost by
/// this program and not by a link.
const DEVICE_QUEUE: u32 = 10_000;

/// Hosts that can run commands.
pub(crate) struct World {
    /// Before the carrier, so that what still runs is ended while packets still pass.
    pub(crate) hosts: Vec<Place>,
    carrying: Option<Carrying>,
    /// Whose links each host uses, and its own NAT.
    accesses: Vec<usize>,
    nats: Vec<Realm>,
}

/// A host that exists.
pub(crate) struct Place {
    pub(crate) name: String,
    /// Of its device.
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) six: Option<Ipv6Addr>,
    pub(crate) namespace: Namespace,
    /// The NAT of the kernel that it is behind, which has the device then.
    pub(crate) gate: Option<Namespace>,
}

impl Place {
    /// With a namespace whose name begins with `label`.
    pub(crate) fn create(label: &str, name: &str, addresses: Vec<Ipv4Addr>) -> Result<Self, Failure> {
        let namespace = Namespace::create(&format!("{label}{name}"))?;
        Ok(Self { name: name.into(), addresses, six: None, namespace, gate: None })
    }
}

impl World {
    /// Nothing yet.
    pub(crate) const fn empty() -> Self {
        Self { hosts: Vec::new(), carrying: None, accesses: Vec::new(), nats: Vec::new() }
    }

    /// Makes it all, unless a signal asks to end.
    pub(crate) fn build(scenario: Scenario, signals: &Signals) -> Result<Self, Failure> {
        let mut world = Self::empty();
        let mut parts = Parts::default();
        let mut neighbours: Vec<usize> = Vec::new();
        for (index, host) in scenario.hosts.into_iter().enumerate() {
            if signals.ending().is_some() {
                return Err(Failure::new("interrupted"));
            }
            // How many were behind the same NATs before.
            let number = host.with.and_then(|with| neighbours.get_mut(with)).map_or(0, |count| {
                *count += 1;
                *count
            });
            neighbours.push(0);
            let inside = host.inside_addresses(number);
            let mut place = Place::create(&scenario.label, &host.name, inside)?;
            place.six = host.six;
            if let Some(kind) = host.kernel {
                place.gate = Some(kernel::gate(&scenario.label, &place, kind)?);
            }
            let device = device(&place, &host)?;
            world.hosts.push(place);
            // Dice of its own for each link and NAT.
            let seed = scenario.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add((index as u64) << 16);
            let shared = host.with.and_then(|with| parts.ports.get(with)).map(|port| (port.realm, port.access));
            let (realm, access) = shared.unwrap_or_else(|| connect(&mut parts, &host, seed));
            // A NAT of the kernel is a host of the world to us.
            let public = if host.kernel.is_some() { host.addresses.clone() } else { host.inside_addresses(number) };
            for ip in public {
                parts.gates.settle(realm, ip.into(), index);
            }
            if let Some(six) = host.six {
                parts.gates.settle(None, six.into(), index);
                parts.routes.insert(six.into(), access);
            }
            parts.ports.push(Port { name: host.name, device, realm, access });
        }
        world.accesses = parts.ports.iter().map(|port| port.access).collect();
        world.nats = parts.ports.iter().map(|port| port.realm).collect();
        world.carrying = Some(Carrying::start(parts)?);
        Ok(world)
    }

    /// Payload bytes that the links of this host have sent up so far.
    pub(crate) fn sent_up(&self, host: &str) -> u64 {
        let index = self.hosts.iter().position(|place| place.name == host);
        let access = index.and_then(|index| self.accesses.get(index));
        access.zip(self.carrying.as_ref()).map_or(0, |(access, carrying)| carrying.sent_up(*access))
    }

    /// Lets this host's own NAT lose its power for a moment.
    pub(crate) fn reboot(&self, host: &str) {
        let index = self.hosts.iter().position(|place| place.name == host);
        let nat = index.and_then(|index| self.nats.get(index).copied().flatten());
        if let Some((nat, carrying)) = nat.zip(self.carrying.as_ref()) {
            carrying.reboot(nat);
        }
    }

    /// Lets nothing pass between any of these hosts and any of those.
    pub(crate) fn cut(&self, these: &[usize], those: &[usize]) {
        let access = |host: &usize| self.accesses.get(*host).copied();
        let pairs = these.iter().flat_map(|a| those.iter().map(move |b| (access(a), access(b))));
        for (a, b) in pairs {
            if let Some(((a, b), carrying)) = a.zip(b).zip(self.carrying.as_ref()) {
                carrying.cut(a, b);
            }
        }
    }

    /// Lets everything pass again.
    pub(crate) fn heal(&self) {
        if let Some(carrying) = self.carrying.as_ref() {
            carrying.heal();
        }
    }

    /// Starts what a host is to run, its input and output ours.
    pub(crate) fn start(&self, host: &str, task: &Task) -> Result<Child, Failure> {
        let (program, arguments) = task.command.split_first().ok_or_else(|| Failure::new("no command"))?;
        let mut command = Command::new(program);
        command.args(arguments);
        self.spawn(host, command)
    }

    /// Starts a command on a host.
    pub(crate) fn spawn(&self, host: &str, mut command: Command) -> Result<Child, Failure> {
        let place = self.place(host)?;
        command.env("NETEM_HOST", host);
        for place in &self.hosts {
            if let Some(address) = place.addresses.first() {
                let variable = format!("NETEM_{}", place.name.to_uppercase().replace('-', "_"));
                command.env(variable, address.to_string());
            }
        }
        place.namespace.inside(|| {
            let started = command.spawn();
            started.map_err(|error| {
                io::Error::other(format!("cannot run {}: {error}", command.get_program().to_string_lossy()))
            })
        })
    }

    /// Whether the carrier has given up.
    pub(crate) fn has_failed(&self) -> bool {
        self.carrying.as_ref().is_some_and(Carrying::has_failed)
    }

    /// Ends what runs, then the rest.
    pub(crate) fn finish(mut self) -> Result<Report, Failure> {
        for place in &self.hosts {
            place.namespace.end_processes();
        }
        self.carrying.take().map_or_else(|| Ok(Report::default()), Carrying::stop)
    }

    /// The host of this name.
    pub(crate) fn place(&self, host: &str) -> Result<&Place, Failure> {
        self.hosts.iter().find(|place| place.name == host).ok_or_else(|| Failure::new(format!("no host {host}")))
    }
}

/// NATs and links for a host that shares none. Says behind what it is, and whose links it uses.
fn connect(parts: &mut Parts, host: &Host, seed: u64) -> (Realm, usize) {
    let mut realm = None;
    let mut nats = Vec::new();
    // The outermost first: each is in the realm of the one before.
    for (n, (behaviour, outside)) in host.nats.iter().zip(host.outside_addresses()).enumerate().rev() {
        let seed = seed.wrapping_add(n as u64 + 2);
        let nat = parts.gates.add(Nat::new(behaviour.clone(), outside.into(), seed), realm);
        realm = Some(nat);
        nats.insert(0, nat);
    }
    let access = parts.accesses.len();
    parts.routes.extend(host.addresses.iter().map(|ip| (IpAddr::from(*ip), access)));
    parts.accesses.push(Access {
        name: host.name.clone(),
        up: Pipe::new(host.up.clone(), seed),
        down: Pipe::new(host.down.clone(), seed.wrapping_add(1)),
        nats,
    });
    (realm, access)
}

/// The only way out, of the host or of the NAT of the kernel that it is behind.
fn device(place: &Place, host: &Host) -> Result<SyncDevice, Failure> {
    let (namespace, name, addresses) = match &place.gate {
        Some(gate) => (gate, kernel::WAN, &host.addresses),
        None => (&place.namespace, DEVICE, &place.addresses),
    };
    let has_six = place.six.is_some();
    let device = namespace.inside(|| {
        let device = DeviceBuilder::new().name(name).enable(false).build_sync()?;
        device.set_nonblocking(true)?;
        if has_six {
            // An address that can be used at once, and no other than that one.
            for (setting, value) in [("accept_dad", "0"), ("router_solicitations", "0"), ("disable_ipv6", "0")] {
                std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{setting}"), value)?;
            }
        }
        Ok(device)
    })?;
    let mtu = [host.up.mtu, host.down.mtu].into_iter().flatten().fold(MTU, usize::max).min(65_535);
    let mut lines = format!("link set {name} mtu {mtu} txqueuelen {DEVICE_QUEUE} up\n");
    for address in addresses {
        writeln!(lines, "address add {address}/32 dev {name}").context(|| "cannot write".into())?;
    }
    if !addresses.is_empty() {
        writeln!(lines, "route add default dev {name}").context(|| "cannot write".into())?;
    }
    namespace.ip(&lines)?;
    if let Some(six) = place.six {
        namespace.ip(&format!("address add {six}/128 dev {name} nodad\nroute add ::/0 dev {name}\n"))?;
    }
    Ok(device)
}

/// Waits until the namespace of a command has so many sockets open, or has ended, or this much time has passed.
pub(crate) fn wait_until_listening(child: &mut Child, signals: &Signals, sockets: usize, at_most: Duration) {
    const LOOK: Duration = Duration::from_millis(5);
    let id = child.id();
    let open = |protocol: &str| {
        // A line of headings, then a line a socket of the namespace.
        let table = std::fs::read_to_string(format!("/proc/{id}/net/{protocol}")).unwrap_or_default();
        table.lines().skip(1).count()
    };
    for _ in 0..at_most.as_millis() / LOOK.as_millis() {
        let has_ended = !matches!(child.try_wait(), Ok(None));
        if has_ended || open("udp") + open("tcp") >= sockets || signals.ending().is_some() {
            return;
        }
        signals.wait(LOOK);
    }
}
