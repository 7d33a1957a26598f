//! `netem check`: what each NAT is, in the judgement of a STUN client that somebody else wrote (RFC 5780).

use crate::args::CheckOptions;
use crate::failure::{Context, Failure};
use crate::kernel;
use crate::nat;
use crate::privilege;
use crate::scenario::{Host, Scenario};
use crate::signals::Signals;
use crate::tools;
use crate::world::{World, wait_until_listening};
use clap::ValueEnum;
use core::time::Duration;
use netem::{Behaviour, Filtering, Mapping};
use std::io::Read;
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode, Stdio};

/// Debian's package `coturn` has both.
const SERVER: &str = "turnserver";
const CLIENT: &str = "turnutils_natdiscovery";

/// Sockets of the server: two addresses, two ports (RFC 5780 §3).
const SERVER_SOCKETS: usize = 4;

/// How long the server may take to open them.
const UNTIL_LISTENING: Duration = Duration::from_secs(10);

/// How long a discovery may take; three seconds for each packet that a filter drops are usual.
const UNTIL_FOUND: Duration = Duration::from_secs(60);

/// How often it is looked whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// What a NAT shall be.
struct Case {
    name: String,
    expected: (Mapping, Filtering),
    subject: Subject,
}

/// Which NAT it is.
enum Subject {
    Ours(Behaviour),
    Kernel(kernel::Kind),
}

/// What it turned out to be.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    mapping: Option<Mapping>,
    filtering: Option<Filtering>,
}

