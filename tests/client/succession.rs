//! The supernode goes, by its own will or not.

use crate::harness::{Client, room};
use std::time::Duration;

/// What the contract of the first milestone allows between a crash and the next line heard.
const RECOVERY: Duration = Duration::from_secs(3);

/// Everything that `client` heard, sorted, so that loss and doubling show as a difference.
fn heard(client: &Client) -> Vec<String> {
    let mut texts = client.texts();
    texts.sort();
    texts
}

fn no_error(client: &Client) {
    assert!(client.events_called("error").is_empty(), "nobody prints an error: {:?}", client.events_called("error"));
    assert!(client.events_called("missed").is_empty(), "nothing is missing");
}

#[test]
fn after_q_on_the_supernode_the_next_line_reaches_the_others() {
    let mut clients = room(&["anna", "ben", "cleo"]);
    clients[0].type_line("T before");
    for client in &mut clients {
        client.wait_for_text("before");
    }
    let mut anna = clients.remove(0);
    anna.type_line("Q");
    let (status, errors) = anna.wait_for_end();
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
    // Typed without waiting for anything: the hand-over has to carry it.
    clients[0].type_line("T after");
    for client in &mut clients {
        client.wait_for_text("after");
    }
    for client in &mut clients {
        client.wait_for_members(2);
    }
    let quits: Vec<_> = clients[0].events_called("supernode");
    assert_eq!(quits.last().map(|event| event["reason"].clone()), Some("quit".into()), "{quits:?}");
    for client in &clients {
        assert_eq!(heard(client), ["after", "before"]);
        no_error(client);
    }
}

#[test]
fn after_kill_9_on_the_supernode_the_two_left_chat_within_seconds_and_nothing_is_lost_or_doubled() {
    let mut clients = room(&["anna", "ben", "cleo"]);
    for number in 0..10 {
        clients[1].type_line(&format!("T ben {number}"));
        clients[2].type_line(&format!("T cleo {number}"));
    }
    for client in &mut clients[1..] {
        while client.texts().len() < 20 {
            client.wait("the lines before", |event| event["event"] == "chat");
        }
    }
    clients[0].kill();
    clients.remove(0);
    clients[0].type_line("T ben after");
    clients[1].type_line("T cleo after");
    for client in &mut clients {
        for _ in 0..2 {
            client.wait_within(RECOVERY, "line after the crash", |event| {
                event["event"] == "chat" && event["text"].as_str().is_some_and(|text| text.ends_with("after"))
            });
        }
    }
    let mut expected: Vec<String> =
        (0..10).flat_map(|number| [format!("ben {number}"), format!("cleo {number}")]).collect();
    expected.extend(["ben after".to_owned(), "cleo after".to_owned()]);
    expected.sort();
    assert_eq!(clients[0].texts(), clients[1].texts(), "one order, through the change");
    for client in &clients {
        assert_eq!(heard(client), expected);
        no_error(client);
    }
}

#[test]
fn lines_typed_into_the_crash_itself_arrive_once() {
    let mut clients = room(&["anna", "ben", "cleo"]);
    for number in 0..20 {
        clients[1].type_line(&format!("T {number}"));
        if number == 10 {
            clients[0].kill();
        }
    }
    clients.remove(0);
    let mut expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    expected.sort();
    for client in &mut clients {
        while client.texts().len() < 20 {
            client.wait("every line", |event| event["event"] == "chat");
        }
    }
    assert_eq!(clients[0].texts(), clients[1].texts());
    for client in &clients {
        assert_eq!(heard(client), expected);
        no_error(client);
    }
}
