//! Our server asked by others' clients, our client beside others' servers, over real loopback sockets.
//!
//! Where coturn is not installed, a test says SKIPPED and why; with `ANJER_REQUIRE_PRIVILEGED=1` it fails.

use anjer::driver::Clock;
use anjer::machine::{SocketId, SocketReport, SocketRequest};
use anjer::stun::client::{Answer, Client, Outcome, Patience, Question};
use anjer::stun::discovery::{Config as DiscoveryConfig, Discovery, Vantage};
use anjer::stun::fingerprint::{Filtering, Mapping};
use anjer::stun::message::Change;
use anjer::stun::server::{Alternate, Config, Limits, Place, Server};
use anjer::time::Instant;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// How long a thread looks at one socket before it looks at the next.
const GLANCE: Duration = Duration::from_millis(1);

/// Says whether a program of coturn's is there; if not, that the test cannot run.
fn has(test: &str, program: &str) -> bool {
    let found = Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let Err(why) = found else { return true };
    assert!(
        std::env::var_os("ANJER_REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"),
        "{test} must run: {program}: {why}"
    );
    // Not by a macro: what those print of a test that passes is not shown.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {program}: {why}");
    false
}

/// Ports that are free on two loopback addresses: one address, one port; the other port; the other address with either.
fn quartet() -> [UdpSocket; 4] {
    let (one, other) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    for _ in 0..100 {
        let pair = [(); 2].map(|()| UdpSocket::bind((one, 0)).unwrap());
        let ports = pair.each_ref().map(|socket| socket.local_addr().unwrap().port());
        if let [Ok(third), Ok(fourth)] = ports.map(|port| UdpSocket::bind((other, port))) {
            let [first, second] = pair;
            return [first, second, third, fourth];
        }
    }
    panic!("no port is free on both addresses");
}

/// Our server on real sockets, until it is dropped.
struct Running {
    addresses: [SocketAddr; 4],
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Running {
    fn start() -> Self {
        let sockets = quartet();
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || serve(&sockets, &stopped));
        Self { addresses, stop, thread: Some(thread) }
    }

    /// On one IPv6 address, if there is one.
    fn start_v6() -> Option<Self> {
        let socket = UdpSocket::bind("[::1]:0").ok()?;
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || serve(&[socket], &stopped));
        Some(Self { addresses: [address; 4], stop, thread: Some(thread) })
    }

    /// How many questions it answered.
    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The whole loop that a server needs.
fn serve(sockets: &[UdpSocket], stop: &AtomicBool) -> u64 {
    let clock = Clock::start();
    let place = |at: usize| Place { socket: SocketId(at as u32), address: sockets[at].local_addr().ok() };
    let alternate = (sockets.len() == 4).then(|| Alternate { port: place(1), address: Some([place(2), place(3)]) });
    let mut server = Server::new(Config { main: place(0), alternate, limits: Limits::default() });
    sockets.iter().for_each(|socket| socket.set_read_timeout(Some(GLANCE)).unwrap());
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        for (at, socket) in sockets.iter().enumerate() {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                server.handle_datagram(clock.now(), SocketId(at as u32), from, &buffer[..length]);
            }
        }
        while let Some(packet) = server.poll_transmit() {
            sockets[packet.socket.0 as usize].send_to(&packet.bytes, packet.to).unwrap();
        }
    }
    server.answered()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new("timeout").arg("30").arg(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said
}

/// The crate that asks at our own start.
#[test]
fn stunclient_is_answered() {
    let server = Running::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for address in server.addresses {
        let client = stunclient::StunClient::new(address);
        assert_eq!(client.query_external_address(&socket).unwrap(), socket.local_addr().unwrap());
    }
    assert_eq!(server.stop(), 4);
}

