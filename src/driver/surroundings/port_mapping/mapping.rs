//! One mapping on a gateway, by whichever protocol it speaks.

use super::super::MappedBy;
use super::external::is_believable;
use super::igd::{CONFLICT, Igd, ONLY_PERMANENT, Trouble};
use crab_nat::pcp::BaseMapRequest;
use crab_nat::{InternetProtocol, PortMapping, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp, pcp};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

/// How long a mapping is asked for, in seconds (RFC 6886 §3.3 recommends two hours): what a crash leaves behind ends by itself.
const LIFETIME: u32 = 7200;

/// Bounds of what a gateway says the lifetime is, in seconds: it decides neither that we ask all the time nor that we never ask again.
const LIFETIMES: std::ops::RangeInclusive<u32> = 120..=LIFETIME;

/// RFC 6886 §3.1 and RFC 6887 §8.1.1 would go on for a minute and more; a gateway that speaks either answers in milliseconds.
const TIMEOUTS: TimeoutConfig =
    TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 2, max_retry_timeout: None };

/// External ports that are tried where the gateway does not choose one.
const PORTS_TRIED: u16 = 4;

/// What is asked for, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) gateway: Ipv4Addr,
    /// Our address on its network.
    pub(super) client: Ipv4Addr,
    pub(super) port: NonZeroU16,
}

/// A mapping that a gateway made.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) wanted: Wanted,
    external: SocketAddrV4,
    made: Made,
}

#[derive(Debug)]
enum Made {
    /// NAT-PMP or PCP.
    Crab(Box<PortMapping>),
    Igd {
        igd: Igd,
        lease: u32,
    },
}

impl Mapping {
    /// Asks the gateway in every way there is, one after the other. Takes ten seconds at most.
    pub(super) async fn obtain(wanted: Wanted) -> Option<Self> {
        let options = PortMappingOptions {
            external_port: Some(wanted.port),
            lifetime_seconds: Some(LIFETIME),
            timeout_config: Some(TIMEOUTS),
        };
        let base = BaseMapRequest::new(wanted.gateway.into(), wanted.client.into(), InternetProtocol::Udp, wanted.port);
        match pcp::port_mapping(base, None, None, options).await {
            Ok(made) => return Self::from_crab(wanted, made).await,
            Err(error) => tracing::debug!(%error, "no PCP"),
        }
        match natpmp::port_mapping(wanted.gateway.into(), InternetProtocol::Udp, wanted.port, options).await {
            Ok(made) => return Self::from_crab(wanted, made).await,
            Err(error) => tracing::debug!(%error, "no NAT-PMP"),
        }
        match Self::from_igd(wanted).await {
            Ok(mapping) => mapping.believed().await,
            Err(error) => {
                tracing::debug!(%error, "no UPnP");
                None
            }
        }
    }

    async fn from_crab(wanted: Wanted, made: PortMapping) -> Option<Self> {
        // A mapping that ended before it began; and a lifetime of 0 in a renewal would mean "delete".
        if made.lifetime() == 0 {
            return None;
        }
        let ip = match made.mapping_type() {
            PortMappingType::Pcp { external_ip: IpAddr::V4(ip), .. } => ip,
            // An IPv4-mapped address is how PCP writes IPv4 (RFC 6887 §5).
            PortMappingType::Pcp { external_ip: IpAddr::V6(ip), .. } => {
                ip.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED)
            }
            PortMappingType::NatPmp => natpmp::external_address(made.gateway(), Some(TIMEOUTS))
                .await
                .inspect_err(|error| tracing::debug!(%error, "no external address"))
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
        };
        let external = SocketAddrV4::new(ip, made.external_port().get());
        Self { wanted, external, made: Made::Crab(Box::new(made)) }.believed().await
    }

    async fn from_igd(wanted: Wanted) -> Result<Self, Trouble> {
        let igd = Igd::find(wanted.gateway, wanted.client).await?;
        let ip = igd.external_ip().await?;
        let client = SocketAddrV4::new(wanted.client, wanted.port.get());
        let mut lease = LIFETIME;
        let mut tried = 0;
        loop {
            // Ours first; then some far from it and from each other.
            let port = wanted.port.get().wrapping_add(tried * 9973).max(1024);
            match igd.add(port, client, lease).await {
                Ok(()) => {
                    let external = SocketAddrV4::new(ip, port);
                    return Ok(Self { wanted, external, made: Made::Igd { igd, lease } });
                }
                Err(Trouble::Refused(ONLY_PERMANENT)) if lease != 0 => lease = 0,
                Err(Trouble::Refused(CONFLICT)) if tried + 1 < PORTS_TRIED => tried += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Itself, if others can reach us there. If not it is given back: it helps nobody.
    async fn believed(self) -> Option<Self> {
        if is_believable(self.external) {
            return Some(self);
        }
        tracing::debug!(external = %self.external, by = ?self.by(), "a mapping of no use");
        self.release().await;
        None
    }

    /// Where others reach us.
    pub(super) fn external(&self) -> SocketAddr {
        self.external.into()
    }

    /// How it was made.
    pub(super) fn by(&self) -> MappedBy {
        match &self.made {
            Made::Igd { .. } => MappedBy::Igd,
            Made::Crab(made) => match made.mapping_type() {
                PortMappingType::Pcp { .. } => MappedBy::Pcp,
                PortMappingType::NatPmp => MappedBy::NatPmp,
            },
        }
    }

    /// When to renew it: halfway (RFC 6886 §3.3, RFC 6887 §11.2.1). One without an end too: gateways forget.
    pub(super) fn renew_after(&self) -> Duration {
        let lifetime = match &self.made {
            Made::Crab(made) => made.lifetime(),
            Made::Igd { lease: 0, .. } => LIFETIME,
            Made::Igd { lease, .. } => *lease,
        };
        Duration::from_secs(u64::from(lifetime.clamp(*LIFETIMES.start(), *LIFETIMES.end()))) / 2
    }

    /// Asks for the same once more.
    pub(super) async fn renew(self) -> Option<Self> {
        let Self { wanted, external, made } = self;
        match made {
            Made::Crab(mut made) => match made.renew().await {
                Ok(()) => Self::from_crab(wanted, *made).await,
                Err(error) => {
                    tracing::debug!(%error, "not renewed");
                    None
                }
            },
            Made::Igd { igd, lease } => {
                let client = SocketAddrV4::new(wanted.client, wanted.port.get());
                let renewed = async {
                    igd.add(external.port(), client, lease).await?;
                    igd.external_ip().await
                };
                match renewed.await {
                    Ok(ip) => {
                        let external = SocketAddrV4::new(ip, external.port());
                        Self { wanted, external, made: Made::Igd { igd, lease } }.believed().await
                    }
                    Err(error) => {
                        tracing::debug!(%error, "not renewed");
                        None
                    }
                }
            }
        }
    }

    /// Gives it back, as far as the gateway hears.
    pub(super) async fn release(self) {
        let external = self.external;
        let released = match self.made {
            Made::Crab(made) => made.try_drop().await.map_err(|(error, _)| error.to_string()),
            Made::Igd { igd, .. } => igd.delete(external.port()).await.map_err(|error| error.to_string()),
        };
        match released {
            Ok(()) => tracing::debug!(%external, "mapping released"),
            Err(error) => tracing::debug!(%external, error, "mapping not released"),
        }
    }
}
