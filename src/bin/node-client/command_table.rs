//! The commands: one table that parses what is typed and prints the help.
//!
//! A line is a letter (either case), one blank, and the rest. Names may hold blanks; a name that begins or ends with one, or
//! holds ` as `, is put in double quotes. Without quotes the *last* ` as ` of an `R` line divides name from path.

use crate::harmless::cut;
use anjer::node::api::{Command, ErrorCode, Event};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The shortest thing after `C` that is taken for a ticket: tickets hold keys and addresses, so they are far longer.
const SHORTEST_TICKET: usize = 20;

/// Columns of a person's own words that a message repeats.
const QUOTED_COLUMNS: usize = 40;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Something for the room.
    Command(Command),
    /// The table of commands.
    Help,
    /// An empty line.
    Nothing,
}

/// What was wrong with a line, and what to type instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The command's letter, if there is such a command.
    pub(crate) letter: Option<char>,
    /// The code for scripts.
    pub(crate) code: ErrorCode,
    /// One line for people.
    pub(crate) message: String,
}

impl From<Mistake> for Event {
    fn from(mistake: Mistake) -> Self {
        Self::Error { command: mistake.letter, code: mistake.code, message: mistake.message }
    }
}

/// One command.
pub(crate) struct Row {
    letter: char,
    /// How it is typed.
    pub(crate) usage: &'static str,
    /// What it does.
    pub(crate) does: &'static str,
    parse: fn(&str) -> Result<Parsed, Problem>,
}

/// Why a row's parser took nothing.
enum Problem {
    /// What was wrong; the row's usage is added.
    Usage(String),
    /// There is no such thing yet.
    NotBuilt,
}

/// Every command, in the order of the help.
#[rustfmt::skip]
pub(crate) static TABLE: &[Row] = &[
    Row { letter: 'C', usage: "C <ip> <port>, C <ip>:<port> or C <ticket>", does: "join the room of the node there", parse: connect },
    Row { letter: 'A', usage: "A <ip> <port> or A <id>", does: "admit whoever comes from there, or asked under that id", parse: admit },
    Row { letter: 'K', usage: "K <id>", does: "put that member out (not built yet)", parse: not_built },
    Row { letter: 'T', usage: "T <message>", does: "say it to everyone", parse: talk },
    Row { letter: 'B', usage: "B <file>", does: "offer a file to everyone", parse: offer },
    Row { letter: 'G', usage: "G", does: "list what is on offer", parse: files },
    Row { letter: 'R', usage: "R <name or hash> [as <path>]", does: "download it (quote a name that holds \" as \")", parse: retrieve },
    Row { letter: 'U', usage: "U <name or hash>", does: "withdraw my offer", parse: withdraw },
    Row { letter: 'P', usage: "P", does: "who is here, in order of succession", parse: peers },
    Row { letter: 'S', usage: "S <words>", does: "search linked rooms (not built yet)", parse: not_built },
    Row { letter: 'L', usage: "L <ticket> or L <ip> <port>", does: "link another room (not built yet)", parse: not_built },
    Row { letter: 'I', usage: "I", does: "print a ticket that admits one more person", parse: invite },
    Row { letter: 'W', usage: "W", does: "why the supernode is who it is", parse: why },
    Row { letter: 'Q', usage: "Q", does: "quit; a supernode hands over first", parse: quit },
    Row { letter: '?', usage: "?", does: "this table", parse: help },
];

/// What a line, without its end, asks for. Any line whatever gives an answer.
pub(crate) fn parse(line: &str) -> Result<Parsed, Mistake> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
    let mut rest = line.chars();
    let Some(typed) = rest.next() else { return Ok(Parsed::Nothing) };
    let argument = rest.as_str();
    let letter = typed.to_ascii_uppercase();
    let row = TABLE.iter().find(|row| row.letter == letter);
    let (Some(row), Some(argument)) = (row, without_one_blank(argument)) else { return Err(unknown(line)) };
    (row.parse)(argument).map_err(|problem| match problem {
        Problem::Usage(what) => {
            Mistake { letter: Some(letter), code: ErrorCode::Usage, message: format!("{what}: type {}", row.usage) }
        }
        Problem::NotBuilt => Mistake {
            letter: Some(letter),
            code: ErrorCode::Unavailable,
            message: format!("{letter} is not built yet; ? lists what is"),
        },
    })
}

/// What `--join` says, as the command that it stands for.
pub(crate) fn parse_join(place: &str) -> Result<Command, String> {
    match connect(place) {
        Ok(Parsed::Command(command)) => Ok(command),
        Err(Problem::Usage(what)) => Err(format!("{what}: give IP:PORT or a ticket")),
        Ok(Parsed::Help | Parsed::Nothing) | Err(Problem::NotBuilt) => Err("give IP:PORT or a ticket".into()),
    }
}

