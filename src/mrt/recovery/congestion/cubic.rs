//! CUBIC (RFC 9438): the window follows a cubic curve of the time since the last loss, not of the round-trip time.

use super::controller::{AckSample, CongestionEvent, Controller};
use super::hystart::{CSS_GROWTH_DIVISOR, HyStart, Phase};
use crate::mrt::recovery::rtt::Rtt;
use crate::time::{Duration, Instant};

/// RFC 9438 §5: how steep the curve is, in packets a second cubed.
const C: f64 = 0.4;
/// RFC 9438 §4.6: what remains of the window after a loss.
const BETA: f64 = 0.7;
/// RFC 9438 §4.3: with this increase a round trip, Reno with `BETA` takes the same share as Reno with a half.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// RFC 9002 §7.2: the initial window is ten packets, but at most this many bytes (or two packets).
const INITIAL_WINDOW_BYTES: u64 = 14_720;
const INITIAL_WINDOW_PACKETS: u64 = 10;
/// RFC 9002 §7.2: the smallest window.
const MIN_WINDOW_PACKETS: u64 = 2;
/// No window is larger: 10 Gbit/s over 800 ms, and exact in a double.
const MAX_WINDOW: u64 = 1 << 30;

/// A window that grows along RFC 9438's curve. All sizes in bytes.
#[derive(Clone, Debug)]
pub struct Cubic {
    mtu: u16,
    window: u64,
    threshold: u64,
    /// Growth smaller than a byte, carried to the next ACK.
    fraction: f64,
    hystart: HyStart,
    curve: Curve,
    /// Losses among packets sent before this belong to the reduction made then.
    recovery_began_at: Option<Instant>,
    /// The state before the last reduction, in case it was a mistake.
    undo: Option<Undo>,
}

/// Congestion avoidance since the last reduction.
#[derive(Clone, Copy, Debug)]
struct Curve {
    /// The window where the last loss happened (`W_max`).
    w_max: f64,
    /// The window just before the last reduction (`cwnd_prior`).
    prior: f64,
    /// Seconds from the start of the epoch until the curve is back at `w_max` (`K`).
    k: f64,
    /// What Reno would have by now (`W_est`).
    reno: f64,
    /// When congestion avoidance began, moved forward by the time in which the application was the limit.
    epoch: Option<Instant>,
    last_ack_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Undo {
    window: u64,
    threshold: u64,
    hystart: HyStart,
    curve: Curve,
}

impl Cubic {
    /// Slow start, for datagrams of at most `mtu` bytes.
    pub fn new(mtu: u16) -> Self {
        let packet = u64::from(mtu.max(1));
        Self {
            mtu: mtu.max(1),
            window: (INITIAL_WINDOW_PACKETS * packet).min(INITIAL_WINDOW_BYTES.max(2 * packet)),
            threshold: u64::MAX,
            fraction: 0.0,
            hystart: HyStart::new(),
            curve: Curve::default(),
            recovery_began_at: None,
            undo: None,
        }
    }

    /// Goes on with `window`: in congestion avoidance, or, until something is lost, in a slow start that no delay ends.
    pub(super) fn resume(mtu: u16, window: u64, slow_start: bool) -> Self {
        let mut cubic = Self::new(mtu);
        cubic.window = window.clamp(cubic.min_window(), MAX_WINDOW);
        cubic.threshold = if slow_start { u64::MAX - 1 } else { cubic.window };
        cubic
    }

    const fn min_window(&self) -> u64 {
        MIN_WINDOW_PACKETS * self.mtu as u64
    }

    const fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// Congestion, after which `beta` remains of the window.
    pub(super) fn on_congestion_by(&mut self, event: &CongestionEvent, beta: f64) {
        let same_episode = self.recovery_began_at.is_some_and(|began_at| event.sent_at <= began_at);
        if !same_episode {
            self.reduce(event.now, beta);
        }
        if event.ecn {
            // A router's mark is never a mistake.
            self.undo = None;
        }
        if event.persistent {
            // RFC 9002 §7.6.2: start again from the smallest window, up to the reduced threshold. Unlike there the recovery period
            // stays: what is found lost later of that same silence must not push the threshold down to two packets.
            self.window = self.min_window();
            self.recovery_began_at = Some(event.now);
            self.curve.epoch = None;
            self.undo = None;
        }
    }

