//! What became of all runs, as a table in Markdown.

use super::check::FaultKind;
use super::outcome::Outcome;
use super::places::Nats;
use super::scene::{Bar, Scene};
use core::fmt::Write;
use core::time::Duration;

/// A scene behind certain NATs, and its runs.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) scene: Scene,
    pub(crate) nats: Nats,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Runs of a row whose faults are told below the table.
const TOLD: usize = 5;

impl Row {
    /// By the nearest rank: the smallest time that so many per cent of the runs do not exceed. A run that never came to it is the longest.
    /// `None`: never.
    fn percentile(&self, percent: usize, of: fn(&Outcome) -> Option<Duration>) -> Option<Duration> {
        let mut times: Vec<Duration> =
            self.outcomes.iter().map(|outcome| of(outcome).unwrap_or(Duration::MAX)).collect();
        times.sort_unstable();
        let rank = (times.len() * percent).div_ceil(100).max(1);
        times.get(rank - 1).copied().filter(|time| *time < Duration::MAX)
    }

    fn meets(&self, bar: Bar) -> bool {
        let is_met = |percent, bar: Option<Duration>| {
            bar.is_none_or(|bar| self.percentile(percent, |outcome| outcome.took).is_some_and(|time| time <= bar))
        };
        is_met(50, bar.p50) && is_met(95, bar.p95)
    }

    /// Whether it is as it must be.
    pub(crate) fn is_good(&self, rtt: Duration) -> bool {
        self.outcomes.iter().all(Outcome::is_good) && self.meets(self.scene.bar(rtt))
    }
}

/// A line for each row, and what it comes to.
pub(crate) fn table(rows: &[Row], rtt: Duration) -> String {
    let mut text = String::from(
        "| scene | NATs | good | p50, p95, most ms | bar | longest wait p50, most ms | when calm, p50 ms | lost | doubled | what else |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(text, "{}", line(row, rtt));
    }
    let bad = rows.iter().filter(|row| !row.is_good(rtt)).count();
    let _ = writeln!(text, "\n{} rows, {bad} not good.", rows.len());
    for row in rows {
        for (run, outcome) in row.outcomes.iter().enumerate().filter(|(_, outcome)| !outcome.is_good()).take(TOLD) {
            let faults = outcome.complaints().join("; ").replace('\n', " ");
            let _ = writeln!(text, "* {}, {}, run {}: {faults}", row.scene.name(), row.nats.name(), run + 1);
        }
    }
    text
}

fn line(row: &Row, rtt: Duration) -> String {
    let bar = row.scene.bar(rtt);
    let of = |percent, of: fn(&Outcome) -> Option<Duration>| {
        row.percentile(percent, of).map_or("never".into(), |time| time.as_millis().to_string())
    };
    let count = |kind: FaultKind| row.outcomes.iter().map(|outcome| outcome.count(kind)).sum::<usize>();
    let others = [
        FaultKind::Order,
        FaultKind::MadeUp,
        FaultKind::Missed,
        FaultKind::EpochFell,
        FaultKind::Alert,
        FaultKind::Scene,
    ];
    let others: Vec<String> = others
        .into_iter()
        .filter(|kind| count(*kind) > 0)
        .map(|kind| format!("{} {}", count(kind), kind.name()))
        .collect();
    let took: fn(&Outcome) -> Option<Duration> = |outcome| outcome.took;
    let longest: fn(&Outcome) -> Option<Duration> = |outcome| outcome.longest;
    format!(
        "| {} | {} | {}/{} | {}, {}, {} | {}{} | {}, {} | {} | {} | {} | {} |",
        row.scene.name(),
        row.nats.name(),
        row.outcomes.iter().filter(|outcome| outcome.is_good()).count(),
        row.outcomes.len(),
        of(50, took),
        of(95, took),
        of(100, took),
        in_words(bar),
        if row.meets(bar) { "" } else { " **MISSED**" },
        of(50, longest),
        of(100, longest),
        of(50, |outcome| outcome.calm),
        count(FaultKind::Lost),
        count(FaultKind::Doubled),
        others.join(", ")
    )
}

fn in_words(bar: Bar) -> String {
    let word = |name: &str, time: Option<Duration>| time.map(|time| format!("{name} {}", time.as_millis()));
    let words: Vec<String> = [word("p50", bar.p50), word("p95", bar.p95)].into_iter().flatten().collect();
    if words.is_empty() { "–".into() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::succession::check::Fault;

    const MS: Duration = Duration::from_millis(1);
    const RTT: Duration = Duration::from_millis(50);

    fn run(millis: u32) -> Outcome {
        let time = Some(MS * millis);
        Outcome { took: time, longest: time, calm: Some(110 * MS), ..Outcome::default() }
    }

    fn row(outcomes: Vec<Outcome>) -> Row {
        Row { scene: Scene::Kill, nats: Nats::Model, outcomes }
    }

    #[test]
    fn a_bar_is_missed_by_the_median_or_by_the_second_worst_of_twenty() {
        let of = |good: usize, slow: &[u32]| {
            row([vec![run(1400); good], slow.iter().map(|millis| run(*millis)).collect()].concat()).is_good(RTT)
        };
        assert!(of(19, &[9000]));
        assert!(!of(18, &[3001, 3001]));
        assert!(!of(9, &[1501; 11]));
        assert!(of(10, &[1501; 10]));
    }

    #[test]
    fn a_run_that_never_comes_to_it_is_the_longest_and_no_success() {
        let never = Outcome { took: None, ..run(1) };
        let row = row([vec![run(1000); 2], vec![never]].concat());
        assert_eq!(row.percentile(50, |outcome| outcome.took), Some(1000 * MS));
        assert_eq!(row.percentile(95, |outcome| outcome.took), None);
        assert!(!row.is_good(RTT));
    }

    #[test]
    fn a_run_with_a_fault_is_no_success_however_fast() {
        let bad = Outcome { faults: vec![Fault::new(FaultKind::Doubled, "x")], ..run(900) };
        assert!(!row([vec![run(900); 19], vec![bad]].concat()).is_good(RTT));
    }

    #[test]
    fn a_table_has_a_line_for_each_row_and_tells_what_is_not_good() {
        let lost = Fault::new(FaultKind::Lost, "n1-0007 is not at n2");
        let missed = Fault::new(FaultKind::Missed, "n2 said so");
        let bad = Outcome { faults: vec![lost.clone(), lost, missed], ..run(4000) };
        let text = table(&[row(vec![run(1200), run(1300), bad])], RTT);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        let expected = "| kill | model | 2/3 | 1300, 4000, 4000 | p50 1500, p95 3000 **MISSED** | 1300, 4000 | 110 | 2 | 0 | 1 missed |";
        assert_eq!(lines[0], expected);
        assert_eq!(lines[2], "1 rows, 1 not good.");
        assert!(lines[3].starts_with("* kill, model, run 3: 2 lost (n1-0007 is not at n2"), "{}", lines[3]);
    }
}
