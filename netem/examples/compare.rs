//! MRT beside quinn and TCP, on this machine's loopback, in one run.
//!
//! `cargo run --release -p netem --example compare [-- ROUNDS [SECONDS]]` builds `mrt-perf` and `quinn_perf`, then runs each of the
//! programs in turn, round after round, and prints a table of medians: goodput, processor time of both ends per GiB, and
//! each end's peak memory. `iperf3` is TCP without encryption: what the machine can move, not a competitor.

use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::read_to_string;
use std::io::{BufRead, BufReader, Read, Write, stdout};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// `USER_HZ`.
const TICKS_A_SECOND: f64 = 100.0;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let seconds: f64 = arguments.next().map_or(Ok(5.0), |text| text.parse())?;
    let folder = build()?;
    let mut results: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for round in 1..=rounds {
        for (name, contestant) in CONTESTANTS {
            match contestant(&folder, seconds) {
                Ok(row) => {
                    say(&format!("round {round}: {name}: {:.0} Mbit/s", row.goodput_mbps))?;
                    results.entry(name).or_default().push(row);
                }
                Err(error) => say(&format!("round {round}: {name}: {error}"))?,
            }
        }
    }
    say(&format!("\n{}\n", environment()))?;
    say(
        "| | goodput, Mbit/s | least … most | CPU s per GiB, sender | receiver | both | peak RSS MiB, sender | receiver |",
    )?;
    say("|---|---|---|---|---|---|---|---|")?;
    for (name, _) in CONTESTANTS {
        let Some(rows) = results.get(name) else { continue };
        let median = |of: fn(&Row) -> f64| median(rows.iter().map(of).collect());
        let goodputs = || rows.iter().map(|row| row.goodput_mbps);
        say(&format!(
            "| {name} | {:.0} | {:.0} … {:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} |",
            median(|row| row.goodput_mbps),
            goodputs().fold(f64::INFINITY, f64::min),
            goodputs().fold(0.0, f64::max),
            median(|row| row.sender.cpu_seconds / row.gib),
            median(|row| row.receiver.cpu_seconds / row.gib),
            median(|row| (row.sender.cpu_seconds + row.receiver.cpu_seconds) / row.gib),
            median(|row| row.sender.peak_mib),
            median(|row| row.receiver.peak_mib),
        ))?;
    }
    Ok(())
}

type Contestant = fn(&Path, f64) -> Result<Row>;

/// In the order of every round.
const CONTESTANTS: [(&str, Contestant); 3] = [("MRT (mrt-perf)", mrt), ("QUIC (quinn)", quinn), ("TCP (iperf3)", tcp)];

/// One run.
struct Row {
    goodput_mbps: f64,
    gib: f64,
    sender: Cost,
    receiver: Cost,
}

/// What a process cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    cpu_seconds: f64,
    peak_mib: f64,
}

fn mrt(folder: &Path, seconds: f64) -> Result<Row> {
    let program = folder.join("mrt-perf");
    let (server, mut out) = start(Command::new(&program).args(["serve", "--listen", "127.0.0.1:0"]))?;
    let (key, address) = (line(&mut out)?, address(&line(&mut out)?)?);
    let seconds = seconds.to_string();
    let sender =
        Command::new(&program).args(["send", &address, "--seconds", &seconds, "--key", &key, "--json"]).piped()?;
    measure(server, sender, |json| Some((number(json, &["goodput_mbps"])?, number(json, &["bytes"])?)))
}

fn quinn(folder: &Path, seconds: f64) -> Result<Row> {
    let program = folder.join("examples/quinn_perf");
    let (server, mut out) = start(Command::new(&program).arg("serve"))?;
    let (certificate, address) = (line(&mut out)?, address(&line(&mut out)?)?);
    let sender =
        Command::new(&program).args(["send", &address, &certificate, "--seconds", &seconds.to_string()]).piped()?;
    measure(server, sender, |json| Some((number(json, &["goodput_mbps"])?, number(json, &["bytes"])?)))
}

