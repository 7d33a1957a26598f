//! The oracle for new paths: what an address gets before it can have proven itself, counted on the wire.
//!
//! It knows nothing of MRT. An address has proven nothing before something that was sent there has arrived, and something that left
//! there afterwards has come back; until then it gets at most three times what came from it (RFC 9000 §9.3).

use anjer::time::Duration;
use netem::Packet;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// The accounts of one host with everybody else, over links of at least this delay.
#[derive(Debug)]
pub(crate) struct Paths {
    host: SocketAddr,
    delay: Duration,
    books: BTreeMap<SocketAddr, Book>,
    /// The first address that was sent too much, and how much.
    pub(crate) overdrawn: Option<String>,
    /// The largest share of its allowance that any address was sent.
    pub(crate) most: f64,
}

/// Bytes of UDP payload, and when things happened first.
#[derive(Debug, Default)]
struct Book {
    received: usize,
    /// Under way from there: when it arrives at the earliest, and how much it is.
    coming: VecDeque<(Duration, usize)>,
    sent_unproven: usize,
    first_sent: Option<Duration>,
    proven_at: Option<Duration>,
}

impl Paths {
    pub(crate) const fn new(host: SocketAddr, delay: Duration) -> Self {
        Self { host, delay, books: BTreeMap::new(), overdrawn: None, most: 0.0 }
    }

    /// A packet is put on the wire.
    pub(crate) fn enter(&mut self, now: Duration, packet: &Packet) {
        let length = packet.bytes.len();
        if packet.to == self.host {
            let book = self.books.entry(packet.from).or_default();
            book.coming.push_back((now + self.delay, length));
            if book.first_sent.is_some_and(|sent| sent + self.delay <= now) {
                book.proven_at.get_or_insert(now + self.delay);
            }
        }
        if packet.from == self.host {
            let book = self.books.entry(packet.to).or_default();
            book.first_sent.get_or_insert(now);
            while let Some((at, length)) = book.coming.front().copied()
                && at <= now
            {
                book.coming.pop_front();
                book.received += length;
            }
            if book.proven_at.is_none_or(|proven| now < proven) {
                book.sent_unproven += length;
                // An address that nothing comes from any more was proven before, or never will be.
                self.most = self.most.max(book.sent_unproven as f64 / (3 * book.received).max(1) as f64);
                if book.sent_unproven > 3 * book.received {
                    let (received, sent_unproven) = (book.received, book.sent_unproven);
                    let what = format!("{} got {sent_unproven} bytes for {received}, unproven", packet.to);
                    self.overdrawn.get_or_insert(what);
                }
            }
        }
    }

    /// How many addresses something came from.
    pub(crate) fn heard(&self) -> usize {
        self.books.values().filter(|book| book.received > 0 || !book.coming.is_empty()).count()
    }
}
