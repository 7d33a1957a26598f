//! Pacing: packets leave at the controller's rate, in bursts that are small for the path and large for the processor.
//!
//! The trade: one packet at a time is kindest to the path's queues, and costs a wake-up and a system call a packet; at
//! 1 Gbit/s that would be 90,000 a second. A burst of what the rate gives in 2 ms adds at most 2 ms of queue, which is
//! within the noise of any path over the internet, and fills whole segmentation-offload batches. For the same reason a bucket
//! that has run dry is used again only when it holds a millisecond's worth: without that, every ACK that comes in would let
//! two or three packets out, and batches would never form. The price is that a packet on a busy path may wait for 1 ms.

use crate::time::{Duration, Instant};

/// The bucket holds what the rate gives in this time.
const BURST: Duration = Duration::from_millis(2);
/// A dry bucket is used again when it holds what the rate gives in this time.
const QUANTUM: Duration = Duration::from_millis(1);
/// The bucket begins with this (RFC 9002 §7.7: the initial window may leave at once)…
const INITIAL_BURST_PACKETS: u64 = 10;
/// …and afterwards never holds less than this.
const LEAST_BURST_PACKETS: u64 = 3;
/// The bucket never holds more than this many packets…
const MAX_BURST_PACKETS: u64 = 256;
/// …or bytes: four of the largest batches a socket takes at once.
const MAX_BURST_BYTES: u64 = 4 * 64 * 1024;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A batch ends with a whole packet, probes and ACKs do not wait: so much may be overdrawn, and is paid back before the next batch.
const MAX_DEBT_BYTES: u64 = 64 * 1024;

/// A token bucket, in billionths of a byte so that no rate is rounded away.
#[derive(Clone, Debug)]
pub struct Pacer {
    credit: u64,
    /// What was sent beyond the credit.
    debt: u64,
    updated_at: Instant,
    /// It ran out and has not reached a quantum since.
    dry: bool,
}

impl Pacer {
    /// A full bucket: the first packets leave at once.
    pub const fn new(now: Instant, mtu: u16) -> Self {
        Self { credit: INITIAL_BURST_PACKETS * mtu as u64 * NANOS_PER_SECOND, debt: 0, updated_at: now, dry: false }
    }

    /// How many bytes may leave now at `rate` bytes a second, at least one packet of `mtu` bytes; or else when to ask again.
    /// `window` is the controller's: no burst is larger.
    pub fn can_send(&mut self, now: Instant, rate: u64, window: u64, mtu: u16) -> Result<u64, Instant> {
        let rate = rate.max(1);
        let packet = u64::from(mtu.max(1));
        let capacity = burst(rate, window, packet);
        let earned = nanos(now.saturating_since(self.updated_at)).saturating_mul(rate);
        self.updated_at = self.updated_at.max(now);
        // What was there stays: the initial window may leave at once.
        let window = window.max(packet).saturating_mul(NANOS_PER_SECOND);
        let most = capacity.saturating_mul(NANOS_PER_SECOND).max(self.credit).min(window);
        let paid = earned.min(self.debt);
        self.debt -= paid;
        self.credit = self.credit.saturating_add(earned - paid).min(most);

        let needed = if self.dry { in_time(rate, QUANTUM).clamp(packet, capacity) } else { packet };
        let needed = needed.saturating_mul(NANOS_PER_SECOND);
        if self.credit >= needed {
            self.dry = false;
            return Ok(self.credit / NANOS_PER_SECOND);
        }
        self.dry = true;
        let quantum = in_time(rate, QUANTUM).clamp(packet, capacity).saturating_mul(NANOS_PER_SECOND);
        Err(now + Duration::from_nanos(quantum.saturating_sub(self.credit).saturating_add(self.debt).div_ceil(rate)))
    }

    /// `bytes` left.
    pub const fn on_sent(&mut self, bytes: u64) {
        let spent = bytes.saturating_mul(NANOS_PER_SECOND);
        let beyond = spent.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(spent);
        self.debt = self.debt.saturating_add(beyond);
        if self.debt > MAX_DEBT_BYTES * NANOS_PER_SECOND {
            self.debt = MAX_DEBT_BYTES * NANOS_PER_SECOND;
        }
    }
}

/// How many bytes the bucket holds: at least one packet.
fn burst(rate: u64, window: u64, packet: u64) -> u64 {
    let least = LEAST_BURST_PACKETS * packet;
    let most = (MAX_BURST_PACKETS * packet).min(MAX_BURST_BYTES).max(least);
    in_time(rate, BURST).clamp(least, most).min(window).max(packet)
}

