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

    const fn min_window(&self) -> u64 {
        MIN_WINDOW_PACKETS * self.mtu as u64
    }

    const fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    fn grow(&mut self, bytes: f64) {
        let sum = self.fraction + bytes.max(0.0);
        let whole = sum.floor();
        self.fraction = sum - whole;
        self.window = self.window.saturating_add(whole as u64).clamp(self.min_window(), MAX_WINDOW);
    }

    fn slow_start(&mut self, sample: &AckSample<'_>) {
        // HyStart++ is for the first slow start; after a loss the threshold is known.
        let phase = match self.threshold {
            u64::MAX => self.hystart.on_ack(sample.round_start, sample.rtt_sample),
            _ => Phase::SlowStart,
        };
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

    fn reduce(&mut self, now: Instant) {
        self.undo =
            Some(Undo { window: self.window, threshold: self.threshold, hystart: self.hystart, curve: self.curve });
        self.recovery_began_at = Some(now);
        self.curve.reduce(self.window as f64);
        self.window = ((self.window as f64 * BETA) as u64).clamp(self.min_window(), MAX_WINDOW);
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
        // RFC 9002 §7.8: a window that is not used proves nothing. RFC 9438 §5.8: the curve's clock stands still meanwhile.
        if sample.app_limited && sample.in_flight_before < self.window {
            if let (Some(epoch), Some(last)) = (self.curve.epoch, last_ack_at) {
                self.curve.epoch = Some(epoch + sample.now.saturating_since(last));
            }
            return;
        }
        if self.in_slow_start() {
            self.slow_start(sample);
        } else {
            self.congestion_avoidance(sample);
        }
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        let same_episode = self.recovery_began_at.is_some_and(|began_at| event.sent_at <= began_at);
        if !same_episode {
            self.reduce(event.now);
        }
        if event.ecn {
            // A router's mark is never a mistake.
            self.undo = None;
        }
        if event.persistent {
            // RFC 9002 §7.6.2: start again from the smallest window, up to the reduced threshold.
            self.window = self.min_window();
            self.recovery_began_at = None;
            self.curve.epoch = None;
            self.undo = None;
        }
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
        let doubling = self.in_slow_start() && self.hystart.phase() == Phase::SlowStart;
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
