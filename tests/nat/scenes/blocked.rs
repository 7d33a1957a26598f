//! Somebody whose UDP gets nowhere.

use super::gathering::{SECOND, SUPERNODE, assemble, talk};
use crate::town::Town;
use anjer::node::Command;
use anjer::node::api::{ErrorCode, NatKind};
use netem::Behaviour;

/// It cannot join, is told so and why in the time that a call takes, and nobody else notices.
#[test]
fn whose_udp_is_blocked_is_told_so_and_nobody_else_is_bothered() {
    let mut town = Town::new(1);
    town.settle(None, true);
    let fine = town.nat(&[Behaviour::port_restricted()]);
    town.settle(fine, false);
    // One silent server proves nothing.
    town.has_second_stun = true;
    let wall = town.nat(&[Behaviour::blocked()]);
    let lost = town.settle(wall, false);
    assemble(&mut town, 1);
    let before = town.told(SUPERNODE).count();
    let there = town.address(SUPERNODE);
    town.command(lost, Command::ConnectTo(there));
    assert!(town.run_until(25 * SECOND, |town| !town.errors(lost).is_empty()), "{}", town.story(lost));
    let (_, code, words) = town.errors(lost).remove(0);
    assert!(matches!(code, ErrorCode::Unreachable | ErrorCode::Network), "{code:?}");
    assert!(words.contains("UDP"), "{words}\n{}", town.story(lost));
    let is_sure = town.run_until(25 * SECOND, |town| town.nat_of(lost) == Some(NatKind::Blocked));
    assert!(is_sure, "{}", town.story(lost));
    talk(&mut town, SUPERNODE, 1, SECOND);
    assert!(town.errors(SUPERNODE).is_empty() && town.errors(1).is_empty());
    assert_eq!(town.members(SUPERNODE).len(), 2);
    assert_eq!(town.told(SUPERNODE).count(), before + 2, "two lines of chat, no more:\n{}", town.story(SUPERNODE));
    // It is not stuck: asked again, it says it again.
    town.command(lost, Command::ConnectTo(there));
    assert!(town.run_until(25 * SECOND, |town| town.errors(lost).len() == 2), "{}", town.story(lost));
}
