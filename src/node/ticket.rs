//! A ticket as text: whoever has it may ask to be let in, once.
//!
//! ```text
//!   "anjer1" and, in lower-case base32 (RFC 4648) without padding:
//!     room (16) | inviter (32) | invitation (16) | secret (32) | expiry (8, Unix seconds)
//!     | members (1) and for each: id (32) | Noise key (32) | addresses (1) and for each: 4 or 6 (1) | IP (4 or 16) | port (2)
//!     | signature (64, by the inviter, over all before it) | checksum (4, BLAKE3 over all before it)
//! ```
//!
//! The text comes from anywhere, so it is read by hand; every length is checked against what is there.

use crate::mrt::{PublicKey, SecretId, SharedSecret};
use crate::node::identity::{Identity, NodeId};
use crate::node::room::{Host, Invitation, Invited, RoomId};
use crate::time::Duration;
use data_encoding::{Encoding, Specification};
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

/// How every ticket begins.
pub const PREFIX: &str = "anjer1";

/// Members that a ticket names, at most.
pub const MAX_HOSTS: usize = 4;

/// Addresses of one member, at most.
pub const MAX_ADDRESSES: usize = 8;

/// Characters of a ticket, at most: more are not looked at.
pub const MAX_TEXT: usize = 4096;

const DOMAIN: &str = "anjer 2026 ticket";
const SIGNATURE: usize = 64;
const CHECKSUM: usize = 4;

static BASE32_LOWER: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    #[expect(clippy::expect_used, reason = "a constant specification, checked by every test that prints a ticket")]
    specification.encoding().expect("32 distinct symbols")
});

/// Why a text is no ticket that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It does not begin like one.
    #[error("that is no ticket: tickets begin with {PREFIX}")]
    NoTicket,
    /// Characters are missing, or others than were sent.
    #[error("the ticket is damaged: copy the whole of it again, from `{PREFIX}` to its end")]
    Damaged,
    /// Whole, but not made by whom it names.
    #[error("the ticket is forged: its signature does not match")]
    Forged,
    /// Too late.
    #[error("the ticket has expired: ask for another one")]
    Expired,
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Who invites.
    pub inviter: NodeId,
    /// When it is worth nothing any more, in Unix time.
    pub expires: Duration,
    /// What the room needs of it.
    pub invited: Invited,
}

impl Ticket {
    /// The text of an invitation that `inviter` gives at this Unix time.
    pub fn issue(inviter: &Identity, invitation: &Invitation, unix: Duration) -> String {
        let mut bytes = invitation.room.0.to_vec();
        bytes.extend_from_slice(&inviter.id().0);
        bytes.extend_from_slice(&invitation.id.0);
        bytes.extend_from_slice(&invitation.secret.0);
        bytes.extend_from_slice(&unix.saturating_add(invitation.lifetime).as_secs().to_be_bytes());
        let members = invitation.members.get(..MAX_HOSTS).unwrap_or(&invitation.members);
        bytes.push(u8::try_from(members.len()).unwrap_or(0));
        for member in members {
            bytes.extend_from_slice(&member.facts.id.0);
            bytes.extend_from_slice(&member.facts.noise);
            let addresses = member.facts.addresses.get(..MAX_ADDRESSES).unwrap_or(&member.facts.addresses);
            bytes.push(u8::try_from(addresses.len()).unwrap_or(0));
            addresses.iter().for_each(|address| emit_address(&mut bytes, *address));
        }
        let signature = inviter.sign(DOMAIN, &bytes);
        bytes.extend_from_slice(&signature);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        format!("{PREFIX}{}", BASE32_LOWER.encode(&bytes))
    }

    /// The ticket in `text`, if it is whole, signed, and good at this Unix time. Capitals and spaces around it do no harm.
    pub fn parse(text: &str, unix: Duration) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(TicketError::NoTicket);
        }
        let text = text.to_ascii_lowercase();
        let code = text.strip_prefix(PREFIX).ok_or(TicketError::NoTicket)?;
        let bytes = BASE32_LOWER.decode(code.as_bytes()).map_err(|_| TicketError::Damaged)?;
        let (rest, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(TicketError::Damaged)?;
        if checksum(rest) != *sum {
            return Err(TicketError::Damaged);
        }
        let (signed, signature) = rest.split_last_chunk::<SIGNATURE>().ok_or(TicketError::Damaged)?;
        let ticket = read(signed).ok_or(TicketError::Damaged)?;
        if !ticket.inviter.verify(DOMAIN, signed, signature) {
            return Err(TicketError::Forged);
        }
        if unix >= ticket.expires {
            return Err(TicketError::Expired);
        }
        Ok(ticket)
    }
}

