//! What a person sees of an event: lines of text, a function of the events so far.
//!
//! Everything that comes from others passes [`harmless`] or [`cut`] here.

use crate::command_table::TABLE;
use crate::harmless::{cut, harmless};
use crate::progress::Progress;
use crate::{table, units};
use anjer::node::api::{Event, FileListing, Member, NatKind, Offered, Path, RankExplained, Role, Succession};
use anjer::node::identity::NodeId;
use std::collections::BTreeMap;

/// Columns of a member's name.
const NAME_COLUMNS: usize = 24;

/// Columns of a file's name.
const FILE_COLUMNS: usize = 40;

/// Digits of a hash that are shown: enough to be typed after `R`, and to be alone.
const HASH_DIGITS: usize = 12;

/// The screen of one person.
#[derive(Debug)]
pub(crate) struct Screen {
    colours: bool,
    me: Option<NodeId>,
    /// The members as last heard, to tell who came and who went.
    members: BTreeMap<NodeId, String>,
    /// `P` was typed and its answer is still to come.
    members_wanted: bool,
    progress: Progress,
}

/// What a colour means.
#[derive(Clone, Copy)]
enum Ink {
    /// Somebody's name.
    Name,
    /// What the program says by itself.
    News,
    /// Something went wrong.
    Trouble,
}

impl Screen {
    /// An empty screen.
    pub(crate) fn new(colours: bool) -> Self {
        Self { colours, me: None, members: BTreeMap::new(), members_wanted: false, progress: Progress::default() }
    }

    /// The next list of members answers a `P`: it is shown whole.
    pub(crate) const fn expect_members(&mut self) {
        self.members_wanted = true;
    }

    /// The lines to show for `event`, which came `t` milliseconds after the start; none if it is not worth any.
    pub(crate) fn lines(&mut self, event: &Event, t: u64) -> Vec<String> {
        match event {
            Event::Ready { id, name, local, public, nat } => {
                self.me = Some(*id);
                let mut lines = vec![self.news(format!("You are {} ({id}) at {local}.", cut(name, NAME_COLUMNS)))];
                if public.is_some() || nat.is_some() {
                    lines.push(self.news(seen_by_the_world(*public, *nat)));
                }
                lines.push(self.news(format!(
                    "Others join you with C {} {}; ? lists the commands.",
                    local.ip(),
                    local.port()
                )));
                lines
            }
            Event::Connected { supernode, epoch, path } => {
                vec![self.news(format!(
                    "You are in the room of {} (epoch {epoch}, {}).",
                    self.name(supernode),
                    how(*path)
                ))]
            }
            Event::Supernode { id, epoch, me, reason } => {
                let who = if *me { "You lead".to_owned() } else { format!("{} leads", self.name(id)) };
                vec![self.news(format!("{who} the room (epoch {epoch}): {}.", because(*reason, *me)))]
            }
            Event::Peers { members, .. } => self.members(members),
            Event::Path { id, path, rtt_ms, probes } => {
                let time = rtt_ms.map(|rtt| format!(", {}", units::milliseconds(rtt))).unwrap_or_default();
                vec![self.news(format!("{} is reached {}{time} ({probes} probes).", self.name(id), adverb(*path)))]
            }
            Event::Chat { name, text, history, .. } => {
                let before = if *history { "(earlier) " } else { "" };
                let name = self.paint(Ink::Name, &cut(name, NAME_COLUMNS));
                vec![format!("{before}{name}: {}", harmless(text))]
            }
            Event::Missed { from, to, count } => {
                vec![self.trouble(format!("{count} lines are missing ({from} to {to}): nobody who is here has them."))]
            }
            Event::Address { public, nat } => vec![self.news(seen_by_the_world(*public, *nat))],
            Event::Why { ranking, history } => self.why(ranking, history),
            Event::Alert { code, message } => vec![self.trouble(format!("Alert ({code}): {}", harmless(message)))],
            Event::Offered(offered) => vec![self.offered(offered)],
            Event::Withdrawn(Offered { name, id, .. }) => {
                vec![self.news(format!("{} no longer offers {}.", self.name(id), cut(name, FILE_COLUMNS)))]
            }
            Event::Files { files } => self.files(files),
            Event::Progress { name, hash, bytes, size, .. } => {
                let line = self.progress.on_progress(t, name, *hash, *bytes, *size);
                line.map(|line| self.news(line)).into_iter().collect()
            }
            Event::Saved { name, path, bytes, hash, seconds } => {
                self.progress.forget(*hash);
                let rate =
                    if *seconds > 0.0 { format!(", {:.1} MB/s", *bytes as f64 / 1e6 / seconds) } else { String::new() };
                vec![self.news(format!(
                    "{} is saved as {} ({} in {seconds:.1} s{rate}).",
                    cut(name, FILE_COLUMNS),
                    harmless(&path.to_string_lossy()),
                    units::bytes(*bytes)
                ))]
            }
            Event::Asked { addr, id, name } => {
                vec![
                    self.news(format!(
                        "{} asks to be let in from {addr}: A {id} admits them.",
                        cut(name, NAME_COLUMNS)
                    )),
                ]
            }
            Event::Ticket { ticket } => {
                vec![
                    self.news("This ticket admits one more person, who types C and then:".into()),
                    harmless(ticket).into_owned(),
                ]
            }
            Event::Error { message, .. } => vec![self.trouble(harmless(message).into_owned())],
            Event::Bye => vec![self.news("Bye.".into())],
        }
    }

