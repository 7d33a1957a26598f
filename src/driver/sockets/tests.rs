//! Stories on loopback: what is sent has arrived when `send` returns.

use super::*;
use crate::machine::Ecn;
use mio::Poll;

struct World {
    poll: Poll,
    sockets: Sockets,
}

const ANY_V4: &str = "0.0.0.0:0";

impl World {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let main = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let sockets = Sockets::new(main, poll.registry()).unwrap();
        Self { poll, sockets }
    }

    fn open(&mut self, number: u32, bind: &str) -> SocketReport {
        self.sockets.open(self.poll.registry(), SocketId(number), bind.parse().unwrap())
    }

    fn opened(&mut self, number: u32, bind: &str) -> SocketAddr {
        match self.open(number, bind) {
            SocketReport::Opened { socket, local } if socket == SocketId(number) => local,
            report => panic!("{report:?}"),
        }
    }

    fn send(&mut self, number: u32, to: SocketAddr, contents: &[u8]) -> Outcome {
        let transmit =
            Transmit { socket: SocketId(number), to, ecn: Ecn::NotCapable, segment_size: contents.len().max(1) };
        self.sockets.send(self.poll.registry(), &transmit, contents)
    }

    /// What one turn's share is enough for, as (socket, contents).
    fn receive_a_turn(&mut self) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        let mut share = Share::default();
        while let Some(name) = self.sockets.next_readable(&mut share) {
            let each = |datagram: Datagram<'_>| all.push((datagram.socket.0, datagram.contents.to_vec()));
            self.sockets.receive(name, &mut share, each).unwrap();
        }
        all
    }
}

#[test]
fn a_datagram_says_which_socket_it_came_to_and_leaves_from_the_one_that_is_named() {
    let (mut alice, mut bob) = (World::new(), World::new());
    let (first, second) = (bob.opened(1, ANY_V4), bob.opened(2, ANY_V4));
    let from = alice.opened(7, ANY_V4);
    assert_eq!(from.ip(), alice.sockets.main.local_addr().ip(), "an unspecified address is the main socket's");
    alice.send(0, first, b"main to 1");
    alice.send(7, second, b"7 to 2");
    alice.send(7, bob.sockets.main.local_addr(), b"7 to main");
    let mut got = bob.receive_a_turn();
    got.sort();
    let expected: [(u32, &[u8]); 3] = [(0, b"7 to main"), (1, b"main to 1"), (2, b"7 to 2")];
    assert_eq!(got, expected.map(|(socket, contents)| (socket, contents.to_vec())));
}

#[test]
fn the_same_port_may_be_asked_for_in_the_other_family() {
    let mut world = World::new();
    let port = world.sockets.main.local_addr().port();
    let SocketReport::Opened { local, .. } = world.open(1, &format!("[::]:{port}")) else {
        eprintln!("SKIPPED: no IPv6 here, or somebody has that port");
        return;
    };
    assert_eq!(local, format!("[::]:{port}").parse().unwrap());
    // For IPv6 only: an IPv4 packet to that port is the main socket's.
    let mut other = World::new();
    other.send(0, world.sockets.main.local_addr(), b"four");
    other.opened(1, "[::1]:0");
    other.send(1, format!("[::1]:{port}").parse().unwrap(), b"six");
    let mut got = world.receive_a_turn();
    got.sort();
    assert_eq!(got, [(0, b"four".to_vec()), (1, b"six".to_vec())]);
}

#[test]
fn what_cannot_be_opened_is_reported_and_costs_nothing_else() {
    let mut world = World::new();
    let local = world.opened(1, ANY_V4);
    // Taken.
    assert_eq!(world.open(2, &local.to_string()), SocketReport::Failed(SocketId(2)));
    // Not ours (RFC 5737: documentation).
    assert_eq!(world.open(3, "192.0.2.1:0"), SocketReport::Failed(SocketId(3)));
    // Asking twice.
    assert_eq!(world.opened(1, ANY_V4), local);
    assert_eq!(world.opened(0, ANY_V4), world.sockets.main.local_addr());
    assert_eq!(world.sockets.extra.len(), 1);
}

