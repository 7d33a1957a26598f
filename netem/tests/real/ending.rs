//! However a run ends, nothing of it stays.

use crate::harness::{NETEM, can_run, is_running, namespaces_of, netem, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A command that prints the ids of two processes and goes on: itself, and one in the background that has left the session and will not
/// end for a polite word.
const STUBBORN: &str =
    "setsid sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1; done' & echo $$; exec sleep 600";

/// A run that is under way, and the processes in it.
fn start() -> (Child, Vec<u32>) {
    let arguments = ["run", "--delay", "1ms", "--", "sh", "-c", STUBBORN];
    let mut child = Command::new(NETEM).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let inside: Vec<u32> = lines.take(2).map(|line| line.unwrap().parse().unwrap()).collect();
    assert_eq!(namespaces_of(child.id()).len(), 2);
    assert!(inside.iter().all(|pid| is_running(*pid)));
    (child, inside)
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

/// Devices live as long as their namespace or whoever holds them open, so that with the namespaces and netem itself they are gone too.
#[test]
fn a_signal_ends_everything_that_was_started() {
    if !can_run("a_signal_ends_everything_that_was_started", &["setsid"]) {
        return;
    }
    for (wanted, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (mut child, inside) = start();
        signal(&child, wanted);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert_eq!(namespaces_of(child.id()), Vec::<String>::new());
        assert!(!inside.iter().any(|pid| is_running(*pid)), "{inside:?} after {wanted}");
    }
}

/// Nothing can be done when one is killed; the next run does it.
#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    if !can_run("the_next_run_removes_what_a_killed_one_left", &["setsid"]) {
        return;
    }
    let (mut child, inside) = start();
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let output = netem(&["run", "--", "true"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(namespaces_of(child.id()), Vec::<String>::new());
    assert!(!inside.iter().any(|pid| is_running(*pid)), "{inside:?}");
}

#[test]
fn the_code_of_the_command_is_ours_and_a_command_that_is_not_there_is_our_failure() {
    if !can_run("the_code_of_the_command_is_ours_and_a_command_that_is_not_there_is_our_failure", &[]) {
        return;
    }
    assert_eq!(netem(&["run", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    let output = netem(&["run", "--far", "sleep 600", "--", "/no/such/program"]);
    assert_eq!(output.status.code(), Some(125));
    let errors = text(&output.stderr);
    assert!(errors.contains("cannot run /no/such/program"), "{errors}");
}