/// The argument after the blank that ends the letter; `None` if something else stands there.
fn without_one_blank(rest: &str) -> Option<&str> {
    let mut characters = rest.chars();
    match characters.next() {
        None => Some(""),
        Some(blank) if blank.is_whitespace() => Some(characters.as_str()),
        Some(_) => None,
    }
}

fn unknown(line: &str) -> Mistake {
    let message = format!(
        "\"{}\" is not a command: a line is a letter, a blank and the rest, as in \"T hello\"; ? lists the letters",
        cut(line.trim_end(), QUOTED_COLUMNS)
    );
    Mistake { letter: None, code: ErrorCode::Usage, message }
}

fn connect(argument: &str) -> Result<Parsed, Problem> {
    let argument = argument.trim();
    if let Some(address) = address(argument)? {
        return Ok(Parsed::Command(Command::ConnectTo(address)));
    }
    if argument.chars().any(char::is_whitespace) || argument.contains(':') || argument.len() < SHORTEST_TICKET {
        return Err(usage(format!("\"{}\" is neither an address nor a ticket", cut(argument, QUOTED_COLUMNS))));
    }
    Ok(Parsed::Command(Command::ConnectWith(argument.to_owned())))
}

fn admit(argument: &str) -> Result<Parsed, Problem> {
    let argument = argument.trim();
    if let Some(address) = address(argument)? {
        return Ok(Parsed::Command(Command::AdmitAddress(address)));
    }
    let id = argument.to_ascii_lowercase();
    // The alphabet of ids: base32hex, RFC 4648 §7.
    let fits =
        id.len() <= anjer::node::identity::ID_TEXT_LEN && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v'));
    if fits {
        Ok(Parsed::Command(Command::AdmitId(id)))
    } else {
        Err(usage(format!("\"{}\" is neither an address nor an id", cut(argument, QUOTED_COLUMNS))))
    }
}

/// Exactly as typed: blanks at either end belong to the message.
fn talk(argument: &str) -> Result<Parsed, Problem> {
    if argument.trim().is_empty() {
        return Err(usage("there is nothing to say".into()));
    }
    Ok(Parsed::Command(Command::Talk(argument.to_owned())))
}

fn offer(argument: &str) -> Result<Parsed, Problem> {
    Ok(Parsed::Command(Command::Offer(PathBuf::from(named(argument, "which file")?))))
}

fn withdraw(argument: &str) -> Result<Parsed, Problem> {
    Ok(Parsed::Command(Command::Withdraw(named(argument, "which offer")?)))
}

fn retrieve(argument: &str) -> Result<Parsed, Problem> {
    let argument = argument.trim();
    let (what, save_as) = match quoted_start(argument) {
        Some((what, "")) => (what.to_owned(), None),
        Some((what, rest)) => match rest.strip_prefix(" as ") {
            Some(path) => (what.to_owned(), Some(path)),
            None => return Err(usage("after the quoted name comes nothing, or as and a path".into())),
        },
        None => match argument.rsplit_once(" as ") {
            Some((what, path)) if !what.trim().is_empty() => (what.trim().to_owned(), Some(path)),
            _ if argument == "as" || argument.starts_with("as ") || argument.ends_with(" as") => {
                return Err(usage("the name or the path is missing; a name that holds as is quoted".into()));
            }
            _ => (argument.to_owned(), None),
        },
    };
    if what.is_empty() {
        return Err(usage("the name or hash is missing".into()));
    }
    let save_as = save_as.map(|path| named(path, "the path after as")).transpose()?.map(PathBuf::from);
    Ok(Parsed::Command(Command::Retrieve { what, save_as }))
}

fn files(argument: &str) -> Result<Parsed, Problem> {
    alone(argument, Parsed::Command(Command::Files))
}

fn peers(argument: &str) -> Result<Parsed, Problem> {
    alone(argument, Parsed::Command(Command::Peers))
}

fn invite(argument: &str) -> Result<Parsed, Problem> {
    alone(argument, Parsed::Command(Command::Invite))
}

fn why(argument: &str) -> Result<Parsed, Problem> {
    alone(argument, Parsed::Command(Command::Why))
}

fn quit(argument: &str) -> Result<Parsed, Problem> {
    alone(argument, Parsed::Command(Command::Quit))
}

fn help(_argument: &str) -> Result<Parsed, Problem> {
    Ok(Parsed::Help)
}

fn not_built(_argument: &str) -> Result<Parsed, Problem> {
    Err(Problem::NotBuilt)
}

/// For commands that take nothing: a stray argument is more likely a slip than a wish.
fn alone(argument: &str, parsed: Parsed) -> Result<Parsed, Problem> {
    if argument.trim().is_empty() { Ok(parsed) } else { Err(usage("nothing follows this letter".into())) }
}

