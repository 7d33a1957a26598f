//! What may not have happened in a run, whatever the scene: pure functions of what was typed and what was on the screens.

use crate::nodes::record::{Line, Record};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// A run, as it is judged.
#[derive(Clone, Debug)]
pub(crate) struct Case<'a> {
    /// In order.
    pub(crate) typed: &'a [Typed],
    pub(crate) screens: Vec<Screen<'a>>,
    /// The members' ids, by their number.
    pub(crate) ids: &'a [String],
    /// Whether all screens show one order from the first line to the last.
    pub(crate) has_one_order: bool,
}

/// A line that was typed at a member.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) at: Duration,
    /// The number of the member.
    pub(crate) author: usize,
    /// No other line has it.
    pub(crate) text: String,
    /// Its author may have died before anybody else had it.
    pub(crate) of_the_dead: bool,
}

/// What a member showed from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen<'a> {
    pub(crate) name: &'static str,
    pub(crate) record: &'a Record,
    /// By its place, the first line that it must show. `None`: it has ended, and owes nothing any more.
    pub(crate) owes_from: Option<usize>,
    /// It was there all the time and nothing was done to it.
    pub(crate) is_steady: bool,
}

/// Something that may not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    /// A line is not on a screen where it must be.
    Lost,
    /// A line is on a screen twice.
    Doubled,
    /// Two screens show two orders, or one an impossible one.
    Order,
    /// A line that nobody typed, or not who is named.
    MadeUp,
    /// `missed`.
    Missed,
    /// An epoch after a higher one.
    EpochFell,
    /// `alert`: nobody does anything here that deserves one.
    Alert,
    /// The run did not come to what the scene is about, or not to its end.
    Scene,
}

impl FaultKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Order => "order",
            Self::MadeUp => "made up",
            Self::Missed => "missed",
            Self::EpochFell => "epoch fell",
            Self::Alert => "alert",
            Self::Scene => "scene",
        }
    }
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }
}

