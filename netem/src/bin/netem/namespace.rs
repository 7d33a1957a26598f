//! A network namespace with a name of ours: made, entered, and removed with everything that runs in it.

use crate::clock::Clock;
use crate::failure::{Context, Failure};
use core::time::Duration;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How the names of all our namespaces begin; our process id follows.
const PREFIX: &str = "netem-";

/// Where iproute2 keeps named namespaces.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// How long what runs in a namespace may take to end after SIGTERM, and then after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(1);
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// Removed, with the processes in it, when dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// An empty one, its loopback up, without IPv6.
    pub(crate) fn create(host: &str) -> Result<Self, Failure> {
        let name = format!("{PREFIX}{}-{host}", std::process::id());
        tool("ip", &["netns", "add", &name], "")?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        // Unless a host is given an address of IPv6, router solicitations would only blur the counters. A kernel without IPv6 has no such file.
        namespace.inside(|| {
            for which in ["all", "default"] {
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
            }
            Ok(())
        })?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs lines of `ip` in it.
    pub(crate) fn ip(&self, lines: &str) -> Result<(), Failure> {
        tool("ip", &["-n", &self.name, "-batch", "-"], lines)
    }

    /// Calls a function on a thread that has entered the namespace. What it opens or starts belongs there.
    pub(crate) fn inside<T: Send>(&self, what: impl FnOnce() -> io::Result<T> + Send) -> Result<T, Failure> {
        let enter = || {
            setns(File::open(self.path())?, CloneFlags::CLONE_NEWNET)?;
            what()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .map_err(|_| Failure::new(format!("a thread in {} panicked", self.name)))?
            .context(|| format!("in the namespace {}", self.name))
    }

    /// Ends what runs in it: politely, then not.
    pub(crate) fn end_processes(&self) {
        let clock = Clock::start();
        let mut told: Vec<Pid> = Vec::new();
        loop {
            let running = processes_in(&self.path());
            if running.is_empty() || clock.now() > LAST_PATIENCE {
                return;
            }
            for pid in running {
                if clock.now() > PATIENCE {
                    let _ = kill(pid, Signal::SIGKILL);
                } else if !told.contains(&pid) {
                    let _ = kill(pid, Signal::SIGTERM);
                    told.push(pid);
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.end_processes();
        // Nobody is left to be told. The next start tries again.
        let _ = tool("ip", &["netns", "delete", &self.name], "");
    }
}

/// Removes what a run that was killed has left: namespaces whose name has the id of a process that is not there, or is no netem.
pub(crate) fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(DIRECTORY) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(pid) = owner(&name) else { continue };
        let is_alive = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == "netem");
        if !is_alive {
            drop(Namespace { name });
        }
    }
}

/// Whose namespace this is, by its name. `None`: nobody's of ours.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// Processes whose network namespace is the one at `path`.
fn processes_in(path: &Path) -> Vec<Pid> {
    let Ok(wanted) = fs::metadata(path) else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // A process that has ended and was not waited for has no namespace.
    pids.filter(|pid| {
        fs::metadata(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|its| (its.dev(), its.ino()) == (wanted.dev(), wanted.ino()))
    })
    .map(Pid::from_raw)
    .collect()
}

/// Runs a tool with this input in a namespace.
pub(crate) fn tool_in(namespace: &Namespace, program: &str, arguments: &[&str], input: &str) -> Result<(), Failure> {
    let mut all = vec!["netns", "exec", namespace.name(), program];
    all.extend(arguments);
    tool("ip", &all, input)
}

/// Runs a tool with this input, and says what it said if it fails.
pub(crate) fn tool(program: &str, arguments: &[&str], input: &str) -> Result<(), Failure> {
    let what = || format!("{program} {}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in the terminal is for us: what is being set up or torn down is not left half done.
        .process_group(0)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::new(format!("`{program}` is not installed")),
            _ => Failure::new(format!("{}: {error}", what())),
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).context(what)?;
    }
    let output = child.wait_with_output().context(what)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{}: {}", what(), said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_have_an_owner() {
        assert_eq!(owner("netem-123-near"), Some(123));
        for name in ["netem", "netem-", "netem-near", "netem-x-near", "other-123-near", "netem-123"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }
}
