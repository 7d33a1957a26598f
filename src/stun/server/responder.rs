//! From a question to its answer.

use super::bucket::Bucket;
use super::config::{Config, Place};
use crate::machine::SocketId;
use crate::stun::Packet;
use crate::stun::message::{BINDING, Change, Class, Failure, Rejected, Request, Success, Unknown, View};
use crate::stun::plausible::{Scope, canonical};
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An answer is at most so many bytes longer than its question: to 20 bytes with an IPv6 address come XOR-MAPPED-ADDRESS, RESPONSE-ORIGIN
/// and OTHER-ADDRESS with 24 each, FINGERPRINT with 8. (With IPv4: 44. With the headers of UDP and IP that is 2.2 and 1.9 times the
/// question; who forges a sender gains nothing that open resolvers would not give thirtyfold.)
pub const MAX_GROWTH: usize = 80;

/// The longest question that is read. RFC 5780 §7.6: a question can be padded to 1500 bytes and more to see what becomes of fragments. We do not
/// take part in that, and say so, which needs reading it.
const MAX_QUESTION: usize = 1600;

/// Questioners whose rate is watched at a time, at most. Who comes when there is no room is declined.
const MAX_QUESTIONERS: usize = 2048;

/// Answers that wait to be sent, at most.
const MAX_WAITING: usize = 256;

/// Answers Binding requests. Remembers of a questioner only how much it was sent, and that for seconds.
#[derive(Debug)]
pub struct Server {
    config: Config,
    answers: VecDeque<Packet>,
    all: Bucket,
    each: BTreeMap<IpAddr, Bucket>,
    answered: u64,
    declined: Declined,
}

/// Requests that were not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Declined {
    /// Not of the form of a message.
    pub malformed: u64,
    /// No Binding request.
    pub kind: u64,
    /// Beyond the [limits](super::Limits).
    pub limit: u64,
    /// From where no answer can go.
    pub sender: u64,
}

impl Server {
    /// A server that was asked nothing yet.
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            answers: VecDeque::new(),
            all: Bucket::full(),
            each: BTreeMap::new(),
            answered: 0,
            declined: Declined { malformed: 0, kind: 0, limit: 0, sender: 0 },
        }
    }

    /// Its addresses or its limits changed.
    pub const fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// A datagram that [is STUN's](crate::stun::is_stun) and answers no question of ours. Says whether it is answered.
    pub fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(view) = View::check_up_to(MAX_QUESTION, bytes) else {
            self.declined.malformed = self.declined.malformed.saturating_add(1);
            return false;
        };
        if view.class != Class::Request || view.method != BINDING {
            self.declined.kind = self.declined.kind.saturating_add(1);
            return false;
        }
        if from.port() == 0 || Scope::of(from.ip()).is_none() {
            self.declined.sender = self.declined.sender.saturating_add(1);
            return false;
        }
        if self.answers.len() >= MAX_WAITING || !self.may_answer(now, from.ip()) {
            self.declined.limit = self.declined.limit.saturating_add(1);
            return false;
        }
        let answer = self.answer(socket, from, &view);
        self.answers.push_back(answer);
        self.answered = self.answered.saturating_add(1);
        true
    }

    /// What to send next.
    pub fn poll_transmit(&mut self) -> Option<Packet> {
        self.answers.pop_front()
    }

    /// How many were answered.
    pub const fn answered(&self) -> u64 {
        self.answered
    }

    /// How many were not.
    pub const fn declined(&self) -> &Declined {
        &self.declined
    }

    fn answer(&self, socket: SocketId, from: SocketAddr, view: &View<'_>) -> Packet {
        let refuse = |code, unknown| Packet { socket, to: from, bytes: Failure { id: view.id, code, unknown }.emit() };
        let request = match Request::parse(view) {
            Ok(request) => request,
            Err(Rejected::Unknown(unknown)) => return refuse(420, unknown),
            Err(Rejected::Bad) => return refuse(400, Unknown::default()),
        };
        let places = self.config.places();
        let asked_at = places.iter().position(|place| place.is_some_and(|place| place.socket == socket));
        let place_at = |change: Change| -> Option<Place> {
            let changed = asked_at? ^ (usize::from(change.ip) << 1 | usize::from(change.port));
            *places.get(changed)?
        };
        let origin = match (place_at(request.change), request.change) {
            (Some(place), _) => place,
            // A socket that is nobody's vantage point answers all the same.
            (None, Change::NONE) => Place { socket, address: None },
            // RFC 8489 §14.10: what cannot be done is as good as not understood.
            (None, _) => return refuse(420, Unknown::change_request()),
        };
        let other = place_at(Change { ip: true, port: true }).and_then(|place| place.address);
        let success = Success { id: request.id, mapped: canonical(from), origin: origin.address, other };
        // RFC 5780 §7.5: to that port of the address that asked.
        let to = SocketAddr::new(from.ip(), request.response_port.unwrap_or(from.port()));
        Packet { socket: origin.socket, to, bytes: success.emit() }
    }

    /// Takes from the questioner's bucket and from everybody's, if there is something in both.
    fn may_answer(&mut self, now: Instant, from: IpAddr) -> bool {
        let limits = self.config.limits;
        let from = questioner(from);
        if !self.each.contains_key(&from) && self.each.len() >= MAX_QUESTIONERS {
            self.each.retain(|_, bucket| !bucket.is_full(now));
            if self.each.len() >= MAX_QUESTIONERS {
                return false;
            }
        }
        let mut each = self.each.get(&from).copied().unwrap_or(Bucket::full());
        if !each.take(now, limits.per_second_each, limits.burst_each)
            || !self.all.take(now, limits.per_second, limits.burst)
        {
            return false;
        }
        self.each.insert(from, each);
        true
    }
}

