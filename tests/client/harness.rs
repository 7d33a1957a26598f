//! A client under test: the real program, fed and watched through its pipes.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for anything that happens at once on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_node-client");

/// A running client. Dropping it kills it.
pub(crate) struct Client {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<thread::JoinHandle<String>>,
    /// Every event so far, in order. Waiting looks from `seen` on.
    pub(crate) events: Vec<Value>,
    seen: usize,
    /// The folder that it shares, kept until the client is dropped.
    pub(crate) dir: TempDir,
    /// Its state folder.
    pub(crate) state: TempDir,
}

impl Client {
    /// Starts a client of that name and waits until it is ready.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// The same, with more options.
    pub(crate) fn start_with(name: &str, options: &[&str]) -> Self {
        let mut client = Self::spawn(name, options);
        client.wait("ready", |event| event["event"] == "ready");
        client
    }

    /// Starts a client without waiting for anything.
    pub(crate) fn spawn(name: &str, options: &[&str]) -> Self {
        Self::spawn_at(name, folder(), &[&["--local"], options].concat())
    }

    /// Starts a client with that state folder and no option that is not given, but for names and folders.
    pub(crate) fn spawn_at(name: &str, state: TempDir, options: &[&str]) -> Self {
        let dir = folder();
        let mut child = Command::new(PROGRAM)
            .args(["--json", "--name", name, "--dir"])
            .arg(dir.path())
            .arg("--state")
            .arg(state.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("piped");
        let mut stderr = child.stderr.take().expect("piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { name: name.into(), child, stdin, lines, errors: Some(errors), events: Vec::new(), seen: 0, dir, state }
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.type_bytes(format!("{line}\n").as_bytes());
    }

    /// Types bytes.
    pub(crate) fn type_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("not closed");
        stdin
            .write_all(bytes)
            .and_then(|()| stdin.flush())
            .unwrap_or_else(|error| panic!("{} does not read: {error}", self.name));
    }

    /// Ends its input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The next event, from the last one waited for on, that `wanted` accepts.
    pub(crate) fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_within(SOON, what, wanted)
    }

