//! What a node may spend on punching, all pairs together; and what may reach somebody who never asked.
//!
//! | bound | why |
//! |---|---|
//! | [`BYTES_TO_STRANGERS`] to one IP address an hour from all members of a room together, as long as nobody vouches for it: each has its [share](Budget::share) | an offer may name a victim; many offers may name the same one, to many members |
//! | [`BYTES_ON_TRUST`] to one that a supernode vouches for, and [`ON_TRUST_IN_ALL`] to all of those | ports are sprayed there, and a supernode may lie |
//! | [`BYTES_TO_ONE_IP`] to one that answered us, or was typed | it wants them |
//! | [`PER_SECOND`] packets | the line is used for other things |
//! | [`FLOWS`] packets to other ends in [`FLOW_LIFETIME`] | each is an entry in the table of our NAT, which dies of too many |
//! | [`PER_HOUR`] packets | a room of many hopeless pairs |
//! | [`SOCKETS`] open at once | file descriptors |

use crate::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Bytes that reach an IP address in an hour which neither proved itself nor was vouched for, from a whole room.
pub const BYTES_TO_STRANGERS: u32 = 1000;

/// The smallest share of that: four probes, as few as open two filters with one lost.
pub const LEAST_SHARE: u32 = 192;

/// How many members at most have one of an address: which, is drawn by lot, with the same lots at each of them.
pub const SHARERS: usize = (BYTES_TO_STRANGERS / LEAST_SHARE) as usize;

/// Bytes that go to an IP address in an hour on the supernode's word alone: two punches of the dearest kind.
pub const BYTES_ON_TRUST: u32 = 270_000;

/// Bytes that go to all such IP addresses in an hour, as long as none of them answered.
pub const ON_TRUST_IN_ALL: u32 = 540_000;

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

/// What a member is known by to all others.
pub type Lot = [u8; 32];

/// Who says that somebody at an IP address wants packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// The one who named it.
    Namer,
    /// The supernode, which says that it hears the member there. Ports are tried on nothing less.
    Supernode,
    /// The address itself, which answered us; or our own user.
    Itself,
}

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
    /// Who else may be told of a victim that we are told of, and our own lot among them.
    sharers: Vec<Lot>,
    own: Lot,
    /// Bytes of this hour to addresses that a supernode vouched for and that did not answer.
    on_trust: u32,
}

#[derive(Clone, Copy, Debug)]
struct Destination {
    since: Instant,
    bytes: u32,
    /// Those that went there on the supernode's word, before it answered.
    on_trust: u32,
    /// What it gets of us on a namer's word.
    share: u32,
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
            sharers: Vec::new(),
            own: [0; 32],
            on_trust: 0,
        }
    }
}

impl Budget {
    /// These may be told of the same victim besides us, and are told apart by what they are known by to all: each of them sends its share,
    /// or, where there are more than [`SHARERS`] in all, those whose turn it is at that address.
    pub fn share(&mut self, own: Lot, others: Vec<Lot>) {
        (self.own, self.sharers) = (own, others);
    }

    /// Of [`BYTES_TO_STRANGERS`], ours at this address.
    fn share_of(&self, ip: IpAddr) -> u32 {
        let all = self.sharers.len().saturating_add(1);
        if all <= SHARERS {
            return BYTES_TO_STRANGERS / u32::try_from(all).unwrap_or(u32::MAX).max(1);
        }
        let place = blake3::derive_key("anjer 2026 turns at an address", ip.to_string().as_bytes());
        let draw = |lot: &Lot| *blake3::keyed_hash(&place, lot).as_bytes();
        let own = draw(&self.own);
        let before = self.sharers.iter().filter(|lot| draw(lot) < own).take(SHARERS).count();
        if before < SHARERS { LEAST_SHARE } else { 0 }
    }

    /// Whether a stage that costs so many packets and sockets may begin: half of one is worth nothing.
    pub fn affords(&mut self, now: Instant, packets: u32, sockets: u32) -> bool {
        self.turn(now);
        let flows = self.flows.iter().sum::<u32>();
        self.this_hour.saturating_add(packets) <= PER_HOUR
            && flows.saturating_add(packets) <= FLOWS
            && self.sockets.saturating_add(sockets) <= SOCKETS
    }

