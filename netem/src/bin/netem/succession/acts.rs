//! What happens in each scene.

use super::check::{Fault, FaultKind};
use super::options::Options;
use super::outcome::Outcome;
use super::scene::Scene;
use super::stage::Stage;
use crate::failure::Failure;
use crate::nodes::room::write_file;
use core::time::Duration;
use std::fs;

/// What is said before anything is done, and after everything is well again.
const CALM: Duration = Duration::from_millis(2500);
const AFTERWARDS: Duration = Duration::from_secs(3);

/// Lines typed from so long before a supernode quits to so long after it are those of that moment: a hand-over that is unnoticed is over by
/// then, and one that is not delays them.
const MOMENT_BEFORE: Duration = Duration::from_millis(250);
const MOMENT_AFTER: Duration = Duration::from_millis(500);
const MOMENT: Duration = Duration::from_millis(750);

/// A line that is not everywhere by then never comes, in human terms.
const UNTIL_LINE: Duration = Duration::from_secs(15);

/// When everybody is silent, what was said comes to everyone within this.
const UNTIL_SETTLED: Duration = Duration::from_secs(15);

/// How long halves are cut apart, and may take to be one again.
const CUT: Duration = Duration::from_secs(20);
const UNTIL_UNITED: Duration = Duration::from_secs(45);

/// When nobody is reached, each says so within this; somebody who is reached is back after so long.
const UNTIL_SAID: Duration = Duration::from_secs(10);
const UNTIL_BACK: Duration = Duration::from_secs(15);

/// Lines that a member misses while it is not there.
const MISSED_LINES: usize = 20;

/// A file that takes some seconds: how large, how much of it is on its way when something happens, how long until it is on offer, and until
/// it is there.
const FILE: &str = "payload.bin";
const FILE_BYTES: usize = 8 << 20;
const UNDER_WAY: u64 = 1 << 20;
const UNTIL_OFFERED: Duration = Duration::from_secs(20);
const UNTIL_SAVED: Duration = Duration::from_secs(90);

/// A link that sends less than this in such a piece of time carries no file: 60 kB a second are lines of chat and acknowledgements.
const PIECE: Duration = Duration::from_millis(250);
const STILL: u64 = 15_000;

/// When we come to something later than this, it is said.
const LATE: Duration = Duration::from_millis(100);

/// The time that a scene measures, once all is over.
enum Measure {
    /// The longest wait of a line of this moment.
    WaitAround(Duration),
    /// From then to when the next line that was typed is everywhere.
    NextLine(Duration),
    /// This.
    Time(Option<Duration>),
}

/// Plays a scene with a room, and judges it.
pub(crate) fn play(scene: Scene, stage: &mut Stage<'_>, seed: u64, options: &Options) -> Result<Outcome, Failure> {
    let mut measure = Measure::Time(None);
    if scene == Scene::Download {
        prepare_file(stage, seed)?;
    }
    let has_met = stage.meet()?;
    if has_met {
        if scene == Scene::Download {
            offer(stage)?;
        }
        stage.talk(CALM, |_| false)?;
        measure = match scene {
            Scene::Quit | Scene::AllHardQuit => leave(stage, |stage, number| stage.quit(number))?,
            Scene::Term => leave(stage, |stage, number| stage.terminate(number))?,
            Scene::Kill | Scene::AllHard => kill(stage, 1)?,
            Scene::KillTwo => kill(stage, 2)?,
            Scene::Stop => stop(stage, options.pause)?,
            Scene::Split => split(stage)?,
            Scene::Unreachable => unreachable(stage)?,
            Scene::Returns => returns(stage)?,
            Scene::Restart => restart(stage)?,
            Scene::Download => download(stage)?,
        };
        // Rooms that did not find each other have been told of; what they say to themselves is no news.
        if !matches!(measure, Measure::Time(None)) {
            stage.talk(AFTERWARDS, |_| false)?;
        }
        settle(stage)?;
    }
    Ok(judge(stage, &measure, has_met))
}

