//! Stories of a client and of what comes to it.

use super::*;
use crate::stun::client::{FIRST_RTO, Patience};
use crate::stun::message::Change;

const SOCKET: SocketId = SocketId(7);

fn at(ms: u64) -> Instant {
    Instant::from_start(Duration::from_millis(ms))
}

fn server() -> SocketAddr {
    "198.51.100.1:3478".parse().unwrap()
}

fn mapped() -> SocketAddr {
    "203.0.113.9:40000".parse().unwrap()
}

fn client() -> Client {
    Client::new([1; 32])
}

/// Asks and takes the packet.
fn asked(client: &mut Client, question: Question) -> (QuestionNumber, Request) {
    let number = client.ask(at(0), question).unwrap();
    (number, sent(client, 0).unwrap())
}

fn sent(client: &mut Client, ms: u64) -> Option<Request> {
    let packet = client.poll_transmit(at(ms))?;
    assert_eq!((packet.socket, packet.to), (SOCKET, server()));
    Some(Request::parse(&View::check(&packet.bytes).unwrap()).unwrap())
}

fn plain() -> Question {
    Question::new(SOCKET, server(), Patience::FULL)
}

fn answer(request: &Request) -> Success {
    Success { id: request.id, mapped: mapped(), origin: None, other: None }
}

#[test]
fn an_answer_tells_the_address_and_how_long_it_took() {
    let mut client = client();
    let (number, request) = asked(&mut client, plain());
    let origin = Some(server());
    let bytes = Success { origin, other: Some("198.51.100.2:3479".parse().unwrap()), ..answer(&request) }.emit();
    assert!(client.expects(&bytes));
    client.handle_datagram(at(40), SOCKET, server(), &bytes);
    let report = client.poll_event().unwrap();
    let Outcome::Answered(answer) = report.outcome else { panic!("{report:?}") };
    assert_eq!((report.number, answer.mapped, answer.origin), (number, mapped(), origin));
    assert_eq!(
        (answer.rtt, answer.other),
        (Some(Duration::from_millis(40)), Some("198.51.100.2:3479".parse().unwrap()))
    );
    assert!(client.is_idle() && client.poll_timeout().is_none() && client.poll_event().is_none());
    // The second copy is an answer to nothing.
    client.handle_datagram(at(41), SOCKET, server(), &bytes);
    assert_eq!(client.ignored(), &Ignored { id: 1, ..Ignored::default() });
}

