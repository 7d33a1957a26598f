//! A room that is held together by relays alone.

use super::gathering::{MINUTE, SECOND, SUPERNODE, fetch, gather, is_whole, offer, talk};
use crate::town::Town;
use anjer::node::Command;
use anjer::node::api::{ErrorCode, Path};
use netem::Behaviour;

fn are_relayed(town: &Town) -> bool {
    [(1, 2), (2, 1)].iter().all(|(from, to)| matches!(town.path(*from, *to), Some((_, Path::Relayed, _))))
}

/// Neither of two can ever reach the other: lines and files go through the supernode, and, once that has quit, through the member
/// who is left that both reach.
#[test]
fn two_who_never_meet_talk_and_share_through_whoever_leads() {
    let hard: &[Behaviour] = &[Behaviour::symmetric()];
    let (mut town, _) = gather(1, &[hard, hard, &[]]);
    assert!(town.run_until(MINUTE, |town| are_relayed(town) && town.why(1, 2).is_some()), "{}", town.story(1));
    talk(&mut town, 1, 2, SECOND);
    offer(&mut town, 1, "film", 10 << 20, 2);
    fetch(&mut town, 2, "film");
    assert!(town.run_until(MINUTE, |town| town.has_saved(2, "film")), "{}", town.story(2));
    is_whole(&town, 1, 2, "film");
    // A second relay stands by before it is needed.
    town.run_until(15 * SECOND, |_| false);
    town.command(SUPERNODE, Command::Quit);
    assert!(
        town.run_until(5 * SECOND, |town| (1..4).all(|member| town.members(member).len() == 3)),
        "{}",
        town.story(1)
    );
    talk(&mut town, 1, 2, 3 * SECOND);
    offer(&mut town, 2, "song", 1 << 20, 1);
    fetch(&mut town, 1, "song");
    assert!(town.run_until(MINUTE, |town| town.has_saved(1, "song")), "{}", town.story(1));
    is_whole(&town, 2, 1, "song");
    for member in 1..4 {
        assert!(town.errors(member).is_empty(), "{}", town.story(member));
        assert_eq!(town.members(member).len(), 3);
    }
}

/// The same, and the supernode is gone from one moment to the next, in the middle of a download.
#[test]
fn a_relayed_download_survives_the_supernodes_death() {
    let hard: &[Behaviour] = &[Behaviour::symmetric()];
    let (mut town, _) = gather(1, &[hard, hard, &[]]);
    assert!(town.run_until(MINUTE, |town| are_relayed(town) && town.why(1, 2).is_some()), "{}", town.story(1));
    town.run_until(15 * SECOND, |_| false);
    offer(&mut town, 1, "film", 10 << 20, 2);
    fetch(&mut town, 2, "film");
    assert!(town.run_until(MINUTE, |town| town.progress(2) > 1 << 20), "{}", town.story(2));
    assert!(!town.has_saved(2, "film"));
    let site = town.site(SUPERNODE);
    town.network.crash(site);
    assert!(town.run_until(MINUTE, |town| town.has_saved(2, "film")), "{}\n{}", town.story(1), town.story(2));
    is_whole(&town, 1, 2, "film");
    talk(&mut town, 1, 2, 3 * SECOND);
    assert!(town.errors(1).is_empty() && town.errors(2).is_empty(), "{}", town.story(2));
}

/// When the two came, nobody but the supernode could pass on. Somebody who can comes later, and is asked then: the supernode dies without a
/// word, and the three stay together.
#[test]
fn a_way_without_the_supernode_is_found_as_soon_as_there_is_one() {
    let hard: &[Behaviour] = &[Behaviour::symmetric()];
    let (mut town, _) = gather(2, &[hard, hard]);
    assert!(town.run_until(MINUTE, |town| are_relayed(town) && town.why(1, 2).is_some()), "{}", town.story(1));
    let third = town.settle(None, false);
    let there = town.address(SUPERNODE);
    town.command(third, Command::ConnectTo(there));
    assert!(town.run_until(MINUTE, |town| (0..4).all(|one| town.members(one).len() == 4)), "{}", town.story(third));
    town.run_until(20 * SECOND, |_| false);
    let site = town.site(SUPERNODE);
    town.network.crash(site);
    let at = town.network.now();
    talk(&mut town, 1, 2, 3 * SECOND);
    assert!(town.network.now() - at <= 3 * SECOND);
    assert!(town.run_until(5 * SECOND, |town| (1..4).all(|one| town.members(one).len() == 3)), "{}", town.story(1));
    assert!((1..4).all(|one| town.errors(one).is_empty()), "{}", town.story(1));
}

/// Nobody but the supernode reaches anybody. When it dies each is alone, and is told; when somebody whom all reach is back, so is the room.
#[test]
fn where_nobody_is_reached_any_more_each_is_told_and_the_room_is_one_again_by_itself() {
    let hard: &[Behaviour] = &[Behaviour::symmetric()];
    let (mut town, _) = gather(3, &[hard, hard, hard]);
    town.run_until(MINUTE, |_| false);
    let supernode = town.site(SUPERNODE);
    let walls: Vec<_> = (1..4).map(|one| town.behind(one)).collect();
    walls.iter().for_each(|wall| town.network.cut(supernode, *wall));
    town.run_until(12 * SECOND, |_| false);
    for one in 0..4 {
        let told = town.errors(one);
        let codes: Vec<_> = told.iter().map(|(_, code, _)| *code).collect();
        assert_eq!(codes, [ErrorCode::Unreachable], "{}", town.story(one));
    }
    walls.iter().for_each(|wall| town.network.heal(supernode, *wall));
    let is_one = |town: &Town| (0..4).all(|one| town.members(one).len() == 4);
    assert!(town.run_until(30 * SECOND, is_one), "{}\n{}", town.story(0), town.story(1));
    talk(&mut town, 1, 2, 3 * SECOND);
}
