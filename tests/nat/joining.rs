//! Everybody reaches everybody, one way or the other.

use crate::town::Town;
use anjer::node::Command;
use anjer::node::api::Path;
use anjer::time::Duration;
use netem::Behaviour;

const MINUTE: Duration = Duration::from_secs(60);

/// Two members behind symmetric NATs have nobody but the supernode in common: it passes their packets on, within two round trips of
/// the later one's joining.
#[test]
fn members_that_cannot_reach_each_other_are_relayed_at_once() {
    let mut town = Town::new(1);
    let supernode = town.settle(None, true);
    let [a, b] = [1, 2].map(|_| {
        let nat = town.nat(&[Behaviour::symmetric()]);
        town.settle(nat, false)
    });
    let there = Command::ConnectTo(town.address(supernode));
    town.command(a, there.clone());
    assert!(town.run_until(MINUTE, |town| town.knows_since(a, a).is_some()), "{}", town.story(a));
    town.command(b, there);
    let linked = town.run_until(MINUTE, |town| town.path(a, b).is_some() && town.path(b, a).is_some());
    assert!(linked, "{}\n{}", town.story(a), town.story(b));
    assert_eq!(town.path(a, b).map(|(_, path, _)| path), Some(Path::Relayed));
    // A round trip between them is one of 80 ms. Asking the relay takes half of that, the handshake all of it, and each end's proof comes
    // with its next packet.
    let took = |from, to| town.path(from, to).unwrap().0 - town.knows_since(from, to).unwrap();
    assert!(took(b, a) <= Duration::from_millis(160), "{:?}", took(b, a));
    assert!(took(a, b) <= Duration::from_millis(200), "{:?}", took(a, b));
    town.command(a, Command::Talk("hello".into()));
    assert!(town.run_until(MINUTE, |town| town.has_heard(b, "hello")));
}

/// A NAT is measured while its owner comes in, and for a second or two after that. Everybody hears of it all the same, whoever leads and
/// however they met.
#[test]
fn what_is_measured_of_a_nat_after_its_owner_came_in_reaches_everybody() {
    let mut town = Town::new(3);
    let hard = town.nat(&[Behaviour::symmetric_sequential()]);
    let home = town.nat(&[Behaviour::port_restricted()]);
    let (supernode, member) = (town.settle(home, false), town.settle(hard, false));
    // Both type as soon as they know an address: nothing else is known yet.
    assert!(town.run_until(MINUTE, |town| town.public(supernode).is_some() && town.public(member).is_some()));
    let [theirs, ours] = [town.public(member), town.public(supernode)].map(Option::unwrap);
    town.command(supernode, Command::AdmitAddress(theirs));
    town.command(member, Command::ConnectTo(ours));
    assert!(town.run_until(MINUTE, |town| town.members(supernode).len() == 2), "{}", town.story(member));
    town.run_until(Duration::from_secs(10), |_| false);
    for (at, of) in [(supernode, member), (member, supernode)] {
        town.command(at, Command::Why);
        let known = town.nat_as_known(at, of).unwrap();
        assert!(!known.contains("mapping=?") && known.contains("filtering=address+port"), "{at} of {of}: {known}");
    }
}
