//! `netem run`: commands on hosts, and what the links did meanwhile.

use crate::args::RunOptions;
use crate::carrier::Report;
use crate::failure::{Context, Failure};
use crate::privilege;
use crate::scenario::{Scenario, Task};
use crate::signals::Signals;
use crate::world::{World, wait_until_listening};
use core::time::Duration;
use netem::{Counters, NatCounters};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitCode, ExitStatus};

/// How long a command that serves may take to open a socket before the others start without it.
const UNTIL_LISTENING: Duration = Duration::from_secs(2);

/// How often it is looked whether packets are still carried; that a command has ended is told by a signal.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn main(options: &RunOptions) -> Result<ExitCode, Failure> {
    let scenario = Scenario::new(options)?;
    privilege::ensure()?;
    let signals = Signals::take()?;
    let tasks: Vec<_> =
        scenario.hosts.iter().filter_map(|host| Some((host.name.clone(), host.task.clone()?))).collect();
    let world = World::build(scenario, &signals)?;
    self::tasks(world, &tasks, &signals)
}

/// Runs these, each on its host, until those that do not serve have ended.
pub(crate) fn tasks(world: World, tasks: &[(String, Task)], signals: &Signals) -> Result<ExitCode, Failure> {
    let (mut serving, mut running) = (Vec::new(), Vec::new());
    for (host, task) in tasks.iter().filter(|(_, task)| task.serves) {
        let mut child = world.start(host, task)?;
        wait_until_listening(&mut child, signals, 1, UNTIL_LISTENING);
        serving.push(child);
    }
    for (host, task) in tasks.iter().filter(|(_, task)| !task.serves) {
        running.push(world.start(host, task)?);
    }
    // Without anything to wait for, those who serve are waited for, or the user.
    let waited_for = if running.is_empty() { &mut serving } else { &mut running };
    let code = wait(waited_for, &world, signals)?;
    let report = world.finish()?;
    for mut child in serving.into_iter().chain(running) {
        let _ = child.try_wait();
    }
    print(&report);
    Ok(ExitCode::from(code))
}

/// Until all have ended, or a signal comes. The exit code is the first that is not 0.
fn wait(children: &mut [Child], world: &World, signals: &Signals) -> Result<u8, Failure> {
    let waits_for_user = children.is_empty();
    loop {
        if let Some(signal) = signals.ending() {
            return Ok(SIGNALLED.saturating_add(signal));
        }
        if world.has_failed() {
            return Ok(crate::failure::EXIT_CODE);
        }
        let mut codes = Vec::new();
        for child in children.iter_mut() {
            codes.extend(child.try_wait().context(|| "cannot wait for a command".into())?.map(code));
        }
        if codes.len() == children.len() && !waits_for_user {
            return Ok(codes.into_iter().find(|code| *code != 0).unwrap_or(0));
        }
        signals.wait(LOOK);
    }
}

/// What shells add to the number of a signal that ended a command.
const SIGNALLED: u8 = 128;

fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().and_then(|signal| u8::try_from(signal).ok());
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.or_else(|| signal.map(|signal| SIGNALLED.saturating_add(signal))).unwrap_or(u8::MAX)
}

fn print(report: &Report) {
    for link in &report.links {
        eprintln!("netem: {} up: {}", link.host, line(&link.up));
        eprintln!("netem: {} down: {}", link.host, line(&link.down));
        for nat in &link.nats {
            eprintln!("netem: {} NAT: {}", link.host, nat_line(nat));
        }
    }
    let outside = report.outside;
    let others = [
        ("not IP", outside.foreign),
        ("not UDP at a NAT", outside.not_udp),
        ("to nobody", outside.nobody),
        ("between two that were cut apart", outside.cut),
        ("too many on their way", outside.overload),
        ("not taken by the kernel", outside.refused),
    ];
    for (name, count) in others.iter().filter(|(_, count)| *count > 0) {
        eprintln!("netem: {count} packets {name}");
    }
}

/// `sent 10 (9000 bytes), delivered 8 (7200 bytes), lost 2`: only what happened.
fn line(counters: &Counters) -> String {
    let dropped = counters.dropped;
    let mut line = format!(
        "sent {} ({} bytes), delivered {} ({} bytes)",
        counters.sent, counters.sent_bytes, counters.delivered, counters.delivered_bytes
    );
    let rest = [
        ("lost", dropped.loss),
        ("no room", dropped.queue),
        ("too large", dropped.too_large),
        ("damaged", counters.corrupted),
        ("doubled", counters.duplicated),
        ("held back", counters.held_back),
        ("marked", counters.marked),
    ];
    append(&mut line, &rest);
    line
}

/// `out 10, in 8, filtered 2`.
fn nat_line(counters: &NatCounters) -> String {
    let mut line = format!("out {}, in {}", counters.outbound, counters.inbound);
    let rest = [
        ("mappings", counters.mapped),
        ("turned round", counters.hairpinned),
        ("filtered", counters.filtered),
        ("no mapping", counters.no_mapping),
        ("clashes", counters.clashed),
        ("deaf", counters.deaf),
        ("table full", counters.table_full),
        ("no port", counters.no_port),
        ("no hairpin", counters.no_hairpin),
        ("blocked", counters.blocked),
        ("astray", counters.astray),
    ];
    append(&mut line, &rest);
    line
}

fn append(line: &mut String, counts: &[(&str, u64)]) {
    for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
        line.push_str(&format!(", {name} {count}"));
    }
}
