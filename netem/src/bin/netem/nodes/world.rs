//! The hosts of a run, and the servers in the world.

use super::kind::Kind;
use super::setting::{Setting, Stun};
use crate::failure::Failure;
use crate::scenario::{Host, Scenario};
use crate::signals::Signals;
use crate::world::{World, wait_until_listening};
use core::time::Duration;
use netem::{Link, Loss, Queue};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Child, Command, Stdio};

/// Everybody's network, and who is where in it: the supernode first, then the STUN servers, then the others.
const NETWORK: [u8; 3] = [192, 0, 2];
const STUN: [u8; 2] = [2, 3];
const FIRST_OTHER: u8 = 10;

/// Where nobody lives: a STUN server that does not answer.
const NOBODY: u8 = 250;

/// STUN's port (RFC 8489 §18.6).
const STUN_PORT: u16 = 3478;

/// For how long an access lets packets wait.
const QUEUE: Duration = Duration::from_millis(100);

/// coturn's sockets: two addresses, two ports (RFC 5780 §3), and how long it may take to open them.
const STUN_SOCKETS: usize = 4;
const UNTIL_LISTENING: Duration = Duration::from_secs(10);

/// A host to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) kind: Option<Kind>,
    /// In the same home as the one of this number.
    pub(crate) with: Option<usize>,
    pub(crate) protocols: Protocols,
}

/// Which versions of IP a host has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocols {
    #[default]
    Four,
    Six,
    Both,
}

impl Plan {
    pub(crate) fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind: Some(kind), ..Self::default() }
    }

    pub(crate) fn public(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// The address that the host of this number has in the world.
    pub(crate) fn address(number: usize) -> Ipv4Addr {
        let [a, b, c] = NETWORK;
        let last = u8::try_from(number).unwrap_or(u8::MAX);
        Ipv4Addr::new(a, b, c, if last == 0 { 1 } else { FIRST_OTHER.saturating_add(last) })
    }

    /// … and of IPv6.
    pub(crate) fn six(number: usize) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::try_from(number).unwrap_or(u16::MAX).saturating_add(1))
    }
}

/// Builds the hosts in this order, and the STUN servers.
pub(crate) fn build(
    label: &str,
    plans: &[Plan],
    seed: u64,
    setting: &Setting,
    signals: &Signals,
) -> Result<(World, Option<Child>), Failure> {
    // Any two hosts are two links apart, there and back; each link loses its part of what the way loses.
    let loss = 1.0 - (1.0 - setting.loss).sqrt();
    let link = || Link {
        rate: Some(setting.rate),
        queue: Queue::Time(QUEUE),
        delay: setting.rtt / 4,
        loss: if loss > 0.0 { Loss::Independent(loss) } else { Link::default().loss },
        ..Link::default()
    };
    let mut hosts: Vec<Host> = plans
        .iter()
        .enumerate()
        .map(|(number, plan)| {
            let kind = plan.kind.clone();
            let kernel = kind.as_ref().and_then(|kind| kind.kernel);
            let nats = kind.filter(|kind| kind.kernel.is_none()).map_or_else(Vec::new, |kind| kind.nats);
            let address = Plan::address(plan.with.unwrap_or(number));
            Host {
                name: plan.name.into(),
                addresses: if plan.protocols == Protocols::Six { Vec::new() } else { vec![address] },
                six: (plan.protocols != Protocols::Four).then(|| Plan::six(number)),
                nats,
                with: plan.with,
                kernel,
                up: link(),
                down: link(),
                task: None,
            }
        })
        .collect();
    let [a, b, c] = NETWORK;
    let servers: Vec<Ipv4Addr> = STUN.iter().map(|last| Ipv4Addr::new(a, b, c, *last)).collect();
    if setting.stun == Stun::Coturn {
        hosts.push(Host {
            name: "stun".into(),
            addresses: servers.clone(),
            up: link(),
            down: link(),
            ..Host::default()
        });
    }
    let world = World::build(Scenario { label: label.into(), hosts, seed }, signals)?;
    let server = (setting.stun == Stun::Coturn).then(|| coturn(&world, &servers, signals)).transpose()?;
    Ok((world, server))
}

/// The STUN servers, as a node is told them.
pub(crate) fn stun_servers(setting: &Setting) -> Vec<String> {
    let [a, b, c] = NETWORK;
    let hosts: &[u8] = if setting.stun == Stun::Coturn { &STUN } else { &[NOBODY] };
    hosts.iter().map(|last| format!("{}:{STUN_PORT}", Ipv4Addr::new(a, b, c, *last))).collect()
}

fn coturn(world: &World, addresses: &[Ipv4Addr], signals: &Signals) -> Result<Child, Failure> {
    let mut command = Command::new("turnserver");
    // STUN only, and nothing that is shared with another server on this machine.
    command.args(["-n", "-S", "--no-cli", "--no-tcp", "--no-tls", "--no-dtls"]);
    command.args(["--log-file", "/dev/null", "--pidfile", "/dev/null"]);
    for address in addresses {
        command.args(["-L", &address.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = world.spawn("stun", command)?;
    wait_until_listening(&mut child, signals, STUN_SOCKETS, UNTIL_LISTENING);
    Ok(child)
}
