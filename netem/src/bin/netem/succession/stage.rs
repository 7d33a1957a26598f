//! A room of real nodes in which everybody talks, and what may be done to it.

use super::check::{Case, Fault, FaultKind, Screen, Typed};
use crate::failure::Failure;
use crate::nodes::record::{Record, View};
use crate::nodes::room::{PORT, Room};
use crate::nodes::setting::Setting;
use crate::nodes::world::Plan;
use crate::signals::Signals;
use core::time::Duration;
use netem::direct_path_required;
use nix::sys::signal::Signal;

/// Each member types a line this often. All of them take turns, so that in a room of four one is typed every 25 ms.
const EACH_TYPES: Duration = Duration::from_millis(100);

/// How long a node may take to start, and all to be in one room.
const UNTIL_READY: Duration = Duration::from_secs(20);
const UNTIL_MET: Duration = Duration::from_secs(40);

/// How long those may take to reach each other directly who can. What is measured is a room that has found its paths.
const UNTIL_DIRECT: Duration = Duration::from_secs(30);

/// Then they have this long to get used to them.
const REST: Duration = Duration::from_secs(3);

/// How often it is looked whether something holds.
const LOOK: Duration = Duration::from_millis(20);

/// What is said before SIGTERM may be in a pipe that nobody reads any more, if it is so young.
const IN_THE_PIPE: Duration = Duration::from_millis(250);

/// A room, its members by the number of their hosts. The first opened it.
pub(crate) struct Stage<'a> {
    pub(crate) room: Room<'a>,
    pub(crate) members: Vec<Member>,
    pub(crate) typed: Vec<Typed>,
    /// What was done, and when.
    pub(crate) deeds: Vec<(Duration, String)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) notes: Vec<String>,
    pub(crate) ids: Vec<String>,
    has_one_order: bool,
    next_line: Duration,
    turn: usize,
    /// Whose links are watched, and what they had sent when.
    meter: Option<(&'static str, Vec<(Duration, u64)>)>,
    /// The latest that we came to something, for want of a processor.
    lateness: Duration,
}

/// Somebody in it.
pub(crate) struct Member {
    pub(crate) plan: Plan,
    pub(crate) fate: Fate,
    /// By its place, the first line that it must show.
    owes_from: usize,
    is_steady: bool,
    /// Nothing is typed at it: it may not be in the room yet, and what it said it said to itself.
    is_silent: bool,
    lines: u32,
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs, and is talked through.
    Here,
    /// It stands still.
    Halted,
    /// It was ended, politely or not.
    Ended,
}

impl<'a> Stage<'a> {
    pub(crate) fn build(
        label: &str,
        plans: Vec<Plan>,
        seed: u64,
        setting: Setting,
        has_one_order: bool,
        signals: &'a Signals,
    ) -> Result<Self, Failure> {
        let room = Room::build(label, &plans, seed, setting, signals)?;
        let member =
            |plan| Member { plan, fate: Fate::Here, owes_from: 0, is_steady: true, is_silent: false, lines: 0 };
        Ok(Self {
            room,
            members: plans.into_iter().map(member).collect(),
            typed: Vec::new(),
            deeds: Vec::new(),
            faults: Vec::new(),
            notes: Vec::new(),
            ids: Vec::new(),
            has_one_order,
            next_line: Duration::ZERO,
            turn: 0,
            meter: None,
            lateness: Duration::ZERO,
        })
    }

