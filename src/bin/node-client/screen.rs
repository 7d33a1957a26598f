//! What a person sees of an event: lines of text, a function of the events so far.
//!
//! Everything that comes from others passes [`harmless`] or [`cut`] here.

use crate::command_table::TABLE;
use crate::harmless::{cut, harmless};
use crate::progress::Progress;
use crate::{table, units};
use anjer::node::api::{Event, Member, Offered, Path, Succession};
use anjer::node::identity::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

mod phrases;
mod tables;
#[cfg(test)]
mod tests;

use phrases::{adverb, because, call, digits, how, is_near, seen_by_the_world};

/// Columns of a member's name.
const NAME_COLUMNS: usize = 24;

/// Columns of a file's name.
const FILE_COLUMNS: usize = 40;

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
    paths: BTreeMap<NodeId, (Path, Option<String>)>,
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

    /// What others have to type, as far as it is known at the start.
    fn how_others_join(&self, local: SocketAddr) -> String {
        let call_here = call(local);
        let calls = match self.public.filter(|public| !self.one_network && *public != local) {
            Some(public) => format!("Others join you with {} (on your own network with {call_here})", call(public)),
            None if self.is_hidden() => format!(
                "Those on your own network join you with {call_here}, those elsewhere once you are told how the world sees you"
            ),
            None => format!("Others join you with {call_here}"),
        };
        let allowed = if self.open_door { "" } else { ", when you typed A with theirs, or with a ticket (I)" };
        format!("{calls}{allowed}; ? lists the commands.")
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
                lines.push(self.news(self.how_others_join(*local)));
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
            // That one is reached at all is no news; another way of reaching them is, or another reason.
            Event::Path { id, path, why, .. } if !self.is_new_path(id, *path, why.as_deref()) => Vec::new(),
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

    /// What to call that member: its name if we know it, its id if not.
    fn name(&self, id: &NodeId) -> String {
        let gone = || self.gone.iter().rfind(|(other, _)| other == id).map(|(_, name)| name);
        self.members.get(id).or_else(gone).cloned().unwrap_or_else(|| id.to_string())
    }

    fn is_named(&self, id: &NodeId) -> bool {
        Some(*id) == self.me || self.members.contains_key(id)
    }

    /// Whether a path is worth a line: the first direct one to somebody is not, nor one of which only the packets spent are other ones.
    fn is_new_path(&mut self, id: &NodeId, path: Path, why: Option<&str>) -> bool {
        let new = (path, why.map(str::to_owned));
        match self.paths.insert(*id, new.clone()) {
            Some(known) => known != new,
            None => path != Path::Direct,
        }
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
