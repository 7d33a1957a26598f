//! Stories of links over real endpoints, joined by a perfect wire.

use super::*;
use crate::machine::{Datagram, Ecn, Machine, SocketId};
use crate::mrt::{Config, ConnectTo, RelayChannel, RelayLimits, SharedSecret};
use crate::node::catalogue::CatalogueMessage;
use std::net::SocketAddr;

/// One end: an endpoint and its links.
struct End {
    identity: Arc<Identity>,
    address: SocketAddr,
    endpoint: Endpoint,
    links: Links,
    events: Vec<LinkEvent>,
    /// Completes handshakes, and says nothing.
    silent: bool,
}

impl End {
    fn new(seed: u8, program: u64) -> Self {
        let identity = Arc::new(Identity::from_seed(&[seed; 32]));
        let address = SocketAddr::from(([10, 0, 0, seed], 7000));
        let record = MemberRecord::sign(&identity, "x", &[address], 1);
        let endpoint = Endpoint::new(Config::new(identity.noise().clone(), b"test"), [seed ^ program as u8; 32]);
        let links = Links::new(identity.clone(), program, record);
        Self { identity, address, endpoint, links, events: Vec::new(), silent: false }
    }

    fn id(&self) -> NodeId {
        self.identity.id()
    }

    fn known(&self) -> DialTo {
        let key = Some(self.identity.noise().public());
        DialTo { addresses: vec![self.address], id: Some(self.id()), key, invitation: None }
    }

    fn unknown(&self) -> DialTo {
        DialTo { id: None, key: None, ..self.known() }
    }

    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            if !self.silent {
                self.links.handle_event(now, &mut self.endpoint, event);
            }
        }
        self.events.extend(std::iter::from_fn(|| self.links.poll_event()));
    }

    fn ups(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, LinkEvent::Up { .. })).count()
    }

    fn downs(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, LinkEvent::Down { .. })).count()
    }

    /// What others said, as numbers.
    fn heard(&self) -> Vec<u64> {
        let number = |event: &LinkEvent| match event {
            LinkEvent::Message { message: LinkMessage::Catalogue(CatalogueMessage::Want(owners)), .. } => {
                owners.first().map(|owner| u64::from_be_bytes(*owner.0.first_chunk().unwrap()))
            }
            _ => None,
        };
        self.events.iter().filter_map(number).collect()
    }
}

/// Any message will do: this one carries a number.
fn number(number: u64) -> LinkMessage {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    LinkMessage::Catalogue(CatalogueMessage::Want(vec![NodeId(id)]))
}

/// Ends on a wire with one delay; nothing is lost unless an address is cut off.
struct Net {
    ends: Vec<End>,
    now: Instant,
    flying: VecDeque<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    cut: BTreeSet<SocketAddr>,
    /// More addresses that lead to an end, with the milliseconds there and back.
    aliases: BTreeMap<SocketAddr, (usize, u64, u64)>,
    /// The datagram that is lost, counted from the first.
    lost: Option<usize>,
    sent: usize,
}

const DELAY: Duration = Duration::from_millis(10);

impl Net {
    fn new(ends: Vec<End>) -> Self {
        Self {
            ends,
            now: Instant::from_start(Duration::from_secs(1)),
            flying: VecDeque::new(),
            cut: BTreeSet::new(),
            aliases: BTreeMap::new(),
            lost: None,
            sent: 0,
        }
    }

    /// Another address of that end, so far away.
    fn alias(&mut self, end: usize, there: u64, back: u64) -> SocketAddr {
        let address = SocketAddr::from(([10, 1, end as u8, 1 + self.aliases.len() as u8], 7000));
        self.aliases.insert(address, (end, there, back));
        address
    }

