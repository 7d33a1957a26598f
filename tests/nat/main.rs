//! Rooms whose members sit behind NATs, in virtual time: the same `Node` as in the program, with all its sockets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_docs_in_private_items,
    reason = "tests may panic"
)]

mod house;
mod joining;
mod matrix;
mod observatory;
mod scenes;
mod town;
