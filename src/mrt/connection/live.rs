//! Everything of a connection that exists once there are keys: a list of parts.

use super::acks::Acks;
use super::paths::{Marks, Paths};
use super::stall::Stall;
use crate::mrt::api::{Config, PublicKey, SecretId};
use crate::mrt::channel::set::{Channels, Granted, INITIAL_CHANNEL_WINDOW, INITIAL_CONNECTION_WINDOW, Limits};
use crate::mrt::crypto::aead::Cipher;
use crate::mrt::crypto::keys::Keys;
use crate::mrt::crypto::lane::Lane;
use crate::mrt::crypto::noise::Outcome;
use crate::mrt::crypto::parameters::Parameters;
use crate::mrt::crypto::replay::ReplayWindow;
use crate::mrt::recovery::congestion::Controller;
use crate::mrt::recovery::numbers::Numbers;
use crate::mrt::route::Route;
use crate::mrt::wire::{Cid, PacketNumber};
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// Path responses that wait to be sent, at most.
const MAX_RESPONSES: usize = 4;

/// The largest amount of a channel's data that is kept for a path whose window outgrew the configured buffer, in bytes.
const MAX_SEND_BUFFER: usize = 32 << 20;

/// What a connection has once there are keys.
pub(super) struct Live {
    pub(super) remote_cid: Cid,
    pub(super) remote_key: PublicKey,
    pub(super) secret: Option<SecretId>,
    pub(super) binding: [u8; 32],
    pub(super) keys: Keys,
    pub(super) replay: ReplayWindow,
    pub(super) acks: Acks,
    pub(super) stall: Stall,
    pub(super) paths: Paths,
    pub(super) marks: Marks,
    /// Challenges to repeat.
    pub(super) responses: VecDeque<Response>,
    pub(super) channels: Channels,
    /// What is relayed over this connection.
    pub(super) lane: Lane,
    /// Whether this side made the connection: it decides where data goes, the other follows.
    pub(super) initiator: bool,
    /// Where the newest packet came from that is to be acknowledged: that is where the acknowledgement is wanted.
    pub(super) acks_to: Route,
    /// The largest number that came and is to be acknowledged.
    pub(super) leader: Option<PacketNumber>,
    /// Numbers of the packets that were sent.
    pub(super) numbers: Numbers,
    /// The next number to be left out, so that a peer which acknowledges what it never got is found out (RFC 9000 §21.4).
    pub(super) next_skip: u64,
    /// Makes unguessable tokens and gaps.
    pub(super) entropy: Entropy,
    /// Probe timeouts of the active path since its last acknowledgement.
    pub(super) timeouts: u32,
    /// Of these, those at which the other side had been heard since it was last asked: it lives, and acknowledges nothing.
    pub(super) ignored: u32,
    /// Packets that may leave whatever the congestion window says, to find out what arrived.
    pub(super) probes_due: u32,
    /// When pacing allows the next packet; `None` while nothing waits for it.
    pub(super) paced_until: Option<Instant>,
    pub(super) last_heard: Instant,
    pub(super) last_pinged: Instant,
    pub(super) counters: Counters,
    max_send_buffer: usize,
}

/// What the setup told of the other side.
pub(super) struct Other {
    pub(super) route: Route,
    pub(super) parameters: Parameters,
    /// The shared secret it proved to know.
    pub(super) secret: Option<SecretId>,
}

/// A challenge that is to be repeated.
pub(super) struct Response {
    /// Where it came from.
    pub(super) route: Route,
    pub(super) token: [u8; 8],
    /// Bytes of the datagram that it came in: no answer is larger.
    pub(super) asked_with: usize,
}

/// What is counted since the connection began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) sent_packets: u64,
    pub(super) sent_bytes: u64,
    pub(super) lost_packets: u64,
}

