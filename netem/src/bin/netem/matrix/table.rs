//! What became of all runs, as a table in Markdown.

use super::outcome::Outcome;
use core::fmt::Write;
use core::time::Duration;

/// Of the runs of a pair that must be direct, those that are, in per cent.
const ENOUGH: usize = 95;

/// Fewer runs of guessing than these have no median worth the name: by chance alone one pair in ten would be late with three. They are judged
/// with those of the other pairs.
const FEW: usize = 10;

/// A pair and its runs.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) pair: String,
    pub(crate) is_required: bool,
    /// Whether ports are guessed at, so that each run takes as long as chance will have it.
    pub(crate) is_guess: bool,
    /// The median time that it may take.
    pub(crate) bar: Duration,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Row {
    fn direct(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.is_direct()).count()
    }

    /// Whether it is as it must be: everybody connected; and directly, often and soon enough, where that is required.
    pub(crate) fn is_good(&self) -> bool {
        let is_connected = self.outcomes.iter().all(|outcome| outcome.is_connected);
        let is_enough = self.direct() * 100 >= self.outcomes.len() * ENOUGH;
        is_connected && ((is_enough && (self.has_few_guesses() || are_soon(&[self]))) || !self.is_required)
    }

    fn has_few_guesses(&self) -> bool {
        self.is_guess && self.outcomes.len() < FEW
    }

    fn times(&self) -> Vec<u64> {
        self.outcomes.iter().filter_map(Outcome::time_to_direct).map(millis).collect()
    }
}

/// Whether every pair is good, and those that have few guesses are soon enough together.
pub(crate) fn are_good(rows: &[Row]) -> bool {
    rows.iter().all(Row::is_good) && are_soon(&few_guesses(rows))
}

fn few_guesses(rows: &[Row]) -> Vec<&Row> {
    rows.iter().filter(|row| row.is_required && row.has_few_guesses()).collect()
}

/// Whether the median of all their runs is within the bar, which is one for all of them.
fn are_soon(rows: &[&Row]) -> bool {
    let times: Vec<u64> = rows.iter().flat_map(|row| row.times()).collect();
    let Some(bar) = rows.iter().map(|row| row.bar).min() else { return true };
    percentile(&times, 50).is_some_and(|median| median <= millis(bar))
}

/// A line for each pair, and what it comes to.
pub(crate) fn table(rows: &[Row], rtt: Duration) -> String {
    let mut text = String::from(
        "| pair | required | direct | relayed | not connected | p50, p95 ms | round trips | packets a side, p50, most | why not |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(text, "{}", line(row, rtt));
    }
    let _ = writeln!(text, "\n{}", summary(rows));
    text
}

