//! Nodes that run in a world, are told things and heard.

use super::record::Record;
use super::seen::Seen;
use super::setting::Setting;
use super::world::{Plan, build, stun_servers};
use crate::clock::Clock;
use crate::failure::{Context, Failure};
use crate::signals::Signals;
use crate::world::World;
use core::time::Duration;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
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

/// A node, one of its lives, and what it said when.
type Heard = (usize, usize, Duration, Value);

/// The port of a supernode.
pub(crate) const PORT: u16 = 7000;

/// A world with nodes in it, by the number of their hosts. Everything is gone when it is dropped.
pub(crate) struct Room<'a> {
    pub(crate) world: World,
    nodes: Vec<Node>,
    heard: Receiver<Heard>,
    sender: Sender<Heard>,
    pub(crate) clock: Clock,
    setting: Setting,
    signals: &'a Signals,
    folder: Folder,
    stun: Option<Server>,
    label: String,
}

struct Node {
    name: &'static str,
    running: Option<(Child, ChildStdin)>,
    seen: Seen,
    /// One for each time that it was started.
    lives: Vec<Record>,
}

impl<'a> Room<'a> {
    /// A world without nodes yet.
    pub(crate) fn build(
        label: &str,
        plans: &[Plan],
        seed: u64,
        setting: impl Into<Setting>,
        signals: &'a Signals,
    ) -> Result<Self, Failure> {
        let setting = setting.into();
        let (world, stun) = build(label, plans, seed, &setting, signals)?;
        let stun = stun.map(Server);
        let folder = Folder::create(label)?;
        let nodes = plans.iter().map(|plan| Node::new(plan.name)).collect();
        let (sender, heard) = channel();
        let (clock, label) = (Clock::start(), label.into());
        Ok(Self { world, nodes, heard, sender, clock, setting, signals, folder, stun, label })
    }

    /// Starts a node on the host of this number: for the first time, or again with the same identity after it has ended.
    pub(crate) fn start(&mut self, number: usize, arguments: &[&str]) -> Result<(), Failure> {
        let Some(node) = self.nodes.get_mut(number) else { return Err(Failure::new("no such host")) };
        let files = self.folder.0.join(node.name);
        fs::create_dir_all(&files).context(|| files.display().to_string())?;
        let mut command = Command::new(self.setting.program()?);
        command.args(["--json", "--name", node.name, "--dir"]).arg(&files);
        command.arg("--state").arg(self.folder.0.join(format!("{}-state", node.name)));
        for server in stun_servers(&self.setting) {
            command.args(["--stun", &server]);
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut log = match &self.setting.logs {
            Some(folder) => {
                fs::create_dir_all(folder).context(|| folder.display().to_string())?;
                let again = if node.lives.is_empty() { String::new() } else { format!("-{}", node.lives.len() + 1) };
                let log = |kind: &str| {
                    let path = folder.join(format!("{}{}{again}.{kind}", self.label, node.name));
                    File::create(&path).context(|| path.display().to_string())
                };
                command.args(["--log", "debug"]).stderr(log("log")?);
                Some(log("json")?)
            }
            None => None,
        };
        let mut child = self.world.spawn(node.name, command)?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).ok_or_else(|| Failure::new("no pipes"))?;
        let life = node.lives.len();
        node.running = Some((child, stdin));
        node.seen = Seen::default();
        node.lives.push(Record::default());
        let (sender, clock) = (self.sender.clone(), self.clock);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let at = clock.now();
                if let Some(log) = &mut log {
                    let _ = writeln!(log, "{line}");
                }
                let event = serde_json::from_str(&line).unwrap_or(Value::Null);
                if sender.send((number, life, at, event)).is_err() {
                    return;
                }
            }
            // Whatever it ended of.
            let _ = sender.send((number, life, clock.now(), serde_json::json!({"event": "bye"})));
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

    /// Sends a signal to a node.
    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        let running = self.nodes.get(number).and_then(|node| node.running.as_ref());
        // Until it is waited for, its id is nobody else's.
        if let Some(pid) = running.and_then(|(child, _)| i32::try_from(child.id()).ok()) {
            let _ = signal::kill(Pid::from_raw(pid), signal);
        }
    }

    /// Ends a node at once.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.end();
        }
    }

    /// What a node has said in each of its lives.
    pub(crate) fn lives(&self, number: usize) -> &[Record] {
        self.nodes.get(number).map_or(&[], |node| &node.lives)
    }

    /// What a node says now.
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
                Ok((number, life, at, event)) => {
                    if let Some(node) = self.nodes.get_mut(number) {
                        node.note(life, at, &event);
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

    /// Ends the nodes without a word, and the world.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        self.nodes.clear();
        self.stun = None;
        self.world.finish().map(drop)
    }

    fn is_running(&self, number: usize) -> bool {
        self.nodes.get(number).is_some_and(|node| node.running.is_some())
    }
}

impl Node {
    fn new(name: &'static str) -> Self {
        Self { name, running: None, seen: Seen::default(), lives: Vec::new() }
    }

    fn note(&mut self, life: usize, at: Duration, event: &Value) {
        if life + 1 == self.lives.len() {
            self.seen.note(at, event);
        }
        if let Some(record) = self.lives.get_mut(life) {
            record.note(at, event);
        }
    }

    /// Ends it, and waits until it has ended.
    fn end(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
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