    fn grow(&mut self, bytes: f64) {
        let sum = self.fraction + bytes.max(0.0);
        let whole = sum.floor();
        self.fraction = sum - whole;
        self.window = self.window.saturating_add(whole as u64).clamp(self.min_window(), MAX_WINDOW);
    }

    fn slow_start(&mut self, sample: &AckSample<'_>, phase: Phase) {
        match phase {
            Phase::SlowStart => {
                let room = self.threshold.saturating_sub(self.window);
                self.grow(sample.acked_bytes.min(room) as f64);
            }
            Phase::Conservative => self.grow((sample.acked_bytes / CSS_GROWTH_DIVISOR) as f64),
            Phase::Over => self.threshold = self.window,
        }
    }

    fn congestion_avoidance(&mut self, sample: &AckSample<'_>) {
        let window = self.window as f64;
        let packet = f64::from(self.mtu);
        let epoch = match self.curve.epoch {
            Some(epoch) => epoch,
            None => self.curve.begin(sample.now, window, packet),
        };
        let since = sample.now.saturating_since(epoch);
        let here = self.curve.at(since.as_secs_f64(), packet);
        // RFC 9438 §4.2: aim at where the curve is one round trip from now, at most half again as much.
        let ahead = since.saturating_add(sample.rtt.smoothed()).as_secs_f64();
        let target = self.curve.at(ahead, packet).clamp(window, 1.5 * window);
        let acked = sample.acked_bytes as f64;

        // RFC 9438 §4.3: as long as Reno would be faster, be Reno.
        let alpha = if self.curve.reno < self.curve.prior { ALPHA } else { 1.0 };
        self.curve.reno = (self.curve.reno + alpha * packet * acked / window).min(MAX_WINDOW as f64);
        if here < self.curve.reno {
            self.grow(self.curve.reno - window - self.fraction);
        } else {
            // RFC 9438 §4.4 and §4.5
            self.grow((target - window) * (acked / window).min(1.0));
        }
    }

    fn reduce(&mut self, now: Instant, beta: f64) {
        self.undo =
            Some(Undo { window: self.window, threshold: self.threshold, hystart: self.hystart, curve: self.curve });
        self.recovery_began_at = Some(now);
        self.curve.reduce(self.window as f64);
        self.window = ((self.window as f64 * beta) as u64).clamp(self.min_window(), MAX_WINDOW);
        self.threshold = self.window;
        self.fraction = 0.0;
    }
}

impl Controller for Cubic {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, _in_flight: u64) {}

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        // RFC 9002 §7.3.2: no growth while packets from before the reduction come in.
        if self.recovery_began_at.is_some_and(|began_at| sample.newest_sent_at <= began_at) {
            return;
        }
        let last_ack_at = self.curve.last_ack_at.replace(sample.now);
        // HyStart++ is for the first slow start (after a loss the threshold is known), and counts rounds even when the window does
        // not grow.
        let phase = match self.threshold {
            u64::MAX => self.hystart.on_ack(sample.round_start, sample.rtt_sample),
            _ => Phase::SlowStart,
        };
        // RFC 9002 §7.8: a window that is not used proves nothing. RFC 9438 §5.8: the curve's clock stands still meanwhile.
        if sample.app_limited && sample.in_flight_before < self.window {
            if let (Some(epoch), Some(last)) = (self.curve.epoch, last_ack_at) {
                self.curve.epoch = Some(epoch + sample.now.saturating_since(last));
            }
            return;
        }
        if self.in_slow_start() {
            self.slow_start(sample, phase);
        } else {
            self.congestion_avoidance(sample);
        }
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        self.on_congestion_by(event, BETA);
    }

    fn on_spurious_loss(&mut self, _now: Instant) {
        // RFC 9438 §4.9.2: as if the loss had not happened; what the window has grown to since may be more.
        let Some(undo) = self.undo.take() else { return };
        self.window = self.window.max(undo.window).clamp(self.min_window(), MAX_WINDOW);
        self.threshold = undo.threshold;
        self.hystart = undo.hystart;
        self.curve = undo.curve;
        self.recovery_began_at = None;
    }

    fn on_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.max(1);
        self.window = self.window.max(self.min_window());
        // The curve is in packets: it begins anew from here.
        self.curve.epoch = None;
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self, rtt: &Rtt) -> u64 {
        // RFC 9002 §7.7: a little more than a window a round trip, so that the pacer is not the limit; twice as much while the
        // window doubles every round.
        let cautious = self.threshold == u64::MAX && self.hystart.phase() != Phase::SlowStart;
        let doubling = self.in_slow_start() && !cautious;
        let (numerator, denominator) = if doubling { (2, 1) } else { (5, 4) };
        let nanos = rtt.smoothed().max(Duration::from_micros(1)).as_nanos();
        let per_second = u128::from(self.window) * numerator * 1_000_000_000 / denominator / nanos;
        u64::try_from(per_second).unwrap_or(u64::MAX).max(1)
    }

    fn name(&self) -> &'static str {
        "cubic"
    }
}

