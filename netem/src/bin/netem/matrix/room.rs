//! Nodes that run in a world, are told things and heard.

use super::options::Options;
use super::seen::Seen;
use super::world::{Plan, build, stun_servers};
use crate::clock::Clock;
use crate::failure::{Context, Failure};
use crate::signals::Signals;
use crate::world::World;
use core::time::Duration;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

/// How often it is looked whether a signal asks to end.
const LOOK: Duration = Duration::from_millis(50);

/// How long a node may take to say goodbye before it is ended.
const UNTIL_BYE: Duration = Duration::from_secs(5);

/// Who, when, what.
type Heard = (usize, Duration, Value);

/// The port of a supernode.
pub(crate) const PORT: u16 = 7000;

/// A world with nodes in it, by the number of their hosts. Everything is gone when it is dropped.
pub(crate) struct Room<'a> {
    pub(crate) world: World,
    nodes: Vec<Node>,
    heard: Receiver<Heard>,
    sender: Sender<Heard>,
    pub(crate) clock: Clock,
    options: &'a Options,
    signals: &'a Signals,
    folder: Folder,
    stun: Option<Server>,
    label: String,
}

struct Node {
    name: &'static str,
    running: Option<(Child, ChildStdin)>,
    seen: Seen,
}

impl<'a> Room<'a> {
    /// A world without nodes yet.
    pub(crate) fn build(
        label: &str,
        plans: &[Plan],
        seed: u64,
        options: &'a Options,
        signals: &'a Signals,
    ) -> Result<Self, Failure> {
        let (world, stun) = build(label, plans, seed, options, signals)?;
        let stun = stun.map(Server);
        let folder = Folder::create(label)?;
        let nodes = plans.iter().map(|plan| Node { name: plan.name, running: None, seen: Seen::default() }).collect();
        let (sender, heard) = channel();
        let (clock, label) = (Clock::start(), label.into());
        Ok(Self { world, nodes, heard, sender, clock, options, signals, folder, stun, label })
    }

    /// Starts a node on the host of this number.
    pub(crate) fn start(&mut self, number: usize, arguments: &[&str]) -> Result<(), Failure> {
        let Some(node) = self.nodes.get_mut(number) else { return Err(Failure::new("no such host")) };
        let files = self.folder.0.join(node.name);
        fs::create_dir_all(&files).context(|| files.display().to_string())?;
        let mut command = Command::new(program(self.options)?);
        command.args(["--json", "--name", node.name, "--dir"]).arg(&files);
        command.arg("--state").arg(self.folder.0.join(format!("{}-state", node.name)));
        for server in stun_servers(self.options) {
            command.args(["--stun", &server]);
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut log = match &self.options.logs {
            Some(folder) => {
                fs::create_dir_all(folder).context(|| folder.display().to_string())?;
                let log = |kind: &str| {
                    let path = folder.join(format!("{}{}.{kind}", self.label, node.name));
                    File::create(&path).context(|| path.display().to_string())
                };
                command.args(["--log", "debug"]).stderr(log("log")?);
                Some(log("json")?)
            }
            None => None,
        };
        let mut child = self.world.spawn(node.name, command)?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).ok_or_else(|| Failure::new("no pipes"))?;
        node.running = Some((child, stdin));
        let (sender, clock) = (self.sender.clone(), self.clock);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let at = clock.now();
                if let Some(log) = &mut log {
                    let _ = writeln!(log, "{line}");
                }
                let event = serde_json::from_str(&line).unwrap_or(Value::Null);
                if sender.send((number, at, event)).is_err() {
                    return;
                }
            }
            // Whatever it ended of.
            let _ = sender.send((number, clock.now(), serde_json::json!({"event": "bye"})));
        });
        Ok(())
    }

    /// Types a line.
    pub(crate) fn tell(&mut self, number: usize, line: &str) {
        if let Some((_, stdin)) = self.nodes.get_mut(number).and_then(|node| node.running.as_mut()) {
            // One that has ended is noticed by its silence.
            let _ = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        }
    }

    /// What a node has said so far.
    pub(crate) fn seen(&self, number: usize) -> &Seen {
        static NOTHING: std::sync::LazyLock<Seen> = std::sync::LazyLock::new(Seen::default);
        self.nodes.get(number).map_or(&NOTHING, |node| &node.seen)
    }

    /// Listens until something holds, or this long. Says whether it holds.
    pub(crate) fn wait(&mut self, at_most: Duration, condition: impl Fn(&Self) -> bool) -> Result<bool, Failure> {
        let deadline = self.clock.now() + at_most;
        loop {
            if condition(self) {
                return Ok(true);
            }
            if self.signals.ending().is_some() {
                return Err(Failure::new("interrupted"));
            }
            if self.world.has_failed() {
                return Err(Failure::new("packets are not carried any more"));
            }
            let left = deadline.saturating_sub(self.clock.now());
            if left.is_zero() {
                return Ok(false);
            }
            match self.heard.recv_timeout(left.min(LOOK)) {
                Ok((number, at, event)) => {
                    if let Some(node) = self.nodes.get_mut(number) {
                        node.seen.note(at, &event);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => (),
            }
        }
    }

    /// Where a node shares from and saves to.
    pub(crate) fn files(&self, number: usize) -> PathBuf {
        self.folder.0.join(self.nodes.get(number).map_or("", |node| node.name))
    }

    /// Ends the nodes and the world.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let running: Vec<usize> = (0..self.nodes.len()).filter(|number| self.is_running(*number)).collect();
        // The supernode last: nobody needs to be elected.
        running.iter().rev().for_each(|number| self.tell(*number, "Q"));
        self.wait(UNTIL_BYE, |room| running.iter().all(|number| room.seen(*number).has_ended))?;
        for place in &self.world.hosts {
            place.namespace.end_processes();
        }
        self.nodes.clear();
        self.stun = None;
        self.world.finish().map(drop)
    }

    fn is_running(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(|node| node.running.is_some())
    }
}

/// Ended, and waited for.
impl Drop for Node {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A server in the world, ended and waited for when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program under test.
pub(crate) fn program(options: &Options) -> Result<PathBuf, Failure> {
    let beside = || -> Option<PathBuf> { Some(std::env::current_exe().ok()?.parent()?.join("node-client")) };
    let path = options.node.clone().or_else(beside).unwrap_or_default();
    if path.is_file() {
        return Ok(path);
    }
    let why = format!("there is no {}: `cargo build -p anjer --bins` in the same profile, or --node", path.display());
    Err(Failure::new(why))
}

/// A folder of ours, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn create(label: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("netem-{}-{label}", std::process::id()));
        fs::create_dir_all(&path).context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a file of so many bytes that no other has.
pub(crate) fn write_file(path: &Path, bytes: usize, seed: u64) -> Result<(), Failure> {
    let mut state = seed | 1;
    let content: Vec<u8> = (0..bytes.div_ceil(8))
        .flat_map(|_| {
            // xorshift64 (Marsaglia 2003): nothing that compresses, and the same for the same seed.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(bytes)
        .collect();
    fs::write(path, content).context(|| path.display().to_string())
}
