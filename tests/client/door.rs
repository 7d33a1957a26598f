//! Coming in where nobody is let in unasked.
//!
//! Not `--local`, where loopback is let in; and a STUN server where nobody is, so that no packet leaves this machine.

use crate::harness::{Client, folder, room};

const ELSEWHERE: [&str; 4] = ["--ip", "127.0.0.1", "--stun", "127.0.0.1:9"];

/// A client that asks before it lets anyone in, and has heard from STUN that nobody answers.
fn client(name: &str, options: &[&str]) -> Client {
    let mut client = Client::spawn_at(name, folder(), &[&ELSEWHERE[..], options].concat());
    client.wait("ready", |event| event["event"] == "ready");
    client
}

fn call(client: &Client) -> String {
    format!("C {} {}", client.local().ip(), client.local().port())
}

#[test]
fn whoever_asks_hears_that_they_wait_and_whose_door_it_is() {
    let (mut anna, mut ben) = (client("anna", &[]), client("ben", &[]));
    ben.type_line(&call(&anna));
    let waiting = ben.wait("waiting", |event| event["event"] == "waiting");
    assert_eq!((waiting["id"].as_str(), waiting["name"].as_str()), (Some(anna.id().as_str()), Some("anna")));
    assert_eq!(waiting["addr"], anna.local().to_string());
    let asked = anna.wait("asked", |event| event["event"] == "asked");
    assert_eq!(asked["id"].as_str(), Some(ben.id().as_str()));
    anna.type_line(&format!("A {}", ben.id()));
    ben.wait("connected", |event| event["event"] == "connected");
    anna.wait_for_members(2);
    assert!(anna.events_called("admitting").is_empty(), "whoever waits comes in at once");
    ben.wait_for_members(2);
    for client in [&anna, &ben] {
        assert!(client.events_called("error").is_empty());
    }
}

#[test]
fn a_window_is_confirmed_and_lets_in_who_comes_from_there() {
    let (mut anna, mut ben) = (client("anna", &[]), client("ben", &[]));
    let from = ben.local();
    anna.type_line(&format!("A {} {}", from.ip(), from.port()));
    let admitting = anna.wait("admitting", |event| event["event"] == "admitting");
    assert_eq!((admitting["addr"].as_str(), admitting["seconds"].as_u64()), (Some(&*from.to_string()), Some(600)));
    assert!(admitting["id"].is_null());
    ben.type_line(&call(&anna));
    ben.wait("connected", |event| event["event"] == "connected");
    anna.wait_for_members(2);
    assert!(anna.events_called("asked").is_empty() && ben.events_called("waiting").is_empty());
}

#[test]
fn whoever_asked_and_left_may_still_be_admitted_for_when_they_return() {
    let (mut anna, mut ben) = (client("anna", &[]), client("ben", &[]));
    let id = ben.id();
    ben.type_line(&call(&anna));
    anna.wait("asked", |event| event["event"] == "asked");
    let state = std::mem::replace(&mut ben.state, folder());
    ben.type_line("Q");
    ben.wait_for_end();
    anna.type_line(&format!("A {id}"));
    // The connection may be closed a moment later than the program ended; then A finds it, and answers when it is gone.
    anna.wait("admitting", |event| event["event"] == "admitting" && event["id"] == id);
    let to = anna.local().to_string();
    let mut ben = Client::spawn_at("ben", state, &[&ELSEWHERE[..], &["--join", &to]].concat());
    ben.wait("connected", |event| event["event"] == "connected");
}

#[test]
fn without_an_answer_from_stun_one_is_told_so_and_what_was_typed_meanwhile_is_done() {
    let mut anna = Client::spawn_at("anna", folder(), &ELSEWHERE);
    anna.type_line("T early");
    let address = anna.wait("address", |event| event["event"] == "address");
    assert!(address["public"].is_null() && address["nat"].is_null(), "{address}");
    anna.wait_for_text("early");
}

#[test]
fn each_member_is_told_once_how_each_other_is_reached() {
    let mut clients = room(&["anna", "ben", "cleo"]);
    clients[0].type_line("T all here");
    for client in &mut clients {
        client.wait_for_text("all here");
    }
    let ids: Vec<String> = clients[1..].iter().map(Client::id).collect();
    let is_told =
        |clients: &[Client], id: &String| clients[0].events_called("path").iter().any(|event| event["id"] == *id);
    while !ids.iter().all(|id| is_told(&clients, id)) {
        clients[0].wait("path", |event| event["event"] == "path");
    }
    let paths = clients[0].events_called("path");
    for id in &ids {
        let told: Vec<_> = paths.iter().filter(|event| event["id"] == *id).collect();
        assert_eq!(told.len(), 1, "{paths:?}");
        assert_eq!(told[0]["path"], "direct");
        assert!(told[0]["probes"].as_u64().is_some_and(|probes| (1..100).contains(&probes)), "{paths:?}");
        assert!(told[0]["rtt_ms"].is_number(), "{paths:?}");
    }
}