    /// Puts a datagram on the wire. Who calls an alias is seen at an address of its own there, so that the answers come back that way.
    fn carry(&mut self, from: usize, to: SocketAddr, contents: Vec<u8>) {
        self.sent += 1;
        if self.lost == Some(self.sent) {
            return;
        }
        let marked = |alias: SocketAddr, end: usize| SocketAddr::new(alias.ip(), 100 + end as u16);
        let (from, to, delay) = if let Some((end, there, _)) = self.aliases.get(&to) {
            (marked(to, from), self.ends[*end].address, Duration::from_millis(*there))
        } else if let Some((alias, (_, _, back))) = self.aliases.iter().find(|(alias, _)| alias.ip() == to.ip()) {
            (*alias, self.ends[usize::from(to.port() - 100)].address, Duration::from_millis(*back))
        } else {
            (self.ends[from].address, to, DELAY)
        };
        let at = self.now + delay;
        let place = self.flying.partition_point(|packet| packet.0 <= at);
        self.flying.insert(place, (at, from, to, contents));
    }

    fn dial(&mut self, from: usize, to: DialTo) -> DialNumber {
        let end = &mut self.ends[from];
        end.links.dial(self.now, &mut end.endpoint, to, &Relays::default())
    }

    fn say(&mut self, from: usize, to: usize, what: u64) -> Result<(), Lost> {
        let to = self.ends[to].id();
        let end = &mut self.ends[from];
        end.links.send(self.now, &mut end.endpoint, to, &number(what))
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let mut buffer = Vec::new();
            for index in 0..self.ends.len() {
                let now = self.now;
                self.ends[index].settle(now);
                while let Some(transmit) = self.ends[index].endpoint.poll_transmit(now, &mut buffer) {
                    for datagram in buffer.chunks(transmit.segment_size) {
                        self.carry(index, transmit.to, datagram.to_vec());
                    }
                    buffer.clear();
                }
            }
            let timers = self.ends.iter().flat_map(|end| [end.endpoint.poll_timeout(), end.links.poll_timeout()]);
            let next = timers.flatten().chain(self.flying.front().map(|packet| packet.0)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            let now = self.now;
            while self.flying.front().is_some_and(|packet| packet.0 <= now) {
                let Some((_, from, to, mut contents)) = self.flying.pop_front() else { break };
                if self.cut.contains(&from) || self.cut.contains(&to) {
                    continue;
                }
                if let Some(end) = self.ends.iter_mut().find(|end| end.address == to) {
                    end.endpoint.handle_datagram(
                        now,
                        Datagram { socket: SocketId::MAIN, from, ecn: Ecn::NotCapable, contents: &mut contents },
                    );
                }
            }
            for end in &mut self.ends {
                end.endpoint.handle_timeout(now);
                end.links.handle_timeout(now, &mut end.endpoint);
            }
        }
        self.now = end;
    }
}