    /// Asks for a packet of `bytes` to `ip`; if the answer is [`Verdict::Go`], it is paid for.
    pub fn probe(&mut self, now: Instant, ip: IpAddr, bytes: usize, word: Word) -> Verdict {
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
        if !self.pay(now, ip, bytes, word) {
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
    pub fn answer(&mut self, now: Instant, ip: IpAddr, bytes: usize, word: Word) -> bool {
        self.turn(now);
        self.pay(now, ip, bytes, word)
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

    fn pay(&mut self, now: Instant, ip: IpAddr, bytes: usize, word: Word) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let trusted = if word == Word::Supernode { bytes } else { 0 };
        let on_trust = self.on_trust.saturating_add(trusted);
        if trusted > 0 && on_trust > ON_TRUST_IN_ALL {
            return false;
        }
        if !self.destinations.contains_key(&ip) && self.destinations.len() >= MAX_DESTINATIONS {
            self.destinations.retain(|_, destination| now.saturating_since(destination.since) < HOUR);
            if self.destinations.len() >= MAX_DESTINATIONS {
                // Those who are vouched for are few: their packets are counted in all, if not one by one.
                self.on_trust = on_trust;
                return word > Word::Namer;
            }
        }
        let known = self.destinations.get(&ip).filter(|known| now.saturating_since(known.since) < HOUR);
        let known = known.copied().unwrap_or_else(|| Destination {
            since: now,
            bytes: 0,
            on_trust: 0,
            share: self.share_of(ip),
        });
        let most = match word {
            Word::Namer => known.share,
            Word::Supernode => BYTES_ON_TRUST,
            Word::Itself => BYTES_TO_ONE_IP,
        };
        let destination = self.destinations.entry(ip).or_insert(known);
        *destination = known;
        let sum = destination.bytes.saturating_add(bytes);
        if sum > most {
            return false;
        }
        destination.bytes = sum;
        destination.on_trust = destination.on_trust.saturating_add(trusted);
        self.on_trust = on_trust;
        if word == Word::Itself {
            // It did want what it got: the supernode was right.
            self.on_trust = self.on_trust.saturating_sub(core::mem::take(&mut destination.on_trust));
        }
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
            (self.hour_began, self.this_hour, self.on_trust) = (now, 0, 0);
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
    fn send_for(budget: &mut Budget, from: u64, millis: u64, word: Word, mut to: impl FnMut(u32) -> IpAddr) -> u32 {
        let mut sent = 0;
        for now in from..from + millis {
            while budget.probe(at(now), to(sent), 48, word) == Verdict::Go {
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn an_address_that_did_not_ask_gets_a_kilobyte_an_hour_whoever_names_it() {
        let mut budget = Budget::default();
        let sent = send_for(&mut budget, 0, 60_000, Word::Namer, |_| ip(1));
        assert_eq!(sent, BYTES_TO_STRANGERS / 48);
        assert!(
            !budget.answer(at(60_000), ip(1), 48, Word::Namer),
            "answers count too: their sender's address may be forged"
        );
        assert_eq!(budget.probe(at(60_000), ip(1), 48, Word::Itself), Verdict::Go, "it proved itself");
        assert_eq!(budget.probe(at(60_000), ip(2), 48, Word::Namer), Verdict::Go);
        assert_eq!(budget.probe(at(3_700_000), ip(1), 48, Word::Namer), Verdict::Go, "an hour later");
    }

    /// Whatever the room's size, and whoever else is told of the same victim.
    #[test]
    fn a_room_shares_what_a_stranger_gets() {
        for members in [1_u8, 2, 3, 5, 6, 7, 100] {
            let lots: Vec<Lot> = (0..members).map(|n| [n; 32]).collect();
            let sent = lots.iter().map(|own| {
                let mut budget = Budget::default();
                budget.share(*own, lots.iter().copied().filter(|lot| lot != own).collect());
                send_for(&mut budget, 0, 60_000, Word::Namer, |_| ip(1)) * 48
            });
            let sent: Vec<u32> = sent.collect();
            let (sum, senders) = (sent.iter().sum::<u32>(), sent.iter().filter(|bytes| **bytes >= LEAST_SHARE).count());
            assert!((BYTES_TO_STRANGERS * 4 / 5..=BYTES_TO_STRANGERS).contains(&sum), "{members}: {sent:?}");
            assert_eq!(senders, usize::from(members).min(SHARERS), "{members}: {sent:?}");
        }
    }

    /// A supernode that lies can have a punch or two sent to a victim, and a few to all its victims; who answers costs nobody anything.
    #[test]
    fn the_supernodes_word_is_good_for_so_many_bytes() {
        let mut budget = Budget::default();
        let sent = send_for(&mut budget, 0, 600_000, Word::Supernode, |_| ip(1)) * 48;
        assert!(sent <= BYTES_ON_TRUST && sent > BYTES_ON_TRUST - 48, "{sent}");
        let sent = send_for(&mut budget, 600_000, 600_000, Word::Supernode, |n| ip(2 + n % 50)) * 48;
        assert!(sent <= ON_TRUST_IN_ALL - BYTES_ON_TRUST + 48, "{sent}");
        assert_eq!(budget.probe(at(1_300_000), ip(77), 48, Word::Supernode), Verdict::Never);
        assert_eq!(budget.probe(at(1_300_000), ip(1), 48, Word::Itself), Verdict::Go, "it answered");
        assert_eq!(
            budget.probe(at(1_300_000), ip(77), 48, Word::Supernode),
            Verdict::Go,
            "so there is as much left as it got"
        );
    }

    #[test]
    fn the_rate_is_kept_and_a_wait_is_no_longer_than_it_must_be() {
        let mut budget = Budget::default();
        let sent = send_for(&mut budget, 0, 1000, Word::Itself, |_| ip(1));
        assert!((PER_SECOND..=PER_SECOND + BURST).contains(&sent), "{sent}");
        let Verdict::Wait(until) = budget.probe(at(999), ip(1), 48, Word::Itself) else { panic!("it has to wait") };
        assert!(until <= at(1002));
        assert_eq!(budget.probe(until, ip(1), 48, Word::Itself), Verdict::Go);
    }

    #[test]
    fn a_nats_table_is_not_filled() {
        let mut budget = Budget::default();
        assert_eq!(send_for(&mut budget, 0, 60_000, Word::Itself, |n| ip(n % 50)), FLOWS);
        assert!(!budget.affords(at(60_000), 1, 0));
        let Verdict::Wait(until) = budget.probe(at(60_000), ip(1), 48, Word::Itself) else { panic!("it has to wait") };
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
            refused += u32::from(budget.probe(at(now), ip(n), 48, Word::Namer) == Verdict::Never);
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