/// The supernode leaves in order.
fn leave(stage: &mut Stage<'_>, how: fn(&mut Stage<'_>, usize) -> Duration) -> Result<Measure, Failure> {
    let Some(supernode) = stage.line_of_succession().first().copied() else { return Ok(Measure::Time(None)) };
    let at = how(stage, supernode);
    if !stage.talk(UNTIL_LINE, |stage| stage.room.seen(supernode).has_ended)? {
        stage.fault(format!("n{supernode} did not end within {} s", UNTIL_LINE.as_secs()));
    }
    Ok(Measure::WaitAround(at))
}

/// The first so many in line are killed together.
fn kill(stage: &mut Stage<'_>, how_many: usize) -> Result<Measure, Failure> {
    let line = stage.line_of_succession();
    let victims: Vec<usize> = line.into_iter().take(how_many).collect();
    let at = stage.now();
    for victim in victims {
        stage.kill(victim);
    }
    until_next_line(stage, at)?;
    Ok(Measure::NextLine(at))
}

/// The supernode stands still, and goes on when another leads.
fn stop(stage: &mut Stage<'_>, pause: Duration) -> Result<Measure, Failure> {
    let Some(supernode) = stage.line_of_succession().first().copied() else { return Ok(Measure::Time(None)) };
    let at = stage.halt(supernode);
    until_next_line(stage, at)?;
    let left = pause.saturating_sub(stage.now().saturating_sub(at));
    stage.talk(left, |_| false)?;
    if stage.line_of_succession().first() == Some(&supernode) {
        stage.fault(format!("n{supernode} still leads while it stands still: {}", stage.views()));
    }
    let on = stage.resume(supernode);
    let is_member = |stage: &Stage<'_>| stage.united().is_some_and(|since| since >= on);
    if stage.talk(UNTIL_UNITED, is_member)? {
        let took = stage.united().unwrap_or_default().saturating_sub(on);
        stage.notes.push(format!("one room again {} ms after it went on", took.as_millis()));
    }
    let leads = stage.line_of_succession().first().copied();
    if leads == Some(supernode) {
        stage.fault(format!("n{supernode} leads again: {}", stage.views()));
    }
    Ok(Measure::NextLine(at))
}

/// Halves go on without each other, then meet again.
fn split(stage: &mut Stage<'_>) -> Result<Measure, Failure> {
    let half: Vec<usize> = (0..stage.members.len() / 2).collect();
    stage.cut(&half);
    stage.talk(CUT, |_| false)?;
    expect_parted(stage);
    let at = stage.heal();
    let took = unite(stage, at)?;
    Ok(Measure::Time(took))
}

/// Nobody reaches anybody, then all are reached again.
fn unreachable(stage: &mut Stage<'_>) -> Result<Measure, Failure> {
    // What is on its way is not the subject here.
    settle(stage)?;
    let Some(supernode) = stage.line_of_succession().first().copied() else { return Ok(Measure::Time(None)) };
    let at = stage.cut(&[supernode]);
    expect_complaints(stage, at)?;
    expect_parted(stage);
    let at = stage.heal();
    let is_one = |stage: &Stage<'_>| stage.united().is_some_and(|since| since >= at);
    come_back(stage, at, is_one)
}

/// The same, but the only one that is reached dies and is started again.
fn returns(stage: &mut Stage<'_>) -> Result<Measure, Failure> {
    settle(stage)?;
    let Some(supernode) = stage.line_of_succession().first().copied() else { return Ok(Measure::Time(None)) };
    let at = stage.kill(supernode);
    expect_complaints(stage, at)?;
    let at = stage.restart(supernode, stage.typed.len())?;
    let measure = come_back(stage, at, |stage| stage.united().is_some())?;
    stage.let_speak(supernode);
    Ok(measure)
}

