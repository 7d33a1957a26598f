//! The whole: nodes, what is on its way between them, and what may happen next.
//!
//! Time. All clocks run alike. Messages are faster than timers: a timer fires only when nothing that can arrive is on its way; what is slow
//! is on a link that is cut. Among messages every order is tried, and every fault comes at every moment.
//!
//! What is left out, each because something else that is tried amounts to the same:
//! * A crash takes with it all that its node had sent and that had not arrived. That a part of it arrives yet is the same as its having
//!   arrived before the crash: whoever receives it does not touch the node that crashes.
//! * What is on its way over a link when it is cut waits for the end of the cut, for the same reason.
//!
//! And for economy, so that these are bounds of what is shown (see [`Bounds`]): a dial succeeds or fails at once; a crashed node's links end
//! at the others at the next quiet moment or not at all; links that are cut end all at once, at a quiet moment, or not at all; a heartbeat
//! that repeats the last reaches everyone and is answered at once, if nothing else is on its way.

use super::super::super::*;
use super::cell::{Broken, Cell, Diary, Input, Letter, Output, Steps};
use crate::node::identity::{Identity, NodeId};
use crate::node::record::MemberRecord;
use crate::node::room::plant::Plant;
use crate::time::{Duration, Instant};
use core::fmt;
#[expect(clippy::disallowed_types, reason = "only looked up, never walked through")]
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// What all times are multiples of.
pub(super) const TICK: Duration = Duration::from_secs(1);

const NEVER: Duration = Duration::from_secs(1_000_000_000);

/// The protocol's times in ticks, in the order that they have: what is longer than another is longer here.
pub(super) const TIMES: Times = Times {
    heartbeat: TICK,
    ask: TICK,
    gather: TICK,
    suspect: Duration::from_secs(2),
    confirm: TICK,
    burst: TICK,
    fresh: Duration::from_secs(2),
    collect: TICK,
    promise: Duration::from_secs(2),
    alone: Duration::from_secs(3),
    pass_over: TICK,
    member: Duration::from_secs(3),
    unlinked: Duration::from_secs(2),
    quit: Duration::from_secs(2),
    freeze: NEVER,
    late: NEVER,
    steady: Duration::ZERO,
    warm: NEVER,
    lonely: NEVER,
    redial: TICK,
    resend: Duration::from_secs(2),
    retry: TICK,
    door: NEVER,
    invitation: NEVER,
    former: NEVER,
};

/// How much may happen in a run.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) name: &'static str,
    pub(super) nodes: usize,
    pub(super) crashes: u8,
    /// Whether the others are told of a crash: at the next quiet moment, not at all, or both are tried.
    pub(super) refusals: &'static [bool],
    pub(super) quits: u8,
    /// The ways in which the room is cut apart, once: pairs from whom to whom nothing arrives. It heals once, at any moment.
    pub(super) cuts: Vec<Cut>,
    /// It heals at quiet moments only.
    pub(super) heals_quietly: bool,
    /// Whether links that are cut are ever given up.
    pub(super) give_up: bool,
    /// Whose the lines are.
    pub(super) lines: Vec<usize>,
    /// Timers that are due together fire in any order, with all that follows in between. Else all of them before anything follows.
    pub(super) ties: bool,
    /// A fault that is planted in the room.
    pub(super) plant: Option<Plant>,
}

/// From whom to whom nothing arrives, a bit for each ordered pair.
pub(super) type Cut = u16;

const fn way(from: usize, to: usize) -> Cut {
    1 << (from * 4 + to)
}

/// Both ways.
pub(super) const fn between(a: usize, b: usize) -> Cut {
    way(a, b) | way(b, a)
}

/// Each way to cut `nodes` into two.
pub(super) fn halves(nodes: usize) -> Vec<Cut> {
    let side = |sides: usize, who: usize| who > 0 && sides >> (who - 1) & 1 == 1;
    let cut = |sides: usize| {
        let pairs = (0..nodes).flat_map(|a| (0..a).map(move |b| (a, b)));
        pairs.filter(|(a, b)| side(sides, *a) != side(sides, *b)).fold(0, |cut, (a, b)| cut | between(a, b))
    };
    (1..1 << (nodes - 1)).map(cut).collect()
}