pub(crate) fn main(options: &CheckOptions) -> Result<ExitCode, Failure> {
    require_tools(options)?;
    privilege::ensure()?;
    let signals = Signals::take()?;
    let mut cases = cases(options);
    if let Some(case) = cases.first_mut().filter(|_| options.plant) {
        case.expected = (Mapping::ByAddress, Filtering::ByAddress);
    }
    // Each waits most of its time for packets that do not come.
    let found: Vec<Result<Found, Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(n, case)| {
                scope.spawn({
                    let signals = &signals;
                    move || prove(case, &format!("{n}-"), signals)
                })
            })
            .collect();
        let panicked = |_| Err(Failure::new("a thread panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    if let Some(signal) = signals.ending() {
        return Ok(ExitCode::from(128_u8.saturating_add(signal)));
    }
    let mut differences = 0_usize;
    println!("{:<28} {:<44} {:<44} ", "NAT", "mapping: expected, found", "filtering: expected, found");
    for (case, found) in cases.iter().zip(found) {
        let found = found?;
        let (mapping, filtering) = case.expected;
        let is_right = (found.mapping, found.filtering) == (Some(mapping), Some(filtering));
        differences += usize::from(!is_right);
        println!(
            "{:<28} {:<44} {:<44} {}",
            case.name,
            pair(mapping_name(mapping), found.mapping.map(mapping_name)),
            pair(filtering_name(filtering), found.filtering.map(filtering_name)),
            if is_right { "ok" } else { "DIFFERENT" }
        );
    }
    println!("{} NATs, {differences} different", cases.len());
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn require_tools(options: &CheckOptions) -> Result<(), Failure> {
    let mut tools = vec![(SERVER, "coturn"), (CLIENT, "coturn"), ("ip", "iproute2")];
    tools.extend(options.kernel.then_some(("nft", "nftables")));
    tools::require(&tools)
}

/// Every mapping with every filtering, and those that have a name; or what the kernel can be.
fn cases(options: &CheckOptions) -> Vec<Case> {
    let ours = |name: String, behaviour: Behaviour| Case {
        name,
        expected: (behaviour.mapping, behaviour.filtering),
        subject: Subject::Ours(behaviour),
    };
    let kernel = |kind: &kernel::Kind| Case {
        name: kind.to_possible_value().map_or_else(String::new, |value| value.get_name().into()),
        expected: kind.is(),
        subject: Subject::Kernel(*kind),
    };
    if options.kernel {
        // Of 64 ports two flows have the same one too often for a client that looks at a few.
        let is_known_by_looking =
            |kind: &&kernel::Kind| !matches!(kind, kernel::Kind::Blocked | kernel::Kind::Symmetric64);
        return kernel::Kind::value_variants().iter().filter(is_known_by_looking).map(kernel).collect();
    }
    let types = nat::every_type().enumerate().map(|(n, (mapping, filtering))| {
        ours(format!("type {}", n + 1), Behaviour { mapping, filtering, ..Behaviour::default() })
    });
    // Of one that lets nothing pass a client can say nothing.
    let named = Behaviour::KINDS.iter().filter(|(_, make)| !make().blocked);
    let named = named.map(|(name, make)| ours((*name).into(), make()));
    types.chain(named).collect()
}

/// A home behind a NAT, and a server with two addresses.
fn scenario(label: &str, nat: &Behaviour) -> Scenario {
    let host = |name: &str, nats: Vec<Behaviour>, last_bytes: &[u8]| Host {
        name: name.into(),
        addresses: last_bytes.iter().map(|last| Ipv4Addr::new(192, 0, 2, *last)).collect(),
        nats,
        ..Host::default()
    };
    let hosts = vec![host("home", vec![nat.clone()], &[1]), host("server", Vec::new(), &[2, 3])];
    Scenario { label: label.into(), hosts, seed: 1 }
}

/// Builds a NAT, a server outside and asks from inside.
fn prove(case: &Case, label: &str, signals: &Signals) -> Result<Found, Failure> {
    let world = match &case.subject {
        Subject::Ours(behaviour) => World::build(scenario(label, behaviour), signals)?,
        Subject::Kernel(kind) => kernel::build(*kind, label, signals)?,
    };
    let home = world.place("home")?.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let server = world.place("server")?.addresses.clone();
    let mut command = Command::new(SERVER);
    // STUN only, and nothing that is shared with another server on this machine.
    command.args(["-n", "-S", "--no-cli", "--no-tcp", "--no-tls", "--no-dtls"]);
    command.args(["--log-file", "/dev/null", "--pidfile", "/dev/null"]);
    for address in &server {
        command.args(["-L", &address.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = world.spawn("server", command)?;
    wait_until_listening(&mut child, signals, SERVER_SOCKETS, UNTIL_LISTENING);
    let target = server.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let mapping = discover(&world, "-m", home, target, signals)?;
    let filtering = discover(&world, "-f", home, target, signals)?;
    world.finish()?;
    let _ = child.wait();
    Ok(Found { mapping: mapping_of(&mapping), filtering: filtering_of(&filtering) })
}

/// What the client says.
fn discover(world: &World, what: &str, home: Ipv4Addr, server: Ipv4Addr, signals: &Signals) -> Result<String, Failure> {
    let mut command = Command::new(CLIENT);
    command.args([what, "-L", &home.to_string(), &server.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = world.spawn("home", command)?;
    for _ in 0..UNTIL_FOUND.as_millis() / LOOK.as_millis() {
        if signals.ending().is_some() {
            return Err(Failure::new("interrupted"));
        }
        if child.try_wait().context(|| CLIENT.into())?.is_some() {
            break;
        }
        std::thread::sleep(LOOK);
    }
    let _ = child.kill();
    let _ = child.wait();
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said).context(|| CLIENT.into())?;
    }
    Ok(said)
}

const MAPPINGS: [Mapping; 3] = [Mapping::Independent, Mapping::ByAddress, Mapping::ByAddressAndPort];
const FILTERINGS: [Filtering; 3] = [Filtering::Independent, Filtering::ByAddress, Filtering::ByAddressAndPort];

/// The words of RFC 4787, which the client uses too.
const fn mapping_name(mapping: Mapping) -> &'static str {
    match mapping {
        Mapping::Independent => "Endpoint Independent",
        Mapping::ByAddress => "Address Dependent",
        Mapping::ByAddressAndPort => "Address and Port Dependent",
    }
}

const fn filtering_name(filtering: Filtering) -> &'static str {
    match filtering {
        Filtering::Independent => "Endpoint Independent",
        Filtering::ByAddress => "Address Dependent",
        Filtering::ByAddressAndPort => "Address and Port Dependent",
    }
}

fn mapping_of(said: &str) -> Option<Mapping> {
    MAPPINGS.into_iter().find(|mapping| said.contains(&format!("NAT with {} Mapping!", mapping_name(*mapping))))
}

fn filtering_of(said: &str) -> Option<Filtering> {
    FILTERINGS.into_iter().find(|filter| said.contains(&format!("NAT with {} Filtering!", filtering_name(*filter))))
}

fn pair(expected: &str, found: Option<&str>) -> String {
    match found {
        Some(found) if found == expected => expected.into(),
        found => format!("{expected}, {}", found.unwrap_or("nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_says_is_understood() {
        assert_eq!(mapping_of("NAT with Address Dependent Mapping!\n"), Some(Mapping::ByAddress));
        assert_eq!(filtering_of("NAT with Address and Port Dependent Filtering!"), Some(Filtering::ByAddressAndPort));
        assert_eq!(filtering_of("NAT with Endpoint Independent Filtering!"), Some(Filtering::Independent));
        assert_eq!(mapping_of("STUN receive timeout.."), None);
    }

    #[test]
    fn a_difference_shows_both_sides() {
        assert_eq!(pair("a", Some("a")), "a");
        assert_eq!(pair("a", Some("b")), "a, b");
        assert_eq!(pair("a", None), "a, nothing");
    }
}