fn pair() -> Net {
    Net::new(vec![End::new(1, 1), End::new(2, 1)])
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_dial_ends_in_a_link_that_both_know_and_what_is_said_arrives_in_order() {
    for to in [End::known as fn(&End) -> DialTo, End::unknown] {
        let mut net = pair();
        let dial = net.dial(0, to(&net.ends[1]));
        net.run_for(SECOND);
        let up = |event: &&LinkEvent| matches!(event, LinkEvent::Up { dial: Some(number), .. } if *number == dial);
        assert_eq!(net.ends[0].events.iter().filter(up).count(), 1);
        assert!(
            matches!(&net.ends[1].events[..], [LinkEvent::Up { record, dial: None, .. }] if record.id() == net.ends[0].id())
        );
        for what in 0..100 {
            net.say(0, 1, what).unwrap();
            net.say(1, 0, what).unwrap();
        }
        net.run_for(SECOND);
        assert_eq!(net.ends[0].heard(), (0..100).collect::<Vec<_>>());
        assert_eq!(net.ends[1].heard(), (0..100).collect::<Vec<_>>());
    }
}

/// Both dial at the same moment, and speak as soon as they can: one connection stays, nothing is lost, doubled or turned around,
/// and nobody hears of a link that went down.
#[test]
fn two_who_dial_each_other_end_with_one_connection_and_lose_nothing() {
    for later in [0, 4, 9, 11, 15, 25, 40] {
        let mut net = pair();
        net.dial(0, net.ends[1].known());
        net.run_for(Duration::from_millis(later));
        net.dial(1, net.ends[0].known());
        let mut said = [Vec::new(), Vec::new()];
        for what in 0..60 {
            for (from, to) in [(0, 1), (1, 0)] {
                if net.say(from, to, what).is_ok() {
                    said[from].push(what);
                }
            }
            net.run_for(Duration::from_millis(3));
        }
        net.run_for(8 * SECOND);
        assert!(said[0].len() > 20 && said[1].len() > 20);
        assert_eq!(net.ends[1].heard(), said[0], "{later} ms later");
        assert_eq!(net.ends[0].heard(), said[1], "{later} ms later");
        for end in &net.ends {
            assert_eq!(
                (end.downs(), end.links.connections.len(), end.links.peers.len()),
                (0, 1, 1),
                "{later} ms later"
            );
        }
        let made: Vec<bool> =
            net.ends.iter().map(|end| end.links.connections.values().next().unwrap().initiator).collect();
        // Both said hello on their own connection, or the second knew in time that it is linked.
        let first_stays = if later < 10 { net.ends[0].id() < net.ends[1].id() } else { true };
        assert_eq!(made, [first_stays, !first_stays], "{later} ms later");
    }
}

/// Speaks both ways as soon as there is a link, then looks whether both ends have the same one, every dial was answered, nobody heard
/// of a link that went down, and all that was said was heard.
fn assert_one_link_and_nothing_lost(net: &mut Net, dials: &[DialNumber], story: &str) {
    let mut said = [Vec::new(), Vec::new()];
    for what in 0..1000 {
        for (from, to) in [(0, 1), (1, 0)] {
            if net.say(from, to, what).is_ok() {
                said[from].push(what);
            }
        }
        net.run_for(Duration::from_millis(4));
        if said[0].len().min(said[1].len()) > 60 {
            break;
        }
    }
    net.run_for(12 * SECOND);
    assert!(said[0].len() > 10 && said[1].len() > 10, "{story}");
    assert_eq!(net.ends[1].heard(), said[0], "{story}");
    assert_eq!(net.ends[0].heard(), said[1], "{story}");
    let answered: BTreeSet<_> = net.ends[0]
        .events
        .iter()
        .filter_map(|event| if let LinkEvent::Up { dial, .. } = event { *dial } else { None })
        .collect();
    assert_eq!(answered, dials.iter().copied().collect(), "{story}");
    let (caller, called) = (net.ends[0].id(), net.ends[1].id());
    let link = |end: usize, peer| net.ends[end].links.link(peer).map(|link| link.binding);
    assert!(link(0, called).is_some(), "{story}");
    assert_eq!(link(0, called), link(1, caller), "{story}");
    assert_eq!((net.ends[0].downs(), net.ends[1].downs()), (0, 0), "{story}");
    let left = |end: usize| {
        net.ends[end]
            .links
            .connections
            .values()
            .filter(|one| one.key == net.ends[1 - end].identity.noise().public())
            .count()
    };
    assert_eq!((left(0), left(1)), (1, 1), "{story}");
}

/// A ticket names the node that its other members send us on to: two dials to it, and both connect. Which attempt is first at either
/// end, which hello, and which of the first datagrams is lost, makes no difference.
#[test]
fn two_dials_to_one_node_that_both_connect_are_one_link_at_both_ends() {
    let ways = [(1, 1), (9, 9), (3, 30), (30, 3), (40, 40)];
    for (first, second) in ways.into_iter().flat_map(|first| ways.map(|second| (first, second))) {
        for later in [0, 1, 7, 20, 45] {
            for lost in [None, Some(1), Some(2), Some(3), Some(4), Some(5), Some(6), Some(8)] {
                let mut net = pair();
                net.lost = lost;
                let ways = [first, second].map(|(there, back)| net.alias(1, there, back));
                let [one, two] = ways.map(|way| DialTo { addresses: vec![way], ..net.ends[1].known() });
                let one = net.dial(0, one);
                net.run_for(Duration::from_millis(later));
                let two = net.dial(0, two);
                let story = format!("{first:?}, {later} ms later {second:?}, lost {lost:?}");
                assert_one_link_and_nothing_lost(&mut net, &[one, two], &story);
                assert_eq!(net.ends[1].ups(), 1, "{story}");
            }
        }
    }
}

/// The second address is called while the first is slow to answer: both attempts connect, around the same time.
#[test]
fn two_attempts_of_one_dial_that_both_connect_are_one_link_at_both_ends() {
    for slow in [120, 125, 127, 129, 130, 131, 133, 136, 140, 160] {
        for (there, back) in [(1, 1), (5, 5), (2, 14), (14, 2)] {
            for lost in [None, Some(2), Some(3), Some(4), Some(5)] {
                let mut net = pair();
                net.lost = lost;
                let addresses = vec![net.alias(1, slow, slow), net.alias(1, there, back)];
                let to = DialTo { addresses, ..net.ends[1].known() };
                let dial = net.dial(0, to);
                net.run_for(Duration::from_millis(240));
                let story = format!("{slow} ms, and {there} there and {back} back, lost {lost:?}");
                assert_one_link_and_nothing_lost(&mut net, &[dial], &story);
                assert_eq!(net.ends[1].ups(), 1, "{story}");
            }
        }
    }
}

/// One call goes straight there, another through a member in between, and each is sometimes the faster one.
#[test]
fn a_call_and_a_relayed_call_that_both_connect_are_one_link_at_both_ends() {
    for straight in [1, 12, 19, 20, 21, 25, 40, 70] {
        for dials in [1, 2] {
            let mut net = Net::new(vec![End::new(1, 1), End::new(2, 1), End::new(3, 1)]);
            let relay = net.ends[2].known();
            net.dial(0, relay.clone());
            net.dial(1, relay);
            net.run_for(SECOND);
            let [caller, called, relay] = [0, 1, 2].map(|end: usize| net.ends[end].id());
            let to_relay = [0, 1].map(|end: usize| net.ends[end].links.connection(relay).unwrap());
            let at_relay = [caller, called].map(|peer| (net.ends[2].links.connection(peer).unwrap(), RelayChannel(8)));
            net.ends[2].endpoint.relay_bind(at_relay[0], at_relay[1], RelayLimits::default()).unwrap();
            for (end, to_relay) in net.ends.iter_mut().zip(to_relay) {
                end.endpoint.relay_open(to_relay, RelayChannel(8)).unwrap();
                end.events.clear();
            }
            let way = net.alias(1, straight, straight);
            let to = DialTo { addresses: vec![way], ..net.ends[1].known() };
            let numbers: Vec<DialNumber> = (0..dials).map(|_| net.dial(0, to.clone())).collect();
            let end = &mut net.ends[0];
            let route = Route::Relayed { by: to_relay[0], channel: RelayChannel(8) };
            end.links.on_route(net.now, &mut end.endpoint, numbers[dials - 1], route);
            let story = format!("{straight} ms, {dials} dials");
            assert_one_link_and_nothing_lost(&mut net, &numbers, &story);
            assert_eq!(net.ends[1].ups(), 1, "{story}");
        }
    }
}

/// A person types a ticket for whom they are linked to already: only a connection of its own proves the invitation, so it takes the
/// link's place at both ends, whatever is lost.
#[test]
fn a_call_that_proves_an_invitation_takes_the_place_of_a_link_that_does_not() {
    for (later, lost) in [0, 15, 25, 500].into_iter().flat_map(|later| (0..16).map(move |lost| (later, lost))) {
        let mut net = pair();
        net.lost = Some(lost);
        let (id, secret) = (mrt::SecretId([7; 16]), SharedSecret([8; 32]));
        net.ends[1].endpoint.add_secret(id, secret.clone());
        net.dial(0, net.ends[1].known());
        net.run_for(Duration::from_millis(later));
        let invited = net.dial(0, DialTo { invitation: Some((id, secret)), ..net.ends[1].known() });
        net.run_for(8 * SECOND);
        let story = format!("{later} ms later, lost {lost}");
        let proven = |event: &&LinkEvent| matches!(event, LinkEvent::Up { secret: Some(proven), .. } if *proven == id);
        assert!(net.ends[1].events.iter().any(|event| proven(&event)), "{story}");
        let answer = |event: &LinkEvent| matches!(event, LinkEvent::Up { dial: Some(dial), .. } if *dial == invited);
        assert!(net.ends[0].events.iter().any(answer), "{story}");
        let (caller, called) = (net.ends[0].id(), net.ends[1].id());
        let link = |end: usize, peer| net.ends[end].links.link(peer).map(|link| link.binding);
        assert!(link(0, called).is_some() && link(0, called) == link(1, caller), "{story}");
        net.say(0, 1, 1).unwrap();
        net.say(1, 0, 2).unwrap();
        net.run_for(SECOND);
        assert_eq!((net.ends[1].heard(), net.ends[0].heard()), (vec![1], vec![2]), "{story}");
        assert_eq!((net.ends[0].links.connections.len(), net.ends[1].links.connections.len()), (1, 1), "{story}");
    }
}

/// Two calls to a program that ends and starts again between their answers: what the second one reaches is the peer, the link is its ghost.
#[test]
fn a_late_call_that_reaches_a_later_start_of_the_peer_takes_the_place_of_the_link_to_its_ghost() {
    let mut net = pair();
    let slow = net.alias(1, 300, 1);
    let late = net.dial(0, DialTo { addresses: vec![slow], ..net.ends[1].known() });
    net.dial(0, net.ends[1].known());
    net.run_for(Duration::from_millis(200));
    assert_eq!(net.ends[0].ups(), 1);
    net.ends[1] = End::new(2, 77);
    net.run_for(2 * SECOND);
    let answer = |event: &LinkEvent| matches!(event, LinkEvent::Up { dial: Some(dial), .. } if *dial == late);
    assert!(net.ends[0].events.iter().any(answer), "{:?}", net.ends[0].events);
    assert_eq!((net.ends[0].downs(), net.ends[1].ups(), net.ends[1].downs()), (1, 1, 0));
    net.say(0, 1, 5).unwrap();
    net.run_for(SECOND);
    assert_eq!(net.ends[1].heard(), [5]);
}

/// Whoever needs a dial no longer gives it up at any moment: the other end has a link, or never hears of one.
#[test]
fn a_dial_that_is_given_up_leaves_nothing_half_done() {
    for after in 0..50 {
        let mut net = pair();
        let dial = net.dial(0, net.ends[1].known());
        net.run_for(Duration::from_millis(after));
        let end = &mut net.ends[0];
        let given_up = end.links.give_up(net.now, &mut end.endpoint, dial);
        assert!(!end.links.give_up(net.now, &mut end.endpoint, dial) || !given_up, "once");
        net.run_for(9 * SECOND);
        let expected = if given_up { (0, 0) } else { (1, 1) };
        assert_eq!((net.ends[0].ups(), net.ends[1].ups()), expected, "{after} ms");
        assert_eq!((net.ends[0].links.is_empty(), net.ends[1].links.is_empty()), (given_up, given_up), "{after} ms");
        assert!(net.ends[0].links.dials.is_empty());
    }
}

#[test]
fn a_peer_that_was_killed_and_started_again_is_linked_at_once() {
    let mut net = pair();
    net.dial(1, net.ends[0].known());
    net.run_for(SECOND);
    let again = End::new(2, 77);
    net.ends[1] = again;
    net.dial(1, net.ends[0].known());
    net.run_for(SECOND);
    assert_eq!((net.ends[0].ups(), net.ends[0].downs(), net.ends[1].ups()), (2, 1, 1));
    net.say(0, 1, 5).unwrap();
    net.run_for(SECOND);
    assert_eq!(net.ends[1].heard(), [5]);
}

#[test]
fn nobody_at_the_address_is_a_failed_dial_and_a_second_address_is_tried_without_waiting() {
    let mut net = pair();
    let nowhere = SocketAddr::from(([10, 0, 0, 99], 1));
    let dial = net.dial(0, DialTo { addresses: vec![nowhere], ..net.ends[1].known() });
    net.run_for(9 * SECOND);
    let failed = LinkEvent::DialFailed { dial, why: DialFailure::NoAnswer, words: String::new() };
    assert_eq!(net.ends[0].events, [failed]);
    net.dial(0, DialTo { addresses: vec![nowhere, net.ends[1].address], ..net.ends[1].known() });
    net.run_for(SECOND);
    assert_eq!(net.ends[0].ups(), 1);
    net.run_for(9 * SECOND);
    assert_eq!(net.ends[0].downs(), 0);
}

#[test]
fn somebody_else_at_the_address_is_not_whom_we_dialled() {
    let mut net = pair();
    let other = Identity::from_seed(&[9; 32]).id();
    let dial = net.dial(0, DialTo { id: Some(other), ..net.ends[1].unknown() });
    net.run_for(2 * SECOND);
    let refused = |event: &LinkEvent| matches!(event, LinkEvent::DialFailed { dial: d, why: DialFailure::WrongPeer, .. } if *d == dial);
    assert!(net.ends[0].events.iter().any(refused), "{:?}", net.ends[0].events);
    assert_eq!(net.ends[0].ups(), 0);
    assert!(net.ends[0].links.is_empty());
    // The other side may have thought for a moment that somebody came.
    assert_eq!(net.ends[1].ups(), net.ends[1].downs());
}

/// A node of another version, or another program altogether: the words say so.
#[test]
fn whoever_does_not_say_hello_is_a_dial_that_failed_with_words() {
    let mut net = pair();
    net.ends[1].silent = true;
    let dial = net.dial(0, net.ends[1].unknown());
    net.run_for(6 * SECOND);
    let rejected = |event: &LinkEvent| matches!(event, LinkEvent::DialFailed { dial: d, why: DialFailure::Rejected, words } if *d == dial && words == "no hello");
    assert!(net.ends[0].events.iter().any(rejected), "{:?}", net.ends[0].events);
}

/// A stranger that completes the handshake and then says nothing, or something else, holds a connection for five seconds.
#[test]
fn whoever_does_not_prove_itself_is_put_out() {
    let mut net = pair();
    let (now, address) = (net.now, net.ends[1].address);
    net.ends[0].silent = true;
    net.ends[0].endpoint.connect(now, address, ConnectTo::Unknown, SECOND).unwrap();
    net.run_for(4 * SECOND);
    assert_eq!(net.ends[1].links.connections.len(), 1, "it has five seconds");
    net.run_for(2 * SECOND);
    assert_eq!(net.ends[1].ups(), 0);
    assert!(net.ends[1].links.is_empty());
}

/// Its word is not taken for who it is: the record and signature have to fit this very connection.
#[test]
fn a_forged_hello_is_refused() {
    let mut net = Net::new(vec![End::new(1, 1), End::new(2, 1), End::new(3, 1)]);
    let stolen = MemberRecord::sign(&net.ends[2].identity, "x", &[], 1);
    net.ends[0].links.set_record(stolen);
    net.dial(0, net.ends[1].unknown());
    net.run_for(2 * SECOND);
    assert_eq!(net.ends[1].ups(), 0);
    assert!(net.ends[1].links.is_empty());
}

#[test]
fn a_message_that_makes_no_sense_ends_the_link() {
    let mut net = pair();
    net.dial(0, net.ends[1].known());
    net.run_for(SECOND);
    let end = &mut net.ends[0];
    let connection = end.links.connections.values_mut().next().unwrap();
    connection.outgoing.push(Class::Control, &[255; 40]).unwrap();
    connection.outgoing.flush(&mut end.endpoint, connection.handle).unwrap();
    net.run_for(SECOND);
    assert_eq!((net.ends[0].downs(), net.ends[1].downs()), (1, 1));
}

/// The peer's machine is up but nothing there reads: what waits for it stays bounded, then the link goes.
#[test]
fn a_peer_that_is_not_reached_costs_bounded_memory() {
    let mut net = pair();
    net.dial(0, net.ends[1].known());
    net.run_for(SECOND);
    net.cut.insert(net.ends[1].address);
    let big = LinkMessage::Catalogue(CatalogueMessage::Want(vec![NodeId([1; 32]); 20_000]));
    let to = net.ends[1].id();
    let mut sent = 0;
    let last = loop {
        let end = &mut net.ends[0];
        match end.links.send(net.now, &mut end.endpoint, to, &big) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100, "64 MB wait and nobody minds");
    };
    assert_eq!(last, Lost::TooSlow);
    net.run_for(Duration::from_millis(1));
    assert_eq!(net.ends[0].downs(), 1);
}

