//! Every kind of NAT against every other: who gets a direct path, how soon, and for how many packets.
//!
//! `NAT_RUNS` says how many runs a pair gets, `NAT_KINDS` which kinds (a list of names with commas), `NAT_TABLE` where to write the table.

use crate::town::Town;
use anjer::node::Command;
use anjer::node::api::Path;
use anjer::time::Duration;
use netem::{Behaviour, MATRIX, direct_path_required};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A round trip between two of the town's houses.
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// How long a pair may look for a direct path.
const PATIENCE: Duration = Duration::from_secs(45);

/// Packets that one end may spend on a pair: what a home router bears is twice as much.
const BUDGET: u64 = 2_800;

/// A name, and what makes the chain of NATs that has it.
type Chain = (&'static str, fn() -> Vec<Behaviour>);

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
fn run([a, b]: [&Chain; 2], seed: u64) -> Run {
    let mut town = Town::new(seed);
    let supernode = town.settle(None, true);
    let [first, second] = [a, b].map(|(_, make)| {
        let nat = town.nat(&make());
        town.settle(nat, false)
    });
    // Programs run for a while before somebody types C.
    town.run_until(Duration::from_secs(8), |_| false);
    let there = town.address(supernode);
    town.command(first, Command::ConnectTo(there));
    town.run_until(Duration::from_secs(20), |town| town.knows_since(first, supernode).is_some());
    town.command(second, Command::ConnectTo(there));
    let both = [(first, second), (second, first)];
    let is_direct =
        |town: &Town| both.iter().all(|(from, to)| matches!(town.path(*from, *to), Some((_, Path::Direct, _))));
    let is_hopeless = |town: &Town| both.iter().any(|(from, to)| town.why(*from, *to).is_some());
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
    runs: Vec<Run>,
}

impl Row {
    fn direct(&self) -> usize {
        self.runs.iter().filter(|run| run.direct.is_some()).count()
    }

    fn times(&self, percent: usize) -> Option<Duration> {
        let mut times: Vec<Duration> = self.runs.iter().filter_map(|run| run.direct).collect();
        times.sort();
        times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied()
    }

    fn spent(&self, percent: usize) -> u64 {
        let mut spent: Vec<u64> = self.runs.iter().flat_map(|run| run.spent).collect();
        spent.sort_unstable();
        spent[(spent.len() * percent / 100).min(spent.len() - 1)]
    }

    fn line(&self) -> String {
        let [a, b] = self.pair;
        let time = |percent| self.times(percent).map_or_else(|| "-".to_owned(), |time| time.as_millis().to_string());
        let why = self.runs.iter().find_map(|run| run.why.clone()).unwrap_or_default();
        format!(
            "| {a} | {b} | {} | {}/{} | {} | {} | {} | {} | {why} |",
            if self.required { "yes" } else { "" },
            self.direct(),
            self.runs.len(),
            time(50),
            time(95),
            self.spent(50),
            self.spent(100),
        )
    }
}

fn kinds() -> Vec<Chain> {
    let wanted = std::env::var("NAT_KINDS").ok();
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|list| list.split(',').any(|one| one == name));
    MATRIX.into_iter().filter(|(name, _)| is_wanted(name)).collect()
}

/// A direct path wherever one can be required, a relay elsewhere, nobody left out, and no router's table filled.
#[test]
fn every_pair_of_nats_gets_the_path_that_it_can_have() {
    let runs = std::env::var("NAT_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3);
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
                    let required = direct_path_required(&a.1(), &b.1());
                    // Either of the two comes first.
                    let sides = |seed: usize| if seed.is_multiple_of(2) { [a, b] } else { [b, a] };
                    let runs = (0..runs).map(|seed| run(sides(seed), seed as u64)).collect();
                    rows.lock().unwrap().push((n, Row { pair: [a.0, b.0], required, runs }));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(n, _)| *n);
    let mut table =
        "| one | other | required | direct | p50 ms | p95 ms | packets a side, median | most | else |\n".to_owned();
    table.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for (_, row) in &rows {
        writeln!(table, "{}", row.line()).unwrap();
    }
    println!("{table}");
    if let Ok(path) = std::env::var("NAT_TABLE") {
        std::fs::write(path, &table).unwrap();
    }
    let all = |rows: &[(usize, Row)]| rows.iter().flat_map(|(_, row)| row.runs.clone()).collect::<Vec<Run>>();
    assert!(all(&rows).iter().all(|run| run.connected), "somebody was left out");
    assert!(all(&rows).iter().flat_map(|run| run.spent).all(|spent| spent <= BUDGET), "too many packets");
    let required: Vec<&Row> = rows.iter().map(|(_, row)| row).filter(|row| row.required).collect();
    let (direct, tried) =
        required.iter().fold((0, 0), |(direct, tried), row| (direct + row.direct(), tried + row.runs.len()));
    println!("direct where required: {direct} of {tried}");
    assert!(direct * 100 >= tried * 95, "{direct} of {tried}");
    for row in required {
        assert!(row.times(50).is_some_and(|time| time <= Duration::from_secs(5)), "{}", row.line());
    }
    assert!(ROUND_TRIP < PATIENCE);
}
