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

/// Lines typed from so long before a supernode quits to so long after it are those of that moment.
const MOMENT_BEFORE: Duration = Duration::from_millis(500);
const MOMENT_AFTER: Duration = Duration::from_millis(1500);

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

/// A file that takes some seconds: how large, how long until it is on offer, and until it is there.
const FILE: &str = "payload.bin";
const FILE_BYTES: usize = 20 << 20;
const UNTIL_OFFERED: Duration = Duration::from_secs(20);
const UNTIL_SAVED: Duration = Duration::from_secs(90);

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
    let mut begun = None;
    if scene == Scene::Download {
        prepare_file(stage, seed)?;
    }
    if stage.meet()? {
        if scene == Scene::Download {
            offer(stage)?;
        }
        begun = Some(stage.now());
        stage.talk(CALM, |_| false)?;
        measure = match scene {
            Scene::Quit | Scene::AllHardQuit => leave(stage, |stage, number| stage.quit(number))?,
            Scene::Term => leave(stage, |stage, number| stage.terminate(number))?,
            Scene::Kill | Scene::AllHard => kill(stage, 1)?,
            Scene::KillTwo => kill(stage, 2)?,
            Scene::Stop => stop(stage, options.pause)?,
            Scene::Split => split(stage)?,
            Scene::Unreachable => unreachable(stage)?,
            Scene::Restart => restart(stage)?,
            Scene::Download => download(stage)?,
        };
        stage.talk(AFTERWARDS, |_| false)?;
        settle(stage)?;
    }
    Ok(judge(stage, &measure, begun))
}

/// The supernode leaves in order.
fn leave(stage: &mut Stage<'_>, how: fn(&mut Stage<'_>, usize) -> Duration) -> Result<Measure, Failure> {
    let Some(supernode) = stage.line_of_succession().first().copied() else { return Ok(Measure::Time(None)) };
    let at = how(stage, supernode);
    stage.talk(MOMENT_AFTER, |_| false)?;
    if !stage.quiet(UNTIL_LINE, |stage| stage.room.seen(supernode).has_ended)? {
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
    let at = stage.heal();
    let took = unite(stage, at)?;
    Ok(Measure::Time(took))
}

/// Nobody reaches anybody, then somebody is there again whom everybody reaches.
fn unreachable(stage: &mut Stage<'_>) -> Result<Measure, Failure> {
    // What is on its way is not the subject here.
    settle(stage)?;
    let Some(supernode) = stage.line_of_succession().first().copied() else { return Ok(Measure::Time(None)) };
    let at = stage.kill(supernode);
    let left: Vec<usize> = stage.here().collect();
    stage.quiet(UNTIL_BACK, |_| false)?;
    for number in left {
        let errors = &stage.record(number).errors;
        let said = errors.iter().find(|error| error.at >= at && error.code == "unreachable").map(|error| error.at - at);
        match said {
            Some(after) if after <= UNTIL_SAID => (),
            Some(after) => {
                stage.fault(format!("n{number} took {} ms to say that it reaches nobody", after.as_millis()))
            }
            None => stage.fault(format!("n{number} did not say that it reaches nobody")),
        }
    }
    let owes_from = stage.typed.len();
    let back = stage.restart(supernode, owes_from)?;
    if !stage.quiet(UNTIL_UNITED, |stage| stage.united().is_some())? {
        stage.fault(format!(
            "not one room {} s after n{supernode} was back: {}",
            UNTIL_UNITED.as_secs(),
            stage.views()
        ));
    }
    Ok(Measure::Time(stage.united().map(|since| since.saturating_sub(back))))
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
    Ok(Measure::Time(missed(stage).map(|shown| shown.saturating_sub(at))))
}

/// A file is on its way from one member to another when the supernode is killed.
fn download(stage: &mut Stage<'_>) -> Result<Measure, Failure> {
    let (holder, taker) = (1, stage.members.len() - 1);
    stage.room.tell(taker, &format!("R {FILE}"));
    let is_under_way = |stage: &Stage<'_>| stage.record(taker).progress.iter().any(|(_, bytes)| *bytes > 0);
    if !stage.talk(UNTIL_LINE, is_under_way)? {
        stage.fault(format!("the download did not begin: {}", last_error(stage, taker)));
        return Ok(Measure::Time(None));
    }
    let supernode = stage.line_of_succession().into_iter().find(|number| ![holder, taker].contains(number));
    let Some(supernode) = supernode.filter(|number| stage.line_of_succession().first() == Some(number)) else {
        stage.fault("the supernode is one of the two");
        return Ok(Measure::Time(None));
    };
    let at = stage.kill(supernode);
    stage.talk(UNTIL_SAVED, |stage| !stage.record(taker).saved.is_empty())?;
    let record = stage.record(taker);
    let faults = judge_download(&record.progress, &record.saved, at);
    let files = [holder, taker].map(|number| fs::read(stage.room.files(number).join(FILE)).ok());
    let longest = longest_pause(&record.progress, &record.saved, at);
    if record.saved.is_empty() {
        let why = last_error(stage, taker);
        stage.fault(format!("the file did not arrive: {why}"));
    } else if files[0].is_none() || files[0] != files[1] {
        stage.fault("the file that arrived is another one");
    }
    stage.faults.extend(faults);
    Ok(Measure::Time(longest))
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
            let what = format!(
                "the download fell from {before} to {after} bytes {} ms after",
                at.saturating_sub(killed).as_millis()
            );
            faults.push(Fault::new(FaultKind::Scene, what));
        }
    }
    faults
}

/// From one sign of progress to the next, from the moment of the kill to the end.
fn longest_pause(progress: &[(Duration, u64)], saved: &[Duration], killed: Duration) -> Option<Duration> {
    let end = *saved.first()?;
    let signs = progress.iter().map(|(at, _)| *at).filter(|at| *at > killed && *at < end);
    let mut before = killed;
    let mut longest = Duration::ZERO;
    for sign in signs.chain([end]) {
        longest = longest.max(sign.saturating_sub(before));
        before = sign;
    }
    Some(longest)
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

fn judge(stage: &mut Stage<'_>, measure: &Measure, begun: Option<Duration>) -> Outcome {
    let mut faults = std::mem::take(&mut stage.faults);
    if begun.is_some() && stage.united().is_none() && faults.is_empty() {
        faults.push(Fault::new(FaultKind::Scene, format!("not one room at the end: {}", stage.views())));
    }
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
    let calm = begun.and_then(|begun| case.longest_wait(begun, begun + CALM - MOMENT_BEFORE));
    let longest = case.longest_wait(Duration::ZERO, Duration::MAX);
    let mut notes = stage.notes.clone();
    let done = stage.deeds.first().map(|(at, _)| *at);
    let changes = stage.here().map(|number| {
        stage.record(number).reigns.iter().filter(|reign| done.is_some_and(|done| reign.at >= done)).count()
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
    fn a_pause_is_between_two_signs_of_progress_after_the_kill() {
        let progress = [(SECOND, 10), (SECOND * 9, 20), (SECOND * 10, 30)];
        assert_eq!(longest_pause(&progress, &[SECOND * 12], SECOND * 8), Some(SECOND * 2));
        assert_eq!(longest_pause(&progress, &[SECOND * 12], SECOND * 2), Some(SECOND * 7));
        assert_eq!(longest_pause(&progress, &[], SECOND), None);
    }
}