impl Default for Curve {
    fn default() -> Self {
        Self { w_max: 0.0, prior: 0.0, k: 0.0, reno: 0.0, epoch: None, last_ack_at: None }
    }
}

impl Curve {
    /// Congestion avoidance begins with `window`.
    fn begin(&mut self, now: Instant, window: f64, packet: f64) -> Instant {
        // RFC 9438 §4.2: without a loss before (HyStart++ ended slow start), or above the last one, the plateau is here.
        self.w_max = self.w_max.max(window);
        self.prior = self.prior.max(window);
        self.k = ((self.w_max - window) / (C * packet)).cbrt();
        self.reno = window;
        self.epoch = Some(now);
        now
    }

    /// RFC 9438 §4.2: `W_cubic(t) = C · (t − K)³ + W_max`, in bytes.
    fn at(&self, seconds: f64, packet: f64) -> f64 {
        C * packet * (seconds - self.k).powi(3) + self.w_max
    }

    /// A loss at `window`.
    fn reduce(&mut self, window: f64) {
        // RFC 9438 §4.7, fast convergence: a loss below the last one means that others want room.
        self.w_max = if window < self.w_max { window * (1.0 + BETA) / 2.0 } else { window };
        self.prior = window;
        self.epoch = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u16 = 1000;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + ms(millis)
    }

    fn path(rtt_ms: u64) -> Rtt {
        let mut rtt = Rtt::default();
        rtt.update(Instant::ZERO, ms(rtt_ms), Duration::ZERO);
        rtt
    }

    fn loss(now: u64, sent_at: u64) -> CongestionEvent {
        CongestionEvent { now: at(now), sent_at: at(sent_at), lost_bytes: 1000, persistent: false, ecn: false }
    }

    /// An ACK at `now` of `bytes` that were sent one round trip before, while the window was full.
    fn ack(cubic: &mut Cubic, now: Instant, bytes: u64, rtt: &Rtt) {
        let window = cubic.window();
        cubic.on_ack(&AckSample {
            now,
            acked_bytes: bytes,
            newest_sent_at: now - rtt.smoothed(),
            rtt_sample: Some(rtt.smoothed()),
            rtt,
            in_flight_before: window,
            in_flight: window - bytes,
            app_limited: false,
            rate: None,
            round_start: false,
            round: 0,
        });
    }

    /// One round trip in which the whole window is acknowledged packet by packet, the last of them at `now`.
    fn round(cubic: &mut Cubic, now: Instant, rtt: &Rtt) {
        for _ in 0..cubic.window() / u64::from(MTU) {
            ack(cubic, now, u64::from(MTU), rtt);
        }
    }

    /// In congestion avoidance after a loss at 100 packets at time 0.
    fn after_a_loss_at_100_packets() -> Cubic {
        let mut cubic = Cubic::new(MTU);
        cubic.window = 100_000;
        cubic.on_congestion(&loss(0, 0));
        cubic
    }

    #[test]
    fn the_initial_window_is_ten_packets_but_not_much_more_than_14_kb() {
        let windows: Vec<_> = [508, 1200, 1472, 9000].map(|mtu| Cubic::new(mtu).window()).into();
        assert_eq!(windows, [5080, 12_000, 14_720, 18_000]);
    }

