//! How a link comes up, what is said over it, and how it goes down.

use super::net::{End, Net, SECOND, pair};
use crate::mrt::{ConnectTo, SharedSecret};
use crate::node::links::table::*;
use std::net::SocketAddr;

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
