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
