//! One node of the model: the real [`Room`], its own clock, and what an observer wrote down of it. Each step of each cell is computed once
//! and remembered: most steps of a whole are steps of parts that were seen before.

use super::super::super::*;
use super::canon;
use crate::node::api::Event;
use crate::node::identity::NodeId;
use crate::node::room::plant::{Plant, plant};
use crate::node::room::view::Reason;
use crate::time::{Duration, Instant};
use std::collections::BTreeSet;
#[expect(clippy::disallowed_types, reason = "only looked up, never walked through")]
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A node that runs.
pub(super) struct Cell {
    pub(super) room: Room,
    /// Its clock. Only differences count.
    pub(super) now: Instant,
    pub(super) diary: Diary,
    /// Of all that counts: two cells with one hash go on alike.
    pub(super) hash: u128,
}

/// What an observer noted of a node, from its views and its screen alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Diary {
    /// The supernode that it lived under, for each counter.
    pub(super) words: Vec<(u64, NodeId)>,
    /// The epochs that it opened after a loss, with those that it counted in.
    pub(super) led: Vec<(u64, Vec<NodeId>)>,
    /// What it showed: which line, by whose order, in which place.
    pub(super) screen: Vec<(u8, Epoch, u64)>,
    /// The lines that it ever held in an order, a bit for each.
    pub(super) held: u8,
    /// The last heartbeat that it sent, as a hash.
    pub(super) beat: u128,
    /// What it did wrong.
    pub(super) broken: Option<Broken>,
}

/// What can be seen to be wrong at one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    EpochFell,
    ShownTwice,
    OutOfPlace,
    OutOfAuthorsOrder,
    MadeUp,
    HonestAccused,
}

/// Something that crosses a link.
#[derive(Debug)]
pub(super) struct Letter {
    /// `None`: the sender closes the link; nothing follows.
    pub(super) message: Option<RoomMessage>,
    pub(super) hash: u128,
}

impl Letter {
    pub(super) fn new(message: Option<RoomMessage>) -> Arc<Self> {
        let bytes = message.as_ref().map(crate::node::wire::encode).unwrap_or_default();
        Arc::new(Self { message, hash: canon::hash(&bytes) })
    }
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Letter(usize, Arc<Letter>),
    Up(usize, Option<DialNumber>),
    Down(usize, LinkDown),
    DialFailed(DialNumber),
    Heard(usize),
    /// So much time passes.
    Pass(Duration),
    Timer,
    Say(u8),
    Quit,
    /// Asks to be let in by that node.
    Join(usize),
}

impl Input {
    fn key(&self) -> (u8, u64, u128) {
        match self {
            Self::Letter(from, letter) => (0, *from as u64, letter.hash),
            Self::Up(other, None) => (1, *other as u64, 0),
            Self::Up(other, Some(dial)) => (2, *other as u64, u128::from(dial.0)),
            Self::Down(other, why) => (3, *other as u64, *why as u128),
            Self::DialFailed(dial) => (4, dial.0, 0),
            Self::Heard(other) => (5, *other as u64, 0),
            Self::Pass(time) => (6, time.as_millis() as u64, 0),
            Self::Timer => (7, 0, 0),
            Self::Say(line) => (8, u64::from(*line), 0),
            Self::Quit => (9, 0, 0),
            Self::Join(host) => (10, *host as u64, 0),
        }
    }
}

/// What a step asks of the world around.
#[derive(Debug)]
pub(super) enum Output {
    Send(NodeId, Arc<Letter>),
    Dial(DialNumber, DialTo),
    Probe(NodeId),
    Drop(NodeId),
    /// Places that it called missed.
    Missed(u64, u64),
    Left,
}

/// What a step leads to.
pub(super) struct Done {
    pub(super) cell: Arc<Cell>,
    pub(super) outputs: Vec<Output>,
    /// The lines that it calls safe, a bit for each.
    pub(super) safe: u8,
}

type Key = (u128, (u8, u64, u128));

