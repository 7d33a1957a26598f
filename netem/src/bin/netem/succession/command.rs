//! The command: scenes and runs, so many worlds at a time.

use super::acts;
use super::options::Options;
use super::outcome::Outcome;
use super::places::{Nats, plans};
use super::scene::Scene;
use super::stage::Stage;
use super::table::{Row, table};
use super::transcript::transcript;
use crate::failure::{Context, Failure};
use crate::nodes::setting;
use crate::privilege;
use crate::signals::Signals;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Everything that is asked for. The exit code is 1 if something is not as it must be.
pub(crate) fn main(options: &Options) -> Result<ExitCode, Failure> {
    let cases: Vec<(Scene, Nats)> = options
        .scenes()
        .into_iter()
        .flat_map(|scene| options.nats.iter().map(move |nats| (scene, *nats)))
        .filter(|(scene, nats)| scene.is_for(*nats))
        .collect();
    let Some((first, _)) = cases.first() else { return Err(Failure::new("no such scene without NATs")) };
    let setting = options.setting(*first);
    setting.program()?;
    setting.require_tools(options.nats.contains(&Nats::Kernel))?;
    privilege::ensure()?;
    let signals = Signals::take()?;
    let outcomes = all_runs(&cases, options, &signals);
    if let Some(signal) = signals.ending() {
        return Ok(ExitCode::from(128_u8.saturating_add(signal)));
    }
    let rows = cases.iter().zip(outcomes);
    let rows: Vec<Row> = rows.map(|((scene, nats), outcomes)| Row { scene: *scene, nats: *nats, outcomes }).collect();
    let text = table(&rows, options.rtt);
    print!("{text}");
    setting::write(options.write.as_deref(), &text)?;
    Ok(if rows.iter().all(|row| row.is_good(options.rtt)) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every run of every case, in the order of the cases. A world that could not be built or kept is a run that is not good.
fn all_runs(cases: &[(Scene, Nats)], options: &Options, signals: &Signals) -> Vec<Vec<Outcome>> {
    let runs = options.runs as usize;
    let outcomes: Mutex<Vec<BTreeMap<usize, Outcome>>> = Mutex::new(vec![BTreeMap::new(); cases.len()]);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            // One run of everything before the second of anything.
            let (turn, number) = (job / cases.len().max(1), job % cases.len().max(1));
            let case = cases.get(number).filter(|_| turn < runs && signals.ending().is_none());
            let Some((scene, nats)) = case.copied() else { return };
            let outcome =
                run(scene, nats, turn, options, signals).unwrap_or_else(|failure| Outcome::failed(failure.to_string()));
            if signals.ending().is_some() {
                return;
            }
            eprintln!("netem: {}, {}, run {}: {}", scene.name(), nats.name(), turn + 1, outcome.tell());
            if let Some(of_case) = outcomes.lock().unwrap_or_else(PoisonError::into_inner).get_mut(number) {
                of_case.insert(turn, outcome);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(work);
        }
    });
    // In order of their turns, whichever ended first: by its number a run is found among the logs.
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.into_iter().map(|of_case| of_case.into_values().collect()).collect()
}

/// A scene once, in a world of its own.
fn run(scene: Scene, nats: Nats, turn: usize, options: &Options, signals: &Signals) -> Result<Outcome, Failure> {
    let label = format!("{}-{}-{}-", scene.name(), nats.name(), turn + 1);
    // Dice of its own for each case and turn, whatever else is asked for.
    let seed = options.seed.wrapping_add(turn as u64).wrapping_mul(1000).wrapping_add(scene as u64 * 10 + nats as u64);
    let plans = plans(scene, nats, options.members)?;
    let setting = options.setting(scene);
    let mut stage = Stage::build(&label, plans, seed, setting, scene.has_one_order(), signals)?;
    let outcome = acts::play(scene, &mut stage, seed, options)?;
    if let Some(folder) = &options.logs {
        let path = folder.join(format!("{label}story.txt"));
        std::fs::write(&path, transcript(&stage, &outcome)).context(|| path.display().to_string())?;
    }
    stage.room.end()?;
    Ok(outcome)
}