/// Whom a rate is counted for: an IPv4 address, an IPv6 network (whoever has one has 2^64 addresses).
fn questioner(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Alternate, Limits};
    use super::*;
    use crate::stun::message::{Probe, TransactionId};
    use crate::time::Duration;
    use proptest::prelude::*;

    const MAIN: SocketId = SocketId(1);
    const ID: TransactionId = TransactionId([5; 12]);

    fn questioner() -> SocketAddr {
        "203.0.113.9:40000".parse().unwrap()
    }

    fn place(socket: u32, address: &str) -> Place {
        Place { socket: SocketId(socket), address: Some(address.parse().unwrap()) }
    }

    fn full() -> Config {
        let address = Some([place(3, "198.51.100.2:3478"), place(4, "198.51.100.2:3479")]);
        Config {
            main: place(1, "198.51.100.1:3478"),
            alternate: Some(Alternate { port: place(2, "198.51.100.1:3479"), address }),
            limits: Limits::default(),
        }
    }

    fn ask(config: Config, socket: SocketId, bytes: &[u8]) -> Option<Packet> {
        let mut server = Server::new(config);
        let answered = server.handle_datagram(Instant::ZERO, socket, questioner(), bytes);
        let packet = server.poll_transmit();
        assert_eq!(answered, packet.is_some());
        packet
    }

    fn success(packet: &Packet) -> Success {
        Success::parse(&View::check(&packet.bytes).unwrap()).unwrap()
    }

    fn failure(packet: &Packet) -> Failure {
        Failure::parse(&View::check(&packet.bytes).unwrap()).unwrap()
    }

    #[test]
    fn whoever_asks_is_told_the_address_that_we_see() {
        let packet = ask(Config::default(), MAIN, &Request::new(ID).emit()).unwrap();
        assert_eq!((packet.socket, packet.to), (MAIN, questioner()));
        assert_eq!(success(&packet), Success { id: ID, mapped: questioner(), origin: None, other: None });
        // RFC 8489 §6.1: a header alone is a question.
        let mut bare = Request::new(ID).emit();
        bare.truncate(20);
        bare[3] = 0;
        assert_eq!(success(&ask(Config::default(), MAIN, &bare).unwrap()).mapped, questioner());
    }

    /// RFC 5780 §6.1, the table: whatever was asked, the answer comes from what differs from it in what was wanted.
    #[test]
    fn an_answer_comes_from_the_other_address_and_port_if_that_is_wanted() {
        for asked in 1..=4_u32 {
            for (ip, port) in [(false, false), (false, true), (true, false), (true, true)] {
                let request = Request { change: Change { ip, port }, ..Request::new(ID) };
                let packet = ask(full(), SocketId(asked), &request.emit()).unwrap();
                let index = (asked - 1) ^ (u32::from(ip) << 1 | u32::from(port));
                assert_eq!(packet.socket, SocketId(index + 1));
                let said = success(&packet);
                let places = full().places().map(|place| place.unwrap().address);
                assert_eq!((said.origin, said.other), (places[index as usize], places[(asked - 1) as usize ^ 3]));
            }
        }
    }

    #[test]
    fn a_server_with_a_second_port_changes_the_port_and_says_nothing_of_another_address() {
        let mut config = full();
        config.alternate.as_mut().unwrap().address = None;
        let with = |ip, port| Request { change: Change { ip, port }, ..Request::new(ID) }.emit();
        let packet = ask(config, MAIN, &with(false, true)).unwrap();
        assert_eq!((packet.socket, success(&packet).other), (SocketId(2), None));
        assert_eq!(failure(&ask(config, MAIN, &with(true, false)).unwrap()).unknown, Unknown::change_request());
        assert_eq!(failure(&ask(config, MAIN, &with(true, true)).unwrap()).code, 420);
        assert_eq!(failure(&ask(Config::default(), MAIN, &with(false, true)).unwrap()).code, 420);
        // Another of our sockets, on which nobody was meant to ask.
        assert_eq!(success(&ask(config, SocketId(77), &with(false, false)).unwrap()).origin, None);
        assert_eq!(failure(&ask(config, SocketId(77), &with(false, true)).unwrap()).code, 420);
    }

    #[test]
    fn an_answer_goes_to_the_port_that_was_named_at_the_address_that_asked() {
        let request = Request { response_port: Some(777), ..Request::new(ID) };
        let packet = ask(Config::default(), MAIN, &request.emit()).unwrap();
        assert_eq!(packet.to, SocketAddr::new(questioner().ip(), 777));
        assert_eq!(success(&packet).mapped, questioner());
    }

    #[test]
    fn what_has_to_be_understood_and_is_not_is_named() {
        let mut bytes = Request::new(ID).emit();
        bytes.truncate(20);
        bytes.extend([0, 0x26, 0, 1, 0, 0, 0, 0]);
        bytes[3] = 8;
        let refusal = failure(&ask(full(), MAIN, &bytes).unwrap());
        assert_eq!((refusal.code, refusal.unknown.0.as_slice()), (420, &[0x26][..]));
        // RFC 5780 §7.6: PADDING as it is meant to be.
        let mut padded = bytes.clone();
        padded.resize(20 + 4 + 1500, 0);
        padded.splice(2..4, 1504_u16.to_be_bytes());
        padded.splice(22..24, 1500_u16.to_be_bytes());
        assert_eq!(failure(&ask(full(), MAIN, &padded).unwrap()), refusal);
        bytes[20..24].copy_from_slice(&[0, 0x27, 0, 1]);
        assert_eq!(failure(&ask(full(), MAIN, &bytes).unwrap()).code, 400);
    }

    #[test]
    fn what_is_no_question_is_declined_and_counted() {
        let mut server = Server::new(full());
        let answer = Success { id: ID, mapped: questioner(), origin: None, other: None }.emit();
        let good = Request::new(ID).emit();
        let multicast: SocketAddr = "224.0.0.1:9".parse().unwrap();
        let nowhere = SocketAddr::new(questioner().ip(), 0);
        for (bytes, from) in [
            (&answer[..], questioner()),
            (&Probe { token: ID }.emit(), questioner()),
            (&good[..27], questioner()),
            (&vec![0; MAX_QUESTION + 1], questioner()),
            (&good, multicast),
            (&good, nowhere),
        ] {
            assert!(!server.handle_datagram(Instant::ZERO, MAIN, from, bytes));
        }
        assert_eq!(server.declined(), &Declined { malformed: 2, kind: 2, limit: 0, sender: 2 });
        assert_eq!((server.poll_transmit(), server.answered()), (None, 0));
    }

    #[test]
    fn a_questioner_gets_so_many_answers_and_others_still_get_theirs() {
        let limits = Limits { per_second: 100, burst: 50, per_second_each: 5, burst_each: 10 };
        let mut server = Server::new(Config { limits, ..full() });
        let bytes = Request::new(ID).emit();
        let mut ask = |ms: u64, from: SocketAddr, times: usize| {
            let now = Instant::from_start(Duration::from_millis(ms));
            let answered = (0..times).filter(|_| server.handle_datagram(now, MAIN, from, &bytes)).count();
            while server.poll_transmit().is_some() {}
            answered
        };
        assert_eq!(ask(0, questioner(), 100), 10);
        // Whatever port it comes from.
        assert_eq!(ask(0, SocketAddr::new(questioner().ip(), 9), 100), 0);
        assert_eq!(ask(1000, questioner(), 100), 5);
        let v6 = |last: u16| SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last), 9));
        assert_eq!((ask(1000, v6(1), 6), ask(1000, v6(2), 6)), (6, 4));
        // Everybody together: fifty at once.
        let many = (0..100_u8).map(|host| ask(1000, SocketAddr::from(([192, 0, 2, host], 9)), 1)).sum::<usize>();
        assert_eq!(many, 50 - 5 - 10);
    }

    #[test]
    fn forged_questioners_fill_no_memory_and_waiting_answers_neither() {
        let limits = Limits { per_second: u32::MAX, burst: u32::MAX, per_second_each: 1, burst_each: 1 };
        let mut server = Server::new(Config { limits, ..full() });
        let bytes = Request::new(ID).emit();
        for host in 0..10_000_u32 {
            server.handle_datagram(
                Instant::ZERO,
                MAIN,
                SocketAddr::from((host.to_be_bytes().map(|byte| byte | 64), 9)),
                &bytes,
            );
            if host > 1000 {
                server.poll_transmit();
            }
            assert!(server.answers.len() <= MAX_WAITING);
        }
        assert!(server.each.len() <= MAX_QUESTIONERS);
        // A second later they are forgotten.
        let later = Instant::from_start(Duration::from_secs(2));
        assert!(server.handle_datagram(later, MAIN, questioner(), &bytes));
    }

    proptest! {
        /// Whatever is asked, the answer is bounded by the question.
        #[test]
        fn no_answer_is_much_longer_than_its_question(kinds in proptest::collection::vec((0_u16..0x40, 0_usize..12), 0..20), v6: bool) {
            let mut bytes = Request::new(ID).emit();
            bytes.truncate(20);
            for (kind, length) in kinds {
                bytes.extend(kind.to_be_bytes());
                bytes.extend((length as u16).to_be_bytes());
                bytes.resize(bytes.len() + length.next_multiple_of(4), 0);
            }
            let length = (bytes.len() - 20) as u16;
            bytes.splice(2..4, length.to_be_bytes());
            let places = if v6 { ["[2001:db8::1]:1", "[2001:db8::1]:2", "[2001:db8::2]:1", "[2001:db8::2]:2"] }
                else { ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:2"] };
            let place = |at: usize| place(at as u32 + 1, places[at]);
            let alternate = Some(Alternate { port: place(1), address: Some([place(2), place(3)]) });
            let mut server = Server::new(Config { main: place(0), alternate, limits: Limits::default() });
            let from = if v6 { "[2001:db8::9]:5" } else { "203.0.113.9:5" }.parse().unwrap();
            server.handle_datagram(Instant::ZERO, MAIN, from, &bytes);
            let answer = server.poll_transmit().unwrap();
            let growth = if v6 { MAX_GROWTH } else { 44 };
            prop_assert!(answer.bytes.len() <= bytes.len() + growth);
        }
    }
}
