//! MRT through real things: over sockets on loopback, and through `netem run`, which carries the packets of two programs between
//! network namespaces. The same stories that hold in virtual time hold here.
//!
//! Where namespaces or devices cannot be made, a test says SKIPPED and why; with `ANJER_REQUIRE_PRIVILEGED=1` it fails.

#![cfg(target_os = "linux")]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const MRT_PERF: &str = env!("CARGO_BIN_EXE_mrt-perf");

/// `netem`, which cargo builds beside our own programs when the whole workspace is tested. `None`: the test has said that it cannot run.
fn netem(test: &str) -> Option<PathBuf> {
    let program = Path::new(MRT_PERF).with_file_name("netem");
    let Some(why) = obstacle(&program) else { return Some(program) };
    assert!(std::env::var_os("ANJER_REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"), "{test} must run: {why}");
    // Not by a macro: what those print of a test that passes is not shown.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
    None
}

fn obstacle(program: &Path) -> Option<String> {
    if !program.is_file() {
        return Some(format!("{} is not built: test with --workspace", program.display()));
    }
    if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        return Some(format!("/dev/net/tun: {error}"));
    }
    let unshared = Command::new("unshare").args(["--net", "ip", "link"]).output();
    let is_allowed = unshared.is_ok_and(|output| output.status.success());
    (!is_allowed).then(|| "a network namespace cannot be made: not root, or no iproute2".into())
}

/// Sends this much from near to far, and checks that the sender knows that all of it was received.
fn send(program: &Path, options: &[&str], bytes: u64) -> (Output, Value) {
    let serve = format!("exec {MRT_PERF} serve --listen 0.0.0.0:7600");
    let output = Command::new("timeout")
        .arg("60")
        .arg(program)
        .arg("run")
        .args(options)
        .args(["--far", &serve, "--", MRT_PERF, "send", "192.0.2.2:7600", "--json", "--bytes", &bytes.to_string()])
        .output()
        .unwrap();
    let (printed, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{printed}{errors}");
    let report = report(&printed);
    // Acknowledged, which only the receiver can do: acknowledgements are sealed.
    assert_eq!(report["bytes"], bytes, "{printed}{errors}");
    (output, report)
}

/// A number in what netem said of a link. 0 if it is not there.
fn count(said: &str, link: &str, what: &str) -> u64 {
    let prefix = format!("netem: {link}: ");
    let line =
        said.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {link} in:\n{said}"));
    let rest = line.split_once(what).map(|(_, rest)| rest.trim_start());
    rest.map_or(0, |rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap())
}

/// The JSON object with which mrt-perf ends.
fn report(printed: &str) -> Value {
    let line =
        printed.lines().rfind(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no report in:\n{printed}"));
    serde_json::from_str(line).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every byte arrives although one packet in fifty is lost each way; the receiver's device saw all of them, and the link says what it
/// took away.
#[test]
fn two_megabytes_pass_a_link_that_loses_two_per_cent() {
    const BYTES: u64 = 2_000_000;
    let Some(program) = netem("two_megabytes_pass_a_link_that_loses_two_per_cent") else { return };
    let (output, report) = send(&program, &["--delay", "20ms", "--loss", "2%", "--rate", "100mbit"], BYTES);
    let said = text(&output.stderr);
    let sent = count(&said, "near up", "sent");
    let lost = count(&said, "near up", "lost");
    // Some 1400 full packets: 28 losses on average, and 5 are more than four standard deviations away.
    assert!((5..sent / 20).contains(&lost), "{said}");
    let arrived =
        said.lines().find_map(|line| line.strip_prefix("netem: far down: ")?.split_once("delivered ")).unwrap().1;
    let arrived: u64 = arrived.split_once('(').unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
    assert!(arrived > BYTES, "{said}");
    // Nothing was lost but on the link, and what the sender thinks it lost it did: it may have lost a few that were late besides.
    let on_their_way_at_the_end = sent - lost - count(&said, "near up", "delivered");
    assert!(on_their_way_at_the_end < 10, "{said}");
    assert!(report["rtt_min_ms"].as_f64().is_some_and(|rtt| (40.0..60.0).contains(&rtt)), "{report}");
}

/// The same program behind a NAT that gives each remote another port, and behind its provider's.
#[test]
fn a_transfer_starts_behind_two_nats() {
    let Some(program) = netem("a_transfer_starts_behind_two_nats") else { return };
    let (output, _) = send(&program, &["--delay", "5ms", "--nat", "symmetric", "--nat", "cgnat"], 1_000_000);
    let said = text(&output.stderr);
    assert!(said.contains("netem: near NAT: out"), "{said}");
}

/// Ended when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two processes and the kernel's loopback between them: no model at all.
#[test]
fn sixty_four_megabytes_pass_real_loopback_sockets() {
    const BYTES: u64 = 64 << 20;
    let mut command = Command::new(MRT_PERF);
    command.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let [key, address] = lines.take(2).map(Result::unwrap).collect::<Vec<_>>().try_into().unwrap();
    let address = address.strip_prefix("listening on ").unwrap().to_owned();
    let bytes = BYTES.to_string();
    let arguments = ["60", MRT_PERF, "send", &address, "--key", &key, "--bytes", &bytes, "--json"];
    let output = Command::new("timeout").args(arguments).output().unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    assert_eq!(report(&printed)["bytes"], BYTES, "{printed}");
}
