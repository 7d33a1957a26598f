//! The command: pairs and runs, so many worlds at a time.

use super::kinds::{Pair, pairs};
use super::options::Options;
use super::outcome::Outcome;
use super::table::{Row, are_good, table};
use super::{run, special};
use crate::failure::Failure;
use crate::nodes::setting::{self, Setting};
use crate::privilege;
use crate::signals::Signals;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Everything that is asked for. The exit code is 1 if something is not as it must be.
pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let (pairs, missing) = pairs(options)?;
    let setting = Setting::from(options);
    setting.program()?;
    setting.require_tools(options.kernel)?;
    privilege::ensure()?;
    let signals = Signals::take()?;
    if options.special {
        return special::main(options, &signals);
    }
    for name in &missing {
        eprintln!("netem: {name}: the kernel has no such NAT; its pairs are left out");
    }
    let outcomes = all_runs(&pairs, options, &signals);
    if let Some(signal) = signals.ending() {
        return Ok(ExitCode::from(128_u8.saturating_add(signal)));
    }
    let rows: Vec<Row> = pairs
        .iter()
        .zip(outcomes)
        .map(|(pair, outcomes)| Row {
            pair: pair.name(),
            is_required: pair.is_required(),
            is_guess: pair.is_guess(),
            bar: pair.bar(options.rtt),
            outcomes,
        })
        .collect();
    let text = table(&rows, options.rtt);
    print!("{text}");
    write(options, &text)?;
    Ok(if are_good(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes a table where it is asked for.
pub(super) fn write(options: &Options, text: &str) -> Result<(), Failure> {
    setting::write(options.write.as_deref(), text)
}

/// Every run of every pair, in the order of the pairs. A world that could not be built or kept is a run that is not connected.
fn all_runs(pairs: &[Pair], options: &Options, signals: &Signals) -> Vec<Vec<Outcome>> {
    let runs = options.runs as usize;
    let outcomes: Mutex<Vec<Vec<Outcome>>> = Mutex::new(vec![Vec::new(); pairs.len()]);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            // One run of every pair before the second of any.
            let (turn, number) = (job / pairs.len().max(1), job % pairs.len().max(1));
            let Some(pair) = pairs.get(number).filter(|_| turn < runs && signals.ending().is_none()) else { return };
            let seed = options.seed.wrapping_add(turn as u64).wrapping_mul(1000).wrapping_add(number as u64);
            let result = run::pair(&format!("{job}-"), pair, seed, options, signals);
            let outcome =
                result.unwrap_or_else(|failure| Outcome { why: Some(failure.to_string()), ..Outcome::default() });
            tell(pair, turn, &outcome);
            if let Some(of_pair) = outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_mut(number) {
                of_pair.push(outcome);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn tell(pair: &Pair, turn: usize, outcome: &Outcome) {
    let how = match (outcome.time_to_direct(), outcome.reason()) {
        (Some(time), _) => format!("direct after {} ms, {:?} packets", time.as_millis(), outcome.packets),
        (None, reason) => reason.unwrap_or_else(|| "direct".into()),
    };
    eprintln!("netem: {}, run {}: {how}", pair.name(), turn + 1);
}