/// The state of it all.
#[derive(Clone)]
pub(super) struct Whole {
    pub(super) nodes: Vec<Node>,
    /// In order of sender and receiver, and of sending.
    pub(super) letters: Vec<(u8, u8, Arc<Letter>)>,
    /// Links that stand, a bit for each direction.
    pub(super) up: Cut,
    pub(super) cut: Cut,
    pub(super) spent: Spent,
    /// Lines that were called safe.
    pub(super) safe: u8,
    /// Somebody called missed what another keeps.
    pub(super) dishonest: bool,
}

/// What happened of what may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Spent {
    pub(super) crashes: u8,
    pub(super) quits: u8,
    pub(super) cuts: u8,
    pub(super) said: u8,
}

/// A node of it.
#[derive(Clone)]
pub(super) enum Node {
    Running(Arc<Cell>),
    /// What it had shown and done counts still. `true`: the others will be told.
    Crashed(Arc<Diary>, bool),
    Left(Arc<Diary>),
}

impl Node {
    pub(super) fn cell(&self) -> Option<&Arc<Cell>> {
        if let Self::Running(cell) = self { Some(cell) } else { None }
    }

    pub(super) fn diary(&self) -> &Diary {
        match self {
            Self::Running(cell) => &cell.diary,
            Self::Crashed(diary, _) | Self::Left(diary) => diary,
        }
    }
}

impl Hash for Whole {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for node in &self.nodes {
            match node {
                Node::Running(cell) => cell.hash.hash(state),
                Node::Crashed(diary, told) => (1_u8, told, diary).hash(state),
                Node::Left(diary) => (2_u8, diary).hash(state),
            }
        }
        for (from, to, letter) in &self.letters {
            (from, to, letter.hash).hash(state);
        }
        (self.up, self.cut, self.spent, self.safe, self.dishonest).hash(state);
    }
}

impl PartialEq for Whole {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Whole {
    /// A hash of it.
    pub(super) fn key(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deliver(u8, u8),
    Say(u8),
    Quit(u8),
    Crash(u8, bool),
    Cut(Cut),
    Heal,
    /// The links that are cut end.
    GiveUp,
    /// The links to nodes that crashed end.
    Notice,
    /// The next timer, or all that are due.
    Timer(Option<u8>),
}

/// The model: real rooms under bounds.
pub(super) struct System {
    pub(super) bounds: Bounds,
    pub(super) steps: Steps,
    pub(super) peers: Vec<LinkedPeer>,
    pub(super) start: Whole,
    /// From which states all ended well, and after how many ticks.
    #[expect(clippy::disallowed_types, reason = "only looked up, never walked through")]
    pub(super) closed: Mutex<HashMap<u64, u32>>,
    /// What went wrong, in words.
    pub(super) complaints: Mutex<Vec<String>>,
}

impl System {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        let mut identities: Vec<Arc<Identity>> =
            (0..bounds.nodes as u8).map(|seed| Arc::new(Identity::from_seed(&[seed + 1; 32]))).collect();
        identities.sort_by_key(|identity| identity.id());
        let now = Instant::from_start(Duration::from_secs(1000));
        let address = |index: usize| SocketAddr::from(([10, 0, 0, index as u8 + 1], 7000));
        let record = |(index, identity): (usize, &Arc<Identity>)| {
            MemberRecord::sign(identity, &format!("n{index}"), &[address(index)], 1)
        };
        let records: Vec<MemberRecord> = identities.iter().enumerate().map(record).collect();
        let peer = |(index, record): (usize, &MemberRecord)| LinkedPeer {
            record: record.clone(),
            remote: Some(address(index)),
            secret: None,
            dial: None,
        };
        let peers: Vec<LinkedPeer> = records.iter().enumerate().map(peer).collect();
        let steps = Steps::new(peers.clone(), bounds.lines.clone(), bounds.plant);
        let config = RoomConfig { open: true, times: TIMES, ..RoomConfig::default() };
        let node = |(index, identity): (usize, &Arc<Identity>)| {
            let mut room =
                Room::new(identity.clone(), records[index].clone(), config.clone(), now, [index as u8 + 1; 32]);
            while room.poll_output().is_some() {}
            Node::Running(steps.begin(room, now, Diary::default()))
        };
        let nodes: Vec<Node> = identities.iter().enumerate().map(node).collect();
        let start =
            Whole { nodes, letters: Vec::new(), up: 0, cut: 0, spent: Spent::default(), safe: 0, dishonest: false };
        let mut system = Self { bounds, steps, peers, start, closed: Mutex::default(), complaints: Mutex::default() };
        system.assemble();
        Arc::new(system)
    }