impl Case<'_> {
    /// Everything that may not have happened.
    pub(crate) fn judge(&self) -> Vec<Fault> {
        let mut faults = self.lost();
        for screen in &self.screens {
            faults.extend(doubled(screen));
            faults.extend(self.made_up(screen));
            faults.extend(self.disorder(screen));
            faults.extend(complaints(screen));
        }
        faults.extend(self.two_orders());
        if self.has_one_order {
            faults.extend(self.two_histories());
        }
        faults
    }

    /// Lines that are not on every screen where they must be. A line whose author has died is owed as soon as somebody else had it:
    /// it is on a living screen, or on that of the only one who died, which shows nothing that its first successor does not hold.
    pub(crate) fn lost(&self) -> Vec<Fault> {
        let texts = |screen: &Screen<'_>| -> BTreeSet<String> {
            screen.record.lines.iter().map(|line| line.text.clone()).collect()
        };
        let living: Vec<(&Screen<'_>, usize, BTreeSet<String>)> =
            self.screens.iter().filter_map(|screen| Some((screen, screen.owes_from?, texts(screen)))).collect();
        let ended: Vec<BTreeSet<String>> =
            self.screens.iter().filter(|screen| screen.owes_from.is_none()).map(texts).collect();
        let is_owed = |typed: &Typed| {
            let is_seen = living.iter().any(|(.., texts)| texts.contains(&typed.text));
            let was_seen = || ended.len() == 1 && ended.iter().any(|texts| texts.contains(&typed.text));
            !typed.of_the_dead || is_seen || was_seen()
        };
        let mut faults = Vec::new();
        for (place, typed) in self.typed.iter().enumerate().filter(|(_, typed)| is_owed(typed)) {
            let missing = living.iter().filter(|(_, from, texts)| place >= *from && !texts.contains(&typed.text));
            let names: Vec<&str> = missing.map(|(screen, ..)| screen.name).collect();
            if !names.is_empty() {
                let what = format!("{}, typed at {}, is not at {}", typed.text, seconds(typed.at), names.join(" and "));
                faults.push(Fault::new(FaultKind::Lost, what));
            }
        }
        faults
    }

    /// Lines that nobody typed, or another than whom they name.
    fn made_up(&self, screen: &Screen<'_>) -> Vec<Fault> {
        let authors: BTreeMap<&str, usize> =
            self.typed.iter().map(|typed| (typed.text.as_str(), typed.author)).collect();
        let is_typed = |line: &&Line| {
            let author = authors.get(line.text.as_str()).and_then(|author| self.ids.get(*author));
            author.is_some_and(|author| *author == line.author)
        };
        let strange = screen.record.lines.iter().filter(|line| !is_typed(line));
        strange
            .map(|line| {
                Fault::new(
                    FaultKind::MadeUp,
                    format!("{}: `{}` by {}", screen.name, line.text, self.name(&line.author)),
                )
            })
            .collect()
    }

    /// On one screen: places in an epoch that do not rise, and lines of an author that do not. History is told afterwards.
    fn disorder(&self, screen: &Screen<'_>) -> Vec<Fault> {
        let places: BTreeMap<&str, usize> =
            self.typed.iter().enumerate().map(|(place, typed)| (typed.text.as_str(), place)).collect();
        let mut seqs: BTreeMap<(u64, &str), u64> = BTreeMap::new();
        let mut latest: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        let mut faults = Vec::new();
        for line in screen.record.lines.iter().filter(|line| !line.is_history) {
            let before = seqs.insert((line.epoch, &line.supernode), line.seq);
            if before.is_some_and(|before| before >= line.seq) {
                let what =
                    format!("{}: {} has place {}, after {}", screen.name, line.text, line.seq, before.unwrap_or(0));
                faults.push(Fault::new(FaultKind::Order, what));
            }
            let Some(place) = places.get(line.text.as_str()) else { continue };
            let before = latest.get(line.author.as_str()).copied();
            if let Some((_, text)) = before.filter(|(before, _)| before > place) {
                let what = format!("{}: {} comes after {}", screen.name, line.text, text);
                faults.push(Fault::new(FaultKind::Order, what));
            } else {
                latest.insert(&line.author, (*place, &line.text));
            }
        }
        faults
    }

    /// Places of an epoch that are two lines'.
    fn two_orders(&self) -> Vec<Fault> {
        let mut places: BTreeMap<(u64, &str, u64), (&str, &Line)> = BTreeMap::new();
        let mut faults = Vec::new();
        for screen in &self.screens {
            for line in &screen.record.lines {
                let first = places.entry((line.epoch, &line.supernode, line.seq)).or_insert((screen.name, line));
                if first.1.line != line.line {
                    let place = format!("place {} of epoch {} of {}", line.seq, line.epoch, self.name(&line.supernode));
                    let what =
                        format!("{place} is {} at {} and {} at {}", first.1.text, first.0, line.text, screen.name);
                    faults.push(Fault::new(FaultKind::Order, what));
                }
            }
        }
        faults
    }

    /// Screens that show the lines that both have in two orders.
    fn two_histories(&self) -> Vec<Fault> {
        let told = |screen: &Screen<'_>| -> Vec<String> {
            screen.record.lines.iter().filter(|line| !line.is_history).map(|line| line.text.clone()).collect()
        };
        let mut screens = self.screens.iter().filter(|screen| screen.is_steady);
        let Some(first) = screens.next() else { return Vec::new() };
        let ours = told(first);
        let mut faults = Vec::new();
        for screen in screens {
            let theirs = told(screen);
            let both = |list: &[String], other: &[String]| -> Vec<String> {
                let other: BTreeSet<&String> = other.iter().collect();
                list.iter().filter(|text| other.contains(text)).cloned().collect()
            };
            let (a, b) = (both(&ours, &theirs), both(&theirs, &ours));
            if let Some((a, b)) = a.iter().zip(&b).find(|(a, b)| a != b) {
                let what = format!("{} shows {a} where {} shows {b}", first.name, screen.name);
                faults.push(Fault::new(FaultKind::Order, what));
            }
        }
        faults
    }

    /// From when this line was typed to when it was on every screen that was there all the time.
    pub(crate) fn wait(&self, typed: &Typed) -> Option<Duration> {
        Some(self.everywhere(typed)?.saturating_sub(typed.at))
    }

    /// When this line was on every screen that was there all the time.
    pub(crate) fn everywhere(&self, typed: &Typed) -> Option<Duration> {
        let mut last = None;
        for screen in self.screens.iter().filter(|screen| screen.is_steady) {
            last = last.max(Some(screen.record.shown(&typed.text)?));
        }
        last
    }

    /// The longest that any line waited that was typed in this time and arrived.
    pub(crate) fn longest_wait(&self, from: Duration, to: Duration) -> Option<Duration> {
        self.typed.iter().filter(|typed| typed.at >= from && typed.at < to).filter_map(|typed| self.wait(typed)).max()
    }

    /// The first line that was typed after this, by somebody who was there all the time.
    pub(crate) fn next_line(&self, after: Duration) -> Option<&Typed> {
        self.typed.iter().find(|typed| typed.at >= after && !typed.of_the_dead)
    }

    /// Whose id this is, in our words.
    pub(crate) fn name(&self, id: &str) -> String {
        name_of(self.ids, id)
    }
}

