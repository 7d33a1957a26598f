//! Network address translators: what RFC 4787 says one can be, and one at work.
//!
//! The promise: a [`Nat`] is a value that turns packets into packets, `(now, packet) → packet or refusal`, with no clock, socket or
//! global randomness. The simulated network and a program that carries real packets run the same one.
//!
//! ```text
//!                 outbound ──▶ ┌──────────────────────────┐ ──▶ from the outside address
//!   inside hosts               │ table: inside ⇄ port,    │                              the world
//!     to the inside host ◀──   │ whom the filter lets in  │ ◀── inbound
//!                              └──────────────────────────┘
//! ```
//!
//! Reading order: `behaviour` (what a NAT is: [`Behaviour`], two enums and some numbers, and the named kinds), `translate` (one at
//! work: [`Nat`]), `ports` (which port a mapping gets), `table` (what it remembers), `direct` (whether two hosts behind such things
//! can talk without a relay: [`direct_path_possible`]).
//!
//! It does not know: links, hosts, topology (a chain of NATs is a matter of who hands packets to whom), TCP, ICMP, fragments.
//!
//! ```
//! use core::time::Duration;
//! use netem::{Behaviour, Nat, Packet, Refused};
//!
//! let mut nat = Nat::new(Behaviour::port_restricted(), "203.0.113.1".parse().unwrap(), 7);
//! let (inside, friend) = ("192.168.1.2:5000".parse().unwrap(), "198.51.100.9:4000".parse().unwrap());
//! let stranger = "198.51.100.66:4000".parse().unwrap();
//!
//! let sent = nat.outbound(Duration::ZERO, Packet::new(inside, friend, b"hello".to_vec())).unwrap();
//! assert_eq!(sent.from, "203.0.113.1:5000".parse().unwrap());
//!
//! let answer = nat.inbound(Duration::ZERO, Packet::new(friend, sent.from, b"hello!".to_vec())).unwrap();
//! assert_eq!(answer.to, inside);
//! let uninvited = nat.inbound(Duration::ZERO, Packet::new(stranger, sent.from, b"psst".to_vec()));
//! assert_eq!(uninvited, Err(Refused::Filtered));
//! ```

mod behaviour;
mod direct;
mod ports;
mod table;
mod translate;

pub use behaviour::{Behaviour, Filtering, MATRIX, Mapping, Ports, Refresh};
pub use direct::{GUESSING_LIMIT, Possible, direct_path_possible, direct_path_required};
pub use ports::{FIRST_PORT, PORTS};
pub use translate::{Nat, NatCounters, Refused};
