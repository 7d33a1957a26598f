//! The controller: its parts, what it is told, and what it answers.

use super::super::controller::{AckSample, CongestionEvent, Controller};
use super::cruise::{UP, UP_BOLDLY};
use super::model::{MAX_RATE, Model};
use super::phase::{Phase, Probe, Startup};
use super::rival::Rival;
use super::round::Rounds;
use crate::mrt::recovery::rtt::Rtt;
use crate::time::{Duration, Instant};

/// RFC 9002 §7.2: the initial window is ten packets, but at most this many bytes (or two packets).
const INITIAL_WINDOW_BYTES: u64 = 14_720;
const INITIAL_WINDOW_PACKETS: u64 = 10;
/// In startup packets leave at twice the window a round trip, so that the pacer is not the limit while it triples.
const STARTUP_PACE: f64 = 2.0;
/// After so long without a packet, what is known of the path is old: startup begins again with half of it.
const IDLE: Duration = Duration::from_secs(10);

/// Fills the pipe and lets the queue run out.
#[derive(Clone, Debug)]
pub struct Ebb {
    pub(super) phase: Phase,
    pub(super) model: Model,
    pub(super) rounds: Rounds,
    /// While starting up and settling.
    pub(super) window: u64,
    /// Times that this startup went on after it had seemed over.
    pub(super) restarts: u32,
    /// Of all time.
    pub(super) drains: u32,
    /// What is known of the last Up.
    pub(super) probe: Option<Probe>,
    /// Ups in a row that brought nothing.
    pub(super) full: u32,
    /// When Cruise or Up began, and the rate that shows in what was sent since.
    pub(super) since: Instant,
    pub(super) measured: Option<f64>,
    /// Cruises in a row that ended in a queue, and the rate before the first of them.
    pub(super) pressed: u32,
    pub(super) unpressed: f64,
    /// The last one we met, even if we do not compete.
    pub(super) rival: Option<Rival>,
    /// Of competing: round trips without a queue; the queue in the last, if nothing was lost in it.
    pub(super) calm: u32,
    pub(super) last_queue: Option<Duration>,
    /// Marks on packets sent before this were answered then.
    marked_at: Option<Instant>,
    last_sent_at: Option<Instant>,
}

impl Ebb {
    /// Startup, for datagrams of at most `mtu` bytes.
    pub fn new(mtu: u16) -> Self {
        let packet = u64::from(mtu.max(1));
        let mut ebb = Self {
            phase: Phase::Startup(Startup::growing_by(0)),
            model: Model::new(mtu),
            rounds: Rounds::default(),
            window: 0,
            restarts: 0,
            drains: 0,
            probe: None,
            full: 0,
            since: Instant::ZERO,
            measured: None,
            pressed: 0,
            unpressed: 0.0,
            rival: None,
            calm: 0,
            last_queue: None,
            marked_at: None,
            last_sent_at: None,
        };
        ebb.move_to_startup((INITIAL_WINDOW_PACKETS * packet).min(INITIAL_WINDOW_BYTES.max(2 * packet)));
        ebb
    }

    /// Everything from the beginning, but for what is known of the path.
    fn begin_again(&mut self, window: u64) {
        self.rival = None;
        self.probe = None;
        self.pressed = 0;
        self.move_to_startup(window);
    }
}

impl Controller for Ebb {
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) {
        let idle = self.last_sent_at.replace(now).is_some_and(|last| now.saturating_since(last) > IDLE);
        if idle && in_flight <= bytes && !matches!(self.phase, Phase::Startup(_)) {
            self.begin_again(self.model.window(self.model.pipe() / 2.0));
        }
    }

    fn on_ack(&mut self, sample: &AckSample<'_>) {
        self.model.on_ack(sample.now, self.phase == Phase::Compete, sample.rtt_sample, sample.rate);
        self.model.floor.on_acked(sample.newest_sent_at, self.model.packets(sample.acked_bytes));
        self.measure(sample);
        self.on_answer(sample);
        let over = self.rounds.on_ack(sample);
        match (self.phase, &over) {
            (Phase::Startup(state), over) => self.startup(state, sample, over.as_ref()),
            (Phase::Settle(state), _) => self.settle(state, sample),
            (Phase::Drain(state), over) => self.drain(state, sample, over.as_ref()),
            (Phase::Cruise { left }, Some(round)) => self.cruise(left, sample, round),
            (Phase::Up { .. }, Some(_)) if sample.newest_sent_at >= self.since => self.up(sample),
            (Phase::Compete, over) => self.compete(sample, over.as_ref()),
            (Phase::Cruise { .. } | Phase::Up { .. }, _) => {}
        }
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        self.rounds.on_lost(event.lost_bytes);
        let packets = self.model.packets(event.lost_bytes);
        self.model.floor.on_lost(event.sent_at, packets);
        if event.persistent {
            self.begin_again(self.model.min_window());
            return;
        }
        let little = self.has_little();
        match (&mut self.phase, &mut self.rival) {
            (Phase::Compete, Some(rival)) => rival.on_congestion(event, packets, little),
            (Phase::Settle(state), _) => state.lost = state.lost.saturating_add(event.lost_bytes),
            _ if event.ecn && self.marked_at.is_none_or(|at| event.sent_at > at) => {
                self.marked_at = Some(event.now);
                self.on_mark(event.now);
            }
            _ => {}
        }
    }

    fn on_spurious_loss(&mut self, now: Instant) {
        if let Some(rival) = &mut self.rival {
            rival.cubic.on_spurious_loss(now);
        }
    }

    fn on_mtu(&mut self, mtu: u16) {
        self.model.mtu = mtu.max(1);
        self.window = self.window.max(self.model.min_window());
        if let Some(rival) = &mut self.rival {
            rival.cubic.on_mtu(mtu);
        }
    }

    fn window(&self) -> u64 {
        match (self.phase, &self.rival) {
            (Phase::Startup(_) | Phase::Settle(_), _) => self.window,
            (Phase::Drain(drain), _) => self.model.window(self.model.pipe() * drain.gain),
            (Phase::Up { boldly: false }, _) => self.model.room(UP),
            (Phase::Up { boldly: true }, _) => self.model.room(UP_BOLDLY),
            (Phase::Compete, Some(rival)) => rival.cubic.window(),
            (Phase::Cruise { .. } | Phase::Compete, _) => self.model.room(1.0),
        }
    }

    fn pacing_rate(&self, rtt: &Rtt) -> u64 {
        let rate = match (self.phase, &self.rival) {
            (Phase::Compete, Some(rival)) => return rival.cubic.pacing_rate(rtt),
            (Phase::Startup(_) | Phase::Settle(_), _) => {
                STARTUP_PACE * self.window as f64 / rtt.smoothed().as_secs_f64().max(1e-6)
            }
            // What is lost by chance is not made up for in a lesson: if it was our rate's fault, it is not lost then.
            (Phase::Drain(drain), _) if drain.teaches => {
                self.model.rate * drain.gain * (1.0 - self.model.floor.share())
            }
            (Phase::Drain(drain), _) => self.model.rate * drain.gain,
            (Phase::Up { boldly: false }, _) => self.model.rate * UP,
            (Phase::Up { boldly: true }, _) => self.model.rate * UP_BOLDLY,
            (Phase::Cruise { .. } | Phase::Compete, _) => self.model.rate,
        };
        (rate.min(MAX_RATE) as u64).max(1)
    }

    fn name(&self) -> &'static str {
        "ebb"
    }
}
