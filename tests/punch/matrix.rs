//! Every pair of kinds of NAT, many times: who meets, how fast, at what cost.
//!
//! `PUNCH_RUNS=1000` makes it a thousand runs a pair.

use crate::world::{DELAY, Outcome, Plan, World};
use core::time::Duration;
use netem::{MATRIX, direct_path_required};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs of each pair, unless told otherwise.
const RUNS: u64 = 40;

/// Packets that one end may spend on one pair: the largest product, and what comes before it.
const MOST_PACKETS: u32 = 3_050;

/// A run is given up after this: the longest plan takes half of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of all runs of a pair.
struct Row {
    names: [&'static str; 2],
    required: bool,
    runs: usize,
    /// From when both knew of each other until both had the way, sorted.
    times: Vec<Duration>,
    /// Of the end that spent more, sorted.
    packets: Vec<u32>,
    /// Packets of runs that were relayed in the end.
    wasted: u32,
}

fn runs() -> u64 {
    std::env::var("PUNCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

fn row(a: usize, b: usize) -> Row {
    let kinds = [MATRIX[a], MATRIX[b]];
    let nats = kinds.map(|(_, make)| make());
    let required = direct_path_required(&nats[0], &nats[1]);
    let names = kinds.map(|(name, _)| name);
    let mut row = Row { names, required, runs: 0, times: Vec::new(), packets: Vec::new(), wasted: 0 };
    for run in 0..runs() {
        // Either end may be the one that begins.
        let (first, second) = if run % 2 == 0 { (0, 1) } else { (1, 0) };
        let seed = run * 10_007 + (a * 100 + b) as u64;
        let mut world = World::new(&Plan::new(seed, &nats[first], &nats[second]));
        let outcomes = world.run(PATIENCE);
        let met = world.end(0).met.unwrap();
        row.runs += 1;
        let mut spent = 0;
        for outcome in &outcomes {
            let Some(Outcome::Open { probes, .. } | Outcome::Failed { probes, .. }) = outcome else {
                panic!("{names:?} seed {seed}: {outcomes:?}")
            };
            spent = spent.max(*probes);
        }
        row.packets.push(spent);
        match &outcomes {
            [
                Some(Outcome::Open { socket, remote, at, .. }),
                Some(Outcome::Open { socket: other, remote: back, at: then, .. }),
            ] => {
                // The same way, seen from both ends.
                let outside = world.outside(0, *socket, *remote);
                assert_eq!(outside, Some(*back), "{names:?} seed {seed}");
                assert_eq!(world.outside(1, *other, *back), Some(*remote), "{names:?} seed {seed}");
                row.times.push((*at).max(*then) - met);
            }
            [Some(Outcome::Failed { .. }), Some(Outcome::Failed { .. })] => row.wasted = row.wasted.max(spent),
            _ => panic!("{names:?} seed {seed}: one end has a way and the other one has not: {outcomes:?}"),
        }
    }
    row.times.sort();
    row.packets.sort();
    row
}

fn quantile<T: Copy>(sorted: &[T], part: f64) -> Option<T> {
    sorted.get((sorted.len().saturating_sub(1) as f64 * part).round() as usize).copied()
}

impl Row {
    fn direct(&self) -> f64 {
        100.0 * self.times.len() as f64 / self.runs as f64
    }

    fn line(&self) -> String {
        let millis = |part| quantile(&self.times, part).map_or("–".into(), |time| time.as_millis().to_string());
        let packets = |part| quantile(&self.packets, part).unwrap_or(0);
        let [a, b] = self.names;
        format!(
            "{a:<28}{b:<28}{:>5}{:>8.1}{:>8}{:>8}{:>8}{:>8}",
            if self.required { "must" } else { "" },
            self.direct(),
            millis(0.5),
            millis(0.95),
            packets(0.5),
            packets(1.0)
        )
    }
}

/// Who must meet does, nineteen times in twenty, in three round trips where nobody has to guess and within five seconds at the median where
/// somebody has; both ends have the same way; nobody spends more than the budget; and who cannot meet is told so.
#[test]
fn every_pair_that_must_meet_meets_in_time_and_within_the_budget() {
    let pairs: Vec<(usize, usize)> = (0..MATRIX.len()).flat_map(|a| (a..MATRIX.len()).map(move |b| (a, b))).collect();
    let next = AtomicUsize::new(0);
    let mut rows: Vec<(usize, Row)> = std::thread::scope(|scope| {
        let work = || {
            let mut rows = Vec::new();
            loop {
                // The dear ones first.
                let taken = next.fetch_add(1, Ordering::Relaxed);
                let Some(at) = pairs.len().checked_sub(taken + 1) else { return rows };
                let (a, b) = pairs[at];
                rows.push((at, row(a, b)));
            }
        };
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    rows.sort_by_key(|(at, _)| *at);
    println!(
        "{:<28}{:<28}{:>5}{:>8}{:>8}{:>8}{:>8}{:>8}",
        "", "", "", "direct%", "p50 ms", "p95 ms", "packets", "most"
    );
    rows.iter().for_each(|(_, row)| println!("{}", row.line()));

    let round_trips = 3 * 2 * DELAY;
    let mut must = (0, 0);
    for (_, row) in &rows {
        let names = row.names;
        assert!(row.packets.last().is_none_or(|most| *most <= MOST_PACKETS), "{names:?} within the budget");
        if !row.required {
            continue;
        }
        must.0 += row.times.len();
        must.1 += row.runs;
        // Four standard deviations below 95 % of so few runs.
        let runs = row.runs as f64;
        let least = 0.95 * runs - 4.0 * (runs * 0.95 * 0.05).sqrt();
        assert!(row.times.len() as f64 >= least, "{names:?}: {:.1} % direct", row.direct());
        let median = quantile(&row.times, 0.5).unwrap();
        assert!(median <= Duration::from_secs(5), "{names:?}: {median:?}");
        let is_simple = row.packets.last().is_some_and(|most| *most < 40);
        let guesses = names.iter().any(|name| name.starts_with("symmetric") || *name == "address-dependent");
        assert!(is_simple || guesses, "{names:?}: known ports need few packets");
        if is_simple {
            assert!(quantile(&row.times, 0.95).unwrap() <= round_trips, "{names:?}: three round trips");
        }
    }
    let share = must.0 as f64 / must.1 as f64;
    println!("direct where required: {:.2} % of {} runs", 100.0 * share, must.1);
    assert!(share >= 0.98, "over the whole matrix: {share}");
}
