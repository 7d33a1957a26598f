//! Namespaces, devices and the carrier between them: built from a scenario, gone when dropped.

use crate::carrier::{Carrying, Port, Report};
use crate::failure::{Context, Failure};
use crate::namespace::Namespace;
use crate::scenario::{Host, Scenario, Task};
use crate::signals::Signals;
use core::time::Duration;
use netem::Pipe;
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
    hosts: Vec<Place>,
    carrying: Option<Carrying>,
}

/// A host that exists.
struct Place {
    name: String,
    addresses: Vec<Ipv4Addr>,
    namespace: Namespace,
}

impl World {
    /// Makes it all, unless a signal asks to end.
    pub(crate) fn build(scenario: Scenario, signals: &Signals) -> Result<Self, Failure> {
        let mut world = Self { hosts: Vec::new(), carrying: None };
        let mut ports = Vec::new();
        for (index, host) in scenario.hosts.into_iter().enumerate() {
            if signals.ending().is_some() {
                return Err(Failure::new("interrupted"));
            }
            let namespace = Namespace::create(&host.name)?;
            let device = device(&namespace, &host)?;
            // Dice of its own for each link.
            let seed = scenario.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index as u64 * 2);
            world.hosts.push(Place { name: host.name.clone(), addresses: host.addresses.clone(), namespace });
            ports.push(Port {
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

    /// Starts a command on a host, its input and output ours.
    pub(crate) fn start(&self, host: &str, task: &Task) -> Result<Child, Failure> {
        let place = self.place(host)?;
        let (program, arguments) = task.command.split_first().ok_or_else(|| Failure::new("no command"))?;
        let mut command = Command::new(program);
        command.args(arguments).env("NETEM_HOST", host);
        for place in &self.hosts {
            if let Some(address) = place.addresses.first() {
                let variable = format!("NETEM_{}", place.name.to_uppercase().replace('-', "_"));
                command.env(variable, address.to_string());
            }
        }
        place.namespace.inside(|| {
            command.spawn().map_err(|error| io::Error::new(error.kind(), format!("cannot run `{program}`: {error}")))
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

    fn place(&self, host: &str) -> Result<&Place, Failure> {
        self.hosts.iter().find(|place| place.name == host).ok_or_else(|| Failure::new(format!("no host {host}")))
    }
}

/// The host's only way out.
fn device(namespace: &Namespace, host: &Host) -> Result<SyncDevice, Failure> {
    let device = namespace.inside(|| {
        let device = DeviceBuilder::new().name(DEVICE).enable(false).build_sync()?;
        device.set_nonblocking(true)?;
        Ok(device)
    })?;
    let mtu = [host.up.mtu, host.down.mtu].into_iter().flatten().fold(MTU, usize::max).min(65_535);
    let mut lines = format!("link set {DEVICE} mtu {mtu} txqueuelen {DEVICE_QUEUE} up\n");
    for address in &host.addresses {
        writeln!(lines, "address add {address}/32 dev {DEVICE}").context(|| "cannot write".into())?;
    }
    writeln!(lines, "route add default dev {DEVICE}").context(|| "cannot write".into())?;
    namespace.ip(&lines)?;
    Ok(device)
}

/// Waits until a command has a socket open, or has ended, or this much time has passed.
pub(crate) fn wait_until_listening(child: &mut Child, signals: &Signals, at_most: Duration) {
    const LOOK: Duration = Duration::from_millis(5);
    let has_socket = |protocol: &str| {
        // One line of headings, then a line a socket of the namespace.
        std::fs::read_to_string(format!("/proc/{}/net/{protocol}", child.id()))
            .is_ok_and(|text| text.lines().count() > 1)
    };
    for _ in 0..at_most.as_millis() / LOOK.as_millis() {
        if has_socket("udp") || has_socket("tcp") || signals.ending().is_some() {
            return;
        }
        signals.wait(LOOK);
    }
}
