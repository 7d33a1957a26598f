//! The client against a gateway of our own, on loopback addresses that nobody else has.

#![cfg(target_os = "linux")]

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket as StdUdpSocket};
use std::sync::{Arc, Mutex};

pub(crate) const DESCRIPTION_XML: &str = "<?xml version=\"1.0\"?><root><device><serviceList><service>\
    <serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/no</controlURL></service>\
    </serviceList><deviceList><device><serviceList><service>\
    <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>ctl/IPConn</controlURL>\
    </service></serviceList></device></deviceList></device></root>";

/// What a test gateway has.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// External port to (client, lease).
    pub(crate) mappings: BTreeMap<u16, (String, u32)>,
    pub(crate) external_ip: String,
    /// Leases are refused.
    pub(crate) only_permanent: bool,
}

/// A gateway that answers searches and requests at that address, on threads that end with the process.
pub(crate) fn gateway(ip: Ipv4Addr, table: Table) -> Arc<Mutex<Table>> {
    let table = Arc::new(Mutex::new(table));
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let location = format!("http://{}/desc/root.xml", listener.local_addr().unwrap());
    let ssdp = StdUdpSocket::bind((ip, 1900)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((count, from)) = ssdp.recv_from(&mut buffer) {
            assert!(buffer[..count].starts_with(b"M-SEARCH * HTTP/1.1\r\n"));
            let answer = format!("HTTP/1.1 200 OK\r\nST: x\r\nLocation: {location}\r\n\r\n");
            let _ = ssdp.send_to(answer.as_bytes(), from);
        }
    });
    let shared = Arc::clone(&table);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = Vec::new();
            let mut some = [0; 4096];
            while !is_whole(&request) {
                match stream.read(&mut some) {
                    Ok(count) if count > 0 => request.extend_from_slice(&some[..count]),
                    _ => break,
                }
            }
            let (status, body) = answer(&String::from_utf8_lossy(&request), &mut shared.lock().unwrap());
            let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    table
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
    body.len() >= length
}

fn answer(request: &str, table: &mut Table) -> (u16, String) {
    if request.starts_with("GET /desc/root.xml ") {
        return (200, DESCRIPTION_XML.to_owned());
    }
    assert!(request.starts_with("POST /desc/ctl/IPConn HTTP/1.1\r\n"), "{request}");
    let argument = |name| element(request, name).unwrap().to_owned();
    let fault = |code: u16| (500, format!("<s:Fault><errorCode>{code}</errorCode></s:Fault>"));
    if request.contains("#GetExternalIPAddress\"") {
        return (200, format!("<NewExternalIPAddress>{}</NewExternalIPAddress>", table.external_ip));
    }
    let port: u16 = argument("NewExternalPort").parse().unwrap();
    assert_eq!(argument("NewProtocol"), "UDP");
    if request.contains("#DeletePortMapping\"") {
        return if table.mappings.remove(&port).is_some() { (200, String::new()) } else { fault(714) };
    }
    assert!(request.contains("#AddPortMapping\""), "{request}");
    let client = format!("{}:{}", argument("NewInternalClient"), argument("NewInternalPort"));
    let lease: u32 = argument("NewLeaseDuration").parse().unwrap();
    if table.only_permanent && lease != 0 {
        return fault(ONLY_PERMANENT);
    }
    if table.mappings.get(&port).is_some_and(|(owner, _)| *owner != client) {
        return fault(CONFLICT);
    }
    table.mappings.insert(port, (client, lease));
    (200, String::new())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn a_gateway_is_found_and_does_what_it_is_asked() {
    let ip = Ipv4Addr::new(127, 77, 0, 1);
    let table = gateway(ip, Table { external_ip: "203.0.113.9".into(), ..Table::default() });
    block_on(async {
        let igd = Igd::find(ip, HERE).await.unwrap();
        assert_eq!(igd.external_ip().await.unwrap(), Ipv4Addr::new(203, 0, 113, 9));
        igd.add(4000, SocketAddrV4::new(HERE, 5000), 60).await.unwrap();
        assert_eq!(table.lock().unwrap().mappings[&4000], ("127.0.0.1:5000".into(), 60));
        let taken = igd.add(4000, SocketAddrV4::new(HERE, 6000), 60).await;
        assert!(matches!(taken, Err(Trouble::Refused(CONFLICT))), "{taken:?}");
        igd.delete(4000).await.unwrap();
        assert!(table.lock().unwrap().mappings.is_empty());
        assert!(matches!(igd.delete(4000).await, Err(Trouble::Refused(714))));
    });
}

/// Anybody on the LAN can answer a search; who is not the gateway is not heard.
#[test]
fn somebody_who_is_not_the_gateway_is_not_believed() {
    let ip = Ipv4Addr::new(127, 77, 0, 2);
    let ours = Location { address: SocketAddrV4::new(ip, 5000), path: "/root.xml".into() };
    assert_eq!(location("HTTP/1.1 200 OK\r\nLOCATION:  http://127.77.0.2:5000/root.xml\r\n", ip), Some(ours.clone()));
    for elsewhere in [
        "http://127.77.0.3:5000/root.xml",
        "http://127.0.0.1:22/",
        "https://127.77.0.2/x",
        "http://router.local/x",
        "http://127.77.0.2:0/x",
        "http://127.77.0.2:5000/a b",
        "http://127.77.0.2@127.0.0.1/x",
        "file:///etc/passwd",
        "",
    ] {
        assert_eq!(location(&format!("LOCATION: {elsewhere}\r\n"), ip), None, "{elsewhere}");
        if elsewhere.contains("://") {
            assert_eq!(ours.join(elsewhere), None, "{elsewhere}");
        }
    }
    assert_eq!(ours.join("x y\r\nHost: evil"), None);
    assert_eq!(location(&format!("LOCATION: http://127.77.0.2/{}\r\n", "x".repeat(600)), ip), None);
    let long_search = block_on(async { Igd::find(ip, HERE).await });
    assert!(matches!(long_search, Err(Trouble::None)), "nobody is there: {long_search:?}");
}

#[test]
fn the_service_is_found_wherever_its_address_is_relative_to() {
    let at = Location { address: "127.77.0.4:80".parse().unwrap(), path: "/a/b.xml".into() };
    let igd = service(DESCRIPTION_XML, &at).unwrap();
    assert_eq!((igd.control.path.as_str(), igd.service), ("/a/ctl/IPConn", SERVICES[1]));
    let absolute = DESCRIPTION_XML.replace("ctl/IPConn", "http://127.77.0.4:99/c");
    assert_eq!(service(&absolute, &at).unwrap().control.address.port(), 99);
    let elsewhere = DESCRIPTION_XML.replace("ctl/IPConn", "http://127.77.0.5:99/c");
    assert_eq!(service(&elsewhere, &at), None);
    assert_eq!(service(&DESCRIPTION_XML.replace("WANIPConnection:1", "Other:1"), &at), None);
}

proptest! {
    #[test]
    fn no_description_is_trouble(text in "(<service>|<serviceType>|</|urn:schemas-upnp-org:service:WANIPConnection:1|<controlURL>|[a-z/:<> é]){0,30}") {
        let at = Location { address: "127.77.0.4:80".parse().unwrap(), path: "/".into() };
        let _ = service(&text, &at);
        let _ = location(&text, Ipv4Addr::LOCALHOST);
    }
}