impl Live {
    pub(super) fn new(
        now: Instant,
        config: &Config,
        initiator: bool,
        outcome: Outcome,
        other: &Other,
        entropy: Entropy,
    ) -> Self {
        let parameters = &other.parameters;
        let cipher = match parameters.prefers_aes && Cipher::aes_is_fast() {
            true => Cipher::Aes128Gcm,
            false => Cipher::ChaCha20Poly1305,
        };
        let limits = Limits {
            max_connection_window: config.max_connection_window,
            max_channel_window: config.max_channel_window,
            max_channels: u64::from(config.max_channels),
        };
        let granted = Granted {
            connection_credit: parameters.connection_credit,
            channel_credit: parameters.channel_credit,
            channels: parameters.channels,
        };
        let max_datagram = u64::from(config.max_datagram).min(parameters.max_datagram);
        let max_datagram = u16::try_from(max_datagram).unwrap_or(u16::MAX);
        let mut live = Self {
            remote_cid: parameters.cid,
            remote_key: outcome.remote,
            secret: other.secret,
            binding: outcome.binding,
            lane: Lane::new(cipher, &outcome.send, &outcome.receive),
            keys: Keys::new(cipher, outcome.send, outcome.receive, config.key_update_after),
            replay: ReplayWindow::default(),
            acks: Acks::default(),
            stall: Stall::default(),
            paths: Paths::new(now, other.route, config.congestion, max_datagram, config.standby_keep_alive),
            marks: Marks::default(),
            responses: VecDeque::new(),
            channels: Channels::new(initiator, limits, granted),
            initiator,
            acks_to: other.route,
            leader: None,
            numbers: Numbers::default(),
            next_skip: 0,
            entropy,
            timeouts: 0,
            ignored: 0,
            probes_due: 0,
            paced_until: None,
            last_heard: now,
            last_pinged: now,
            counters: Counters::default(),
            max_send_buffer: config.max_send_buffer,
        };
        live.choose_next_skip();
        live
    }

    /// What this side tells the other about its limits.
    pub(super) fn parameters(config: &Config, cid: Cid) -> Parameters {
        Parameters {
            cid,
            connection_credit: INITIAL_CONNECTION_WINDOW.min(config.max_connection_window),
            channel_credit: INITIAL_CHANNEL_WINDOW.min(config.max_channel_window),
            channels: u64::from(config.max_channels),
            max_datagram: u64::from(config.max_datagram),
            prefers_aes: Cipher::aes_is_fast(),
        }
    }

    /// Bytes that one channel may hold unacknowledged: what is configured, or four windows' worth if the path is larger: what was sent
    /// after a packet that was lost, and lost again, is held until that one is acknowledged.
    pub(super) fn send_capacity(&self) -> usize {
        let window = usize::try_from(self.paths.active.congestion.window()).unwrap_or(usize::MAX);
        self.max_send_buffer.max(window.saturating_mul(4).min(MAX_SEND_BUFFER))
    }

    pub(super) const fn rtt(&self) -> Duration {
        self.paths.active.rtt.smoothed()
    }

    /// The other side asks that its challenge be repeated where it came from.
    pub(super) fn on_challenge(&mut self, route: Route, token: [u8; 8], asked_with: usize) {
        if self.responses.len() < MAX_RESPONSES {
            self.responses.push_back(Response { route, token, asked_with });
        }
    }

    /// One number in a few hundred at first, ever more rarely later, is never used.
    pub(super) fn choose_next_skip(&mut self) {
        let range = self.numbers.next().max(256);
        let [random, ..] = self.entropy.next();
        self.next_skip = self.numbers.next() + 1 + range / 2 + range * u64::from(random) / 256;
    }
}

/// Unguessable bytes from a secret seed, without a generator's state.
pub(super) struct Entropy {
    key: [u8; 32],
    drawn: u64,
}

impl Entropy {
    pub(super) const fn new(key: [u8; 32]) -> Self {
        Self { key, drawn: 0 }
    }

    pub(super) fn next(&mut self) -> [u8; 8] {
        self.drawn += 1;
        let mut bytes = [0; 8];
        blake3::Hasher::new_keyed(&self.key).update(&self.drawn.to_be_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }
}
