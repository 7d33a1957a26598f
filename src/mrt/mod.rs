//! MRT, the Mini Reliable Transport: encrypted, reliable, prioritised channels between two nodes, over UDP.
//!
//! The promise: what one side sends on a channel, the other receives whole, in order, once, or learns that the connection is
//! lost; nobody else can read or change it; and a chat line never waits behind a file.
//!
//! ```text
//!  endpoint/     many connections on one socket: who gets this datagram, who may connect
//!    └ connection/   one connection: its parts, and a file for each verb over all parts
//!        ├ crypto/       Noise setup, sealing, key update, replay window
//!        ├ channel/      ordered byte streams: assembling, sending, credit, priority
//!        └ recovery/     round-trip time, loss, probe timeout, congestion, pacing, MTU
//!  relay/        datagrams passed on between two others
//!  route         the ways to the other end
//!  wire/         bytes: packets and frames, checked
//!  handle/       the ancestor's verbs (open, connect, accept1, …) over a real socket, for whoever wants only the transport
//! ```
//!
//! Reading order: [`wire`], [`api`] and `route`, `connection`, `endpoint`; then [`relay`], `recovery` and `crypto` as needed.
//!
//! This layer knows nothing of rooms, members, names or files, and nothing of STUN.

pub mod api;
pub mod channel;
pub mod crypto;
pub mod fuzz;
pub mod ranges;
pub mod recovery;
pub mod relay;
pub mod wire;

mod connection;
mod endpoint;
pub mod handle;
mod route;

pub use api::{
    ChannelId, Class, CloseReason, Config, ConnectError, ConnectTo, ConnectionHandle, ConnectionStats, Event,
    PublicKey, ReceiveError, Received, SecretId, SendError, SharedSecret, StaticKey,
};
pub use endpoint::Endpoint;
pub use relay::{RelayCount, RelayDrops, RelayError, RelayFlow, RelayLimits, RelayStats};
pub use route::{AddPathError, PathStats, RelayChannel, Route};
