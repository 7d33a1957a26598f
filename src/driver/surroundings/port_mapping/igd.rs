//! UPnP Internet Gateway Device, version 1, as much of it as one mapping needs: find the service, ask for the external address, add
//! and delete a mapping.
//!
//! Written here because every client there is drags in an HTTP stack, and most believe whatever answers first. This one speaks to
//! the default gateway alone: answers from others are not read, and addresses of others in its answers are not followed.

use super::http::{Answer, ask};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Where devices are searched (UPnP Device Architecture 1.1 §1.3.2).
const EVERYBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);

/// How long a gateway may think before it answers a search. It is asked to take a second at most.
const SEARCH: Duration = Duration::from_millis(2500);

/// When to ask again, since datagrams get lost.
const ASK_AGAIN: Duration = Duration::from_millis(700);

/// Answers to a search that are read, at most.
const MAX_ANSWERS: usize = 32;

/// What a gateway's port mapping service may be called. A device of version 2 has version 1 as well (IGD:2 §2.1).
const SERVICES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

/// What the owner of a gateway sees in its list.
const DESCRIPTION: &str = "anjer";

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody answered, or nobody we believe.
    #[error("no UPnP gateway")]
    None,
    /// It answered something we cannot use.
    #[error("unusable: {0}")]
    Unusable(&'static str),
    /// It refuses (the code of a UPnP error, or of HTTP).
    #[error("refused: {0}")]
    Refused(u16),
    /// It could not be talked to.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// UPnP error: only mappings without an end.
pub(super) const ONLY_PERMANENT: u16 = 725;

/// UPnP error: somebody else has that port.
pub(super) const CONFLICT: u16 = 718;

/// A gateway's port mapping service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Igd {
    control: Location,
    service: &'static str,
}

impl Igd {
    /// Searches the network of `client`, our address there, for the service of `gateway`.
    pub(super) async fn find(gateway: Ipv4Addr, client: Ipv4Addr) -> Result<Self, Trouble> {
        let description = search(gateway, client).await?;
        let get =
            format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", description.path, description.address);
        let answer = ask(description.address.into(), &get).await?;
        if answer.status != 200 {
            return Err(Trouble::Refused(answer.status));
        }
        service(&answer.body, &description).ok_or(Trouble::Unusable("no port mapping service"))
    }

    /// The address that the world sees.
    pub(super) async fn external_ip(&self) -> Result<Ipv4Addr, Trouble> {
        let answer = self.act("GetExternalIPAddress", "").await?;
        let text = element(&answer.body, "NewExternalIPAddress").unwrap_or_default();
        text.trim().parse().map_err(|_| Trouble::Unusable("no external address"))
    }

    /// Has `external` passed to `client` for `lease` seconds, or for ever if that is 0.
    pub(super) async fn add(&self, external: u16, client: SocketAddrV4, lease: u32) -> Result<(), Trouble> {
        let arguments = format!(
            "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort><NewProtocol>UDP</NewProtocol>\
             <NewInternalPort>{}</NewInternalPort><NewInternalClient>{}</NewInternalClient><NewEnabled>1</NewEnabled>\
             <NewPortMappingDescription>{DESCRIPTION}</NewPortMappingDescription>\
             <NewLeaseDuration>{lease}</NewLeaseDuration>",
            client.port(),
            client.ip()
        );
        self.act("AddPortMapping", &arguments).await.map(drop)
    }

    /// Ends it.
    pub(super) async fn delete(&self, external: u16) -> Result<(), Trouble> {
        let arguments = format!(
            "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort><NewProtocol>UDP</NewProtocol>"
        );
        self.act("DeletePortMapping", &arguments).await.map(drop)
    }

    async fn act(&self, action: &str, arguments: &str) -> Result<Answer, Trouble> {
        let Self { control, service } = self;
        let body = format!(
            "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{action} xmlns:u=\"{service}\">{arguments}</u:{action}></s:Body></s:Envelope>\r\n"
        );
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: text/xml; charset=\"utf-8\"\r\n\
             SOAPAction: \"{service}#{action}\"\r\nContent-Length: {}\r\n\r\n{body}",
            control.path,
            control.address,
            body.len()
        );
        let answer = ask(control.address.into(), &request).await?;
        if answer.status == 200 {
            return Ok(answer);
        }
        let code = element(&answer.body, "errorCode").and_then(|code| code.trim().parse().ok());
        Err(Trouble::Refused(code.unwrap_or(answer.status)))
    }
}