fn tcp(_folder: &Path, seconds: f64) -> Result<Row> {
    // iperf3 cannot say which port it was given: one that was just free.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let (server, mut out) =
        start(Command::new("iperf3").args(["-s", "-1", "--forceflush", "-B", "127.0.0.1", "-p", &port]))?;
    // A line of dashes, then "Server listening".
    line(&mut out)?;
    line(&mut out)?;
    let seconds = seconds.to_string();
    let sender = Command::new("iperf3").args(["-c", "127.0.0.1", "-p", &port, "-t", &seconds, "-J"]).piped()?;
    measure(server, sender, |json| {
        let received = number(json, &["end", "sum_received", "bits_per_second"])?;
        Some((received / 1e6, number(json, &["end", "sum_received", "bytes"])?))
    })
}

/// Builds what is measured; the tests' profile would measure nothing.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    for what in [["anjer", "--bin", "mrt-perf"], ["netem", "--example", "quinn_perf"]] {
        let built =
            Command::new(&cargo).current_dir(root).args(["build", "--release", "-q", "-p"]).args(what).status()?;
        if !built.success() {
            return Err("the programs could not be built".into());
        }
    }
    // This program is at target/release/examples.
    Ok(std::env::current_exe()?.ancestors().nth(2).ok_or("no target folder")?.to_owned())
}

fn start(command: &mut Command) -> Result<(Running, BufReader<ChildStdout>)> {
    let mut child = Running(command.piped()?);
    let out = child.0.stdout.take().ok_or("no output")?;
    Ok((child, BufReader::new(out)))
}

/// A process that does not outlive its run.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

trait Piped {
    fn piped(&mut self) -> Result<Child>;
}

impl Piped for Command {
    fn piped(&mut self) -> Result<Child> {
        Ok(self.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
    }
}

/// Waits for the sender, reads its numbers, ends the server. `read`: goodput in Mbit/s, and bytes.
fn measure(server: Running, sender: Child, read: fn(&Value) -> Option<(f64, f64)>) -> Result<Row> {
    let mut sender = Running(sender);
    let (mut sent, mut received) = (Cost::default(), Cost::default());
    let mut out = sender.0.stdout.take().ok_or("no output")?;
    let json = std::thread::spawn(move || {
        let mut json = String::new();
        out.read_to_string(&mut json).map(|_| json)
    });
    let before = waited_for()?;
    while sender.0.try_wait()?.is_none() {
        sent.look(sender.0.id());
        received.look(server.0.id());
        sleep(LOOK);
    }
    // Exact for those who were waited for; the server is looked at while it is there, and does nothing any more.
    sent.cpu_seconds = waited_for()? - before;
    received.look(server.0.id());
    let before = waited_for()?;
    drop(server);
    received.cpu_seconds = waited_for()? - before;
    let json: Value = serde_json::from_str(&json.join().map_err(|_| "the reader panicked")??)?;
    let (goodput_mbps, bytes) = read(&json).ok_or("the sender did not say how it went")?;
    Ok(Row { goodput_mbps, gib: bytes / f64::from(1 << 30), sender: sent, receiver: received })
}

impl Cost {
    fn look(&mut self, process: u32) {
        let status = read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        self.peak_mib = self.peak_mib.max(kib.unwrap_or(0.0) / 1024.0);
    }
}

/// Processor time of all children that were waited for, in seconds (proc(5): fields 16 and 17).
fn waited_for() -> Result<f64> {
    let stat = read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let ticks: f64 = fields.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_A_SECOND)
}

fn line(out: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    out.read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn address(line: &str) -> Result<String> {
    Ok(line.strip_prefix("listening on ").ok_or("the server did not say where it listens")?.to_owned())
}

fn number(json: &Value, path: &[&str]) -> Option<f64> {
    path.iter().try_fold(json, |value, name| value.get(name))?.as_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Where the numbers come from.
fn environment() -> String {
    let field = |path: &str, name: &str| {
        let text = read_to_string(path).unwrap_or_default();
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches([' ', '\t', ':']).to_owned()))
    };
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{cpu}, {cores} cores, Linux {}, load average at the end {}", kernel.trim(), load.trim())
}

fn say(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}")?;
    Ok(stdout().flush()?)
}
