//! What a row of the table is, and what its runs add up to.

use std::time::Duration;

/// One row: what others ask of a transport, what is held here, and the runs that show it.
pub(crate) struct Scenario {
    pub(crate) family: &'static str,
    pub(crate) name: &'static str,
    /// What the QUIC interop runner, or the project named, asks for.
    pub(crate) asked: &'static str,
    /// The bar.
    pub(crate) held: &'static str,
    /// Into how many parts the runs are divided, so that cores can share them.
    pub(crate) shares: u64,
    pub(crate) run: fn(Share) -> Tally,
    /// What must be true of all runs together, besides that each of them held.
    pub(crate) bar: fn(&Tally) -> Result<(), String>,
    /// A fault is planted on purpose: the row holds if the checker's alarm says this.
    pub(crate) alarm: Option<&'static str>,
}

impl Scenario {
    /// A row with one run, to be filled in.
    pub(crate) const fn new(family: &'static str, name: &'static str, run: fn(Share) -> Tally) -> Self {
        Self { family, name, asked: "–", held: "–", shares: 1, run, bar: |_| Ok(()), alarm: None }
    }

    /// A row with a planted fault, that its family's checker has to find.
    pub(crate) const fn planted(
        family: &'static str,
        name: &'static str,
        alarm: &'static str,
        run: fn(Share) -> Tally,
    ) -> Self {
        Self { held: "the checker says so", alarm: Some(alarm), ..Self::new(family, name, run) }
    }

    /// Whether the row holds, in words.
    pub(crate) fn verdict(&self, tally: &Tally) -> Result<String, String> {
        let complaint = tally.alarms.first().cloned().or_else(|| (self.bar)(tally).err());
        match (complaint, self.alarm) {
            (None, None) => Ok(tally.summary()),
            (Some(complaint), None) => Err(complaint),
            (Some(complaint), Some(expected)) if complaint.contains(expected) => Ok(format!("alarm: {expected}")),
            (Some(complaint), Some(expected)) => Err(format!("expected the alarm “{expected}”, got: {complaint}")),
            (None, Some(expected)) => Err(format!("the fault went unnoticed, no “{expected}”")),
        }
    }
}

/// Which part of a scenario's runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) index: u64,
    pub(crate) of: u64,
}

impl Share {
    /// The numbers below `total` that are this share's.
    pub(crate) fn of(self, total: u64) -> impl Iterator<Item = u64> {
        let step = usize::try_from(self.of.max(1)).unwrap_or(usize::MAX);
        (self.index..total).step_by(step)
    }
}

/// What came of some runs.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    /// How long each took, in virtual time.
    pub(crate) times: Vec<Duration>,
    /// What did not hold, in words that repeat it.
    pub(crate) alarms: Vec<String>,
    /// Figures for the table.
    pub(crate) notes: Vec<String>,
    /// Virtual time of the runs whose duration is no figure.
    pub(crate) passed: Duration,
}

impl Tally {
    /// One run, and what it came to.
    pub(crate) fn one(outcome: Result<(Duration, String), String>) -> Self {
        let mut tally = Self::default();
        match outcome {
            Ok((passed, note)) => {
                tally.runs = 1;
                tally.passed = passed;
                tally.notes.push(note);
            }
            Err(alarm) => tally.alarms.push(alarm),
        }
        tally
    }

    /// One of many runs, which took so long or did not hold.
    pub(crate) fn enter(&mut self, outcome: Result<Duration, String>) {
        self.runs += 1;
        match outcome {
            Ok(took) => self.times.push(took),
            Err(alarm) => self.alarms.push(alarm),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.times.extend(other.times);
        self.alarms.extend(other.alarms);
        self.notes.extend(other.notes);
        self.passed += other.passed;
    }

    /// The time within which this part of the runs was over.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        times.get((last as f64 * part).ceil() as usize).copied().unwrap_or_default()
    }

    /// All virtual time.
    pub(crate) fn virtual_time(&self) -> Duration {
        self.passed + self.times.iter().sum::<Duration>()
    }

    fn summary(&self) -> String {
        let mut parts = self.notes.clone();
        if !self.times.is_empty() {
            let [median, high, most] = [0.5, 0.99, 1.0].map(|part| self.quantile(part).as_secs_f64());
            parts.insert(
                0,
                format!("{} of {}, p50 {median:.2} s, p99 {high:.2} s, most {most:.2} s", self.times.len(), self.runs),
            );
        }
        parts.dedup();
        parts.join("; ")
    }
}
