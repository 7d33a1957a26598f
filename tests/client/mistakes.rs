//! Bad input of every kind: a clear line, and nothing else changes.

use crate::harness::{Client, PROGRAM, SOON, exit_within, folder, room};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// The client still does what it is asked.
fn works(client: &mut Client) {
    client.type_line("T still here");
    client.wait_for_text("still here");
}

#[test]
fn a_mistake_is_one_line_that_says_what_to_type() {
    let mut client = Client::start("anna");
    for (line, letter) in [
        ("hello", None),
        ("C", Some("C")),
        ("C 127.0.0.1 70000", Some("C")),
        ("A nobody-of-that-name", Some("A")),
        ("T", Some("T")),
        ("R", Some("R")),
        ("Q now", Some("Q")),
    ] {
        client.type_line(line);
        let error = client.wait_for_error(letter, "usage");
        let message = error["message"].as_str().expect("text");
        assert!(message.contains("type ") || message.contains("T hello"), "{line}: {message}");
    }
    works(&mut client);
}

#[test]
fn what_is_not_built_answers_unavailable() {
    let mut client = Client::start("anna");
    std::fs::create_dir(client.dir.path().join("album")).expect("a folder");
    for (line, letter) in [("K 0123", "K"), ("S holiday", "S"), ("L 127.0.0.1 5000", "L"), ("B album", "B")] {
        client.type_line(line);
        client.wait_for_error(Some(letter), "unavailable");
    }
    works(&mut client);
}

#[test]
fn unknown_files_and_offers_are_named_as_such() {
    let mut client = Client::start("anna");
    client.type_line("B no such file.txt");
    client.wait_for_error(Some("B"), "not_found");
    client.type_line("R no such offer.txt");
    client.wait_for_error(Some("R"), "not_found");
    client.type_line("U no such offer.txt");
    client.wait_for_error(Some("U"), "not_found");
    works(&mut client);
}

#[test]
fn a_node_that_is_not_there_is_unreachable_and_the_room_stays() {
    let mut client = Client::start("anna");
    // A port that was ours a moment ago: nobody listens there.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    client.type_line(&format!("C 127.0.0.1 {port}"));
    let error = client.wait_within(2 * SOON, "error", |event| event["event"] == "error");
    assert_eq!(error["command"], "C");
    assert!(matches!(error["code"].as_str(), Some("unreachable" | "timeout")), "{error}");
    works(&mut client);
}

#[test]
fn a_megabyte_in_one_line_is_too_large_and_costs_no_memory() {
    let mut clients = room(&["anna", "ben"]);
    let before = clients[1].peak_rss_kib();
    let mut line = b"T ".to_vec();
    line.resize(1 << 20, b'x');
    line.push(b'\n');
    for _ in 0..32 {
        clients[1].type_bytes(&line);
        clients[1].wait_for_error(None, "too_large");
    }
    assert!(clients[1].peak_rss_kib() < before + 16 * 1024, "32 MB went by, and nothing of it was kept");
    clients[1].type_line("T after");
    for client in &mut clients {
        client.wait_for_text("after");
        assert_eq!(client.texts(), ["after"], "nothing of the long line was said");
    }
}

#[test]
fn bytes_that_are_no_text_spoil_only_their_own_line() {
    let mut client = Client::start("anna");
    client.type_bytes(b"T \xff\xfe\x80\n");
    client.wait_for_error(None, "usage");
    client.type_bytes(b"\n\r\n \t \n");
    works(&mut client);
    assert_eq!(client.events_called("error").len(), 1, "empty lines are no mistake");
}

#[test]
fn a_stdout_that_is_closed_is_q_and_quiet() {
    let (dir, state) = (folder(), folder());
    let mut child = Command::new(PROGRAM)
        .args(["--json", "--local", "--dir"])
        .arg(dir.path())
        .arg("--state")
        .arg(state.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut ready = String::new();
    stdout.read_line(&mut ready).expect("readable");
    assert!(ready.contains("\"ready\""), "{ready}");
    drop(stdout);
    // Something to write is what makes it notice; stdin stays open, so that it is not the end of the input that ends it.
    let stdin = child.stdin.as_mut().expect("piped");
    stdin.write_all(b"G\nG\nG\n").and_then(|()| stdin.flush()).expect("it reads");
    let keep_open = child.stdin.take();
    let status = exit_within(&mut child, SOON);
    drop(keep_open);
    let errors = child.wait_with_output().expect("it ended").stderr;
    assert_eq!((status.code(), String::from_utf8_lossy(&errors).as_ref()), (Some(0), ""));
}

#[test]
fn a_full_disk_behind_stdout_is_the_same() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let (dir, state) = (folder(), folder());
    let mut child = Command::new(PROGRAM)
        .args(["--json", "--local", "--dir"])
        .arg(dir.path())
        .arg("--state")
        .arg(state.path())
        .stdin(Stdio::piped())
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let keep_open = child.stdin.take();
    let status = exit_within(&mut child, SOON);
    drop(keep_open);
    let errors = child.wait_with_output().expect("it ended").stderr;
    assert_eq!((status.code(), String::from_utf8_lossy(&errors).as_ref()), (Some(0), ""));
}