#[test]
fn what_was_said_before_a_link_is_dropped_still_arrives() {
    let mut net = pair();
    net.dial(0, net.ends[1].known());
    net.run_for(SECOND);
    net.say(0, 1, 7).unwrap();
    let peer = net.ends[1].id();
    net.ends[0].links.drop_link(net.now, peer);
    net.run_for(SECOND);
    assert_eq!(net.ends[1].heard(), [7]);
    assert_eq!((net.ends[0].downs(), net.ends[1].downs()), (1, 1));
    assert!(net.ends[0].links.is_empty() && net.ends[1].links.is_empty());
}

#[test]
fn an_invitations_secret_is_reported_with_the_link() {
    let mut net = pair();
    let (id, secret) = (mrt::SecretId([7; 16]), SharedSecret([8; 32]));
    net.ends[1].endpoint.add_secret(id, secret.clone());
    net.dial(0, DialTo { invitation: Some((id, secret)), ..net.ends[1].known() });
    net.run_for(SECOND);
    assert!(matches!(net.ends[1].events[..], [LinkEvent::Up { secret: Some(proven), .. }] if proven == id));
}

#[test]
fn dials_at_once_are_capped() {
    let mut net = pair();
    for n in 0..MAX_DIALS + 3 {
        let nowhere = SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 1));
        net.dial(0, DialTo { addresses: vec![nowhere], ..net.ends[1].known() });
    }
    net.run_for(Duration::from_millis(1));
    assert_eq!(net.ends[0].events.len(), 3);
    assert_eq!(net.ends[0].links.dials.len(), MAX_DIALS);
}

