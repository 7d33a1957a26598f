//! What a node may spend on punching, all pairs together; and what may reach somebody who never asked.
//!
//! | bound | why |
//! |---|---|
//! | [`BYTES_TO_STRANGERS`] to one IP address an hour, as long as nobody proved that it wants them | an offer may name a victim; many offers may name the same one |
//! | [`BYTES_TO_ONE_IP`] to one that was proven or typed | ports are sprayed there |
//! | [`PER_SECOND`] packets | the line is used for other things |
//! | [`FLOWS`] packets to other ends in [`FLOW_LIFETIME`] | each is an entry in the table of our NAT, which dies of too many |
//! | [`PER_HOUR`] packets | a room of many hopeless pairs |
//! | [`SOCKETS`] open at once | file descriptors |

use crate::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Bytes that reach an IP address in an hour which neither proved itself nor was proven to us.
pub const BYTES_TO_STRANGERS: u32 = 1000;

/// Bytes that go to one IP address in an hour at most.
pub const BYTES_TO_ONE_IP: u32 = 500_000;

/// Packets a second. A birthday pair of 2^21 takes 1,200 on each side in the median: two and a half seconds.
pub const PER_SECOND: u32 = 500;

/// Packets that may leave at once after a silence.
const BURST: u32 = 40;

/// Packets in [`FLOW_LIFETIME`]: below what has killed a home router (5,000 flows), and enough for one pair of the hardest kind.
pub const FLOWS: u32 = 4_000;

/// How long a NAT keeps an entry for a flow, usually (RFC 4787 REQ-5).
pub const FLOW_LIFETIME: Duration = Duration::from_secs(120);

/// Packets an hour.
pub const PER_HOUR: u32 = 40_000;

/// Sockets open for punching at once.
pub const SOCKETS: u32 = 300;

/// IP addresses that are remembered. When they are full, no further one gets anything before it is proven.
pub const MAX_DESTINATIONS: usize = 4_096;

const HOUR: Duration = Duration::from_secs(3600);
const SLOTS: u32 = 12;

/// The answer to a wish to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is paid for: send it.
    Go,
    /// Not before.
    Wait(Instant),
    /// This address had all it gets.
    Never,
}

/// What is left of all that. One value a node, lent to each of its punches.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Packets that may leave now, in thousandths.
    tokens: u64,
    refilled: Instant,
    /// Packets to other ends, by the time they were sent: twelve slots of a twelfth of the lifetime.
    flows: [u32; SLOTS as usize],
    slot: u64,
    hour_began: Instant,
    this_hour: u32,
    sockets: u32,
    destinations: BTreeMap<IpAddr, Destination>,
}

#[derive(Clone, Copy, Debug)]
struct Destination {
    since: Instant,
    bytes: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            tokens: u64::from(BURST) * 1000,
            refilled: Instant::ZERO,
            flows: [0; SLOTS as usize],
            slot: 0,
            hour_began: Instant::ZERO,
            this_hour: 0,
            sockets: 0,
            destinations: BTreeMap::new(),
        }
    }
}

impl Budget {
    /// Whether a stage that costs so many packets and sockets may begin: half of one is worth nothing.
    pub fn affords(&mut self, now: Instant, packets: u32, sockets: u32) -> bool {
        self.turn(now);
        let flows = self.flows.iter().sum::<u32>();
        self.this_hour.saturating_add(packets) <= PER_HOUR
            && flows.saturating_add(packets) <= FLOWS
            && self.sockets.saturating_add(sockets) <= SOCKETS
    }

    /// Asks for a packet of `bytes` to `ip`; if the answer is [`Verdict::Go`], it is paid for.
    pub fn probe(&mut self, now: Instant, ip: IpAddr, bytes: usize, proven: bool) -> Verdict {
        self.turn(now);
        if self.tokens < 1000 {
            let missing = 1000 - self.tokens;
            return Verdict::Wait(now + Duration::from_micros(missing * 1000 / u64::from(PER_SECOND) + 1));
        }
        if self.flows.iter().sum::<u32>() >= FLOWS {
            return Verdict::Wait(self.next_slot());
        }
        if self.this_hour >= PER_HOUR {
            return Verdict::Wait(self.hour_began + HOUR);
        }
        if !self.pay(now, ip, bytes, proven) {
            return Verdict::Never;
        }
        self.tokens -= 1000;
        self.this_hour += 1;
        if let Some(slot) = self.flows.get_mut((self.slot % u64::from(SLOTS)) as usize) {
            *slot += 1;
        }
        Verdict::Go
    }

    /// Asks for an answer of `bytes` to something of the same size that came from `ip`: only the bounds of that address count.
    pub fn answer(&mut self, now: Instant, ip: IpAddr, bytes: usize, proven: bool) -> bool {
        self.pay(now, ip, bytes, proven)
    }

    /// One more socket, if there may be.
    pub const fn open_socket(&mut self) -> bool {
        let may = self.sockets < SOCKETS;
        if may {
            self.sockets += 1;
        }
        may
    }

    /// One socket less; or it is somebody else's from here on.
    pub const fn close_socket(&mut self) {
        self.sockets = self.sockets.saturating_sub(1);
    }