/// A cut that nobody notices proves nothing.
fn expect_parted(stage: &mut Stage<'_>) {
    if stage.united().is_some() {
        stage.fault("the cut was not noticed");
    }
}

/// Waits a while, in silence, in which everybody who is here has to say that it reaches nobody.
fn expect_complaints(stage: &mut Stage<'_>, at: Duration) -> Result<(), Failure> {
    stage.quiet(UNTIL_BACK, |_| false)?;
    let mut silent = Vec::new();
    for number in stage.here() {
        let errors = &stage.record(number).errors;
        let said = errors.iter().find(|error| error.at >= at && error.code == "unreachable").map(|error| error.at - at);
        match said {
            Some(after) if after <= UNTIL_SAID => (),
            Some(after) => {
                silent.push(format!("n{number} took {} ms to say that it reaches nobody", after.as_millis()))
            }
            None => silent.push(format!("n{number} did not say that it reaches nobody")),
        }
    }
    silent.into_iter().for_each(|what| stage.fault(what));
    Ok(())
}

fn come_back(stage: &mut Stage<'_>, at: Duration, is_one: impl Fn(&Stage<'_>) -> bool) -> Result<Measure, Failure> {
    if !stage.quiet(UNTIL_UNITED, is_one)? {
        stage.fault(format!("not one room within {} s: {}", UNTIL_UNITED.as_secs(), stage.views()));
        return Ok(Measure::Time(None));
    }
    Ok(Measure::Time(stage.united().map(|since| since.saturating_sub(at))))
}

/// The last member misses some lines and gets them.
fn restart(stage: &mut Stage<'_>) -> Result<Measure, Failure> {
    let Some(last) = stage.line_of_succession().last().copied() else { return Ok(Measure::Time(None)) };
    stage.kill(last);
    let first = stage.typed.len();
    let end = first + MISSED_LINES;
    stage.talk(UNTIL_LINE, |stage| stage.typed.len() >= end)?;
    // They are everywhere else, and it is no member any more, before it comes back.
    let is_everywhere = |stage: &Stage<'_>| stage.case().lost().is_empty() && stage.united().is_some();
    stage.quiet(UNTIL_SETTLED, is_everywhere)?;
    let at = stage.restart(last, first)?;
    let missed = |stage: &Stage<'_>| -> Option<Duration> {
        let record = stage.record(last);
        let lines = stage.typed.get(first..end)?;
        lines.iter().map(|typed| record.shown(&typed.text)).collect::<Option<Vec<_>>>()?.into_iter().max()
    };
    stage.talk(UNTIL_SETTLED, |stage| missed(stage).is_some())?;
    stage.let_speak(last);
    Ok(Measure::Time(missed(stage).map(|shown| shown.saturating_sub(at))))
}

/// A file is on its way from one member to another when the supernode is killed.
fn download(stage: &mut Stage<'_>) -> Result<Measure, Failure> {
    let (holder, taker) = (1, stage.members.len() - 1);
    stage.watch(holder);
    stage.room.tell(taker, &format!("R {FILE}"));
    let has_sent = |stage: &Stage<'_>, bytes: u64| {
        let sent = stage.sent();
        sent.first().zip(sent.last()).is_some_and(|((_, first), (_, last))| last.saturating_sub(*first) >= bytes)
    };
    if !stage.talk(UNTIL_SAVED, |stage| has_sent(stage, UNDER_WAY))? {
        stage.fault(format!("the download did not begin: {}", last_error(stage, taker)));
        return Ok(Measure::Time(None));
    }
    let Some(supernode) = stage.line_of_succession().first().copied().filter(|first| ![holder, taker].contains(first))
    else {
        stage.fault("the supernode is one of the two");
        return Ok(Measure::Time(None));
    };
    let at = stage.kill(supernode);
    stage.talk(UNTIL_SAVED, |stage| !stage.record(taker).saved.is_empty())?;
    let record = stage.record(taker);
    let faults = judge_download(&record.progress, &record.saved, at);
    let took = record.saved.first().map(|end| longest_pause(stage.sent(), at, *end));
    let files = [holder, taker].map(|number| fs::read(stage.room.files(number).join(FILE)).ok());
    if took.is_none() {
        let why = last_error(stage, taker);
        stage.fault(format!("the file did not arrive: {why}"));
    } else if files[0].is_none() || files[0] != files[1] {
        stage.fault("the file that arrived is another one");
    }
    stage.faults.extend(faults);
    Ok(Measure::Time(took))
}