/// A name or path: trimmed, or exactly what stands between quotes.
fn named(argument: &str, what: &str) -> Result<String, Problem> {
    let argument = argument.trim();
    let name = match quoted_start(argument) {
        Some((name, "")) => name,
        _ => argument,
    };
    if name.is_empty() { Err(usage(format!("{what} is missing"))) } else { Ok(name.to_owned()) }
}

/// What stands between the double quotes that `text` begins with, and what follows.
fn quoted_start(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('"')?.split_once('"')
}

/// `ip port` or `ip:port`, with IPv6 in brackets where a colon follows. `None`: this does not look like an address.
fn address(argument: &str) -> Result<Option<SocketAddr>, Problem> {
    let words: Vec<&str> = argument.split_whitespace().take(3).collect();
    let address = match words.as_slice() {
        [] => return Err(usage("what comes after the letter is missing".into())),
        [one] => match one.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) if ip(one).is_some() => return Err(usage("the port is missing".into())),
            Err(_) => match one.rsplit_once(':') {
                // An address with a port that is none is a slip in the port, not a ticket.
                Some((host, digits)) if ip(host).is_some() => SocketAddr::new(host_ip(host)?, port(digits)?),
                _ => return Ok(None),
            },
        },
        [host, digits] => SocketAddr::new(host_ip(host)?, port(digits)?),
        _ => return Ok(None),
    };
    match address {
        address if address.port() == 0 => Err(usage("port 0 is nobody's: a port is a number from 1 to 65535".into())),
        address if address.ip().is_unspecified() || address.ip().is_multicast() || is_broadcast(address.ip()) => {
            Err(usage(format!("{} is not the address of one node", address.ip())))
        }
        address => Ok(Some(address)),
    }
}

fn host_ip(text: &str) -> Result<IpAddr, Problem> {
    ip(text).ok_or_else(|| usage(format!("\"{}\" is not an IP address", cut(text, QUOTED_COLUMNS))))
}

/// An IP address, IPv6 with or without brackets.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

fn port(text: &str) -> Result<u16, Problem> {
    text.parse().map_err(|_| {
        usage(format!("\"{}\" is not a port, which is a number from 1 to 65535", cut(text, QUOTED_COLUMNS)))
    })
}

/// 255.255.255.255, which no single host has.
pub(crate) fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

