//! What the main socket looks like from everywhere: its address, and whether that is the same for everybody.

use super::api::Vantage;
use super::bench::Bench;
use crate::machine::SocketId;
use crate::stun::client::{Answer, Outcome, Patience, Question, QuestionNumber, Report};
use crate::stun::fingerprint::Mapping;
use crate::time::{Duration, Instant};
use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Vantage points that are asked, at most. One that did not answer makes room.
const MAX_VANTAGES: usize = 16;

/// Servers whose OTHER-ADDRESS is followed, at most. It is asked with little patience: who is named there did not ask for it.
const MAX_OTHERS: usize = 2;

/// Answers that are further apart are not compared: the mapping may have been forgotten in between.
const WINDOW: Duration = Duration::from_secs(10);

/// Answers that are repeated when others come later than that, at most.
const MAX_REPEATED: usize = 3;

/// After so long without a question or an answer those that are there count, even if not everybody answered.
const REST: Duration = Duration::from_millis(1500);

/// Everybody who was asked on the main socket.
#[derive(Debug, Default)]
pub(super) struct Survey {
    vantages: Vec<Vantage>,
    places: BTreeMap<SocketAddr, Place>,
    followed: BTreeSet<SocketAddr>,
    last_asked: Instant,
    last_answer: Option<Instant>,
    /// Whether anybody said anything, be it an error.
    heard: bool,
}

/// An address that was asked.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    question: Option<QuestionNumber>,
    seen: Option<Seen>,
    gave_up: bool,
}

/// What was seen from an address.
#[derive(Clone, Copy, Debug)]
struct Seen {
    mapped: SocketAddr,
    at: Instant,
    rtt: Option<Duration>,
    other: Option<SocketAddr>,
}

/// What follows from the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) public: SocketAddr,
    pub(super) mapping: Option<Mapping>,
    /// Whether no further answer will change it, unless somebody lies.
    pub(super) is_proven: bool,
}

impl Survey {
    /// Everything is asked anew.
    pub(super) fn restart(&mut self, bench: &mut Bench, now: Instant, main: SocketId, patience: Patience) {
        let vantages = core::mem::take(&mut self.vantages);
        *self = Self::default();
        vantages.into_iter().for_each(|vantage| self.add(bench, now, main, patience, vantage));
    }

    /// One more vantage point is known.
    pub(super) fn add(
        &mut self,
        bench: &mut Bench,
        now: Instant,
        main: SocketId,
        patience: Patience,
        vantage: Vantage,
    ) {
        if let Some(known) = self.vantages.iter_mut().find(|known| known.address() == vantage.address()) {
            // A server that turns out to be a member can do more.
            *known = vantage;
        } else {
            if self.vantages.len() >= MAX_VANTAGES {
                let gave_up = |place: &Place| place.gave_up && place.seen.is_none();
                let is_silent = |known: &Vantage| self.places.get(&known.address()).is_some_and(gave_up);
                let Some(silent) = self.vantages.iter().position(is_silent) else { return };
                let silent = self.vantages.swap_remove(silent);
                self.places.remove(&silent.address());
            }
            self.vantages.push(vantage);
        }
        let second = match vantage {
            Vantage::Member { second, .. } => second.filter(|second| second.ip() == vantage.address().ip()),
            Vantage::Server(_) => None,
        };
        for address in [Some(vantage.address()), second].into_iter().flatten() {
            self.ask(bench, now, main, patience, address);
        }
        self.repeat(bench, now, main);
    }

    /// A vantage point is gone.
    pub(super) fn remove(&mut self, address: SocketAddr) {
        self.vantages.retain(|known| known.address() != address);
        self.places.remove(&address);
    }

