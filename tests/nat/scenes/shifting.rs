//! A download whose way changes under it.

use super::gathering::{MINUTE, SECOND, fetch, gather, is_whole, offer, slow_line, talk, was_quiet};
use crate::town::Town;
use anjer::node::api::Path;
use anjer::time::Duration;
use netem::Behaviour;

/// Bytes that a line of a megabyte a second brings in the twentieth part of one: more than keepalives and probes do.
const MUCH: u64 = 50_000;

/// Runs until `condition`, and says how long it took at the most until much more had come to a house. A download tells of its progress by
/// the slice, of which several are under way: what comes in is counted where it comes in.
fn longest_pause(town: &mut Town, reader: usize, patience: Duration, condition: impl Fn(&Town) -> bool) -> Duration {
    let site = town.site(reader);
    let came = |town: &Town| town.network.counters(town.behind(reader), site).delivered_bytes;
    let (mut bytes, mut since, mut longest) = (came(town), town.network.now(), Duration::ZERO);
    let end = since + patience;
    while !condition(town) {
        assert!(town.network.now() < end, "too long:\n{}", town.story(reader));
        town.run_until(Duration::from_millis(20), |_| false);
        let now = town.network.now();
        if came(town) > bytes + MUCH {
            (bytes, since) = (came(town), now);
        }
        longest = longest.max(now - since);
    }
    longest
}

/// It begins by way of the supernode, since nothing else is known; moves to the direct path as soon as that is found; goes back when it is
/// cut; and on to the next direct path when there is one again. The reader sees bytes come all the time.
///
/// What the cut costs is a probe timeout, on a line whose queue (250 ms) the download itself keeps full, and the queue once more for what
/// is sent again: well below a second most times. Of three such cuts one may fall together with a loss.
#[test]
fn a_download_moves_between_relay_and_direct_path_without_a_stall() {
    let mut cuts: Vec<Duration> = (1..=3).map(shift).collect();
    cuts.sort();
    assert!(cuts[1] <= SECOND && cuts[2] <= 2 * SECOND, "to the relay: {cuts:?}");
}

/// The story, with these dice. Returned is the pause when the direct path was cut; the other two are no pauses at all.
fn shift(seed: u64) -> Duration {
    const CALM: Duration = Duration::from_millis(300);
    let (mut town, nats) = gather(seed, &[&[Behaviour::port_restricted()], &[Behaviour::symmetric()]]);
    let [one, other] = [nats[0].unwrap(), nats[1].unwrap()];
    // What is known of the NATs would lead to a direct path within seconds; the download is to begin before.
    town.network.cut(one, other);
    slow_line(&mut town, 1, one, 8_000_000);
    assert!(town.run_until(MINUTE, |town| matches!(town.path(1, 2), Some((_, Path::Relayed, _)))));
    offer(&mut town, 1, "film", 96 << 20, 2);
    fetch(&mut town, 2, "film");
    let begun = |town: &Town| town.progress(2) > 1 << 20;
    longest_pause(&mut town, 2, MINUTE, begun);
    town.network.heal(one, other);
    let pause = longest_pause(&mut town, 2, MINUTE, |town| town.are_direct(1, 2));
    assert!(pause <= CALM, "to the direct path: {pause:?}\n{}\n{}", town.story(1), town.story(2));
    let settled = town.network.now() + SECOND;
    longest_pause(&mut town, 2, MINUTE, |town| town.network.now() >= settled);
    town.network.cut(one, other);
    let relayed =
        |town: &Town| [(1, 2), (2, 1)].iter().all(|(a, b)| matches!(town.path(*a, *b), Some((_, Path::Relayed, _))));
    let cut = longest_pause(&mut town, 2, MINUTE, relayed);
    assert!(!town.has_saved(2, "film"));
    town.network.heal(one, other);
    let pause = longest_pause(&mut town, 2, 2 * MINUTE, |town| town.are_direct(1, 2));
    assert!(pause <= CALM, "to the direct path again: {pause:?}");
    assert!(!town.has_saved(2, "film"), "the scene took longer than the file");
    longest_pause(&mut town, 2, 3 * MINUTE, |town| town.has_saved(2, "film"));
    is_whole(&town, 1, 2, "film");
    talk(&mut town, 1, 2, SECOND);
    was_quiet(&town, 3);
    cut
}
