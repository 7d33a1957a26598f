//! The end of every run: from any state, once everything heals and nothing more goes wrong, the real steps are run fairly, and the room must
//! become one again, with every line that ought to be on every screen. `eventually` of the checker's would not do: it is unsound where
//! paths meet.

use super::cell::Input;
use super::system::{Node, System, Whole};
use crate::node::room::parts::Standing;

/// It must be done within so many ticks (a tick is a heartbeat).
const MOST_TICKS: u32 = 60;

/// And within so many steps between two ticks: else they talk for ever.
const MOST_STEPS: u32 = 300;

impl System {
    /// A fair step: from each link that has any, one message arrives; if there is none, the next timers fire. How many ticks that took.
    pub(super) fn go_on(&self, whole: &mut Whole) -> u32 {
        let ready = self.ready(whole);
        if !ready.is_empty() {
            ready.into_iter().for_each(|(from, to)| self.deliver(whole, from, to));
            return 0;
        }
        let dead = |node: &Node| matches!(node, Node::Crashed(..));
        if whole.nodes.iter().any(dead) {
            let up = whole.up;
            self.notice(whole, true);
            if whole.up != up {
                return 0;
            }
        }
        let Some((time, due)) = self.due(whole) else { return 1 };
        self.pass(whole, time);
        due.into_iter().for_each(|index| self.fire(whole, index));
        u32::try_from(time.as_secs()).unwrap_or(0)
    }

    /// Whether all ends well.
    pub(super) fn ends_well(&self, whole: &Whole) -> bool {
        let mut whole = Whole { cut: 0, ..whole.clone() };
        let mut path: Vec<(u64, u32)> = Vec::new();
        let (mut ticks, mut steps) = (0, 0);
        let rest = loop {
            let key = whole.key();
            if let Some(rest) = self.closed.lock().unwrap().get(&key) {
                break *rest;
            }
            path.push((key, ticks));
            if self.is_quiet(&whole) && self.has_ended_well(&whole).is_ok() {
                break 0;
            }
            if ticks > MOST_TICKS || steps > MOST_STEPS {
                let why = self.has_ended_well(&whole).err().unwrap_or("they talk for ever");
                let mut complaints = self.complaints.lock().unwrap();
                if complaints.len() < 4 {
                    complaints.push(format!("in the end: {why}\n{}", self.picture(&whole)));
                }
                return false;
            }
            let passed = self.go_on(&mut whole);
            ticks += passed;
            steps = if passed > 0 { 0 } else { steps + 1 };
            if !self.is_sound(&whole) {
                self.complaints.lock().unwrap().push(format!("on the way to the end\n{}", self.picture(&whole)));
                return false;
            }
        };
        let mut closed = self.closed.lock().unwrap();
        for (key, at) in path {
            closed.insert(key, ticks - at + rest);
        }
        true
    }

    /// The longest that it took.
    pub(super) fn longest_closing(&self) -> u32 {
        self.closed.lock().unwrap().values().copied().max().unwrap_or(0)
    }

    /// One supernode, everybody in its view; all that anybody who is still here said or shows is shown by everybody.
    fn has_ended_well(&self, whole: &Whole) -> Result<(), &'static str> {
        let cells: Vec<_> =
            whole.nodes.iter().enumerate().filter_map(|(who, node)| Some((who, node.cell()?))).collect();
        let Some((_, first)) = cells.first() else { return Ok(()) };
        let epoch = first.room.view.epoch;
        if cells.iter().any(|(_, cell)| cell.room.view.epoch != epoch) {
            return Err("they are in several epochs");
        }
        for (_, cell) in &cells {
            let leads = cell.room.id() == epoch.supernode;
            let right =
                if leads { cell.room.is_supernode() } else { matches!(cell.room.standing, Standing::Following) };
            if !right || cell.room.quitting.is_some() {
                return Err("somebody is neither member nor supernode");
            }
            let view = &cell.room.view;
            if view.entries.len() != cells.len() || !cells.iter().all(|(_, cell)| view.contains(cell.room.id())) {
                return Err("somebody is missing in a view");
            }
        }
        let mut due = 0;
        for (who, cell) in &cells {
            cell.diary.screen.iter().for_each(|(line, ..)| due |= 1_u8 << line);
            let said = self.bounds.lines.iter().enumerate().filter(|(_, author)| *author == who);
            said.for_each(|(line, _)| due |= whole.spent.said & 1 << line);
            due |= whole.safe & cell.diary.held;
        }
        let shows =
            |cell: &super::cell::Cell| cell.diary.screen.iter().fold(0, |shown, (line, ..)| shown | 1_u8 << line);
        if cells.iter().any(|(_, cell)| due & !shows(cell) != 0) {
            return Err("a line is missing on a screen");
        }
        Ok(())
    }

    /// Everything that must hold always.
    pub(super) fn is_sound(&self, whole: &Whole) -> bool {
        whole.nodes.iter().all(|node| node.diary().broken.is_none())
            && !whole.dishonest
            && self.one_supernode_a_counter(whole)
            && self.same_members(whole)
            && self.one_order(whole)
    }

    /// A fair run from where it is, for whoever wants to look at it.
    pub(super) fn run_on(&self, whole: &mut Whole, input: Option<(usize, Input)>, steps: u32) {
        if let Some((who, input)) = input {
            self.apply(whole, who, &input);
        }
        for _ in 0..steps {
            self.go_on(whole);
        }
    }
}
