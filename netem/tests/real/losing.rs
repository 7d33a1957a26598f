//! Real nodes that lose their supernode. The program under test is another package's: it is built by a build of the workspace.

use crate::harness::{NETEM, namespaces_of, netem, text};
use crate::pairs::can_run_nodes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Command, Stdio};

/// The smallest scene. How long it took is printed and not judged here: what else this machine does is not known.
#[test]
fn a_supernode_is_killed_and_every_line_is_at_both_others_once_and_in_one_order() {
    if !can_run_nodes("a_supernode_is_killed_and_every_line_is_at_both_others_once_and_in_one_order") {
        return;
    }
    let output =
        netem(&["succession", "--only", "kill", "--nats", "none", "--members", "3", "--runs", "1", "--jobs", "1"]);
    let table = text(&output.stdout);
    let row = table.lines().find(|line| line.starts_with("| kill | none | 1/1 |"));
    let row = row.unwrap_or_else(|| panic!("{table}{}", text(&output.stderr)));
    assert!(row.ends_with("| 0 | 0 |  |"), "nothing lost, doubled or else: {row}");
    assert_eq!(output.status.success(), !row.contains("MISSED"), "the exit code says whether the bar is met: {row}");
}

/// A table that cannot fail proves nothing: what is no node is no room that outlives its supernode.
#[test]
fn what_is_no_node_is_no_success() {
    if !can_run_nodes("what_is_no_node_is_no_success") {
        return;
    }
    let output = netem(&["succession", "--only", "kill", "--nats", "none", "--runs", "1", "--node", "/bin/echo"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}{}", text(&output.stderr));
    assert!(table.contains("| kill | none | 0/1 | never, never, never |"), "{table}");
    assert!(table.contains("the first node did not start"), "{table}");
}

#[test]
fn a_signal_ends_a_scene_and_nothing_of_it_stays() {
    if !can_run_nodes("a_signal_ends_a_scene_and_nothing_of_it_stays") {
        return;
    }
    let arguments = ["succession", "--only", "kill", "--nats", "none"];
    let mut child = Command::new(NETEM).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while namespaces_of(child.id()).is_empty() {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(namespaces_of(child.id()), Vec::<String>::new());
}
