//! What became of all runs, as a table in Markdown.

use super::outcome::Outcome;
use core::fmt::Write;
use core::time::Duration;

/// Of the runs of a pair that must be direct, those that are, in per cent.
const ENOUGH: usize = 95;

/// A pair and its runs.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) pair: String,
    pub(crate) is_required: bool,
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
        let times: Vec<u64> = self.outcomes.iter().filter_map(Outcome::time_to_direct).map(millis).collect();
        let is_soon = percentile(&times, 50).is_some_and(|median| median <= millis(self.bar));
        is_connected && ((is_enough && is_soon) || !self.is_required)
    }
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
    let times: Vec<u64> = row.outcomes.iter().filter_map(Outcome::time_to_direct).map(millis).collect();
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
    format!(
        "{} pairs, {} not good. Connected in {} of {} runs; direct in {} of {} where it is required, in {} of {} elsewhere.",
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
        Row { pair: "a × b".into(), is_required, bar: 120 * MS, outcomes }
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
