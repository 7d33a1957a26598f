//! Files between two members, straight over their own connection.
//!
//! The promise: a download goes on from whoever holds the file until it is whole or nobody is left; what this side holds in
//! memory for others and for itself is bounded, whatever the size of the file.
//!
//! ```text
//!  downloading: R ──▶ find a holder ──▶ ask for ranges ──▶ slices ──▶ disk verifies and writes ──▶ finish
//!                        ▲   plan: what is missing    window: how much at once   │
//!                        └──────────── another holder, when one fails ◀──────────┘
//!  serving:     a bulk channel ──▶ ask (48 bytes) ──▶ disk reads the slice ──▶ slice, end
//! ```
//!
//! Reading order: [`ask`] (what goes over the wire), `plan`, `window`, `download`, `downloads`, [`serving`].
//!
//! This layer knows nothing of who leads the room, and nothing of how files lie on the disk.

mod ask;
mod download;
mod downloads;
mod plan;
mod serving;
mod window;

pub use ask::{Ask, MAX_RANGE};
pub use downloads::{Around, Downloads, TransferOutput};
pub use serving::Serving;
