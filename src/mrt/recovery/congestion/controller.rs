//! The shape of a congestion controller, and the choice among them.

use super::cubic::Cubic;
use super::ebb::Ebb;
use crate::mrt::recovery::rate::RateSample;
use crate::mrt::recovery::report::AckReport;
use crate::mrt::recovery::rtt::Rtt;
use crate::time::{Duration, Instant};

/// Which controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// Paced at the rate that was measured, with an empty queue; CUBIC's window beside those who fill it.
    #[default]
    Ebb,
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406).
    Cubic,
}

/// What a controller may know of one ACK.
#[derive(Clone, Copy, Debug)]
pub struct AckSample<'a> {
    /// When it arrived.
    pub now: Instant,
    /// Bytes it newly acknowledged.
    pub acked_bytes: u64,
    /// When the newest of the acknowledged packets was sent.
    pub newest_sent_at: Instant,
    /// The round-trip time it measured, if any.
    pub rtt_sample: Option<Duration>,
    /// The path's round-trip time, this ACK included.
    pub rtt: &'a Rtt,
    /// Bytes in flight before it.
    pub in_flight_before: u64,
    /// Bytes in flight after it.
    pub in_flight: u64,
    /// The newest acknowledged packet left while the application, not the window, was the limit.
    pub app_limited: bool,
    /// How fast the path delivers, if it can be told.
    pub rate: Option<RateSample>,
    /// It acknowledges a packet sent after the last round was counted.
    pub round_start: bool,
    /// Round trips so far.
    pub round: u64,
}

impl<'a> AckSample<'a> {
    /// The sample in a ledger's report, if anything was newly acknowledged. `in_flight` is the ledger's figure now.
    pub fn new(now: Instant, report: &AckReport, rtt: &'a Rtt, in_flight: u64) -> Option<Self> {
        let (_, newest_sent_at) = report.largest_newly_acked?;
        Some(Self {
            now,
            acked_bytes: report.newly_acked_bytes,
            newest_sent_at,
            rtt_sample: report.rtt_sample,
            rtt,
            in_flight_before: report.in_flight_before,
            in_flight,
            app_limited: report.app_limited,
            rate: report.rate,
            round_start: report.round_start,
            round: report.round,
        })
    }
}

/// The path is congested, as far as one can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CongestionEvent {
    /// When this was noticed.
    pub now: Instant,
    /// When the newest lost (or, with `ecn`, the newest acknowledged) packet was sent.
    pub sent_at: Instant,
    /// Bytes lost; 0 with `ecn`.
    pub lost_bytes: u64,
    /// Nothing got through for a long time (RFC 9002 §7.6).
    pub persistent: bool,
    /// A router said so, nothing was lost.
    pub ecn: bool,
}

/// Decides how many bytes may be in flight and how fast they leave.
pub trait Controller {
    /// A packet of `bytes` left; `in_flight` includes it.
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64);
    /// An ACK arrived.
    fn on_ack(&mut self, sample: &AckSample<'_>);
    /// Packets were lost, or marked.
    fn on_congestion(&mut self, event: &CongestionEvent);
    /// Every packet of the last loss episode arrived after all.
    fn on_spurious_loss(&mut self, now: Instant);
    /// Datagrams are now this large.
    fn on_mtu(&mut self, mtu: u16);
    /// Bytes that may be in flight.
    fn window(&self) -> u64;
    /// Bytes a second at which packets may leave. Never 0.
    fn pacing_rate(&self, rtt: &Rtt) -> u64;
    /// For logs.
    fn name(&self) -> &'static str;
}

/// One of the controllers.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one a path; a box would be followed for each packet")]
pub enum Congestion {
    /// CUBIC.
    Cubic(Cubic),
    /// Ebb.
    Ebb(Ebb),
}

impl Congestion {
    /// The controller `algorithm` for a path whose datagrams have at most `mtu` bytes.
    pub fn new(algorithm: Algorithm, mtu: u16) -> Self {
        match algorithm {
            Algorithm::Cubic => Self::Cubic(Cubic::new(mtu)),
            Algorithm::Ebb => Self::Ebb(Ebb::new(mtu)),
        }
    }

    fn inner(&self) -> &dyn Controller {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::Ebb(ebb) => ebb,
        }
    }

    fn inner_mut(&mut self) -> &mut dyn Controller {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::Ebb(ebb) => ebb,
        }
    }
}

impl Controller for Congestion {
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) {
        self.inner_mut().on_sent(now, bytes, in_flight);
    }

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        self.inner_mut().on_ack(sample);
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        self.inner_mut().on_congestion(event);
    }

    fn on_spurious_loss(&mut self, now: Instant) {
        self.inner_mut().on_spurious_loss(now);
    }

    fn on_mtu(&mut self, mtu: u16) {
        self.inner_mut().on_mtu(mtu);
    }

    fn window(&self) -> u64 {
        self.inner().window()
    }

    fn pacing_rate(&self, rtt: &Rtt) -> u64 {
        self.inner().pacing_rate(rtt)
    }

    fn name(&self) -> &'static str {
        self.inner().name()
    }
}