    /// The table of commands.
    pub(crate) fn help(&self) -> Vec<String> {
        let rows: Vec<Vec<String>> = TABLE.iter().map(|row| vec![row.usage.to_owned(), row.does.to_owned()]).collect();
        table::lines(&rows)
    }

    /// The whole table if it was asked for, else who came and who went.
    fn members(&mut self, members: &[Member]) -> Vec<String> {
        let before = core::mem::replace(
            &mut self.members,
            members.iter().map(|member| (member.id, cut(&member.name, NAME_COLUMNS))).collect(),
        );
        if core::mem::take(&mut self.members_wanted) {
            return members_table(members);
        }
        let came = self.members.iter().filter(|(id, _)| !before.contains_key(id) && Some(**id) != self.me);
        let went = before.iter().filter(|(id, _)| !self.members.contains_key(id) && Some(**id) != self.me);
        let came = came.map(|(id, name)| self.news(format!("{name} ({id}) is here.")));
        came.chain(went.map(|(_, name)| self.news(format!("{name} is gone.")))).collect()
    }

    fn offered(&self, Offered { name, size, hash, id, kind: _ }: &Offered) -> String {
        let (who, name, size) = (self.name(id), cut(name, FILE_COLUMNS), units::bytes(*size));
        let mine = Some(*id) == self.me;
        self.news(match hash {
            None => format!("{who} will offer {name} ({size}) once it is hashed."),
            Some(hash) if mine => format!("{who} offers {name} ({size}, {}).", digits(&hash.to_string())),
            Some(hash) => format!("{who} offers {name} ({size}): R {} fetches it.", digits(&hash.to_string())),
        })
    }

    fn files(&self, files: &[FileListing]) -> Vec<String> {
        if files.is_empty() {
            return vec![self.news("Nothing is on offer. B and a file name offers one.".into())];
        }
        let mut rows = vec![["name", "size", "hash", "held by"].map(str::to_owned).to_vec()];
        rows.extend(files.iter().map(|file| {
            let holders: Vec<String> = file.holders.iter().map(|id| self.name(id)).collect();
            vec![
                cut(&file.name, FILE_COLUMNS),
                units::bytes(file.size),
                digits(&file.hash.to_string()),
                holders.join(", "),
            ]
        }));
        table::lines(&rows)
    }

