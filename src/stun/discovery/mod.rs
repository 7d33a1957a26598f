//! Finding out what the NAT in front of us does.
//!
//! The promise: from vantage points that are named as they become known, a [`Fingerprint`](super::fingerprint::Fingerprint) grows term by
//! term, each reported as soon as it is known; nobody who does not answer is sent more than a few hundred bytes; and packets, sockets and
//! time are bounded in each step and in all.
//!
//! ```text
//!   Vantage ──▶ survey: our main socket asks everybody ──▶ public address, translated, mapping, blocked
//!                  │
//!                  ├──▶ filtering: fresh sockets, to which somebody sends whom they did not ask
//!                  ├──▶ sampling: sixteen fresh sockets ask one server ──▶ ports: kept, sequential, random
//!                  ├──▶ hairpin: two fresh sockets send to each other's outside address
//!                  └──▶ lifetime: fresh sockets stay silent for ever longer, then somebody sends to them
//! ```
//!
//! Who sends what was not asked for: a server of RFC 5780 from its other address and port, or a member of the room that was asked to
//! ([`Ask`]), through the room, by whoever owns this.
//!
//! Reading order: [`Vantage`], [`Ask`], [`Event`], [`Config`] (`api`), [`Discovery`] (the parts and the verbs over them), `survey`, then the
//! steps: `filtering`, `sampling` with `ports` (the arithmetic), `hairpin`, `lifetime`; `bench` (what steps work with), `probing` (asking a
//! member).
//!
//! It does not know: who the members are, how they are asked, what a path is.

mod api;
mod bench;
mod filtering;
mod hairpin;
mod lifetime;
mod machine;
mod ports;
mod probing;
mod sampling;
mod survey;

pub use api::{Ask, Config, DEFAULT_KEEPALIVE, Event, Vantage, Whom};
pub use bench::{MAX_PACKETS, MAX_SOCKETS};
pub use machine::Discovery;
