//! What must hold in every run, judged from outside: what was typed, what crossed the links, what views the rooms say they live in, and
//! what the screens showed. Nothing of the code that it judges is used but those. Each fact is looked at once, when it happens.

use super::super::*;
use super::world::{Peer, World};
use crate::node::api::{Event, Succession};
use crate::node::identity::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Nobody gives its word to two supernodes of one counter: by living in their views, or by being counted into a claimer's first one.
    OneSequencer,
    /// Within a room, each epoch that a node lives in is higher than all before.
    EpochsRise,
    /// The same epoch and number of a view: the same members in the same order.
    SameMembers,
    /// One line a place; places rise on each screen; nothing is shown twice, ever.
    OneOrder,
    /// Every line shown is what its author typed.
    NothingMadeUp,
    /// Whatever happens between two lines of an author: they are shown in the order in which they were said.
    AuthorsOrder,
    /// What was called safe, what anyone shows who is still here, and what anyone said who is still here: everybody shows it in the end.
    NothingLost,
    /// Only who asked at the room's door, or opened it, is a member.
    OnlyAdmitted,
    /// Everything that others can fill is bounded.
    Caps,
    /// Nothing is called missed that another member of the same epoch keeps.
    HonestMissed,
    /// After the last fault there is one supernode, and everybody sees everybody.
    OneRoom,
    /// What an author said has one text under one number, and names what it said before.
    AuthorsChain,
    /// What is called safe was sent to another member at least.
    Safe,
    /// Who leads others gives up its half only after as many of the other half as follow itself said that they follow another.
    ProvenHalf,
    /// Where nobody tells two stories nobody is said to.
    NobodyAccused,
}

/// A line's name, as screens show it.
type LineName = String;

/// One run of one node's program.
type Run = (usize, u64);

/// See [the module](self).
#[derive(Default)]
pub(crate) struct Oracle {
    /// What was found broken, in order.
    pub(crate) broken: Vec<(Rule, String)>,
    /// What happened, and how often.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    screens: Vec<Screen>,
    words: BTreeMap<(RoomId, u64, Run), NodeId>,
    members: BTreeMap<(RoomId, Epoch, u64), Vec<NodeId>>,
    places: BTreeMap<(RoomId, Epoch, u64), LineName>,
    typed: BTreeMap<line::Voice, Vec<(String, RoomId)>>,
    admitted: BTreeMap<RoomId, BTreeSet<NodeId>>,
    safe: BTreeSet<(RoomId, LineName)>,
    /// Who was sent a line by its supernode.
    holders: BTreeMap<LineName, BTreeSet<Run>>,
    /// Every line that was given a place: signature, hash, what it follows.
    lines: BTreeMap<line::LineId, (crate::node::record::Signature, ChainHash, ChainHash)>,
    /// Every doubt: whose, how many were needed, who said that it follows the other.
    doubts: BTreeMap<[u8; 16], (Run, usize, BTreeSet<NodeId>)>,
    /// Somebody in this run tells two stories.
    pub(crate) liars: bool,
}

/// What one node showed since its program was started.
#[derive(Clone, Default)]
struct Screen {
    run: u64,
    room: Option<RoomId>,
    view: Option<(Epoch, u64, usize)>,
    shown: BTreeMap<LineName, RoomId>,
    last: BTreeMap<(RoomId, Epoch), u64>,
    voices: BTreeMap<(NodeId, u64), u64>,
    safe: Option<(Epoch, u64)>,
    /// Whoever is alone has nobody to give its lines to: so far did it get then.
    alone: u64,
    /// How many followed it when it began to ask to be let in elsewhere.
    joining: Option<usize>,
}

