//! The oracle for amplification: who sent how much to whom, counted on the wire.
//!
//! It knows nothing of MRT. An address that never answered gets at most as many bytes of UDP payload as came from it, at any moment.

use netem::Packet;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The accounts of one host with everybody else.
#[derive(Debug)]
pub(crate) struct Ledger {
    host: SocketAddr,
    accounts: BTreeMap<SocketAddr, Account>,
    /// The first time that an address had been sent more than it had sent.
    pub(crate) overdrawn: Option<SocketAddr>,
}

/// Bytes of UDP payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) received: usize,
    pub(crate) sent: usize,
}

impl Ledger {
    pub(crate) fn new(host: SocketAddr) -> Self {
        Self { host, accounts: BTreeMap::new(), overdrawn: None }
    }

    /// A packet is on the wire.
    pub(crate) fn enter(&mut self, packet: &Packet) {
        if packet.to == self.host {
            self.accounts.entry(packet.from).or_default().received += packet.bytes.len();
        }
        if packet.from == self.host {
            let account = self.accounts.entry(packet.to).or_default();
            account.sent += packet.bytes.len();
            if account.sent > account.received {
                self.overdrawn.get_or_insert(packet.to);
            }
        }
    }

    pub(crate) fn account(&self, address: SocketAddr) -> Account {
        self.accounts.get(&address).copied().unwrap_or_default()
    }
}