/// All steps that were ever computed.
#[expect(clippy::disallowed_types, reason = "only looked up, never walked through")]
pub(super) struct Steps {
    done: Mutex<HashMap<Key, Arc<Done>>>,
    cells: Mutex<HashMap<u128, Arc<Cell>>>,
    /// What happened at all: kinds of messages, and what screens said.
    pub(super) seen: Mutex<BTreeSet<&'static str>>,
    pub(super) words: Mutex<BTreeSet<String>>,
    records: Vec<LinkedPeer>,
    /// Whose each line is.
    authors: Vec<usize>,
    plant: Option<Plant>,
}

impl Steps {
    pub(super) fn new(records: Vec<LinkedPeer>, authors: Vec<usize>, plant: Option<Plant>) -> Self {
        Self {
            done: Mutex::default(),
            cells: Mutex::default(),
            seen: Mutex::default(),
            words: Mutex::default(),
            records,
            authors,
            plant,
        }
    }

    /// How many cells and steps there are.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.cells.lock().unwrap().len(), self.done.lock().unwrap().len())
    }

    /// A node to begin with.
    pub(super) fn begin(&self, room: Room, now: Instant, diary: Diary) -> Arc<Cell> {
        self.intern(room, now, diary)
    }

    /// One verb of the real room.
    pub(super) fn step(&self, cell: &Arc<Cell>, input: &Input) -> Arc<Done> {
        let key = (cell.hash, input.key());
        if let Some(done) = self.done.lock().unwrap().get(&key) {
            return done.clone();
        }
        let done = Arc::new(self.compute(cell, input));
        self.done.lock().unwrap().insert(key, done.clone());
        done
    }

    fn compute(&self, cell: &Cell, input: &Input) -> Done {
        plant(self.plant);
        let (mut room, mut now, mut diary) = (cell.room.clone(), cell.now, cell.diary.clone());
        let peer = |other: usize| self.records[other].clone();
        let id = |other: usize| self.records[other].record.id();
        match input {
            Input::Letter(from, letter) => {
                if let Some(message) = &letter.message {
                    room.handle_message(now, id(*from), message.clone());
                }
            }
            Input::Up(other, dial) => room.handle_link_up(now, LinkedPeer { dial: *dial, ..peer(*other) }),
            Input::Down(other, why) => room.handle_link_down(now, id(*other), *why),
            Input::DialFailed(dial) => room.handle_dial_failed(now, *dial, DialFailure::NoAnswer, ""),
            Input::Heard(other) => room.handle_heard(now, id(*other), Duration::ZERO),
            Input::Pass(time) => now = now + *time,
            Input::Timer => room.handle_timeout(now),
            Input::Say(line) => room.say(now, &line.to_string(), 0),
            Input::Quit => room.quit(now),
            Input::Join(host) => room.join_address(now, peer(*host).remote.unwrap()),
        }
        let mut outputs = Vec::new();
        let mut safe = 0;
        while let Some(output) = if matches!(input, Input::Pass(_)) { None } else { room.poll_output() } {
            match output {
                RoomOutput::Send { to, message } => {
                    self.note(canon::kind(&message));
                    if let RoomMessage::Beat(beat) = &message {
                        for placed in room.log.since(0).take_while(|placed| placed.head.seq <= beat.stable) {
                            safe |= bit(placed);
                        }
                    }
                    outputs.push(Output::Send(to, Letter::new(Some(canon::message(message, &room)))));
                }
                RoomOutput::Dial { dial, to } => outputs.push(Output::Dial(dial, to)),
                RoomOutput::Probe { id } => outputs.push(Output::Probe(id)),
                RoomOutput::Drop { id } => outputs.push(Output::Drop(id)),
                RoomOutput::Left => outputs.push(Output::Left),
                RoomOutput::Event(event) => self.look_at(&mut diary, &mut outputs, event),
                RoomOutput::GiveUp { .. }
                | RoomOutput::Punch { .. }
                | RoomOutput::AddSecret { .. }
                | RoomOutput::RemoveSecret { .. }
                | RoomOutput::Publish => {}
            }
        }
        plant(None);
        let beat = outputs.iter().find_map(|output| match output {
            Output::Send(_, letter) if matches!(letter.message, Some(RoomMessage::Beat(_))) => Some(letter.hash),
            _ => None,
        });
        // A heartbeat that repeats the last one says nothing: see `Whole::fire`.
        diary.beat = beat.unwrap_or(if room.is_supernode() { diary.beat } else { 0 });
        for placed in room.log.since(0) {
            diary.held |= bit(placed);
        }
        self.look_at_view(&cell.room, &room, &mut diary);
        Done { cell: self.intern(room, now, diary), outputs, safe }
    }

    fn intern(&self, mut room: Room, now: Instant, diary: Diary) -> Arc<Cell> {
        canon::room(&mut room, now);
        let hash = canon::hash_of(&room, now, &diary);
        let mut cells = self.cells.lock().unwrap();
        cells.entry(hash).or_insert_with(|| Arc::new(Cell { room, now, diary, hash })).clone()
    }

    fn note(&self, what: &'static str) {
        let mut seen = self.seen.lock().unwrap();
        if !seen.contains(what) {
            seen.insert(what);
        }
    }

    /// Which epochs it lives in, and whom it counts in.
    fn look_at_view(&self, before: &Room, after: &Room, diary: &mut Diary) {
        let (old, new) = (before.view.epoch, after.view.epoch);
        if old == new || before.view.room != after.view.room {
            return;
        }
        if new.counter <= old.counter {
            diary.broken = diary.broken.or(Some(Broken::EpochFell));
        }
        diary.words.push((new.counter, new.supernode));
        if new.supernode == after.id() && after.view.reason == Reason::Lost {
            diary.led.push((new.counter, after.view.ids().collect()));
        }
    }

    fn look_at(&self, diary: &mut Diary, outputs: &mut Vec<Output>, event: Event) {
        match event {
            Event::Chat { id, epoch, supernode, seq, line, text, .. } => {
                self.note("a line is shown");
                let number = text.parse::<u8>().unwrap_or(u8::MAX);
                let author_of = |line: u8| self.authors.get(usize::from(line)).copied();
                let said = author_of(number).is_some_and(|author| self.records[author].record.id() == id);
                let epoch = Epoch { counter: epoch, supernode };
                let counter = |line: &str| line.rsplit('-').next().and_then(|count| count.parse::<u64>().ok());
                // An author's second line has the higher number here as there.
                let of_author = |other: u8| author_of(other) == author_of(number);
                let wrong = if !said || counter(&line).is_none() {
                    Some(Broken::MadeUp)
                } else if diary.screen.iter().any(|(shown, ..)| *shown == number) {
                    Some(Broken::ShownTwice)
                } else if diary.screen.iter().any(|(_, other, place)| *other == epoch && *place >= seq) {
                    Some(Broken::OutOfPlace)
                } else if diary.screen.iter().any(|(shown, ..)| of_author(*shown) && *shown > number) {
                    Some(Broken::OutOfAuthorsOrder)
                } else {
                    None
                };
                diary.broken = diary.broken.or(wrong);
                diary.screen.push((number, epoch, seq));
            }
            Event::Missed { from, to, .. } => {
                self.note("lines are called missed");
                outputs.push(Output::Missed(from, to));
            }
            Event::Alert { code, message } => {
                self.words.lock().unwrap().insert(format!("{code}: {message}"));
                diary.broken = diary.broken.or(Some(Broken::HonestAccused));
            }
            Event::Supernode { me: true, reason, .. } => self.note(match reason {
                crate::node::api::Succession::Lost => "a loss is made good",
                crate::node::api::Succession::Quit => "a room is handed over",
                crate::node::api::Succession::Merged => "a half comes over and the epoch is raised",
                _ => "a room is opened",
            }),
            _ => {}
        }
    }
}

/// Our lines are named by a digit.
fn bit(placed: &super::super::super::line::Placed) -> u8 {
    placed.line.saying.text.parse::<u32>().map_or(0, |line| 1_u8.checked_shl(line).unwrap_or(0))
}