    /// Lets all come into the room of the first, and find their paths. Says whether they did.
    pub(crate) fn meet(&mut self) -> Result<bool, Failure> {
        let all: Vec<usize> = (0..self.members.len()).collect();
        self.start(0)?;
        self.quiet(UNTIL_READY, |stage| stage.room.seen(0).id.is_some() || stage.room.seen(0).has_ended)?;
        if self.room.seen(0).id.is_none() {
            self.fault("the first node did not start");
            return Ok(false);
        }
        for number in all.iter().skip(1) {
            self.start(*number)?;
        }
        let is_done = |stage: &Self| {
            stage.identify();
            all.iter().any(|number| stage.room.seen(*number).has_ended) || all.iter().all(|n| stage.knows_all(*n))
        };
        self.quiet(UNTIL_MET, is_done)?;
        self.ids = self.identify();
        if self.united().is_none() {
            self.fault(format!("they did not come into one room: {}", self.views()));
            return Ok(false);
        }
        if !self.quiet(UNTIL_DIRECT, |stage| stage.not_direct().is_empty())? {
            let missing = self.not_direct().join(", ");
            self.notes.push(format!("no direct path when it began: {missing}"));
        }
        self.quiet(REST, |_| false)?;
        Ok(true)
    }

    /// Everybody types for this long, or until something holds. Says whether it holds.
    pub(crate) fn talk(&mut self, at_most: Duration, until: impl Fn(&Self) -> bool) -> Result<bool, Failure> {
        let end = self.now() + at_most;
        self.next_line = self.next_line.max(self.now());
        loop {
            if until(self) {
                return Ok(true);
            }
            let now = self.now();
            if now >= end {
                return Ok(false);
            }
            if now >= self.next_line {
                self.type_line(now);
            }
            let left = self.next_line.min(end).saturating_sub(self.now());
            self.listen(left)?;
        }
    }