/// The cap: the last one that fits is opened, the next is not, and a closed one makes room.
#[test]
fn there_are_never_more_than_the_cap() {
    let mut world = World::new();
    let most = u32::try_from(MAX_EXTRA).unwrap();
    for number in 1..=most {
        world.opened(number, ANY_V4);
    }
    assert_eq!(world.open(most + 1, ANY_V4), SocketReport::Failed(SocketId(most + 1)));
    world.sockets.close(world.poll.registry(), SocketId(1));
    world.opened(most + 2, ANY_V4);
    // A closed one's port is free at once, and the main one cannot be closed.
    world.sockets.close(world.poll.registry(), SocketId::MAIN);
    let main = world.sockets.main.local_addr();
    world.send(0, main, b"still here");
    assert_eq!(world.receive_a_turn(), [(0, b"still here".to_vec())]);
}

#[test]
fn a_closed_socket_drops_what_is_sent_from_it_and_counts() {
    let (mut alice, mut bob) = (World::new(), World::new());
    let to = bob.sockets.main.local_addr();
    alice.opened(1, ANY_V4);
    alice.sockets.close(alice.poll.registry(), SocketId(1));
    let transmit = Transmit { socket: SocketId(1), to, ecn: Ecn::NotCapable, segment_size: 2 };
    assert_eq!(alice.sockets.send(alice.poll.registry(), &transmit, b"three"), Outcome::Sent);
    assert_eq!(alice.send(99, to, b"never opened"), Outcome::Sent);
    assert_eq!(alice.sockets.dropped, 4);
    assert_eq!(bob.receive_a_turn(), []);
}

/// A turn is bounded by sockets, and the rest is served by the next ones, each socket once before any a second time.
#[test]
fn hundreds_of_readable_sockets_share_the_turns() {
    let mut world = World::new();
    let sockets = u32::try_from(3 * EXTRA_BATCHES_A_TURN).unwrap();
    let mut sender = World::new();
    let addresses: Vec<SocketAddr> = (1..=sockets).map(|number| world.opened(number, ANY_V4)).collect();
    for to in &addresses {
        sender.send(0, *to, b"x");
    }
    let main = world.sockets.main.local_addr();
    sender.send(0, main, b"main");
    let first = world.receive_a_turn();
    assert_eq!(first.len(), 1 + EXTRA_BATCHES_A_TURN);
    assert_eq!(first[0].0, 0, "the main one first");
    assert!(world.sockets.has_readable());
    let mut served: Vec<u32> = first.iter().skip(1).map(|(socket, _)| *socket).collect();
    for _ in 0..2 {
        served.extend(world.receive_a_turn().iter().map(|(socket, _)| *socket));
    }
    assert_eq!(served, (1..=sockets).collect::<Vec<_>>());
    assert!(!world.sockets.has_readable());
}

/// Each buffer may be full of merged datagrams: then bytes bound a turn before the number of sockets does.
#[test]
fn a_turn_is_bounded_by_bytes_too() {
    let (mut world, mut sender) = (World::new(), World::new());
    // A few more than fill a turn, whatever the kernel merges.
    let payload = vec![7; 50_000];
    let wanted = u32::try_from(EXTRA_BYTES_A_TURN / payload.len() + 8).unwrap();
    for number in 1..=wanted {
        let to = world.opened(number, ANY_V4);
        sender.send(0, to, &payload);
    }
    let most = EXTRA_BYTES_A_TURN / payload.len() + 1;
    let first: usize = world.receive_a_turn().len();
    assert!(first <= most, "{first}");
    let mut rest = 0;
    while world.sockets.has_readable() {
        rest += world.receive_a_turn().len();
    }
    assert_eq!(first + rest, wanted as usize);
}

