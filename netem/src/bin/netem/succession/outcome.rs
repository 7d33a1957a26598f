//! What became of one run.

use super::check::{Fault, FaultKind};
use core::time::Duration;

/// See above.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// What the scene measures. `None`: it never came to that.
    pub(crate) took: Option<Duration>,
    /// The longest that any line waited in the whole run until it was on every steady screen.
    pub(crate) longest: Option<Duration>,
    /// … in three quarters of a second before anything was done: as many lines as in the moment of a hand-over.
    pub(crate) calm: Option<Duration>,
    pub(crate) faults: Vec<Fault>,
    /// What is worth a word and no fault.
    pub(crate) notes: Vec<String>,
}

/// Faults of a kind that are told in a line.
const TOLD: usize = 2;

impl Outcome {
    /// Of a run that could not be made.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self { faults: vec![Fault::new(FaultKind::Scene, why)], ..Self::default() }
    }

    /// Nothing went wrong, whatever time it took.
    pub(crate) const fn is_good(&self) -> bool {
        self.faults.is_empty() && self.took.is_some()
    }

    pub(crate) fn count(&self, kind: FaultKind) -> usize {
        self.faults.iter().filter(|fault| fault.kind == kind).count()
    }

    /// A line for people.
    pub(crate) fn tell(&self) -> String {
        let millis = |time: Option<Duration>| time.map_or("never".into(), |time| format!("{} ms", time.as_millis()));
        let mut text = format!("{}, longest wait {}", millis(self.took), millis(self.longest));
        for note in &self.notes {
            text += &format!("; {note}");
        }
        let complaints = self.complaints();
        if !complaints.is_empty() {
            text += &format!(". NOT GOOD: {}", complaints.join("; "));
        }
        text
    }

    /// For each kind of fault how many there are, and the first of them.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut kinds: Vec<FaultKind> = self.faults.iter().map(|fault| fault.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut list: Vec<String> = kinds
            .into_iter()
            .map(|kind| {
                let these: Vec<&str> =
                    self.faults.iter().filter(|fault| fault.kind == kind).map(|fault| fault.what.as_str()).collect();
                let first = these.iter().take(TOLD).copied().collect::<Vec<_>>().join(", ");
                let more = if these.len() > TOLD { ", …" } else { "" };
                match kind {
                    FaultKind::Scene => format!("{first}{more}"),
                    _ => format!("{} {} ({first}{more})", these.len(), kind.name()),
                }
            })
            .collect();
        if self.took.is_none() && list.is_empty() {
            list.push("it never came to what is measured".into());
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_by_their_kind_and_the_first_are_told() {
        let lost = |text: &str| Fault::new(FaultKind::Lost, text);
        let outcome = Outcome {
            took: Some(Duration::from_millis(1200)),
            faults: vec![lost("a"), Fault::new(FaultKind::Scene, "two rooms"), lost("b"), lost("c")],
            notes: vec!["two changes".into()],
            ..Outcome::default()
        };
        assert_eq!(outcome.tell(), "1200 ms, longest wait never; two changes. NOT GOOD: 3 lost (a, b, …); two rooms");
        assert!(!outcome.is_good() && outcome.count(FaultKind::Lost) == 3);
        assert!(!Outcome::default().is_good());
        assert_eq!(Outcome::default().complaints().len(), 1);
    }
}