/// That it went on, and did not begin anew.
fn judge_download(progress: &[(Duration, u64)], saved: &[Duration], killed: Duration) -> Vec<Fault> {
    let mut faults = Vec::new();
    if saved.iter().any(|at| *at <= killed) {
        faults.push(Fault::new(FaultKind::Scene, "the file was there before anybody was killed"));
    }
    if saved.len() > 1 {
        faults.push(Fault::new(FaultKind::Scene, "the file was saved twice"));
    }
    for ((_, before), (at, after)) in progress.iter().zip(progress.iter().skip(1)) {
        if after < before {
            let late = at.saturating_sub(killed).as_millis();
            let what = format!("the download fell from {before} to {after} bytes, {late} ms after");
            faults.push(Fault::new(FaultKind::Scene, what));
        }
    }
    faults
}

/// The longest time in which a link that carries a file sent next to nothing. A node tells its progress in large pieces; its link does
/// not.
fn longest_pause(sent: &[(Duration, u64)], from: Duration, to: Duration) -> Duration {
    let at = |time: Duration| sent.iter().rev().find(|(at, _)| *at <= time).map_or(0, |(_, bytes)| *bytes);
    let (mut longest, mut pause) = (Duration::ZERO, Duration::ZERO);
    let mut begin = from;
    while begin < to {
        let end = (begin + PIECE).min(to);
        let is_still = at(end).saturating_sub(at(begin)) < STILL;
        pause = if is_still { pause + (end - begin) } else { Duration::ZERO };
        longest = longest.max(pause);
        begin = end;
    }
    longest
}

fn prepare_file(stage: &Stage<'_>, seed: u64) -> Result<(), Failure> {
    let folder = stage.room.files(1);
    let _ = fs::create_dir_all(&folder);
    write_file(&folder.join(FILE), FILE_BYTES, seed)
}

fn offer(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let taker = stage.members.len() - 1;
    stage.room.tell(1, &format!("B {FILE}"));
    stage.quiet(UNTIL_OFFERED, |stage| stage.room.seen(taker).offers.contains_key(FILE)).map(drop)
}

fn last_error(stage: &Stage<'_>, number: usize) -> String {
    let errors = &stage.record(number).errors;
    errors.last().map_or_else(|| "no error was said".into(), |error| format!("{}: {}", error.code, error.message))
}

/// Talks until a line that was typed after this is everywhere.
fn until_next_line(stage: &mut Stage<'_>, at: Duration) -> Result<(), Failure> {
    let has_come = |stage: &Stage<'_>| {
        let case = stage.case();
        case.next_line(at).is_some_and(|typed| case.everywhere(typed).is_some())
    };
    if !stage.talk(UNTIL_LINE, has_come)? {
        stage.fault(format!("no line came through within {} s", UNTIL_LINE.as_secs()));
    }
    Ok(())
}

/// Talks until there is one room again, and says how long that took.
fn unite(stage: &mut Stage<'_>, at: Duration) -> Result<Option<Duration>, Failure> {
    // Not by what they knew before they noticed.
    if !stage.talk(UNTIL_UNITED, |stage| stage.united().is_some_and(|since| since >= at))? {
        stage.fault(format!("not one room within {} s: {}", UNTIL_UNITED.as_secs(), stage.views()));
        return Ok(None);
    }
    Ok(stage.united().map(|since| since.saturating_sub(at)))
}