/// Extra sockets begin with the system's small buffers; those that prove busy get large ones, and only so many.
#[test]
fn few_sockets_get_large_buffers() {
    let (mut world, mut sender) = (World::new(), World::new());
    let busy = u32::try_from(MAX_LARGE + 3).unwrap();
    for number in 1..=busy {
        let to = world.opened(number, ANY_V4);
        for _ in 0..2 * Receiving::BATCH {
            sender.send(0, to, b"more than a batch");
        }
    }
    while world.sockets.has_readable() {
        world.receive_a_turn();
    }
    let large = world.sockets.extra.values().filter(|extra| extra.is_large).count();
    assert_eq!((large, world.sockets.large), (MAX_LARGE, MAX_LARGE));
    for number in 1..=busy {
        world.sockets.close(world.poll.registry(), SocketId(number));
    }
    assert_eq!(world.sockets.large, 0);
}

/// What waits for a blocked socket is bounded, keeps its order, and is nobody else's trouble. Loopback never blocks by itself, so
/// the socket is said to be blocked.
#[test]
fn a_blocked_socket_holds_up_nobody_else() {
    let (mut alice, mut bob) = (World::new(), World::new());
    let to = bob.sockets.main.local_addr();
    alice.opened(1, ANY_V4);
    alice.opened(2, ANY_V4);
    alice.sockets.extra.get_mut(&SocketId(1)).unwrap().is_blocked = true;
    assert_eq!(alice.send(1, to, b"late 1"), Outcome::Sent);
    assert_eq!(alice.send(1, to, b"late 2"), Outcome::Sent);
    assert_eq!(alice.send(0, to, b"main"), Outcome::Sent);
    assert_eq!(alice.send(2, to, b"other"), Outcome::Sent);
    assert!(alice.sockets.holds() && alice.sockets.extra[&SocketId(1)].is_watched);
    assert_eq!(
        bob.receive_a_turn().iter().map(|(_, text)| text.as_slice()).collect::<Vec<_>>(),
        [b"main" as &[u8], b"other"]
    );
    // There is room again.
    assert!(!alice.sockets.send_held(alice.poll.registry()));
    assert!(!alice.sockets.extra[&SocketId(1)].is_watched);
    bob.sockets.main_is_readable = true;
    let got = bob.receive_a_turn();
    assert_eq!(got.iter().map(|(_, text)| text.as_slice()).collect::<Vec<_>>(), [b"late 1" as &[u8], b"late 2"]);
    assert_eq!(alice.sockets.held_bytes, 0);
}

#[test]
fn what_waits_for_blocked_sockets_is_capped_and_goes_with_them() {
    let mut world = World::new();
    let to = world.sockets.main.local_addr();
    world.opened(1, ANY_V4);
    world.sockets.extra.get_mut(&SocketId(1)).unwrap().is_blocked = true;
    let bytes = vec![0; 60_000];
    for _ in 0..100 {
        world.send(1, to, &bytes);
    }
    let fit = MAX_HELD / bytes.len();
    assert_eq!(world.sockets.held.len(), fit);
    assert_eq!(world.sockets.dropped, 100 - fit as u64);
    world.sockets.close(world.poll.registry(), SocketId(1));
    assert_eq!((world.sockets.held.len(), world.sockets.held_bytes), (0, 0));
}

/// What ICMP says names the socket: a guess from an extra one that hit a closed port is not about the main one's path.
#[cfg(target_os = "linux")]
#[test]
fn an_unreachable_address_is_reported_for_the_socket_that_sent() {
    let mut world = World::new();
    let gone = bind("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap();
    world.opened(1, ANY_V4);
    world.send(1, gone, b"?");
    world.sockets.extra.get_mut(&SocketId(1)).unwrap().socket.collect_unreachable();
    assert_eq!(world.sockets.take_unreachable(), Some((SocketId(1), gone)));
    assert_eq!(world.sockets.take_unreachable(), None);
}

#[test]
fn every_socket_has_a_token_of_its_own() {
    for number in [1, 2, u32::MAX] {
        let token = token_of(SocketId(number)).unwrap();
        assert!(token.0 > 1, "0 is the main one's, 1 the waker's");
        assert_eq!(name_of(token), Some(SocketId(number)));
    }
}
