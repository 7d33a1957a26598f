//! Every kind of NAT against every other: who gets a direct path, how soon, and for how many packets.
//!
//! `NAT_RUNS` says how many runs a pair gets, `NAT_COLD_RUNS` how many more of programs that were just started, `NAT_KINDS` which kinds (a
//! list of names with commas), `NAT_TABLE` where to write the table.

use crate::town::Town;
use anjer::node::Command;
use anjer::node::api::Path;
use anjer::time::Duration;
use netem::{Behaviour, MATRIX, Possible, direct_path_possible, direct_path_required};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A round trip between two of the town's houses.
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// How long a pair may look for a direct path.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long two that meet without guessing may take, in the median.
const SIMPLE: Duration = ROUND_TRIP.saturating_mul(3);

/// How long two that have to guess may take, in the median.
const BIRTHDAY: Duration = Duration::from_secs(5);

/// Packets that one end may spend on a pair: what a home router has died of is half as much again.
const BUDGET: u64 = 3_200;

/// A name, and what makes the chain of NATs that has it.
type Chain = (&'static str, fn() -> Vec<Behaviour>);

/// For how long programs run before they come into the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// They know what their NATs do: programs run for a while before somebody types `C`.
    Warm,
    /// Not at all: both come at once, and measure meanwhile.
    Cold,
}

/// What came of one run.
#[derive(Clone, Debug)]
struct Run {
    connected: bool,
    /// From when both knew of each other until both reached each other directly.
    direct: Option<Duration>,
    spent: [u64; 2],
    why: Option<String>,
}

/// One run: a public supernode, one member behind each NAT.
fn run([a, b]: [&Chain; 2], start: Start, seed: u64) -> Run {
    let mut town = Town::new(seed);
    let supernode = town.settle(None, true);
    let there = town.address(supernode);
    if start == Start::Cold {
        town.run_until(Duration::from_secs(3), |_| false);
    }
    let [first, second] = [a, b].map(|(_, make)| {
        let nat = town.nat(&make());
        town.settle(nat, false)
    });
    if start == Start::Warm {
        town.run_until(Duration::from_secs(8), |_| false);
    }
    town.command(first, Command::ConnectTo(there));
    if start == Start::Warm {
        town.run_until(Duration::from_secs(20), |town| town.knows_since(first, supernode).is_some());
    }
    town.command(second, Command::ConnectTo(there));
    let both = [(first, second), (second, first)];
    let is_direct =
        |town: &Town| both.iter().all(|(from, to)| matches!(town.path(*from, *to), Some((_, Path::Direct, _))));
    // Whoever says why knows all that it will ever know.
    let is_known = |why: String| !why.contains("still being measured");
    let is_hopeless = |town: &Town| both.iter().any(|(from, to)| town.why(*from, *to).is_some_and(is_known));
    town.run_until(PATIENCE, |town| is_direct(town) || is_hopeless(town));
    let connected = both.iter().all(|(from, to)| town.path(*from, *to).is_some());
    let known = both.iter().filter_map(|(from, to)| town.knows_since(*from, *to)).max();
    let reached = both.iter().filter_map(|(from, to)| town.path(*from, *to)).map(|(at, ..)| at).max();
    let direct = known.zip(reached).filter(|_| is_direct(&town)).map(|(known, reached)| reached.saturating_sub(known));
    let spent = both.map(|(from, to)| town.path(from, to).map_or(0, |(.., probes)| probes));
    let why = both.iter().find_map(|(from, to)| town.why(*from, *to));
    Run { connected, direct, spent, why }
}

/// What came of a pair's runs.
struct Row {
    pair: [&'static str; 2],
    required: bool,
    possible: Possible,
    warm: Vec<Run>,
    cold: Vec<Run>,
}

impl Row {
    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.warm.iter().chain(&self.cold)
    }

    fn direct(&self) -> usize {
        self.runs().filter(|run| run.direct.is_some()).count()
    }

    /// Within what time two such meet in the median, if they must.
    fn bar(&self) -> Option<Duration> {
        let bar = if self.possible == Possible::Yes { SIMPLE } else { BIRTHDAY };
        self.required.then_some(bar)
    }

