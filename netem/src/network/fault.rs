//! What can go wrong, by name, so that a run that failed can be told and repeated.

use super::site::{Numbers, Site};
use core::fmt;
use core::time::Duration;
use std::net::IpAddr;

/// One thing that goes wrong, or right again. [`Display`](fmt::Display) prints the expression that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The host is gone, without a word.
    Crash(Site),
    /// A new host is at its place, if [`set_restart`](crate::Network::set_restart) was told how to make one.
    Restart(Site),
    /// The host is frozen; what arrives waits in its socket buffer.
    Pause(Site),
    /// The frozen host goes on.
    Resume(Site),
    /// Nothing passes between the two, in either direction. They must be neighbours: hosts of one realm, a host and its NAT, a NAT and
    /// what is outside of it.
    Cut(Site, Site),
    /// Nothing passes from the first to the second.
    CutOneWay(Site, Site),
    /// Whatever was cut between the two passes again.
    Heal(Site, Site),
    /// The NAT forgets its mappings, and flows come out of other ports ([`Nat::rebind`](crate::Nat::rebind)).
    Rebind(Site),
    /// The NAT loses its power for a moment ([`Nat::reboot`](crate::Nat::reboot)).
    Reboot(Site),
    /// The host or the NAT gets another address. A host keeps its port, and [is told](crate::Host::handle_move); a NAT forgets its
    /// mappings. From then on a host's site is the one with that address.
    ChangeAddress(Site, IpAddr),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(site) => write!(f, "Fault::Crash({site})"),
            Self::Restart(site) => write!(f, "Fault::Restart({site})"),
            Self::Pause(site) => write!(f, "Fault::Pause({site})"),
            Self::Resume(site) => write!(f, "Fault::Resume({site})"),
            Self::Cut(a, b) => write!(f, "Fault::Cut({a}, {b})"),
            Self::CutOneWay(from, to) => write!(f, "Fault::CutOneWay({from}, {to})"),
            Self::Heal(a, b) => write!(f, "Fault::Heal({a}, {b})"),
            Self::Rebind(nat) => write!(f, "Fault::Rebind({nat})"),
            Self::Reboot(nat) => write!(f, "Fault::Reboot({nat})"),
            Self::ChangeAddress(site, ip) => write!(f, "Fault::ChangeAddress({site}, {}.into())", Numbers(*ip)),
        }
    }
}

/// Faults and when they happen, counted from the beginning of the run. Those of one instant happen in the order of the list.
/// [`Display`](fmt::Display) prints the expression that makes it, ready to be pasted into a test.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Script(pub Vec<(Duration, Fault)>);

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Script(vec![")?;
        for (at, fault) in &self.0 {
            writeln!(f, "    ({}, {fault}),", Time(*at))?;
        }
        write!(f, "])")
    }
}

/// A duration in the largest unit that is exact.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        let (unit, count) = match nanos {
            0 => ("secs", u128::from(secs)),
            _ if nanos % 1_000_000 == 0 => ("millis", self.0.as_millis()),
            _ if nanos % 1_000 == 0 => ("micros", self.0.as_micros()),
            _ => ("nanos", self.0.as_nanos()),
        };
        write!(f, "Duration::from_{unit}({count})")
    }
}