/// A peer fills a queue for each of many links: all together are bounded, and those that are furthest behind go.
#[test]
fn what_waits_for_all_peers_together_is_bounded() {
    let mut ends: Vec<End> = (1..=24).map(|seed| End::new(seed, 1)).collect();
    let known: Vec<DialTo> = ends.iter().map(End::known).collect();
    ends[0].silent = false;
    let mut net = Net::new(ends);
    for to in known.into_iter().skip(1) {
        net.dial(0, to);
    }
    net.run_for(SECOND);
    assert_eq!(net.ends[0].links.peers.len(), 23);
    let all: Vec<SocketAddr> = net.ends.iter().skip(1).map(|end| end.address).collect();
    net.cut.extend(all);
    let large = LinkMessage::Catalogue(CatalogueMessage::Want(vec![NodeId([1; 32]); 30_000]));
    for _ in 0..9 {
        for to in 1..24 {
            let (to, now) = (net.ends[to].id(), net.now);
            let end = &mut net.ends[0];
            let _ = end.links.send(now, &mut end.endpoint, to, &large);
            let waiting: usize = end.links.peers.keys().map(|peer| end.links.waiting(*peer)).sum();
            assert!(waiting <= MAX_WAITING_ALL, "{waiting}");
        }
    }
    let left = net.ends[0].links.peers.len();
    assert!((1..23).contains(&left), "{left} links are left");
}

