//! Against gateways of our own, on loopback addresses that nobody else has.

#![cfg(target_os = "linux")]

use super::super::super::MappedBy;
use super::super::igd::tests::{Table, gateway as igd_gateway};
use super::*;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a NAT-PMP or PCP gateway of the tests has.
#[derive(Clone, Copy, Debug)]
struct Gateway {
    speaks_pcp: bool,
    external_ip: Ipv4Addr,
    external_port: u16,
    /// The internal port that is mapped.
    mapped: Option<u16>,
    /// Says so, in seconds, whatever was asked for.
    lifetime: Option<u32>,
}

fn start(ip: Ipv4Addr, gateway: Gateway) -> Arc<Mutex<Gateway>> {
    let socket = UdpSocket::bind((ip, 5351)).unwrap();
    let state = Arc::new(Mutex::new(gateway));
    let shared = Arc::clone(&state);
    std::thread::spawn(move || {
        let mut request = [0; 1200];
        while let Ok((count, from)) = socket.recv_from(&mut request) {
            let answer = answer(&request[..count], &mut shared.lock().unwrap());
            let _ = socket.send_to(&answer, from);
        }
    });
    state
}

fn answer(request: &[u8], gateway: &mut Gateway) -> Vec<u8> {
    let epoch = [0, 0, 0, 9];
    match (request[0], request[1]) {
        // RFC 6887 §11.1: nonce, protocol, internal port, external port, external address.
        (2, 1) if gateway.speaks_pcp => {
            let lifetime = &request[4..8];
            gateway.mapped = (lifetime != [0; 4]).then(|| u16::from_be_bytes([request[40], request[41]]));
            let mut answer = vec![2, 0x81, 0, 0];
            let said = gateway.lifetime.map_or_else(|| lifetime.to_vec(), |said| said.to_be_bytes().to_vec());
            answer.extend_from_slice(&said);
            answer.extend_from_slice(&epoch);
            answer.extend_from_slice(&[0; 12]);
            answer.extend_from_slice(&request[24..42]);
            let port = if gateway.mapped.is_some() { gateway.external_port } else { 0 };
            answer.extend_from_slice(&port.to_be_bytes());
            answer.extend_from_slice(&gateway.external_ip.to_ipv6_mapped().octets());
            answer
        }
        // RFC 6886 §3.5: unsupported version.
        (2, _) => vec![0, 0x80, 0, 1, 0, 0, 0, 9],
        // §3.2
        (0, 0) => [&[0, 0x80, 0, 0], &epoch[..], &gateway.external_ip.octets()].concat(),
        // §3.3
        (0, 1) => {
            let lifetime = &request[8..12];
            gateway.mapped = (lifetime != [0; 4]).then(|| u16::from_be_bytes([request[4], request[5]]));
            let port = if gateway.mapped.is_some() { gateway.external_port } else { 0 };
            [&[0, 0x81, 0, 0], &epoch[..], &request[4..6], &port.to_be_bytes(), lifetime].concat()
        }
        other => panic!("{other:?}"),
    }
}

/// A keeper, and what it tells.
struct Kept {
    port: watch::Sender<Option<u16>>,
    network: watch::Sender<u64>,
    told: mpsc::Receiver<Surroundings>,
    keeper: tokio::task::JoinHandle<Result<(), Over>>,
}

impl Kept {
    fn start(gateway: Ipv4Addr, port: u16) -> Self {
        let (facts, told) = mpsc::channel(10);
        let (port, wanted) = watch::channel(Some(port));
        let (network, changes) = watch::channel(0);
        let find = move |port| Some(Wanted { gateway, client: Ipv4Addr::LOCALHOST, port });
        let keeper = tokio::spawn(keep(Teller::new(facts, None), wanted, changes, find));
        Self { port, network, told, keeper }
    }

    async fn next(&mut self) -> Surroundings {
        timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap()
    }