/// A place on the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Location {
    address: SocketAddrV4,
    /// Begins with a slash; printable and without blanks.
    path: String,
}

impl Location {
    /// A URL with an address for its host, which must be `host`'s.
    fn parse(url: &str, host: Ipv4Addr) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let address = match authority.parse() {
            Ok(address) => address,
            Err(_) => SocketAddrV4::new(authority.parse().ok()?, 80),
        };
        let path = if path.is_empty() { "/" } else { path };
        (*address.ip() == host && address.port() != 0).then(|| Self::on(address, path))?
    }

    /// What `reference` means in a document that came from here.
    fn join(&self, reference: &str) -> Option<Self> {
        if reference.contains("://") {
            return Self::parse(reference, *self.address.ip());
        }
        if reference.starts_with('/') {
            return Self::on(self.address, reference);
        }
        let directory = self.path.rfind('/').and_then(|end| self.path.get(..=end)).unwrap_or("/");
        Self::on(self.address, &format!("{directory}{reference}"))
    }

    fn on(address: SocketAddrV4, path: &str) -> Option<Self> {
        /// Longer ones are nobody's.
        const MAX_PATH: usize = 512;
        let is_plain = path.len() <= MAX_PATH && path.bytes().all(|byte| byte.is_ascii_graphic());
        (is_plain && path.starts_with('/')).then(|| Self { address, path: path.to_owned() })
    }
}

/// Asks everybody and the gateway itself, and believes the gateway.
async fn search(gateway: Ipv4Addr, client: Ipv4Addr) -> Result<Location, Trouble> {
    let socket = UdpSocket::bind((client, 0)).await?;
    let question = format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {EVERYBODY}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
         ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"
    );
    let mut buffer = [0; 2048];
    let mut answers = 0;
    let end = Instant::now() + SEARCH;
    while Instant::now() < end && answers < MAX_ANSWERS {
        for to in [EVERYBODY, SocketAddrV4::new(gateway, EVERYBODY.port())] {
            // Where there is no multicast there may be a gateway all the same.
            let _ = socket.send_to(question.as_bytes(), to).await;
        }
        let round = end.min(Instant::now() + ASK_AGAIN);
        while answers < MAX_ANSWERS
            && let Ok(received) = timeout_at(round, socket.recv_from(&mut buffer)).await
        {
            answers += 1;
            // An error is about somebody who does not listen.
            let Ok((count, SocketAddr::V4(from))) = received else { continue };
            if *from.ip() != gateway {
                continue;
            }
            let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default());
            if let Some(location) = location(&text, gateway) {
                return Ok(location);
            }
        }
    }
    Err(Trouble::None)
}

/// The description that an answer to a search points to.
fn location(answer: &str, gateway: Ipv4Addr) -> Option<Location> {
    let mut headers = answer.lines().filter_map(|line| line.split_once(':'));
    let (_, url) = headers.find(|(name, _)| name.trim().eq_ignore_ascii_case("location"))?;
    Location::parse(url.trim(), gateway)
}

/// The best service of those in a description.
fn service(description: &str, at: &Location) -> Option<Igd> {
    /// Services that are looked at, at most.
    const MAX_SERVICES: usize = 64;
    SERVICES.iter().find_map(|wanted| {
        let mut services = description.split("<service>").skip(1).take(MAX_SERVICES);
        services.find_map(|service| {
            (element(service, "serviceType")?.trim() == *wanted).then_some(())?;
            let control = at.join(element(service, "controlURL")?.trim())?;
            Some(Igd { control, service: wanted })
        })
    })
}

/// What stands in the first element of that name, which has no attributes and holds no other.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text)
}

#[cfg(test)]
pub(super) mod tests;