/// The bytes that `rate` gives in `time`.
fn in_time(rate: u64, time: Duration) -> u64 {
    rate.saturating_mul(nanos(time)) / NANOS_PER_SECOND
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1200;
    const WINDOW: u64 = 100 << 20;

    fn at(micros: u64) -> Instant {
        Instant::ZERO + Duration::from_micros(micros)
    }

    /// Sends whole packets whenever the pacer lets it, until `end`. Returns the bytes sent and the number of wake-ups.
    fn send_greedily(pacer: &mut Pacer, rate: u64, end: Instant) -> (u64, u64) {
        let (mut now, mut sent, mut wakes) = (Instant::ZERO, 0, 0);
        while now < end {
            match pacer.can_send(now, rate, WINDOW, MTU) {
                Ok(budget) => {
                    let bytes = budget / u64::from(MTU) * u64::from(MTU);
                    pacer.on_sent(bytes);
                    sent += bytes;
                }
                Err(when) => {
                    assert!(when > now, "waiting has to make progress");
                    now = when;
                    wakes += 1;
                }
            }
        }
        (sent, wakes)
    }

    #[test]
    fn the_first_ten_packets_leave_at_once_and_the_eleventh_waits() {
        let mut pacer = Pacer::new(at(0), MTU);
        let budget = pacer.can_send(at(0), 120_000, WINDOW, MTU).expect("the bucket is full");
        assert_eq!(budget, 12_000);
        pacer.on_sent(budget);
        // 1200 bytes at 120 kB/s take 10 ms.
        assert_eq!(pacer.can_send(at(0), 120_000, WINDOW, MTU), Err(at(10_000)));
        assert_eq!(pacer.can_send(at(10_000), 120_000, WINDOW, MTU), Ok(1200));
    }

    #[test]
    fn over_a_second_the_rate_is_kept_to_within_one_burst() {
        for rate in [10_000, 1_000_000, 12_500_000, 125_000_000] {
            let mut pacer = Pacer::new(at(0), MTU);
            let (sent, _) = send_greedily(&mut pacer, rate, at(1_000_000));
            let slack = MAX_BURST_BYTES.min((rate / 500).max(12_000)) + 12_000;
            assert!(sent.abs_diff(rate) <= slack, "{sent} bytes at {rate} a second");
        }
    }

    #[test]
    fn a_fast_link_wakes_about_once_a_millisecond() {
        let mut pacer = Pacer::new(at(0), MTU);
        let (_, wakes) = send_greedily(&mut pacer, 125_000_000, at(1_000_000));
        assert!((900..=1010).contains(&wakes), "{wakes} wake-ups");
    }

    #[test]
    fn an_ack_between_two_wake_ups_does_not_break_the_batch() {
        let rate = 12_500_000;
        let mut pacer = Pacer::new(at(0), MTU);
        while let Ok(budget) = pacer.can_send(at(0), rate, WINDOW, MTU) {
            pacer.on_sent(budget);
        }
        // Half a millisecond later five packets' worth is there, but the batch of a millisecond is waited for.
        assert_eq!(pacer.can_send(at(500), rate, WINDOW, MTU), Err(at(1000)));
        assert_eq!(pacer.can_send(at(1000), rate, WINDOW, MTU), Ok(12_500));
    }

    #[test]
    fn after_an_hour_of_silence_the_bucket_is_full_and_no_more() {
        let mut pacer = Pacer::new(at(0), MTU);
        assert_eq!(pacer.can_send(at(3_600_000_000), 12_500_000, WINDOW, MTU), Ok(25_000));
        assert_eq!(pacer.can_send(at(7_200_000_000), u64::MAX, WINDOW, MTU), Ok(MAX_BURST_BYTES));
        assert_eq!(pacer.can_send(Instant::FAR_FUTURE, u64::MAX, u64::MAX, u16::MAX), Ok(MAX_BURST_BYTES));
    }

    #[test]
    fn after_the_first_window_a_slow_path_gets_no_more_than_three_packets_at_once() {
        let mut pacer = Pacer::new(at(0), MTU);
        pacer.on_sent(12_000);
        assert_eq!(pacer.can_send(at(3_600_000_000), 120_000, WINDOW, MTU), Ok(3600));
    }

    #[test]
    fn what_a_batch_overdraws_is_paid_back() {
        // Batches of a millisecond at 2.5 MB/s are two packets of 1200 and a bit: each sends three.
        let (mut pacer, mut now, mut sent) = (Pacer::new(at(0), MTU), at(0), 0);
        while now < at(1_000_000) {
            match pacer.can_send(now, 2_500_000, WINDOW, MTU) {
                Ok(budget) => {
                    let bytes = budget.div_ceil(u64::from(MTU)) * u64::from(MTU);
                    pacer.on_sent(bytes);
                    sent += bytes;
                }
                Err(when) => now = when,
            }
        }
        assert!(sent.abs_diff(2_500_000) < 20_000, "{sent}");
    }

    #[test]
    fn no_burst_is_larger_than_the_window() {
        let mut pacer = Pacer::new(at(0), MTU);
        assert_eq!(pacer.can_send(at(0), 12_500_000, 2400, MTU), Ok(2400));
    }

    #[test]
    fn time_that_stands_still_or_goes_back_earns_nothing() {
        let mut pacer = Pacer::new(at(5000), MTU);
        pacer.on_sent(u64::MAX);
        assert!(pacer.can_send(at(0), u64::MAX, WINDOW, MTU).is_err());
        assert!(pacer.can_send(at(5000), 0, 0, 0).is_err());
    }
}