    #[test]
    fn slow_start_doubles_every_round() {
        let (mut cubic, rtt) = (Cubic::new(MTU), path(50));
        let windows: Vec<_> = (1..=4)
            .map(|n| {
                round(&mut cubic, at(50 * n), &rtt);
                cubic.window()
            })
            .collect();
        assert_eq!(windows, [20_000, 40_000, 80_000, 160_000]);
    }

    #[test]
    fn a_loss_takes_three_tenths_once_a_round_trip() {
        let mut cubic = after_a_loss_at_100_packets();
        assert_eq!(cubic.window(), 70_000);
        // Sent before the reduction: the same congestion.
        cubic.on_congestion(&loss(20, 0));
        assert_eq!(cubic.window(), 70_000);
        cubic.on_congestion(&loss(80, 30));
        assert_eq!(cubic.window(), 49_000);
    }

    #[test]
    fn the_curve_is_the_rfcs() {
        // RFC 9438 §4.2 with W_max = 100 packets: K = cbrt(30 / 0.4) = 4.217 s, W(0) = 70, W(K) = 100, W(2K) = 130.
        let mut curve = Curve::default();
        curve.reduce(100_000.0);
        curve.begin(at(0), 70_000.0, 1000.0);
        assert!((curve.k - 4.217_163).abs() < 1e-6, "K = {}", curve.k);
        for (seconds, window) in [(0.0, 70_000.0), (curve.k, 100_000.0), (2.0 * curve.k, 130_000.0)] {
            assert!((curve.at(seconds, 1000.0) - window).abs() < 1e-3);
        }
        // 0.4 · (2 − 4.217)³ + 100
        assert!((curve.at(2.0, 1000.0) - 95_640.3).abs() < 1.0, "{}", curve.at(2.0, 1000.0));
    }

    #[test]
    fn the_window_follows_the_curve_back_to_where_the_loss_was() {
        // At 200 ms a round trip Reno would gain 0.53 packets a round: the curve is faster, and is what counts.
        let (mut cubic, rtt) = (after_a_loss_at_100_packets(), path(200));
        let mut windows = Vec::new();
        for n in 2..=22 {
            round(&mut cubic, at(200 * n), &rtt);
            windows.push(cubic.window());
        }
        assert!(windows.is_sorted());
        let (at_one_second, at_k) = (windows[4], windows[20]);
        // 1 s into the epoch (which began at 0.4 s) the curve is at 0.4 · (1 − 4.217)³ + 100 = 86.7 packets.
        assert!((84_000..=90_000).contains(&at_one_second), "{at_one_second}");
        assert!((98_500..=100_500).contains(&at_k), "{at_k}");
    }

    #[test]
    fn on_a_short_path_it_is_as_fast_as_reno() {
        // At 10 ms Reno (α = 0.529) gains 53 packets in a second, the curve 17: RFC 9438 §4.3 says be Reno.
        let (mut cubic, rtt) = (after_a_loss_at_100_packets(), path(10));
        for n in 2..=51 {
            round(&mut cubic, at(10 * n), &rtt);
        }
        assert!((95_000..=98_000).contains(&cubic.window()), "{}", cubic.window());
    }

    #[test]
    fn a_second_loss_below_the_first_makes_room_for_others() {
        let mut cubic = after_a_loss_at_100_packets();
        cubic.on_congestion(&loss(100, 50));
        // RFC 9438 §4.7: W_max = 70 · (1 + 0.7) / 2
        assert!((cubic.curve.w_max - 59_500.0).abs() < 1e-6);
    }

    #[test]
    fn the_window_is_never_less_than_two_packets() {
        let mut cubic = Cubic::new(MTU);
        for n in 1..100 {
            cubic.on_congestion(&loss(100 * n, 100 * n - 50));
        }
        assert_eq!(cubic.window(), 2000);
        cubic.on_mtu(1472);
        assert_eq!(cubic.window(), 2944);
    }

    #[test]
    fn a_loss_that_was_none_is_undone() {
        let (mut cubic, rtt) = (Cubic::new(MTU), path(50));
        round(&mut cubic, at(50), &rtt);
        cubic.on_congestion(&loss(60, 40));
        assert_eq!(cubic.window(), 14_000);
        cubic.on_spurious_loss(at(70));
        assert_eq!(cubic.window(), 20_000);
        assert!(cubic.in_slow_start());
        // Only once, and not what a router asked for.
        cubic.on_congestion(&CongestionEvent { ecn: true, ..loss(100, 80) });
        cubic.on_spurious_loss(at(110));
        assert_eq!(cubic.window(), 14_000);
    }