/// Whose id this is, in our words.
pub(crate) fn name_of(ids: &[String], id: &str) -> String {
    ids.iter().position(|known| known == id).map_or_else(|| id.to_owned(), |number| format!("n{number}"))
}

/// Lines that a screen shows twice, by their text or by their name for ever.
fn doubled(screen: &Screen<'_>) -> Vec<Fault> {
    let (mut texts, mut lines) = (BTreeSet::new(), BTreeSet::new());
    let mut faults = Vec::new();
    for line in &screen.record.lines {
        let is_new = texts.insert(line.text.as_str());
        if !lines.insert(line.line.as_str()) || !is_new {
            let what = format!("{} is at {} again at {}", line.text, screen.name, seconds(line.at));
            faults.push(Fault::new(FaultKind::Doubled, what));
        }
    }
    faults
}

/// What a node said of itself that may not be.
fn complaints(screen: &Screen<'_>) -> Vec<Fault> {
    let Screen { name, record, .. } = screen;
    let mut faults: Vec<Fault> = Vec::new();
    for (at, count) in &record.missed {
        let what = format!("{name} said at {} that {count} lines are lost to it", seconds(*at));
        faults.push(Fault::new(FaultKind::Missed, what));
    }
    for (before, after) in record.reigns.iter().zip(record.reigns.iter().skip(1)) {
        // A room of one's own is left for another's: that is no change of a room.
        if after.epoch < before.epoch && after.reason != "joined" {
            let what = format!(
                "{name} went from epoch {} to {} at {} ({})",
                before.epoch,
                after.epoch,
                seconds(after.at),
                after.reason
            );
            faults.push(Fault::new(FaultKind::EpochFell, what));
        }
    }
    // A word that is said again and again is one fault.
    let words: BTreeSet<(&str, &str)> =
        record.alerts.iter().map(|alert| (alert.code.as_str(), alert.message.as_str())).collect();
    for (code, message) in words {
        faults.push(Fault::new(FaultKind::Alert, format!("{name}: {code}: {message}")));
    }
    if record.is_full {
        faults.push(Fault::new(FaultKind::Scene, format!("{name} said more than is kept")));
    }
    faults
}

