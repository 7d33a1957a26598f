//! Namespaces, devices and the carrier between them: built from a scenario, gone when dropped.

use crate::carrier::{Carrying, Port, Report};
use crate::failure::{Context, Failure};
use crate::namespace::Namespace;
use crate::scenario::{Host, Scenario, Task};
use crate::signals::Signals;
use core::time::Duration;
use netem::{Nat, Pipe};
use std::fmt::Write;
use std::io;
use std::net::Ipv4Addr;
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
}

/// A host that exists.
pub(crate) struct Place {
    pub(crate) name: String,
    /// Of its device.
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) namespace: Namespace,
}

impl Place {
    /// With a namespace whose name begins with `label`.
    pub(crate) fn create(label: &str, name: &str, addresses: Vec<Ipv4Addr>) -> Result<Self, Failure> {
        let namespace = Namespace::create(&format!("{label}{name}"))?;
        Ok(Self { name: name.into(), addresses, namespace })
    }
}

impl World {
    /// Nothing yet.
    pub(crate) const fn empty() -> Self {
        Self { hosts: Vec::new(), carrying: None }
    }

    /// Makes it all, unless a signal asks to end.
    pub(crate) fn build(scenario: Scenario, signals: &Signals) -> Result<Self, Failure> {
        let mut world = Self::empty();
        let mut ports = Vec::new();
        for (index, host) in scenario.hosts.into_iter().enumerate() {
            if signals.ending().is_some() {
                return Err(Failure::new("interrupted"));
            }
            let place = Place::create(&scenario.label, &host.name, host.inside_addresses())?;
            let device = device(&place, &host)?;
            world.hosts.push(place);
            // Dice of its own for each link and NAT.
            let seed = scenario.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add((index as u64) << 16);
            let nats = host.nats.iter().zip(host.outside_addresses()).zip(2..);
            let nats = nats.map(|((nat, outside), n)| Nat::new(nat.clone(), outside.into(), seed.wrapping_add(n)));
            ports.push(Port {
                nats: nats.collect(),
                name: host.name,
                device,
                addresses: host.addresses,
                up: Pipe::new(host.up, seed),
                down: Pipe::new(host.down, seed.wrapping_add(1)),
            });
        }
        world.carrying = Some(Carrying::start(ports)?);
        Ok(world)
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

/// The host's only way out.
fn device(place: &Place, host: &Host) -> Result<SyncDevice, Failure> {
    let device = place.namespace.inside(|| {
        let device = DeviceBuilder::new().name(DEVICE).enable(false).build_sync()?;
        device.set_nonblocking(true)?;
        Ok(device)
    })?;
    let mtu = [host.up.mtu, host.down.mtu].into_iter().flatten().fold(MTU, usize::max).min(65_535);
    let mut lines = format!("link set {DEVICE} mtu {mtu} txqueuelen {DEVICE_QUEUE} up\n");
    for address in &place.addresses {
        writeln!(lines, "address add {address}/32 dev {DEVICE}").context(|| "cannot write".into())?;
    }
    writeln!(lines, "route add default dev {DEVICE}").context(|| "cannot write".into())?;
    place.namespace.ip(&lines)?;
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
