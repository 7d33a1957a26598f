//! What is wanted against what there is.

use super::super::routes::gateways;
use super::super::teller::{Over, Teller};
use super::super::{Interfaces, Surroundings};
use super::mapping::{Mapping, Wanted};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::sleep;

/// When to ask again where no gateway did it: somebody may have switched it on.
const ASK_AGAIN: Duration = Duration::from_secs(600);

/// Keeps `port` mapped, until its sender is gone; then what there is is released. `network` changes when the network did.
pub(in super::super) async fn run(
    teller: Teller,
    port: Receiver<Option<u16>>,
    network: Receiver<u64>,
) -> Result<(), Over> {
    keep(teller, port, network, here).await
}

/// What to ask whom, on the network we are on.
fn here(port: NonZeroU16) -> Option<Wanted> {
    let interfaces = Interfaces::read().ok()?;
    let client = interfaces.outward_v4?;
    let ours = interfaces.addresses.iter().find(|address| address.ip == IpAddr::V4(client))?;
    let mut v4 = gateways().into_iter().filter_map(|ip| match ip {
        IpAddr::V4(gateway) if ours.shares_network_with(ip) => Some(gateway),
        _ => None,
    });
    Some(Wanted { gateway: v4.next()?, client, port })
}

async fn keep(
    teller: Teller,
    mut port: Receiver<Option<u16>>,
    mut network: Receiver<u64>,
    find: impl Fn(NonZeroU16) -> Option<Wanted>,
) -> Result<(), Over> {
    let mut kept: Option<Mapping> = None;
    // Our port, and where others reach it.
    let mut told: Option<(NonZeroU16, SocketAddr)> = None;
    loop {
        network.borrow_and_update();
        let wanted = port.borrow_and_update().and_then(NonZeroU16::new).and_then(&find);
        let had_one = kept.is_some();
        let mut attempt = pin!(settle(kept.take(), wanted));
        kept = tokio::select! {
            kept = &mut attempt => kept,
            () = ended(port.clone()) => {
                // What a gateway makes of a question that nobody waits for ends by itself.
                if had_one && let Some(mapping) = attempt.await {
                    mapping.release().await;
                }
                return Ok(());
            }
        };
        let known = kept.as_ref().map(|mapping| (mapping.wanted.port, mapping.external()));
        if known != told {
            told = known;
            let fact = kept.as_ref().map_or(Surroundings::MappingLost, |mapping| Surroundings::Mapped {
                local_port: mapping.wanted.port.get(),
                external: mapping.external(),
                by: mapping.by(),
            });
            if let Err(over) = teller.tell(fact).await {
                if let Some(mapping) = kept {
                    mapping.release().await;
                }
                return Err(over);
            }
        }
        let next = match (&kept, wanted) {
            (Some(mapping), _) => mapping.renew_after(),
            (None, _) => ASK_AGAIN,
        };
        tokio::select! {
            () = sleep(next) => {}
            Ok(()) = network.changed() => {}
            changed = port.changed() => if changed.is_err() {
                if let Some(mapping) = kept {
                    mapping.release().await;
                }
                return Ok(());
            },
        }
    }
}

/// Waits until nobody can want anything any more.
async fn ended(mut port: Receiver<Option<u16>>) {
    while port.changed().await.is_ok() {}
}

/// Makes of what is kept what is wanted.
async fn settle(kept: Option<Mapping>, wanted: Option<Wanted>) -> Option<Mapping> {
    match (kept, wanted) {
        (Some(mapping), Some(wanted)) if mapping.wanted == wanted => match mapping.renew().await {
            Some(mapping) => Some(mapping),
            // It may have forgotten everything, or speak something else.
            None => Mapping::obtain(wanted).await,
        },
        (Some(mapping), wanted) => {
            // A gateway of another network does not hear this.
            mapping.release().await;
            match wanted {
                Some(wanted) => Mapping::obtain(wanted).await,
                None => None,
            }
        }
        (None, Some(wanted)) => Mapping::obtain(wanted).await,
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;
