//! What the driver tells of the network around it, where that network can be changed: in namespaces of the kernel's.
//!
//! Each story runs in a process of its own, in an empty namespace: this program again, asked for one of the tests in [`inside`].
//! Where namespaces cannot be made, a test says SKIPPED and why; with `ANJER_REQUIRE_PRIVILEGED=1` it fails.

#![cfg(target_os = "linux")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use anjer::driver::surroundings::{Config, Interfaces, MappedBy, Neighbour, Surroundings, SurroundingsRequest};
use anjer::driver::{Clock, Driven, Helper, Remote, Socket, spawn_with_helper};
use anjer::machine::{Datagram, Ecn, Machine, SocketId, SocketReport, SocketRequest, Transmit};
use anjer::time::Instant;
use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A network of one: `v0` is ours, whoever is on the other end of the wire does not answer.
const ONE: &str = "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up \
                   && ip addr add 192.0.2.5/24 dev v0 && ip route add default via 192.0.2.1";

/// Runs that test of [`inside`] in a namespace that `setup` made.
fn run_inside(test: &str, setup: &str) {
    let unshared = Command::new("unshare").args(["--net", "ip", "link"]).output();
    if !unshared.is_ok_and(|output| output.status.success()) {
        let why = "a network namespace cannot be made: not root, or no iproute2";
        assert!(
            std::env::var_os("ANJER_REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"),
            "{test} must run: {why}"
        );
        // Not by a macro: what those print of a test that passes is not shown.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
        return;
    }
    let program = std::env::current_exe().unwrap();
    let script = format!("{setup} && exec \"$0\" --ignored --exact inside::{test} --nocapture");
    let output =
        Command::new("timeout").args(["120", "unshare", "--net", "sh", "-c", &script]).arg(program).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn changes_of_the_network_are_noticed_and_only_those() {
    run_inside("changes", ONE);
}

#[test]
fn a_socket_on_an_address_that_is_gone_is_replaced() {
    run_inside("replacement", ONE);
}

#[test]
fn neighbours_find_each_other_and_say_farewell() {
    run_inside("neighbours", ONE);
}

/// Anybody on the LAN can make up names without end. They are not remembered without end.
#[test]
fn a_flood_of_neighbours_silences_multicast_dns_until_it_is_wanted_again() {
    run_inside("flood", ONE);
}

/// The gateway is another namespace, at the other end of the wire.
#[test]
fn the_gateway_is_asked_for_a_port_and_given_it_back() {
    run_inside(
        "mapping",
        "ip link set lo up && ip link add v0 type veth peer name v1 && \
         { unshare --net sleep 60 <&- >&- 2>&- & GATEWAY=$!; } && \
         while [ $(readlink /proc/$GATEWAY/ns/net) = $(readlink /proc/self/ns/net) ]; do :; done && \
         ip link set v1 netns $GATEWAY && \
         nsenter -t $GATEWAY -n sh -c 'ip link set lo up && ip link set v1 up && ip addr add 192.0.2.1/24 dev v1' && \
         ip link set v0 up && ip addr add 192.0.2.5/24 dev v0 && ip route add default via 192.0.2.1 && export GATEWAY",
    );
}

/// Facts and reports as events, requests as commands.
#[derive(Default)]
struct Toy {
    requests: VecDeque<SurroundingsRequest>,
    sockets: VecDeque<SocketRequest>,
    out: VecDeque<(SocketId, SocketAddr)>,
    events: VecDeque<Event>,
    finished: bool,
}

enum Order {
    Ask(SurroundingsRequest),
    Socket(SocketRequest),
    /// Send one byte.
    Send(SocketId, SocketAddr),
    Finish,
}

#[derive(Debug, PartialEq)]
enum Event {
    Told(Surroundings),
    Reported(SocketReport),
    /// From whom.
    Heard(SocketAddr),
}

impl Machine for Toy {
    fn handle_datagram(&mut self, _: Instant, datagram: Datagram<'_>) {
        self.events.push_back(Event::Heard(datagram.from));
    }

    fn handle_unreachable(&mut self, _: Instant, _: SocketAddr) {}

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_transmit(&mut self, _: Instant, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let (socket, to) = self.out.pop_front()?;
        buffer.push(1);
        Some(Transmit { socket, to, ecn: Ecn::NotCapable, segment_size: 1 })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll_socket(&mut self) -> Option<SocketRequest> {
        self.sockets.pop_front()
    }

    fn handle_socket(&mut self, _: Instant, report: SocketReport) {
        self.events.push_back(Event::Reported(report));
    }
}

impl Driven for Toy {
    type Command = Order;
    type Event = Event;
    type Job = ();
    type Done = ();

    fn handle_command(&mut self, _: Instant, order: Order) {
        match order {
            Order::Ask(request) => self.requests.push_back(request),
            Order::Socket(request) => self.sockets.push_back(request),
            Order::Send(socket, to) => self.out.push_back((socket, to)),
            Order::Finish => self.finished = true,
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_request(&mut self) -> Option<SurroundingsRequest> {
        self.requests.pop_front()
    }

    fn handle_surroundings(&mut self, _: Instant, surroundings: Surroundings) {
        self.events.push_back(Event::Told(surroundings));
    }

    fn is_finished(&self) -> bool {
        self.finished
    }
}

struct Idle;

impl Helper for Idle {
    type Job = ();
    type Done = ();

    fn handle(&mut self, (): (), _: &mut dyn FnMut(())) {}
}

struct Running(Remote<Order, Event>);

impl Running {
    fn start(bind: &str) -> Self {
        let socket = Socket::bind(bind.parse().unwrap()).unwrap();
        let config = Some(Config { map_ports: true });
        Self(spawn_with_helper("anjer-net", socket, Toy::default(), Clock::start(), Idle, config).unwrap())
    }

    fn order(&self, order: Order) {
        self.0.send(order).unwrap();
    }

    fn next(&self) -> Event {
        self.0.events().recv_timeout(PATIENCE).unwrap()
    }

    fn told(&self) -> Surroundings {
        match self.next() {
            Event::Told(fact) => fact,
            other => panic!("{other:?}"),
        }
    }

    /// The next interfaces that have, or have not, that address; others before it may be on their way there.
    fn interfaces(&self, ip: &str, has: bool) -> Interfaces {
        loop {
            match self.told() {
                Surroundings::Interfaces(interfaces) if interfaces.has(ip.parse().unwrap()) == has => break interfaces,
                Surroundings::Interfaces(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn end(self) {
        self.order(Order::Finish);
        self.0.join().unwrap();
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What happens in a namespace.
mod inside {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    #[ignore = "runs in a namespace"]
    fn changes() {
        let node = Running::start("192.0.2.5:0");
        let first = node.interfaces("192.0.2.5", true);
        assert_eq!(first.outward_v4, Some("192.0.2.5".parse().unwrap()));
        assert!(first.addresses.iter().any(|address| address.prefix == 24 && address.index > 1), "{first:?}");
        // An address comes.
        ip("addr add 198.51.100.7/24 dev v0");
        node.interfaces("198.51.100.7", true);
        assert_eq!(node.told(), Surroundings::NetworkChanged);
        // Containers come and go: pairs of devices with link-local addresses of their own. Nobody's paths changed.
        for number in 0..5 {
            ip(&format!("link add c{number} type veth peer name d{number}"));
            ip(&format!("link set c{number} up"));
            ip(&format!("link set d{number} up"));
        }
        for number in 0..5 {
            ip(&format!("link del c{number}"));
        }
        // Another gateway, and the same addresses: no other Wi-Fi looks different from here.
        ip("route change default via 192.0.2.254");
        loop {
            match node.told() {
                Surroundings::Interfaces(_) => {}
                fact => break assert_eq!(fact, Surroundings::NetworkChanged),
            }
        }
        // The wire is pulled.
        ip("link set v0 down");
        let last = node.interfaces("192.0.2.5", false);
        assert_eq!(last.outward_v4, None);
        // One change was told, and not one for each of the sixty things that happened before.
        loop {
            match node.told() {
                Surroundings::Interfaces(_) => {}
                fact => break assert_eq!(fact, Surroundings::NetworkChanged),
            }
        }
        node.end();
    }

    /// The main socket is bound to an address that goes: nothing leaves from it any more. The machine is told, opens another one on the
    /// address that came, and that works.
    #[test]
    #[ignore = "runs in a namespace"]
    fn replacement() {
        let node = Running::start("192.0.2.5:0");
        node.interfaces("192.0.2.5", true);
        ip("addr del 192.0.2.5/24 dev v0");
        ip("addr add 198.51.100.7/24 dev v0");
        let mut now = Interfaces::default();
        while !now.has("198.51.100.7".parse().unwrap()) || now.has("192.0.2.5".parse().unwrap()) {
            match node.told() {
                Surroundings::Interfaces(interfaces) => now = interfaces,
                fact => assert_eq!(fact, Surroundings::NetworkChanged),
            }
        }
        let friend = UdpSocket::bind("198.51.100.7:0").unwrap();
        friend.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let to = friend.local_addr().unwrap();
        node.order(Order::Send(SocketId::MAIN, to));
        let mut byte = [0; 1];
        assert!(friend.recv_from(&mut byte).is_err(), "an address that is gone cannot be sent from");
        let socket = SocketId(1);
        node.order(Order::Socket(SocketRequest::Open { socket, bind: "198.51.100.7:0".parse().unwrap() }));
        let local = loop {
            match node.next() {
                Event::Reported(SocketReport::Opened { local, .. }) => break local,
                Event::Told(_) => {}
                other => panic!("{other:?}"),
            }
        };
        node.order(Order::Send(socket, to));
        friend.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(friend.recv_from(&mut byte).unwrap(), (1, local));
        friend.send_to(&byte, local).unwrap();
        loop {
            match node.next() {
                Event::Heard(from) => break assert_eq!(from, to),
                Event::Told(_) => {}
                other => panic!("{other:?}"),
            }
        }
        node.end();
    }

    #[test]
    #[ignore = "runs in a namespace"]
    fn neighbours() {
        let (alice, bob) = (Running::start("192.0.2.5:0"), Running::start("192.0.2.5:0"));
        let announce = |name: &str, node: &Running| {
            let port = node.0.local_addr().port();
            let addresses = vec!["192.0.2.5".parse().unwrap()];
            node.order(Order::Ask(SurroundingsRequest::Announce { name: name.into(), port, addresses }));
        };
        announce("Alice-1", &alice);
        announce("bob-2", &bob);
        let heard = |node: &Running| loop {
            match node.told() {
                Surroundings::Interfaces(_) | Surroundings::NetworkChanged => {}
                fact => break fact,
            }
        };
        let neighbour = |name: &str, node: &Running| {
            Surroundings::Neighbour(Neighbour { name: name.into(), addresses: vec![node.0.local_addr()] })
        };
        assert_eq!(heard(&alice), neighbour("bob-2", &bob));
        assert_eq!(heard(&bob), neighbour("alice-1", &alice));
        bob.order(Order::Ask(SurroundingsRequest::Hush));
        assert_eq!(heard(&alice), Surroundings::NeighbourGone { name: "bob-2".into() });
        alice.end();
        bob.end();
    }

    /// Threads of the library.
    fn daemons() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: &std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        tasks.filter(|task| name(task.as_ref().unwrap()).trim() == "mDNS_daemon").count()
    }

    /// A response (RFC 1035 §4.1) that says of `count` names that they are of our service.
    fn names(from: usize, count: u8) -> Vec<u8> {
        let service = b"\x06_anjer\x04_udp\x05local\0";
        let mut response = vec![0, 0, 0x84, 0, 0, 0, 0, count, 0, 0, 0, 0];
        for number in 0..usize::from(count) {
            let name = format!("flood-{}", from + number);
            response.extend_from_slice(service);
            // PTR, IN, an hour.
            response.extend_from_slice(&[0, 12, 0, 1, 0, 0, 14, 16]);
            let length = u8::try_from(1 + name.len() + service.len()).unwrap();
            response.extend_from_slice(&[0, length, u8::try_from(name.len()).unwrap()]);
            response.extend_from_slice(name.as_bytes());
            response.extend_from_slice(service);
        }
        response
    }

    #[test]
    #[ignore = "runs in a namespace"]
    fn flood() {
        let node = Running::start("192.0.2.5:0");
        let announce = |port| {
            let request = SurroundingsRequest::Announce { name: "alice".into(), port, addresses: Vec::new() };
            node.order(Order::Ask(request));
        };
        announce(4000);
        let clock = Clock::start();
        let wait_for = |wanted: usize, flood: &mut dyn FnMut()| {
            while daemons() != wanted {
                assert!(clock.now().since_start() < PATIENCE, "{} instead of {wanted}", daemons());
                flood();
                let _ = node.0.events().recv_timeout(Duration::from_millis(20));
            }
        };
        wait_for(1, &mut || {});
        // mDNS is spoken from its own port (RFC 6762 §6).
        let attacker = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        attacker.set_reuse_address(true).unwrap();
        attacker.set_reuse_port(true).unwrap();
        attacker.bind(&"0.0.0.0:5353".parse::<SocketAddr>().unwrap().into()).unwrap();
        attacker.set_multicast_if_v4(&"192.0.2.5".parse().unwrap()).unwrap();
        let attacker = UdpSocket::from(attacker);
        let mut sent = 0;
        wait_for(0, &mut || {
            attacker.send_to(&names(sent, 20), "224.0.0.251:5353").unwrap();
            sent += 20;
        });
        assert!(sent >= 500, "silenced after {sent} names");
        announce(4001);
        wait_for(1, &mut || {});
        node.end();
    }

    /// A NAT-PMP gateway (RFC 6886) in the other namespace: what it has mapped at the end, it writes.
    #[test]
    #[ignore = "is the gateway"]
    fn gateway() {
        let socket = UdpSocket::bind("192.0.2.1:5351").unwrap();
        println!("listening");
        let mut request = [0; 1200];
        loop {
            let (count, from) = socket.recv_from(&mut request).unwrap();
            let request = &request[..count];
            let answer = match request[..2] {
                [0, 0] => vec![0, 0x80, 0, 0, 0, 0, 0, 9, 203, 0, 113, 9],
                [0, 1] => {
                    let is_end = request[8..12] == [0; 4];
                    println!("{}", if is_end { "released" } else { "mapped" });
                    let port = if is_end { [0, 0] } else { 4444_u16.to_be_bytes() };
                    [&[0, 0x81, 0, 0, 0, 0, 0, 9], &request[4..6], &port, &request[8..12]].concat()
                }
                _ => vec![0, 0x80, 0, 1, 0, 0, 0, 9],
            };
            socket.send_to(&answer, from).unwrap();
        }
    }

    #[test]
    #[ignore = "runs in a namespace"]
    fn mapping() {
        use std::io::{BufRead, BufReader};
        let namespace = std::env::var("GATEWAY").unwrap();
        let mut gateway = Command::new("nsenter")
            .args(["-t", &namespace, "-n"])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "inside::gateway", "--nocapture"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(gateway.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line == "listening"));
        let node = Running::start("192.0.2.5:0");
        let local_port = node.0.local_addr().port();
        node.order(Order::Ask(SurroundingsRequest::MapPort(local_port)));
        let fact = loop {
            match node.told() {
                Surroundings::Interfaces(_) | Surroundings::NetworkChanged => {}
                fact => break fact,
            }
        };
        let external = "203.0.113.9:4444".parse().unwrap();
        assert_eq!(fact, Surroundings::Mapped { local_port, external, by: MappedBy::NatPmp });
        assert_eq!(said.next().unwrap(), "mapped");
        node.end();
        assert_eq!(said.find(|line| line != "mapped").unwrap(), "released");
        gateway.kill().unwrap();
        gateway.wait().unwrap();
        Command::new("kill").arg(&namespace).status().unwrap();
    }
}
