//! Events as JSON lines for scripts: one object a line, `event` and `t` first.

use crate::command_table::TABLE;
use crate::harmless::is_harmful;
use anjer::node::api::Event;
use serde::Serialize;
use std::fmt::Write;

/// The line for `event`, `t` milliseconds after the start, with its end.
pub(crate) fn line(event: &Event, t: u64) -> String {
    stamped(serde_json::to_string(event).or_else(|_| serde_json::to_string(&readable(event))), t)
}

/// The answer to `?`: the table of commands.
pub(crate) fn help(t: u64) -> String {
    #[derive(Serialize)]
    struct Help {
        event: &'static str,
        commands: Vec<Row>,
    }
    #[derive(Serialize)]
    struct Row {
        usage: &'static str,
        does: &'static str,
    }
    let commands = TABLE.iter().map(|row| Row { usage: row.usage, does: row.does }).collect();
    stamped(serde_json::to_string(&Help { event: "help", commands }), t)
}

/// The one thing in an event that JSON may not be able to say is a path that is not UTF-8.
fn readable(event: &Event) -> Event {
    match event.clone() {
        Event::Saved { name, path, bytes, hash, seconds } => {
            Event::Saved { name, path: path.to_string_lossy().into_owned().into(), bytes, hash, seconds }
        }
        other => other,
    }
}

