//! The runs: bounds, counts, and faults that must be found.
//!
//! `cargo test --lib model` checks the small ones; `MODEL=crash,split cargo test --release --lib model::slices::large -- --ignored --nocapture`
//! those that are named, `MODEL=all` all of them.

use super::cell::Broken;
use super::system::{Action, Bounds, System, Whole, between, halves};
use crate::node::room::plant::Plant;
use stateright::{Checker as _, HasDiscoveries, Model, Property};
use std::io::Write as _;
use std::sync::Arc;

/// A system, for the checker.
#[derive(Clone)]
struct Checked(Arc<System>);

impl Model for Checked {
    type State = Whole;
    type Action = Action;

    fn init_states(&self) -> Vec<Whole> {
        vec![self.0.start.clone()]
    }

    fn actions(&self, state: &Whole, actions: &mut Vec<Action>) {
        actions.extend(self.0.actions_of(state));
    }

    fn next_state(&self, state: &Whole, action: Action) -> Option<Whole> {
        Some(self.0.after(state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nobody is counted by two supernodes of one counter", |model, state| {
                model.0.one_supernode_a_counter(state)
            }),
            Property::always("epochs rise", |model, state| model.0.is_unbroken(state, &[Broken::EpochFell])),
            Property::always("the same view, the same members", |model, state| model.0.same_members(state)),
            Property::always("one order, nothing twice", |model, state| {
                model.0.one_order(state) && model.0.is_unbroken(state, &[Broken::ShownTwice, Broken::OutOfPlace])
            }),
            Property::always("an author's lines in its order", |model, state| {
                model.0.is_unbroken(state, &[Broken::OutOfAuthorsOrder])
            }),
            Property::always("nothing made up", |model, state| model.0.is_unbroken(state, &[Broken::MadeUp])),
            Property::always("nothing that is kept is called missed", |_, state: &Whole| !state.dishonest),
            Property::always("nobody is accused, since nobody lies", |model, state| {
                model.0.is_unbroken(state, &[Broken::HonestAccused])
            }),
            Property::always("it ends well: one room, nothing lost", |model, state| model.0.ends_well(state)),
        ]
    }
}