const fn usage(what: String) -> Problem {
    Problem::Usage(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command(line: &str) -> Command {
        match parse(line) {
            Ok(Parsed::Command(command)) => command,
            other => panic!("{line:?} gave {other:?}"),
        }
    }

    fn mistake(line: &str) -> Mistake {
        parse(line).expect_err(line)
    }

    fn retrieve(what: &str, save_as: Option<&str>) -> Command {
        Command::Retrieve { what: what.into(), save_as: save_as.map(PathBuf::from) }
    }

    #[test]
    fn letters_count_in_either_case() {
        for row in TABLE {
            let lower = row.letter.to_ascii_lowercase();
            let upper_answer = parse(&row.letter.to_string());
            assert_eq!(parse(&lower.to_string()), upper_answer, "{lower}");
        }
        assert_eq!(command("q"), Command::Quit);
    }

    #[test]
    fn each_row_answers_to_the_letter_that_its_command_reports() {
        for line in ["C 127.0.0.1 1", "A 0a", "T x", "B x", "G", "R x", "U x", "P", "I", "W", "Q"] {
            assert_eq!(Some(command(line).letter()), line.chars().next());
        }
    }

    #[test]
    fn an_address_is_typed_in_any_of_its_forms() {
        let v4: SocketAddr = "127.0.0.1:5000".parse().expect("an address");
        let v6: SocketAddr = "[::1]:5000".parse().expect("an address");
        for line in ["C 127.0.0.1 5000", "c 127.0.0.1:5000", "  C   127.0.0.1\t5000  "] {
            assert_eq!(command(line), Command::ConnectTo(v4));
        }
        for line in ["C ::1 5000", "C [::1]:5000", "C [::1] 5000"] {
            assert_eq!(command(line), Command::ConnectTo(v6));
        }
        assert_eq!(command("A 127.0.0.1:5000"), Command::AdmitAddress(v4));
        assert_eq!(command("A 0123ABCV"), Command::AdmitId("0123abcv".into()));
        assert_eq!(command("C anjer1aaaabbbbccccddddeeee"), Command::ConnectWith("anjer1aaaabbbbccccddddeeee".into()));
    }

    #[test]
    fn a_slip_in_an_address_says_which_part_is_wrong() {
        for (line, part) in [
            ("C", "missing"),
            ("C 127.0.0.1", "port is missing"),
            ("C 127.0.0.1 70000", "\"70000\" is not a port"),
            ("C 127.0.0.1:70000", "\"70000\" is not a port"),
            ("C 127.0.0.1:-1", "\"-1\" is not a port"),
            ("C 127.0.0.1 0", "port 0"),
            ("C 300.0.0.1 5000", "\"300.0.0.1\" is not an IP address"),
            ("C 0.0.0.0 5000", "not the address of one node"),
            ("C 224.0.0.1 5000", "not the address of one node"),
            ("C localhost:5000", "neither an address nor a ticket"),
            ("C 1 2 3", "neither an address nor a ticket"),
            ("A xyz", "neither an address nor an id"),
        ] {
            let mistake = mistake(line);
            assert_eq!(mistake.code, ErrorCode::Usage, "{line}");
            assert!(mistake.message.contains(part), "{line}: {}", mistake.message);
            assert!(mistake.message.contains("type "), "{line} does not say what to type: {}", mistake.message);
        }
    }

    #[test]
    fn a_message_is_kept_exactly_as_typed_after_one_blank() {
        assert_eq!(command("T hello"), Command::Talk("hello".into()));
        assert_eq!(command("t  two  blanks \r\n"), Command::Talk(" two  blanks ".into()));
        assert_eq!(mistake("T").letter, Some('T'));
        assert_eq!(mistake("T   ").code, ErrorCode::Usage);
    }

    #[test]
    fn names_hold_blanks_and_quotes_protect_the_word_as() {
        assert_eq!(command("R my holiday.jpg"), retrieve("my holiday.jpg", None));
        assert_eq!(command("R my holiday.jpg as a b.jpg"), retrieve("my holiday.jpg", Some("a b.jpg")));
        // The last one divides: what is offered is more often oddly named than the place it goes to.
        assert_eq!(command("R as you like it as play.txt"), retrieve("as you like it", Some("play.txt")));
        assert_eq!(command("R x as y as z"), retrieve("x as y", Some("z")));
        assert_eq!(command("R \"save as draft.txt\""), retrieve("save as draft.txt", None));
        assert_eq!(command("R \"x as y\" as \" z \""), retrieve("x as y", Some(" z ")));
        assert_eq!(command("R asparagus"), retrieve("asparagus", None));
        assert_eq!(command("R 日本語 as やま"), retrieve("日本語", Some("やま")));
        assert_eq!(command("B \" odd \""), Command::Offer(" odd ".into()));
        assert_eq!(command("B a b/c d.txt "), Command::Offer("a b/c d.txt".into()));
        assert_eq!(command("U my file"), Command::Withdraw("my file".into()));
        for line in ["R", "R as", "R as x", "R x as", "R x as ", "R \"\"", "R \"x\" y", "B", "B \"\"", "U "] {
            assert_eq!(mistake(line).code, ErrorCode::Usage, "{line}");
        }
    }

    #[test]
    fn what_is_not_built_says_so_instead_of_answering() {
        for line in ["K 0a", "S words", "L 127.0.0.1 1", "k", "s", "l"] {
            assert_eq!(mistake(line).code, ErrorCode::Unavailable, "{line}");
            assert!(mistake(line).letter.is_some());
        }
    }

    #[test]
    fn anything_else_is_no_command() {
        assert_eq!(parse(""), Ok(Parsed::Nothing));
        assert_eq!(parse(" \t "), Ok(Parsed::Nothing));
        assert_eq!(parse("?"), Ok(Parsed::Help));
        assert_eq!(parse("? C"), Ok(Parsed::Help));
        for line in ["hello", "X", "Quit", "Tea at five?", "Q now", "/quit", "é x"] {
            assert_eq!(mistake(line).code, ErrorCode::Usage, "{line}");
        }
        assert_eq!(mistake("hello").letter, None);
        assert!(mistake("hello").message.contains("T hello"));
    }

    proptest! {
        #[test]
        fn any_line_gives_an_answer_and_a_mistake_is_one_short_line(line in any::<String>()) {
            if let Err(mistake) = parse(&line) {
                prop_assert!(!mistake.message.chars().any(char::is_control));
                prop_assert!(mistake.message.chars().count() < 300);
            }
        }

        #[test]
        fn so_does_any_argument_of_any_letter(letter in "[CAKTBGRUPSLIWQcatr?]", argument in any::<String>()) {
            let _ = parse(&format!("{letter} {argument}"));
        }

        #[test]
        fn so_does_anything_that_nearly_is_an_address(argument in "[0-9a-f:.\\[\\] \"]{0,30}( as )?[0-9\"]{0,6}") {
            for letter in ["C", "A", "R", "B"] {
                let _ = parse(&format!("{letter} {argument}"));
            }
        }
    }
}