/// As people read it beside other times of the run.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::record::{Reign, Said};

    const MS: Duration = Duration::from_millis(1);

    /// A room of three who each typed two lines, 10 ms apart, and saw all of them 100 ms later in the order of typing.
    struct Room {
        typed: Vec<Typed>,
        records: [Record; 3],
        ids: Vec<String>,
    }

    impl Room {
        fn new() -> Self {
            let ids = ["ann", "ben", "cid"].map(String::from).to_vec();
            let typed: Vec<Typed> = (0..6_u32)
                .map(|n| Typed {
                    at: MS * 10 * n,
                    author: n as usize % 3,
                    text: format!("n{}-{}", n % 3, n / 3),
                    of_the_dead: false,
                })
                .collect();
            let line = |(n, typed): (usize, &Typed)| Line {
                at: typed.at + 100 * MS,
                epoch: 1,
                supernode: "ann".into(),
                seq: n as u64 + 1,
                line: format!("line {n}"),
                author: ids[typed.author].clone(),
                text: typed.text.clone(),
                is_history: false,
            };
            let record = Record { lines: typed.iter().enumerate().map(line).collect(), ..Record::default() };
            Self { records: [record.clone(), record.clone(), record], typed, ids }
        }

        /// Ann has ended; the others are there.
        fn case(&self) -> Case<'_> {
            let screens = ["n0", "n1", "n2"].into_iter().zip(&self.records).enumerate();
            let screens = screens.map(|(n, (name, record))| Screen {
                name,
                record,
                owes_from: (n > 0).then_some(0),
                is_steady: n > 0,
            });
            Case { typed: &self.typed, screens: screens.collect(), ids: &self.ids, has_one_order: true }
        }

        fn faults(&self) -> Vec<(FaultKind, String)> {
            self.case().judge().into_iter().map(|fault| (fault.kind, fault.what)).collect()
        }

        /// Only faults of this kind, and at least one.
        fn has_only(&self, kind: FaultKind) -> bool {
            let faults = self.faults();
            !faults.is_empty() && faults.iter().all(|(its, _)| *its == kind)
        }
    }

    #[test]
    fn a_run_in_which_all_is_well_has_no_fault() {
        assert_eq!(Room::new().faults(), []);
    }

    #[test]
    fn a_line_that_one_screen_lacks_is_lost() {
        let mut room = Room::new();
        room.records[2].lines.remove(4);
        assert_eq!(room.faults(), [(FaultKind::Lost, "n1-1, typed at 0.040 s, is not at n2".into())]);
    }

    /// Whoever comes later owes what comes later.
    #[test]
    fn a_member_that_was_started_again_owes_what_it_missed_and_nothing_from_before() {
        let mut room = Room::new();
        room.records[2].lines.drain(..2);
        let from = |owes_from: usize| {
            let mut case = room.case();
            case.screens[2].owes_from = Some(owes_from);
            case.lost().len()
        };
        assert_eq!((from(0), from(1), from(2)), (2, 1, 0));
    }

    /// Ann is killed with two lines on her lips: what nobody had is nobody's fault, but what one of the others has all must have.
    #[test]
    fn a_line_of_the_dead_is_lost_only_if_somebody_had_it() {
        let mut room = Room::new();
        for place in [0, 3] {
            room.typed[place].of_the_dead = true;
        }
        let without = |record: &mut Record| record.lines.retain(|line| line.text != "n0-1");
        room.records.iter_mut().for_each(without);
        assert_eq!(room.faults(), [], "nobody has it");

        let mut seen_here = Room::new();
        seen_here.typed = room.typed.clone();
        without(&mut seen_here.records[0]);
        without(&mut seen_here.records[1]);
        assert!(seen_here.has_only(FaultKind::Lost), "one has it");

        let mut seen_there = Room::new();
        seen_there.typed = room.typed.clone();
        without(&mut seen_there.records[1]);
        without(&mut seen_there.records[2]);
        assert!(seen_there.has_only(FaultKind::Lost), "she showed it, so that her successor held it");
        let mut case = seen_there.case();
        case.screens[1].owes_from = None;
        assert_eq!(case.lost(), [], "but he died with her");
    }

    #[test]
    fn a_line_twice_on_a_screen_is_doubled_even_under_another_name() {
        for name in ["line 1", "line 99"] {
            let mut room = Room::new();
            let again = Line { line: name.into(), seq: 7, ..room.records[1].lines[1].clone() };
            // In both, so that only the doubling is wrong; and late enough that the author's order is not.
            for record in &mut room.records {
                record.lines.insert(2, Line { seq: 2, is_history: true, ..again.clone() });
            }
            let faults = room.faults();
            let doubled = faults.iter().filter(|(kind, _)| *kind == FaultKind::Doubled).count();
            assert_eq!(doubled, 3, "{name}: {faults:?}");
        }
    }

    #[test]
    fn two_lines_in_one_place_of_an_epoch_are_two_orders() {
        let mut room = Room::new();
        // Their authors differ, so that each screen by itself is possible.
        room.records[2].lines.swap(4, 5);
        let (four, five) = (room.records[2].lines[4].seq, room.records[2].lines[5].seq);
        room.records[2].lines[4].seq = five;
        room.records[2].lines[5].seq = four;
        assert!(room.has_only(FaultKind::Order), "{:?}", room.faults());
        let faults = room.faults();
        assert!(
            faults.iter().any(|(_, what)| what == "place 5 of epoch 1 of n0 is n1-1 at n0 and n2-1 at n2"),
            "{faults:?}"
        );
        assert!(faults.iter().any(|(_, what)| what == "n1 shows n1-1 where n2 shows n2-1"), "{faults:?}");
    }

    #[test]
    fn two_epochs_that_place_lines_differently_are_two_orders_unless_the_room_was_split() {
        let mut room = Room::new();
        room.records[2].lines.swap(4, 5);
        for (seq, line) in (1..).zip(&mut room.records[2].lines[4..]) {
            (line.epoch, line.seq) = (2, seq);
        }
        assert!(room.has_only(FaultKind::Order));
        assert_eq!(Case { has_one_order: false, ..room.case() }.judge(), []);
    }

    #[test]
    fn places_that_fall_and_an_author_whose_lines_are_exchanged_are_no_order() {
        let mut room = Room::new();
        room.records.iter_mut().for_each(|record| record.lines.swap(1, 2));
        assert!(room.has_only(FaultKind::Order), "the places of the third and second line");
        let mut room = Room::new();
        for record in &mut room.records {
            record.lines.swap(1, 4);
            (1..).zip(&mut record.lines).for_each(|(seq, line)| line.seq = seq);
        }
        assert!(room.has_only(FaultKind::Order), "ben's second line before his first");
        // History is told in whatever order it comes.
        for record in &mut room.records {
            record.lines.iter_mut().for_each(|line| line.is_history = true);
        }
        assert_eq!(room.faults(), []);
    }

    #[test]
    fn a_line_that_nobody_typed_and_one_in_anothers_name_are_made_up() {
        let mut room = Room::new();
        room.records[1].lines.push(Line { text: "hello".into(), line: "l".into(), seq: 9, ..Line::default() });
        assert!(room.has_only(FaultKind::MadeUp));
        let mut room = Room::new();
        room.records[1].lines[4].author = "cid".into();
        assert!(room.faults().contains(&(FaultKind::MadeUp, "n1: `n1-1` by n2".into())));
    }

    #[test]
    fn what_a_node_says_of_itself_counts() {
        let mut room = Room::new();
        room.records[1].missed.push((MS, 3));
        assert_eq!(room.faults(), [(FaultKind::Missed, "n1 said at 0.001 s that 3 lines are lost to it".into())]);
        let mut room = Room::new();
        let said = Said { code: "equivocation".into(), ..Said::default() };
        room.records[1].alerts = vec![said.clone(), said];
        assert_eq!(room.faults().len(), 1);
        let reign = |epoch: u64, reason: &str| Reign { epoch, reason: reason.into(), ..Reign::default() };
        let mut room = Room::new();
        room.records[1].reigns = vec![reign(7, "first"), reign(3, "joined"), reign(4, "lost")];
        assert_eq!(room.faults(), []);
        room.records[1].reigns.push(reign(3, "merged"));
        assert!(room.has_only(FaultKind::EpochFell));
    }

    #[test]
    fn a_line_has_waited_until_the_last_steady_screen_showed_it() {
        let mut room = Room::new();
        room.records[2].lines[3].at += 50 * MS;
        // Of one who has ended nobody waits.
        room.records[0].lines[3].at += 500 * MS;
        let case = room.case();
        assert_eq!(case.wait(&room.typed[3]), Some(150 * MS));
        assert_eq!(case.longest_wait(Duration::ZERO, 30 * MS), Some(100 * MS));
        assert_eq!(case.longest_wait(Duration::ZERO, 31 * MS), Some(150 * MS));
        assert_eq!(case.next_line(25 * MS).map(|typed| typed.text.as_str()), Some("n0-1"));
    }

    #[test]
    fn a_line_that_is_not_everywhere_has_waited_for_no_time_that_could_be_said() {
        let mut room = Room::new();
        room.records[1].lines.pop();
        assert_eq!(room.case().wait(&room.typed[5]), None);
    }
}
