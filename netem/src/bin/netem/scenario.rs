//! Hosts, and what runs on them.

use crate::args::{HostOptions, RunOptions};
use crate::failure::{Context, Failure};
use crate::kernel;
use clap::Parser;
use netem::{Behaviour, Link};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A scenario: a list of hosts around one core.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// With what the names of the namespaces begin, after netem's own prefix: two worlds of one process must differ.
    pub(crate) label: String,
    pub(crate) hosts: Vec<Host>,
    pub(crate) seed: u64,
}

/// A host and the way from it to the core.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) name: String,
    /// Any number, in 192.0.2.0/24 (TEST-NET-1, RFC 5737): as the world sees it.
    pub(crate) addresses: Vec<Ipv4Addr>,
    /// In 2001:db8::/64 (RFC 3849), whatever it is behind.
    pub(crate) six: Option<Ipv6Addr>,
    /// What it is behind, the innermost first. Then it has one address.
    pub(crate) nats: Vec<Behaviour>,
    /// Behind the NATs of this earlier host, by its number in the list, and by its links. Then it has the other one's address.
    pub(crate) with: Option<usize>,
    /// Behind a NAT of the kernel instead.
    pub(crate) kernel: Option<kernel::Kind>,
    pub(crate) up: Link,
    pub(crate) down: Link,
    pub(crate) task: Option<Task>,
}

/// What runs on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Whether it is ended when the others have ended, instead of being waited for.
    pub(crate) serves: bool,
}

impl Host {
    /// Its own addresses. `number` is its place among those that are behind the same NATs.
    pub(crate) fn inside_addresses(&self, number: usize) -> Vec<Ipv4Addr> {
        let last = u8::try_from(number).unwrap_or(u8::MAX).saturating_add(2);
        let is_behind = !self.nats.is_empty() || self.with.is_some() || self.kernel.is_some();
        match self.addresses.first() {
            Some(public) if is_behind => vec![Ipv4Addr::new(10, public.octets()[3], 0, last)],
            _ => self.addresses.clone(),
        }
    }

    /// The outside address of each NAT. Those that are behind another have theirs out of what RFC 6598 sets aside for that.
    pub(crate) fn outside_addresses(&self) -> Vec<Ipv4Addr> {
        let Some(public) = self.addresses.first() else { return Vec::new() };
        let middle = (1..self.nats.len())
            .map(|level| Ipv4Addr::new(100, 64, public.octets()[3], u8::try_from(level).unwrap_or(u8::MAX)));
        middle.chain((!self.nats.is_empty()).then_some(*public)).collect()
    }
}

/// Characters in a host's name, at most: with the prefix it is the name of a namespace, which is a file name.
const MAX_NAME: usize = 32;

/// The network that the addresses are from, and how many hosts fit.
const NETWORK: [u8; 3] = [192, 0, 2];
const MAX_ADDRESSES: u8 = 254;

impl Scenario {
    /// From a file, or two hosts, near and far.
    pub(crate) fn new(options: &RunOptions) -> Result<Self, Failure> {
        let hosts = match &options.scenario {
            Some(path) => {
                let text = std::fs::read_to_string(path).context(|| path.display().to_string())?;
                parse(&text).context(|| path.display().to_string())?
            }
            None => near_and_far(options),
        };
        Ok(Self { label: String::new(), hosts, seed: options.seed })
    }
}

fn near_and_far(options: &RunOptions) -> Vec<Host> {
    let [a, b, c] = NETWORK;
    let near = Host {
        name: "near".into(),
        addresses: vec![Ipv4Addr::new(a, b, c, 1)],
        nats: options.nat.clone(),
        up: options.link.up(),
        down: options.link.down(),
        task: Some(Task { command: options.command.clone(), serves: false }),
        ..Host::default()
    };
    let far = Host {
        name: "far".into(),
        addresses: vec![Ipv4Addr::new(a, b, c, 2)],
        task: options.far.as_deref().map(|command| Task { command: shell(command), serves: true }),
        ..Host::default()
    };
    vec![near, far]
}