    fn line(&self) -> String {
        let [a, b] = self.pair;
        let times = |runs: &[Run]| {
            let of = |percent| time(runs, percent).map_or_else(|| "–".to_owned(), |time| time.as_millis().to_string());
            format!("{}, {}", of(50), of(95))
        };
        let mut spent: Vec<u64> = self.runs().flat_map(|run| run.spent).collect();
        spent.sort_unstable();
        let spent = |percent: usize| spent[(spent.len() * percent / 100).min(spent.len() - 1)];
        let why = self.runs().find_map(|run| run.why.clone()).unwrap_or_default();
        format!(
            "| {a} × {b} | {} | {}/{} | {} | {} | {}, {} | {why} |",
            if self.required { "yes" } else { "no" },
            self.direct(),
            self.runs().count(),
            times(&self.warm),
            times(&self.cold),
            spent(50),
            spent(100),
        )
    }
}

/// The time that so many per cent of the runs that became direct do not exceed.
fn time(runs: &[Run], percent: usize) -> Option<Duration> {
    let mut times: Vec<Duration> = runs.iter().filter_map(|run| run.direct).collect();
    times.sort();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied()
}

fn kinds() -> Vec<Chain> {
    let wanted = std::env::var("NAT_KINDS").ok();
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|list| list.split(',').any(|one| one == name));
    MATRIX.into_iter().filter(|(name, _)| is_wanted(name)).collect()
}

/// A direct path wherever one can be required, a relay elsewhere, nobody left out, and no router's table filled.
#[test]
fn every_pair_of_nats_gets_the_path_that_it_can_have() {
    let number = |name: &str| std::env::var(name).ok().and_then(|runs| runs.parse().ok());
    let (warm, cold) = (number("NAT_RUNS").unwrap_or(3), number("NAT_COLD_RUNS").unwrap_or(1));
    let kinds = kinds();
    let pairs: Vec<[usize; 2]> = (0..kinds.len()).flat_map(|a| (a..kinds.len()).map(move |b| [a, b])).collect();
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some([a, b]) = pairs.get(n).copied() else { return };
                    let (a, b) = (&kinds[a], &kinds[b]);
                    let (required, possible) =
                        (direct_path_required(&a.1(), &b.1()), direct_path_possible(&a.1(), &b.1()));
                    // Either of the two comes first.
                    let sides = |seed: usize| if seed.is_multiple_of(2) { [a, b] } else { [b, a] };
                    let runs = |start, count: usize| (0..count).map(|n| run(sides(n), start, n as u64)).collect();
                    let (warm, cold) = (runs(Start::Warm, warm), runs(Start::Cold, cold));
                    rows.lock().unwrap().push((n, Row { pair: [a.0, b.0], required, possible, warm, cold }));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(n, _)| *n);
    let mut table =
        "| pair | required | direct | NATs known: p50, p95 ms | just started: p50, p95 ms | packets a side, \
                     p50, most | else |\n|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (_, row) in &rows {
        writeln!(table, "{}", row.line()).unwrap();
    }
    println!("{table}");
    if let Ok(path) = std::env::var("NAT_TABLE") {
        std::fs::write(path, &table).unwrap();
    }
    let runs = || rows.iter().flat_map(|(_, row)| row.runs());
    assert!(runs().all(|run| run.connected), "somebody was left out");
    assert!(runs().flat_map(|run| run.spent).all(|spent| spent <= BUDGET), "too many packets");
    let required: Vec<&Row> = rows.iter().map(|(_, row)| row).filter(|row| row.required).collect();
    let (direct, tried) =
        required.iter().fold((0, 0), |(direct, tried), row| (direct + row.direct(), tried + row.runs().count()));
    println!("direct where required: {direct} of {tried}");
    assert!(direct * 100 >= tried * 95, "{direct} of {tried}");
    for (_, row) in &rows {
        let Some(bar) = row.bar() else { continue };
        for runs in [&row.warm, &row.cold].into_iter().filter(|runs| !runs.is_empty()) {
            // A few guesses have no median.
            let is_told = row.possible == Possible::Yes || runs.len() >= 10;
            assert!(!is_told || time(runs, 50).is_some_and(|time| time <= bar), "{}", row.line());
        }
        // What a few runs show of nineteen in twenty is little.
        let (direct, runs) = (row.direct(), row.runs().count());
        assert!(runs < 100 || direct * 100 >= runs * 94, "{}", row.line());
    }
}