    #[test]
    fn a_long_silence_starts_again_from_two_packets_towards_the_reduced_window() {
        let mut cubic = Cubic::new(MTU);
        cubic.window = 100_000;
        cubic.on_congestion(&CongestionEvent { persistent: true, ..loss(5000, 4000) });
        assert_eq!((cubic.window(), cubic.threshold), (2000, 70_000));
        // A straggler of the same silence changes nothing.
        cubic.on_congestion(&loss(5100, 4500));
        assert_eq!((cubic.window(), cubic.threshold), (2000, 70_000));
        let rtt = path(50);
        for n in 0..20 {
            round(&mut cubic, at(6000 + 50 * n), &rtt);
            assert!(cubic.window() <= 140_000);
        }
        assert!(cubic.window() >= 70_000);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow_and_stops_the_curves_clock() {
        let (mut cubic, rtt) = (after_a_loss_at_100_packets(), path(200));
        round(&mut cubic, at(400), &rtt);
        let before = (cubic.window(), cubic.curve.epoch);
        cubic.on_ack(&AckSample {
            now: at(60_400),
            acked_bytes: 1000,
            newest_sent_at: at(60_200),
            rtt_sample: None,
            rtt: &rtt,
            in_flight_before: 1000,
            in_flight: 0,
            app_limited: true,
            rate: None,
            round_start: true,
            round: 9,
        });
        assert_eq!(cubic.window(), before.0);
        assert_eq!(cubic.curve.epoch, before.1.map(|epoch| epoch + ms(60_000)));
    }

    #[test]
    fn a_rising_delay_ends_slow_start_without_a_loss() {
        let mut cubic = Cubic::new(MTU);
        for n in 0..10u64 {
            let rtt = path(if n < 2 { 80 } else { 100 });
            for packet in 0..10 {
                let window = cubic.window();
                cubic.on_ack(&AckSample {
                    now: at(100 * (n + 1)),
                    acked_bytes: 1000,
                    newest_sent_at: at(100 * n + 1),
                    rtt_sample: Some(rtt.smoothed()),
                    rtt: &rtt,
                    in_flight_before: window,
                    in_flight: window - 1000,
                    app_limited: false,
                    rate: None,
                    round_start: packet == 0,
                    round: n,
                });
            }
        }
        assert!(!cubic.in_slow_start());
        assert!(cubic.window() < 60_000, "{}", cubic.window());
    }

    #[test]
    fn it_is_paced_at_five_quarters_of_a_window_a_round_trip_and_twice_in_slow_start() {
        let rtt = path(100);
        assert_eq!(Cubic::new(MTU).pacing_rate(&rtt), 200_000);
        // 70,000 · 5/4 / 0.1 s
        assert_eq!(after_a_loss_at_100_packets().pacing_rate(&rtt), 875_000);
    }

    #[test]
    fn absurd_numbers_stay_within_bounds() {
        let mut cubic = Cubic::new(u16::MAX);
        let rtt = Rtt::new(Duration::MAX);
        for n in 0..200u64 {
            let now = Instant::FAR_FUTURE - ms(1000 - n);
            cubic.on_ack(&AckSample {
                now,
                acked_bytes: u64::MAX,
                newest_sent_at: now,
                rtt_sample: Some(Duration::MAX),
                rtt: &rtt,
                in_flight_before: u64::MAX,
                in_flight: 0,
                app_limited: false,
                rate: None,
                round_start: n % 10 == 0,
                round: n,
            });
            if n == 100 {
                cubic.on_congestion(&CongestionEvent {
                    now,
                    sent_at: now,
                    lost_bytes: u64::MAX,
                    persistent: false,
                    ecn: false,
                });
            }
        }
        assert!((2 * u64::from(u16::MAX)..=MAX_WINDOW).contains(&cubic.window()));
        assert!(cubic.pacing_rate(&rtt) >= 1);
    }
}