/// coturn's client asks plainly, then for an answer from elsewhere to another port of its own, then with padding to be sent back, in which we
/// do not take part.
#[test]
fn turnutils_stunclient_is_answered() {
    if !has("turnutils_stunclient_is_answered", "turnutils_stunclient") {
        return;
    }
    let server = Running::start();
    let [main, .., other] = server.addresses;
    let said = said("turnutils_stunclient", &["-p", &main.port().to_string(), "127.0.0.1"]);
    assert!(said.contains("UDP reflexive addr: 127.0.0.1:"), "{said}");
    assert!(said.contains(&format!("Other addr: : {other}")), "{said}");
    assert!(said.contains(&format!("Response origin: : {other}")), "the answer from the other address:\n{said}");
    assert!(said.contains("error 420"), "{said}");
    assert_eq!(server.stop(), 3);
}

/// coturn's discovery of NATs, of which there is none on loopback.
#[test]
fn turnutils_natdiscovery_is_answered() {
    if !has("turnutils_natdiscovery_is_answered", "turnutils_natdiscovery") {
        return;
    }
    let server = Running::start();
    let port = server.addresses[0].port().to_string();
    let discovered = said("turnutils_natdiscovery", &["-m", "-f", "-p", &port, "127.0.0.1"]);
    assert!(discovered.contains("NAT with Endpoint Independent Mapping!"), "{discovered}");
    assert!(discovered.contains("NAT with Endpoint Independent Filtering!"), "{discovered}");
    assert!(!discovered.contains("ALG detected"), "{discovered}");
    // RESPONSE-PORT.
    let lifetime = said("turnutils_natdiscovery", &["-t", "-T", "1", "-p", &port, "127.0.0.1"]);
    assert!(lifetime.contains("UDP reflexive addr: 127.0.0.1:"), "{lifetime}");
    assert!(server.stop() >= 6);
}

/// coturn as a server, until it is dropped.
struct Coturn {
    child: Child,
    addresses: [SocketAddr; 4],
}

