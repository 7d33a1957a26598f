//! Real nodes behind NATs. The program under test is another package's: it is built by a build of the workspace.

use crate::harness::{NETEM, can_run, namespaces_of, netem, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) fn can_run_nodes(test: &str) -> bool {
    let node = Path::new(NETEM).with_file_name("node-client");
    let node = node.to_string_lossy();
    // `can_run` looks in the PATH, where an absolute path is itself.
    can_run(test, &["turnserver", &node])
}

#[test]
fn a_public_host_and_one_behind_a_full_cone_find_a_direct_path() {
    if !can_run_nodes("a_public_host_and_one_behind_a_full_cone_find_a_direct_path") {
        return;
    }
    let output = netem(&["matrix", "--kinds", "public,full-cone", "--runs", "1", "--mib", "1"]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    assert!(table.contains("| public × full-cone | yes | 1/1 | 0 | 0 |"), "{table}");
    assert!(table.ends_with(
        "3 pairs, 0 not good. Connected in 3 of 3 runs; direct in 3 of 3 where it is required, in 0 of 0 elsewhere.\n"
    ));
}

/// Through the kernel's own NATs: one pair that meets at the addresses that a server sees, within three round trips, and one that guesses.
#[test]
fn two_behind_nats_of_the_kernel_find_a_direct_path() {
    let name = "two_behind_nats_of_the_kernel_find_a_direct_path";
    if !can_run_nodes(name) || !can_run(name, &["nft"]) {
        return;
    }
    let output =
        netem(&["matrix", "--kernel", "--kinds", "port-restricted,symmetric-512", "--runs", "1", "--mib", "1"]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    for pair in
        ["port-restricted × port-restricted", "port-restricted × symmetric-512", "symmetric-512 × symmetric-512"]
    {
        assert!(table.contains(&format!("| {pair} | yes | 1/1 | 0 | 0 |")), "{table}");
    }
}

/// A table that cannot fail proves nothing: without any time to find a path, none is found.
#[test]
fn a_pair_that_must_be_direct_and_is_not_is_no_success() {
    if !can_run_nodes("a_pair_that_must_be_direct_and_is_not_is_no_success") {
        return;
    }
    let output = netem(&["matrix", "--kinds", "full-cone", "--runs", "1", "--mib", "1", "--patience", "0ms"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}{}", text(&output.stderr));
    assert!(table.contains("NOT GOOD"), "{table}");
}

#[test]
fn a_signal_ends_a_matrix_and_nothing_of_it_stays() {
    if !can_run_nodes("a_signal_ends_a_matrix_and_nothing_of_it_stays") {
        return;
    }
    let mut child = Command::new(NETEM).arg("matrix").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while namespaces_of(child.id()).is_empty() {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(namespaces_of(child.id()), Vec::<String>::new());
}
