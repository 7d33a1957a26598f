//! What of a room counts: rooms that go on alike are made equal, so that the checker looks at one of them only.
//!
//! What is compared is all that `Debug` shows of a [`Room`], so that a field that is added counts without a word here. Instants are shown
//! relative to the cell's clock (no node compares its clock with another's, and no verb looks at more than differences), and one that is more
//! than [`LONG_AGO`] old as if it were just that: no time of the protocol is longer, except how long a loss is fresh (300 s).
//!
//! Besides, [`room()`](room) and [`message`] put away what only counts or is only shown. Each line says why that changes nothing.

use super::super::super::*;
use super::cell::Diary;
use super::system::{TICK, TIMES};
use crate::node::room::bucket::Bucket;
use crate::node::room::parts::{MAX_ALERTS, Standing};
use crate::time::{Duration, Instant};
use std::hash::{Hash, Hasher};

/// Longer than any time that a room compares an age with: the longest is the disbelief of ten seconds.
const LONG_AGO: Duration = Duration::from_secs(11);

/// Makes a room like those that go on as it does.
pub(super) fn room(room: &mut Room, now: Instant) {
    let times = TIMES;
    let ago = |long: Duration| now - long;
    // Buckets: nobody does here what empties one, a few messages of thousands.
    room.alerts = Bucket::new(now, MAX_ALERTS);
    room.favours.clear();
    // Shown by `W` alone.
    room.history.clear();
    // Rounds matter only to a supernode that stood still, which none does here: an answer to any is an answer.
    room.sequencer.round = 1;
    room.sequencer.stale = 0;
    room.delivery.round = 1;
    if let Some((held, _)) = &mut room.delivery.held {
        held.round = 1;
    }
    // Dials end within the action that begins them; no number is in use afterwards.
    if room.links.dials.is_empty() && room.joining.as_ref().is_none_or(|joining| joining.dials.is_empty()) {
        room.links.last_dial = 0;
    }
    // Nobody tells two stories here: nothing is compared, and what was proven once is not asked for again.
    room.comparing = Default::default();
    room.musters.expire(now);
    // Jitter need not differ from one draw to the next.
    room.dice.rewind();
    room.now = room.now.max(ago(TICK));
    // A pause that is over is over, and so on: compared with `now` alone.
    room.links.not_before.values_mut().for_each(|at| *at = (*at).max(now));
    for lost in room.former.members.values_mut() {
        lost.since = now;
        lost.next = lost.next.max(now);
    }
    room.delivery.held.take_if(|(_, at)| *at <= ago(times.heartbeat - Duration::from_millis(100)));
    room.delivery.asked_again.take_if(|at| *at <= ago(times.resend));
    room.said_hello.take_if(|at| *at <= ago(times.heartbeat));
    room.outbox.sent = room.outbox.sent.max(ago(times.resend));
    for follower in room.sequencer.followers.values_mut() {
        follower.answered = follower.answered.map(|at| at.max(ago(times.suspect * 2)));
        follower.patience = follower.patience.max(ago(times.member.max(times.suspect * 2)));
        follower.behind = follower.behind.map(|at| at.max(ago(times.resend + TICK)));
    }
    // Of those who do not lead us it counts only whether they were heard since the suspicion began.
    let supernode = room.view.epoch.supernode;
    let since = room.detector.suspicion.as_ref().map_or(now, |suspicion| suspicion.since);
    for (id, at) in &mut room.detector.heard {
        if *id != supernode || matches!(room.standing, Standing::Leading(_)) {
            *at = (*at).max(since.min(now) - TICK);
        }
    }
}

/// A message without what only counts.
pub(super) fn message(message: RoomMessage, _room: &Room) -> RoomMessage {
    match message {
        RoomMessage::Beat(beat) => RoomMessage::Beat(message::Beat { round: 1, ..beat }),
        RoomMessage::Held(held) => RoomMessage::Held(message::Held { round: 1, ..held }),
        // Compared with one time alone.
        RoomMessage::Verdict(verdict) => {
            let fresh = TIMES.fresh.as_millis() as u64;
            RoomMessage::Verdict(message::Verdict { heard_ms: verdict.heard_ms.map(|ms| ms.min(fresh)), ..verdict })
        }
        other => other,
    }
}

/// What kind it is.
pub(super) fn kind(message: &RoomMessage) -> &'static str {
    match message {
        RoomMessage::Claim(_) => "a claim is made",
        RoomMessage::Report(_) => "a survivor reports",
        RoomMessage::Taken(_) => "a word was given to another",
        RoomMessage::Alive(_) => "a claimer is told that the supernode lives",
        RoomMessage::Abandon(_) => "a claim is given up",
        RoomMessage::Fetch(_) => "a gap is filled",
        RoomMessage::HandOver(_) => "a hand-over is announced",
        RoomMessage::Merge(_) => "a half is sent on",
        RoomMessage::Rescue(_) => "an order is brought over",
        RoomMessage::Elsewhere(_) => "a leader is told of another",
        RoomMessage::Join(_) => "somebody comes back",
        RoomMessage::Held(held) if held.again => "lines are asked for again",
        _ => "something ordinary is said",
    }
}

/// 128 bits: among a million cells two differ and look alike with a chance of 10⁻²⁷.
pub(super) fn hash(bytes: &[u8]) -> u128 {
    let hash = blake3::hash(bytes);
    u128::from_be_bytes(hash.as_bytes()[..16].try_into().unwrap())
}

/// Of all that counts.
pub(super) fn hash_of(room: &Room, now: Instant, diary: &Diary) -> u128 {
    let mut text = format!("{room:?}");
    text = relative(&text, now);
    struct Bytes(Vec<u8>);
    impl Hasher for Bytes {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }
    let mut bytes = Bytes(text.into_bytes());
    format!("{diary:?}").hash(&mut bytes);
    hash(&bytes.0)
}

/// `Instant`s, which show themselves as seconds with six decimals, as seconds from `now`.
fn relative(text: &str, now: Instant) -> String {
    let mut out = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let begin = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        let point = at;
        let is_instant = bytes.get(point) == Some(&b'.')
            && bytes.len() > point + 7
            && bytes[point + 1..point + 7].iter().all(u8::is_ascii_digit)
            && bytes[point + 7] == b's';
        if is_instant {
            out.push_str(&text[start..begin]);
            let seconds: i64 = text[begin..point].parse().unwrap_or(0);
            let micros: i64 = text[point + 1..point + 7].parse().unwrap_or(0);
            let from_now = seconds * 1_000_000 + micros - now.since_start().as_micros() as i64;
            let from_now = from_now.max(-(LONG_AGO.as_micros() as i64));
            out.push_str(&from_now.to_string());
            at = point + 8;
            start = at;
        }
    }
    out.push_str(&text[start..]);
    out
}

#[test]
fn instants_are_seen_from_now() {
    let now = Instant::from_start(Duration::from_secs(100));
    let shown = format!("a {:?} b {:?} {:?} 7s 1.5", now, now - Duration::from_secs(90), now + Duration::from_secs(2));
    assert_eq!(relative(&shown, now), "a 0 b -11000000 2000000 7s 1.5");
}
