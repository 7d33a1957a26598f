//! A network in a box, in virtual time.
//!
//! The promise: whatever speaks datagrams can be run here, a thousand hosts in one process, over links that lose, delay, reorder,
//! duplicate and damage; and the same seed gives the same run, packet for packet.
//!
//! ```text
//!   Host ──poll_transmit──▶ Network ──▶ link from → to ──▶ Network ──handle_datagram──▶ Host
//!                              │         queue, rate, delay, loss, …        │
//!                              └── one heap of events, by (time, sequence) ─┘
//! ```
//!
//! Reading order: [`Link`] (what a path does to packets), [`Profile`] (paths as they are found at home), [`Network`] (hosts, clock,
//! faults), `pipe` (how one link decides).
//!
//! Nothing here knows what the datagrams mean. Time is a [`Duration`](core::time::Duration) since the run began; it moves only
//! from event to event, so that an hour without packets costs nothing.
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
pub use nat::{Behaviour, FIRST_PORT, Filtering, Mapping, Nat, NatCounters, PORTS, Ports, Refresh, Refused};
pub use network::{Host, Network, SOCKET_BUFFER, Verdict};
pub use packet::{Ecn, Packet};
pub use pipe::{Arrivals, Counters, Drops, Pipe};
pub use profile::Profile;