    /// Sockets open.
    pub const fn sockets(&self) -> u32 {
        self.sockets
    }

    fn pay(&mut self, now: Instant, ip: IpAddr, bytes: usize, proven: bool) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let most = if proven { BYTES_TO_ONE_IP } else { BYTES_TO_STRANGERS };
        if !self.destinations.contains_key(&ip) && self.destinations.len() >= MAX_DESTINATIONS {
            self.destinations.retain(|_, destination| now.saturating_since(destination.since) < HOUR);
            if self.destinations.len() >= MAX_DESTINATIONS {
                // Those who are proven are few: their packets are counted in all, if not one by one.
                return proven;
            }
        }
        let destination = self.destinations.entry(ip).or_insert(Destination { since: now, bytes: 0 });
        if now.saturating_since(destination.since) >= HOUR {
            *destination = Destination { since: now, bytes: 0 };
        }
        let sum = destination.bytes.saturating_add(bytes);
        if sum > most {
            return false;
        }
        destination.bytes = sum;
        true
    }

    /// Lets time pass.
    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_since(self.refilled).as_micros();
        let earned = u64::try_from(passed * u128::from(PER_SECOND) / 1000).unwrap_or(u64::MAX);
        if earned > 0 {
            self.tokens = self.tokens.saturating_add(earned).min(u64::from(BURST) * 1000);
            self.refilled = now;
        }
        if now.saturating_since(self.hour_began) >= HOUR {
            (self.hour_began, self.this_hour) = (now, 0);
        }
        let slot = now.as_millis() / slot_millis();
        let passed = slot.saturating_sub(self.slot).min(SLOTS.into());
        for behind in 0..passed {
            let at = (slot - behind) % u64::from(SLOTS);
            if let Some(count) = self.flows.get_mut(at as usize) {
                *count = 0;
            }
        }
        self.slot = self.slot.max(slot);
    }

    fn next_slot(&self) -> Instant {
        Instant::from_start(Duration::from_millis((self.slot + 1) * slot_millis()))
    }
}

fn slot_millis() -> u64 {
    (FLOW_LIFETIME / SLOTS).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4((0x0909_0000 + n).into())
    }

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    /// Sends whenever it may, for a while.
    fn send_for(budget: &mut Budget, from: u64, millis: u64, proven: bool, mut to: impl FnMut(u32) -> IpAddr) -> u32 {
        let mut sent = 0;
        for now in from..from + millis {
            while budget.probe(at(now), to(sent), 48, proven) == Verdict::Go {
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn an_address_that_did_not_ask_gets_a_kilobyte_an_hour_whoever_names_it() {
        let mut budget = Budget::default();
        let sent = send_for(&mut budget, 0, 60_000, false, |_| ip(1));
        assert_eq!(sent, BYTES_TO_STRANGERS / 48);
        assert!(
            !budget.answer(at(60_000), ip(1), 48, false),
            "answers count too: their sender's address may be forged"
        );
        assert_eq!(budget.probe(at(60_000), ip(1), 48, true), Verdict::Go, "it proved itself");
        assert_eq!(budget.probe(at(60_000), ip(2), 48, false), Verdict::Go);
        assert_eq!(budget.probe(at(3_700_000), ip(1), 48, false), Verdict::Go, "an hour later");
    }

    #[test]
    fn the_rate_is_kept_and_a_wait_is_no_longer_than_it_must_be() {
        let mut budget = Budget::default();
        let sent = send_for(&mut budget, 0, 1000, true, |_| ip(1));
        assert!((PER_SECOND..=PER_SECOND + BURST).contains(&sent), "{sent}");
        let Verdict::Wait(until) = budget.probe(at(999), ip(1), 48, true) else { panic!("it has to wait") };
        assert!(until <= at(1002));
        assert_eq!(budget.probe(until, ip(1), 48, true), Verdict::Go);
    }

    #[test]
    fn a_nats_table_is_not_filled() {
        let mut budget = Budget::default();
        assert_eq!(send_for(&mut budget, 0, 60_000, true, |n| ip(n % 50)), FLOWS);
        assert!(!budget.affords(at(60_000), 1, 0));
        let Verdict::Wait(until) = budget.probe(at(60_000), ip(1), 48, true) else { panic!("it has to wait") };
        assert!(until <= at(70_000));
        assert!(budget.affords(at(131_000), FLOWS, 0), "old flows are gone");
    }

    #[test]
    fn addresses_are_remembered_up_to_a_bound_and_then_new_ones_get_nothing() {
        let mut budget = Budget::default();
        let mut now = 0;
        let mut refused = 0;
        for n in 0..MAX_DESTINATIONS as u32 + 500 {
            now += 40;
            refused += u32::from(budget.probe(at(now), ip(n), 48, false) == Verdict::Never);
        }
        assert_eq!(budget.destinations.len(), MAX_DESTINATIONS);
        assert_eq!(refused, 500);
    }

    #[test]
    fn sockets_are_bounded_over_all_pairs() {
        let mut budget = Budget::default();
        assert_eq!((0..1000).filter(|_| budget.open_socket()).count() as u32, SOCKETS);
        budget.close_socket();
        assert!(budget.open_socket() && !budget.open_socket());
    }
}