    /// Where mappings may be compared: old answers are asked for again.
    fn repeat(&mut self, bench: &mut Bench, now: Instant, main: SocketId) {
        if self.verdict(now).is_some_and(|verdict| verdict.is_proven) {
            return;
        }
        let is_old =
            |place: &Place| place.seen.is_some_and(|seen| seen.at + WINDOW / 2 < now) && place.question.is_none();
        let old: Vec<SocketAddr> = self
            .places
            .iter()
            .filter(|(_, place)| is_old(place))
            .map(|(address, _)| *address)
            .take(MAX_REPEATED)
            .collect();
        for address in old {
            let question = bench.ask(now, Question::new(main, address, Patience::SHORT));
            if let Some(place) = self.places.get_mut(&address) {
                place.question = question;
                self.last_asked = now;
            }
        }
    }

    fn ask(&mut self, bench: &mut Bench, now: Instant, main: SocketId, patience: Patience, address: SocketAddr) {
        if self.places.contains_key(&address) {
            return;
        }
        let question = bench.ask(now, Question::new(main, address, patience));
        if question.is_some() {
            self.last_asked = now;
            self.places.insert(address, Place { question, ..Place::default() });
        }
    }

    /// A question ended. Says whether it was one of ours.
    pub(super) fn handle(&mut self, bench: &mut Bench, now: Instant, main: SocketId, report: &Report) -> bool {
        let asked = report.question.server;
        let Some(place) = self.places.get_mut(&asked) else { return false };
        if place.question != Some(report.number) {
            return false;
        }
        place.question = None;
        match report.outcome {
            Outcome::Answered(Answer { mapped, rtt, other, .. }) => {
                let rtt = rtt.or(place.seen.and_then(|seen| seen.rtt));
                place.seen = Some(Seen { mapped, at: now, rtt, other });
                place.gave_up = false;
                self.heard = true;
                self.last_answer = Some(now);
                self.follow(bench, now, main, asked, other);
            }
            Outcome::Refused(_) => {
                place.gave_up = true;
                self.heard = true;
            }
            Outcome::Silent => place.gave_up = true,
        }
        true
    }

    /// RFC 5780 §4.3: asks the other port of a server, and the other port of its other address.
    fn follow(
        &mut self,
        bench: &mut Bench,
        now: Instant,
        main: SocketId,
        server: SocketAddr,
        other: Option<SocketAddr>,
    ) {
        let Some(other) = other.filter(|other| *other != server) else { return };
        let is_followed = self.places.contains_key(&other) || self.followed.len() >= MAX_OTHERS;
        let is_ours = self.vantages.iter().any(|vantage| vantage.address() == server);
        if is_followed || !is_ours || !self.followed.insert(server) {
            return;
        }
        for address in [other, SocketAddr::new(server.ip(), other.port())] {
            self.ask(bench, now, main, Patience::SHORT, address);
        }
    }

    /// What is known by now.
    pub(super) fn verdict(&self, now: Instant) -> Option<Verdict> {
        let newest = self.places.values().filter_map(|place| place.seen).map(|seen| seen.at).max()?;
        let mut votes: Vec<(Instant, SocketAddr, SocketAddr)> = self
            .places
            .iter()
            .filter_map(|(address, place)| place.seen.map(|seen| (seen.at, *address, seen.mapped)))
            .filter(|(at, _, _)| *at + WINDOW >= newest)
            .collect();
        votes.sort_unstable();
        let votes: Vec<(SocketAddr, SocketAddr)> =
            votes.into_iter().map(|(_, asked, mapped)| (asked, mapped)).collect();
        let verdict = judge(&votes)?;
        let mapping = verdict.mapping.filter(|_| verdict.is_proven || self.is_rested(now));
        Some(Verdict { mapping, ..verdict })
    }

    /// Whether nothing is to be expected soon.
    pub(super) fn is_rested(&self, now: Instant) -> bool {
        self.rests_at().is_none_or(|rests_at| rests_at <= now)
    }

    /// When to look again, because those who did not answer count no longer. `None`: nobody is waited for, or nobody answered.
    pub(super) fn rests_at(&self) -> Option<Instant> {
        let is_pending = self.places.values().any(|place| place.question.is_some());
        if !is_pending {
            return None;
        }
        Some(self.last_answer.map_or(Instant::FAR_FUTURE, |last| last.max(self.last_asked) + REST))
    }

