//! Draws goodput over loss and round-trip time: MRT on the simulated link of the scenarios, as an SVG.
//!
//! ```text
//! cargo run --example goodput -- docs/goodput.svg
//! ```
//!
//! Everything follows from seeds, so that the same code draws the same file to the byte.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that fails is no chart")]
#![expect(clippy::print_stdout, reason = "the figures, for whoever does not look at pictures")]

#[expect(dead_code, reason = "shared with tests/mrt, which uses all of it")]
#[path = "../tests/mrt/pair.rs"]
mod pair;
#[expect(dead_code, reason = "shared with tests/mrt, which uses all of it")]
#[path = "../tests/mrt/party.rs"]
mod party;

use anjer::mrt::Class;
use netem::{Link, Queue};
use pair::{MS, Pair, Plan, pattern, secs};
use std::fmt::Write as _;

/// Megabits a second that the link carries, headers included.
const RATE: f64 = 10.0;
/// Round-trip times of the links, in milliseconds, and what each is drawn with.
const ROUND_TRIPS: [(u32, &str); 5] =
    [(10, "#1b7837"), (30, "#2166ac"), (100, "#8c510a"), (300, "#762a83"), (600, "#b2182b")];
/// Packets of a hundred that are lost, in each direction.
const LOSSES: [f64; 12] = [0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0];
/// Seconds that a transfer is watched, from the moment at which both sides are connected: slow start counts.
const SECONDS: u64 = 60;
/// Each point is the median of these.
const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1);
    let curves = ROUND_TRIPS.map(|(round_trip, _)| LOSSES.map(|loss| median(round_trip, loss)));
    println!("Mbit/s of payload; rows: round trip, columns: loss each way");
    println!("{:>8} {}", "", LOSSES.map(|loss| format!("{loss:>6} %")).join(""));
    for ((round_trip, _), curve) in ROUND_TRIPS.iter().zip(&curves) {
        println!("{round_trip:>5} ms {}", curve.map(|goodput| format!("{goodput:>8.2}")).join(""));
    }
    match path {
        Some(path) => std::fs::write(path, chart(&curves)),
        None => Ok(()),
    }
}

fn median(round_trip: u32, loss: f64) -> f64 {
    let mut goodputs = SEEDS.map(|seed| goodput(seed, round_trip, loss));
    goodputs.sort_unstable_by(f64::total_cmp);
    goodputs[SEEDS.len() / 2]
}

/// Megabits of payload a second that arrive, in order, at the other end.
fn goodput(seed: u64, round_trip: u32, loss: f64) -> f64 {
    let link = Link {
        rate: Some((RATE * 1e6) as u64),
        queue: Queue::Packets(25),
        delay: MS * round_trip / 2,
        ..Link::default()
    };
    let mut pair = Pair::new(Plan { seed, link: link.losing(loss / 100.0), ..Plan::default() });
    let ends = pair.connected();
    let enough = (RATE * 1e6 / 8.0) as usize * SECONDS as usize;
    pair.client().say(ends.client, Class::Bulk, pattern(seed, enough));
    pair.network.run_for(secs(SECONDS));
    pair.server().received() as f64 * 8.0 / 1e6 / SECONDS as f64
}

// The picture.

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Left, top, right, bottom of the plot.
const PLOT: [f64; 4] = [60.0, 50.0, 660.0, 380.0];

/// Losses are evenly spaced: between 0 and 1 % as much happens as between 1 and 20.
fn x(index: usize) -> f64 {
    PLOT[0] + (PLOT[2] - PLOT[0]) * index as f64 / (LOSSES.len() - 1) as f64
}

fn y(goodput: f64) -> f64 {
    PLOT[3] - (PLOT[3] - PLOT[1]) * goodput / RATE
}

fn chart(curves: &[[f64; LOSSES.len()]]) -> String {
    let [left, top, right, bottom] = PLOT;
    let mut svg = String::new();
    let mut line = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    line(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">"#
    ));
    line(format!(r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>"##));
    line(format!(
        r#"<text x="{left}" y="24" font-size="15">MRT: goodput over loss and round-trip time, {RATE} Mbit/s, 25 packets of queue</text>"#
    ));
    for mark in 0..=5 {
        let (goodput, middle) = (RATE * f64::from(mark) / 5.0, y(RATE * f64::from(mark) / 5.0));
        line(format!(r##"<path d="M{left} {middle:.1}H{right}" stroke="#ddd"/>"##));
        line(format!(r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{goodput}</text>"#, left - 8.0, middle + 4.0));
    }
    for (index, loss) in LOSSES.iter().enumerate() {
        line(format!(r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{loss}</text>"#, x(index), bottom + 18.0));
    }
    line(format!(
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">packets lost each way, per cent</text>"#,
        f64::midpoint(left, right),
        bottom + 40.0
    ));
    line(format!(
        r#"<text x="16" y="{:.1}" transform="rotate(-90 16 {:.1})" text-anchor="middle">Mbit/s of payload</text>"#,
        f64::midpoint(top, bottom),
        f64::midpoint(top, bottom)
    ));
    // What a sender that never waits would get through.
    let ceiling = points(&LOSSES.map(|loss| RATE * (1.0 - loss / 100.0)));
    line(format!(r##"<polyline points="{ceiling}" fill="none" stroke="#888" stroke-dasharray="5 4"/>"##));
    line(format!(r##"<text x="{:.1}" y="{:.1}" fill="#666">not lost</text>"##, right + 8.0, y(RATE * 0.8) + 4.0));
    for (number, ((round_trip, colour), curve)) in ROUND_TRIPS.iter().zip(curves).enumerate() {
        line(format!(r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#, points(curve)));
        for (index, goodput) in curve.iter().enumerate() {
            line(format!(r#"<circle cx="{:.1}" cy="{:.1}" r="2.5" fill="{colour}"/>"#, x(index), y(*goodput)));
        }
        let at = top + 150.0 + 20.0 * number as f64;
        line(format!(r#"<path d="M{:.1} {:.1}h14" stroke="{colour}" stroke-width="2"/>"#, right + 8.0, at - 4.0));
        line(format!(r#"<text x="{:.1}" y="{at:.1}" fill="{colour}">{round_trip} ms</text>"#, right + 28.0));
    }
    line("</svg>".to_owned());
    svg
}

fn points(curve: &[f64]) -> String {
    let mut points = String::new();
    for (index, goodput) in curve.iter().enumerate() {
        write!(points, "{}{:.1},{:.1}", if index == 0 { "" } else { " " }, x(index), y(*goodput)).unwrap();
    }
    points
}
