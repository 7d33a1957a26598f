//! What one node has said from its start to its end, in order: what a run is judged by.

use core::time::Duration;
use serde_json::Value;

/// Entries of each list that are kept. A run that needs more is not judged: see [`Record::is_full`].
const KEPT: usize = 1 << 16;

/// See above. Times are since the run began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) lines: Vec<Line>,
    pub(crate) reigns: Vec<Reign>,
    /// Lines that it says are lost to it.
    pub(crate) missed: Vec<(Duration, u64)>,
    pub(crate) alerts: Vec<Said>,
    pub(crate) errors: Vec<Said>,
    /// Of its downloads: when, and how many bytes are there.
    pub(crate) progress: Vec<(Duration, u64)>,
    /// When a download was whole.
    pub(crate) saved: Vec<Duration>,
    /// The room as it last knew it.
    pub(crate) view: View,
    /// Something was said that had no room here.
    pub(crate) is_full: bool,
}

/// A line of chat on its screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Duration,
    pub(crate) epoch: u64,
    pub(crate) supernode: String,
    pub(crate) seq: u64,
    /// Its name for ever.
    pub(crate) line: String,
    /// Its author's id.
    pub(crate) author: String,
    pub(crate) text: String,
    pub(crate) is_history: bool,
}

/// Somebody leads who did not before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reign {
    pub(crate) at: Duration,
    pub(crate) epoch: u64,
    pub(crate) id: String,
    pub(crate) is_me: bool,
    pub(crate) reason: String,
}

/// An alert or an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) at: Duration,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// Who is in the room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Since when it is as it is.
    pub(crate) since: Duration,
    pub(crate) epoch: u64,
    pub(crate) supernode: String,
    /// In order of succession, the supernode first.
    pub(crate) members: Vec<String>,
}

impl Record {
    /// Takes an event.
    pub(crate) fn note(&mut self, at: Duration, event: &Value) {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |key: &str| event.get(key).and_then(Value::as_u64).unwrap_or(0);
        let flag = |key: &str| event.get(key).and_then(Value::as_bool).unwrap_or(false);
        let said = || Said { at, code: text("code"), message: text("message") };
        let has_room = match event.get("event").and_then(Value::as_str) {
            Some("chat") => push(
                &mut self.lines,
                Line {
                    at,
                    epoch: number("epoch"),
                    supernode: text("supernode"),
                    seq: number("seq"),
                    line: text("line"),
                    author: text("id"),
                    text: text("text"),
                    is_history: flag("history"),
                },
            ),
            Some("supernode") => push(
                &mut self.reigns,
                Reign { at, epoch: number("epoch"), id: text("id"), is_me: flag("me"), reason: text("reason") },
            ),
            Some("peers") => {
                let view =
                    View { since: at, epoch: number("epoch"), supernode: text("supernode"), members: members(event) };
                if (View { since: self.view.since, ..view.clone() }) != self.view {
                    self.view = view;
                }
                true
            }
            Some("missed") => push(&mut self.missed, (at, number("count"))),
            Some("alert") => push(&mut self.alerts, said()),
            Some("error") => push(&mut self.errors, said()),
            Some("progress") => push(&mut self.progress, (at, number("bytes"))),
            Some("saved") => push(&mut self.saved, at),
            _ => true,
        };
        self.is_full |= !has_room;
    }

    /// When this text was first on the screen.
    pub(crate) fn shown(&self, text: &str) -> Option<Duration> {
        // The last ones are asked for.
        self.lines.iter().rev().find(|line| line.text == text).map(|line| line.at)
    }
}

/// By rank, as the event names it.
fn members(event: &Value) -> Vec<String> {
    let list = event.get("members").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut ranked: Vec<(u64, String)> = list
        .iter()
        .filter_map(|member| {
            let rank = member.get("rank").and_then(Value::as_u64).unwrap_or(u64::MAX);
            Some((rank, member.get("id")?.as_str()?.to_owned()))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(_, id)| id).collect()
}

/// Says whether there was room.
fn push<T>(list: &mut Vec<T>, thing: T) -> bool {
    let has_room = list.len() < KEPT;
    if has_room {
        list.push(thing);
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECOND: Duration = Duration::from_secs(1);

    fn peers(epoch: u64, ranked: &[(&str, u64)]) -> Value {
        let members: Vec<Value> = ranked.iter().map(|(id, rank)| json!({"id": id, "rank": rank})).collect();
        json!({"event": "peers", "epoch": epoch, "supernode": "ann", "members": members})
    }

    #[test]
    fn a_view_is_in_order_of_succession_and_as_old_as_its_last_change() {
        let mut record = Record::default();
        record.note(SECOND, &peers(3, &[("cid", 2), ("ann", 0), ("ben", 1)]));
        assert_eq!(record.view.members, ["ann", "ben", "cid"]);
        // Said again by `P`, or because a round-trip time is another.
        record.note(2 * SECOND, &peers(3, &[("ann", 0), ("ben", 1), ("cid", 2)]));
        assert_eq!(record.view.since, SECOND);
        record.note(3 * SECOND, &peers(4, &[("ann", 0), ("ben", 1), ("cid", 2)]));
        assert_eq!((record.view.since, record.view.epoch), (3 * SECOND, 4));
    }

    #[test]
    fn what_is_said_without_end_is_not_kept_without_end_and_not_forgotten_in_silence() {
        let mut record = Record::default();
        let alert = json!({"event": "alert", "code": "x", "message": "y"});
        (0..KEPT).for_each(|_| record.note(SECOND, &alert));
        assert!(!record.is_full);
        record.note(SECOND, &alert);
        assert_eq!((record.alerts.len(), record.is_full), (KEPT, true));
    }

    #[test]
    fn what_is_no_event_says_nothing() {
        let mut record = Record::default();
        for odd in [json!(null), json!([1]), json!({"event": 7}), json!({"event": "peers", "members": 3})] {
            record.note(SECOND, &odd);
        }
        record.note(SECOND, &json!({"event": "chat", "text": 7}));
        assert_eq!((record.lines.len(), record.shown("7")), (1, None));
    }
}