fn read(mut bytes: &[u8]) -> Option<Ticket> {
    let at = &mut bytes;
    let room = RoomId(take(at)?);
    let inviter = NodeId(take(at)?);
    let id = SecretId(take(at)?);
    let secret = SharedSecret(take(at)?);
    let expires = Duration::from_secs(u64::from_be_bytes(take(at)?));
    let hosts = usize::from(take::<1>(at)?[0]);
    if !(1..=MAX_HOSTS).contains(&hosts) {
        return None;
    }
    let hosts = (0..hosts).map(|_| read_host(at)).collect::<Option<Vec<Host>>>()?;
    at.is_empty().then_some(Ticket { inviter, expires, invited: Invited { room, id, secret, hosts } })
}

fn read_host(at: &mut &[u8]) -> Option<Host> {
    let (id, key) = (NodeId(take(at)?), PublicKey(take(at)?));
    let addresses = usize::from(take::<1>(at)?[0]);
    if addresses > MAX_ADDRESSES {
        return None;
    }
    let addresses = (0..addresses).map(|_| read_address(at)).collect::<Option<Vec<SocketAddr>>>()?;
    Some(Host { id, key, addresses })
}

fn read_address(at: &mut &[u8]) -> Option<SocketAddr> {
    let ip = match take::<1>(at)?[0] {
        4 => IpAddr::from(take::<4>(at)?),
        6 => IpAddr::from(take::<16>(at)?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(take(at)?)))
}

fn emit_address(bytes: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            bytes.push(4);
            bytes.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(6);
            bytes.extend_from_slice(&ip.octets());
        }
    }
    bytes.extend_from_slice(&address.port().to_be_bytes());
}

/// The next `N` bytes.
fn take<const N: usize>(at: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = at.split_first_chunk::<N>()?;
    *at = rest;
    Some(*head)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let [a, b, c, d, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::record::MemberRecord;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn text() -> (Identity, String) {
        let ann = Identity::from_seed(&[1; 32]);
        let addresses = ["127.0.0.1:7000".parse().unwrap(), "[2001:db8::7]:9".parse().unwrap()];
        let members = (1..=6).map(|n| MemberRecord::sign(&Identity::from_seed(&[n; 32]), "x", &addresses, 1)).collect();
        let invitation = Invitation {
            room: RoomId([3; 16]),
            id: SecretId([4; 16]),
            secret: SharedSecret([5; 32]),
            lifetime: DAY,
            members,
        };
        let text = Ticket::issue(&ann, &invitation, NOW);
        (ann, text)
    }

    #[test]
    fn a_ticket_says_what_was_put_into_it() {
        let (ann, text) = text();
        assert!(text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "survives every chat program");
        let ticket = Ticket::parse(&format!("  {}\n", text.to_uppercase()), NOW).unwrap();
        assert_eq!((ticket.inviter, ticket.expires), (ann.id(), NOW + DAY));
        assert_eq!((ticket.invited.room, ticket.invited.hosts.len()), (RoomId([3; 16]), MAX_HOSTS));
        assert_eq!(ticket.invited.hosts[0].id, ann.id());
        assert_eq!(ticket.invited.hosts[0].addresses[1], "[2001:db8::7]:9".parse().unwrap());
    }

    #[test]
    fn a_ticket_expires() {
        let (_, text) = text();
        assert!(Ticket::parse(&text, NOW + DAY - Duration::from_secs(1)).is_ok());
        assert_eq!(Ticket::parse(&text, NOW + DAY), Err(TicketError::Expired));
    }

    #[test]
    fn a_ticket_that_was_cut_or_mistyped_says_so() {
        let (_, text) = text();
        for length in PREFIX.len()..text.len() {
            assert_eq!(Ticket::parse(&text[..length], NOW), Err(TicketError::Damaged), "{length} characters");
        }
        let typo = if text.ends_with("a") { 'b' } else { 'a' };
        let mistyped = format!("{}{typo}{}", &text[..20], &text[21..]);
        assert!(mistyped == text || Ticket::parse(&mistyped, NOW) == Err(TicketError::Damaged));
        assert_eq!(Ticket::parse("127.0.0.1:7000", NOW), Err(TicketError::NoTicket));
        assert_eq!(Ticket::parse(&"a".repeat(1 << 20), NOW), Err(TicketError::NoTicket));
    }

    /// A checksum can be made by anyone; the signature cannot.
    #[test]
    fn a_ticket_with_other_addresses_is_forged() {
        let (_, text) = text();
        let mut bytes = BASE32_LOWER.decode(&text.as_bytes()[PREFIX.len()..]).unwrap();
        bytes.truncate(bytes.len() - CHECKSUM);
        bytes[0] ^= 1;
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let forged = format!("{PREFIX}{}", BASE32_LOWER.encode(&bytes));
        assert_eq!(Ticket::parse(&forged, NOW), Err(TicketError::Forged));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,300}") {
            let _ = Ticket::parse(&text, NOW);
            let _ = Ticket::parse(&format!("{PREFIX}{text}"), NOW);
        }

        /// Bytes with a right checksum reach the reader: it must take any of them.
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            let mut whole = bytes.clone();
            whole.extend_from_slice(&checksum(&bytes));
            let _ = Ticket::parse(&format!("{PREFIX}{}", BASE32_LOWER.encode(&whole)), NOW);
        }
    }
}