impl Oracle {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { screens: vec![Screen::default(); nodes], ..Self::default() }
    }

    pub(crate) fn break_rule(&mut self, rule: Rule, words: String) {
        if self.broken.len() < 32 {
            self.broken.push((rule, words));
        }
    }

    /// Something happened.
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Somebody types something.
    pub(crate) fn on_typed(&mut self, peer: &Peer, text: &str) {
        let said = self.typed.entry(peer.room.outbox.voice()).or_default();
        said.push((text.to_owned(), peer.room.view().room));
    }

    /// It was not taken.
    pub(crate) fn on_refused(&mut self, peer: &Peer) {
        self.typed.entry(peer.room.outbox.voice()).or_default().pop();
    }

    /// That one was let in before the story began.
    pub(crate) fn admit(&mut self, room: RoomId, id: NodeId) {
        self.admitted.entry(room).or_default().insert(id);
    }

    /// A program was started anew.
    pub(crate) fn on_restart(&mut self, who: usize) {
        self.screens[who] = Screen { run: self.screens[who].run + 1, ..Screen::default() };
    }

    /// After every call into a room: which view it lives in.
    pub(crate) fn on_view(&mut self, who: usize, peers: &[Peer]) {
        let peer = &peers[who];
        let view = peer.room.view();
        let screen = &mut self.screens[who];
        if view.entries.len() == 1 {
            screen.alone = peer.room.log.head().seq;
        }
        screen.joining = peer.room.joining.as_ref().map(|_| screen.joining.unwrap_or(peer.room.live().len()));
        let before = screen.view.replace((view.epoch, view.number, view.entries.len()));
        if before == screen.view && screen.room == Some(view.room) {
            return;
        }
        let (run, moved) = (screen.run, screen.room.replace(view.room) != Some(view.room));
        let entered = moved || before.is_none_or(|(epoch, ..)| epoch != view.epoch);
        if let Some((epoch, ..)) = before.filter(|_| entered && !moved)
            && view.epoch.counter <= epoch.counter
        {
            let words = format!("node {who} goes from epoch {epoch:?} to {:?}", view.epoch);
            self.break_rule(Rule::EpochsRise, words);
        }
        if entered {
            self.on_word(view, (who, run));
            if view.epoch.supernode == peer.id && view.reason == view::Reason::Lost {
                for other in view.ids().filter_map(|id| peers.iter().position(|peer| peer.id == id)) {
                    self.on_word(view, (other, self.screens[other].run));
                }
            }
        }
        let ids: Vec<NodeId> = view.ids().collect();
        let admitted = self.admitted.entry(view.room).or_insert_with(|| BTreeSet::from([peer.id]));
        if let Some(stranger) = ids.iter().find(|id| !admitted.contains(*id)) {
            let words = format!("node {who} counts {stranger}, who never asked, as a member");
            self.break_rule(Rule::OnlyAdmitted, words);
        }
        let known = self.members.entry((view.room, view.epoch, view.number)).or_insert_with(|| ids.clone());
        if *known != ids {
            let words = format!("node {who} sees {ids:?} in {:?}/{}, others {known:?}", view.epoch, view.number);
            self.break_rule(Rule::SameMembers, words);
        }
    }

    fn on_word(&mut self, view: &View, run: Run) {
        let given = *self.words.entry((view.room, view.epoch.counter, run)).or_insert(view.epoch.supernode);
        if given != view.epoch.supernode {
            let words = format!("node {} is in {:?} and had gone to {given} under that counter", run.0, view.epoch);
            self.break_rule(Rule::OneSequencer, words);
        }
    }

    /// A room sends something.
    pub(crate) fn on_sent(&mut self, who: usize, peer: &Peer, message: &RoomMessage) {
        match message {
            RoomMessage::Beat(beat) if peer.room.is_supernode() => {
                let room = peer.room.view().room;
                let before = self.screens[who].safe.filter(|(epoch, _)| *epoch == beat.epoch).map_or(0, |(_, seq)| seq);
                let (own, alone) = ((who, self.screens[who].run), self.screens[who].alone);
                for placed in peer.room.log.since(before + 1).take_while(|placed| placed.head.seq <= beat.stable) {
                    let name = placed.line.id().to_string();
                    let held = self.holders.get(&name).is_some_and(|holders| holders.iter().any(|one| *one != own));
                    if !held && placed.head.seq > alone {
                        self.break_rule(Rule::Safe, format!("node {who} calls {name} safe, which nobody else has"));
                    }
                    self.safe.insert((room, name));
                }
                self.screens[who].safe = Some((beat.epoch, beat.stable.max(before)));
            }
            RoomMessage::Lines(lines) => {
                let run = (who, self.screens[who].run);
                for placed in &lines.lines {
                    self.holders.entry(placed.line.id().to_string()).or_default().insert(run);
                    self.on_placed(who, &placed.line);
                }
            }
            RoomMessage::Compare(_) => self.count("orders compared"),
            RoomMessage::Equivocation(_) => self.count("accusations"),
            RoomMessage::Muster(muster) if muster.to == peer.room.view().epoch => {
                self.count("halves doubted");
                let (need, live) = (muster.need as usize, peer.room.live().len());
                if need < live {
                    self.break_rule(Rule::ProvenHalf, format!("node {who} leads {live} and would go to {need}"));
                }
                let run = (who, self.screens[who].run);
                self.doubts.insert(muster.nonce, (run, need, BTreeSet::new()));
            }
            RoomMessage::Allegiance(allegiance) => {
                self.count("words given");
                self.on_allegiance(allegiance.facts.nonce, peer.id);
            }
            RoomMessage::Proof(proof) => {
                self.count("halves proven");
                self.on_allegiance(proof.nonce, peer.id);
            }
            RoomMessage::Join(join) if peer.room.is_supernode() && join.room == Some(peer.room.view().room) => {
                let (run, live) = ((who, self.screens[who].run), self.screens[who].joining.unwrap_or(1));
                let mut doubts = self.doubts.values().filter(|(asker, ..)| *asker == run);
                if live > 1 && !doubts.any(|(_, need, signers)| signers.len() >= *need) {
                    self.break_rule(Rule::ProvenHalf, format!("node {who} leads {live} and goes over unproven"));
                }
            }
            RoomMessage::View(_) => self.count("views told whole"),
            RoomMessage::Patch(_) => self.count("views told as patches"),
            RoomMessage::Whole(_) => self.count("patches that did not fit"),
            RoomMessage::Claim(_) => self.count("claims sent"),
            RoomMessage::HandOver(_) => self.count("hand-overs sent"),
            RoomMessage::Fetch(_) => self.count("gaps to be filled"),
            RoomMessage::Rescue(_) => self.count("orders brought over"),
            RoomMessage::Elsewhere(_) => self.count("leaders told of each other by a member"),
            RoomMessage::Taken(_) => self.count("claims to be renewed"),
            RoomMessage::Stranger => self.count("strangers told so"),
            RoomMessage::Merge(_) => self.count("members sent to the other half"),
            RoomMessage::Abandon(_) => self.count("claims given up"),
            RoomMessage::Held(held) if held.again => self.count("lines to be sent again"),
            _ => {}
        }
    }

    fn on_allegiance(&mut self, nonce: [u8; 16], signer: NodeId) {
        if let Some((_, _, signers)) = self.doubts.get_mut(&nonce) {
            signers.insert(signer);
        }
    }

    /// A line was given a place.
    fn on_placed(&mut self, who: usize, line: &line::Line) {
        let (id, previous) = (line.id(), line.saying.previous);
        if self.lines.get(&id).is_some_and(|(signature, ..)| *signature == line.signature) {
            return;
        }
        let hash = line.hash();
        let other = self.lines.insert(id, (line.signature, hash, previous)).is_some();
        let before = self.lines.get(&line::LineId { counter: id.counter - 1, ..id });
        let after = self.lines.get(&line::LineId { counter: id.counter + 1, ..id });
        let fits = before.is_none_or(|(_, before, _)| *before == previous) && after.is_none_or(|(.., of)| *of == hash);
        if other || !fits {
            self.break_rule(Rule::AuthorsChain, format!("node {who} passes on {id}, which does not fit"));
        }
    }

    /// A room gets something.
    pub(crate) fn on_delivered(&mut self, who: usize, peer: &Peer, from: NodeId, message: &RoomMessage) {
        match message {
            RoomMessage::Join(_) => {
                self.admitted.entry(peer.room.view().room).or_default().insert(from);
            }
            RoomMessage::Lines(lines) if lines.epoch == peer.room.view().epoch => {
                let run = (who, self.screens[who].run);
                for placed in &lines.lines {
                    self.holders.entry(placed.line.id().to_string()).or_default().insert(run);
                }
            }
            _ => {}
        }
    }

    /// A screen shows something.
    pub(crate) fn on_event(&mut self, who: usize, peers: &[Peer], event: &Event) {
        match event {
            Event::Chat { id, epoch, supernode, seq, line, text, .. } => {
                let epoch = Epoch { counter: *epoch, supernode: *supernode };
                self.on_line(who, *id, epoch, *seq, line, text);
            }
            Event::Missed { from, to, .. } => {
                self.count("gaps told");
                let epoch = peers[who].room.view().epoch;
                let keeps = |(index, peer): (usize, &Peer)| {
                    let log = &peer.room.log;
                    let here = index != who && peer.alive && !peer.left && peer.room.view().epoch == epoch;
                    here && log.oldest() <= *to && log.head().seq >= *from
                };
                if peers.iter().enumerate().any(keeps) {
                    self.break_rule(Rule::HonestMissed, format!("node {who} missed {from}..={to}, which is kept"));
                }
            }
            Event::Supernode { me: true, reason, .. } => match reason {
                Succession::Lost => self.count("take-overs"),
                Succession::Quit => self.count("hand-overs"),
                Succession::Merged => self.count("merges that raised the epoch"),
                Succession::First | Succession::Joined => {}
            },
            Event::Supernode { reason: Succession::Merged, .. } => {
                self.count("members of a smaller half that came over")
            }
            Event::Alert { code, message } => {
                self.count("alerts");
                if *code == "equivocation" && !self.liars {
                    self.break_rule(Rule::NobodyAccused, format!("node {who}: {message}"));
                }
            }
            _ => {}
        }
    }

    fn on_line(&mut self, who: usize, author: NodeId, epoch: Epoch, seq: u64, name: &str, text: &str) {
        let Some(room) = self.screens[who].room else { return };
        let parts: Vec<&str> = name.split('-').collect();
        let start = u64::from_str_radix(parts[1], 16).unwrap();
        let number: u64 = parts[2].parse().unwrap();
        let said = self.typed.get(&line::Voice { author, start }).and_then(|said| said.get(number as usize - 1));
        if said.is_none_or(|(said, _)| said != text) {
            return self.break_rule(Rule::NothingMadeUp, format!("node {who} shows {text:?}, never said by {author}"));
        }
        let screen = &mut self.screens[who];
        if screen.shown.insert(name.to_owned(), room).is_some() {
            return self.break_rule(Rule::OneOrder, format!("node {who} shows {text:?} twice"));
        }
        let voice = screen.voices.insert((author, start), number);
        let last = screen.last.insert((room, epoch), seq);
        if voice.is_some_and(|before| before >= number) {
            self.break_rule(Rule::AuthorsOrder, format!("node {who} shows {text:?} too late"));
        }
        if last.is_some_and(|last| last >= seq) {
            self.break_rule(Rule::OneOrder, format!("node {who} shows {epoch:?}/{seq} after {last:?}"));
        }
        let place = self.places.entry((room, epoch, seq)).or_insert_with(|| name.to_owned());
        if place != name {
            let words = format!("node {who} shows {name} where another shows {place}");
            self.break_rule(Rule::OneOrder, words);
        }
    }

    /// Now and then: what can be filled.
    pub(crate) fn look_at_caps(&mut self, who: usize, room: &Room) {
        let sizes = [
            ("lines kept", room.log.since(0).count(), log::MAX_LOG_LINES),
            ("own lines", room.outbox.unplaced().count(), author::MAX_PENDING),
            ("rescued lines", room.rescue.len(), log::MAX_LOG_LINES),
            ("voices", room.delivery.voices.all().len(), voices::MAX_VOICES),
            ("lost members", room.former.ids().count(), former::MAX_FORMER),
            ("promises", room.promises.len(), takeover::MAX_PROMISES),
            ("elections", room.history.len(), parts::MAX_ELECTIONS),
            ("doubts", room.musters.len(), muster::MAX_DOUBTS),
            ("reigns", room.view.reigns.len(), view::MAX_REIGNS),
        ];
        for (what, size, most) in sizes {
            if size > most {
                self.break_rule(Rule::Caps, format!("node {who} has {size} {what}"));
            }
        }
    }

    /// At the end, of those who are in `room` by then: whoever survived has shown all that any of them knows of.
    pub(crate) fn look_at_losses(&mut self, room: RoomId, members: &[usize], peers: &[Peer]) {
        let mut due: BTreeSet<LineName> = BTreeSet::new();
        for who in members {
            let here = self.screens[*who].shown.iter().filter(|(_, at)| **at == room);
            due.extend(here.map(|(name, _)| name.clone()));
            let voice = peers[*who].room.outbox.voice();
            let own = self.typed.get(&voice).into_iter().flatten().enumerate().filter(|(_, (_, at))| *at == room);
            due.extend(own.map(|(index, _)| line::LineId { voice, counter: index as u64 + 1 }.to_string()));
        }
        let lives = |run: &Run| members.contains(&run.0) && self.screens[run.0].run == run.1;
        let safe = self.safe.iter().filter(|(at, name)| {
            *at == room && self.holders.get(name).is_some_and(|holders| holders.iter().any(lives))
        });
        due.extend(safe.map(|(_, name)| name.clone()));
        let lost: Vec<String> = members
            .iter()
            .filter_map(|who| {
                let line = due.iter().find(|name| !self.screens[*who].shown.contains_key(*name))?;
                Some(format!("node {who} never got {}", self.text_of(line)))
            })
            .collect();
        lost.into_iter().for_each(|words| self.break_rule(Rule::NothingLost, words));
    }

    fn text_of(&self, name: &str) -> String {
        let named = |(voice, said): (&line::Voice, &Vec<(String, RoomId)>)| {
            let counter = name.rsplit('-').next()?.parse::<u64>().ok()?;
            let id = line::LineId { voice: *voice, counter };
            (id.to_string() == name).then(|| said.get(counter as usize - 1).map(|(text, _)| text.clone()))?
        };
        self.typed.iter().find_map(named).unwrap_or_else(|| name.to_owned())
    }
}

/// What must hold in every run: the first rule that is broken.
pub(crate) fn check(world: &World) -> Result<(), String> {
    world.oracle.broken.first().map_or(Ok(()), |(rule, words)| Err(format!("{rule:?}: {words}")))
}
