//! MRT as its users see it: two endpoints on a network in virtual time.
//!
//! `pair` is the harness (two parties and the links between them), `party` what stands above an endpoint in these stories, `ledger` the
//! oracle for amplification, `life` a recording of everything that is ever said, `trio` a harness with a relay, `wires` one by hand for several sockets. `tests/scenarios` uses them too. The rest are stories, by subject. A failure prints the seed; a run is repeated by its seed alone.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod ledger;
mod life;
mod pair;
mod party;
mod trio;

mod attack;
mod channels;
mod ending;
mod flow;
mod hostile;
mod moving;
mod paths;
mod paths_walk;
mod priority;
mod relay;
mod setup;
mod setup_lossy;
mod transfer;
mod wires;