    fn why(&self, ranking: &[RankExplained], history: &[anjer::node::api::Election]) -> Vec<String> {
        let mut rows = vec![["rank", "name", "id", "terms, in order of weight"].map(str::to_owned).to_vec()];
        rows.extend(ranking.iter().map(|member| {
            let terms = harmless(&member.terms.join(", ")).into_owned();
            vec![member.rank.to_string(), self.name(&member.id), member.id.to_string(), terms]
        }));
        let mut lines = table::lines(&rows);
        for election in history {
            let me = Some(election.supernode) == self.me;
            let after = units::seconds(election.at_ms / 1000);
            let who = if me { "you".to_owned() } else { self.name(&election.supernode) };
            lines.push(format!(
                "  after {after}: epoch {}, led by {who}: {}",
                election.epoch,
                because(election.reason, me)
            ));
        }
        lines
    }

    /// What to call that member: its name if we know it, its id if not.
    fn name(&self, id: &NodeId) -> String {
        self.members.get(id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn news(&self, line: String) -> String {
        self.paint(Ink::News, &line)
    }

    fn trouble(&self, line: String) -> String {
        self.paint(Ink::Trouble, &line)
    }

    fn paint(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Name => "1",
            Ink::News => "2",
            Ink::Trouble => "31",
        };
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn members_table(members: &[Member]) -> Vec<String> {
    let mut rows = vec![["rank", "name", "id", "role", "path", "rtt", "address"].map(str::to_owned).to_vec()];
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    rows.extend(members.iter().map(|member| {
        vec![
            member.rank.to_string(),
            cut(&member.name, NAME_COLUMNS),
            member.id.to_string(),
            match member.role {
                Role::Supernode => "supernode".to_owned(),
                Role::Member => "member".to_owned(),
            },
            or_dash(member.path.map(|path| how(path).to_owned())),
            or_dash(member.rtt_ms.map(units::milliseconds)),
            or_dash(member.addr.map(|address| address.to_string())),
        ]
    }));
    table::lines(&rows)
}

fn seen_by_the_world(public: Option<std::net::SocketAddr>, nat: Option<NatKind>) -> String {
    let address = public.map_or_else(
        || "The world does not see you yet".to_owned(),
        |address| format!("The world sees you at {address}"),
    );
    match nat {
        Some(NatKind::None) => format!("{address}: no NAT."),
        Some(NatKind::Easy) => format!("{address}: an easy NAT."),
        Some(NatKind::Hard) => format!("{address}: a hard NAT."),
        Some(NatKind::Blocked) => format!("{address}: UDP is blocked."),
        None => format!("{address}."),
    }
}

const fn how(path: Path) -> &'static str {
    match path {
        Path::Direct => "direct",
        Path::Relayed => "relayed",
    }
}

const fn adverb(path: Path) -> &'static str {
    match path {
        Path::Direct => "directly",
        Path::Relayed => "through another member",
    }
}

const fn because(reason: Succession, me: bool) -> &'static str {
    match (reason, me) {
        (Succession::First, true) => "you opened it",
        (Succession::First, false) => "they opened it",
        (Succession::Joined, _) => "you joined it",
        (Succession::Quit, _) => "the one before quit",
        (Succession::Lost, _) => "the one before was lost",
        (Succession::Merged, _) => "two halves of a room met",
    }
}

