//! A pair once: S in the world, A and B behind their NATs.

use super::kinds::Pair;
use super::options::Options;
use super::outcome::Outcome;
use super::room::{PORT, Room, write_file};
use super::world::Plan;
use crate::failure::Failure;
use crate::signals::Signals;
use core::time::Duration;
use std::fs;

/// The numbers of the hosts.
pub(crate) const S: usize = 0;
pub(crate) const A: usize = 1;
pub(crate) const B: usize = 2;

/// How long a node may take to start, and two to be in a room with each other.
const UNTIL_READY: Duration = Duration::from_secs(20);
const UNTIL_MET: Duration = Duration::from_secs(40);

/// How long a line may take, and a file. A relayed one goes through two links of the relay.
const UNTIL_HEARD: Duration = Duration::from_secs(10);
const UNTIL_SAVED: Duration = Duration::from_secs(60);

/// The file that goes from A to B.
const FILE: &str = "payload.bin";

/// Lets a pair meet, talk and pass a file.
pub(crate) fn pair(
    label: &str,
    pair: &Pair,
    seed: u64,
    options: &Options,
    signals: &Signals,
) -> Result<Outcome, Failure> {
    let plans = [Plan::public("s"), Plan::new("a", pair.0.clone()), Plan::new("b", pair.1.clone())];
    let mut room = Room::build(label, &plans, seed, options, signals)?;
    let at = format!("{}:{PORT}", Plan::address(S));
    let outcome = meet(&mut room, [&at, &at], seed, options)?;
    room.finish()?;
    Ok(outcome)
}

/// The three of them: A and B come to S, each at this address of it, and need each other.
pub(crate) fn meet(room: &mut Room<'_>, at: [&str; 2], seed: u64, options: &Options) -> Result<Outcome, Failure> {
    let mut outcome = Outcome { size: u64::from(options.mib) << 20, ..Outcome::default() };
    write_first(room, seed, options)?;
    room.start(S, &["--open", "--port", &PORT.to_string()])?;
    if !room.wait(UNTIL_READY, |room| room.seen(S).id.is_some())? {
        return Ok(failed(outcome, room, "the supernode did not start"));
    }
    for (node, at) in [A, B].into_iter().zip(at) {
        room.start(node, &["--join", at])?;
    }
    if !room.wait(UNTIL_MET, |room| known(room).is_some() || [A, B].iter().any(|node| room.seen(*node).has_ended))?
        || known(room).is_none()
    {
        return Ok(failed(outcome, room, "they did not come into one room"));
    }
    outcome.known = known(room);
    room.wait(options.patience, |room| direct(room).is_some())?;
    // What was found may be lost again: a path counts as what it is when the file goes.
    outcome.direct = direct(room);
    if let Some(failure) = talk(room)? {
        return Ok(failed(outcome, room, failure));
    }
    room.tell(A, &format!("B {FILE}"));
    if !room.wait(UNTIL_SAVED, |room| room.seen(B).offers.contains_key(FILE))? {
        return Ok(failed(outcome, room, "the offer did not arrive"));
    }
    let before = room.world.sent_up("s");
    room.tell(B, &format!("R {FILE}"));
    let is_saved = room.wait(UNTIL_SAVED, |room| room.seen(B).saved.contains_key(FILE))?;
    let sent = room.world.sent_up("s").saturating_sub(before);
    if !is_saved {
        return Ok(failed(outcome, room, "the file did not arrive"));
    }
    let [ours, theirs] = [room.files(A), room.files(B)].map(|folder| fs::read(folder.join(FILE)).ok());
    if ours.is_none() || ours != theirs {
        return Ok(failed(outcome, room, "the file that arrived is another one"));
    }
    outcome.relayed = Some(sent);
    outcome.is_connected = true;
    // Whoever lost it meanwhile was not direct.
    outcome.direct = outcome.direct.filter(|_| direct(room).is_some());
    explain(room)?;
    outcome.packets = [packets(room, A, B), packets(room, B, A)];
    outcome.why = if outcome.direct.is_none() { why(room) } else { None };
    Ok(outcome)
}

fn write_first(room: &Room<'_>, seed: u64, options: &Options) -> Result<(), Failure> {
    let folder = room.files(A);
    let _ = fs::create_dir_all(&folder);
    write_file(&folder.join(FILE), usize::from(options.mib) << 20, seed)
}

/// Since when A and B know of each other.
pub(crate) fn known(room: &Room<'_>) -> Option<Duration> {
    let [a, b] = [A, B].map(|node| room.seen(node));
    let (knows, is_known) = (a.named.get(b.id.as_ref()?)?, b.named.get(a.id.as_ref()?)?);
    Some(*knows.max(is_known))
}

/// Since when both say that their path is direct.
pub(crate) fn direct(room: &Room<'_>) -> Option<Duration> {
    let [a, b] = [A, B].map(|node| room.seen(node));
    Some(a.direct_to(b.id.as_ref()?)?.max(b.direct_to(a.id.as_ref()?)?))
}

/// A line each way. What went wrong, if something did.
pub(crate) fn talk(room: &mut Room<'_>) -> Result<Option<&'static str>, Failure> {
    for (from, to, failure) in [(A, B, "B did not hear A"), (B, A, "A did not hear B")] {
        let words = format!("word {from} at {}", room.clock.now().as_micros());
        room.tell(from, &format!("T {words}"));
        if !room.wait(UNTIL_HEARD, |room| room.seen(to).chats.contains(&words))? {
            return Ok(Some(failure));
        }
    }
    Ok(None)
}

/// Asks both for their reasons.
fn explain(room: &mut Room<'_>) -> Result<(), Failure> {
    const A_MOMENT: Duration = Duration::from_millis(200);
    [A, B].into_iter().for_each(|node| room.tell(node, "W"));
    room.wait(A_MOMENT, |_| false).map(drop)
}

fn packets(room: &Room<'_>, from: usize, to: usize) -> u64 {
    let id = room.seen(to).id.as_deref().unwrap_or_default();
    room.seen(from).paths.get(id).map_or(0, |path| path.probes)
}

/// Why the path between A and B is what it is, in the words of either.
fn why(room: &Room<'_>) -> Option<String> {
    let of = |from: usize, to: usize| {
        let id = room.seen(to).id.as_deref()?;
        room.seen(from).paths.get(id)?.why.clone()
    };
    of(A, B).or_else(|| of(B, A))
}

/// Ours, and the last thing that either complained about.
fn failed(outcome: Outcome, room: &Room<'_>, what: &str) -> Outcome {
    let said = [A, B, S].iter().find_map(|node| room.seen(*node).errors.last());
    let said = said.map_or_else(String::new, |(code, message)| format!(" ({code}: {message})"));
    Outcome { is_connected: false, why: Some(format!("{what}{said}")), ..outcome }
}
