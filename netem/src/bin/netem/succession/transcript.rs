//! A run as one story, in order of time: for people who want to know what went wrong.

use super::check::seconds;
use super::outcome::Outcome;
use super::stage::Stage;
use crate::nodes::record::Record;
use core::fmt::Write;
use core::time::Duration;

/// Everything that was done, typed, shown and said.
pub(crate) fn transcript(stage: &Stage<'_>, outcome: &Outcome) -> String {
    let mut entries: Vec<(Duration, String)> =
        stage.deeds.iter().map(|(at, what)| (*at, format!("=== {what}"))).collect();
    entries.extend(stage.typed.iter().map(|typed| (typed.at, format!("n{} types {}", typed.author, typed.text))));
    for number in 0..stage.members.len() {
        for record in stage.room.lives(number) {
            entries.extend(said(stage, number, record));
        }
    }
    entries.sort_by_key(|(at, _)| *at);
    let mut text = format!("{}\n", outcome.tell());
    for fault in &outcome.faults {
        let _ = writeln!(text, "{}: {}", fault.kind.name(), fault.what);
    }
    for (number, id) in stage.ids.iter().enumerate() {
        let _ = writeln!(text, "n{number} is {id}");
    }
    for (at, what) in entries {
        let _ = writeln!(text, "{:>11} {what}", seconds(at));
    }
    text
}

fn said(stage: &Stage<'_>, number: usize, record: &Record) -> Vec<(Duration, String)> {
    let mut list = Vec::new();
    for line in &record.lines {
        let history = if line.is_history { ", history" } else { "" };
        let place = format!("place {} in epoch {} of {}", line.seq, line.epoch, stage.name(&line.supernode));
        list.push((line.at, format!("n{number} shows {} ({place}{history})", line.text)));
    }
    for reign in &record.reigns {
        let leader = stage.name(&reign.id);
        list.push((reign.at, format!("n{number} --- {leader} leads, epoch {}, {}", reign.epoch, reign.reason)));
    }
    for (at, count) in &record.missed {
        list.push((*at, format!("n{number} !!! missed {count}")));
    }
    for (what, words) in [("alert", &record.alerts), ("error", &record.errors)] {
        list.extend(
            words.iter().map(|said| (said.at, format!("n{number} !!! {what} {}: {}", said.code, said.message))),
        );
    }
    let members: Vec<String> = record.view.members.iter().map(|id| stage.name(id)).collect();
    let view = format!("n{number} knows its last room: epoch {}, {}", record.view.epoch, members.join(" "));
    list.push((record.view.since, view));
    list
}