/// A line each: `NAME [options] [-- COMMAND]`. Empty lines and lines that begin with # say nothing. Addresses are given in order.
fn parse(text: &str) -> Result<Vec<Host>, String> {
    let mut hosts: Vec<Host> = Vec::new();
    let mut last = 0_u8;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (options, command) =
            line.split_once("-- ").map_or((line, None), |(options, command)| (options, Some(command)));
        let options = HostOptions::try_parse_from(options.split_whitespace()).map_err(|error| {
            format!("line {number}: {}", error.to_string().trim_start_matches("error: ").trim_end())
        })?;
        let name = options.name.as_str();
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(format!("line {number}: a name is up to {MAX_NAME} letters, digits and hyphens, not `{name}`"));
        }
        if hosts.iter().any(|host| host.name == name) {
            return Err(format!("line {number}: there is a host {name} already"));
        }
        let mut addresses = Vec::new();
        for _ in 0..options.addresses {
            last = last.checked_add(1).filter(|last| *last <= MAX_ADDRESSES).ok_or("more than 254 addresses")?;
            let [a, b, c] = NETWORK;
            addresses.push(Ipv4Addr::new(a, b, c, last));
        }
        hosts.push(Host {
            up: options.link.up(),
            down: options.link.down(),
            task: command.map(|command| Task { command: shell(command), serves: options.serve }),
            nats: options.nat.clone(),
            name: options.name,
            six: options.six.then(|| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(first_of(&addresses)))),
            addresses,
            ..Host::default()
        });
    }
    if hosts.is_empty() { Err("no host".into()) } else { Ok(hosts) }
}

/// The last byte of the first.
fn first_of(addresses: &[Ipv4Addr]) -> u8 {
    addresses.first().map_or(0, |address| address.octets()[3])
}

/// As a shell runs it.
pub(crate) fn shell(command: &str) -> Vec<String> {
    ["sh", "-c", command].map(String::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_line_is_a_host_and_addresses_are_given_in_order() {
        let text = "
            # What everybody talks to.
            server --addresses 2 --serve -- iperf3 -s -1
            home --profile dsl --delay 30ms -- ping -c 1 192.0.2.1 -- -q
            silent
        ";
        let hosts = parse(text).unwrap();
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["server", "home", "silent"]);
        let addresses: Vec<Vec<u8>> =
            hosts.iter().map(|host| host.addresses.iter().map(|address| address.octets()[3]).collect()).collect();
        assert_eq!(addresses, [vec![1, 2], vec![3], vec![4]]);
        assert_eq!(hosts[0].task, Some(Task { command: shell("iperf3 -s -1"), serves: true }));
        assert_eq!(hosts[1].task, Some(Task { command: shell("ping -c 1 192.0.2.1 -- -q"), serves: false }));
        assert_eq!(hosts[2].task, None);
        // The profile's rates, and what overrides the profile.
        assert_eq!((hosts[1].up.rate, hosts[1].down.rate), (Some(1_000_000), Some(16_000_000)));
        assert_eq!(hosts[1].up.delay, Duration::from_millis(30));
    }

    #[test]
    fn a_host_of_ipv6_has_the_same_number_there() {
        let hosts = parse("a\nb --six --nat symmetric").unwrap();
        assert_eq!((hosts[0].six, hosts[1].six), (None, Some("2001:db8::2".parse().unwrap())));
    }

    #[test]
    fn behind_two_nats_a_host_has_a_private_address_and_only_the_outer_one_is_public() {
        let hosts = parse("open\nhome --nat port-restricted --nat cgnat").unwrap();
        let text = |addresses: Vec<Ipv4Addr>| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(text(hosts[1].inside_addresses(0)), "10.2.0.2");
        assert_eq!(text(hosts[1].outside_addresses()), "100.64.2.1 192.0.2.2");
        assert_eq!(
            (text(hosts[0].inside_addresses(0)), text(hosts[0].outside_addresses())),
            ("192.0.2.1".into(), String::new())
        );
    }

    #[test]
    fn a_mistake_is_reported_with_its_line() {
        for (text, words) in [
            ("", "no host"),
            ("a\n\nb --delay 5", "line 3"),
            ("a\na", "line 2: there is a host a already"),
            ("a/b", "line 1: a name is"),
            ("a --fast", "line 1: unexpected argument"),
            (&(0..32).map(|n| format!("h{n} --addresses 8\n")).collect::<String>(), "more than 254 addresses"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