/// Waits in silence until every line is where it must be and there is one room.
fn settle(stage: &mut Stage<'_>) -> Result<(), Failure> {
    stage.quiet(UNTIL_SETTLED, |stage| stage.united().is_some() && stage.case().lost().is_empty()).map(drop)
}

fn judge(stage: &mut Stage<'_>, measure: &Measure, has_met: bool) -> Outcome {
    let mut faults = std::mem::take(&mut stage.faults);
    if has_met && stage.united().is_none() && faults.is_empty() {
        faults.push(Fault::new(FaultKind::Scene, format!("not one room at the end: {}", stage.views())));
    }
    let ended = stage.here().filter(|number| stage.room.seen(*number).has_ended);
    faults.extend(ended.map(|number| Fault::new(FaultKind::Scene, format!("n{number} ended by itself"))));
    let case = stage.case();
    faults.extend(case.judge());
    let took = match measure {
        Measure::WaitAround(at) => case.longest_wait(at.saturating_sub(MOMENT_BEFORE), at.saturating_add(MOMENT_AFTER)),
        Measure::NextLine(at) => {
            let typed = case.next_line(*at);
            typed.and_then(|typed| case.everywhere(typed)).map(|shown| shown.saturating_sub(*at))
        }
        Measure::Time(took) => *took,
    };
    let longest = case.longest_wait(Duration::ZERO, Duration::MAX);
    let mut notes = stage.notes.clone();
    let done = stage.deeds.first().map(|(at, _)| *at);
    let calm = done.and_then(|done| {
        let end = done.saturating_sub(MOMENT_BEFORE);
        case.longest_wait(end.saturating_sub(MOMENT), end)
    });
    let changes = stage.here().map(|number| {
        let reigns = stage.record(number).reigns.iter().filter(|reign| done.is_some_and(|done| reign.at >= done));
        // Not its own room, when it is started again, and the way from there.
        reigns.filter(|reign| reign.reason != "first" && reign.reason != "joined").count()
    });
    let most = changes.max().unwrap_or(0);
    if most > 1 {
        notes.push(format!("{most} changes of supernode"));
    }
    let mut errors: Vec<String> = stage
        .here()
        .flat_map(|number| {
            stage
                .record(number)
                .errors
                .iter()
                .map(move |error| format!("n{number} said {}: {}", error.code, error.message))
        })
        .collect();
    errors.dedup();
    notes.extend(errors.into_iter().take(3));
    if stage.lateness() > LATE {
        notes.push(format!("we ourselves were late by {} ms", stage.lateness().as_millis()));
    }
    Outcome { took, longest, calm, faults, notes }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_download_that_falls_back_or_was_there_before_is_no_proof() {
        let progress = [(SECOND, 10), (SECOND * 2, 20), (SECOND * 4, 30)];
        assert_eq!(judge_download(&progress, &[SECOND * 5], SECOND), []);
        assert_eq!(judge_download(&[(SECOND, 20), (SECOND * 2, 10)], &[SECOND * 5], SECOND).len(), 1);
        assert_eq!(judge_download(&progress, &[SECOND], SECOND).len(), 1);
        assert_eq!(judge_download(&progress, &[SECOND * 5, SECOND * 6], SECOND).len(), 1);
    }

    #[test]
    fn a_pause_is_as_long_as_next_to_nothing_is_sent() {
        // A file for two seconds, lines only for one, a file again.
        let sent: Vec<(Duration, u64)> = (0..500_u64)
            .scan(0, |bytes, n| {
                *bytes += if (200..300).contains(&n) { 300 } else { 3000 };
                Some((Duration::from_millis(10 * (n + 1)), *bytes))
            })
            .collect();
        assert_eq!(longest_pause(&sent, SECOND, SECOND * 5), SECOND);
        assert_eq!(longest_pause(&sent, SECOND, SECOND * 2), Duration::ZERO);
        assert_eq!(longest_pause(&[], SECOND, SECOND * 2), SECOND);
    }
}
