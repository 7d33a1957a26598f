//! One question on the fresh socket: which address do others see?

use crate::driver::Clock;
use crate::time::{Duration, Instant};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::Builder;
use stunclient::StunClient;

/// Asked where the user names no server. Operated by others, free to use, none of them needed once a room runs.
pub const BUILT_IN_SERVERS: [&str; 3] =
    ["stun.l.google.com:19302", "stun.cloudflare.com:3478", "global.stun.twilio.com:3478"];

/// The time that all servers together get.
pub const BUDGET: Duration = Duration::from_secs(1);

/// Servers that are asked, at most.
const MAX_SERVERS: usize = 8;

/// The time one server gets while others are left to ask: twice a slow round trip (RFC 8489 §6.2.1 begins at 500 ms, which is
/// half of all we have).
const SHARE: Duration = Duration::from_millis(400);

/// When to ask a server again.
const ASK_AGAIN: Duration = Duration::from_millis(150);

/// Asks `servers` ("host:port") in turn for the address they see, until one answers or [`BUDGET`] is used up.
///
/// IPv4 only: an IPv6 address is seldom translated. `socket` must not be read by anyone else yet; it is non-blocking and without a
/// read timeout afterwards. The answer is not authenticated.
pub fn public_address(socket: &UdpSocket, servers: &[String], clock: &Clock) -> Option<SocketAddr> {
    if servers.is_empty() || !socket.local_addr().is_ok_and(|local| local.is_ipv4()) {
        return None;
    }
    let deadline = clock.now() + BUDGET;
    let answer = match socket.set_nonblocking(false) {
        Ok(()) => ask_in_turn(socket, &resolve(servers), servers.len(), clock, deadline),
        Err(_) => None,
    };
    if let Err(error) = restore(socket) {
        tracing::warn!(%error, "the socket could not be restored after STUN");
    }
    answer
}

/// Takes the servers' addresses as they are found out.
fn ask_in_turn(
    socket: &UdpSocket,
    resolved: &Receiver<SocketAddr>,
    servers: usize,
    clock: &Clock,
    deadline: Instant,
) -> Option<SocketAddr> {
    for asked in 1..=servers.min(MAX_SERVERS) {
        let left = deadline.saturating_since(clock.now());
        let server = match resolved.recv_timeout(left) {
            Ok(server) => server,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        let left = deadline.saturating_since(clock.now());
        let share = if asked == servers { left } else { left.min(SHARE) };
        if share.is_zero() {
            return None;
        }
        let mut client = StunClient::new(server);
        client.set_timeout(share).set_retry_interval(ASK_AGAIN).set_software(None);
        match client.query_external_address(socket) {
            Ok(seen) if is_plausible(seen) => return Some(seen),
            Ok(seen) => tracing::debug!(%server, %seen, "implausible STUN answer"),
            Err(error) => tracing::debug!(%server, %error, "no STUN answer"),
        }
    }
    None
}

/// Looks up the names, each on a thread of its own: a resolver may take longer than all the time we have, and then is left behind.
fn resolve(servers: &[String]) -> Receiver<SocketAddr> {
    let (found, resolved) = channel();
    for server in servers.iter().take(MAX_SERVERS) {
        let server = server.clone();
        let found = found.clone();
        let thread = Builder::new().name("anjer-resolve".into()).spawn(move || {
            let address = server.to_socket_addrs().ok().and_then(|mut all| all.find(SocketAddr::is_ipv4));
            if let Some(address) = address {
                // Nobody waits any more: fine.
                let _ = found.send(address);
            }
        });
        if let Err(error) = thread {
            tracing::debug!(%error, "no thread to resolve a name");
        }
    }
    resolved
}

/// `stunclient` leaves its read timeout behind when something fails.
fn restore(socket: &UdpSocket) -> io::Result<()> {
    socket.set_read_timeout(None)?;
    socket.set_nonblocking(true)
}

/// Whether that can be the address of a socket that others reach.
fn is_plausible(seen: SocketAddr) -> bool {
    match seen.ip() {
        IpAddr::V4(ip) => seen.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::thread::{JoinHandle, spawn};

    /// RFC 8489 §5.
    const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();

    fn bind() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    /// Answers one Binding request with the address it came from, or the one given (RFC 8489 §14.2).
    fn respond_once(server: UdpSocket, seen: Option<SocketAddr>) -> JoinHandle<()> {
        spawn(move || {
            let mut request = [0; 256];
            let (_, from) = server.recv_from(&mut request).unwrap();
            assert!(crate::stun::is_stun(request[0]));
            assert_eq!((&request[..2], &request[4..8]), (&[0, 1][..], &COOKIE[..]));
            let SocketAddr::V4(seen) = seen.unwrap_or(from) else { panic!("IPv4 only") };
            let mut response = vec![1, 1, 0, 12];
            response.extend_from_slice(&request[4..20]);
            response.extend_from_slice(&[0, 0x20, 0, 8, 0, 1]);
            response.extend(seen.port().to_be_bytes().iter().zip(COOKIE).map(|(byte, cookie)| byte ^ cookie));
            response.extend(seen.ip().octets().iter().zip(COOKIE).map(|(byte, cookie)| byte ^ cookie));
            server.send_to(&response, from).unwrap();
        })
    }

    fn assert_restored(socket: &UdpSocket) {
        assert_eq!(socket.read_timeout().unwrap(), None);
        assert_eq!(socket.recv_from(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn the_address_that_the_server_sees_is_the_answer() {
        let (socket, server) = (bind(), bind());
        let servers = [server.local_addr().unwrap().to_string()];
        let responder = respond_once(server, None);
        let answer = public_address(&socket, &servers, &Clock::start());
        assert_eq!(answer, Some(socket.local_addr().unwrap()));
        assert_restored(&socket);
        responder.join().unwrap();
    }

    /// The first name is no name, the second server is silent, the third lies: there is still time for the fourth.
    #[test]
    fn a_server_that_is_no_use_leaves_time_for_the_next() {
        let (socket, silent, liar, server) = (bind(), bind(), bind(), bind());
        let text = |socket: &UdpSocket| socket.local_addr().unwrap().to_string();
        let servers = ["not a name".into(), text(&silent), text(&liar), text(&server)];
        let lie = respond_once(liar, Some("0.0.0.0:0".parse().unwrap()));
        let responder = respond_once(server, None);
        assert_eq!(public_address(&socket, &servers, &Clock::start()), Some(socket.local_addr().unwrap()));
        assert_restored(&socket);
        responder.join().unwrap();
        // Depending on the order in which the names were resolved the liar may not have been asked.
        drop(lie);
    }

    #[test]
    fn silence_costs_a_second_at_most_and_leaves_the_socket_as_it_was() {
        let (socket, silent, other) = (bind(), bind(), bind());
        let servers = [silent, other].map(|server| (server.local_addr().unwrap().to_string(), server));
        let clock = Clock::start();
        assert_eq!(public_address(&socket, &servers.each_ref().map(|(name, _)| name.clone()), &clock), None);
        // Half a second for a machine that is busy with other tests.
        assert!(clock.now().since_start() < BUDGET + Duration::from_millis(500), "{:?}", clock.now());
        assert_restored(&socket);
    }

    #[test]
    fn without_servers_nothing_is_asked() {
        let clock = Clock::start();
        assert_eq!(public_address(&bind(), &[], &clock), None);
        assert!(
            BUILT_IN_SERVERS
                .iter()
                .all(|server| server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()))
        );
    }
}