#[test]
fn a_question_is_repeated_as_the_rfc_says_and_then_given_up() {
    let mut client = client();
    let (number, first) = asked(&mut client, plain());
    let mut times = vec![0];
    while let Some(next) = client.poll_timeout() {
        client.handle_timeout(next);
        if let Some(again) = sent(&mut client, next.as_millis()) {
            assert_eq!(again, first, "the same id");
            times.push(next.as_millis());
        } else {
            assert_eq!(next, at(39_500));
        }
    }
    assert_eq!(times, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    assert_eq!(client.poll_event().map(|report| (report.number, report.outcome)), Some((number, Outcome::Silent)));
    assert_eq!(client.spent(), 7);
}

/// RFC 6298 §3: which of two packets was answered nobody knows, so that the time says nothing.
#[test]
fn a_repeated_question_measures_no_time() {
    let mut client = client();
    let (_, request) = asked(&mut client, plain());
    client.handle_timeout(at(500));
    sent(&mut client, 500).unwrap();
    client.handle_datagram(at(510), SOCKET, server(), &answer(&request).emit());
    let Some(Report { outcome: Outcome::Answered(answer), .. }) = client.poll_event() else { panic!() };
    assert_eq!(answer.rtt, None);
    client.ask(at(600), plain());
    sent(&mut client, 600).unwrap();
    assert_eq!(client.poll_timeout(), Some(at(600) + FIRST_RTO));
}

#[test]
fn answers_of_a_wrong_kind_are_ignored_and_counted_by_what_is_wrong() {
    let mut client = client();
    let (_, request) = asked(&mut client, plain());
    let good = answer(&request);
    let elsewhere: SocketAddr = "198.51.100.1:3479".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:5000".parse().unwrap();
    let mut contradiction = good.emit();
    contradiction.truncate(contradiction.len() - 8);
    let second = Success { mapped: "203.0.113.10:1".parse().unwrap(), ..good }.emit();
    contradiction.extend_from_slice(&second[20..32]);
    contradiction[3] = 24;
    let mut method = Request::new(request.id).emit();
    method.truncate(20);
    method.splice(0..4, [1, 3, 0, 0]);
    let mut two_kilobytes = good.emit();
    two_kilobytes.resize(2048, 0);
    two_kilobytes.splice(2..4, 2028_u16.to_be_bytes());
    let mut truncated = good.emit();
    truncated.pop();
    let mut unknown = good.emit();
    unknown[20] = 0x7F;
    unknown.truncate(32);
    unknown[3] = 12;
    let mut damaged = good.emit();
    damaged[28] ^= 1;
    let mut empty = good.emit();
    empty.truncate(20);
    empty[3] = 0;

    let wrong: [(Vec<u8>, SocketAddr, SocketId, Reason); 20] = [
        (Success { id: TransactionId([9; 12]), ..good }.emit(), server(), SOCKET, Reason::Id),
        (request.emit(), server(), SOCKET, Reason::Kind),
        (method, server(), SOCKET, Reason::Kind),
        (good.emit(), elsewhere, SOCKET, Reason::Source),
        (good.emit(), mapped(), SOCKET, Reason::Source),
        (good.emit(), server(), SocketId(8), Reason::Socket),
        (Success { mapped: v6, ..good }.emit(), server(), SOCKET, Reason::Family),
        (Success { mapped: "127.0.0.1:9".parse().unwrap(), ..good }.emit(), server(), SOCKET, Reason::Implausible),
        (Success { mapped: "192.168.1.1:9".parse().unwrap(), ..good }.emit(), server(), SOCKET, Reason::Implausible),
        (Success { mapped: "239.1.1.1:9".parse().unwrap(), ..good }.emit(), server(), SOCKET, Reason::Implausible),
        (
            Success { mapped: "255.255.255.255:9".parse().unwrap(), ..good }.emit(),
            server(),
            SOCKET,
            Reason::Implausible,
        ),
        (Success { mapped: "203.0.113.9:0".parse().unwrap(), ..good }.emit(), server(), SOCKET, Reason::Implausible),
        (contradiction, server(), SOCKET, Reason::Contradiction),
        (two_kilobytes, server(), SOCKET, Reason::TooLong),
        (truncated, server(), SOCKET, Reason::Malformed),
        (damaged, server(), SOCKET, Reason::Malformed),
        (vec![0; 3], server(), SOCKET, Reason::Malformed),
        (unknown, server(), SOCKET, Reason::Unknown),
        (empty, server(), SOCKET, Reason::Empty),
        (vec![], server(), SOCKET, Reason::Malformed),
    ];
    let mut expected = Ignored::default();
    for (bytes, from, socket, reason) in wrong {
        client.handle_datagram(at(10), socket, from, &bytes);
        expected.note(reason);
        assert_eq!(client.ignored(), &expected, "{reason:?}");
        assert_eq!(client.poll_event(), None, "{reason:?}");
    }
    // None of it did any harm.
    client.handle_datagram(at(20), SOCKET, server(), &good.emit());
    assert!(matches!(client.poll_event(), Some(Report { outcome: Outcome::Answered(_), .. })));
}

/// The id is on its way only once the question was sent: an answer before that was guessed.
#[test]
fn nothing_answers_a_question_that_was_not_sent() {
    let mut client = client();
    let mut twin = Client::new([1; 32]);
    client.ask(at(0), plain());
    let (_, request) = asked(&mut twin, plain());
    client.handle_datagram(at(1), SOCKET, server(), &answer(&request).emit());
    assert_eq!((client.poll_event(), client.ignored().source), (None, 1));
}

#[test]
fn a_changed_address_is_where_the_answer_may_come_from_too() {
    let mut client = client();
    let other: SocketAddr = "198.51.100.2:3479".parse().unwrap();
    let change = Change { ip: true, port: true };
    for (from, is_answer) in [(other, true), (server(), true), ("198.51.100.2:3478".parse().unwrap(), false)] {
        let (_, request) = asked(&mut client, Question { change, also_from: Some(other), ..plain() });
        assert_eq!(request.change, change);
        client.handle_datagram(at(1), SOCKET, from, &answer(&request).emit());
        assert_eq!(client.poll_event().is_some(), is_answer, "{from}");
    }
}

#[test]
fn an_answer_may_be_directed_to_another_socket() {
    let mut client = client();
    let listener = SocketId(8);
    let (_, request) = asked(&mut client, Question { respond_to: Some((listener, 40_001)), ..plain() });
    assert_eq!(request.response_port, Some(40_001));
    client.handle_datagram(at(1), SocketId(9), server(), &answer(&request).emit());
    client.handle_datagram(at(1), listener, server(), &answer(&request).emit());
    let Some(Report { outcome: Outcome::Answered(answer), .. }) = client.poll_event() else { panic!() };
    assert_eq!((answer.on, client.ignored().socket), (listener, 1));
}

#[test]
fn a_server_that_cannot_do_it_says_so() {
    let mut client = client();
    let (_, request) = asked(&mut client, plain());
    let refusal = Failure { id: request.id, code: 420, unknown: crate::stun::message::Unknown::default() };
    client.handle_datagram(at(1), SOCKET, server(), &refusal.emit());
    assert_eq!(client.poll_event().map(|report| report.outcome), Some(Outcome::Refused(420)));
}

#[test]
fn an_answer_on_a_socket_of_both_families_is_the_same_answer() {
    let mut client = client();
    let (_, request) = asked(&mut client, plain());
    client.handle_datagram(at(1), SOCKET, "[::ffff:198.51.100.1]:3478".parse().unwrap(), &answer(&request).emit());
    assert!(client.poll_event().is_some());
}

#[test]
fn not_more_than_so_many_questions_are_open() {
    let mut client = client();
    let taken = (0..200).filter(|_| client.ask(at(0), plain()).is_some()).count();
    assert_eq!(taken, MAX_QUESTIONS);
    let mut requests = Vec::new();
    while let Some(request) = sent(&mut client, 0) {
        requests.push(request);
    }
    // Reports that nobody took count too.
    requests.iter().for_each(|request| client.handle_datagram(at(1), SOCKET, server(), &answer(request).emit()));
    assert_eq!(client.ask(at(1), plain()), None);
    assert!(client.poll_event().is_some() && client.ask(at(1), plain()).is_some());
}

#[test]
fn what_is_forgotten_is_neither_sent_nor_answered() {
    let mut client = client();
    let number = client.ask(at(0), plain()).unwrap();
    client.forget(number);
    assert_eq!((sent(&mut client, 0), client.is_idle()), (None, true));
    let (_, request) = asked(&mut client, plain());
    client.forget_socket(SOCKET);
    client.handle_datagram(at(1), SOCKET, server(), &answer(&request).emit());
    assert_eq!((client.poll_event(), client.ignored().id), (None, 1));
}

#[test]
fn no_two_questions_have_the_same_id_and_a_seed_has_its_own() {
    let mut ids = std::collections::BTreeSet::new();
    for seed in 0..4 {
        let mut client = Client::new([seed; 32]);
        ids.extend((0..50).map(|_| asked(&mut client, plain()).1.id));
    }
    assert_eq!(ids.len(), 200);
}
