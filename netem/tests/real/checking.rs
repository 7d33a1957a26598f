//! A STUN client that somebody else wrote says what the NATs are.

use crate::harness::{can_run, netem, text};

const TOOLS: [&str; 2] = ["turnserver", "turnutils_natdiscovery"];

#[test]
fn every_nat_of_ours_is_found_to_be_what_it_says() {
    if !can_run("every_nat_of_ours_is_found_to_be_what_it_says", &TOOLS) {
        return;
    }
    let output = netem(&["check"]);
    let table = text(&output.stdout);
    assert!(output.status.success() && table.ends_with("27 NATs, 0 different\n"), "{table}{}", text(&output.stderr));
}

#[test]
fn every_nat_of_the_kernel_is_found_to_be_what_it_is_meant_to_be() {
    let test = "every_nat_of_the_kernel_is_found_to_be_what_it_is_meant_to_be";
    if !can_run(test, &[&TOOLS[..], &["nft"]].concat()) {
        return;
    }
    let output = netem(&["check", "--kernel"]);
    let table = text(&output.stdout);
    assert!(output.status.success() && table.ends_with("10 NATs, 0 different\n"), "{table}{}", text(&output.stderr));
}

/// A check that cannot fail proves nothing: one expectation is made wrong on purpose.
#[test]
fn a_nat_that_is_something_else_is_noticed() {
    if !can_run("a_nat_that_is_something_else_is_noticed", &[&TOOLS[..], &["nft"]].concat()) {
        return;
    }
    let output = netem(&["check", "--kernel", "--plant"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}{}", text(&output.stderr));
    assert!(table.contains("DIFFERENT") && table.ends_with("10 NATs, 1 different\n"), "{table}");
}
