//! Anjer: chat and files among friends, with no server but each other.
//!
//! ```text
//!         keyboard · script                        screen · JSON lines
//!                │ Command                                ▲ Event
//! bin/       node-client: parse, print                    │
//!                ▼                                        │
//! node/      Node: who is in the room, who leads, what was said, who holds which file
//!                │ connect, send, close                   ▲ connected, message, lost
//! mrt/       Endpoint: encrypted, reliable, prioritised channels between two nodes
//!                │ Transmit                               ▲ Datagram
//! driver/    the UDP sockets, the clock, the threads, the network around
//! ```
//!
//! Reading order: [`machine`] (the one shape of everything that moves packets), [`mrt`] (the transport), [`node`] (the room),
//! [`driver`] (what runs them on a real socket). [`stun`] finds out what the world sees of our socket.
//!
//! `mrt` knows neither `stun` nor `node`; `stun` knows neither; `node` joins them. Everything above the driver is a value: time
//! and seeds are arguments, so that the simulator in the workspace member `netem` runs the same code as the binaries.

pub mod driver;
pub mod machine;
pub mod mrt;
pub mod node;
pub mod stun;
pub mod time;