    /// The same without a word.
    pub(crate) fn quiet(&mut self, at_most: Duration, until: impl Fn(&Self) -> bool) -> Result<bool, Failure> {
        let end = self.now() + at_most;
        loop {
            if until(self) {
                return Ok(true);
            }
            let left = end.saturating_sub(self.now());
            if left.is_zero() {
                return Ok(false);
            }
            self.listen(left.min(LOOK))?;
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) -> Duration {
        let at = self.did(number, "is killed");
        self.room.kill(number);
        self.end(number);
        self.typed.iter_mut().filter(|typed| typed.author == number).for_each(|typed| typed.of_the_dead = true);
        at
    }

    /// `Q`.
    pub(crate) fn quit(&mut self, number: usize) -> Duration {
        let at = self.did(number, "quits");
        self.room.tell(number, "Q");
        self.end(number);
        at
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self, number: usize) -> Duration {
        let at = self.did(number, "is told to end by SIGTERM");
        self.room.signal(number, Signal::SIGTERM);
        self.end(number);
        let from = at.saturating_sub(IN_THE_PIPE);
        let young = self.typed.iter_mut().filter(|typed| typed.author == number && typed.at >= from);
        young.for_each(|typed| typed.of_the_dead = true);
        at
    }

    /// SIGSTOP.
    pub(crate) fn halt(&mut self, number: usize) -> Duration {
        let at = self.did(number, "stands still");
        self.room.signal(number, Signal::SIGSTOP);
        if let Some(member) = self.members.get_mut(number) {
            (member.fate, member.is_steady) = (Fate::Halted, false);
        }
        at
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self, number: usize) -> Duration {
        let at = self.did(number, "goes on");
        self.room.signal(number, Signal::SIGCONT);
        if let Some(member) = self.members.get_mut(number) {
            member.fate = Fate::Here;
        }
        at
    }

    /// Starts one that was killed, with its identity and as at first. It owes the lines from this one on.
    pub(crate) fn restart(&mut self, number: usize, owes_from: usize) -> Result<Duration, Failure> {
        let at = self.did(number, "is started again");
        self.start(number)?;
        if let Some(member) = self.members.get_mut(number) {
            (member.fate, member.owes_from, member.is_silent) = (Fate::Here, owes_from, true);
        }
        Ok(at)
    }

    /// From here on lines are typed at one that was started again, too.
    pub(crate) fn let_speak(&mut self, number: usize) {
        if let Some(member) = self.members.get_mut(number) {
            member.is_silent = false;
        }
    }

    /// From here on it is kept what this member's links have sent.
    pub(crate) fn watch(&mut self, number: usize) {
        self.meter = self.members.get(number).map(|member| (member.plan.name, Vec::new()));
    }

    /// What they had sent, in bytes, when.
    pub(crate) fn sent(&self) -> &[(Duration, u64)] {
        self.meter.as_ref().map_or(&[], |(_, samples)| samples)
    }

    /// Lets nothing pass between these and the others.
    pub(crate) fn cut(&mut self, these: &[usize]) -> Duration {
        let those: Vec<usize> = (0..self.members.len()).filter(|number| !these.contains(number)).collect();
        self.room.world.cut(these, &those);
        self.note_deed(format!("{these:?} and {those:?} are cut apart"))
    }

    pub(crate) fn heal(&mut self) -> Duration {
        self.room.world.heal();
        self.note_deed("the cut is mended".into())
    }

    /// Who leads, and who is next, by number, as the first that is here knows it.
    pub(crate) fn line_of_succession(&self) -> Vec<usize> {
        let Some(view) = self.here().next().and_then(|number| self.view(number)) else { return Vec::new() };
        view.members.iter().filter_map(|id| self.ids.iter().position(|known| known == id)).collect()
    }

    /// Since when all that are here know one room of just them. `None`: they do not.
    pub(crate) fn united(&self) -> Option<Duration> {
        let ids = self.identify();
        let here: Vec<usize> = self.here().collect();
        let views: Vec<&View> = here.iter().filter_map(|number| self.view(*number)).collect();
        let first = views.first()?;
        let is_whole = views.len() == here.len()
            && views.iter().all(|view| (view.epoch, &view.supernode) == (first.epoch, &first.supernode))
            && views.iter().all(|view| view.members.len() == here.len())
            && here
                .iter()
                .all(|number| ids.get(*number).is_some_and(|id| views.iter().all(|view| view.members.contains(id))));
        is_whole.then(|| views.iter().map(|view| view.since).max()).flatten()
    }

    /// What each of those that are here takes for the room.
    pub(crate) fn views(&self) -> String {
        let told = self.here().map(|number| {
            let view = self.view(number).cloned().unwrap_or_default();
            let members: Vec<String> = view.members.iter().map(|id| self.name(id)).collect();
            format!("n{number}: epoch {} of {}, {}", view.epoch, self.name(&view.supernode), members.join(" "))
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// The run so far, as it is judged.
    pub(crate) fn case(&self) -> Case<'_> {
        let mut screens = Vec::new();
        for (number, member) in self.members.iter().enumerate() {
            let lives = self.room.lives(number);
            for (life, record) in lives.iter().enumerate() {
                let is_last = life + 1 == lives.len();
                let owes_from = (is_last && member.fate != Fate::Ended).then_some(member.owes_from);
                let is_steady = member.is_steady && owes_from.is_some();
                screens.push(Screen { name: member.plan.name, record, owes_from, is_steady });
            }
        }
        Case { typed: &self.typed, screens, ids: &self.ids, has_one_order: self.has_one_order }
    }

    /// What a member has said since it was last started.
    pub(crate) fn record(&self, number: usize) -> &Record {
        static NOTHING: std::sync::LazyLock<Record> = std::sync::LazyLock::new(Record::default);
        self.room.lives(number).last().unwrap_or(&NOTHING)
    }

    /// Who runs and is not halted.
    pub(crate) fn here(&self) -> impl Iterator<Item = usize> {
        let members = self.members.iter().enumerate();
        members.filter(|(_, member)| member.fate == Fate::Here).map(|(number, _)| number)
    }

    /// The latest that we came to something. What is measured is no better.
    pub(crate) const fn lateness(&self) -> Duration {
        self.lateness
    }

    pub(crate) fn now(&self) -> Duration {
        self.room.clock.now()
    }

    /// It did not go as the scene says.
    pub(crate) fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(Fault::new(FaultKind::Scene, what));
    }

    /// Whose id this is, in our words.
    pub(crate) fn name(&self, id: &str) -> String {
        super::check::name_of(&self.ids, id)
    }

    /// As at first and again: the first opens a room, the others come to it.
    fn start(&mut self, number: usize) -> Result<(), Failure> {
        let (port, at) = (PORT.to_string(), format!("{}:{PORT}", Plan::address(0)));
        let arguments = if number == 0 { ["--open", "--port", &port].to_vec() } else { ["--join", &at].to_vec() };
        self.room.start(number, &arguments)
    }

    fn listen(&mut self, at_most: Duration) -> Result<(), Failure> {
        let due = self.now() + at_most;
        self.room.wait(at_most, |_| false)?;
        let now = self.now();
        self.lateness = self.lateness.max(now.saturating_sub(due));
        if let Some((host, samples)) = &mut self.meter {
            samples.push((now, self.room.world.sent_up(host)));
        }
        Ok(())
    }

    fn type_line(&mut self, now: Duration) {
        let is_silent = |number: &usize| self.members.get(*number).is_some_and(|member| member.is_silent);
        let here: Vec<usize> = self.here().filter(|number| !is_silent(number)).collect();
        let turn = self.turn.checked_rem(here.len()).and_then(|turn| here.get(turn));
        let Some((number, member)) = turn.and_then(|number| Some((*number, self.members.get_mut(*number)?))) else {
            self.next_line = now + EACH_TYPES;
            return;
        };
        let text = format!("{}-{:04}", member.plan.name, member.lines);
        member.lines += 1;
        self.turn += 1;
        self.typed.push(Typed { at: self.room.clock.now(), author: number, text: text.clone(), of_the_dead: false });
        self.room.tell(number, &format!("T {text}"));
        // Whoever is late does not hurry after.
        let among = u32::try_from(here.len()).unwrap_or(1).max(1);
        self.next_line = (self.next_line + EACH_TYPES / among).max(now);
    }

    fn did(&mut self, number: usize, what: &str) -> Duration {
        self.note_deed(format!("n{number} {what}"))
    }

    fn note_deed(&mut self, what: String) -> Duration {
        let now = self.now();
        self.deeds.push((now, what));
        now
    }

    fn end(&mut self, number: usize) {
        if let Some(member) = self.members.get_mut(number) {
            (member.fate, member.is_steady) = (Fate::Ended, false);
        }
    }

    /// The id of each. An identity outlives its program.
    fn identify(&self) -> Vec<String> {
        let of = |number: usize| {
            let now = self.room.seen(number).id.clone();
            now.or_else(|| self.ids.get(number).cloned()).unwrap_or_default()
        };
        (0..self.members.len()).map(of).collect()
    }

    fn view(&self, number: usize) -> Option<&View> {
        Some(&self.record(number).view).filter(|view| !view.members.is_empty())
    }

    /// Whether it knows a room of all, and a path to each of them.
    fn knows_all(&self, number: usize) -> bool {
        let ids = self.identify();
        let seen = self.room.seen(number);
        self.united().is_some()
            && ids.iter().enumerate().all(|(other, id)| other == number || seen.paths.contains_key(id))
    }

    /// Those who could reach each other directly and do not.
    fn not_direct(&self) -> Vec<String> {
        let here: Vec<usize> = self.here().collect();
        let mut missing = Vec::new();
        for (place, a) in here.iter().enumerate() {
            for b in here.iter().skip(place + 1) {
                let is_direct = |from: usize, to: usize| {
                    self.ids.get(to).is_some_and(|id| self.room.seen(from).direct_to(id).is_some())
                };
                if self.can_be_direct(*a, *b) && !(is_direct(*a, *b) && is_direct(*b, *a)) {
                    missing.push(format!("n{a} n{b}"));
                }
            }
        }
        missing
    }

    fn can_be_direct(&self, a: usize, b: usize) -> bool {
        let nats = |number: usize| {
            let kind = self.members.get(number).and_then(|member| member.plan.kind.as_ref());
            kind.map_or(&[][..], |kind| &kind.nats)
        };
        direct_path_required(nats(a), nats(b))
    }
}