fn line(row: &Row, rtt: Duration) -> String {
    let runs = row.outcomes.len();
    let connected = row.outcomes.iter().filter(|outcome| outcome.is_connected).count();
    let times = row.times();
    let packets: Vec<u64> = row.outcomes.iter().flat_map(|outcome| outcome.packets).collect();
    let of = |list: &[u64], percent| percentile(list, percent).map_or("–".into(), |value| value.to_string());
    let trips = |percent| {
        let trip = rtt.as_secs_f64() * 1e3;
        percentile(&times, percent).filter(|_| trip > 0.0).map_or("–".into(), |ms| format!("{:.1}", ms as f64 / trip))
    };
    let mut reasons: Vec<String> = row.outcomes.iter().filter_map(Outcome::reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    format!(
        "| {} | {} | {}/{runs} | {} | {} | {}, {} | {}, {} | {}, {} | {}{} |",
        row.pair,
        if row.is_required { "yes" } else { "no" },
        row.direct(),
        connected - row.direct(),
        runs - connected,
        of(&times, 50),
        of(&times, 95),
        trips(50),
        trips(95),
        of(&packets, 50),
        of(&packets, 100),
        // A cell must not end its row.
        reasons.join("; ").replace('|', "/").replace('\n', " "),
        if row.is_good() { "" } else { " **NOT GOOD**" }
    )
}

fn summary(rows: &[Row]) -> String {
    let count = |good: fn(&Outcome) -> bool, rows: &[&Row]| -> usize {
        rows.iter().flat_map(|row| &row.outcomes).filter(|outcome| good(outcome)).count()
    };
    let all: Vec<&Row> = rows.iter().collect();
    let required: Vec<&Row> = rows.iter().filter(|row| row.is_required).collect();
    let guesses: Vec<u64> = few_guesses(rows).iter().flat_map(|row| row.times()).collect();
    let late = if are_soon(&few_guesses(rows)) { "" } else { " **TOO LATE**" };
    let guesses = percentile(&guesses, 50).map_or_else(String::new, |median| {
        format!(" Where ports are guessed at, p50 of these {} runs: {median} ms{late}.", guesses.len())
    });
    format!(
        "{} pairs, {} not good. Connected in {} of {} runs; direct in {} of {} where it is required, in {} of {} elsewhere.{guesses}",
        rows.len(),
        rows.iter().filter(|row| !row.is_good()).count(),
        count(|outcome| outcome.is_connected, &all),
        count(|_| true, &all),
        count(Outcome::is_direct, &required),
        count(|_| true, &required),
        count(Outcome::is_direct, &all) - count(Outcome::is_direct, &required),
        count(|_| true, &all) - count(|_| true, &required),
    )
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// By the nearest rank: the smallest that so many per cent do not exceed.
fn percentile(values: &[u64], percent: usize) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn direct(millis: u32, packets: u64) -> Outcome {
        Outcome {
            is_connected: true,
            known: Some(MS),
            direct: Some(MS + MS * millis),
            packets: [packets, 0],
            size: 100,
            relayed: Some(0),
            why: None,
        }
    }

    fn relayed() -> Outcome {
        Outcome { direct: None, relayed: Some(100), why: Some("both | guess".into()), ..direct(0, 4) }
    }

    fn row(is_required: bool, outcomes: Vec<Outcome>) -> Row {
        Row { pair: "a × b".into(), is_required, is_guess: false, bar: 120 * MS, outcomes }
    }

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(
            [0, 50, 95, 100].map(|percent| percentile(&[3, 1, 2], percent)),
            [Some(1), Some(2), Some(3), Some(3)]
        );
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 95), Some(95));
    }

    #[test]
    fn a_pair_is_good_if_all_are_connected_and_enough_are_direct_where_they_must_be() {
        let nineteen = [vec![direct(1, 1); 19], vec![relayed()]].concat();
        assert!(row(true, nineteen.clone()).is_good());
        assert!(!row(true, nineteen[1..].to_vec()).is_good());
        assert!(row(false, vec![relayed()]).is_good());
        assert!(!row(false, vec![Outcome::default()]).is_good());
        assert!(!row(true, vec![direct(121, 1); 2]).is_good() && row(false, vec![direct(121, 1); 2]).is_good());
    }

    #[test]
    fn pairs_with_few_guesses_are_judged_together() {
        let guess =
            |times: &[u32]| Row { is_guess: true, ..row(true, times.iter().map(|ms| direct(*ms, 1)).collect()) };
        assert!(are_good(&[guess(&[121, 122]), guess(&[1, 2, 3])]));
        assert!(!are_good(&[guess(&[121, 122, 123]), guess(&[1, 2])]));
        assert!(!are_good(&[guess(&[121; 10]), guess(&[1; 9]), guess(&[1; 9])]), "ten have a median");
        assert!(
            !are_good(&[row(true, vec![direct(121, 1)]), guess(&[1; 9])]),
            "what is not guessed is always judged alone"
        );
        assert!(
            summary(&[guess(&[121])])
                .ends_with(" Where ports are guessed at, p50 of these 1 runs: 121 ms **TOO LATE**.")
        );
    }

    #[test]
    fn a_table_has_a_line_for_each_pair_and_says_what_is_not_good() {
        let rows = [
            row(true, vec![direct(80, 10), direct(120, 30), direct(100, 20)]),
            row(true, vec![relayed(), Outcome::default()]),
        ];
        let text = table(&rows, 40 * MS);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "| a × b | yes | 3/3 | 0 | 0 | 100, 120 | 2.5, 3.0 | 0, 30 |  |");
        let expected = "| a × b | yes | 0/2 | 1 | 1 | –, – | –, – | 0, 4 | both / guess; not connected: no reason was given **NOT GOOD** |";
        assert_eq!(lines[1], expected);
        assert!(text.ends_with(
            "2 pairs, 1 not good. Connected in 4 of 5 runs; direct in 3 of 5 where it is required, in 0 of 0 elsewhere.\n"
        ));
    }
}
