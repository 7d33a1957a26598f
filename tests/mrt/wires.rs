//! A harness by hand, for what one socket at one address cannot show: machines with several sockets, and NATs that rewrite where a
//! datagram comes from.

use crate::pair::{MS, secs};
use anjer::machine::{Datagram, Ecn, Machine, SocketId};
use anjer::mrt::{Class, Config, ConnectTo, ConnectionHandle, Endpoint, Event, Received, Route, StaticKey};
use anjer::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Who gets it, on which of its sockets, and whom it seems to come from.
type Delivery = (usize, SocketId, SocketAddr);

/// Two endpoints; where a datagram goes is decided by `carry`: of which endpoint, from which of its sockets, to which address.
struct Wires<F> {
    ends: [Endpoint; 2],
    events: [Vec<Event>; 2],
    now: Instant,
    carry: F,
    flying: BTreeMap<(Instant, u64), (Delivery, Vec<u8>)>,
    sent: u64,
}

impl<F: FnMut(usize, SocketId, SocketAddr) -> Option<Delivery>> Wires<F> {
    fn new(carry: F) -> Self {
        let end = |key: u8| Endpoint::new(Config::new(StaticKey::from_bytes([key; 32]), b"wires"), [key; 32]);
        let ends = [end(1), end(2)];
        Self { ends, events: [Vec::new(), Vec::new()], now: Instant::ZERO, carry, flying: BTreeMap::new(), sent: 0 }
    }

    /// Ten milliseconds each way.
    fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            for from in 0..2 {
                let mut buffer = Vec::new();
                while let Some(transmit) = self.ends[from].poll_transmit(self.now, &mut buffer) {
                    for datagram in buffer.chunks(transmit.segment_size) {
                        if let Some(delivery) = (self.carry)(from, transmit.socket, transmit.to) {
                            self.sent += 1;
                            self.flying.insert((self.now + 10 * MS, self.sent), (delivery, datagram.to_vec()));
                        }
                    }
                    buffer.clear();
                }
                self.events[from].extend(core::iter::from_fn(|| self.ends[from].poll_event()));
            }
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let alarm = self.ends.iter().filter_map(Machine::poll_timeout).min();
            let next = arrival.into_iter().chain(alarm).min().filter(|at| *at <= until);
            let Some(next) = next else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            while let Some(((at, _), _)) = self.flying.first_key_value()
                && *at <= self.now
            {
                let (_, ((to, socket, from), mut contents)) = self.flying.pop_first().unwrap();
                let datagram = Datagram { socket, from, ecn: Ecn::NotCapable, contents: &mut contents };
                self.ends[to].handle_datagram(self.now, datagram);
            }
            self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
        }
    }

    fn connection(&self, end: usize) -> Option<ConnectionHandle> {
        self.events[end].iter().find_map(|event| match event {
            Event::Connected { connection, .. } => Some(*connection),
            _ => None,
        })
    }

    /// Says something to the other end, and whether it was heard within a second.
    fn says(&mut self, end: usize) -> bool {
        let connection = self.connection(end).unwrap();
        let channel = self.ends[end].open_channel(connection, Class::Chat).unwrap();
        self.ends[end].send(connection, channel, &mut "hello".into()).unwrap();
        self.run_for(secs(1));
        let (other, now) = (self.connection(1 - end).unwrap(), self.now);
        self.ends[1 - end].receive(now, other, channel) == Ok(Received::Bytes("hello".into()))
    }

    fn route(&self, end: usize) -> Route {
        let stats = self.ends[end].stats(self.now, self.connection(end).unwrap());
        stats.unwrap().route
    }
}

fn at(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}

#[test]
fn who_answers_from_another_port_than_was_called_is_connected_and_talks() {
    // Behind a NAT that maps each destination elsewhere, the called hears what comes to the port that everybody was told, once; its
    // answers leave from another port, and only there is it heard from then on.
    for pattern in 0..2 {
        let mut requests = 0;
        let mut wires = Wires::new(move |from, _, to| match (from, to.port()) {
            (0, 2000) if requests == 0 => {
                requests += 1;
                Some((1, SocketId::MAIN, at(1, 1000)))
            }
            (0, 5555) => Some((1, SocketId::MAIN, at(1, 1000))),
            (1, 1000) => Some((0, SocketId::MAIN, at(2, 5555))),
            _ => None,
        });
        let key = wires.ends[1].public_key();
        let to = if pattern == 0 { ConnectTo::Known(key) } else { ConnectTo::Unknown };
        wires.ends[0].connect(Instant::ZERO, at(2, 2000), to, secs(5)).unwrap();
        wires.run_for(secs(2));
        assert!(wires.connection(0).is_some() && wires.connection(1).is_some(), "pattern {pattern}");
        assert_eq!(wires.route(0), at(2, 5555).into(), "pattern {pattern}");
        assert!(wires.says(0) && wires.says(1), "pattern {pattern}");
    }
}

#[test]
fn a_caller_whose_every_packet_comes_from_another_port_is_one_caller() {
    // The request is repeated from a new port each time, because the first answers are lost.
    let mut sent = 0_u16;
    let mut wires = Wires::new(move |from, _, to| match from {
        0 => {
            sent += 1;
            Some((1, SocketId::MAIN, at(1, 1000 + sent.min(4))))
        }
        _ => (to.port() == 1004).then_some((0, SocketId::MAIN, at(2, 2000))),
    });
    let key = wires.ends[1].public_key();
    wires.ends[0].connect(Instant::ZERO, at(2, 2000), ConnectTo::Known(key), secs(10)).unwrap();
    wires.run_for(secs(5));
    let connected = wires.events[1].iter().filter(|event| matches!(event, Event::Connected { .. })).count();
    assert_eq!(connected, 1);
    assert!(wires.says(0) && wires.says(1));
}

#[test]
fn a_path_from_a_second_socket_is_proven_and_used_when_the_first_is_gone() {
    let cut = std::rc::Rc::new(std::cell::Cell::new(false));
    let is_cut = std::rc::Rc::clone(&cut);
    let second = SocketId(7);
    // Each has two sockets, at ports 1000 and 1007.
    let mut wires = Wires::new(move |from, socket, to| {
        let (own, port) = (from as u8 + 1, if socket == SocketId::MAIN { 1000 } else { 1007 });
        let there = if to.port() == 1000 { SocketId::MAIN } else { second };
        let passes = socket == there && !(socket == SocketId::MAIN && is_cut.get());
        passes.then_some((1 - from, there, at(own, port)))
    });
    let key = wires.ends[1].public_key();
    let connection = wires.ends[0].connect(Instant::ZERO, at(2, 1000), ConnectTo::Known(key), secs(5)).unwrap();
    wires.run_for(secs(1));
    let route = Route::Udp { socket: second, remote: at(2, 1007) };
    wires.ends[0].add_path(wires.now, connection, route).unwrap();
    wires.run_for(secs(5));
    assert!(wires.events[0].iter().any(|event| matches!(event, Event::PathUp { route: up, .. } if *up == route)));
    assert_eq!(wires.route(0), at(2, 1000).into(), "it is no better");
    assert_eq!(wires.ends[0].paths(wires.now, connection).len(), 2);
    cut.set(true);
    assert!(wires.says(0));
    assert_eq!(wires.route(0), route);
    assert_eq!(wires.route(1), Route::Udp { socket: second, remote: at(1, 1007) });
    assert!(wires.says(1));
}
