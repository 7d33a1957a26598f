//! How often addresses that others named may be called: so that no list of addresses turns a room on a third party.

use crate::stun::candidate::is_global;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Calls to one IP that may come at once: a room whose members share one address finds itself again after a crash.
const BURST_TO_ONE: u32 = 64;

/// One more call to that IP every so often. A call that nobody answers is nine datagrams of 1200 bytes: some 20 kB/s at worst.
const PAUSE_TO_ONE: Duration = Duration::from_millis(500);

/// Calls that may come at once to an IP that was never linked to us directly: those who say that somebody is there may lie. As many as a
/// ticket may name of one household.
const BURST_TO_UNHEARD: u32 = 12;

/// One more call to such an IP every so often.
const PAUSE_TO_UNHEARD: Duration = Duration::from_secs(60);

/// Calls to all that may come at once.
const BURST_TO_ALL: u32 = 512;

/// One more call to anyone every so often.
const PAUSE_TO_ALL: Duration = Duration::from_millis(15);

/// IPs that are remembered, at most. When there are more, nobody who is not among them is called.
const MAX_IPS: usize = 4096;

/// Calls that are left.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: u32,
    since: Instant,
    /// For an IP that nobody answered from.
    unheard: bool,
}

impl Bucket {
    /// One IP's. What is not an address of the world's is of our own network, and not far to fall.
    fn of(now: Instant, ip: IpAddr, unheard: bool) -> Self {
        let unheard = unheard && is_global(ip);
        Self { left: if unheard { BURST_TO_UNHEARD } else { BURST_TO_ONE }, since: now, unheard }
    }

    /// Of one IP.
    fn refill_one(&mut self, now: Instant) {
        match self.unheard {
            true => self.refill(now, BURST_TO_UNHEARD, PAUSE_TO_UNHEARD),
            false => self.refill(now, BURST_TO_ONE, PAUSE_TO_ONE),
        }
    }

    /// Whether it says no more than that nothing was called.
    const fn is_full(&self) -> bool {
        self.left >= if self.unheard { BURST_TO_UNHEARD } else { BURST_TO_ONE }
    }

    fn refill(&mut self, now: Instant, burst: u32, pause: Duration) {
        let pauses = now.saturating_since(self.since).as_nanos() / pause.as_nanos().max(1);
        let more = u32::try_from(pauses).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(burst);
            self.since = if self.left == burst { now } else { self.since + pause * more };
        }
    }
}

/// The calls that may be made.
#[derive(Debug)]
pub(super) struct Budget {
    all: Bucket,
    each: BTreeMap<IpAddr, Bucket>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { all: Bucket { left: BURST_TO_ALL, since: Instant::ZERO, unheard: false }, each: BTreeMap::new() }
    }
}

impl Budget {
    /// Whether that address may be called; if so the call is counted.
    pub(super) fn take(&mut self, now: Instant, to: SocketAddr) -> bool {
        let ip = to.ip().to_canonical();
        self.all.refill(now, BURST_TO_ALL, PAUSE_TO_ALL);
        if !self.each.contains_key(&ip) && self.each.len() >= MAX_IPS {
            self.each.retain(|_, bucket| {
                bucket.refill_one(now);
                !bucket.is_full()
            });
            if self.each.len() >= MAX_IPS {
                return false;
            }
        }
        let bucket = self.each.entry(ip).or_insert_with(|| Bucket::of(now, ip, true));
        bucket.refill_one(now);
        if self.all.left == 0 || bucket.left == 0 {
            return false;
        }
        self.all.left -= 1;
        bucket.left -= 1;
        true
    }

    /// Somebody there is linked to us: it may be called again whenever it is lost.
    pub(super) fn on_answered(&mut self, now: Instant, ip: IpAddr) {
        let ip = ip.to_canonical();
        if self.each.get(&ip).map_or(self.each.len() < MAX_IPS, |bucket| bucket.unheard) {
            self.each.insert(ip, Bucket::of(now, ip, false));
        }
    }
}

/// Whether one host can have that address, on a network where we may call it.
pub(super) fn is_host(address: SocketAddr) -> bool {
    let host = match address.ip().to_canonical() {
        // 0.0.0.0/8 is "this network", 240.0.0.0/4 reserved, with the broadcast address in it (RFC 6890 §2.2.2).
        IpAddr::V4(ip) => ip.octets()[0] != 0 && ip.octets()[0] < 224,
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    host && address.port() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(a: u8, b: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, a, b], port))
    }

    /// Whatever a list of addresses says: one host hears of us twice a second.
    #[test]
    fn one_ip_is_not_called_more_often_whatever_the_ports() {
        let mut budget = Budget::default();
        let calls = |from: u64, budget: &mut Budget| {
            (from..from + 60_000)
                .filter(|ms| {
                    let now = Instant::from_start(Duration::from_millis(*ms));
                    budget.take(now, at(2, 1, 1 + (ms % 60_000) as u16))
                })
                .count() as u32
        };
        assert_eq!(calls(0, &mut budget), BURST_TO_UNHEARD, "nobody ever answered there");
        budget.on_answered(Instant::from_start(Duration::from_secs(60)), at(2, 1, 1).ip());
        assert_eq!(calls(60_000, &mut budget), BURST_TO_ONE + 2 * 60 - 1);
    }

    #[test]
    fn all_together_are_not_called_more_often_and_few_are_remembered() {
        let (mut budget, mut calls) = (Budget::default(), 0);
        for n in 0..60_000u64 {
            let now = Instant::from_start(Duration::from_millis(n / 10));
            calls += u32::from(budget.take(now, at((n >> 8) as u8, n as u8, 9)));
        }
        assert!(calls <= BURST_TO_ALL + 6000 / 15 + 1, "{calls}");
        assert!(budget.each.len() <= MAX_IPS);
    }

    #[test]
    fn what_no_host_has_is_not_called() {
        let no = ["0.0.0.0:9", "0.1.2.3:9", "224.0.0.1:9", "255.255.255.255:9", "240.0.0.1:9", "192.0.2.1:0"];
        let no6 = ["[::]:9", "[ff02::1]:9", "[::ffff:224.0.0.1]:9", "[::ffff:255.255.255.255]:9", "[::ffff:0.0.0.0]:9"];
        for text in no.into_iter().chain(no6) {
            assert!(!is_host(text.parse().unwrap()), "{text}");
        }
        for text in ["192.0.2.1:9", "127.0.0.1:9", "[2001:db8::1]:9", "[::1]:9"] {
            assert!(is_host(text.parse().unwrap()), "{text}");
        }
    }
}
