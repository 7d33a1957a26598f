//! What trusted transports are held to, at harder settings, in virtual time: one table, printed at the end.
//!
//! `runner` runs the rows and prints them, `scenario` is what a row is, `course` what rows share, `paths` the oracle for new addresses; the
//! harness and the oracle for amplification are those of `tests/mrt`. The rest are rows, a file a family, each with faults planted on
//! purpose that its checker has to find. Every run follows from a seed in its row.
//!
//! ```text
//! cargo test --test scenarios                # the table
//! cargo test --test scenarios blackhole      # rows with this in their name
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails is a scenario that fails"
)]
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "../mrt/ledger.rs"]
mod ledger;
#[path = "../mrt/life.rs"]
mod life;
#[expect(dead_code, reason = "shared with tests/mrt, which uses all of it")]
#[path = "../mrt/pair.rs"]
mod pair;
#[path = "../mrt/party.rs"]
mod party;

mod course;
mod paths;
mod runner;
mod scenario;

mod amplification;
mod attacks;
mod blackhole;
mod handshake;
mod long;
mod many;
mod masks;
mod mtu;
mod rebinding;
mod transfer;
mod walk;

use scenario::Scenario;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut scenarios: Vec<Scenario> = Vec::new();
    scenarios.extend(handshake::SCENARIOS);
    scenarios.extend(transfer::SCENARIOS);
    scenarios.extend(blackhole::SCENARIOS);
    scenarios.extend(rebinding::SCENARIOS);
    scenarios.extend(long::SCENARIOS);
    scenarios.extend(many::SCENARIOS);
    scenarios.extend(amplification::SCENARIOS);
    scenarios.extend(mtu::SCENARIOS);
    scenarios.extend(masks::SCENARIOS);
    scenarios.extend(walk::SCENARIOS);
    scenarios.extend(attacks::SCENARIOS);
    runner::main(&scenarios)
}