    /// Whether nobody answered, though two were asked at two addresses with all patience.
    pub(super) fn is_blocked(&self) -> bool {
        let silent: BTreeSet<IpAddr> =
            self.places.iter().filter(|(_, place)| place.gave_up).map(|(address, _)| address.ip()).collect();
        !self.heard && silent.len() >= 2 && self.places.values().all(|place| place.question.is_none())
    }

    /// Whether anybody said anything.
    pub(super) const fn is_heard(&self) -> bool {
        self.heard
    }

    /// The vantage points that answered, the nearest first.
    pub(super) fn answering(&self) -> Vec<Vantage> {
        let mut near: Vec<(Duration, Vantage)> = self
            .vantages
            .iter()
            .filter_map(|vantage| Some((self.seen(vantage.address())?.rtt.unwrap_or(Duration::MAX), *vantage)))
            .collect();
        near.sort_unstable();
        near.into_iter().map(|(_, vantage)| vantage).collect()
    }

    /// All addresses that answered.
    pub(super) fn answering_addresses(&self) -> Vec<SocketAddr> {
        self.places.iter().filter(|(_, place)| place.seen.is_some()).map(|(address, _)| *address).collect()
    }

    /// Servers that have another address and another port, all of which answered; and these.
    pub(super) fn servers_with_other(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let other = |server: SocketAddr| {
            let other = self.seen(server)?.other.filter(|other| other.ip() != server.ip())?;
            self.seen(other).map(|_| (server, other))
        };
        self.answering().iter().filter_map(|vantage| other(vantage.address())).collect()
    }

    /// Vantage points with a second port, where they answered too; and that.
    pub(super) fn with_second_port(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let second = |vantage: &Vantage| {
            let address = vantage.address();
            let second = match vantage {
                Vantage::Member { second, .. } => *second,
                Vantage::Server(_) => {
                    self.seen(address)?.other.map(|other| SocketAddr::new(address.ip(), other.port()))
                }
            };
            let second = second.filter(|second| second.port() != address.port())?;
            self.seen(second).map(|_| (address, second))
        };
        self.answering().iter().filter_map(second).collect()
    }

    fn seen(&self, address: SocketAddr) -> Option<Seen> {
        self.places.get(&address)?.seen
    }
}

