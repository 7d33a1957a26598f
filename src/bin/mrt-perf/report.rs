//! What is printed: one object for scripts, or lines for people.

use serde::Serialize;
use serde_json::Value;
use std::io::{Write, stderr, stdout};

/// Prints the result. A closed stdout is nobody's mistake.
pub(crate) fn print(result: &impl Serialize, json: bool) {
    let Ok(value) = serde_json::to_value(result) else { return };
    line(&if json { value.to_string() } else { table(&value) });
}

/// Prints a line at once, even into a pipe.
pub(crate) fn line(text: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints what went wrong.
pub(crate) fn complain(what: &impl std::fmt::Display) {
    let _ = writeln!(stderr(), "mrt-perf: {what}");
}

/// A number a line.
fn table(value: &Value) -> String {
    let rows = value.as_object().into_iter().flatten();
    rows.map(|(name, value)| format!("{name:>16}  {value}")).collect::<Vec<_>>().join("\n")
}

/// Milliseconds, with microseconds behind the point.
pub(crate) fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// The value that `percent` of all are not above (nearest rank). `sorted` is sorted; 0 of nothing.
pub(crate) fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).or(sorted.last()).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([50.0, 99.0, 99.5, 100.0].map(|percent| percentile(&sorted, percent)), [100.0, 198.0, 199.0, 200.0]);
        assert_eq!((percentile(&[7.0], 50.0), percentile(&[], 50.0)), (7.0, 0.0));
    }
}
