//! A person at a terminal.

use crate::harness::{Client, PROGRAM, SOON, exit_within, folder};
use expectrl::{ControlCode, Eof, Expect, Regex, Session};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::mpsc::channel;

/// The program on a pseudo-terminal of its own, just started.
fn at_a_terminal(options: &[&str]) -> (expectrl::session::OsSession, [tempfile::TempDir; 2]) {
    let (dir, state) = (folder(), folder());
    let mut command = Command::new(PROGRAM);
    command.env("TERM", "xterm").env("NO_COLOR", "1").args(["--name", "anna", "--dir"]).arg(dir.path());
    command.arg("--state").arg(state.path()).args(options);
    let mut session = Session::spawn(command).expect("a pseudo-terminal");
    session.set_expect_timeout(Some(SOON));
    (session, [dir, state])
}

/// Answers the three questions for a room on this machine, and returns the port it got.
fn answer_questions(session: &mut expectrl::session::OsSession) -> u16 {
    session.expect("different networks? (Y/N) [Y]: ").expect("the first question");
    session.send_line("maybe").expect("typed");
    session.expect("answer Y").expect("a hint");
    session.expect("(Y/N) [Y]: ").expect("the question again");
    session.send_line("n").expect("typed");
    session.expect("IP address of this node [127.0.0.1]: ").expect("the second question");
    // An address for documentation (RFC 5737): no machine has it.
    session.send_line("192.0.2.1").expect("typed");
    session.expect("does not have the address 192.0.2.1").expect("a hint");
    session.expect("[127.0.0.1]: ").expect("the question again");
    session.send_line("").expect("typed");
    session.expect("[0]: ").expect("the third question");
    session.send_line("0").expect("typed");
    let line = session.expect(Regex(r"You are anna \([0-9a-v]{16}\) at 127\.0\.0\.1:([0-9]+)\.")).expect("ready");
    let port = String::from_utf8_lossy(line.get(1).expect("a port")).parse().expect("a number");
    session.expect("> ").expect("the prompt");
    port
}

#[test]
fn three_questions_a_prompt_that_lines_arrive_above_and_q() {
    let (mut session, _folders) = at_a_terminal(&[]);
    let port = answer_questions(&mut session);
    let mut ben = Client::start("ben");
    ben.type_line(&format!("C 127.0.0.1:{port}"));
    session.expect("is here.").expect("news of who came");
    ben.wait_for_members(2);
    // Half a line is typed when somebody else's arrives: that is shown whole, and then the half line again.
    session.send("T half a li").expect("typed");
    session.expect("T half a li").expect("the echo");
    ben.type_line("T hello from ben");
    session.expect("ben: hello from ben\r\n").expect("the line, on a line of its own");
    session.expect("> T half a li").expect("the prompt with what was typed so far");
    session.send("ne\r").expect("typed");
    ben.wait_for_text("half a line");
    session.expect("anna: half a line").expect("our own line comes back in its place");
    session.send("?\r").expect("typed");
    session.expect("T <message>").expect("the help");
    session.send("Q\r").expect("typed");
    session.expect("Bye.").expect("the last word");
    session.expect(Eof).expect("the end");
    ben.wait_for_members(1);
}

/// As a terminal without bracketed paste sends it: as if somebody typed very fast. Everything that is drawn is read
/// meanwhile, as a terminal does.
#[test]
fn a_megabyte_pasted_at_the_prompt_is_one_clear_line_and_the_prompt_comes_back() {
    let (dir, state) = (folder(), folder());
    let size = nix::pty::Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(&size, None).expect("a pseudo-terminal");
    let end = || terminal.slave.try_clone().expect("one more handle");
    let mut command = Command::new(PROGRAM);
    command.env("TERM", "xterm").env("NO_COLOR", "1").args(["--local", "--name", "anna", "--dir"]).arg(dir.path());
    command.arg("--state").arg(state.path()).stdin(end()).stdout(end()).stderr(end());
    let mut child = command.spawn().expect("the program starts");
    let mut keyboard = File::from(terminal.master.try_clone().expect("one more handle"));
    let mut screen = File::from(terminal.master);
    let (shown, seen) = channel();
    std::thread::spawn(move || {
        // What is looked for may come in two pieces: the end of what was read is kept.
        let (mut text, mut buffer) = (String::new(), vec![0; 1 << 16]);
        while let Ok(length) = screen.read(&mut buffer) {
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
            for words in ["You lead the room", "that line is too long", "anna: after", "Bye."] {
                if text.contains(words) && shown.send(words).is_err() {
                    return;
                }
            }
            text = text.chars().rev().take(20).collect::<Vec<_>>().into_iter().rev().collect();
        }
    });
    let wait_for = |words: &str| {
        while seen.recv_timeout(SOON).unwrap_or_else(|_| panic!("{words:?} was not shown")) != words {}
    };
    wait_for("You lead the room");
    keyboard.write_all(&vec![b'x'; 1 << 20]).expect("typed");
    keyboard.write_all(b"\rT after\r").expect("typed");
    wait_for("that line is too long");
    wait_for("anna: after");
    keyboard.write_all(b"Q\r").expect("typed");
    wait_for("Bye.");
    assert_eq!(exit_within(&mut child, SOON).code(), Some(0));
}

#[test]
fn ctrl_d_and_ctrl_c_at_the_prompt_are_q() {
    for key in [ControlCode::EndOfTransmission, ControlCode::EndOfText] {
        let (mut session, _folders) = at_a_terminal(&["--local"]);
        session.expect("You are anna").expect("ready");
        session.expect("> ").expect("the prompt");
        session.send(key).expect("typed");
        session.expect("Bye.").expect("the last word");
        session.expect(Eof).expect("the end");
    }
}

#[test]
fn the_terminal_is_given_back_as_it_was_also_after_a_signal() {
    // A shell around it sets the terminal before, says the program's number, and shows the terminal after.
    const INNER: &str = r#"echo "PID=$$."; exec "$0" "$@""#;
    const OUTER: &str = r#"stty echo icanon; inner=$1; shift; sh -c "$inner" "$0" "$@"; stty -a; echo over"#;
    let (dir, state) = (folder(), folder());
    let mut command = Command::new("sh");
    command.env("TERM", "xterm").args(["-c", OUTER, PROGRAM, INNER, "--local", "--dir"]).arg(dir.path());
    command.arg("--state").arg(state.path());
    let mut session = Session::spawn(command).expect("a pseudo-terminal");
    session.set_expect_timeout(Some(SOON));
    let number = session.expect(Regex(r"PID=([0-9]+)\.")).expect("its number");
    let pid = String::from_utf8_lossy(number.get(1).expect("a number")).into_owned();
    session.expect("> ").expect("the prompt");
    let status = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
    assert!(status.success());
    session.expect("Bye.").expect("the last word");
    let after = session.expect("over").expect("the end");
    let settings = String::from_utf8_lossy(after.before()).into_owned();
    for setting in ["icanon", "echo", "isig"] {
        assert!(settings.split_whitespace().any(|word| word == setting), "{setting} is not back: {settings}");
    }
}

#[test]
fn the_end_of_the_input_at_a_question_quits() {
    let (mut session, _folders) = at_a_terminal(&[]);
    session.expect("(Y/N) [Y]: ").expect("the first question");
    session.send(ControlCode::EndOfTransmission).expect("typed");
    session.expect(Eof).expect("the end");
}
