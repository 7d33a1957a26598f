//! What runs a [`Machine`](crate::machine::Machine) on a real socket: the only place that reads a clock
//! or asks the system for randomness.
//!
//! The promise: whatever arrives is handled, whatever is due is sent, neither starves the other, and nothing that is slow,
//! missing or hostile outside the thread can make its memory grow or stop it for good.
//!
//! ```text
//!                       commands (bounded)                        jobs (bounded)
//!   Remote  ───────────────────────────────▶  anjer-net  ───────────────────────────▶  anjer-disk
//!   (any thread) ◀─────────────────────────   receive      ◀───────────────────────   (a Helper, if there is one)
//!                       events (bounded)      acknowledge         done (bounded)
//!                                             send
//!                                             │  ▲  │  ▲  requests, facts (bounded)
//!                                             ▼  │  └──┼────────────────────────▶  anjer-world
//!                                            Sockets   └─────────────────────────  (surroundings, if they are wanted)
//! ```
//!
//! One thread receives, acknowledges and sends. Two processes that talk to each other then keep two cores busy without one lock
//! or one hand-over between threads on the way of a packet; a second thread would pay for both.
//!
//! A machine may have more sockets than one ([`SocketRequest`](crate::machine::SocketRequest)): they share the turns and the receive
//! buffers, and none of them can starve the main one or the clock.
//!
//! Reading order: [`Driven`] (what can be run), [`run`](spawn) (the loop), [`Socket`], `Sockets`, [`Remote`], [`Helper`],
//! [`surroundings`], [`Clock`].
//!
//! This layer knows nothing of MRT or rooms: it moves datagrams, commands and events.

mod clock;
mod driven;
mod entropy;
mod helper;
mod receiving;
mod remote;
mod run;
mod socket;
mod sockets;
pub mod surroundings;
mod unreachable;
mod wait;

pub use clock::Clock;
pub use driven::Driven;
pub use entropy::fresh_seed;
pub use helper::Helper;
pub use receiving::{Received, Receiving};
pub use remote::{Commander, Gone, Remote, TrySendError};
pub use run::{spawn, spawn_with_helper};
pub use socket::{Buffers, Outcome, Socket, bind};