/// Messages of a few bytes, a megabyte of them at once: they are read in portions.
#[test]
fn a_flood_of_small_messages_is_read_in_portions_and_none_is_lost() {
    let mut net = pair();
    net.dial(0, net.ends[1].known());
    net.run_for(SECOND);
    for what in 0..40_000 {
        net.say(0, 1, what).unwrap();
    }
    // The other one does not look for a while, and then there is everything at once.
    let (now, mut most, mut heard) = (net.now, 0, Vec::new());
    for _ in 0..2000 {
        net.now = net.now + Duration::from_millis(1);
        let now = net.now;
        for back in [false, true] {
            let [one, two] = &mut net.ends[..] else { panic!("two") };
            let (from, to) = if back { (two, one) } else { (one, two) };
            let mut buffer = Vec::new();
            from.endpoint.handle_timeout(now);
            while let Some(transmit) = from.endpoint.poll_transmit(now, &mut buffer) {
                for contents in buffer.chunks_mut(transmit.segment_size) {
                    let datagram =
                        Datagram { socket: SocketId::MAIN, from: from.address, ecn: Ecn::NotCapable, contents };
                    to.endpoint.handle_datagram(now, datagram);
                }
                buffer.clear();
            }
        }
        while let Some(event) = net.ends[0].endpoint.poll_event() {
            let end = &mut net.ends[0];
            end.links.handle_event(now, &mut end.endpoint, event);
        }
    }
    let end = &mut net.ends[1];
    while let Some(event) = end.endpoint.poll_event() {
        end.links.handle_event(now, &mut end.endpoint, event);
    }
    loop {
        most = most.max(end.links.events.len());
        end.events.clear();
        end.events.extend(std::iter::from_fn(|| end.links.poll_event()));
        heard.extend(end.heard());
        if !end.links.resume(now, &mut end.endpoint) {
            break;
        }
    }
    assert!(most * MESSAGE_COST <= MAX_UNTAKEN + 2 * MESSAGE_COST, "{most} at once");
    assert!(heard.len() > 4000 && heard.iter().copied().eq(0..heard.len() as u64), "{}", heard.len());
}

