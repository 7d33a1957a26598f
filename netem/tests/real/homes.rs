//! The README's two homes on one machine, as a person goes through them: the same script, the same commands.

use crate::harness::can_run;
use crate::pairs::can_run_nodes;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Whoever hears nothing at all for so long waits in vain.
const PATIENCE: Duration = Duration::from_secs(30);

fn node() -> String {
    Path::new(crate::harness::NETEM).with_file_name("node-client").to_string_lossy().into_owned()
}

/// The namespaces, which end with this.
struct Homes(String);

impl Homes {
    fn new() -> Self {
        let homes = Self(format!("anjer-test-{}", std::process::id()));
        homes.script(&[]);
        homes
    }

    fn script(&self, arguments: &[&str]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/two-homes.sh");
        let mut command = Command::new("sh");
        command.arg(script).args(arguments).env("HOMES", &self.0).env("NODE", node());
        // What it leaves running must not keep a pipe of ours open.
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    }

    fn person(&self, place: &str, address: &[&str], name: &str, folder: &Path) -> Person {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{place}", self.0), &node(), "--json", "--port", "7000"]);
        command.args(["--stun", "192.0.2.2:7000", "--name", name, "--dir"]).arg(folder).args(address);
        command.arg("--state").arg(folder.join("state"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (told, events) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap();
                if told.send(event).is_err() {
                    return;
                }
            }
        });
        Person { input: child.stdin.take(), child, events, name: name.to_owned() }
    }
}

impl Drop for Homes {
    fn drop(&mut self) {
        self.script(&["remove"]);
    }
}

/// A client, and what it told.
struct Person {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    events: Receiver<Value>,
}

impl Person {
    fn types(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next event of this kind that is as it should be; those before it are of no interest.
    fn hears(&self, kind: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{} heard no {kind}", self.name));
            if event["event"] == kind && is_it(&event) {
                return event;
            }
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // At the end of its input it quits.
        self.input.take();
        let _ = self.child.wait();
    }
}

#[test]
fn two_homes_on_one_machine_meet_as_the_readme_says() {
    let name = "two_homes_on_one_machine_meet_as_the_readme_says";
    if !can_run_nodes(name) || !can_run(name, &["nft", "ss", "sysctl"]) {
        return;
    }
    let folder = std::env::temp_dir().join(format!("anjer-homes-{}", std::process::id()));
    let folders = ["ann", "ben", "cleo"].map(|name| folder.join(name));
    folders.iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
    let film: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(folders[0].join("film"), &film).unwrap();

    let homes = Homes::new();
    let mut cleo = homes.person("square", &["--ip", "192.0.2.1", "--open"], "cleo", &folders[2]);
    cleo.hears("ready", |_| true);
    let mut ann = homes.person("ann", &[], "ann", &folders[0]);
    let mut ben = homes.person("ben", &[], "ben", &folders[1]);
    for (person, public) in [(&mut ann, "192.0.2.11:7000"), (&mut ben, "192.0.2.12:7000")] {
        let is_told = |event: &Value| event["public"] == public;
        // With `ready`, or a moment later.
        let ready = person.hears("ready", |_| true);
        if !is_told(&ready) {
            person.hears("address", is_told);
        }
        person.types("C 192.0.2.1 7000");
        person.hears("connected", |_| true);
    }
    ann.types("B film");
    ben.hears("offered", |event| event["name"] == "film");
    ben.types("R film");
    ben.hears("saved", |_| true);
    assert_eq!(std::fs::read(folders[1].join("film")).unwrap(), film);

    // Without whoever let them in.
    cleo.types("Q");
    cleo.hears("bye", |_| true);
    ann.types("T still there?");
    ben.hears("chat", |event| event["text"] == "still there?");
    for person in [&mut ann, &mut ben] {
        person.types("Q");
        person.hears("bye", |_| true);
    }
    drop((ann, ben, cleo));

    // Again, and nobody is between them but STUN.
    let mut ann = homes.person("ann", &[], "ann", &folders[0]);
    let mut ben = homes.person("ben", &[], "ben", &folders[1]);
    for person in [&ann, &ben] {
        person.hears("ready", |_| true);
    }
    ann.types("A 192.0.2.12 7000");
    ben.types("C 192.0.2.11 7000");
    ben.hears("connected", |event| event["path"] == "direct");
    ben.types("T hello");
    ann.hears("chat", |event| event["text"] == "hello");
    drop((ann, ben, homes));
    std::fs::remove_dir_all(folder).unwrap();
}
