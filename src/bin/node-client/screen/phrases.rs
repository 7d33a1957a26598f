//! Words for what events only name.

use anjer::node::api::{NatKind, Path, Succession};
use anjer::stun::candidate::is_global;
use std::net::{IpAddr, SocketAddr};

/// Digits of a hash that are shown: enough to be typed after `R`, and to be alone.
const HASH_DIGITS: usize = 12;

/// Whether an address means something on this machine or network alone.
pub(super) fn is_near(ip: IpAddr) -> bool {
    !is_global(ip)
}

/// What others type to get to that address.
pub(super) fn call(local: SocketAddr) -> String {
    format!("C {} {}", local.ip(), local.port())
}

/// What is known of our own address and NAT.
pub(super) fn seen_by_the_world(public: Option<SocketAddr>, nat: Option<NatKind>) -> String {
    if (public, nat) == (None, None) {
        return "No STUN server answered: how the world sees you is not known.".to_owned();
    }
    let address = public.map_or_else(
        || "The world does not see you yet".to_owned(),
        |address| format!("The world sees you at {address}"),
    );
    match nat {
        Some(NatKind::None) => format!("{address}: no NAT."),
        Some(NatKind::Easy) => format!("{address}: an easy NAT."),
        Some(NatKind::Hard) => format!("{address}: a hard NAT."),
        Some(NatKind::Blocked) => format!("{address}: UDP is blocked."),
        None => format!("{address}."),
    }
}

/// A way to somebody, in a table.
pub(super) const fn how(path: Path) -> &'static str {
    match path {
        Path::Direct => "direct",
        Path::Relayed => "relayed",
    }
}

/// The same in a sentence.
pub(super) const fn adverb(path: Path) -> &'static str {
    match path {
        Path::Direct => "directly",
        Path::Relayed => "through another member",
    }
}

/// Why somebody leads.
pub(super) const fn because(reason: Succession, me: bool) -> &'static str {
    match (reason, me) {
        (Succession::First, true) => "you opened it",
        (Succession::First, false) => "they opened it",
        (Succession::Joined, _) => "you joined it",
        (Succession::Quit, _) => "the one before quit",
        (Succession::Lost, _) => "the one before was lost",
        (Succession::Merged, _) => "two halves of a room met",
    }
}

/// The beginning of a hash.
pub(super) fn digits(hash: &str) -> String {
    hash.chars().take(HASH_DIGITS).collect()
}
