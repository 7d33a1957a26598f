//! Measures congestion control: whole endpoints over a simulated link, alone and beside each other.
//!
//! ```text
//! cargo run --release --example link -- alone          # a row a link
//! cargo run --release --example link -- beside         # two senders, a row a link
//! cargo run --release --example link -- alone cubic    # of one controller only
//! ```
//!
//! Everything follows from seeds, so that the same code prints the same figures.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a measurement that fails is no table")]
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "../tests/link/bottleneck.rs"]
mod bottleneck;
#[expect(dead_code, reason = "shared with tests/mrt, which uses all of it")]
#[path = "../tests/mrt/party.rs"]
mod party;
#[path = "../tests/link/rows.rs"]
mod rows;

use anjer::mrt::recovery::congestion::Algorithm;
use anjer::time::Duration;
use bottleneck::{Plan, link};
use rows::ROWS;

const CONTROLLERS: [(&str, Algorithm); 2] = [("ebb", Algorithm::Ebb), ("cubic", Algorithm::Cubic)];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let only = arguments.next();
    match what.as_str() {
        "beside" => beside(),
        _ => alone(only.as_deref()),
    }
}

/// Goodput, bytes sent and queue of one sender, a row a link.
fn alone(only: Option<&str>) {
    println!(
        "| link | bar | controller | goodput of the limit | sent for one that arrives | queue p50, p95 ms | holds |"
    );
    println!("|---|---|---|---|---|---|---|");
    for row in &ROWS {
        for (name, algorithm) in CONTROLLERS {
            if only.is_none_or(|only| only == name) {
                let [goodput, overhead, median, high] = row.measure(algorithm, 1, row.to);
                let holds = goodput >= row.goodput
                    && overhead <= row.overhead
                    && row.delay.is_none_or(|[most, tail]| median <= most && high <= tail);
                let (link, bar, held) = (row.name, row.goodput, if holds { "yes" } else { "no" });
                println!(
                    "| {link} | {bar:.2} | {name} | {goodput:.3} | {overhead:.3} | {median:.1}, {high:.1} | {held} |"
                );
            }
        }
    }
}

/// Shares of two senders that last sixty seconds, the first twenty not counted.
fn beside() {
    println!(
        "| Mbit/s | round trip ms | queue, of what is on the way | ebb : cubic | cubic : ebb | ebb : ebb | cubic : cubic |"
    );
    println!("|---|---|---|---|---|---|---|");
    let pairs = [(0, 1), (1, 0), (0, 0), (1, 1)];
    let mut below = [0; 4];
    for megabits in [10.0, 30.0, 100.0] {
        for round_trip in [20.0, 50.0, 100.0] {
            for queue in [1.0, 2.0, 4.0] {
                let mut line = format!("| {megabits} | {round_trip} | {queue} |");
                for ((first, second), below) in pairs.into_iter().zip(&mut below) {
                    let link = link(megabits, round_trip, queue * round_trip);
                    let plan = Plan::beside(CONTROLLERS[first].1, CONTROLLERS[second].1, link);
                    let figures = plan.run(Duration::from_secs(60));
                    let [a, b] = [0, 1].map(|sender| figures.goodput(sender, 20.0, 60.0));
                    let jain = figures.jain(20.0, 60.0);
                    *below += usize::from(jain < 0.9);
                    line += &format!(" {:.2} : {:.2}, {jain:.2} |", a / (a + b), b / (a + b));
                }
                println!("{line}");
            }
        }
    }
    println!("\nbelow 0.9 of 27: {below:?}");
}
