//! What a peer, or somebody on the path, does on purpose.
//!
//! Attacks that need the keys of a connection are stories beside the code they attack, in `src/mrt/connection/attacks`: the rows here
//! name them and fail if they are gone. `cargo test --lib attacks` runs them.

use crate::course::{Course, Way, base_link, bytes};
use crate::pair::{CLIENT, Plan, SERVER, STRANGER, secs};
use crate::scenario::{Scenario, Tally};
use anjer::mrt::Event;
use anjer::mrt::wire::DataHeader;
use anjer::time::Duration;
use netem::{Packet, Verdict};
use std::cell::RefCell;
use std::rc::Rc;

const STORIES: [&str; 3] = [
    include_str!("../../src/mrt/connection/attacks/frames.rs"),
    include_str!("../../src/mrt/connection/attacks/addresses.rs"),
    include_str!("../../src/mrt/connection/attacks/costs.rs"),
];

pub(crate) const SCENARIOS: [Scenario; 6] = [
    elsewhere("optimistic ACK", |_| named(&["acknowledging_what_was_never_sent_is_found_out"])),
    elsewhere("gap flood", |_| {
        named(&["a_peer_that_floods_us_with_every_kind_of_frame_makes_us_hold_no_more_than_the_caps"])
    }),
    elsewhere("credit overflow", |_| {
        named(&[
            "what_breaks_the_protocol_closes_the_connection_and_says_why",
            "the_last_channel_allowed_is_allowed_and_credit_may_be_used_to_the_last_byte",
        ])
    }),
    Scenario {
        asked: "closed or ignored",
        held: "ignored, 2 MB arrive",
        ..Scenario::new("attack", "window jump by a forged number", |_| Tally::one(forged(false)))
    },
    Scenario::planted("attack", "a story that is not there", "no story named", |_| named(&["nobody_tells_this"])),
    Scenario::planted("attack", "the genuine packets are taken away", "lost after 0 bytes", |_| {
        Tally::one(forged(true))
    }),
];

const fn elsewhere(name: &'static str, run: fn(crate::scenario::Share) -> Tally) -> Scenario {
    Scenario {
        asked: "closed or ignored",
        held: "the same, memory within its cap",
        ..Scenario::new("attack", name, run)
    }
}

fn named(names: &[&str]) -> Tally {
    let is_told = |name: &&str| STORIES.iter().any(|stories| stories.contains(&format!("#[test]\nfn {name}()")));
    let missing = names.iter().find(|name| !is_told(name));
    Tally::one(match missing {
        None => Ok((Duration::ZERO, format!("mrt::connection::attacks, {} of the library's tests", names.len()))),
        Some(name) => Err(format!("no story named {name}")),
    })
}

/// Whoever is on the path sends, for every packet of the client, copies with other numbers and key phases first: were any number
/// believed before the seal is checked, the window of what is new would jump past all that is genuine.
fn forged(alone: bool) -> Result<(Duration, String), String> {
    let mut course = Course::new(Plan { seed: 14, link: base_link(), ..Plan::default() });
    let forgeries: Rc<RefCell<Vec<Packet>>> = Rc::default();
    let writer = Rc::clone(&forgeries);
    course.pair.network.set_tap(move |_, packet| {
        let header = DataHeader::parse(&packet.bytes).ok().filter(|_| packet.from == CLIENT);
        let Some(header) = header else { return Verdict::Pass };
        for (key_phase, ahead) in [(header.key_phase, 1 << 31), (!header.key_phase, 1 << 20), (header.key_phase, 9000)]
        {
            let mut bytes = Vec::new();
            DataHeader { key_phase, number: header.number.wrapping_add(ahead), ..header }.emit(&mut bytes);
            let length = bytes.len();
            bytes.extend_from_slice(&packet.bytes[length..]);
            for from in [CLIENT, STRANGER] {
                writer.borrow_mut().push(Packet::new(from, SERVER, bytes.clone()));
            }
        }
        if alone { Verdict::Drop } else { Verdict::Pass }
    });
    let sent = bytes(15, 2_000_000);
    let mut count = 0;
    let took = course.carry(Way::Up, sent.clone(), sent, secs(60), |course, _| {
        for packet in forgeries.take() {
            count += 1;
            course.pair.network.inject(packet);
        }
        Ok(())
    })?;
    if course.pair.server().events.iter().any(|event| matches!(event, Event::Moved { .. })) || count < 1000 {
        return Err(format!("{count} forgeries; {:?}", course.pair));
    }
    Ok((took, format!("{count} forgeries")))
}