    /// The program ends.
    async fn end(self) {
        drop(self.port);
        timeout(PATIENCE, self.keeper).await.unwrap().unwrap().unwrap();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn mapped(local_port: u16, external: &str, by: MappedBy) -> Surroundings {
    Surroundings::Mapped { local_port, external: external.parse().unwrap(), by }
}

#[test]
fn a_port_is_mapped_kept_and_given_back_by_each_protocol() {
    let external_ip = Ipv4Addr::new(203, 0, 113, 9);
    for (speaks_pcp, by, last) in [(true, MappedBy::Pcp, 1), (false, MappedBy::NatPmp, 2)] {
        let ip = Ipv4Addr::new(127, 77, 1, last);
        let state = start(ip, Gateway { speaks_pcp, external_ip, external_port: 4444, mapped: None, lifetime: None });
        block_on(async {
            let mut kept = Kept::start(ip, 5000);
            assert_eq!(kept.next().await, mapped(5000, "203.0.113.9:4444", by));
            assert_eq!(state.lock().unwrap().mapped, Some(5000));
            // The network changed, and the same gateway now gives another port.
            state.lock().unwrap().external_port = 4445;
            kept.network.send_replace(1);
            assert_eq!(kept.next().await, mapped(5000, "203.0.113.9:4445", by));
            // Another port of ours takes the place of the first.
            kept.port.send_replace(Some(5001));
            assert_eq!(kept.next().await, mapped(5001, "203.0.113.9:4445", by));
            assert_eq!(state.lock().unwrap().mapped, Some(5001));
            kept.end().await;
            assert_eq!(state.lock().unwrap().mapped, None, "given back");
        });
    }
}

/// A router that only lends for ever, and whose port somebody else has: the next best is taken, and given back at the end.
#[test]
fn a_upnp_gateway_with_moods_is_used_all_the_same() {
    let ip = Ipv4Addr::new(127, 77, 1, 3);
    let mut table = Table { external_ip: "203.0.113.9".into(), only_permanent: true, ..Table::default() };
    table.mappings.insert(5000, ("192.168.1.77:5000".into(), 0));
    let table = igd_gateway(ip, table);
    block_on(async {
        let mut kept = Kept::start(ip, 5000);
        assert_eq!(kept.next().await, mapped(5000, "203.0.113.9:14973", MappedBy::Igd));
        assert_eq!(table.lock().unwrap().mappings[&14973], ("127.0.0.1:5000".into(), 0));
        kept.port.send_replace(None);
        assert_eq!(kept.next().await, Surroundings::MappingLost);
        assert_eq!(table.lock().unwrap().mappings.len(), 1, "what others have stays");
        kept.end().await;
    });
}

/// A gateway behind another one tells an address of its own: nobody could reach us there, so it is not told, and given back.
#[test]
fn an_external_address_that_nobody_can_reach_is_not_told() {
    let ip = Ipv4Addr::new(127, 77, 1, 4);
    let external_ip = Ipv4Addr::new(192, 168, 7, 7);
    let state = start(ip, Gateway { speaks_pcp: true, external_ip, external_port: 4444, mapped: None, lifetime: None });
    block_on(async {
        let mut kept = Kept::start(ip, 5000);
        state.lock().unwrap().external_ip = external_ip;
        // It becomes a real one: only that is told.
        while state.lock().unwrap().mapped.is_none() {
            tokio::task::yield_now().await;
        }
        while state.lock().unwrap().mapped.is_some() {
            tokio::task::yield_now().await;
        }
        state.lock().unwrap().external_ip = Ipv4Addr::new(203, 0, 113, 9);
        kept.network.send_replace(1);
        assert_eq!(kept.next().await, mapped(5000, "203.0.113.9:4444", MappedBy::Pcp));
        kept.end().await;
    });
}

/// Lifetimes of none and of a century: neither is a reason to ask all the time, to stop asking, or to fall over.
#[test]
fn a_gateway_decides_neither_how_often_it_is_asked_nor_whether_we_run() {
    let ip = Ipv4Addr::new(127, 77, 1, 6);
    let external_ip = Ipv4Addr::new(203, 0, 113, 9);
    let state =
        start(ip, Gateway { speaks_pcp: true, external_ip, external_port: 4444, mapped: None, lifetime: Some(0) });
    let wanted = Wanted { gateway: ip, client: Ipv4Addr::LOCALHOST, port: NonZeroU16::MIN };
    block_on(async {
        assert!(Mapping::obtain(wanted).await.is_none());
        for (said, half) in [(1, 60), (600, 300), (u32::MAX, 3600)] {
            state.lock().unwrap().lifetime = Some(said);
            let mapping = Mapping::obtain(wanted).await.unwrap();
            assert_eq!(mapping.renew_after(), Duration::from_secs(half), "{said}");
            let mapping = mapping.renew().await.unwrap();
            assert_eq!(mapping.external(), "203.0.113.9:4444".parse().unwrap());
        }
    });
}

/// Nobody answers: nothing is told, and the end is not held up by what is still being asked.
#[test]
fn no_gateway_is_no_news() {
    block_on(async {
        let mut kept = Kept::start(Ipv4Addr::new(127, 77, 1, 5), 5000);
        tokio::task::yield_now().await;
        assert!(kept.told.try_recv().is_err());
        kept.end().await;
    });
}