/// What a run found.
struct Outcome {
    states: usize,
    unique: usize,
    depth: usize,
    seconds: f64,
    /// The property that does not hold, and how.
    found: Option<(&'static str, String)>,
    exhaustive: bool,
    system: Arc<System>,
}

fn run(bounds: Bounds) -> Outcome {
    let system = System::new(bounds);
    let begin = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let most = std::env::var("STATES").ok().and_then(|most| most.parse().ok()).unwrap_or(400_000_000);
    let threads = std::env::var("THREADS").ok().and_then(|threads| threads.parse().ok()).unwrap_or(1);
    let checker = Checked(system.clone())
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(most)
        .spawn_bfs()
        .join();
    let seconds = (std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - begin).as_secs_f64();
    let found = checker.discoveries().into_iter().min_by_key(|(name, _)| *name).map(|(name, path)| {
        let mut words = String::new();
        for (state, action) in path.into_vec() {
            words += &system.picture(&state);
            if let Some(action) = action {
                words += &format!("  {action:?}\n");
            }
        }
        for complaint in system.complaints.lock().unwrap().iter() {
            words += &format!("{complaint}\n");
        }
        for alert in system.steps.words.lock().unwrap().iter() {
            words += &format!("alert {alert}\n");
        }
        (name, words)
    });
    let (states, unique) = (checker.state_count(), checker.unique_state_count());
    let exhaustive = found.is_none() && states < most;
    Outcome { states, unique, depth: checker.max_depth(), seconds, found, exhaustive, system }
}

/// On the terminal, whether the test passes or not.
fn tell(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

fn row(outcome: &Outcome) {
    let bounds = &outcome.system.bounds;
    let (cells, steps) = outcome.system.steps.sizes();
    tell(&format!(
        "{:<10} {} nodes, {} crashes, {} cuts of {} shapes, {} quits, {} lines by {:?}{}{} | {} states, {} unique, depth {}, {:.1} s, {cells} cells, {steps} steps, ends within {} ticks | {}",
        bounds.name,
        bounds.nodes,
        bounds.crashes,
        usize::from(!bounds.cuts.is_empty()),
        bounds.cuts.len(),
        bounds.quits,
        bounds.lines.len(),
        bounds.lines,
        if bounds.ties { ", timers in any order" } else { "" },
        if bounds.give_up { ", links given up" } else { "" },
        outcome.states,
        outcome.unique,
        outcome.depth,
        outcome.seconds,
        outcome.system.longest_closing(),
        match (&outcome.found, outcome.exhaustive) {
            (Some((name, _)), _) => format!("BROKEN: {name}"),
            (None, true) => "exhaustive: yes, no counterexample".to_owned(),
            (None, false) => "exhaustive: no, no counterexample so far".to_owned(),
        }
    ));
}

fn check(bounds: Bounds) -> Outcome {
    let outcome = run(bounds);
    row(&outcome);
    if let Some((name, path)) = &outcome.found {
        panic!("{name}\n{path}");
    }
    let seen: Vec<&str> = outcome.system.steps.seen.lock().unwrap().iter().copied().collect();
    tell(&format!("           {}", seen.join(", ")));
    outcome
}

/// Nothing happens yet.
fn quiet(name: &'static str, nodes: usize) -> Bounds {
    Bounds {
        name,
        nodes,
        crashes: 0,
        refusals: &[true, false],
        quits: 0,
        cuts: Vec::new(),
        heals_quietly: false,
        give_up: true,
        lines: Vec::new(),
        ties: true,
        plant: None,
    }
}

fn crash3() -> Bounds {
    Bounds { crashes: 1, lines: vec![2], ..quiet("crash3", 3) }
}

fn split3() -> Bounds {
    Bounds { cuts: halves(3), lines: vec![2], ..quiet("split3", 3) }
}

fn named(name: &str) -> Option<Bounds> {
    let bounds = match name {
        "talk3" => Bounds { lines: vec![1, 2], ..quiet("talk3", 3) },
        "crash3" => crash3(),
        "split3" => split3(),
        "small" => Bounds { crashes: 1, cuts: halves(3), lines: vec![2], ..quiet("small", 3) },
        "quit3" => Bounds { quits: 1, crashes: 1, lines: vec![1, 2], ..quiet("quit3", 3) },
        "talk4" => Bounds { lines: vec![1, 3], ..quiet("talk4", 4) },
        "crash4" => Bounds { crashes: 1, lines: vec![3], ..quiet("crash4", 4) },
        "crashes4" => Bounds { crashes: 2, lines: vec![1, 3], ..quiet("crashes4", 4) },
        "split4" => Bounds { cuts: halves(4), lines: vec![3], ..quiet("split4", 4) },
        "shapes3" => {
            Bounds { cuts: vec![between(0, 1), between(0, 2), between(1, 2)], lines: vec![2], ..quiet("shapes3", 3) }
        }
        "full" => Bounds { crashes: 2, cuts: halves(4), lines: vec![1, 3], ..quiet("full", 4) },
        _ => return None,
    };
    Some(bounds)
}

#[test]
fn small_rooms_are_checked_to_the_last_state() {
    check(crash3());
}

#[test]
#[ignore = "minutes to hours: MODEL=crash4,split4"]
fn large() {
    let names = std::env::var("MODEL").unwrap_or_default();
    for name in names.split(',') {
        let mut bounds = named(name).unwrap_or_else(|| panic!("no bounds are called {name:?}"));
        let has = |what: &str| std::env::var("WITH").is_ok_and(|with| with.split(',').any(|word| word == what));
        bounds.ties &= !has("together");
        bounds.give_up &= !has("kept");
        bounds.heals_quietly |= has("quietly");
        if has("untold") {
            bounds.refusals = &[false];
        }
        if has("told") {
            bounds.refusals = &[true];
        }
        check(bounds);
    }
}

fn finds(plant: Plant, bounds: Bounds) -> &'static str {
    let outcome = run(Bounds { plant: Some(plant), ..bounds });
    row(&outcome);
    outcome.found.unwrap_or_else(|| panic!("{plant:?} is not found")).0
}

#[test]
#[ignore = "later"]
fn planted_faults_are_found() {
    finds(Plant::Stay, split3());
}
