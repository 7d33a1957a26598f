//! A room and its members, ready for a scene.

use crate::town::Town;
use anjer::node::Command;
use anjer::time::Duration;
use netem::{Behaviour, Link, NatId, Queue, Site, Verdict};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Who leads, in every gathering.
pub(super) const SUPERNODE: usize = 0;

/// Programs run for a while before somebody types: long enough to ask a STUN server all there is to ask.
pub(super) const SETTLING: Duration = Duration::from_secs(8);

/// A public supernode, and one member behind each of these chains of NATs, numbered from 1. All of them know all of them, and each
/// pair has tried for its path.
pub(super) fn gather(seed: u64, chains: &[&[Behaviour]]) -> (Town, Vec<Option<NatId>>) {
    let mut town = Town::new(seed);
    town.settle(None, true);
    let nats: Vec<Option<NatId>> = chains.iter().map(|chain| town.nat(chain)).collect();
    for nat in &nats {
        town.settle(*nat, false);
    }
    assemble(&mut town, chains.len());
    (town, nats)
}

/// The members 1 to `count` come to the supernode.
pub(super) fn assemble(town: &mut Town, count: usize) {
    town.run_until(SETTLING, |_| false);
    let there = town.address(SUPERNODE);
    for member in 1..=count {
        town.command(member, Command::ConnectTo(there));
        let came = town.run_until(MINUTE, |town| (0..=member).all(|other| town.members(other).len() == member + 1));
        assert!(came, "{member} did not come:\n{}\n{}", town.story(SUPERNODE), town.story(member));
    }
}

/// Waits until two members reach each other directly.
pub(super) fn become_direct(town: &mut Town, one: usize, other: usize, patience: Duration) {
    let direct = town.run_until(patience, |town| town.are_direct(one, other));
    assert!(direct, "not direct:\n{}\n{}", town.story(one), town.story(other));
}

/// Both say something, and both hear it soon.
pub(super) fn talk(town: &mut Town, one: usize, other: usize, patience: Duration) {
    let at = town.network.now();
    for from in [one, other] {
        town.command(from, Command::Talk(format!("{from} at {at:?}")));
    }
    let heard = |town: &Town| {
        town.has_heard(one, &format!("{other} at {at:?}")) && town.has_heard(other, &format!("{one} at {at:?}"))
    };
    assert!(town.run_until(patience, heard), "not heard:\n{}\n{}", town.story(one), town.story(other));
}

/// Nobody was told of a mistake, and nobody who came ever left.
pub(super) fn was_quiet(town: &Town, residents: usize) {
    for index in 0..residents {
        assert!(town.errors(index).is_empty(), "{}", town.story(index));
        let mut most = 0;
        for (_, event) in town.told(index) {
            if let anjer::node::Event::Peers { members, .. } = event {
                assert!(members.len() >= most, "somebody was lost:\n{}", town.story(index));
                most = members.len();
            }
        }
    }
}

/// When somebody called, from where and where to, on each hop.
pub(super) type Call = (Duration, SocketAddr, SocketAddr);

/// Shows the calls for new connections that leave from here on (RCON, the first byte of which is A0; those that a relay passes on are
/// sealed). None are made as long as every connection goes on.
pub(super) fn watch_calls(town: &mut Town) -> Rc<RefCell<Vec<Call>>> {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&calls);
    town.network.set_tap(move |now, packet| {
        if packet.bytes.first() == Some(&0xA0) {
            seen.borrow_mut().push((now, packet.from, packet.to));
        }
        Verdict::Pass
    });
    calls
}

/// A line as most homes have one: so many bits a second upwards, and a buffer of a quarter of a second.
pub(super) fn slow_line(town: &mut Town, home: usize, nat: impl Into<Site>, bits: u64) {
    let link = Link { rate: Some(bits), queue: Queue::Time(SECOND / 4), ..Link::with_delay(Duration::from_millis(1)) };
    let site = town.site(home);
    town.network.set_link(site, nat, link);
}

/// A file on a member's disk is offered, and another member knows of it.
pub(super) fn offer(town: &mut Town, owner: usize, name: &str, size: usize, reader: usize) {
    let bytes: Vec<u8> = (0..size).map(|n| (n * 31 + n / 251) as u8).collect();
    let path = town.dir(owner).join(name);
    std::fs::write(&path, bytes).unwrap();
    town.command(owner, Command::Offer(path));
    let is_known = |town: &Town| {
        let offered =
            |event: &anjer::node::Event| matches!(event, anjer::node::Event::Offered(offered) if offered.name == name);
        town.told(reader).any(|(_, event)| offered(event))
    };
    assert!(town.run_until(MINUTE, is_known), "{}", town.story(reader));
}

/// A member asks for a file.
pub(super) fn fetch(town: &mut Town, reader: usize, name: &str) {
    town.command(reader, Command::Retrieve { what: name.to_owned(), save_as: None });
}

/// A download is complete and whole.
pub(super) fn is_whole(town: &Town, owner: usize, reader: usize, name: &str) {
    let read = |index: usize| std::fs::read(town.dir(index).join(name)).unwrap();
    assert!(read(owner) == read(reader), "{name} is damaged");
}
