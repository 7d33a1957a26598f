//! The options of the command line.

use crate::command_table::{ip, is_broadcast, parse_join};
use crate::harmless::is_harmful;
use anjer::node::api::Command;
use clap::Parser;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// The longest name others are shown, in bytes of UTF-8.
pub(crate) const MAX_NAME_BYTES: usize = 64;

const EXAMPLES: &str = "\
Examples:
  node-client                             asks three questions, then opens a room
  node-client --local --port 5000         a room for this machine and LAN, on port 5000
  node-client --local --join 127.0.0.1:5000 --name ben
                                          joins that room from another terminal
  node-client --join TICKET               joins with a ticket that a member printed with I
  node-client --json < commands           events as JSON lines on stdout, commands from stdin

Type ? in the program for its commands.

Exit codes: 0 after Q, 2 bad arguments, 3 could not bind, 4 the room refused --join,
130 after a second Ctrl-C.";

/// Chat and files among friends, with no server but each other.
#[derive(Clone, Debug, Parser)]
#[command(name = "node-client", version, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Local address to bind; default: the one the system would route from, or 127.0.0.1 with --local
    #[arg(long, value_name = "IP", value_parser = bindable_ip)]
    pub(crate) ip: Option<IpAddr>,

    /// UDP port; 0 or absent: the system chooses
    #[arg(long, value_name = "PORT", value_parser = port, allow_hyphen_values = true)]
    pub(crate) port: Option<u16>,

    /// All nodes are on this machine or LAN: no STUN, no port mapping
    #[arg(long)]
    pub(crate) local: bool,

    /// STUN server, repeatable; replaces the built-in list
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub(crate) stun: Vec<String>,

    /// What others see; default: user name
    #[arg(long, value_name = "NICK", value_parser = nick)]
    pub(crate) name: Option<String>,

    /// The folder that is shared from and downloaded to
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,

    /// Identity, known rooms, partial downloads; default: the XDG state folder, or its next free profile
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Join the room there at start: a ticket, or IP:PORT
    #[arg(long, value_name = "WHERE", value_parser = parse_join)]
    pub(crate) join: Option<Command>,

    /// Admit whoever asks, without A or a ticket
    #[arg(long)]
    pub(crate) open: bool,

    /// Events as one JSON object a line on stdout; no prompt, no colour
    #[arg(long)]
    pub(crate) json: bool,

    /// Diagnostics on stderr: error, warn, info, debug, trace, or a filter such as info,anjer::mrt=trace
    #[arg(long, value_name = "LEVEL", value_parser = log_filter)]
    pub(crate) log: Option<String>,
}

impl Options {
    /// Whether a person sits at both ends of us and `--json` does not say otherwise.
    pub(crate) fn on_a_terminal(&self) -> bool {
        !self.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
    }

    /// Whether nothing was said of where the node is, so that a person is asked.
    pub(crate) const fn leaves_questions(&self) -> bool {
        self.ip.is_none() && self.port.is_none() && !self.local && !self.json
    }
}

/// A UDP port to bind, 0 included.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a number from 0 to 65535".to_owned())
}

/// An address that a socket of ours may be bound to.
pub(crate) fn bindable_ip(text: &str) -> Result<IpAddr, String> {
    let ip = ip(text).ok_or("an address looks like 192.168.1.5 or fd00::5")?;
    if ip.is_multicast() || is_broadcast(ip) {
        return Err("that is not the address of one machine".into());
    }
    Ok(ip)
}

fn host_and_port(text: &str) -> Result<String, String> {
    let wanted = "a server is given as HOST:PORT, for example stun.example.org:3478";
    let (host, port) = text.rsplit_once(':').ok_or(wanted)?;
    let port_fits = port.parse::<u16>().is_ok_and(|port| port != 0);
    let host_fits = !host.is_empty() && !host.chars().any(|c| c.is_whitespace() || is_harmful(c));
    if port_fits && host_fits { Ok(text.to_owned()) } else { Err(wanted.into()) }
}

fn nick(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        Err("a name has at least one character".into())
    } else if name.len() > MAX_NAME_BYTES {
        Err(format!("a name has at most {MAX_NAME_BYTES} bytes"))
    } else if name.chars().any(is_harmful) {
        Err("a name holds no control or invisible characters".into())
    } else {
        Ok(name.to_owned())
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("{error}: give error, warn, info, debug or trace"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, error::ErrorKind};

    fn read(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["node-client"], arguments].concat())
    }

    #[test]
    fn the_definition_holds_together() {
        Options::command().debug_assert();
    }

    #[test]
    fn nothing_given_leaves_the_questions_and_one_answer_silences_them() {
        assert!(read(&[]).expect("no options").leaves_questions());
        for arguments in [&["--ip", "::1"][..], &["--port", "0"], &["--local"], &["--json"]] {
            assert!(!read(arguments).expect("good options").leaves_questions(), "{arguments:?}");
        }
        assert!(read(&["--name", "anna"]).expect("good options").leaves_questions());
    }

    #[test]
    fn each_option_of_the_contract_is_read() {
        let options = read(&[
            "--ip",
            "127.0.0.1",
            "--port",
            "65535",
            "--local",
            "--stun",
            "a:1",
            "--stun",
            "b:2",
            "--name",
            " anna b ",
            "--dir",
            "d",
            "--state",
            "s",
            "--join",
            "127.0.0.1:5",
            "--open",
            "--json",
            "--log",
            "debug",
        ])
        .expect("good options");
        assert_eq!(options.port, Some(65535));
        assert_eq!(options.stun, ["a:1", "b:2"]);
        assert_eq!(options.name.as_deref(), Some("anna b"));
        assert_eq!(options.join, Some(Command::ConnectTo("127.0.0.1:5".parse().expect("an address"))));
        assert!(options.open && options.json && options.local);
    }

    #[test]
    fn bad_arguments_end_with_code_2_and_say_what_is_wanted() {
        for (arguments, wanted) in [
            (&["--port", "65536"][..], "0 to 65535"),
            (&["--port", "-1"], "0 to 65535"),
            (&["--port", "http"], "0 to 65535"),
            (&["--ip", "300.1.1.1"], "an address looks like"),
            (&["--ip", "255.255.255.255"], "not the address of one machine"),
            (&["--stun", "host"], "HOST:PORT"),
            (&["--stun", "host:0"], "HOST:PORT"),
            (&["--name", " "], "at least one character"),
            (&["--name", "a\u{202e}b"], "invisible"),
            (&["--join", "127.0.0.1"], "port is missing"),
            (&["--log", "a=b=c"], "give error, warn"),
        ] {
            let error = read(arguments).expect_err("bad options");
            assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::ValueValidation), "{arguments:?}");
            assert!(error.to_string().contains(wanted), "{arguments:?}: {error}");
        }
        assert_eq!(read(&["--colour"]).expect_err("no such option").exit_code(), 2);
        assert_eq!(read(&["stray"]).expect_err("no such argument").exit_code(), 2);
        assert_eq!(read(&["--help"]).expect_err("help").exit_code(), 0);
    }
}
