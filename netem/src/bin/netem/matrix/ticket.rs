//! A supernode that a filter hides, a member that everybody reaches, and a third one with a ticket.

use super::options::Options;
use super::room::{PORT, Room, write_file};
use super::run::{A, B, S};
use super::special::Verdict;
use crate::failure::{Context, Failure};
use core::time::Duration;
use std::fs;
use std::net::SocketAddr;

/// How long a node may take to learn how the world sees it, and to print a ticket.
const A_WHILE: Duration = Duration::from_secs(15);

/// The public member is in the supernode's room within this, and the third one within this after it typed the ticket.
const UNTIL_IN: Duration = Duration::from_secs(45);

/// A line of chat takes no longer, and a file.
const UNTIL_HEARD: Duration = Duration::from_secs(10);
const UNTIL_SAVED: Duration = Duration::from_secs(60);

const FILE: &str = "payload.bin";

/// B comes to S by typed addresses; S makes a ticket, which names both; A comes with it, talks with S and fetches S's file.
pub(super) fn join(room: &mut Room<'_>, seed: u64, options: &Options) -> Result<Verdict, Failure> {
    let bad = |said: &str| Ok(Verdict { is_good: false, said: said.into() });
    let folder = room.files(S);
    fs::create_dir_all(&folder).context(|| folder.display().to_string())?;
    write_file(&folder.join(FILE), usize::from(options.mib) << 20, seed)?;
    for node in [S, A, B] {
        room.start(node, &["--port", &PORT.to_string()])?;
    }
    if !room.wait(A_WHILE, |room| [S, A, B].iter().all(|node| room.seen(*node).public.is_some()))? {
        return bad("they did not learn how the world sees them");
    }
    // What they learn of their NATs after that is worth a moment.
    room.wait(options.rtt * 20, |_| false)?;
    let address = |node: usize| room.seen(node).public.as_deref().and_then(|text| text.parse::<SocketAddr>().ok());
    let (Some(supernode), Some(member)) = (address(S), address(B)) else { return bad("an address is none") };
    room.tell(S, &format!("A {} {}", member.ip(), member.port()));
    room.tell(B, &format!("C {} {}", supernode.ip(), supernode.port()));
    if !room.wait(UNTIL_IN, |room| room.seen(B).connected.is_some())? {
        return bad("the public member did not come in");
    }
    room.tell(S, "I");
    if !room.wait(A_WHILE, |room| room.seen(S).ticket.is_some())? {
        return bad("there is no ticket");
    }
    let ticket = room.seen(S).ticket.clone().unwrap_or_default();
    let begun = room.clock.now();
    room.tell(A, &format!("C {ticket}"));
    if !room.wait(UNTIL_IN, |room| room.seen(A).connected.is_some())? {
        let said =
            room.seen(A).errors.last().map_or_else(String::new, |(code, message)| format!(", {code}: {message}"));
        return bad(&format!("not let in{said}"));
    }
    let came = room.clock.now().saturating_sub(begun);
    for (from, to) in [(A, S), (S, A), (A, B)] {
        let words = format!("word {from} for {to}");
        room.tell(from, &format!("T {words}"));
        if !room.wait(UNTIL_HEARD, |room| room.seen(to).chats.contains(&words))? {
            return bad(&format!("host {to} did not hear host {from}"));
        }
    }
    room.tell(S, &format!("B {FILE}"));
    if !room.wait(UNTIL_SAVED, |room| room.seen(A).offers.contains_key(FILE))? {
        return bad("the offer did not arrive");
    }
    room.tell(A, &format!("R {FILE}"));
    if !room.wait(UNTIL_SAVED, |room| room.seen(A).saved.contains_key(FILE))? {
        return bad("the file did not arrive");
    }
    let [ours, theirs] = [room.files(S), room.files(A)].map(|folder| fs::read(folder.join(FILE)).ok());
    if ours.is_none() || ours != theirs {
        return bad("the file that arrived is another one");
    }
    let is_direct = room.seen(S).id.as_deref().is_some_and(|id| room.seen(A).direct_to(id).is_some());
    let path = if is_direct { "direct" } else { "relayed by the public member" };
    let said =
        format!("in the room after {} ms; chat and {} MiB from the supernode, {path}", came.as_millis(), options.mib);
    Ok(Verdict { is_good: true, said })
}