fn digits(hash: &str) -> String {
    hash.chars().take(HASH_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use anjer::node::api::ErrorCode;

    /// What a screen without colours shows of all that, with ids written as ANNA and BEN.
    fn picture(events: &[Event]) -> String {
        let mut screen = Screen::new(false);
        let lines: Vec<String> = events.iter().flat_map(|event| screen.lines(event, 0)).collect();
        named(&lines)
    }

    fn named(lines: &[String]) -> String {
        lines.join("\n").replace(&samples::anna().to_string(), "ANNA").replace(&samples::ben().to_string(), "BEN")
    }

    #[test]
    fn one_of_each_looks_like_this() {
        let picture = picture(&samples::one_of_each());
        let expected = "\
You are anna (ANNA) at 127.0.0.1:5000.
Others join you with C 127.0.0.1 5000; ? lists the commands.
You are in the room of BEN (epoch 3, direct).
BEN leads the room (epoch 3): the one before was lost.
ben (BEN) is here.
ben is reached through another member, 12 ms (4 probes).
ben: hello
3 lines are missing (4 to 6): nobody who is here has them.
The world sees you at 192.0.2.1:5000: an easy NAT.
  rank  name  id   terms, in order of weight
  0     ben   BEN  tenure=5
  after 0 s: epoch 3, led by ben: they opened it
Alert (equivocation): two views
ben will offer a b.txt (5 B) once it is hashed.
ben no longer offers a b.txt.
  name     size  hash          held by
  a b.txt  5 B   abababababab  ben
a b.txt: 20 %, 1 B of 5 B
a b.txt is saved as /tmp/a b.txt (5 B in 0.5 s, 0.0 MB/s).
ben asks to be let in from 127.0.0.1:5001: A BEN admits them.
This ticket admits one more person, who types C and then:
anjer1abc
no such file
Bye.";
        // Ids are 16 characters wide in the table, so its picture is compared without the padding.
        let squeezed = |text: &str| {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&picture), squeezed(expected));
    }

    #[test]
    fn the_members_are_a_table_when_asked_for_and_news_otherwise() {
        let mut screen = Screen::new(false);
        screen.lines(&samples::one_of_each()[0], 0);
        assert_eq!(named(&screen.lines(&samples::peers(), 0)), "ben (BEN) is here.");
        assert!(screen.lines(&samples::peers(), 0).is_empty(), "the same members are no news");
        screen.expect_members();
        let table = screen.lines(&samples::peers(), 0);
        let id = samples::ben().to_string();
        assert_eq!(
            table,
            [
                "  rank  name  id                role       path    rtt     address".to_owned(),
                format!("  0     ben   {id}  supernode  direct  0.2 ms  127.0.0.1:5001"),
                format!("  1     anna  {}  member     -       -       -", samples::anna()),
            ]
        );
        let alone = Event::Peers { epoch: 4, supernode: samples::anna(), members: Vec::new() };
        assert_eq!(screen.lines(&alone, 0), ["ben is gone."]);
    }

    #[test]
    fn what_others_write_cannot_act_on_the_screen() {
        let hostile = "\u{1b}[2J\u{202e}\nanna: I owe you\u{9b}31m";
        let offered = |name: &str| Offered { name: name.into(), ..samples::offered(Some(samples::hash())) };
        let events = [
            samples::chat(hostile, hostile),
            Event::Offered(offered(hostile)),
            Event::Withdrawn(offered(hostile)),
            Event::Alert { code: "x", message: hostile.into() },
            Event::Error { command: None, code: ErrorCode::Refused, message: hostile.into() },
            Event::Asked { addr: "127.0.0.1:1".parse().expect("an address"), id: samples::ben(), name: hostile.into() },
            Event::Ticket { ticket: hostile.into() },
            Event::Saved { name: hostile.into(), path: hostile.into(), bytes: 1, hash: samples::hash(), seconds: 0.0 },
            Event::Progress { name: hostile.into(), hash: samples::hash(), bytes: 1, size: 2, sources: 1 },
            Event::Files {
                files: vec![FileListing { name: hostile.into(), size: 1, hash: samples::hash(), holders: vec![] }],
            },
        ];
        let mut screen = Screen::new(false);
        for event in events {
            let lines = screen.lines(&event, 0);
            assert!(!lines.is_empty());
            for line in lines {
                assert!(!line.chars().any(crate::harmless::is_harmful), "{line:?}");
            }
        }
    }

    #[test]
    fn colours_are_added_around_and_never_by_others() {
        let mut screen = Screen::new(true);
        let lines = screen.lines(&samples::chat("ben", "\u{1b}[31mred"), 0);
        assert_eq!(lines, ["\u{1b}[1mben\u{1b}[0m: \\u{1b}[31mred"]);
    }

    #[test]
    fn the_help_has_a_line_for_every_command() {
        let help = Screen::new(false).help();
        assert_eq!(help.len(), TABLE.len());
        assert!(help.iter().any(|line| line.contains("T <message>") && line.contains("say it to everyone")));
    }
}