/// From what was seen from where, in the order in which it was seen, to what follows.
///
/// * Independent (RFC 5780 §4.3): more than half of the addresses asked, two IP addresses among them, saw the same. A single one that saw
///   something else lies or stands somewhere else.
/// * Otherwise by address and port if two ports of one IP address saw something different, by address if they did not; and if
///   there are no two ports, by address and port, as long as nothing else is known: that is the worse of the two.
fn judge(votes: &[(SocketAddr, SocketAddr)]) -> Option<Verdict> {
    let count = |mapped: SocketAddr| votes.iter().filter(|(_, other)| *other == mapped).count();
    let first_of_most = votes.iter().enumerate().max_by_key(|(at, (_, mapped))| (count(*mapped), Reverse(*at)));
    let (_, (_, public)) = first_of_most?;
    let public = *public;
    let witnesses: BTreeSet<IpAddr> =
        votes.iter().filter(|(_, mapped)| *mapped == public).map(|(asked, _)| asked.ip()).collect();
    let verdict = |mapping, is_proven| Some(Verdict { public, mapping, is_proven });
    if witnesses.len() >= 2 && count(public).saturating_mul(2) > votes.len() {
        return verdict(Some(Mapping::Independent), true);
    }
    let pairs = || {
        let later = |at: usize| votes.iter().skip(at.saturating_add(1));
        votes.iter().enumerate().flat_map(move |(at, one)| later(at).map(move |other| (one, other)))
    };
    let mut neighbours = pairs().filter(|(one, other)| one.0.ip() == other.0.ip()).peekable();
    let has_neighbours = neighbours.peek().is_some();
    if neighbours.any(|(one, other)| one.1 != other.1) {
        return verdict(Some(Mapping::ByAddressAndPort), true);
    }
    let differs = pairs().any(|(one, other)| one.1 != other.1);
    match (differs, has_neighbours) {
        (true, true) => verdict(Some(Mapping::ByAddress), true),
        (true, false) => verdict(Some(Mapping::ByAddressAndPort), false),
        (false, _) => verdict(None, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(votes: &[(&str, &str)]) -> Option<(Option<Mapping>, bool, String)> {
        let votes: Vec<_> =
            votes.iter().map(|(asked, mapped)| (asked.parse().unwrap(), mapped.parse().unwrap())).collect();
        judge(&votes).map(|verdict| (verdict.mapping, verdict.is_proven, verdict.public.to_string()))
    }

    const A: &str = "198.51.100.1:3478";
    const A2: &str = "198.51.100.1:3479";
    const B: &str = "198.51.100.2:3478";
    const C: &str = "198.51.100.3:3478";
    const X: &str = "203.0.113.1:5000";
    const Y: &str = "203.0.113.1:5001";
    const Z: &str = "203.0.113.1:5002";

    #[test]
    fn a_mapping_is_judged_by_who_saw_the_same() {
        let says = |mapping, is_proven, public: &str| Some((mapping, is_proven, public.to_owned()));
        let (independent, by_address) = (Some(Mapping::Independent), Some(Mapping::ByAddress));
        let by_port = Some(Mapping::ByAddressAndPort);
        for (votes, expected) in [
            (&[][..], None),
            (&[(A, X)], says(None, false, X)),
            (&[(A, X), (A2, X)], says(None, false, X)),
            (&[(A, X), (B, X)], says(independent, true, X)),
            (&[(A, X), (A2, X), (B, X)], says(independent, true, X)),
            (&[(A, X), (B, Y)], says(by_port, false, X)),
            (&[(A, X), (B, Y), (C, Z)], says(by_port, false, X)),
            (&[(A, X), (A2, Y)], says(by_port, true, X)),
            (&[(A, X), (A2, X), (B, Y)], says(by_address, true, X)),
            (&[(A, X), (A2, Y), (B, Z)], says(by_port, true, X)),
            // One of three sees something else: it is wrong, wherever it comes in the order.
            (&[(A, Y), (B, X), (C, X)], says(independent, true, X)),
            (&[(A, X), (B, X), (C, "192.0.2.66:53")], says(independent, true, X)),
            (&[(A, X), (A2, X), (B, X), (C, Y)], says(independent, true, X)),
            // Two against two are no majority.
            (&[(A, X), (B, X), (C, Y), ("198.51.100.4:1", Y)], says(by_port, false, X)),
        ] {
            assert_eq!(verdict(votes), expected, "{votes:?}");
        }
    }

    #[test]
    fn not_more_than_so_many_vantage_points_are_asked_and_the_silent_make_room() {
        let mut bench = Bench::new([1; 32], true, 1..9);
        let mut survey = Survey::default();
        let server = |host: u8| Vantage::Server(SocketAddr::from(([198, 51, 100, host], 3478)));
        let once = Patience { rto: None, requests: 1, last: 1 };
        let add = |survey: &mut Survey, bench: &mut Bench, host| {
            survey.add(bench, Instant::ZERO, SocketId::MAIN, once, server(host));
        };
        (0..100).for_each(|host| add(&mut survey, &mut bench, host));
        assert_eq!((survey.vantages.len(), survey.places.len()), (MAX_VANTAGES, MAX_VANTAGES));
        while bench.poll_transmit(Instant::ZERO).is_some() {}
        let later = Instant::from_start(Duration::from_secs(1));
        bench.client.handle_timeout(later);
        assert!(!survey.is_blocked());
        while let Some(report) = bench.client.poll_event() {
            assert!(survey.handle(&mut bench, later, SocketId::MAIN, &report));
        }
        assert!(survey.is_blocked());
        add(&mut survey, &mut bench, 200);
        assert!(
            survey.vantages.contains(&server(200)) && survey.vantages.len() == MAX_VANTAGES && !survey.is_blocked()
        );
    }
}
