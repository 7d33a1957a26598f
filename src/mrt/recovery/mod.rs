//! Loss recovery, congestion control, pacing and datagram size of one path, as values that are told facts and asked questions.
//!
//! ```text
//!   a packet leaves                       an ACK arrives                        the loss or probe timer fires
//!        │                                     │                                          │
//!   pacer    may it leave now?            ledger.on_ack ──► AckReport              ledger.detect_lost ──► LossReport
//!   mtu      how large may it be?              │   │                              pto   when to send a probe
//!   congestion.window()                        │   └► rtt, rate                   ledger.oldest_unacked  what to probe with
//!        │                                     ▼
//!   ledger.on_sent                        ledger.detect_lost ──► LossReport
//!   congestion.on_sent                         │
//!   pacer.on_sent                         congestion.on_ack, on_congestion, on_spurious_loss;  mtu.on_probe_acked, …
//! ```
//!
//! Reading order: [`rtt`], [`pto`], [`ledger`] with its reports, [`loss`] (the two thresholds), `silence` (persistent
//! congestion), [`congestion`], [`pacer`], [`mtu`]; [`numbers`] is what all paths of a connection share.
//!
//! Parts report, and the connection passes the report on; the only one that is told anything by another is the `Rtt`, which is
//! handed to the ledger for its samples. Nothing here knows what a packet contains (the ledger holds it as an opaque `C`), which keys sealed it, or where it went.

pub mod congestion;
pub mod ledger;
pub mod loss;
pub mod mtu;
pub mod numbers;
pub mod pacer;
pub mod pto;
pub mod rate;
pub mod report;
pub mod rtt;
mod silence;

pub use congestion::{AckSample, Algorithm, Congestion, CongestionEvent, Controller};
pub use ledger::{Ledger, SentPacket};
pub use mtu::Mtu;
pub use numbers::{AckOfUnsent, Numbers};
pub use pacer::Pacer;
pub use pto::probe_timeout;
pub use rate::RateSample;
pub use report::{AckReport, LossReport};
pub use rtt::{MAX_ACK_DELAY, Rtt};
