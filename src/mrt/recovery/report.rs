//! What the ledger reports: the facts of one acknowledgement, and of one look for losses.

use super::rate::RateSample;
use crate::time::{Duration, Instant};

/// What one ACK settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckReport {
    /// In-flight bytes that were acknowledged for the first time, those of late packets (`spurious`) included.
    pub newly_acked_bytes: u64,
    /// Packets that were acknowledged for the first time, of every kind.
    pub newly_acked: usize,
    /// The highest packet number among them, and when it was sent.
    pub largest_newly_acked: Option<(u64, Instant)>,
    /// The raw round-trip time, if the largest acknowledged packet is among them and any of them asked for an ACK. The `Rtt`
    /// has been given it.
    pub rtt_sample: Option<Duration>,
    /// Whether any of them was ack-eliciting: resets the count of unanswered probes.
    pub ack_eliciting_acked: bool,
    /// Packets that had been declared lost and arrived after all.
    pub spurious: usize,
    /// Every packet of the last loss episode has now arrived after all: the reduction of the window was a mistake
    /// (give it to `Controller::on_spurious_loss`).
    pub losses_all_spurious: bool,
    /// The size of an MTU probe among them.
    pub mtu_probe_acked: Option<u16>,
    /// The largest datagram among them that was not an MTU probe (give it to `Mtu::on_acked`).
    pub largest_size_acked: Option<u16>,
    /// Delivery rate, if this ACK allows a sample.
    pub rate: Option<RateSample>,
    /// Bytes in flight before this ACK.
    pub in_flight_before: u64,
    /// Whether the newest packet was sent while there was too little to send (the window was not the limit).
    pub app_limited: bool,
    /// Whether a packet was acknowledged that was sent after the last round trip was counted.
    pub round_start: bool,
    /// Round trips counted so far, in packets rather than in time.
    pub round: u64,
}

/// What one look for losses found. MTU probes do not count: their loss says nothing about congestion (RFC 9002 §7, RFC 8899
/// §3), except in `mtu_probe_lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossReport {
    /// In-flight packets declared lost.
    pub lost_packets: usize,
    /// Their bytes.
    pub lost_bytes: u64,
    /// When the newest of them was sent: a new loss episode if after the start of the last one.
    pub newest_lost_sent_at: Option<Instant>,
    /// When the oldest of them was sent.
    pub oldest_lost_sent_at: Option<Instant>,
    /// Nothing got through for three probe timeouts (RFC 9002 §7.6).
    pub persistent_congestion: bool,
    /// The size of an MTU probe that was lost (give it to `Mtu::on_probe_lost`).
    pub mtu_probe_lost: Option<u16>,
    /// The largest datagram lost that was not an MTU probe (give it to `Mtu::on_lost`).
    pub largest_size_lost: Option<u16>,
}
