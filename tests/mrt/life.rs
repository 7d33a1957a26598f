//! Recorded lives, to be told to somebody else.

use crate::pair::{Pair, Plan, pattern, secs};
use anjer::mrt::Class;
use netem::Packet;

/// A seed that is not that of the recorded lives. With theirs the server would draw the same numbers again, and a replay would be
/// the conversation itself.
pub(crate) const OTHER_WORLD: u64 = 99;

/// Every datagram of a whole life, in both directions: three handshakes, data, keepalive, closes.
pub(crate) fn a_whole_life() -> Vec<Packet> {
    let mut datagrams = Vec::new();
    for pattern_number in 0..3 {
        let mut pair = Pair::new(Plan::default());
        let record = pair.record();
        let to = pair.patterns()[pattern_number].clone();
        let connection = pair.call(to);
        pair.must("both are connected", secs(2), |client, server| {
            client.connection().is_some() && server.connection().is_some()
        });
        let channel = pair.client().say(connection, Class::Bulk, pattern(1, 30_000));
        pair.must("the file arrived", secs(5), |_, server| server.whole(channel).is_some());
        pair.network.run_for(secs(15));
        let now = pair.now();
        pair.client().endpoint.close(now, connection, 0, "done");
        pair.network.run_for(secs(5));
        datagrams.append(&mut record.borrow_mut());
    }
    assert!(datagrams.len() > 60, "{} datagrams", datagrams.len());
    datagrams
}
