//! What a person sees of an event: lines of text, a function of the events so far.
//!
//! Everything that comes from others passes [`harmless`] or [`cut`] here.

use crate::command_table::TABLE;
use crate::harmless::{cut, harmless};
use crate::progress::Progress;
use crate::{table, units};
use anjer::node::api::{
    Event, FileListing, Member, NatKind, Offered, Path, PathExplained, RankExplained, Role, Succession,
};
use anjer::node::identity::NodeId;
use anjer::stun::candidate::is_global;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// Columns of a member's name.
const NAME_COLUMNS: usize = 24;

/// Columns of a file's name.
const FILE_COLUMNS: usize = 40;

/// Digits of a hash that are shown: enough to be typed after `R`, and to be alone.
const HASH_DIGITS: usize = 12;

/// A file smaller than this is hashed while one blinks: that it will be on offer is not worth a line of its own.
const HASHED_AT_ONCE: u64 = 64_000_000;

/// Members who left and are still called by their name.
const MAX_GONE: usize = 64;

/// The screen of one person.
#[derive(Debug)]
pub(crate) struct Screen {
    colours: bool,
    /// Whoever comes is let in unasked.
    open_door: bool,
    me: Option<NodeId>,
    local: Option<SocketAddr>,
    /// All are on this machine or network.
    one_network: bool,
    /// What the world sees, once it is known.
    public: Option<SocketAddr>,
    /// Nobody who was asked said what the world sees.
    unseen: bool,
    /// The members as last heard, to tell who came and who went.
    members: BTreeMap<NodeId, String>,
    /// Who was a member before: what they offered is withdrawn after they went.
    gone: VecDeque<(NodeId, String)>,
    /// Who leads is told before who is there: it waits for the name.
    unnamed: Vec<Event>,
    /// How each is reached, as far as it was ever told.
    paths: BTreeMap<NodeId, Path>,
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
    /// An empty screen. `open_door`: whoever comes is let in unasked.
    pub(crate) fn new(colours: bool, open_door: bool) -> Self {
        Self {
            colours,
            open_door,
            me: None,
            local: None,
            one_network: false,
            public: None,
            unseen: false,
            members: BTreeMap::new(),
            gone: VecDeque::new(),
            unnamed: Vec::new(),
            paths: BTreeMap::new(),
            members_wanted: false,
            progress: Progress::default(),
        }
    }

    /// All are on this machine or network, or not: then an address of this network is of no use to others.
    pub(crate) const fn on_one_network(mut self, one_network: bool) -> Self {
        self.one_network = one_network;
        self
    }

    /// The next list of members answers a `P`: it is shown whole.
    pub(crate) const fn expect_members(&mut self) {
        self.members_wanted = true;
    }

    /// The lines to show for `event`, which came `t` milliseconds after the start; none if it is not worth any.
    pub(crate) fn lines(&mut self, event: &Event, t: u64) -> Vec<String> {
        match event {
            Event::Connected { supernode: id, .. } | Event::Supernode { id, .. } if !self.is_named(id) => {
                self.unnamed.push(event.clone());
                Vec::new()
            }
            Event::Peers { members, .. } => {
                let table = core::mem::take(&mut self.members_wanted);
                let news = self.members(members);
                let mut lines = self.named(t);
                lines.extend(if table { self.members_table(members) } else { news });
                lines
            }
            _ => {
                let mut lines = self.named(t);
                lines.extend(self.line_of(event, t));
                lines
            }
        }
    }

    /// What waited for a name, whether it has one or not.
    fn named(&mut self, t: u64) -> Vec<String> {
        let waiting = core::mem::take(&mut self.unnamed);
        waiting.iter().flat_map(|event| self.line_of(event, t)).collect()
    }

    /// Whether the only address that is known is none that those elsewhere could type.
    fn is_hidden(&self) -> bool {
        let is_here = |local: SocketAddr| local.ip().is_loopback();
        let local = self.local.filter(|local| is_near(local.ip()) && !is_here(*local));
        local.is_some() && self.public.is_none() && !self.one_network
    }