/// Whoever can complete a handshake can have many keys: those from one place are few.
#[test]
fn strangers_from_one_place_are_few_and_members_are_not_counted() {
    let mut ends: Vec<End> = (1..=40).map(|seed| End::new(seed, 1)).collect();
    for (n, end) in ends.iter_mut().enumerate().skip(1) {
        end.address = SocketAddr::from(([10, 0, 0, 200], 7000 + n as u16));
    }
    let (host, members) = (ends[0].known(), ends[30..].iter().map(End::id).collect::<Vec<_>>());
    ends[0].links.set_members(members.into_iter());
    let mut net = Net::new(ends);
    for from in 1..40 {
        net.dial(from, host.clone());
    }
    net.run_for(2 * SECOND);
    assert_eq!(net.ends[0].links.peers.len(), MAX_STRANGERS_FROM_ONE + 10);
}

/// A link has one channel a class: more would each hold a frame that is not whole.
#[test]
fn a_second_channel_of_a_class_ends_the_link() {
    let mut net = pair();
    net.dial(0, net.ends[1].known());
    net.run_for(SECOND);
    let end = &mut net.ends[0];
    let connection = end.links.peers.values().copied().next().unwrap();
    for _ in 0..2 {
        let channel = end.endpoint.open_channel(connection, Class::Control).unwrap();
        end.endpoint.send(connection, channel, &mut bytes::Bytes::from_static(&[0, 1, 0, 0])).unwrap();
    }
    net.run_for(SECOND);
    assert_eq!((net.ends[1].downs(), net.ends[1].links.connections.len()), (1, 0));
}

