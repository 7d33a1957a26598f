//! What one node has said so far.

use core::time::Duration;
use serde_json::Value;
use std::collections::BTreeMap;

/// Lines of chat and errors that are kept, each.
const KEPT: usize = 256;

/// See above. Times are since the run began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Of `ready`.
    pub(crate) id: Option<String>,
    /// How the world sees it.
    pub(crate) public: Option<String>,
    /// What it takes its NAT for.
    pub(crate) nat: Option<String>,
    /// When it was first in a room of somebody else's.
    pub(crate) connected: Option<Duration>,
    /// When each member was first named.
    pub(crate) named: BTreeMap<String, Duration>,
    pub(crate) paths: BTreeMap<String, Path>,
    pub(crate) chats: Vec<String>,
    /// Hashes of what is on offer, by name.
    pub(crate) offers: BTreeMap<String, String>,
    /// Where downloads are, by name.
    pub(crate) saved: BTreeMap<String, String>,
    pub(crate) ticket: Option<String>,
    /// Whose door it waits at, or who waits at its.
    pub(crate) asked: Option<String>,
    /// Code and message.
    pub(crate) errors: Vec<(String, String)>,
    /// It has nothing more to say.
    pub(crate) has_ended: bool,
}

/// The path to a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Path {
    pub(crate) is_direct: bool,
    /// Since when it is what it is.
    pub(crate) since: Duration,
    pub(crate) probes: u64,
    pub(crate) why: Option<String>,
}

impl Seen {
    /// Takes an event.
    pub(crate) fn note(&mut self, at: Duration, event: &Value) {
        let text = |key: &str| event.get(key).and_then(Value::as_str).map(String::from);
        match event.get("event").and_then(Value::as_str) {
            Some("ready") => {
                self.id = text("id");
                self.address(event);
            }
            Some("address") => self.address(event),
            Some("connected") => self.connected = self.connected.or(Some(at)),
            Some("peers") => {
                for member in event.get("members").and_then(Value::as_array).into_iter().flatten() {
                    self.member(at, member);
                }
            }
            Some("path") => {
                let Some(id) = text("id") else { return };
                let probes = event.get("probes").and_then(Value::as_u64).unwrap_or(0);
                self.path(at, id, text("path").as_deref(), probes, text("why").or_else(|| text("reason")));
            }
            Some("why") => {
                for path in event.get("paths").and_then(Value::as_array).into_iter().flatten() {
                    let of = |key: &str| path.get(key).and_then(Value::as_str).map(String::from);
                    if let Some(known) = of("id").and_then(|id| self.paths.get_mut(&id)) {
                        let probes = path.get("probes").and_then(Value::as_u64).unwrap_or(0);
                        known.probes = known.probes.max(probes);
                        known.why = of("why").or_else(|| known.why.take());
                    }
                }
            }
            Some("chat") => push(&mut self.chats, text("text")),
            Some("offered") => {
                if let Some((name, hash)) = text("name").zip(text("hash")) {
                    self.offers.insert(name, hash);
                }
            }
            Some("saved") => {
                if let Some((name, path)) = text("name").zip(text("path")) {
                    self.saved.insert(name, path);
                }
            }
            Some("ticket") => self.ticket = text("ticket"),
            Some("asked") => self.asked = text("id"),
            Some("error") => push(&mut self.errors, text("code").zip(text("message"))),
            Some("bye") => self.has_ended = true,
            _ => (),
        }
    }

    /// Since when the path to a member is direct, if it is.
    pub(crate) fn direct_to(&self, id: &str) -> Option<Duration> {
        self.paths.get(id).filter(|path| path.is_direct).map(|path| path.since)
    }

    fn address(&mut self, event: &Value) {
        let text = |key: &str| event.get(key).and_then(Value::as_str).map(String::from);
        self.public = text("public").or_else(|| self.public.take());
        self.nat = text("nat").or_else(|| self.nat.take());
    }

    fn member(&mut self, at: Duration, member: &Value) {
        let Some(id) = member.get("id").and_then(Value::as_str) else { return };
        self.named.entry(id.into()).or_insert(at);
        let path = member.get("path").and_then(Value::as_str);
        // What is counted is told by `path` alone.
        let (probes, why) = self.paths.get(id).map_or((0, None), |path| (path.probes, path.why.clone()));
        if path.is_some() {
            self.path(at, id.into(), path, probes, why);
        }
    }

    fn path(&mut self, at: Duration, id: String, path: Option<&str>, probes: u64, why: Option<String>) {
        let is_direct = path == Some("direct");
        let before = self.paths.get(&id).filter(|before| before.is_direct == is_direct);
        let since = before.map_or(at, |before| before.since);
        self.paths.insert(id, Path { is_direct, since, probes, why });
    }
}

fn push<T>(list: &mut Vec<T>, thing: Option<T>) {
    if list.len() < KEPT {
        list.extend(thing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(events: &[Value]) -> Seen {
        let mut seen = Seen::default();
        for (second, event) in (1..).zip(events) {
            seen.note(Duration::from_secs(second), event);
        }
        seen
    }

    #[test]
    fn a_path_is_direct_since_it_last_became_so() {
        let peers = |path: Value| json!({"event": "peers", "members": [{"id": "ben", "path": path}]});
        let path = |path: &str, probes: u64| json!({"event": "path", "id": "ben", "path": path, "probes": probes});
        let early = seen(&[peers(json!(null)), path("relayed", 0)]);
        assert_eq!((early.named["ben"].as_secs(), early.direct_to("ben")), (1, None));
        let late = seen(&[peers(json!(null)), path("relayed", 0), path("direct", 7), peers(json!("direct"))]);
        assert_eq!(late.direct_to("ben"), Some(Duration::from_secs(3)));
        assert_eq!(late.paths["ben"].probes, 7, "peers does not tell, and takes nothing away");
        assert_eq!(seen(&[path("direct", 1), path("relayed", 1)]).direct_to("ben"), None);
    }

    #[test]
    fn what_is_no_event_says_nothing_and_lists_have_an_end() {
        let odd = [
            json!(null),
            json!([1]),
            json!({"event": 7}),
            json!({"event": "path"}),
            json!({"event": "peers", "members": 3}),
        ];
        assert!(seen(&odd).paths.is_empty());
        let chat = json!({"event": "chat", "text": "hi"});
        assert_eq!(seen(&vec![chat; 1000]).chats.len(), KEPT);
    }

    #[test]
    fn an_offer_counts_when_its_hash_is_known() {
        let offered = |hash: Value| json!({"event": "offered", "name": "x", "hash": hash});
        assert!(seen(&[offered(json!(null))]).offers.is_empty());
        assert_eq!(seen(&[offered(json!(null)), offered(json!("ab"))]).offers["x"], "ab");
    }
}
