//! A room that is held together by relays alone.

use super::gathering::{MINUTE, SECOND, SUPERNODE, fetch, gather, is_whole, offer, talk};
use crate::town::Town;
use anjer::node::Command;
use anjer::node::api::Path;
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
