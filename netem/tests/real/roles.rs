//! What these tests run inside the namespaces: this very test program, told by its environment which part it plays.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Where the part is named.
const ROLE: &str = "NETEM_TEST_ROLE";

const PORT: u16 = 7000;

/// After so much silence everything has arrived that will.
const SILENCE: Duration = Duration::from_secs(1);

/// A command for `--far` and scenarios: sends back what it hears.
pub(crate) fn echo() -> String {
    command("echo")
}

/// The same for IPv6.
pub(crate) fn echo_six() -> String {
    command("echo-six")
}

/// A command for `sh -c`: sends so many datagrams to an echo and prints `answers`, how many were `different` from the question, and the
/// shortest `rtt` in microseconds. One question waits for the other's answer only if it is `patient`.
pub(crate) fn ask(to: &str, questions: usize, patience: Patience) -> String {
    command(&format!("ask {to}:{PORT} {questions} {patience:?}"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The next question when the answer has come.
    Waits,
    /// All questions, a few hundred microseconds apart; then the answers.
    Hurries,
}

fn command(role: &str) -> String {
    let program = std::env::current_exe().unwrap();
    // One thread, so that the part begins at once; its printed lines are not captured.
    format!("{ROLE}='{role}' exec {} --exact roles::plays_its_part --nocapture --test-threads=1", program.display())
}

/// A number that `ask` printed.
pub(crate) fn said(output: &str, what: &str) -> u64 {
    let value = output.lines().find_map(|line| line.strip_prefix(&format!("{what} ")));
    value.unwrap_or_else(|| panic!("no {what} in:\n{output}")).parse().unwrap()
}

/// Nothing, unless a part was given.
#[test]
fn plays_its_part() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    match words[..] {
        ["echo"] => play_echo("0.0.0.0"),
        ["echo-six"] => play_echo("::"),
        ["ask", to, questions, patience] => {
            play_ask(to.parse().unwrap(), questions.parse().unwrap(), patience == "Waits")
        }
        _ => panic!("{role}?"),
    }
}

/// Ended by netem; by itself if it was forgotten.
fn play_echo(ip: &str) {
    let socket = UdpSocket::bind((ip, PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut buffer = [0; 2000];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        socket.send_to(&buffer[..length], from).unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn play_ask(to: SocketAddr, questions: usize, waits: bool) {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let (mut answers, mut different, mut shortest) = (0, 0, Duration::MAX);
    let mut buffer = [0; 2000];
    let mut listen = |shortest: &mut Duration, asked: Option<Instant>| {
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { return false };
        answers += 1;
        different += usize::from(buffer[..length] != question());
        *shortest = asked.map_or(*shortest, |asked| asked.elapsed().min(*shortest));
        true
    };
    for _ in 0..questions {
        let asked = Instant::now();
        socket.send_to(&question(), to).unwrap();
        if waits {
            listen(&mut shortest, Some(asked));
        } else {
            std::thread::yield_now();
        }
    }
    while listen(&mut shortest, None) {}
    let report = format!("\nanswers {answers}\ndifferent {different}\nrtt {}\n", shortest.as_micros());
    std::io::stdout().write_all(report.as_bytes()).unwrap();
}

fn question() -> [u8; 100] {
    [0x5a; 100]
}
