//! Several connections to one peer become one link, and nothing that was said is lost.

use super::net::{End, Net, SECOND, pair};
use crate::mrt::{RelayChannel, RelayLimits, SharedSecret};
use crate::node::links::table::*;

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