/// Puts `t` behind `event`, which serde writes first, and escapes what would fool a terminal; to a parser it is the same.
fn stamped(object: serde_json::Result<String>, t: u64) -> String {
    let object = object
        .unwrap_or_else(|_| r#"{"event":"alert","code":"unprintable","message":"an event could not be shown"}"#.into());
    let tag_end = object.match_indices('"').nth(3).map_or(0, |(at, _)| at.saturating_add(1));
    let (tag, fields) = object.split_at_checked(tag_end).unwrap_or(("", &object));
    let mut line = String::with_capacity(object.len().saturating_add(24));
    line.push_str(tag);
    // Writing to a string cannot fail.
    let _ = write!(line, ",\"t\":{t}");
    for character in fields.chars() {
        if is_harmful(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use anjer::node::api::*;

    #[test]
    fn every_event_has_the_fields_of_the_contract_in_its_order() {
        let expected = [
            r#"{"event":"ready","t":7,"id":"ANNA","name":"anna","local":"127.0.0.1:5000","public":null,"nat":null}"#,
            r#"{"event":"connected","t":7,"supernode":"BEN","epoch":3,"path":"direct"}"#,
            r#"{"event":"supernode","t":7,"id":"BEN","epoch":3,"me":false,"reason":"lost"}"#,
            r#"{"event":"peers","t":7,"epoch":3,"supernode":"BEN","members":[{"id":"BEN","name":"ben","addr":"127.0.0.1:5001","role":"supernode","rank":0,"path":"direct","rtt_ms":0.25},{"id":"ANNA","name":"anna","addr":null,"role":"member","rank":1,"path":null,"rtt_ms":null}]}"#,
            r#"{"event":"path","t":7,"id":"BEN","path":"relayed","rtt_ms":12.5,"probes":4,"why":"both NATs guess"}"#,
            r#"{"event":"chat","t":7,"id":"BEN","name":"ben","epoch":3,"supernode":"BEN","seq":9,"line":"l9","time":1700000000000,"history":false,"text":"hello"}"#,
            r#"{"event":"missed","t":7,"from":4,"to":6,"count":3}"#,
            r#"{"event":"address","t":7,"public":"192.0.2.1:5000","nat":"easy"}"#,
            r#"{"event":"why","t":7,"ranking":[{"id":"BEN","rank":0,"terms":["tenure=5"]}],"history":[{"epoch":3,"supernode":"BEN","reason":"first","at_ms":5}],"nat":"nat=yes mapping=independent","paths":[{"id":"BEN","path":"relayed","via":"BEN","standby":1,"probes":7,"nat":"nat=no","why":"both NATs guess"}]}"#,
            r#"{"event":"alert","t":7,"code":"equivocation","message":"two views"}"#,
            r#"{"event":"offered","t":7,"name":"a b.txt","size":5,"hash":null,"id":"BEN","kind":"file"}"#,
            r#"{"event":"withdrawn","t":7,"name":"a b.txt","size":5,"hash":"HASH","id":"BEN","kind":"file"}"#,
            r#"{"event":"files","t":7,"files":[{"name":"a b.txt","size":5,"hash":"HASH","holders":["BEN"]}]}"#,
            r#"{"event":"progress","t":7,"name":"a b.txt","hash":"HASH","bytes":1,"size":5,"sources":1}"#,
            r#"{"event":"saved","t":7,"name":"a b.txt","path":"/tmp/a b.txt","bytes":5,"hash":"HASH","seconds":0.5}"#,
            r#"{"event":"asked","t":7,"addr":"127.0.0.1:5001","id":"BEN","name":"ben"}"#,
            r#"{"event":"waiting","t":7,"id":"BEN","name":"ben","addr":"127.0.0.1:5001"}"#,
            r#"{"event":"admitting","t":7,"addr":"127.0.0.1:5001","id":null,"seconds":600}"#,
            r#"{"event":"ticket","t":7,"ticket":"anjer1abc","seconds":86400}"#,
            r#"{"event":"error","t":7,"command":"R","code":"not_found","message":"no such file"}"#,
            r#"{"event":"bye","t":7}"#,
        ];
        let events = samples::one_of_each();
        assert_eq!(events.len(), expected.len());
        for (event, expected) in events.iter().zip(expected) {
            let expected = expected
                .replace("ANNA", &samples::anna().to_string())
                .replace("BEN", &samples::ben().to_string())
                .replace("HASH", &samples::hash().to_string());
            assert_eq!(line(event, 7), format!("{expected}\n"));
        }
    }

    #[test]
    fn a_text_that_would_fool_a_terminal_is_escaped_and_still_the_same_text() {
        let text = "a\u{202e}b\u{9b}c\u{e0041}d\u{2028}\ne";
        let line = line(&Event::Alert { code: "x", message: text.into() }, 0);
        assert!(!line.trim_end_matches('\n').chars().any(is_harmful), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["message"], text);
    }

    #[test]
    fn every_error_code_is_the_word_of_the_contract() {
        use ErrorCode::*;
        for (code, word) in [
            (Usage, "usage"),
            (Unavailable, "unavailable"),
            (Unreachable, "unreachable"),
            (Refused, "refused"),
            (Timeout, "timeout"),
            (NotFound, "not_found"),
            (Ambiguous, "ambiguous"),
            (Exists, "exists"),
            (Unreadable, "unreadable"),
            (Unwritable, "unwritable"),
            (DiskFull, "disk_full"),
            (UnsafeName, "unsafe_name"),
            (TooLarge, "too_large"),
            (Corrupt, "corrupt"),
            (NotInRoom, "not_in_room"),
            (NotAllowed, "not_allowed"),
            (Network, "network"),
        ] {
            let line = line(&Event::Error { command: None, code, message: String::new() }, 0);
            assert_eq!(
                line,
                format!("{{\"event\":\"error\",\"t\":0,\"command\":null,\"code\":\"{word}\",\"message\":\"\"}}\n")
            );
        }
    }

    #[test]
    fn a_path_that_is_no_text_does_not_silence_its_event() {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(b"/tmp/\xff").into();
        let saved = Event::Saved { name: "x".into(), path, bytes: 0, hash: samples::hash(), seconds: 0.0 };
        assert!(line(&saved, 0).starts_with(r#"{"event":"saved","t":0,"name":"x","path":"/tmp/"#));
    }

    #[test]
    fn the_help_is_an_object_too() {
        let value: serde_json::Value = serde_json::from_str(&help(3)).expect("JSON");
        assert_eq!((value["event"].as_str(), value["t"].as_u64()), (Some("help"), Some(3)));
        assert_eq!(value["commands"].as_array().map(Vec::len), Some(TABLE.len()));
    }
}
