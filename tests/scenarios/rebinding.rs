//! A NAT that forgets every second: another port, or another address, again and again under a transfer.

use crate::course::{Course, Way, base_link, bytes, goodput};
use crate::pair::{Pair, Plan, SERVER, secs};
use crate::paths::Paths;
use crate::scenario::{Scenario, Share, Tally};
use anjer::mrt::Event;
use anjer::time::Duration;
use netem::Verdict;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

const SIZE: usize = 100_000_000;

pub(crate) const SCENARIOS: [Scenario; 6] = [
    row("another port every second, sending", |_| story(Way::Up, port)),
    row("another port every second, receiving", |_| story(Way::Down, port)),
    row("another address every second, sending", |_| story(Way::Up, host)),
    row("another address every second, receiving", |_| story(Way::Down, host)),
    Scenario::planted("rebinding", "a server that says everything twenty times", "unproven", |_| {
        Tally::one(transfer(Way::Down, port, 3_000_000, Fault::Stutter))
    }),
    Scenario::planted("rebinding", "an address that hears nothing", "was never proven", |_| {
        Tally::one(transfer(Way::Up, port, 5_000_000, Fault::Deaf(port(2))))
    }),
];

const fn row(name: &'static str, run: fn(Share) -> Tally) -> Scenario {
    Scenario {
        asked: "10 MB, every 5 s",
        held: "100 MB, every 1 s; each path proven; ≤ 3× before",
        ..Scenario::new("rebinding", name, run)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The server sends every datagram twenty times.
    Stutter,
    /// Nothing reaches that address.
    Deaf(SocketAddr),
}

fn port(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 10_000 + number))
}

fn host(number: u16) -> SocketAddr {
    let [high, low] = (number + 1).to_be_bytes();
    SocketAddr::from(([203, 0, high, low], 4001))
}

fn story(way: Way, place: fn(u16) -> SocketAddr) -> Tally {
    Tally::one(transfer(way, place, SIZE, Fault::None))
}

fn transfer(way: Way, place: fn(u16) -> SocketAddr, size: usize, fault: Fault) -> Result<(Duration, String), String> {
    let mut pair = Pair::new(Plan { seed: 5, link: base_link(), ..Plan::default() });
    let paths = Rc::new(RefCell::new(Paths::new(SERVER, base_link().delay)));
    let writer = Rc::clone(&paths);
    pair.network.set_tap(move |now, packet| {
        writer.borrow_mut().enter(now, packet);
        if fault == Fault::Deaf(packet.to) { Verdict::Drop } else { Verdict::Pass }
    });
    let mut course = Course::over(pair);
    if fault == Fault::Stutter {
        course.party(true).0.stutter = 19;
    }
    let began = course.now();
    let (mut moves, mut unproven) = (0_u16, Vec::new());
    let sent = bytes(5, size);
    let took = course.carry(way, sent.clone(), sent, secs(3600), |course, _| {
        if let Some(complaint) = &paths.borrow().overdrawn {
            return Err(complaint.clone());
        }
        if course.now() - began < secs(1) * u32::from(moves + 1) {
            return Ok(());
        }
        let home = course.home;
        let (server, _) = course.party(true);
        let proven = |event: &Event| matches!(event, Event::Moved { route, .. } if *route == home.into());
        if moves > 0 && !server.events.iter().any(proven) {
            unproven.push(home);
        }
        moves += 1;
        course.rebind(place(moves));
        Ok(())
    })?;
    let paths = paths.borrow();
    if let Some(address) = unproven.first() {
        let (count, heard) = (unproven.len(), paths.heard());
        return Err(format!(
            "{address} was never proven, nor were {count} of {moves} in all, {heard} of them heard; {took:?}"
        ));
    }
    if moves < 3 || paths.heard() <= usize::from(moves) {
        return Err(format!("{moves} moves, {} addresses heard", paths.heard()));
    }
    let note = format!("{moves} moves, {:.2} Mbit/s, at most {:.0} % of 3×", goodput(size, took), 100.0 * paths.most);
    Ok((took, note))
}
