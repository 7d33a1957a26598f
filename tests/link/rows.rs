//! The links, and what each has to show.

use crate::bottleneck::{Plan, link, payload_limit};
use anjer::mrt::recovery::congestion::Algorithm;
use anjer::time::Duration;
use netem::{Link, Reordering};

/// A link with one sender on it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) link: fn() -> Link,
    /// What the link becomes, and when in seconds.
    pub(crate) changes: fn() -> Vec<(f64, Link)>,
    /// The seconds that count.
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// Goodput, of the payload limit, at least; bytes sent for a byte that arrives, at most.
    pub(crate) goodput: f64,
    pub(crate) overhead: f64,
    /// Milliseconds that the queue adds, in the median and for nineteen of twenty, at most.
    pub(crate) delay: Option<[f64; 2]>,
}

const ROW: Row = Row {
    name: "",
    link: Link::default,
    changes: Vec::new,
    from: 3.0,
    to: 30.0,
    goodput: 0.95,
    overhead: f64::INFINITY,
    delay: None,
};

/// The rows of one sender.
pub(crate) const ROWS: [Row; 10] = [
    Row { name: "100 Mbit/s, 20 ms", link: || link(100.0, 20.0, 50.0), goodput: 0.97, ..ROW },
    Row { name: "100 Mbit/s, 50 ms, 1 % lost", link: || link(100.0, 50.0, 50.0).losing(0.01), overhead: 1.111, ..ROW },
    Row {
        name: "200 Mbit/s, 100 ms, 2 % lost",
        link: || link(200.0, 100.0, 100.0).losing(0.02),
        overhead: 1.122,
        ..ROW
    },
    Row { name: "20 Mbit/s, 200 ms, 5 % lost", link: || link(20.0, 200.0, 200.0).losing(0.05), overhead: 1.155, ..ROW },
    Row { name: "100 Mbit/s, 30 ms, 10 % lost, jitter, 5 % reordered", link: shaken, overhead: 1.21, ..ROW },
    Row {
        name: "400 Mbit/s, 150 ms, from the start",
        link: || link(400.0, 150.0, 150.0),
        from: 0.0,
        to: 10.0,
        goodput: 0.83,
        ..ROW
    },
    Row { name: "400 Mbit/s, 150 ms, after", link: || link(400.0, 150.0, 150.0), from: 10.0, to: 25.0, ..ROW },
    Row {
        name: "20 Mbit/s, 40 ms, a second of queue",
        link: || link(20.0, 40.0, 1000.0),
        goodput: 0.97,
        delay: Some([5.0, 15.0]),
        ..ROW
    },
    Row {
        name: "100 → 1 → 100 Mbit/s, 40 ms, from a second after",
        link: home,
        changes: || vec![(10.0, link(1.0, 40.0, 100.0)), (15.0, home())],
        from: 16.0,
        to: 20.0,
        ..ROW
    },
    Row {
        name: "half a second longer for 5 s, from a second after",
        link: home,
        changes: || {
            let far = home();
            vec![(10.0, Link { delay: far.delay + Duration::from_millis(500), ..far }), (15.0, home())]
        },
        from: 16.0,
        to: 20.0,
        ..ROW
    },
];

fn home() -> Link {
    link(100.0, 40.0, 100.0)
}

fn shaken() -> Link {
    Link {
        jitter: Duration::from_millis(5),
        reordering: Reordering { probability: 0.05, hold: Duration::from_millis(5) },
        ..link(100.0, 30.0, 50.0).losing(0.1)
    }
}

impl Row {
    /// Runs it until `to`, or shorter. Goodput of the limit, overhead, and what the queue adds in the median and for nineteen of twenty.
    pub(crate) fn measure(&self, congestion: Algorithm, seed: u64, to: f64) -> [f64; 4] {
        let mut plan = Plan { seed, ..Plan::alone(congestion, (self.link)()) };
        plan.changes = (self.changes)().into_iter().map(|(at, link)| (Duration::from_secs_f64(at), link)).collect();
        let figures = plan.run(Duration::from_secs_f64(to));
        let goodput = figures.goodput(0, self.from, to) / payload_limit(&plan.link);
        [goodput, figures.overhead(), figures.delay(0.5, self.from), figures.delay(0.95, self.from)]
    }
}
