//! Runs of the program, and what it printed.

use std::io::Write;
use std::process::{Command, Output};

/// The program under test.
pub(crate) const NETEM: &str = env!("CARGO_BIN_EXE_netem");

/// Whether this test can run here. If not it has said so, or panicked if it must.
pub(crate) fn can_run(test: &str, tools: &[&str]) -> bool {
    let Some(why) = obstacle(tools) else { return true };
    assert!(std::env::var_os("ANJER_REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"), "{test} must run: {why}");
    // Not by a macro: what those print of a test that passes is not shown.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
    false
}

fn obstacle(tools: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".into());
    }
    if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        return Some(format!("/dev/net/tun: {error}"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = |tool: &str| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    if let Some(missing) = ["ip", "unshare"].iter().chain(tools).find(|tool| !is_installed(tool)) {
        return Some(format!("`{missing}` is not installed"));
    }
    let unshared = Command::new("unshare").args(["--net", "true"]).output();
    (!unshared.is_ok_and(|output| output.status.success())).then(|| "no right to make a network namespace".into())
}

/// Runs it, a minute at most, and gives what it printed.
pub(crate) fn netem(arguments: &[&str]) -> Output {
    Command::new("timeout").arg("60").arg(NETEM).args(arguments).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A number in what netem said of a link: `count(said, "near up", "lost")`. 0 if it is not there.
pub(crate) fn count(said: &str, link: &str, what: &str) -> u64 {
    let prefix = format!("netem: {link}: ");
    let line =
        said.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {link} in:\n{said}"));
    let number = line.split(", ").find_map(|part| part.strip_prefix(what));
    number.map_or(0, |rest| rest.split_whitespace().next().unwrap().parse().unwrap())
}

/// Namespaces of the netem with this process id.
pub(crate) fn namespaces_of(pid: u32) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&format!("netem-{pid}-"))).collect()
}

/// Whether a process is there and is more than a name that nobody has waited for yet.
pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // The state follows the name, which is in parentheses.
    stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}