    /// The same, with a deadline of its own.
    pub(crate) fn wait_within(&mut self, limit: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(event) = self.events.get(self.seen) {
                self.seen += 1;
                if wanted(event) {
                    return event.clone();
                }
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.on_stdout(&line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{}: no {what} in {limit:?}; {}", self.name, self.last_events())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait();
                    let errors = self.errors.take().map(|thread| thread.join().unwrap_or_default()).unwrap_or_default();
                    panic!("{}: ended ({status:?}) before {what}; stderr: {errors}; {}", self.name, self.last_events());
                }
            }
        }
    }

    /// Lets time pass and takes what is said meanwhile.
    pub(crate) fn quiet_for(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.on_stdout(&line);
        }
    }

    /// Waits until the room's members are exactly `count`, if they are not by what was told last.
    pub(crate) fn wait_for_members(&mut self, count: usize) -> Value {
        let what = format!("list of {count} members");
        let known = self.events.iter().take(self.seen).rfind(|event| event["event"] == "peers");
        if let Some(known) = known.filter(|event| event["members"].as_array().is_some_and(|list| list.len() == count)) {
            return known.clone();
        }
        self.wait(&what, |event| {
            event["event"] == "peers" && event["members"].as_array().is_some_and(|list| list.len() == count)
        })
    }

    /// Waits for a line of chat with that text.
    pub(crate) fn wait_for_text(&mut self, text: &str) -> Value {
        self.wait(&format!("line {text:?}"), |event| event["event"] == "chat" && event["text"] == text)
    }

    /// Waits for the answer `error` with that code.
    pub(crate) fn wait_for_error(&mut self, letter: Option<&str>, code: &str) -> Value {
        let event = self.wait(&format!("error {code}"), |event| event["event"] == "error");
        assert_eq!((event["command"].as_str(), event["code"].as_str()), (letter, Some(code)), "{event}");
        let message = event["message"].as_str().expect("a message");
        assert!(!message.is_empty() && !message.contains('\n'), "one line: {message:?}");
        event
    }

    /// The texts said so far, in order, `history` left out.
    pub(crate) fn texts(&self) -> Vec<String> {
        let said = self.events.iter().filter(|event| event["event"] == "chat" && event["history"] == false);
        said.map(|event| event["text"].as_str().expect("text").to_owned()).collect()
    }

    /// The events of that kind so far.
    pub(crate) fn events_called(&self, kind: &str) -> Vec<Value> {
        self.events.iter().filter(|event| event["event"] == kind).cloned().collect()
    }

    /// What it said it is.
    pub(crate) fn id(&self) -> String {
        self.ready()["id"].as_str().expect("an id").to_owned()
    }

    /// Where it said it listens.
    pub(crate) fn local(&self) -> SocketAddr {
        self.ready()["local"].as_str().expect("an address").parse().expect("an address")
    }

    /// Its process, for signals and for what the system knows of it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The largest resident memory it ever had, in KiB.
    pub(crate) fn peak_rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    /// `kill -9`: it has no chance to say anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ran");
    }

    /// Waits for `bye` and the end; returns how it ended and what it wrote to stderr.
    pub(crate) fn wait_for_end(mut self) -> (ExitStatus, String) {
        self.wait("bye", |event| event["event"] == "bye");
        self.ended()
    }

    /// Waits for the end, `bye` or not.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = exit_within(&mut self.child, SOON);
        let errors = self.errors.take().expect("not ended before").join().expect("no panic");
        assert!(!errors.contains("panicked"), "{}: {errors}", self.name);
        (status, errors)
    }

    fn on_stdout(&mut self, line: &str) {
        let event: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: not JSON ({error}): {line}", self.name));
        assert!(event["event"].is_string() && event["t"].is_u64(), "every line has event and t: {line}");
        self.events.push(event);
    }

    fn ready(&self) -> &Value {
        self.events.iter().find(|event| event["event"] == "ready").expect("waited for")
    }

    fn last_events(&self) -> String {
        let from = self.events.len().saturating_sub(12);
        let events: Vec<String> = self.events[from..].iter().map(ToString::to_string).collect();
        format!("the last events: {}", events.join("\n  "))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clients in one room, the first its supernode, all of them in everybody's list.
pub(crate) fn room(names: &[&str]) -> Vec<Client> {
    let mut clients: Vec<Client> = Vec::new();
    for name in names {
        let mut client = Client::start(name);
        if let Some(first) = clients.first() {
            let to = first.local();
            client.type_line(&format!("C {} {}", to.ip(), to.port()));
            client.wait("connected", |event| event["event"] == "connected");
        }
        clients.push(client);
        let count = clients.len();
        for client in &mut clients {
            client.wait_for_members(count);
        }
    }
    clients
}

/// A folder that goes away by itself.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Waits for a process, and kills one that does not end.
pub(crate) fn exit_within(child: &mut Child, limit: Duration) -> ExitStatus {
    let pid = child.id();
    let (finished, done) = channel::<()>();
    // The waiting itself has no deadline, so another thread keeps it.
    let watchdog = thread::spawn(move || {
        let late = done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if late {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        late
    });
    let status = child.wait().expect("it ran");
    let _ = finished.send(());
    assert!(!watchdog.join().expect("no panic"), "it did not end in {limit:?}");
    status
}

/// Writes a file of `size` bytes that no two places of look alike, and returns where it is.
pub(crate) fn write_file(folder: &Path, name: &str, size: usize) -> PathBuf {
    let path = folder.join(name);
    let mut content = vec![0; size];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut content);
    std::fs::write(&path, content).expect("written");
    path
}

/// A file's hash, as events give it.
pub(crate) fn hash_of(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(path).expect("it is there"), &mut hasher).expect("it can be read");
    hasher.finalize().to_hex().to_string()
}