    /// Node 0 opens the room, the others come in, in order; then all is quiet for a while.
    fn assemble(&mut self) {
        let mut whole = self.start.clone();
        for index in 1..self.bounds.nodes {
            self.apply(&mut whole, index, &Input::Join(0));
            for _ in 0..40 {
                self.go_on(&mut whole);
            }
        }
        for _ in 0..200 {
            self.go_on(&mut whole);
        }
        while !self.is_quiet(&whole) {
            self.go_on(&mut whole);
        }
        for node in &mut whole.nodes {
            if let Node::Running(cell) = node {
                let beat = cell.diary.beat;
                let view = &cell.room.view;
                let words = vec![(view.epoch.counter, view.epoch.supernode)];
                assert_eq!(view.entries.len(), self.bounds.nodes, "everybody is in before anything happens");
                let diary = Diary { words, beat, ..Diary::default() };
                *node = Node::Running(self.steps.begin(cell.room.clone(), cell.now, diary));
            }
        }
        self.start = whole;
    }

    pub(super) fn index_of(&self, id: NodeId) -> usize {
        self.peers.iter().position(|peer| peer.record.id() == id).unwrap_or(usize::MAX)
    }

    /// Something happens to a node, and what it wants done is done.
    pub(super) fn apply(&self, whole: &mut Whole, at: usize, input: &Input) {
        let Some(cell) = whole.nodes[at].cell() else { return };
        let done = self.steps.step(cell, input);
        whole.nodes[at] = Node::Running(done.cell.clone());
        whole.safe |= done.safe;
        self.carry_out(whole, at, &done.outputs);
    }

