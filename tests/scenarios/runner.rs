//! Runs the scenarios on as many threads as there are cores, and prints the table.

use crate::scenario::{Scenario, Share, Tally};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

thread_local! {
    /// What the last panic of this thread said, and where.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the command line asks for: what libtest understands, as far as it means anything here.
#[derive(Debug, Default)]
struct Wanted {
    filters: Vec<String>,
    skips: Vec<String>,
    threads: Option<usize>,
    list: bool,
    ignored_only: bool,
}

impl Wanted {
    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut wanted = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            match name.as_str() {
                "--list" => wanted.list = true,
                "--ignored" => wanted.ignored_only = true,
                "--skip" => wanted.skips.extend(value.or_else(|| arguments.next())),
                "--test-threads" => {
                    wanted.threads = value.or_else(|| arguments.next()).and_then(|count| count.parse().ok());
                }
                "--color" | "--format" | "--logfile" | "-Z" if value.is_none() => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                _ => wanted.filters.push(name),
            }
        }
        wanted
    }

    fn takes(&self, scenario: &Scenario) -> bool {
        let name = format!("{}: {}", scenario.family, scenario.name);
        !self.ignored_only
            && (self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str())))
            && !self.skips.iter().any(|skip| name.contains(skip.as_str()))
    }
}

/// A row that was run.
struct Row<'a> {
    scenario: &'a Scenario,
    tally: Tally,
    /// Time on the processor's clock, over all shares.
    wall: Duration,
}

/// Runs what the command line asks for. Fails if a row does not hold.
pub(crate) fn main(scenarios: &[Scenario]) -> ExitCode {
    let wanted = Wanted::parse(std::env::args().skip(1));
    let chosen: Vec<&Scenario> = scenarios.iter().filter(|scenario| wanted.takes(scenario)).collect();
    if wanted.list {
        for scenario in &chosen {
            println!("{}: {}: test", scenario.family, scenario.name);
        }
        return ExitCode::SUCCESS;
    }
    let began = now();
    let rows = run(&chosen, wanted.threads);
    let failed = print(&rows);
    let (passed, outcome) = (rows.len() - failed, if failed == 0 { "ok" } else { "FAILED" });
    let (filtered, took) = (scenarios.len() - chosen.len(), began.elapsed().as_secs_f64());
    println!(
        "\ntest result: {outcome}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {filtered} filtered out; finished in {took:.2}s\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::disallowed_methods, reason = "the table says how long the machine took; no scenario sees it")]
fn now() -> Instant {
    Instant::now()
}

fn run<'a>(chosen: &[&'a Scenario], threads: Option<usize>) -> Vec<Row<'a>> {
    // The undivided first: what is divided fills the gaps at the end.
    let mut jobs: Vec<(usize, Share)> = Vec::new();
    for (row, scenario) in chosen.iter().enumerate() {
        jobs.extend((0..scenario.shares).map(|index| (row, Share { index, of: scenario.shares })));
    }
    jobs.sort_by_key(|(row, share)| (share.of, *row));
    let rows = chosen.iter().map(|scenario| Row { scenario, tally: Tally::default(), wall: Duration::ZERO });
    let rows = Mutex::new(rows.collect::<Vec<_>>());
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);

    println!("\nrunning {} scenarios", chosen.len());
    std::panic::set_hook(Box::new(|panic| LAST_PANIC.with(|last| *last.borrow_mut() = panic.to_string())));
    std::thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(cores).clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                while let Some((row, share)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = now();
                    let tally = one_share(chosen[*row], *share);
                    let mut rows = rows.lock().unwrap();
                    rows[*row].tally.add(tally);
                    rows[*row].wall += began.elapsed();
                }
            });
        }
    });
    drop(std::panic::take_hook());
    rows.into_inner().unwrap()
}

/// A panic is an alarm: whatever panicked, an endpoint or an oracle.
fn one_share(scenario: &Scenario, share: Share) -> Tally {
    catch_unwind(AssertUnwindSafe(|| (scenario.run)(share))).unwrap_or_else(|_| Tally::one(Err(last_panic())))
}

/// What the last panic of this thread said, and where.
pub(crate) fn last_panic() -> String {
    LAST_PANIC.with(RefCell::take)
}

/// Prints one line a row, then what failed in full. Returns how many failed.
fn print(rows: &[Row<'_>]) -> usize {
    let mut lines =
        vec![["scenario", "asked of QUIC", "held here", "result", "virtual s", "wall s"].map(str::to_owned)];
    let mut failures = Vec::new();
    for Row { scenario, tally, wall } in rows {
        let name = format!("{}: {}", scenario.family, scenario.name);
        let result = match scenario.verdict(tally) {
            Ok(summary) => summary,
            Err(complaint) => {
                failures
                    .push(format!("---- {name} ----\n{complaint}\n({} alarms in all)\n", tally.alarms.len().max(1)));
                "FAILED".to_owned()
            }
        };
        let virtual_time = format!("{:.0}", tally.virtual_time().as_secs_f64());
        let wall = format!("{:.2}", wall.as_secs_f64());
        lines.push([name, scenario.asked.to_owned(), scenario.held.to_owned(), result, virtual_time, wall]);
    }
    let mut widths = [0; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    println!();
    for (number, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if number == 0 {
            println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
    for failure in &failures {
        println!("\n{failure}");
    }
    failures.len()
}