/// A list of a hundred members, each with eight ports of one host that has nothing to do with us, dialled as often as may be.
#[test]
fn no_list_of_addresses_turns_us_on_a_third_party() {
    let mut net = pair();
    let victim: Vec<SocketAddr> = (1..=8).map(|port| SocketAddr::from(([198, 51, 100, 1], port))).collect();
    let mut datagrams = 0;
    for second in 0..30 {
        for n in 0..100u8 {
            let to = DialTo { addresses: victim.clone(), id: Some(NodeId([n; 32])), ..net.ends[1].known() };
            net.dial(0, to);
        }
        let mut buffer = Vec::new();
        for step in 0..100 {
            let now = Instant::from_start(Duration::from_millis(1000 * (second + 1) + 10 * step));
            let end = &mut net.ends[0];
            end.endpoint.handle_timeout(now);
            end.links.handle_timeout(now, &mut end.endpoint);
            end.settle(now);
            while let Some(transmit) = end.endpoint.poll_transmit(now, &mut buffer) {
                datagrams += buffer.len().div_ceil(transmit.segment_size);
                buffer.clear();
            }
            net.now = now;
        }
    }
    // 64 calls at once and two a second, of nine datagrams each.
    assert!(datagrams < 10 * (64 + 2 * 30), "{datagrams} datagrams in 30 s");
}