impl Coturn {
    fn start() -> Self {
        let sockets = quartet();
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        drop(sockets);
        let [port, other_port] = [addresses[0].port(), addresses[1].port()].map(|port| port.to_string());
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name).display().to_string();
        let mut child = Command::new("turnserver")
            .args(["-n", "--stun-only", "-L", "127.0.0.1", "-L", "127.0.0.2", "-p", &port])
            .args([&format!("--alt-listening-port={other_port}"), "--no-tcp", "--no-tls", "--no-dtls", "--no-cli"])
            .args(["--log-file=stdout", "--simple-log", &format!("--pidfile={}", at("pid")), "--db", &at("db")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Somebody has to read what it says, or it stops when the pipe is full.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addresses }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks one question on these sockets (the first asks) and waits for its end.
fn ask(sockets: &[UdpSocket], question: Question) -> Outcome {
    let clock = Clock::start();
    let mut client = Client::new([9; 32]);
    client.ask(clock.now(), question).unwrap();
    sockets.iter().for_each(|socket| socket.set_read_timeout(Some(GLANCE)).unwrap());
    let mut buffer = [0; 2048];
    loop {
        while let Some(packet) = client.poll_transmit(clock.now()) {
            sockets[packet.socket.0 as usize].send_to(&packet.bytes, packet.to).unwrap();
        }
        for (at, socket) in sockets.iter().enumerate() {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                client.handle_datagram(clock.now(), SocketId(at as u32), from, &buffer[..length]);
            }
        }
        client.handle_timeout(clock.now());
        if let Some(report) = client.poll_event() {
            assert_eq!(client.ignored().total(), 0, "{}", client.ignored());
            return report.outcome;
        }
    }
}

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Answered(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn coturn_is_understood() {
    if !has("coturn_is_understood", "turnserver") {
        return;
    }
    let coturn = Coturn::start();
    let [main, second, _, other] = coturn.addresses;
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let own = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    // It needs a moment to start: the full patience has that.
    let plain = Question::new(SocketId(0), main, Patience::FULL);
    let first = answer(ask(&sockets, plain));
    assert_eq!((first.mapped, first.origin, first.other), (own[0], Some(main), Some(other)));
    for (ip, port, from) in [(false, true, second), (true, true, other)] {
        let changed = Question { change: Change { ip, port }, also_from: Some(from), ..plain };
        assert_eq!(answer(ask(&sockets, changed)).from, from);
    }
    let elsewhere = Question { respond_to: Some((SocketId(1), own[1].port())), ..plain };
    let redirected = answer(ask(&sockets, elsewhere));
    assert_eq!((redirected.on, redirected.mapped), (SocketId(1), own[0]));
}

/// A discovery on real sockets.
fn discover(servers: &[SocketAddr]) -> Discovery {
    let clock = Clock::start();
    let bind = || UdpSocket::bind(SocketAddr::new(servers[0].ip(), 0)).unwrap();
    let main = bind();
    let mut config = DiscoveryConfig::new(SocketId::MAIN, main.local_addr().unwrap(), 1..1000);
    config.silences = vec![Duration::from_millis(300), Duration::from_millis(600)];
    let mut discovery = Discovery::new(config, [7; 32]);
    servers.iter().for_each(|server| discovery.add_vantage(clock.now(), Vantage::Server(*server)));
    let mut sockets = BTreeMap::from([(SocketId::MAIN, main)]);
    let mut buffer = [0; 2048];
    let deadline = Instant::from_start(Duration::from_secs(30));
    loop {
        while let Some(request) = discovery.poll_socket() {
            match request {
                SocketRequest::Open { socket, .. } => {
                    let opened = bind();
                    let local = opened.local_addr().unwrap();
                    sockets.insert(socket, opened);
                    discovery.handle_socket(clock.now(), SocketReport::Opened { socket, local });
                }
                SocketRequest::Close(socket) => drop(sockets.remove(&socket)),
            }
        }
        while let Some(packet) = discovery.poll_transmit(clock.now()) {
            if let Some(socket) = sockets.get(&packet.socket) {
                socket.send_to(&packet.bytes, packet.to).unwrap();
            }
        }
        if discovery.poll_timeout().is_none() || clock.now() > deadline {
            break;
        }
        for (id, socket) in &sockets {
            socket.set_read_timeout(Some(GLANCE)).unwrap();
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                discovery.handle_datagram(clock.now(), *id, from, &buffer[..length]);
            }
        }
        discovery.handle_timeout(clock.now());
    }
    assert_eq!(sockets.len(), 1, "what was opened was closed");
    discovery
}

/// No NAT and no filter: everything gets through, from wherever it comes.
fn assert_open(discovery: &Discovery) {
    let known = discovery.fingerprint();
    assert_eq!((known.translated, known.mapping), (Some(false), Some(Mapping::Independent)), "{known}");
    assert_eq!(known.filtering, Some(Filtering::Independent), "{known}");
    assert_eq!(known.lifetime, Some(Duration::from_millis(600)), "{known}");
    // Answers that come twice because the question was repeated are all that may be ignored.
    assert_eq!(discovery.ignored().total(), discovery.ignored().id, "{}", discovery.ignored());
    assert!(discovery.spent() < 40, "{}", discovery.spent());
}

#[test]
fn a_discovery_on_real_sockets_understands_our_server() {
    let server = Running::start();
    assert_open(&discover(&server.addresses[..1]));
    server.stop();
}

/// The same over IPv6, as far as a server with one address and one port can tell.
#[test]
fn a_discovery_on_real_sockets_speaks_ipv6() {
    let Some(server) = Running::start_v6() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: a_discovery_on_real_sockets_speaks_ipv6: no ::1");
        return;
    };
    let discovery = discover(&server.addresses[..1]);
    let known = discovery.fingerprint();
    assert_eq!((known.translated, known.filtering), (Some(false), None), "{known}");
    assert_eq!(known.lifetime, Some(Duration::from_millis(600)), "{known}");
    assert!(discovery.public().unwrap().is_ipv6());
    server.stop();
}

#[test]
fn a_discovery_on_real_sockets_understands_coturn() {
    if !has("a_discovery_on_real_sockets_understands_coturn", "turnserver") {
        return;
    }
    let coturn = Coturn::start();
    assert_open(&discover(&coturn.addresses[..1]));
}