    /// What somebody at that address, if it is known, has to type; in brackets.
    fn how_to_call(&self, theirs: Option<IpAddr>) -> String {
        let Some(local) = self.local else { return String::new() };
        let is_neighbour = self.one_network || theirs.is_some_and(is_near);
        match self.public.filter(|_| !is_neighbour) {
            Some(public) => format!(" (they type {})", call(public)),
            None if is_neighbour || !self.is_hidden() => format!(" (they type {})", call(local)),
            None if self.unseen => format!(
                " (on your network they type {}; your public address is not known, because no STUN server answered: \
                 whoever is elsewhere needs the one that your router shows)",
                call(local)
            ),
            None => format!(
                " (on your network they type {}; your public address is not known yet: it is told here as soon as \
                 a server answers, and then you can tell them)",
                call(local)
            ),
        }
    }

    fn line_of(&mut self, event: &Event, t: u64) -> Vec<String> {
        match event {
            Event::Ready { id, name, local, public, nat } => {
                self.me = Some(*id);
                self.local = Some(*local);
                self.public = *public;
                let mut lines = vec![self.news(format!("You are {} ({id}) at {local}.", cut(name, NAME_COLUMNS)))];
                if public.is_some() || nat.is_some() {
                    lines.push(self.news(seen_by_the_world(*public, *nat)));
                }
                let comma = if self.open_door { ";" } else { " once you typed A with theirs, or with a ticket (I);" };
                lines.push(self.news(format!("Others join you with {}{comma} ? lists the commands.", call(*local))));
                if self.is_hidden() {
                    let hint = "That is an address of your own network. What those elsewhere type is not known yet: wait until you are told how the world sees you.";
                    lines.push(self.news(hint.to_owned()));
                }
                lines
            }
            Event::Connected { supernode, epoch, path } => {
                vec![self.news(format!(
                    "You are in the room of {} (epoch {epoch}, {}).",
                    self.name(supernode),
                    how(*path)
                ))]
            }
            // That we are in somebody's room was said.
            Event::Supernode { reason: Succession::Joined, me: false, .. } => Vec::new(),
            Event::Supernode { id, epoch, me, reason } => {
                let who = if *me { "You lead".to_owned() } else { format!("{} leads", self.name(id)) };
                vec![self.news(format!("{who} the room (epoch {epoch}): {}.", because(*reason, *me)))]
            }
            Event::Peers { members, .. } => self.members(members),
            // That one is reached at all is no news; another way of reaching them is.
            Event::Path { id, path, .. } if !self.is_new_path(id, *path) => Vec::new(),
            Event::Path { id, path, rtt_ms, probes, why } => {
                let time = rtt_ms.map(|rtt| format!(", {}", units::milliseconds(rtt))).unwrap_or_default();
                let why = why.as_ref().map(|why| format!(": {}", harmless(why))).unwrap_or_default();
                let (name, how) = (self.name(id), adverb(*path));
                vec![self.news(format!("{name} is reached {how}{time} ({probes} packets){why}."))]
            }
            Event::Chat { id, name, text, history, .. } => {
                let before = if *history { "(earlier) " } else { "" };
                // Said by somebody who quit before it was heard: the room has forgotten the name, we may not have.
                let name = if *name == id.to_string() { self.name(id) } else { cut(name, NAME_COLUMNS) };
                let name = self.paint(Ink::Name, &name);
                vec![format!("{before}{name}: {}", harmless(text))]
            }
            Event::Missed { from, to, count } => {
                vec![self.trouble(format!("{count} lines are missing ({from} to {to}): nobody who is here has them."))]
            }
            Event::Address { public, nat } => {
                self.public = public.or(self.public);
                self.unseen = (public, nat) == (&None, &None);
                vec![self.news(seen_by_the_world(*public, *nat))]
            }
            Event::Why { ranking, history, nat, paths } => {
                let mut lines = self.why(ranking, history);
                lines.push(format!("  your NAT: {}", harmless(nat)));
                lines.extend(paths.iter().map(|path| self.why_path(path)));
                lines
            }
            Event::Alert { code, message } => vec![self.trouble(format!("Alert ({code}): {}", harmless(message)))],
            Event::Offered(Offered { hash: None, size, .. }) if *size < HASHED_AT_ONCE => Vec::new(),
            Event::Offered(offered) => vec![self.offered(offered)],
            Event::Withdrawn(Offered { name, id, .. }) => {
                let name = cut(name, FILE_COLUMNS);
                vec![self.news(if Some(*id) == self.me {
                    format!("You no longer offer {name}.")
                } else {
                    format!("{} no longer offers {name}.", self.name(id))
                })]
            }
            Event::Files { files } => self.files(files),
            Event::Progress { name, hash, bytes, size, .. } => {
                let line = self.progress.on_progress(t, name, *hash, *bytes, *size);
                line.map(|line| self.news(line)).into_iter().collect()
            }
            Event::Saved { name, path, bytes, hash, seconds } => {
                self.progress.forget(*hash);
                let rate = |seconds: f64| format!(" in {seconds:.1} s, {:.1} MB/s", *bytes as f64 / 1e6 / seconds);
                let rate = if *seconds >= 0.1 { rate(*seconds) } else { String::new() };
                vec![self.news(format!(
                    "{} is saved as {} ({}{rate}).",
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
            Event::Waiting { id, name, addr } => {
                let own = self.me.map(|me| me.to_string()).unwrap_or_default();
                vec![self.news(format!(
                    "{} ({id}) at {addr} was asked to let you in: there they type A {own}.",
                    cut(name, NAME_COLUMNS)
                ))]
            }
            Event::Admitting { addr, id, seconds } => {
                let who = match (addr, id) {
                    (Some(addr), _) => format!("the first who comes from {addr}"),
                    (None, Some(id)) => format!("whoever has the id {id}"),
                    (None, None) => "whoever comes".to_owned(),
                };
                let call = self.how_to_call(addr.map(|addr| addr.ip()));
                vec![self.news(format!("For {} {who} is let in{call}.", units::seconds(*seconds)))]
            }
            Event::Ticket { ticket, seconds } => {
                let lifetime = units::seconds(*seconds);
                vec![
                    self.news(format!("For {lifetime} this ticket admits one more person, who types C and then:")),
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

    /// Quitting takes a while.
    pub(crate) fn still_leaving(&self) -> Vec<String> {
        vec![self.news("Handing over what the others need; Ctrl-C now ends at once.".into())]
    }

    /// A command was typed while the node cannot listen yet.
    pub(crate) fn one_moment(&self) -> Vec<String> {
        vec![self.news("One moment: STUN servers are being asked how the world sees you (a second at most).".into())]
    }

    /// Who came and who went.
    fn members(&mut self, members: &[Member]) -> Vec<String> {
        let before = core::mem::replace(
            &mut self.members,
            members.iter().map(|member| (member.id, cut(&member.name, NAME_COLUMNS))).collect(),
        );
        let left = |id: &NodeId| !self.members.contains_key(id);
        self.gone.extend(before.iter().filter(|(id, _)| left(id)).map(|(id, name)| (*id, name.clone())));
        self.gone.drain(..self.gone.len().saturating_sub(MAX_GONE));
        self.paths.retain(|id, _| self.members.contains_key(id) || !before.contains_key(id));
        let came = self.members.iter().filter(|(id, _)| !before.contains_key(id) && Some(**id) != self.me);
        let went = before.iter().filter(|(id, _)| !self.members.contains_key(id) && Some(**id) != self.me);
        let came = came.map(|(id, name)| self.news(format!("{name} ({id}) is here.")));
        came.chain(went.map(|(_, name)| self.news(format!("{name} is gone.")))).collect()
    }

    fn offered(&self, Offered { name, size, hash, id, kind: _ }: &Offered) -> String {
        let (who, name, size) = (self.name(id), cut(name, FILE_COLUMNS), units::bytes(*size));
        let mine = Some(*id) == self.me;
        self.news(match hash {
            None if mine => format!("You will offer {name} ({size}) once it is hashed."),
            None => format!("{who} will offer {name} ({size}) once it is hashed."),
            Some(hash) if mine => format!("You offer {name} ({size}, {}).", digits(&hash.to_string())),
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

    fn why_path(&self, path: &PathExplained) -> String {
        let via = path.via.as_ref().map(|via| format!(" via {}", self.name(via))).unwrap_or_default();
        let why = path.why.as_ref().map(|why| format!(": {}", harmless(why))).unwrap_or_default();
        let (name, how, nat) = (self.name(&path.id), adverb(path.path), harmless(&path.nat));
        let PathExplained { probes, standby, .. } = path;
        format!("  {name} is reached {how}{via} ({probes} packets spent, {standby} standing by; {nat}){why}")
    }

    fn members_table(&self, members: &[Member]) -> Vec<String> {
        let mut rows = vec![["rank", "name", "id", "role", "path", "rtt", "address"].map(str::to_owned).to_vec()];
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        rows.extend(members.iter().map(|member| {
            let me = if Some(member.id) == self.me { " (you)" } else { "" };
            vec![
                member.rank.to_string(),
                cut(&member.name, NAME_COLUMNS) + me,
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

    /// What to call that member: its name if we know it, its id if not.
    fn name(&self, id: &NodeId) -> String {
        let gone = || self.gone.iter().rfind(|(other, _)| other == id).map(|(_, name)| name);
        self.members.get(id).or_else(gone).cloned().unwrap_or_else(|| id.to_string())
    }

    fn is_named(&self, id: &NodeId) -> bool {
        Some(*id) == self.me || self.members.contains_key(id)
    }

    /// Whether a path is worth a line: the first direct one to somebody is not.
    fn is_new_path(&mut self, id: &NodeId, path: Path) -> bool {
        let known = self.paths.contains_key(id);
        self.paths.insert(*id, path);
        known || path != Path::Direct
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

/// Whether an address means something on this machine or network alone.
fn is_near(ip: IpAddr) -> bool {
    !is_global(ip)
}

/// What others type to get to that address.
fn call(local: SocketAddr) -> String {
    format!("C {} {}", local.ip(), local.port())
}

fn seen_by_the_world(public: Option<SocketAddr>, nat: Option<NatKind>) -> String {
    if (public, nat) == (None, None) {
        return "No STUN server answered: how the world sees you is not known.".to_owned();
    }
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
        let mut screen = Screen::new(false, true);
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
You are in the room of ben (epoch 3, direct).
ben leads the room (epoch 3): the one before was lost.
ben (BEN) is here.
ben is reached through another member, 12 ms (4 packets): both NATs guess.
ben: hello
3 lines are missing (4 to 6): nobody who is here has them.
The world sees you at 192.0.2.1:5000: an easy NAT.
  rank  name  id   terms, in order of weight
  0     ben   BEN  tenure=5
  after 0 s: epoch 3, led by ben: they opened it
  your NAT: nat=yes mapping=independent
  ben is reached through another member via ben (7 packets spent, 1 standing by; nat=no): both NATs guess
Alert (equivocation): two views
ben no longer offers a b.txt.
  name     size  hash          held by
  a b.txt  5 B   abababababab  ben
a b.txt is saved as /tmp/a b.txt (5 B in 0.5 s, 0.0 MB/s).
ben asks to be let in from 127.0.0.1:5001: A BEN admits them.
ben (BEN) at 127.0.0.1:5001 was asked to let you in: there they type A ANNA.
For 10 min the first who comes from 127.0.0.1:5001 is let in (they type C 127.0.0.1 5000).
For 24 h this ticket admits one more person, who types C and then:
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
        let mut screen = Screen::new(false, true);
        screen.lines(&samples::one_of_each()[0], 0);
        assert_eq!(named(&screen.lines(&samples::peers(), 0)), "ben (BEN) is here.");
        assert!(screen.lines(&samples::peers(), 0).is_empty(), "the same members are no news");
        screen.expect_members();
        let table = screen.lines(&samples::peers(), 0);
        let id = samples::ben().to_string();
        assert_eq!(
            table,
            [
                "  rank  name        id                role       path    rtt     address".to_owned(),
                format!("  0     ben         {id}  supernode  direct  0.2 ms  127.0.0.1:5001"),
                format!("  1     anna (you)  {}  member     -       -       -", samples::anna()),
            ]
        );
        let alone = Event::Peers { epoch: 4, supernode: samples::anna(), members: Vec::new() };
        assert_eq!(screen.lines(&alone, 0), ["ben is gone."]);
    }

    /// Who leads is told before who is there, and a withdrawal after its owner went: both are called by their names.
    #[test]
    fn who_is_not_here_yet_or_any_more_has_a_name_all_the_same() {
        let mut screen = Screen::new(false, true);
        let [ready, connected, supernode, peers, ..] = &samples::one_of_each()[..] else { panic!("more than four") };
        screen.lines(ready, 0);
        assert!(screen.lines(connected, 0).is_empty() && screen.lines(supernode, 0).is_empty());
        let lines = screen.lines(peers, 0);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains("room of ben (") && lines[1].starts_with("ben leads"), "{lines:?}");
        screen.lines(&Event::Peers { epoch: 4, supernode: samples::anna(), members: Vec::new() }, 0);
        let withdrawn = Event::Withdrawn(samples::offered(Some(samples::hash())));
        assert_eq!(screen.lines(&withdrawn, 0), ["ben no longer offers a b.txt."]);
        let late = samples::chat(&samples::ben().to_string(), "and good night");
        assert_eq!(screen.lines(&late, 0), ["ben: and good night"]);
    }

    #[test]
    fn who_leads_is_said_without_a_name_when_none_comes() {
        let mut screen = Screen::new(false, true);
        assert!(screen.lines(&samples::one_of_each()[1], 0).is_empty());
        let lines = screen.lines(&samples::chat("ben", "hello"), 0);
        assert_eq!(named(&lines), "You are in the room of BEN (epoch 3, direct).\nben: hello");
    }

    #[test]
    fn a_path_is_news_when_it_is_another_one() {
        let mut screen = Screen::new(false, true);
        let path = |path| Event::Path { id: samples::ben(), path, rtt_ms: Some(1.0), probes: 3, why: None };
        assert!(screen.lines(&path(Path::Direct), 0).is_empty());
        assert_eq!(screen.lines(&path(Path::Relayed), 0).len(), 1);
        assert_eq!(screen.lines(&path(Path::Direct), 0).len(), 1);
    }

    /// Behind a NAT the first address is of no use to anybody elsewhere.
    #[test]
    fn who_is_behind_a_nat_is_told_what_others_type_as_soon_as_it_is_known() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let ready = Event::Ready {
            id: samples::anna(),
            name: "anna".into(),
            local: at("10.0.0.7:7000"),
            public: None,
            nat: None,
        };
        let admitting = |addr: &str| Event::Admitting { addr: Some(at(addr)), id: None, seconds: 60 };
        let far = admitting("203.0.113.9:7000");
        let last = |screen: &mut Screen, event: &Event| screen.lines(event, 0).pop().expect("a line");
        let mut screen = Screen::new(false, true);
        assert!(last(&mut screen, &ready).contains("not known yet: wait until"));
        let early = last(&mut screen, &far);
        assert!(
            early.contains("on your network they type C 10.0.0.7 7000; your public address is not known yet"),
            "{early}"
        );
        assert!(last(&mut screen, &admitting("10.0.0.8:7000")).ends_with("(they type C 10.0.0.7 7000)."));
        last(&mut screen, &Event::Address { public: None, nat: None });
        assert!(last(&mut screen, &far).contains("no STUN server answered"));
        last(&mut screen, &Event::Address { public: Some(at("192.0.2.1:5000")), nat: None });
        assert!(last(&mut screen, &far).ends_with("(they type C 192.0.2.1 5000)."));
        let mut here = Screen::new(false, true).on_one_network(true);
        assert!(last(&mut here, &ready).contains("C 10.0.0.7 7000"));
        assert!(last(&mut here, &far).ends_with("(they type C 10.0.0.7 7000)."));
    }

    #[test]
    fn whoever_does_not_open_the_door_is_told_how_others_come_in() {
        let lines = Screen::new(false, false).lines(&samples::one_of_each()[0], 0);
        assert!(lines[1].contains("typed A") && lines[1].contains("ticket (I)"), "{lines:?}");
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
            Event::Waiting {
                id: samples::ben(),
                name: hostile.into(),
                addr: "127.0.0.1:1".parse().expect("an address"),
            },
            Event::Ticket { ticket: hostile.into(), seconds: u64::MAX },
            Event::Saved { name: hostile.into(), path: hostile.into(), bytes: 1, hash: samples::hash(), seconds: 0.0 },
            Event::Progress { name: hostile.into(), hash: samples::hash(), bytes: 1, size: 1 << 40, sources: 1 },
            Event::Files {
                files: vec![FileListing { name: hostile.into(), size: 1, hash: samples::hash(), holders: vec![] }],
            },
        ];
        let mut screen = Screen::new(false, true);
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
        let mut screen = Screen::new(true, true);
        let lines = screen.lines(&samples::chat("ben", "\u{1b}[31mred"), 0);
        assert_eq!(lines, ["\u{1b}[1mben\u{1b}[0m: \\u{1b}[31mred"]);
    }

    #[test]
    fn the_help_has_a_line_for_every_command() {
        let help = Screen::new(false, true).help();
        assert_eq!(help.len(), TABLE.len());
        assert!(help.iter().any(|line| line.contains("T <message>") && line.contains("say it to everyone")));
    }
}