    fn carry_out(&self, whole: &mut Whole, at: usize, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Send(to, letter) => self.send(whole, at, self.index_of(*to), letter.clone()),
                Output::Dial(dial, to) => self.dial(whole, at, *dial, to),
                Output::Probe(id) => {
                    let to = self.index_of(*id);
                    let open = whole.up & way(at, to) != 0 && whole.cut & between(at, to) == 0;
                    if open && whole.nodes[to].cell().is_some() {
                        self.apply(whole, at, &Input::Heard(to));
                    }
                }
                Output::Drop(id) => self.send(whole, at, self.index_of(*id), Letter::new(None)),
                Output::Missed(from, to) => self.look_at_missed(whole, at, *from, *to),
                Output::Left => {
                    let diary = Arc::new(whole.nodes[at].diary().clone());
                    for to in 0..self.bounds.nodes {
                        if whole.up & way(at, to) != 0 {
                            self.send(whole, at, to, Letter::new(None));
                        }
                    }
                    whole.letters.retain(|(_, to, _)| usize::from(*to) != at);
                    whole.nodes[at] = Node::Left(diary);
                }
            }
        }
    }

    fn send(&self, whole: &mut Whole, from: usize, to: usize, letter: Arc<Letter>) {
        if whole.up & way(from, to) == 0 {
            return;
        }
        if whole.nodes[to].cell().is_none() {
            if letter.message.is_none() {
                whole.up &= !between(from, to);
            }
            return;
        }
        let (from, to) = (from as u8, to as u8);
        let place = whole.letters.partition_point(|(f, t, _)| (*f, *t) <= (from, to));
        whole.letters.insert(place, (from, to, letter));
    }

    fn dial(&self, whole: &mut Whole, by: usize, dial: DialNumber, to: &DialTo) {
        let named = |peer: &LinkedPeer| match to.id {
            Some(id) => peer.record.id() == id,
            None => peer.remote.is_some_and(|remote| to.addresses.contains(&remote)),
        };
        let target = self.peers.iter().position(named);
        let target = target.filter(|target| {
            *target != by && whole.nodes[*target].cell().is_some() && whole.cut & between(by, *target) == 0
        });
        let Some(target) = target else {
            return self.apply(whole, by, &Input::DialFailed(dial));
        };
        if whole.up & way(by, target) == 0 {
            whole.up |= between(by, target);
            self.apply(whole, target, &Input::Up(by, None));
        }
        self.apply(whole, by, &Input::Up(target, Some(dial)));
    }

    fn unlink(&self, whole: &mut Whole, a: usize, b: usize, why: LinkDown) {
        if whole.up & between(a, b) == 0 {
            return;
        }
        whole.up &= !between(a, b);
        let (x, y) = (a as u8, b as u8);
        whole.letters.retain(|(from, to, _)| !((*from, *to) == (x, y) || (*from, *to) == (y, x)));
        self.apply(whole, a, &Input::Down(b, why));
        self.apply(whole, b, &Input::Down(a, why));
    }

    fn look_at_missed(&self, whole: &mut Whole, at: usize, from: u64, to: u64) {
        let Some(epoch) = whole.nodes[at].cell().map(|cell| cell.room.view.epoch) else { return };
        let keeps = |(index, node): (usize, &Node)| {
            let Some(cell) = node.cell() else { return false };
            let log = &cell.room.log;
            index != at && cell.room.view.epoch == epoch && log.oldest() <= to && log.head().seq >= from
        };
        whole.dishonest |= whole.nodes.iter().enumerate().any(keeps);
    }

    /// Whether nothing that can arrive is on its way.
    pub(super) fn is_quiet(&self, whole: &Whole) -> bool {
        whole.letters.iter().all(|(from, to, _)| whole.cut & way((*from).into(), (*to).into()) != 0)
    }

    /// The links over which something can arrive.
    pub(super) fn ready(&self, whole: &Whole) -> Vec<(u8, u8)> {
        let mut pairs: Vec<(u8, u8)> = whole.letters.iter().map(|(from, to, _)| (*from, *to)).collect();
        pairs.dedup();
        pairs.retain(|(from, to)| whole.cut & way((*from).into(), (*to).into()) == 0);
        pairs
    }

    pub(super) fn deliver(&self, whole: &mut Whole, from: u8, to: u8) {
        let Some(place) = whole.letters.iter().position(|(f, t, _)| (*f, *t) == (from, to)) else { return };
        let (_, _, letter) = whole.letters.remove(place);
        let (from, to) = (usize::from(from), usize::from(to));
        if letter.message.is_some() {
            self.apply(whole, to, &Input::Letter(from, letter));
        } else {
            self.unlink(whole, to, from, LinkDown::Closed);
        }
    }

    /// How long until the next timer, and whose those are that are due then.
    pub(super) fn due(&self, whole: &Whole) -> Option<(Duration, Vec<usize>)> {
        let due = |(index, node): (usize, &Node)| {
            let cell = node.cell()?;
            Some((cell.room.poll_timeout()?.saturating_since(cell.now), index))
        };
        let due: Vec<(Duration, usize)> = whole.nodes.iter().enumerate().filter_map(due).collect();
        let first = due.iter().map(|(at, _)| *at).min()?;
        Some((first, due.into_iter().filter(|(at, _)| *at == first).map(|(_, index)| index).collect()))
    }

    pub(super) fn pass(&self, whole: &mut Whole, time: Duration) {
        if time > Duration::ZERO {
            (0..self.bounds.nodes).for_each(|at| self.apply(whole, at, &Input::Pass(time)));
        }
    }

    /// A timer fires. A heartbeat that repeats the last is at once heard and answered by all who can hear it: were it not, only the ages of
    /// what was heard would differ, by a tick.
    pub(super) fn fire(&self, whole: &mut Whole, at: usize) {
        let Some(cell) = whole.nodes[at].cell().cloned() else { return };
        let done = self.steps.step(&cell, &Input::Timer);
        whole.nodes[at] = Node::Running(done.cell.clone());
        whole.safe |= done.safe;
        let repeats = |output: &Output| match output {
            Output::Send(_, letter) => letter.hash == cell.diary.beat,
            _ => false,
        };
        if !self.is_quiet(whole) || !done.outputs.iter().all(repeats) {
            return self.carry_out(whole, at, &done.outputs);
        }
        for output in &done.outputs {
            let Output::Send(id, letter) = output else { continue };
            let to = self.index_of(*id);
            let free = !whole.letters.iter().any(|(from, other, _)| {
                (usize::from(*from), usize::from(*other)) == (at, to)
                    || (usize::from(*from), usize::from(*other)) == (to, at)
            });
            let open = whole.up & way(at, to) != 0 && whole.cut & between(at, to) == 0 && free;
            let Some(hearer) = whole.nodes[to].cell().filter(|_| open) else {
                self.send(whole, at, to, letter.clone());
                continue;
            };
            let heard = self.steps.step(hearer, &Input::Letter(at, letter.clone()));
            match heard.outputs.as_slice() {
                [Output::Send(back, answer)]
                    if self.index_of(*back) == at && matches!(answer.message, Some(RoomMessage::Held(_))) =>
                {
                    whole.nodes[to] = Node::Running(heard.cell.clone());
                    self.apply(whole, at, &Input::Letter(to, answer.clone()));
                }
                _ => self.send(whole, at, to, letter.clone()),
            }
        }
    }

    pub(super) fn actions_of(&self, whole: &Whole) -> Vec<Action> {
        let mut actions = Vec::new();
        let (spent, bounds) = (whole.spent, &self.bounds);
        let ready = self.ready(whole);
        let quiet = ready.is_empty();
        actions.extend(ready.into_iter().map(|(from, to)| Action::Deliver(from, to)));
        let runs = |who: usize| whole.nodes[who].cell().is_some();
        let stays = |who: usize| whole.nodes[who].cell().is_some_and(|cell| cell.room.quitting.is_none());
        for (line, author) in bounds.lines.iter().enumerate() {
            // The second line of an author comes after its first.
            let first = !bounds.lines[..line]
                .iter()
                .enumerate()
                .any(|(earlier, other)| other == author && spent.said >> earlier & 1 == 0);
            if spent.said >> line & 1 == 0 && first && stays(*author) {
                actions.push(Action::Say(line as u8));
            }
        }
        for who in (0..bounds.nodes).filter(|who| runs(*who)) {
            if spent.quits < bounds.quits && stays(who) {
                actions.push(Action::Quit(who as u8));
            }
            if spent.crashes < bounds.crashes {
                actions.extend(bounds.refusals.iter().map(|told| Action::Crash(who as u8, *told)));
            }
        }
        if spent.cuts == 0 {
            actions.extend(bounds.cuts.iter().map(|cut| Action::Cut(*cut)));
        }
        if whole.cut != 0 && (quiet || !bounds.heals_quietly) {
            actions.push(Action::Heal);
        }
        if quiet {
            if whole.cut & whole.up != 0 && bounds.give_up {
                actions.push(Action::GiveUp);
            }
            if self.is_to_be_told(whole) {
                actions.push(Action::Notice);
            } else if let Some((_, due)) = self.due(whole) {
                if bounds.ties {
                    actions.extend(due.into_iter().map(|who| Action::Timer(Some(who as u8))));
                } else {
                    actions.push(Action::Timer(None));
                }
            }
        }
        actions
    }

    pub(super) fn is_to_be_told(&self, whole: &Whole) -> bool {
        let told = |(who, node): (usize, &Node)| {
            matches!(node, Node::Crashed(_, true))
                && (0..self.bounds.nodes).any(|other| whole.up & way(who, other) != 0)
        };
        whole.nodes.iter().enumerate().any(told)
    }

    pub(super) fn notice(&self, whole: &mut Whole, all: bool) {
        for who in 0..self.bounds.nodes {
            if matches!(whole.nodes[who], Node::Crashed(_, told) if told || all) {
                (0..self.bounds.nodes).for_each(|other| self.unlink(whole, other, who, LinkDown::Refused));
            }
        }
    }

    /// What is, after an action.
    pub(super) fn after(&self, whole: &Whole, action: Action) -> Whole {
        let mut whole = whole.clone();
        match action {
            Action::Deliver(from, to) => self.deliver(&mut whole, from, to),
            Action::Say(line) => {
                whole.spent.said |= 1 << line;
                self.apply(&mut whole, self.bounds.lines[usize::from(line)], &Input::Say(line));
            }
            Action::Quit(who) => {
                whole.spent.quits += 1;
                self.apply(&mut whole, who.into(), &Input::Quit);
            }
            Action::Crash(who, told) => {
                whole.spent.crashes += 1;
                let diary = Arc::new(Diary { beat: 0, ..whole.nodes[usize::from(who)].diary().clone() });
                whole.letters.retain(|(from, to, _)| *from != who && *to != who);
                whole.nodes[usize::from(who)] = Node::Crashed(diary, told);
            }
            Action::Cut(cut) => {
                whole.spent.cuts += 1;
                whole.cut = cut;
            }
            Action::Heal => whole.cut = 0,
            Action::GiveUp => {
                for a in 0..self.bounds.nodes {
                    for b in 0..a {
                        if whole.cut & between(a, b) != 0 {
                            self.unlink(&mut whole, a, b, LinkDown::Lost);
                        }
                    }
                }
            }
            Action::Notice => self.notice(&mut whole, false),
            Action::Timer(who) => {
                if let Some((time, due)) = self.due(&whole) {
                    self.pass(&mut whole, time);
                    let due = due.into_iter().filter(|index| who.is_none_or(|who| usize::from(who) == *index));
                    due.for_each(|index| self.fire(&mut whole, index));
                }
            }
        }
        whole
    }

    /// What everybody says of anybody's place in the room agrees with that.
    pub(super) fn one_supernode_a_counter(&self, whole: &Whole) -> bool {
        for (who, peer) in self.peers.iter().enumerate() {
            let id = peer.record.id();
            let mut words: Vec<(u64, NodeId)> = whole.nodes[who].diary().words.clone();
            for (leader, node) in whole.nodes.iter().enumerate() {
                let led = node.diary().led.iter().filter(|(_, members)| members.contains(&id));
                words.extend(led.map(|(counter, _)| (*counter, self.peers[leader].record.id())));
            }
            words.sort_unstable();
            words.dedup();
            if words.windows(2).any(|two| two[0].0 == two[1].0) {
                return false;
            }
        }
        true
    }

    pub(super) fn same_members(&self, whole: &Whole) -> bool {
        let views: Vec<&View> = whole.nodes.iter().filter_map(|node| Some(&node.cell()?.room.view)).collect();
        views.iter().enumerate().all(|(index, one)| {
            let alike = |other: &&&View| (other.epoch, other.number) == (one.epoch, one.number);
            views[..index].iter().filter(alike).all(|other| other.ids().eq(one.ids()))
        })
    }

    pub(super) fn one_order(&self, whole: &Whole) -> bool {
        let shown = || whole.nodes.iter().flat_map(|node| &node.diary().screen);
        shown()
            .all(|(line, epoch, seq)| shown().all(|(other, its, place)| (its, place) != (epoch, seq) || other == line))
    }

    pub(super) fn is_unbroken(&self, whole: &Whole, but: &[Broken]) -> bool {
        whole.nodes.iter().all(|node| node.diary().broken.is_none_or(|broken| !but.contains(&broken)))
    }

    /// A line or two about each node.
    pub(super) fn picture(&self, whole: &Whole) -> String {
        let mut text = String::new();
        let short = |id: NodeId| self.index_of(id);
        for (who, node) in whole.nodes.iter().enumerate() {
            let diary = node.diary();
            let shown: Vec<String> =
                diary.screen.iter().map(|(line, epoch, seq)| format!("{line}({}/{seq})", epoch.counter)).collect();
            text += &match node {
                Node::Running(cell) => {
                    let room = &cell.room;
                    let standing = format!("{:?}", room.standing);
                    let standing = standing.split(['(', ' ']).next().unwrap_or_default().to_owned();
                    let entries: Vec<usize> = room.view.ids().map(short).collect();
                    format!(
                        "    {who} {standing}{} {}@{} view {} {entries:?} head {} unplaced {} rescue {} joining {} suspects {} words {} shown {shown:?} former {:?} {:?}\n",
                        if room.quitting.is_some() { " quitting" } else { "" },
                        room.view.epoch.counter,
                        short(room.view.epoch.supernode),
                        room.view.number,
                        room.log.head().seq,
                        room.outbox.unplaced().count(),
                        room.rescue.len(),
                        room.joining.is_some(),
                        room.detector.suspicion.is_some(),
                        room.last_counter,
                        room.former.ids().map(short).collect::<Vec<_>>(),
                        diary.broken,
                    )
                }
                Node::Crashed(_, told) => format!("    {who} crashed (told: {told}), had shown {shown:?}\n"),
                Node::Left(_) => format!("    {who} left, had shown {shown:?}\n"),
            };
        }
        for (from, to, letter) in &whole.letters {
            let words = letter.message.as_ref().map_or("close".to_owned(), |message| {
                let words = format!("{message:?}");
                words.split(['(', ' ']).next().unwrap_or_default().to_owned()
            });
            text += &format!("      {from} → {to}: {words}\n");
        }
        text
    }
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Whole({:016x})", self.key())
    }
}
