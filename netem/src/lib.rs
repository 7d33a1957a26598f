//! A network in a box, in virtual time.
//!
//! The promise: whatever speaks datagrams can be run here, a thousand hosts in one process, over links that lose, delay, reorder,
//! duplicate and damage, and behind NATs of every kind; and the same seed gives the same run, packet for packet.
//!
//! ```text
//!   Host ──poll_transmit──▶ Network ──▶ link ──▶ NAT ──▶ link ──▶ NAT ──▶ link ──▶ Network ──handle_packet──▶ Host
//!                              │         queue, rate,     mapping,                    │
//!                              │         delay, loss, …   filter                      │
//!                              └──────── one heap of events, by (time, sequence) ─────┘
//! ```
//!
//! Reading order: [`Link`] (what a path does to packets), [`Profile`] (paths as they are found at home), [`Pipe`] (one link at work),
//! [`Behaviour`] (what a NAT is), [`Nat`] (one at work), [`direct_path_possible`] (whether two hosts behind NATs can talk),
//! [`direct_path_required`] (whether they must), [`MATRIX`] (the kinds, by name),
//! [`Network`] (hosts, links, NATs, clock), [`Fault`] and [`Script`] (what can go wrong, by name).
//!
//! Nothing here knows what the datagrams mean. Time is a [`Duration`](core::time::Duration) since the run began; it moves only
//! from event to event, so that an hour without packets costs nothing. [`Pipe`] and [`Nat`] are values that need no network:
//! whoever has packets and a clock can ask them what happens.
//!
//! Left out: TCP and ICMP at NATs, fragments, routes that differ from packet to packet, links that several paths share.
//!
//! ```
//! use core::time::Duration;
//! use netem::{Host, Link, Network, Packet};
//! use std::net::SocketAddr;
//!
//! /// Sends back whatever it hears.
//! #[derive(Default)]
//! struct Echo(Vec<Packet>);
//!
//! impl Host for Echo {
//!     fn handle_datagram(&mut self, _: Duration, from: SocketAddr, to: SocketAddr, bytes: &mut [u8]) {
//!         self.0.push(Packet::new(to, from, bytes.to_vec()));
//!     }
//!     fn handle_timeout(&mut self, _: Duration) {}
//!     fn poll_transmit(&mut self, _: Duration) -> Option<Packet> {
//!         self.0.pop()
//!     }
//!     fn poll_timeout(&self) -> Option<Duration> {
//!         None
//!     }
//! }
//!
//! let (a, b) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
//! let mut network = Network::new(7, Link::with_delay(Duration::from_millis(20)));
//! network.add(a, Echo::default());
//! network.add(b, Echo::default());
//! network.inject(Packet::new(a, b, b"hello".to_vec()));
//! let came_back = |network: &mut Network<Echo>| network.counters(b, a).delivered == 1;
//! assert!(network.run_until(Duration::from_secs(1), came_back));
//! assert_eq!(network.now(), Duration::from_millis(20));
//! ```

mod link;
mod nat;
mod network;
mod packet;
mod pipe;
mod profile;

pub use link::{GilbertElliott, Link, Loss, Mask, Queue, Reordering};
pub use nat::{
    Behaviour, FIRST_PORT, Filtering, GUESSING_LIMIT, MATRIX, Mapping, Nat, NatCounters, PORTS, Ports, Possible,
    Refresh, Refused, direct_path_possible, direct_path_required,
};
pub use network::{Fault, Host, NatId, Network, SOCKET_BUFFER, Script, Site, Verdict};
pub use packet::{Ecn, Packet};
pub use pipe::{Arrivals, Counters, Drops, Pipe};
pub use profile::Profile;
