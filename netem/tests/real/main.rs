//! The program, with real packets. Each test is a run of its own, in namespaces with names of its own; nothing is said to the network
//! outside them. Where namespaces or devices cannot be made, a test says SKIPPED and why; with `ANJER_REQUIRE_PRIVILEGED=1` it fails.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod harness;
mod roles;

mod carrying;
mod checking;
mod ending;
mod homes;
mod losing;
mod pairs;
