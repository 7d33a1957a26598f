//! Starting and ending.

use crate::harness::{Client, PROGRAM, folder};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Output, Stdio};

/// The program with these arguments and an empty input, until it ends.
fn outcome(arguments: &[&str]) -> Output {
    let state = folder();
    Command::new(PROGRAM)
        .arg("--state")
        .arg(state.path())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

#[test]
fn ready_has_every_field_and_says_where_we_are() {
    let client = Client::start("anna");
    let ready = &client.events[0];
    let keys: Vec<&str> = ready.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in ["event", "t", "id", "name", "local", "public", "nat"] {
        assert!(keys.contains(&key), "{key} is missing: {ready}");
    }
    assert_eq!(ready["name"], "anna");
    assert!(client.local().ip().is_loopback() && client.local().port() != 0);
    assert!(ready["public"].is_null() && ready["nat"].is_null(), "with --local nobody is asked");
}

#[test]
fn the_first_event_is_ready_and_the_last_is_bye() {
    let mut client = Client::start("anna");
    client.type_line("Q");
    client.wait("bye", |event| event["event"] == "bye");
    assert_eq!(client.events[0]["event"], "ready");
    let (status, _) = client.ended();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_end_of_the_input_is_q() {
    let mut client = Client::start("anna");
    client.close_stdin();
    let (status, errors) = client.wait_for_end();
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn sigterm_and_sigint_are_q() {
    for signal in ["TERM", "INT"] {
        let client = Client::start("anna");
        client.signal(signal);
        let (status, errors) = client.wait_for_end();
        assert_eq!((status.code(), errors.as_str()), (Some(0), ""), "SIG{signal}");
    }
}

#[test]
fn who_one_is_stays_from_run_to_run() {
    let mut first = Client::start("anna");
    let id = first.id();
    let state = std::mem::replace(&mut first.state, folder());
    first.type_line("Q");
    first.wait_for_end();
    let mut again = Client::spawn_at("anna", state, &["--local"]);
    again.wait("ready", |event| event["event"] == "ready");
    assert_eq!(again.id(), id);
}

#[test]
fn a_state_folder_in_use_is_refused_with_the_way_out() {
    let first = Client::start("anna");
    let second =
        Command::new(PROGRAM).args(["--local", "--state"]).arg(first.state.path()).stdin(Stdio::null()).output();
    let second = second.expect("the program starts");
    let errors = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && errors.contains("in use") && errors.contains("--state"), "{errors}");
}

#[test]
fn wrong_arguments_end_with_2_and_a_word_on_what_is_wanted() {
    for (arguments, wanted) in [
        (&["--port", "65536"][..], "0 to 65535"),
        (&["--port", "-1"], "0 to 65535"),
        (&["--ip", "999.1.1.1"], "an address looks like"),
        (&["--local", "--dir", "/nowhere/at/all"], "--dir"),
        (&["--local", "--dir", "/dev/null"], "not a folder"),
        (&["--local", "--join", "nonsense"], "ticket"),
        (&["--colour"], "--colour"),
    ] {
        let output = outcome(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(wanted), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}: nothing on stdout");
    }
}

#[test]
fn help_teaches_and_ends_with_0() {
    let output = outcome(&["--help"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for word in ["--join", "--stun", "Examples:", "Exit codes:"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_port_in_use_ends_with_3() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let output = outcome(&["--local", "--json", "--port", &port]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8(output.stdout).expect("text");
    let event: serde_json::Value = serde_json::from_str(&line).expect("one JSON line");
    assert_eq!((event["event"].as_str(), event["code"].as_str()), (Some("error"), Some("network")));
}

#[test]
fn a_damaged_identity_is_reported_and_kept() {
    let state = folder();
    std::fs::write(state.path().join("identity"), b"short").expect("written");
    let output = Command::new(PROGRAM).args(["--local", "--state"]).arg(state.path()).stdin(Stdio::null()).output();
    let output = output.expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("identity") && errors.contains("damaged"), "{errors}");
    assert_eq!(std::fs::read(state.path().join("identity")).expect("still there"), b"short");
}

#[test]
fn a_join_that_is_refused_ends_with_4() {
    // Not --local, where loopback is let in unasked; and a STUN server where nobody is, so that no packet leaves this machine.
    let elsewhere = ["--ip", "127.0.0.1", "--stun", "127.0.0.1:9"];
    let mut anna = Client::spawn_at("anna", folder(), &elsewhere);
    anna.wait("ready", |event| event["event"] == "ready");
    anna.type_line("I");
    let ticket = anna.wait("ticket", |event| event["event"] == "ticket");
    let ticket = ticket["ticket"].as_str().expect("text");
    let with_ticket = [&elsewhere[..], &["--join", ticket]].concat();
    let mut ben = Client::spawn_at("ben", folder(), &with_ticket);
    ben.wait("connected", |event| event["event"] == "connected");
    // The ticket admits one person, and that was ben.
    let mut cleo = Client::spawn_at("cleo", folder(), &with_ticket);
    cleo.wait_for_error(Some("C"), "refused");
    let (status, _) = cleo.wait_for_end();
    assert_eq!(status.code(), Some(4));
}
